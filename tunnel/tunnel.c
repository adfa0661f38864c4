/*
 * The tunnel process: moves packets between TUN devices and raw sockets that
 * the parent has opened. It has no other descriptor and no privilege. Where an
 * interface has several queues each has such a process, named by its number:
 * it knows nothing of the others.
 */
#include <sys/types.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <linux/errqueue.h>
#include <linux/virtio_net.h>
#include <netinet/icmp6.h>

#include <event2/event.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dstmd/msg.h"
#include "tunnel/rate.h"
#include "tunnel/tunnel.h"

#define BATCH		64	/* packets of one device, then others */
#define PACKET_MAX	65536
#define STRIDE		(PACKET_MAX + 320)	/* not all in one cache set */
#define SEGMENTS	128	/* sent by one call */
#define FRAME_MAX	(VNET_HEADER + PACKET_MAX)
#define FRAMES		(5 * FRAME_MAX)	/* octets: many small, or a few */
#define FRAME_ALIGN	64
/* As Linux, but for each queue: net.ipv4.icmp_msgs_burst, icmp_msgs_per_sec */
#define TOO_BIG_BURST	50
#define TOO_BIG_RATE	1000
#define SAY_MS		1000	/* between two words of a device's use */
#define KEEPALIVE_FIRST_MS 100	/* the socket comes behind the entries */

struct device {
	int			 tun, sock;	/* -1: not there */
	struct event		*ev_tun, *ev_sock;
	struct msg_tunnel_dev	 conf;
	struct tunnel_map	*map;
	uint64_t		 drops[DROP_NREASON];
	int			 used;	/* in this batch */
	int64_t			 said;	/* that it is, ms */
	struct bucket		 too_big;	/* what we say of packets */
	struct keepalive	 keepalive;
	struct event		*ev_keepalive;
};

union control {
	struct cmsghdr	 align;
	uint8_t		 buf[CMSG_SPACE(sizeof(int))];
};

/*
 * One batch in each direction, shared by all devices: the loop has one
 * thread, and a batch ends with the callback that began it.
 */
struct batch_in {
	uint8_t			 packets[BATCH][STRIDE];
	struct mmsghdr		 msgs[BATCH];
	struct iovec		 iovs[BATCH];
	struct sockaddr_in6	 names[BATCH];
	union control		 controls[BATCH];
	struct gro		 gro;
};

/* What was read from the host, and the packets that are made of it. */
struct batch_out {
	uint8_t			 frames[FRAMES];
	size_t			 used;		/* octets of frames */
	uint8_t			 headers[SEGMENTS][GSO_HEADER_MAX];
	unsigned int		 n;
	struct mmsghdr		 msgs[SEGMENTS];
	struct iovec		 iovs[SEGMENTS][2];
	struct sockaddr_in6	 names[SEGMENTS];
	union control		 controls[SEGMENTS];
	struct tunnel_entry	*entries[SEGMENTS];
};

static struct event_base	*base;
static struct msglink		*parent;
static struct device		 devices[TUNNEL_DEV_MAX];
static struct batch_out		 out;
static struct batch_in		 in;
static int64_t			 batch_ms;	/* when the batch began */

_Static_assert(BATCH <= GRO_MAX, "a batch is more than gro.c takes");

static void
batch_init(void)
{
	struct msghdr *mh;
	int i;

	for (i = 0; i < BATCH; i++) {
		mh = &in.msgs[i].msg_hdr;
		in.iovs[i].iov_base = in.packets[i];
		in.iovs[i].iov_len = PACKET_MAX;
		mh->msg_name = &in.names[i];
		mh->msg_iov = &in.iovs[i];
		mh->msg_iovlen = 1;
		mh->msg_control = &in.controls[i];
	}
	for (i = 0; i < SEGMENTS; i++) {
		mh = &out.msgs[i].msg_hdr;
		out.names[i].sin6_family = AF_INET6;
		mh->msg_name = &out.names[i];
		mh->msg_namelen = sizeof(out.names[i]);
		mh->msg_iov = out.iovs[i];
		mh->msg_control = &out.controls[i];
	}
}

static struct in_addr
addr_at(const uint8_t *p)
{
	struct in_addr a;

	memcpy(&a, p, sizeof(a));
	return (a);
}

/* The lease that a packet into the tunnel belongs to; NULL: none. */
static struct tunnel_entry *
entry_of(const struct device *d, const uint8_t *p)
{
	/* A node sends with its own address, a TEP to a node's. */
	return (tunnel_map_find(d->map,
	    addr_at(p + (d->conf.is_node ? 12 : 16))));
}

/* The largest inner packet that the path to e takes, as far as we know. */
static uint32_t
entry_mtu(const struct device *d, struct tunnel_entry *e)
{
	return (e->pmtu == 0 ? d->conf.mtu :
	    pmtu_inner(e, d->conf.mtu, batch_ms));
}

/*
 * What ICMPv6 says of packets that we sent
 */

/*
 * Packet Too Big about a packet of which this is the begin: who sends it
 * must know which lease's packets go to that far end.
 */
static void
too_big_in(struct device *d, const struct in6_addr *to, const uint8_t *p,
    uint32_t mtu)
{
	struct tunnel_entry *e;

	if (p[0] >> 4 == 4 && (e = entry_of(d, p)) != NULL &&
	    IN6_ARE_ADDR_EQUAL(&e->v6, to) &&
	    pmtu_learn(e, mtu, get16(p + 2), now_ms()))
		log_debug("path to %s takes %u octets", log_in6(to), mtu);
}

/* 0: there is none. */
static int
read_error(struct device *d)
{
	union {
		struct cmsghdr	 align;
		uint8_t		 buf[512];
	} control;
	struct sock_extended_err ee;
	struct sockaddr_in6 to;
	uint8_t quote[IPV4_HEADER];
	struct iovec iov = { quote, sizeof(quote) };
	struct msghdr mh;
	struct cmsghdr *c;

	memset(&mh, 0, sizeof(mh));
	mh.msg_name = &to;
	mh.msg_namelen = sizeof(to);
	mh.msg_iov = &iov;
	mh.msg_iovlen = 1;
	mh.msg_control = &control;
	mh.msg_controllen = sizeof(control);
	switch (recvmsg(d->sock, &mh, MSG_ERRQUEUE | MSG_DONTWAIT)) {
	case -1:
		return (0);
	case sizeof(quote):
		break;
	default:
		return (1);
	}
	for (c = CMSG_FIRSTHDR(&mh); c != NULL; c = CMSG_NXTHDR(&mh, c)) {
		if (c->cmsg_level != IPPROTO_IPV6 ||
		    c->cmsg_type != IPV6_RECVERR ||
		    c->cmsg_len < CMSG_LEN(sizeof(ee)))
			continue;
		memcpy(&ee, CMSG_DATA(c), sizeof(ee));
		if (ee.ee_origin == SO_EE_ORIGIN_ICMP6 &&
		    ee.ee_type == ICMP6_PACKET_TOO_BIG &&
		    mh.msg_namelen == sizeof(to))
			too_big_in(d, &to.sin6_addr, quote, ee.ee_info);
	}
	return (1);
}

/*
 * The socket asks for errors (IPV6_RECVERR), as only then the kernel learns
 * a smaller path MTU by a raw socket. They take of the receive buffer.
 */
static void
drain_errors(struct device *d)
{
	int i;

	for (i = 0; i < BATCH; i++)
		if (!read_error(d))
			return;
}

/*
 * Into the tunnel
 */

/*
 * The parent deletes what is over; but it may hang. NULL: it is, or was, and
 * n packets are dropped.
 */
static struct tunnel_entry *
entry_live(struct device *d, struct tunnel_entry *e, uint32_t n)
{
	if (e == NULL || batch_ms < e->until)
		return (e);
	d->drops[DROP_EXPIRED] += n;
	return (NULL);
}

/* Are n packets from, or to, what is no host's address? They are dropped. */
static int
is_martian(struct device *d, const uint8_t *p, uint32_t n)
{
	if (in_usable(addr_at(p + 12)) && in_usable(addr_at(p + 16)))
		return (0);
	d->drops[DROP_MARTIAN] += n;
	return (1);
}

/* The lease of n packets from this host; NULL: none. */
static struct tunnel_entry *
entry_out(struct device *d, const uint8_t *p, uint32_t n)
{
	struct tunnel_entry *e = entry_of(d, p);

	if (e == NULL)
		d->drops[d->conf.is_node ? DROP_INNER_SOURCE :
		    DROP_NO_LEASE] += n;
	return (entry_live(d, e, n));
}

/* May n packets, octets in all, pass? Each lease has its rate, each way. */
static int
in_time(struct device *d, unsigned long long *busy, size_t octets, uint32_t n)
{
	if (rate_take(busy, d->conf.rate, octets, (uint64_t)batch_ms * 1000000))
		return (1);
	d->drops[DROP_RATE] += n;
	return (0);
}

/* Another packet of the batch, to e's far end: its two pieces, empty. */
static struct iovec *
batch_out(struct tunnel_entry *e, int tclass)
{
	unsigned int n = out.n++;
	struct msghdr *mh = &out.msgs[n].msg_hdr;
	struct cmsghdr *c = &out.controls[n].align;

	out.entries[n] = e;
	out.names[n].sin6_addr = e->v6;
	mh->msg_iovlen = 1;
	mh->msg_controllen = 0;
	out.iovs[n][1].iov_len = 0;
	if (tclass == 0)
		return (out.iovs[n]);
	mh->msg_controllen = sizeof(out.controls[n].buf);
	c->cmsg_level = IPPROTO_IPV6;
	c->cmsg_type = IPV6_TCLASS;
	c->cmsg_len = CMSG_LEN(sizeof(tclass));
	memcpy(CMSG_DATA(c), &tclass, sizeof(tclass));
	return (out.iovs[n]);
}

static void
count_out(unsigned int from, unsigned int n)
{
	unsigned int i;

	for (i = from; i < from + n; i++) {
		out.entries[i]->out_packets++;
		out.entries[i]->out_bytes += out.iovs[i][0].iov_len +
		    out.iovs[i][1].iov_len;
	}
}

/*
 * A packet that the network refuses is lost, as on any link. An ICMPv6
 * error that waits on the socket fails the next send, whatever its packet:
 * once in a batch that one is sent again.
 */
static void
send_batch(struct device *d)
{
	unsigned int done = 0, n = out.n;
	int r, again = 1;

	out.n = 0;
	while (done < n) {
		r = sendmmsg(d->sock, out.msgs + done, n - done, MSG_DONTWAIT);
		if (r > 0) {
			count_out(done, (unsigned int)r);
			done += (unsigned int)r;
			if (done < n)
				drain_errors(d);
		} else if (errno == EAGAIN) {
			d->drops[DROP_QUEUE] += n - done;
			return;
		} else if (again) {
			drain_errors(d);
			again = 0;
		} else {
			d->drops[DROP_QUEUE]++;
			done++;
		}
	}
}

/* The host gets a packet in n pieces; iov[0] is for the offload header. */
static int
host_put(const struct device *d, struct virtio_net_hdr *vh, struct iovec *iov,
    int n)
{
	iov[0].iov_base = vh;
	iov[0].iov_len = sizeof(*vh);
	return (writev(d->tun, iov, n + 1) == -1 ? -1 : 0);
}

/* Tells the sender of a packet that it, or its first segment, is too big. */
static void
say_too_big(struct device *d, const struct gso *g, const uint8_t *p, size_t len,
    uint32_t mtu)
{
	uint8_t first[GSO_HEADER_MAX + TOO_BIG_MAX], icmp[TOO_BIG_MAX];
	struct virtio_net_hdr vh;
	struct iovec iov[2];
	uint8_t *payload;
	size_t n;

	if (!bucket_take(&d->too_big, TOO_BIG_BURST, TOO_BIG_RATE, batch_ms))
		return;
	if (g->hlen != 0) {
		gso_segment(g, p, len, 0, first, &payload, &n);
		len = g->hlen + (n < TOO_BIG_MAX ? n : TOO_BIG_MAX);
		memcpy(first + g->hlen, payload, len - g->hlen);
		p = first;
	}
	if ((n = pmtu_too_big(icmp, p, len, mtu)) == 0)
		return;
	memset(&vh, 0, sizeof(vh));
	iov[1].iov_base = icmp;
	iov[1].iov_len = n;
	if (host_put(d, &vh, iov, 1) == -1)
		log_debug("tunnel %u: ICMP: %s", d->conf.dev, strerror(errno));
}

/*
 * May it leave by a path that takes mtu? Without DF the outer packet is cut
 * (RFC 2473, 7.2). With DF the sender is told, and TCP goes on meanwhile, in
 * smaller segments: should the sender not hear of it, there is no black hole.
 */
static int
fits(struct device *d, struct gso *g, const uint8_t *p, size_t len,
    uint32_t mtu)
{
	size_t most = g->n > 1 ? g->hlen + g->size : len;

	if (most <= mtu || (get16(p + 6) & IPV4_DF) == 0)
		return (1);
	say_too_big(d, g, p, len, mtu);
	if (gso_shrink(g, p, len, mtu) == 0)
		return (1);
	d->drops[DROP_TOO_BIG] += g->n;
	return (0);
}

/* A packet for e joins the batch, as so many as g says. */
static void
cut_out(struct device *d, const struct gso *g, uint8_t *p, size_t len,
    struct tunnel_entry *e)
{
	struct iovec *iov;
	uint8_t *payload;
	uint32_t i;
	size_t n;

	for (i = 0; i < g->n; i++) {
		if (out.n == SEGMENTS)
			send_batch(d);
		iov = batch_out(e, ecn_encap(p[1]));
		if (g->hlen == 0) {
			iov[0].iov_base = p;
			iov[0].iov_len = len;
			return;
		}
		gso_segment(g, p, len, i, out.headers[out.n - 1], &payload, &n);
		iov[0].iov_base = out.headers[out.n - 1];
		iov[0].iov_len = g->hlen;
		iov[1].iov_base = payload;
		iov[1].iov_len = n;
		out.msgs[out.n - 1].msg_hdr.msg_iovlen = 2;
	}
}

static void
packet_out(struct device *d, uint8_t *p, size_t size,
    const struct virtio_net_hdr *vh)
{
	struct tunnel_entry *e;
	struct gso g;
	uint32_t mtu;
	size_t len;

	if ((len = ipv4_check(p, size)) == 0) {
		/* IPv6 of the host's own, on any new interface */
		if (size == 0 || p[0] >> 4 != 6)
			d->drops[DROP_MALFORMED]++;
		return;
	}
	if (d->conf.demand && ipv4_is_demand(p, len))
		d->used = 1;
	if (gso_open(&g, vh, p, len) == -1) {
		d->drops[DROP_MALFORMED]++;
		return;
	}
	if ((e = entry_out(d, p, g.n)) == NULL || is_martian(d, p, g.n) ||
	    !in_time(d, &e->out_busy, len + (g.n - 1) * g.hlen, g.n))
		return;
	mtu = entry_mtu(d, e);
	ipv4_clamp_mss(p, len, mtu);
	if (fits(d, &g, p, len, mtu))
		cut_out(d, &g, p, len, e);
}

/* The parent counts in seconds, and not each packet. */
static void
say_used(struct device *d)
{
	int64_t now = now_ms();

	d->used = 0;
	if (d->said != 0 && now - d->said < SAY_MS)
		return;
	d->said = now;
	msg_put(parent, MSG_TUNNEL_USED, &d->conf, sizeof(d->conf));
}

/* Somebody has removed the interface; waiting for it would be a loop. */
static void
tun_gone(struct device *d)
{
	msg_put(parent, MSG_TUNNEL_GONE, &d->conf, sizeof(d->conf));
	log_debug("interface of tunnel %u is gone: %s", d->conf.dev,
	    strerror(errno));
	event_free(d->ev_tun);
	d->ev_tun = NULL;
}

/* One packet of the host: 0 there is none. */
static int
read_tun(struct device *d, int fd)
{
	struct virtio_net_hdr vh;
	uint8_t *frame = out.frames + out.used;
	ssize_t r;

	if ((r = read(fd, frame, FRAME_MAX)) == -1) {
		if (errno != EAGAIN && errno != EINTR)
			tun_gone(d);
		return (0);
	}
	if ((size_t)r < sizeof(vh)) {
		d->drops[DROP_MALFORMED]++;
		return (1);
	}
	memcpy(&vh, frame, sizeof(vh));
	packet_out(d, frame + sizeof(vh), (size_t)r - sizeof(vh), &vh);
	out.used += ((size_t)r + FRAME_ALIGN - 1) / FRAME_ALIGN * FRAME_ALIGN;
	return (1);
}

static void
on_tun(evutil_socket_t fd, short what, void *arg)
{
	struct device *d = arg;
	int i;

	(void)what;
	batch_ms = now_ms();
	out.used = 0;
	for (i = 0; i < BATCH && out.n < BATCH &&
	    out.used + FRAME_MAX <= FRAMES; i++)
		if (!read_tun(d, (int)fd))
			break;
	if (d->used)
		say_used(d);
	send_batch(d);
}

/*
 * Out of the tunnel
 */

/* Hagino: the inner source must be the one that this outer source has. */
static struct tunnel_entry *
entry_in(struct device *d, const uint8_t *p, const struct in6_addr *from)
{
	struct tunnel_entry *e;

	e = tunnel_map_find(d->map, addr_at(p + (d->conf.is_node ? 16 : 12)));
	if (e == NULL)
		d->drops[d->conf.is_node ? DROP_NO_LEASE :
		    DROP_INNER_SOURCE]++;
	else if (!IN6_ARE_ADDR_EQUAL(&e->v6, from)) {
		d->drops[DROP_OUTER_SOURCE]++;
		e = NULL;
	}
	return (entry_live(d, e, 1));
}

static uint8_t
traffic_class(struct msghdr *mh)
{
	struct cmsghdr *c;
	int v = 0;

	for (c = CMSG_FIRSTHDR(mh); c != NULL; c = CMSG_NXTHDR(mh, c))
		if (c->cmsg_level == IPPROTO_IPV6 &&
		    c->cmsg_type == IPV6_TCLASS)
			memcpy(&v, CMSG_DATA(c), sizeof(v));
	return ((uint8_t)v);
}

/*
 * Whether the TEP of a node answers
 */

static void
say_peer(const struct device *d, int alive)
{
	struct msg_tunnel_peer m;

	memset(&m, 0, sizeof(m));
	m.dev = d->conf.dev;
	m.alive = (uint32_t)alive;
	msg_put(parent, MSG_TUNNEL_PEER, &m, sizeof(m));
}

/* A packet from the TEP: 1 it answers us, and is of no use to the host. */
static int
heard(struct device *d, const uint8_t *p, size_t len)
{
	int answer;

	if (d->keepalive.interval_ms == 0)
		return (0);
	answer = keepalive_is_answer(&d->keepalive, p, len);
	if (keepalive_heard(&d->keepalive, answer))
		say_peer(d, 1);
	return (answer);
}

static void
on_keepalive(evutil_socket_t fd, short what, void *arg)
{
	static uint8_t request[KEEPALIVE_SIZE];
	struct device *d = arg;
	struct tunnel_entry *e;
	struct iovec *iov;
	int64_t next;
	int send, died;

	(void)fd;
	(void)what;
	next = keepalive_tick(&d->keepalive, &send, &died);
	timer_set(d->ev_keepalive, next);
	if (send && d->sock != -1 &&
	    (e = tunnel_map_find(d->map, d->keepalive.v4)) != NULL &&
	    now_ms() < e->until) {
		iov = batch_out(e, 0);
		iov->iov_base = request;
		iov->iov_len = keepalive_packet(&d->keepalive, request);
		send_batch(d);
	}
	if (died)
		say_peer(d, 0);
}

static void
packet_in(struct device *d, int i)
{
	struct tunnel_entry *e;
	uint8_t *p = in.packets[i];
	size_t len;

	if ((len = ipv4_check(p, in.msgs[i].msg_len)) == 0) {
		d->drops[DROP_MALFORMED]++;
		return;
	}
	if ((e = entry_in(d, p, &in.names[i].sin6_addr)) == NULL ||
	    is_martian(d, p, 1) || !in_time(d, &e->in_busy, len, 1))
		return;
	if (ecn_decap(p, len, traffic_class(&in.msgs[i].msg_hdr)) == -1) {
		d->drops[DROP_ECN]++;
		return;
	}
	if (heard(d, p, len))
		return;
	ipv4_clamp_mss(p, len, entry_mtu(d, e));
	gro_add(&in.gro, p, len, e);
}

/* What packet_in has let through goes to the host. */
static void
flush_in(struct device *d)
{
	static struct iovec iov[1 + GRO_MAX];
	const struct gro_bundle *b;
	struct virtio_net_hdr vh;
	struct tunnel_entry *e;
	uint32_t i;
	int n;

	for (i = 0; i < in.gro.nbundles; i++) {
		b = &in.gro.bundles[i];
		e = b->owner;
		n = gro_frame(&in.gro, i, &vh, iov + 1);
		if (b->n == 1 && gso_received(&vh, iov[1].iov_base,
		    iov[1].iov_len, d->conf.mtu) == -1) {
			d->drops[DROP_MALFORMED]++;
			continue;
		}
		if (host_put(d, &vh, iov, n) == -1) {
			d->drops[DROP_QUEUE] += b->n;
			continue;
		}
		e->in_packets += b->n;
		e->in_bytes += b->octets;
	}
	in.gro.npackets = in.gro.nbundles = 0;
}

static void
on_sock(evutil_socket_t fd, short what, void *arg)
{
	struct device *d = arg;
	struct msghdr *mh;
	int i, n;

	(void)what;
	for (i = 0; i < BATCH; i++) {
		mh = &in.msgs[i].msg_hdr;
		mh->msg_namelen = sizeof(in.names[i]);
		mh->msg_controllen = sizeof(in.controls[i].buf);
	}
	batch_ms = now_ms();
	n = recvmmsg((int)fd, in.msgs, BATCH, MSG_DONTWAIT, NULL);
	for (i = 0; i < n; i++)
		packet_in(d, i);
	flush_in(d);
	if (n <= 0)
		drain_errors(d);
}

/*
 * From the parent
 */

static struct device *
device_of(uint32_t dev)
{
	if (dev >= TUNNEL_DEV_MAX)
		fatalx("device %u", dev);
	return (&devices[dev]);
}

static void
device_close(struct device *d)
{
	if (d->ev_tun != NULL)
		event_free(d->ev_tun);
	if (d->ev_sock != NULL)
		event_free(d->ev_sock);
	if (d->ev_keepalive != NULL)
		event_free(d->ev_keepalive);
	if (d->tun != -1)
		close(d->tun);
	if (d->sock != -1)
		close(d->sock);
	tunnel_map_free(d->map);
	memset(d, 0, sizeof(*d));
	d->tun = d->sock = -1;
}

static struct event *
watch(int fd, event_callback_fn cb, struct device *d)
{
	struct event *ev;

	ev = event_new(base, fd, EV_READ | EV_PERSIST, cb, d);
	if (ev == NULL || event_add(ev, NULL) == -1)
		fatalx("event_new");
	return (ev);
}

static void
tunnel_dev(struct msglink *l, struct msg *m)
{
	struct msg_tunnel_dev md;
	struct device *d;

	(void)l;
	memcpy(&md, m->data, sizeof(md));
	d = device_of(md.dev);
	device_close(d);
	d->conf = md;
	d->map = tunnel_map_new();
	d->tun = m->fd;
	m->fd = -1;
	/* Otherwise packets wait in the kernel for the entries. */
	if (md.demand)
		d->ev_tun = watch(d->tun, on_tun, d);
}

/* It comes behind the entries: from here on packets move. */
static void
tunnel_sock(struct msglink *l, struct msg *m)
{
	struct msg_tunnel_dev md;
	struct device *d;

	(void)l;
	memcpy(&md, m->data, sizeof(md));
	d = device_of(md.dev);
	if (d->map == NULL || d->sock != -1)
		fatalx("socket of device %u", md.dev);
	d->sock = m->fd;
	m->fd = -1;
	d->ev_sock = watch(d->sock, on_sock, d);
	if (d->ev_tun == NULL)
		d->ev_tun = watch(d->tun, on_tun, d);
}

static void
tunnel_close(struct msglink *l, struct msg *m)
{
	struct msg_tunnel_dev md;

	(void)l;
	memcpy(&md, m->data, sizeof(md));
	device_close(device_of(md.dev));
}

static void
tunnel_add(struct msglink *l, struct msg *m)
{
	struct msg_tunnel_lease ml;
	struct device *d;

	(void)l;
	memcpy(&ml, m->data, sizeof(ml));
	d = device_of(ml.dev);
	if (d->map != NULL)
		tunnel_map_add(d->map, ml.v4, &ml.v6, ml.until);
}

static void
tunnel_del(struct msglink *l, struct msg *m)
{
	struct msg_tunnel_lease ml;
	struct device *d;

	(void)l;
	memcpy(&ml, m->data, sizeof(ml));
	d = device_of(ml.dev);
	if (d->map != NULL)
		(void)tunnel_map_del(d->map, ml.v4);
}

static void
tunnel_keepalive(struct msglink *l, struct msg *m)
{
	struct msg_tunnel_keepalive mk;
	struct device *d;

	(void)l;
	memcpy(&mk, m->data, sizeof(mk));
	d = device_of(mk.dev);
	if (d->map == NULL)
		return;
	if (d->ev_keepalive == NULL &&
	    (d->ev_keepalive = evtimer_new(base, on_keepalive, d)) == NULL)
		fatalx("evtimer_new");
	evtimer_del(d->ev_keepalive);
	keepalive_start(&d->keepalive, &mk);
	if (mk.interval != 0)
		timer_set(d->ev_keepalive, KEEPALIVE_FIRST_MS);
}

static void
tunnel_list(struct msglink *l, struct msg *m)
{
	struct msg_tunnel_list ml;
	const struct device *d;

	memcpy(&ml, m->data, sizeof(ml));
	d = device_of(ml.dev);
	list_page(l, &ml, d->map, d->drops);
}

static void
tunnel_ask(struct msglink *l, struct msg *m)
{
	struct msg_tunnel_ask ma;

	memcpy(&ma, m->data, sizeof(ma));
	list_one(l, &ma, device_of(ma.dev)->map);
}

static void
tunnel_ready(struct msglink *l, struct msg *m)
{
	(void)m;
	msg_put(l, MSG_READY, NULL, 0);
}

#define PRIV	MSG_FROM(PROC_PRIV)
static const struct msg_rule	 rules[] = {
	{ MSG_TUNNEL_DEV, PRIV, sizeof(struct msg_tunnel_dev), 0, MSG_F_FD,
	    tunnel_dev },
	{ MSG_TUNNEL_SOCK, PRIV, sizeof(struct msg_tunnel_dev), 0, MSG_F_FD,
	    tunnel_sock },
	{ MSG_TUNNEL_CLOSE, PRIV, sizeof(struct msg_tunnel_dev), 0, 0,
	    tunnel_close },
	{ MSG_TUNNEL_ADD, PRIV, sizeof(struct msg_tunnel_lease), 0, 0,
	    tunnel_add },
	{ MSG_TUNNEL_DEL, PRIV, sizeof(struct msg_tunnel_lease), 0, 0,
	    tunnel_del },
	{ MSG_TUNNEL_KEEPALIVE, PRIV, sizeof(struct msg_tunnel_keepalive), 0, 0,
	    tunnel_keepalive },
	{ MSG_TUNNEL_LIST, PRIV, sizeof(struct msg_tunnel_list), 0, 0,
	    tunnel_list },
	{ MSG_TUNNEL_ASK, PRIV, sizeof(struct msg_tunnel_ask), 0, 0,
	    tunnel_ask },
	{ MSG_VERBOSE, PRIV, sizeof(struct msg_verbose), 0, 0,
	    proc_verbose },
	{ MSG_CONF_END, PRIV, 0, 0, 0, tunnel_ready },
};

/* Which of them we are, as we were started. */
static enum proc_id
who(const char *name)
{
	uint32_t id;

	for (id = PROC_TUNNEL + 1; id < PROC_TUNNEL + TUNNEL_QUEUE_MAX; id++)
		if (strcmp(proc_name(id), name) == 0)
			return ((enum proc_id)id);
	return (PROC_TUNNEL);
}

int
main(int argc, char *argv[])
{
	size_t i;

	proc_child(who(argc > 0 ? argv[0] : ""), argc, argv);
	if ((base = event_base_new()) == NULL)
		fatalx("event_base_new");
	for (i = 0; i < TUNNEL_DEV_MAX; i++)
		devices[i].tun = devices[i].sock = -1;
	batch_init();
	parent = msglink_new(base, PROC_FD_PRIV, PROC_PRIV, rules,
	    sizeof(rules) / sizeof(rules[0]), proc_closed, NULL);
	if (event_base_dispatch(base) == -1)
		fatal("event_base_dispatch");
	return (0);
}
