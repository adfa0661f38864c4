/*
 * The parent's side of the user-space plane. It opens device and socket and
 * keeps both, and a table of the entries: a tunnel process that was
 * restarted gets all of it again, while packets wait in the kernel's queues.
 */
#include <sys/types.h>
#include <sys/ioctl.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include <net/if.h>
#include <linux/if_tun.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dstmd/msg.h"
#include "priv/netlink.h"
#include "tunnel/tunnel.h"

#define IPPROTO_4IN6	4		/* RFC 2473's next header */
#define SOCK_BUFFER	(4 * 1024 * 1024)
#define PAGE		256

struct device {
	int			 open;
	struct plane_dev	 conf;
	int			 tun, sock;
	struct tunnel_map	*map;
};

/* A page that somebody waits for. */
struct query {
	TAILQ_ENTRY(query)	 entry;
	uint64_t		 cookie;
	uint32_t		 dev;
	plane_entry_cb		 on_entry;
	plane_page_cb		 on_page;
	void			*arg;
};

static struct device	 devices[TUNNEL_DEV_MAX];
static struct msglink	*tunnel;
/* Where the new process has not got all entries yet: what comes next. */
static uint32_t		 sync_dev = TUNNEL_DEV_MAX, sync_slot;
static TAILQ_HEAD(, query) queries = TAILQ_HEAD_INITIALIZER(queries);
static uint64_t		 last_cookie;

static void
fill_dev(const struct device *d, struct msg_tunnel_dev *m)
{
	memset(m, 0, sizeof(*m));
	m->dev = d->conf.dev;
	m->is_node = (uint32_t)d->conf.is_node;
	m->mtu = d->conf.mtu;
	m->local = d->conf.local;
}

static void
send_dev(const struct device *d)
{
	struct msg_tunnel_dev m;
	int tun, sock;

	fill_dev(d, &m);
	tun = fcntl(d->tun, F_DUPFD_CLOEXEC, 0);
	sock = fcntl(d->sock, F_DUPFD_CLOEXEC, 0);
	if (tun == -1 || sock == -1)
		fatal("dup");
	msg_send(tunnel, MSG_TUNNEL_DEV, tun, &m, sizeof(m), NULL, 0);
	msg_send(tunnel, MSG_TUNNEL_SOCK, sock, &m, sizeof(m), NULL, 0);
}

static void
send_entry(uint32_t type, uint32_t dev, struct in_addr v4,
    const struct in6_addr *v6)
{
	struct msg_tunnel_entry m;

	memset(&m, 0, sizeof(m));
	m.dev = dev;
	m.v4 = v4;
	if (v6 != NULL)
		m.v6 = *v6;
	msg_put(tunnel, type, &m, sizeof(m));
}

/*
 * All entries, as fast as the process takes them. Changes meanwhile are in
 * the table and are sent as well: both say the same in the end.
 */
static void
sync_some(struct msglink *l)
{
	struct tunnel_entry page[PAGE];
	struct device *d;
	uint32_t i, n;

	while (sync_dev < TUNNEL_DEV_MAX && !msglink_full(l)) {
		d = &devices[sync_dev];
		n = 0;
		if (d->open)
			sync_slot = tunnel_map_page(d->map, sync_slot, page,
			    PAGE, &n);
		for (i = 0; i < n; i++)
			send_entry(MSG_TUNNEL_ADD, sync_dev, page[i].v4,
			    &page[i].v6);
		if (!d->open || sync_slot == 0) {
			sync_slot = 0;
			sync_dev++;
		}
	}
}

void
plane_tun_attach(struct msglink *l)
{
	struct query *q;
	size_t i;

	tunnel = l;
	while ((q = TAILQ_FIRST(&queries)) != NULL) {
		TAILQ_REMOVE(&queries, q, entry);
		q->on_page(NULL, q->arg);
		free(q);
	}
	if (l == NULL)
		return;
	for (i = 0; i < TUNNEL_DEV_MAX; i++)
		if (devices[i].open)
			send_dev(&devices[i]);
	sync_dev = sync_slot = 0;
	msglink_on_drained(l, sync_some);
	sync_some(l);
}

static int
open_tun(const char *ifname)
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
	ifr.ifr_flags = (short)(IFF_TUN | IFF_NO_PI | IFF_TUN_EXCL);
	if (ioctl(fd, TUNSETIFF, &ifr) == -1) {
		if (errno == EBUSY || errno == EEXIST)
			log_warnx("interface %s is there already", ifname);
		else
			log_warn("interface %s", ifname);
		close(fd);
		return (-1);
	}
	return (fd);
}

static int
open_sock(const struct in6_addr *local)
{
	struct sockaddr_in6 sin6;
	int fd, on = 1, size = SOCK_BUFFER;

	fd = socket(AF_INET6, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC,
	    IPPROTO_4IN6);
	if (fd == -1) {
		log_warn("raw socket");
		return (-1);
	}
	memset(&sin6, 0, sizeof(sin6));
	sin6.sin6_family = AF_INET6;
	sin6.sin6_addr = *local;
	if (bind(fd, (struct sockaddr *)&sin6, sizeof(sin6)) == -1) {
		log_warn("outer address %s", log_in6(local));
		close(fd);
		return (-1);
	}
	if (setsockopt(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, &on,
	    sizeof(on)) == -1) {
		log_warn("raw socket");
		close(fd);
		return (-1);
	}
	/* Best effort: without it bursts are lost earlier. */
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	return (fd);
}

static int
tun_open(const struct plane_dev *pd)
{
	struct device *d = &devices[pd->dev];

	if (d->open)
		fatalx("device %u is open", pd->dev);
	d->conf = *pd;
	if ((d->tun = open_tun(pd->ifname)) == -1)
		return (-1);
	if ((d->sock = open_sock(&pd->local)) == -1) {
		close(d->tun);
		return (-1);
	}
	if (netlink_link_up(pd->ifname, pd->mtu) == -1) {
		log_warn("interface %s, MTU %u", pd->ifname, pd->mtu);
		close(d->tun);
		close(d->sock);
		return (-1);
	}
	d->map = tunnel_map_new();
	d->open = 1;
	if (tunnel != NULL)
		send_dev(d);
	return (0);
}

static void
tun_close(uint32_t dev)
{
	struct device *d = &devices[dev];
	struct msg_tunnel_dev m;

	if (!d->open)
		return;
	fill_dev(d, &m);
	if (tunnel != NULL) {
		msg_put(tunnel, MSG_TUNNEL_CLOSE, &m, sizeof(m));
		/* The interface is gone when the last descriptor is. */
		(void)msglink_flush(tunnel, 100);
	}
	(void)netlink_link_del(d->conf.ifname);
	close(d->tun);
	close(d->sock);
	tunnel_map_free(d->map);
	memset(d, 0, sizeof(*d));
}

static void
tun_add(uint32_t dev, struct in_addr v4, const struct in6_addr *v6)
{
	if (!devices[dev].open)
		return;
	tunnel_map_add(devices[dev].map, v4, v6);
	if (tunnel != NULL)
		send_entry(MSG_TUNNEL_ADD, dev, v4, v6);
}

static void
tun_del(uint32_t dev, struct in_addr v4)
{
	if (!devices[dev].open)
		return;
	(void)tunnel_map_del(devices[dev].map, v4);
	/* The walk goes by slots, which a deletion moves: walk again. */
	if (sync_dev == dev)
		sync_slot = 0;
	if (tunnel != NULL)
		send_entry(MSG_TUNNEL_DEL, dev, v4, NULL);
}

static void
tun_list(uint32_t dev, uint32_t slot, uint32_t max, plane_entry_cb on_entry,
    plane_page_cb on_page, void *arg)
{
	struct msg_tunnel_list m;
	struct query *q;

	if (tunnel == NULL || !devices[dev].open) {
		on_page(NULL, arg);
		return;
	}
	if ((q = calloc(1, sizeof(*q))) == NULL)
		fatal(NULL);
	q->cookie = ++last_cookie;
	q->dev = dev;
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

/* Answers come in the order of the questions. */
static struct query *
query_of(uint64_t cookie, uint32_t dev)
{
	struct query *q = TAILQ_FIRST(&queries);

	if (q == NULL || q->cookie != cookie || q->dev != dev) {
		log_warnx("tunnel: an answer to no question");
		return (NULL);
	}
	return (q);
}

void
plane_tun_entry(struct msglink *l, struct msg *m)
{
	struct msg_tunnel_entry me;
	struct query *q;

	(void)l;
	memcpy(&me, m->data, sizeof(me));
	if ((q = query_of(me.cookie, me.dev)) != NULL)
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
	TAILQ_REMOVE(&queries, q, entry);
	q->on_page(&ms, q->arg);
	free(q);
}

const struct plane	 plane_tun = {
	"tun", tun_open, tun_close, tun_add, tun_del, tun_list
};
