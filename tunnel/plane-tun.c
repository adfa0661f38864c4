/*
 * The parent's side of the user-space plane. It opens device and socket and
 * keeps both, and a table of the entries: a tunnel process that was
 * restarted gets all of it again, while packets wait in the kernel's queues.
 *
 * A TEP's interface has a queue for each processor, and each queue a process of
 * its own, which shares nothing with the others: plane-queue.c says which
 * packet is whose. All of them are told all entries; what is counted is added
 * when somebody asks. A node's interface has one queue: it has one lease, its
 * processors have other work, and who asks whether the TEP answers must hear
 * all that comes from there. So has plane bpf's, whose programs do the work.
 *
 * The table is the truth. What a process has not been told yet waits in
 * the order of the calls, each entry once, with its last state; it is sent
 * as fast as its link takes it, so that any number of entries can wait
 * without filling the link, and no process waits for another.
 */
#include <sys/types.h>
#include <sys/ioctl.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/tree.h>

#include <net/if.h>
#include <linux/if_tun.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dstmd/msg.h"
#include "priv/netlink.h"
#include "tunnel/plane-tun.h"
#include "tunnel/tunnel.h"

#define SLOT_MAX	(1U << 24)	/* no table has more */

struct entry {
	RB_ENTRY(entry)		 by_v4;
	TAILQ_ENTRY(entry)	 todo[TUNNEL_QUEUE_MAX];
	struct in_addr		 v4;
	struct in6_addr		 v6;
	int64_t			 until;
	uint8_t			 waits;		/* bits: is in which todo */
	uint8_t			 gone;		/* it waits to be deleted */
};
RB_HEAD(plane_entries, entry);
TAILQ_HEAD(todo, entry);

struct device {
	int			 open;
	uint32_t		 n;		/* queues */
	int			 moving[TUNNEL_QUEUE_MAX];	/* the process
						 * has the socket */
	struct plane_dev	 conf;
	struct msg_tunnel_keepalive keepalive;
	int			 tun[TUNNEL_QUEUE_MAX];
	int			 sock[TUNNEL_QUEUE_MAX];	/* or -1 */
	struct plane_entries	 entries;
	struct todo		 todo[TUNNEL_QUEUE_MAX];
	uint32_t		 count;		/* entries that are not gone */
};

/*
 * A page that somebody waits for. The first process says which entries are on
 * it, then each of the others is asked for those, and what they say is added.
 */
struct query {
	TAILQ_ENTRY(query)	 entry;
	uint64_t		 cookie;
	uint32_t		 dev, slot;
	uint32_t		 left;		/* entries that may still come */
	plane_entry_cb		 on_entry;
	plane_page_cb		 on_page;
	void			*arg;
	struct msg_tunnel_stats	 stats;
	uint32_t		 n, next;	/* of page; that may come next */
	struct msg_tunnel_entry	 page[TUNNEL_PAGE_MAX];
};
TAILQ_HEAD(queries, query);

/* A tunnel process: it has the queue of its number, of all devices. */
struct process {
	struct msglink	*link;		/* NULL: it is gone */
	struct queries	 queries;	/* that it has been asked */
	int		 distrusted;	/* its nonsense is logged once */
};

static struct device	 devices[TUNNEL_DEV_MAX];
static struct process	 processes[TUNNEL_QUEUE_MAX];
static uint32_t		 nqueues = 1;	/* of a TEP's interface, at most */
static uint64_t		 last_cookie;

static int
entry_cmp(const struct entry *a, const struct entry *b)
{
	return (a->v4.s_addr < b->v4.s_addr ? -1 :
	    a->v4.s_addr > b->v4.s_addr);
}

RB_PROTOTYPE(plane_entries, entry, by_v4, entry_cmp)
RB_GENERATE(plane_entries, entry, by_v4, entry_cmp)

static struct device *
device_of(uint32_t dev)
{
	if (dev >= TUNNEL_DEV_MAX)
		fatalx("tunnel device %u", dev);
	return (&devices[dev]);
}

static struct entry *
entry_find(struct device *d, struct in_addr v4)
{
	struct entry key;

	key.v4 = v4;
	return (RB_FIND(plane_entries, &d->entries, &key));
}

static void
entry_free(struct device *d, struct entry *e)
{
	uint32_t q;

	for (q = 0; q < TUNNEL_QUEUE_MAX; q++)
		if (e->waits & 1U << q)
			TAILQ_REMOVE(&d->todo[q], e, todo[q]);
	RB_REMOVE(plane_entries, &d->entries, e);
	free(e);
}

/* It waits, or not any more, to be told to the process of queue q. */
static void
entry_wait(struct device *d, struct entry *e, uint32_t q)
{
	if (e->waits & 1U << q)
		return;
	TAILQ_INSERT_TAIL(&d->todo[q], e, todo[q]);
	e->waits |= (uint8_t)(1U << q);
}

static void
entry_told(struct device *d, struct entry *e, uint32_t q)
{
	TAILQ_REMOVE(&d->todo[q], e, todo[q]);
	e->waits &= (uint8_t)~(1U << q);
	if (e->gone && e->waits == 0)
		entry_free(d, e);
}

/*
 * To the tunnel process
 */

static void
fill_dev(const struct device *d, struct msg_tunnel_dev *m)
{
	memset(m, 0, sizeof(*m));
	m->dev = d->conf.dev;
	m->is_node = d->conf.is_node != 0;
	m->demand = d->conf.demand != 0;
	m->mtu = d->conf.mtu;
	m->rate = d->conf.rate;
	m->local = d->conf.local;
}

static void
send_fd(const struct device *d, uint32_t q, uint32_t type, int fd)
{
	struct msg_tunnel_dev m;

	fill_dev(d, &m);
	/* The process before may have made it block: the flag is shared. */
	if (fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK) == -1)
		fatal("fcntl");
	/* Without one the process ends; it is started again, and gets it. */
	if ((fd = fcntl(fd, F_DUPFD_CLOEXEC, 0)) == -1)
		log_warn("%s: no descriptor for the tunnel process",
		    d->conf.ifname);
	msg_send(processes[q].link, type, fd, &m, sizeof(m), NULL, 0);
}

static void
send_entry(const struct device *d, uint32_t q, const struct entry *e)
{
	struct msg_tunnel_lease m;

	memset(&m, 0, sizeof(m));
	m.dev = d->conf.dev;
	m.v4 = e->v4;
	m.v6 = e->v6;
	m.until = e->until;
	msg_put(processes[q].link, e->gone ? MSG_TUNNEL_DEL : MSG_TUNNEL_ADD,
	    &m, sizeof(m));
}

static void
send_todo(struct device *d, uint32_t q)
{
	struct entry *e;

	while (!msglink_full(processes[q].link) &&
	    (e = TAILQ_FIRST(&d->todo[q])) != NULL) {
		send_entry(d, q, e);
		entry_told(d, e, q);
	}
	if (!d->moving[q] && d->sock[q] != -1 && TAILQ_EMPTY(&d->todo[q])) {
		send_fd(d, q, MSG_TUNNEL_SOCK, d->sock[q]);
		d->moving[q] = 1;
	}
}

static void
send_all(struct msglink *l)
{
	uint32_t q = msglink_peer(l) - PROC_TUNNEL;
	size_t i;

	for (i = 0; i < TUNNEL_DEV_MAX && !msglink_full(l); i++)
		if (devices[i].open && q < devices[i].n)
			send_todo(&devices[i], q);
}

static void
tell(struct device *d, struct entry *e)
{
	uint32_t q;

	for (q = 0; q < d->n; q++)
		if (processes[q].link != NULL)
			entry_wait(d, e, q);
	if (e->gone && e->waits == 0)
		entry_free(d, e);
	for (q = 0; q < d->n; q++)
		if (processes[q].link != NULL)
			send_all(processes[q].link);
}

/* A process is gone: the next one gets what is in the table. */
static void
forget_todo(struct device *d, uint32_t q)
{
	struct entry *e;

	while ((e = TAILQ_FIRST(&d->todo[q])) != NULL)
		entry_told(d, e, q);
	d->moving[q] = 0;
}

static void
introduce(struct device *d, uint32_t q)
{
	struct entry *e;

	if (processes[q].link == NULL)
		return;
	send_fd(d, q, MSG_TUNNEL_DEV, d->tun[q]);
	if (q == 0 && d->keepalive.interval != 0)
		msg_put(processes[q].link, MSG_TUNNEL_KEEPALIVE, &d->keepalive,
		    sizeof(d->keepalive));
	RB_FOREACH(e, plane_entries, &d->entries)
		if (!e->gone)
			entry_wait(d, e, q);
}

/* The device is another one: all that have it are told all of it anew. */
static void
introduce_all(struct device *d)
{
	uint32_t q;

	for (q = 0; q < d->n; q++)
		forget_todo(d, q);
	for (q = 0; q < d->n; q++)
		introduce(d, q);
	for (q = 0; q < d->n; q++)
		if (processes[q].link != NULL)
			send_all(processes[q].link);
}

/*
 * Questions
 */

/* An entry as it is shown: of what a process says only counters are believed. */
static void
show_entry(const struct query *q, const struct msg_tunnel_entry *m)
{
	struct msg_tunnel_entry me = *m;
	const struct entry *e;

	/* One that was deleted while the answer was on its way is no lie. */
	if (!devices[q->dev].open ||
	    (e = entry_find(&devices[q->dev], me.v4)) == NULL || e->gone)
		return;
	me.v6 = e->v6;
	q->on_entry(&me, q->arg);
}

static void
query_end(struct query *q, const struct msg_tunnel_stats *ms)
{
	uint32_t i;

	for (i = 0; ms != NULL && i < q->n; i++)
		show_entry(q, &q->page[i]);
	q->on_page(ms, q->arg);
	free(q);
}

/* What the first process has said of its own packets, one of the others adds. */
static void
ask_other(struct query *q, struct process *p)
{
	struct msg_tunnel_ask ma;
	struct msg_tunnel_list ml;
	uint32_t i;

	for (i = 0; i < q->n; i++) {
		memset(&ma, 0, sizeof(ma));
		ma.cookie = q->cookie;
		ma.dev = q->dev;
		ma.v4 = q->page[i].v4;
		msg_put(p->link, MSG_TUNNEL_ASK, &ma, sizeof(ma));
	}
	memset(&ml, 0, sizeof(ml));
	ml.cookie = q->cookie;
	ml.dev = q->dev;
	msg_put(p->link, MSG_TUNNEL_LIST, &ml, sizeof(ml));
	q->left = q->n;
	q->next = 0;
	TAILQ_INSERT_TAIL(&p->queries, q, entry);
}

/* From process i on: one that is gone has counted nothing. */
static void
query_next(struct query *q, uint32_t i)
{
	const struct device *d = &devices[q->dev];

	for (; d->open && i < d->n; i++)
		if (processes[i].link != NULL) {
			ask_other(q, &processes[i]);
			return;
		}
	query_end(q, &q->stats);
}

/* Those that process i was asked, and will not answer. */
static void
fail_queries(uint32_t i)
{
	struct queries failed = TAILQ_HEAD_INITIALIZER(failed);
	struct query *q;

	/* Who is told may ask again. */
	TAILQ_CONCAT(&failed, &processes[i].queries, entry);
	while ((q = TAILQ_FIRST(&failed)) != NULL) {
		TAILQ_REMOVE(&failed, q, entry);
		if (i == 0)
			query_end(q, NULL);
		else
			query_next(q, i + 1);
	}
}

/*
 * Processes
 */

uint32_t
plane_tun_prepare(uint32_t n)
{
	if (n > TUNNEL_QUEUE_MAX)
		n = TUNNEL_QUEUE_MAX;
	if (n > 1 && queue_prepare() == -1) {
		log_warn("packets are moved by one process, as this kernel "
		    "does not take the program that spreads them");
		n = 1;
	}
	return (nqueues = n);
}

void
plane_tun_attach(uint32_t q, struct msglink *l)
{
	struct process *p = &processes[q];
	size_t i;

	if (p->link == NULL)
		TAILQ_INIT(&p->queries);
	p->link = NULL;
	for (i = 0; i < TUNNEL_DEV_MAX; i++)
		if (devices[i].open && q < devices[i].n)
			forget_todo(&devices[i], q);
	fail_queries(q);
	if ((p->link = l) == NULL)
		return;
	p->distrusted = 0;
	msglink_on_drained(l, send_all);
	for (i = 0; i < TUNNEL_DEV_MAX; i++)
		if (devices[i].open && q < devices[i].n)
			introduce(&devices[i], q);
	send_all(l);
}

/*
 * Devices
 */

static uint32_t
queues_of(const struct plane_dev *pd)
{
	return (pd->is_node ? 1 : nqueues);
}

static int
tun_open(const struct plane_dev *pd)
{
	struct device *d = device_of(pd->dev);
	int n;

	if (d->open)
		fatalx("tunnel device %u is open", pd->dev);
	memset(d, 0, sizeof(*d));
	RB_INIT(&d->entries);
	for (n = 0; n < TUNNEL_QUEUE_MAX; n++)
		TAILQ_INIT(&d->todo[n]);
	d->conf = *pd;
	if ((n = tun_link_open(pd, queues_of(pd), d->tun)) == -1)
		return (-1);
	d->n = (uint32_t)n;
	if (!IN6_IS_ADDR_UNSPECIFIED(&pd->local))
		netlink_bpf_clean(&pd->local);
	if (tun_socks_open(pd, d->n, d->sock) == -1) {
		tun_fds_close(d->tun, d->n);
		return (-1);
	}
	d->open = 1;
	d->conf.left = 0;
	introduce_all(d);
	return (0);
}

int
plane_tun_persist(uint32_t dev)
{
	return (ioctl(device_of(dev)->tun[0], TUNSETPERSIST, 1));
}

/* As many queues as it had: what else is told of it stays as it is. */
static int
tun_reopen(uint32_t dev)
{
	struct device *d = device_of(dev);
	int fds[TUNNEL_QUEUE_MAX], n;

	if (!d->open || (n = tun_link_open(&d->conf, d->n, fds)) == -1)
		return (-1);
	if ((uint32_t)n != d->n) {
		log_warnx("%s: it had %u queues: start dstmd again",
		    d->conf.ifname, d->n);
		tun_fds_close(fds, (uint32_t)n);
		return (-1);
	}
	tun_fds_close(d->tun, d->n);
	memcpy(d->tun, fds, d->n * sizeof(fds[0]));
	introduce_all(d);
	return (0);
}

static int
tun_move(const struct plane_dev *pd)
{
	struct device *d = device_of(pd->dev);
	int fds[TUNNEL_QUEUE_MAX];

	if (!d->open || tun_socks_open(pd, d->n, fds) == -1)
		return (-1);
	if (netlink_link_up(pd->ifname, pd->mtu) == -1) {
		log_warn("interface %s, MTU %u", pd->ifname, pd->mtu);
		tun_fds_close(fds, d->n);
		return (-1);
	}
	tun_fds_close(d->sock, d->n);
	memcpy(d->sock, fds, d->n * sizeof(fds[0]));
	d->conf = *pd;
	introduce_all(d);
	return (0);
}

/* The interface behind our descriptor, whoever has its name: 0, or -1. */
static int
tun_name(const struct device *d, struct ifreq *ifr)
{
	memset(ifr, 0, sizeof(*ifr));
	return (d->open ? ioctl(d->tun[0], TUNGETIFF, ifr) : -1);
}

static int
tun_exists(uint32_t dev)
{
	struct ifreq ifr;

	return (tun_name(device_of(dev), &ifr) == 0);
}

static void
tun_close(uint32_t dev)
{
	struct device *d = device_of(dev);
	struct msg_tunnel_dev m;
	struct entry *e, *next;
	struct ifreq ifr;
	uint32_t q;

	if (!d->open)
		return;
	fill_dev(d, &m);
	for (q = 0; q < d->n; q++)
		msg_put(processes[q].link, MSG_TUNNEL_CLOSE, &m, sizeof(m));
	/* Now, and not when a process closes its descriptor. */
	if (tun_name(d, &ifr) == 0 && netlink_link_del(ifr.ifr_name) == -1 &&
	    errno != ENODEV)
		log_warn("interface %s can not be removed", ifr.ifr_name);
	tun_fds_close(d->tun, d->n);
	tun_fds_close(d->sock, d->n);
	RB_FOREACH_SAFE(e, plane_entries, &d->entries, next)
		entry_free(d, e);
	memset(d, 0, sizeof(*d));
}

/*
 * Entries
 */

static void
tun_add(uint32_t dev, struct in_addr v4, const struct in6_addr *v6,
    int64_t until)
{
	struct device *d = device_of(dev);
	struct entry *e;

	if (!d->open)
		return;
	if ((e = entry_find(d, v4)) == NULL) {
		if ((e = calloc(1, sizeof(*e))) == NULL)
			fatal(NULL);
		e->v4 = v4;
		RB_INSERT(plane_entries, &d->entries, e);
		d->count++;
	} else if (e->gone) {
		e->gone = 0;
		d->count++;
	}
	e->v6 = *v6;
	e->until = until;
	tell(d, e);
}

static void
tun_del(uint32_t dev, struct in_addr v4)
{
	struct device *d = device_of(dev);
	struct entry *e;

	if (!d->open || (e = entry_find(d, v4)) == NULL || e->gone)
		return;
	d->count--;
	e->gone = 1;
	tell(d, e);
}

static void
tun_keepalive(const struct msg_tunnel_keepalive *m)
{
	struct device *d = device_of(m->dev);

	if (!d->open)
		return;
	d->keepalive = *m;
	msg_put(processes[0].link, MSG_TUNNEL_KEEPALIVE, m, sizeof(*m));
}

static void
tun_list(uint32_t dev, uint32_t slot, uint32_t max, plane_entry_cb on_entry,
    plane_page_cb on_page, void *arg)
{
	struct msg_tunnel_list m;
	struct query *q;

	if (processes[0].link == NULL || !device_of(dev)->open) {
		on_page(NULL, arg);
		return;
	}
	if (max > TUNNEL_PAGE_MAX)
		max = TUNNEL_PAGE_MAX;
	if ((q = calloc(1, sizeof(*q))) == NULL)
		fatal(NULL);
	q->cookie = ++last_cookie;
	q->dev = dev;
	q->slot = slot;
	q->left = max;
	q->on_entry = on_entry;
	q->on_page = on_page;
	q->arg = arg;
	TAILQ_INSERT_TAIL(&processes[0].queries, q, entry);
	memset(&m, 0, sizeof(m));
	m.cookie = q->cookie;
	m.dev = dev;
	m.slot = slot;
	m.max = max;
	msg_put(processes[0].link, MSG_TUNNEL_LIST, &m, sizeof(m));
}

/*
 * Answers: they come in the order of the questions. The process may have
 * been taken over: it may lie about its counters, about nothing else.
 */

static void
distrust(struct msglink *l, const char *what)
{
	struct process *p = &processes[msglink_peer(l) - PROC_TUNNEL];

	if (!p->distrusted)
		log_warnx("%s: %s (said once)", proc_name(msglink_peer(l)),
		    what);
	p->distrusted = 1;
}

static struct query *
query_of(struct msglink *l, uint64_t cookie, uint32_t dev)
{
	const struct process *p = &processes[msglink_peer(l) - PROC_TUNNEL];
	struct query *q = p->link != NULL ? TAILQ_FIRST(&p->queries) : NULL;

	if (q == NULL || q->cookie != cookie || q->dev != dev) {
		distrust(l, "an answer to no question");
		return (NULL);
	}
	return (q);
}

/* The sums: one of the others answers in the order in which it was asked. */
static void
add_entry(struct query *q, const struct msg_tunnel_entry *m)
{
	struct msg_tunnel_entry *e;

	while (q->next < q->n) {
		e = &q->page[q->next++];
		if (e->v4.s_addr != m->v4.s_addr)
			continue;
		e->in_packets += m->in_packets;
		e->in_bytes += m->in_bytes;
		e->out_packets += m->out_packets;
		e->out_bytes += m->out_bytes;
		return;
	}
}

void
plane_tun_entry(struct msglink *l, struct msg *m)
{
	struct msg_tunnel_entry me;
	struct query *q;

	memcpy(&me, m->data, sizeof(me));
	if ((q = query_of(l, me.cookie, me.dev)) == NULL)
		return;
	if (q->left == 0) {
		distrust(l, "more entries than it was asked for");
		TAILQ_REMOVE(&processes[msglink_peer(l) - PROC_TUNNEL].queries,
		    q, entry);
		query_end(q, NULL);
		return;
	}
	q->left--;
	if (msglink_peer(l) == PROC_TUNNEL)
		q->page[q->n++] = me;
	else
		add_entry(q, &me);
}

void
plane_tun_stats(struct msglink *l, struct msg *m)
{
	uint32_t i, from = msglink_peer(l) - PROC_TUNNEL;
	struct msg_tunnel_stats ms;
	struct query *q;

	memcpy(&ms, m->data, sizeof(ms));
	if ((q = query_of(l, ms.cookie, ms.dev)) == NULL)
		return;
	TAILQ_REMOVE(&processes[from].queries, q, entry);
	if (from != 0) {
		for (i = 0; i < DROP_NREASON; i++)
			q->stats.drops[i] += ms.drops[i];
		query_next(q, from + 1);
		return;
	}
	if (ms.next != 0 && (ms.next <= q->slot || ms.next > SLOT_MAX)) {
		distrust(l, "a page that leads nowhere");
		query_end(q, NULL);
		return;
	}
	if (ms.entries > devices[q->dev].count)
		ms.entries = devices[q->dev].count;
	q->stats = ms;
	query_next(q, 1);
}

const struct plane	 plane_tun = {
	"tun", tun_open, tun_close, tun_exists, tun_reopen, tun_move, tun_add,
	tun_del, tun_keepalive, tun_list, NULL, NULL, NULL
};
