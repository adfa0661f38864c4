/*
 * The parent's side of the user-space plane. It opens device and socket and
 * keeps both, and a table of the entries: a tunnel process that was
 * restarted gets all of it again, while packets wait in the kernel's queues.
 *
 * The table is the truth. What the process has not been told yet waits in
 * the order of the calls, each entry once, with its last state; it is sent
 * as fast as the link takes it, so that any number of entries can wait
 * without filling the link.
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
#include <time.h>
#include <unistd.h>

#include "dstmd/msg.h"
#include "priv/netlink.h"
#include "tunnel/tunnel.h"

#ifndef TUN_F_USO4		/* Linux 6.2; it takes both or none */
#define TUN_F_USO4	0x20
#define TUN_F_USO6	0x40
#endif

#define SOCK_BUFFER	(4 * 1024 * 1024)
#define BUSY_TRIES	25		/* of BUSY_MS each */
#define BUSY_MS		20
#define SLOT_MAX	(1U << 24)	/* no table has more */

struct entry {
	RB_ENTRY(entry)		 by_v4;
	TAILQ_ENTRY(entry)	 todo;
	struct in_addr		 v4;
	struct in6_addr		 v6;
	int64_t			 until;
	uint8_t			 waits;		/* is in todo */
	uint8_t			 gone;		/* it waits to be deleted */
};
RB_HEAD(plane_entries, entry);
TAILQ_HEAD(todo, entry);

struct device {
	int			 open;
	int			 moving;	/* the process has the socket */
	struct plane_dev	 conf;
	struct msg_tunnel_keepalive keepalive;
	int			 tun, sock;
	struct plane_entries	 entries;
	struct todo		 todo;
	uint32_t		 count;		/* entries that are not gone */
};

/* A page that somebody waits for. */
struct query {
	TAILQ_ENTRY(query)	 entry;
	uint64_t		 cookie;
	uint32_t		 dev, slot;
	uint32_t		 left;		/* entries that may still come */
	plane_entry_cb		 on_entry;
	plane_page_cb		 on_page;
	void			*arg;
};
TAILQ_HEAD(queries, query);

static struct device	 devices[TUNNEL_DEV_MAX];
static struct msglink	*tunnel;
static struct queries	 queries = TAILQ_HEAD_INITIALIZER(queries);
static uint64_t		 last_cookie;
static int		 distrusted;	/* its nonsense is logged once */

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
	if (e->waits)
		TAILQ_REMOVE(&d->todo, e, todo);
	RB_REMOVE(plane_entries, &d->entries, e);
	free(e);
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
send_fd(const struct device *d, uint32_t type, int fd)
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
	msg_send(tunnel, type, fd, &m, sizeof(m), NULL, 0);
}

static void
send_entry(const struct device *d, const struct entry *e)
{
	struct msg_tunnel_lease m;

	memset(&m, 0, sizeof(m));
	m.dev = d->conf.dev;
	m.v4 = e->v4;
	m.v6 = e->v6;
	m.until = e->until;
	msg_put(tunnel, e->gone ? MSG_TUNNEL_DEL : MSG_TUNNEL_ADD, &m,
	    sizeof(m));
}

static void
send_todo(struct device *d)
{
	struct entry *e;

	while (!msglink_full(tunnel) && (e = TAILQ_FIRST(&d->todo)) != NULL) {
		TAILQ_REMOVE(&d->todo, e, todo);
		e->waits = 0;
		send_entry(d, e);
		if (e->gone)
			entry_free(d, e);
	}
	if (!d->moving && d->sock != -1 && TAILQ_EMPTY(&d->todo)) {
		send_fd(d, MSG_TUNNEL_SOCK, d->sock);
		d->moving = 1;
	}
}

static void
send_all(struct msglink *l)
{
	size_t i;

	for (i = 0; i < TUNNEL_DEV_MAX && !msglink_full(l); i++)
		if (devices[i].open)
			send_todo(&devices[i]);
}

static void
tell(struct device *d, struct entry *e)
{
	if (tunnel == NULL)
		return;
	if (!e->waits) {
		TAILQ_INSERT_TAIL(&d->todo, e, todo);
		e->waits = 1;
	}
	send_all(tunnel);
}

/* The process is gone: the next one gets what is in the table. */
static void
forget_todo(struct device *d)
{
	struct entry *e;

	while ((e = TAILQ_FIRST(&d->todo)) != NULL) {
		TAILQ_REMOVE(&d->todo, e, todo);
		e->waits = 0;
		if (e->gone)
			entry_free(d, e);
	}
	d->moving = 0;
}

static void
fail_queries(void)
{
	struct queries failed = TAILQ_HEAD_INITIALIZER(failed);
	struct query *q;

	/* Who is told may ask again. */
	TAILQ_CONCAT(&failed, &queries, entry);
	while ((q = TAILQ_FIRST(&failed)) != NULL) {
		TAILQ_REMOVE(&failed, q, entry);
		q->on_page(NULL, q->arg);
		free(q);
	}
}

static void
introduce(struct device *d)
{
	struct entry *e;

	send_fd(d, MSG_TUNNEL_DEV, d->tun);
	if (d->keepalive.interval != 0)
		msg_put(tunnel, MSG_TUNNEL_KEEPALIVE, &d->keepalive,
		    sizeof(d->keepalive));
	RB_FOREACH(e, plane_entries, &d->entries) {
		TAILQ_INSERT_TAIL(&d->todo, e, todo);
		e->waits = 1;
	}
}

void
plane_tun_attach(struct msglink *l)
{
	size_t i;

	tunnel = NULL;
	for (i = 0; i < TUNNEL_DEV_MAX; i++)
		if (devices[i].open)
			forget_todo(&devices[i]);
	fail_queries();
	if ((tunnel = l) == NULL)
		return;
	distrusted = 0;
	msglink_on_drained(l, send_all);
	for (i = 0; i < TUNNEL_DEV_MAX; i++)
		if (devices[i].open)
			introduce(&devices[i]);
	send_all(l);
}

/*
 * Devices
 */

/*
 * A daemon that was killed leaves the interface to its tunnel process, which
 * ends in a moment: a restart at once waits for that.
 */
static int
set_iff(int fd, struct ifreq *ifr)
{
	const struct timespec pause = { 0, BUSY_MS * 1000000L };
	int i;

	for (i = 0; i < BUSY_TRIES; i++) {
		if (ioctl(fd, TUNSETIFF, ifr) == 0)
			return (0);
		if (errno != EBUSY)
			break;
		nanosleep(&pause, NULL);
	}
	return (-1);
}

/*
 * What the tunnel process does of a network card's work, so that the host's
 * kernel gives it packets of many segments. Older kernels know fewer. With
 * none it sends what it always did, behind an offload header that is 0.
 */
static void
set_offload(int fd)
{
	static const unsigned int offers[] = {
		TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO_ECN | TUN_F_USO4 |
		    TUN_F_USO6,
		TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO_ECN,
	};
	size_t i;

	for (i = 0; i < sizeof(offers) / sizeof(offers[0]); i++)
		if (ioctl(fd, TUNSETOFFLOAD, offers[i]) == 0)
			return;
}

static int
open_tun(const char *ifname, int left)
{
	struct ifreq ifr;
	int fd;

	fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd == -1) {
		log_warn("/dev/net/tun");
		return (-1);
	}
	memset(&ifr, 0, sizeof(ifr));
	strlcpy(ifr.ifr_name, ifname, sizeof(ifr.ifr_name));
	ifr.ifr_flags = (short)(IFF_TUN | IFF_NO_PI | IFF_VNET_HDR |
	    (left ? 0 : IFF_TUN_EXCL));
	if (set_iff(fd, &ifr) == 0) {
		set_offload(fd);
		return (fd);
	}
	if (errno == EBUSY)
		log_warnx("interface %s is there already: remove it, or "
		    "configure another name", ifname);
	else
		log_warn("cannot make the interface %s", ifname);
	close(fd);
	return (-1);
}

static int
bind_local(int fd, const struct in6_addr *local)
{
	struct sockaddr_in6 sin6;

	memset(&sin6, 0, sizeof(sin6));
	sin6.sin6_family = AF_INET6;
	sin6.sin6_addr = *local;
	if (bind(fd, (struct sockaddr *)&sin6, sizeof(sin6)) == 0)
		return (0);
	if (errno == EADDRNOTAVAIL)
		log_warnx("outer address %s is not on this host (or its "
		    "duplicate address detection has not ended)",
		    log_in6(local));
	else
		log_warn("outer address %s", log_in6(local));
	return (-1);
}

/*
 * RECVERR: see drain_errors in tunnel.c. PMTUDISC_WANT: the kernel cuts an
 * outer packet that the path does not take (RFC 2473, 7).
 */
static int
set_sock(int fd)
{
	int on = 1, pmtu = IPV6_PMTUDISC_WANT, size = SOCK_BUFFER;

	if (setsockopt(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, &on,
	    sizeof(on)) == -1 ||
	    setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &on,
	    sizeof(on)) == -1 ||
	    setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &pmtu,
	    sizeof(pmtu)) == -1) {
		log_warn("raw socket");
		return (-1);
	}
	/* Best effort: without it bursts are lost earlier. */
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	return (0);
}

/* The outer socket in *sock, -1 without an address: 0, or -1 logged. */
static int
open_sock(const struct in6_addr *local, int *sock)
{
	int fd;

	*sock = -1;
	if (IN6_IS_ADDR_UNSPECIFIED(local))
		return (0);
	fd = socket(AF_INET6, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC,
	    IPPROTO_IPIP);
	if (fd == -1) {
		log_warn("raw socket");
		return (-1);
	}
	if (bind_local(fd, local) == -1 || set_sock(fd) == -1) {
		close(fd);
		return (-1);
	}
	*sock = fd;
	return (0);
}

/*
 * What plane bpf left, and this plane has no use for; one that has a daemon
 * can not be opened.
 */
void
plane_tun_remove_left(const char *ifname)
{
	int fd;

	if (netlink_bpf_attached(ifname) == -1 ||
	    (fd = open_tun(ifname, 1)) == -1)
		return;
	if (netlink_link_del(ifname) == 0)
		log_info("interface %s of a daemon before is removed", ifname);
	close(fd);
}

/* The interface of a device: its descriptor, or -1. */
static int
open_link(const struct plane_dev *pd)
{
	int fd;

	if (!pd->left)
		plane_tun_remove_left(pd->ifname);
	if ((fd = open_tun(pd->ifname, pd->left)) == -1)
		return (-1);
	if (netlink_link_up(pd->ifname, pd->mtu) == 0)
		return (fd);
	log_warn("interface %s, MTU %u", pd->ifname, pd->mtu);
	close(fd);
	return (-1);
}

static int
tun_open(const struct plane_dev *pd)
{
	struct device *d = device_of(pd->dev);

	if (d->open)
		fatalx("tunnel device %u is open", pd->dev);
	memset(d, 0, sizeof(*d));
	RB_INIT(&d->entries);
	TAILQ_INIT(&d->todo);
	d->conf = *pd;
	if ((d->tun = open_link(pd)) == -1)
		return (-1);
	if (!IN6_IS_ADDR_UNSPECIFIED(&pd->local))
		netlink_bpf_clean(&pd->local);
	if (open_sock(&pd->local, &d->sock) == -1) {
		close(d->tun);
		return (-1);
	}
	d->open = 1;
	d->conf.left = 0;
	if (tunnel != NULL) {
		introduce(d);
		send_all(tunnel);
	}
	return (0);
}

int
plane_tun_persist(uint32_t dev)
{
	return (ioctl(device_of(dev)->tun, TUNSETPERSIST, 1));
}

static int
tun_reopen(uint32_t dev)
{
	struct device *d = device_of(dev);
	int fd;

	if (!d->open || (fd = open_link(&d->conf)) == -1)
		return (-1);
	close(d->tun);
	d->tun = fd;
	if (tunnel != NULL) {
		forget_todo(d);
		introduce(d);
		send_all(tunnel);
	}
	return (0);
}

static int
tun_move(const struct plane_dev *pd)
{
	struct device *d = device_of(pd->dev);
	int fd;

	if (!d->open || open_sock(&pd->local, &fd) == -1)
		return (-1);
	if (netlink_link_up(pd->ifname, pd->mtu) == -1) {
		log_warn("interface %s, MTU %u", pd->ifname, pd->mtu);
		if (fd != -1)
			close(fd);
		return (-1);
	}
	if (d->sock != -1)
		close(d->sock);
	d->sock = fd;
	d->conf = *pd;
	if (tunnel != NULL) {
		forget_todo(d);
		introduce(d);
		send_all(tunnel);
	}
	return (0);
}

/* The interface behind our descriptor, whoever has its name: 0, or -1. */
static int
tun_name(const struct device *d, struct ifreq *ifr)
{
	memset(ifr, 0, sizeof(*ifr));
	return (d->open ? ioctl(d->tun, TUNGETIFF, ifr) : -1);
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

	if (!d->open)
		return;
	fill_dev(d, &m);
	if (tunnel != NULL)
		msg_put(tunnel, MSG_TUNNEL_CLOSE, &m, sizeof(m));
	/* Now, and not when the process closes its descriptor. */
	if (tun_name(d, &ifr) == 0 && netlink_link_del(ifr.ifr_name) == -1 &&
	    errno != ENODEV)
		log_warn("interface %s can not be removed", ifr.ifr_name);
	close(d->tun);
	if (d->sock != -1)
		close(d->sock);
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
	if (tunnel == NULL)
		entry_free(d, e);
	else
		tell(d, e);
}

static void
tun_keepalive(const struct msg_tunnel_keepalive *m)
{
	struct device *d = device_of(m->dev);

	if (!d->open)
		return;
	d->keepalive = *m;
	if (tunnel != NULL)
		msg_put(tunnel, MSG_TUNNEL_KEEPALIVE, m, sizeof(*m));
}

static void
tun_list(uint32_t dev, uint32_t slot, uint32_t max, plane_entry_cb on_entry,
    plane_page_cb on_page, void *arg)
{
	struct msg_tunnel_list m;
	struct query *q;

	if (tunnel == NULL || !device_of(dev)->open) {
		on_page(NULL, arg);
		return;
	}
	if ((q = calloc(1, sizeof(*q))) == NULL)
		fatal(NULL);
	q->cookie = ++last_cookie;
	q->dev = dev;
	q->slot = slot;
	q->left = max;
	q->on_entry = on_entry;
	q->on_page = on_page;
	q->arg = arg;
	TAILQ_INSERT_TAIL(&queries, q, entry);
	memset(&m, 0, sizeof(m));
	m.cookie = q->cookie;
	m.dev = dev;
	m.slot = slot;
	m.max = max;
	msg_put(tunnel, MSG_TUNNEL_LIST, &m, sizeof(m));
}

/*
 * Answers: they come in the order of the questions. The process may have
 * been taken over: it may lie about its counters, about nothing else.
 */

static void
distrust(const char *what)
{
	if (!distrusted)
		log_warnx("tunnel: %s (said once)", what);
	distrusted = 1;
}

static struct query *
query_of(uint64_t cookie, uint32_t dev)
{
	struct query *q = TAILQ_FIRST(&queries);

	if (q == NULL || q->cookie != cookie || q->dev != dev) {
		distrust("an answer to no question");
		return (NULL);
	}
	return (q);
}

static void
query_end(struct query *q, const struct msg_tunnel_stats *ms)
{
	TAILQ_REMOVE(&queries, q, entry);
	q->on_page(ms, q->arg);
	free(q);
}

void
plane_tun_entry(struct msglink *l, struct msg *m)
{
	struct msg_tunnel_entry me;
	struct query *q;
	struct entry *e;

	(void)l;
	memcpy(&me, m->data, sizeof(me));
	if ((q = query_of(me.cookie, me.dev)) == NULL)
		return;
	if (q->left == 0) {
		distrust("more entries than it was asked for");
		query_end(q, NULL);
		return;
	}
	q->left--;
	/* One that was deleted while the answer was on its way is no lie. */
	if (!devices[q->dev].open ||
	    (e = entry_find(&devices[q->dev], me.v4)) == NULL || e->gone)
		return;
	me.v6 = e->v6;
	q->on_entry(&me, q->arg);
}

void
plane_tun_stats(struct msglink *l, struct msg *m)
{
	struct msg_tunnel_stats ms;
	struct query *q;

	(void)l;
	memcpy(&ms, m->data, sizeof(ms));
	if ((q = query_of(ms.cookie, ms.dev)) == NULL)
		return;
	if (ms.next != 0 && (ms.next <= q->slot || ms.next > SLOT_MAX)) {
		distrust("a page that leads nowhere");
		query_end(q, NULL);
		return;
	}
	if (ms.entries > devices[q->dev].count)
		ms.entries = devices[q->dev].count;
	query_end(q, &ms);
}

const struct plane	 plane_tun = {
	"tun", tun_open, tun_close, tun_exists, tun_reopen, tun_move, tun_add,
	tun_del, tun_keepalive, tun_list, NULL, NULL
};
