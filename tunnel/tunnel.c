/*
 * The tunnel process: moves packets between TUN devices and raw sockets that
 * the parent has opened. It has no other descriptor and no privilege.
 */
#include <sys/types.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <event2/event.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dstmd/msg.h"
#include "tunnel/tunnel.h"

#define BATCH		64
#define PACKET_MAX	65536
#define PAGE_MAX	256

struct device {
	int			 tun, sock;	/* -1: not there */
	struct event		*ev_tun, *ev_sock;
	struct msg_tunnel_dev	 conf;
	struct tunnel_map	*map;
	uint64_t		 drops[DROP_NREASON];
};

union control {
	struct cmsghdr	 align;
	uint8_t		 buf[CMSG_SPACE(sizeof(int))];
};

static struct event_base	*base;
static struct device		 devices[TUNNEL_DEV_MAX];

/* One batch, shared by all devices: the loop has one thread. */
static uint8_t			 packets[BATCH][PACKET_MAX];
static struct mmsghdr		 msgs[BATCH];
static struct iovec		 iovs[BATCH];
static struct sockaddr_in6	 names[BATCH];
static union control		 controls[BATCH];

static struct in_addr
addr_at(const uint8_t *p)
{
	struct in_addr a;

	memcpy(&a, p, sizeof(a));
	return (a);
}

/*
 * Into the tunnel
 */

/* The lease that a packet from this host belongs to; NULL: none. */
static struct tunnel_entry *
entry_out(struct device *d, const uint8_t *p)
{
	struct tunnel_entry *e;

	/* A node sends with its own address, a TEP to a node's. */
	e = tunnel_map_find(d->map, addr_at(p + (d->conf.is_node ? 12 : 16)));
	if (e == NULL)
		d->drops[d->conf.is_node ? DROP_INNER_SOURCE :
		    DROP_NO_LEASE]++;
	return (e);
}

/* Adds packet i of the batch as message n. */
static void
batch_out(unsigned int n, unsigned int i, size_t len,
    const struct tunnel_entry *e, uint8_t tclass)
{
	struct cmsghdr *c;
	int v = tclass;

	iovs[n].iov_base = packets[i];
	iovs[n].iov_len = len;
	memset(&names[n], 0, sizeof(names[n]));
	names[n].sin6_family = AF_INET6;
	names[n].sin6_addr = e->v6;
	memset(&msgs[n], 0, sizeof(msgs[n]));
	msgs[n].msg_hdr.msg_name = &names[n];
	msgs[n].msg_hdr.msg_namelen = sizeof(names[n]);
	msgs[n].msg_hdr.msg_iov = &iovs[n];
	msgs[n].msg_hdr.msg_iovlen = 1;
	if (v == 0)
		return;
	memset(&controls[n], 0, sizeof(controls[n]));
	msgs[n].msg_hdr.msg_control = &controls[n];
	msgs[n].msg_hdr.msg_controllen = sizeof(controls[n].buf);
	c = CMSG_FIRSTHDR(&msgs[n].msg_hdr);
	c->cmsg_level = IPPROTO_IPV6;
	c->cmsg_type = IPV6_TCLASS;
	c->cmsg_len = CMSG_LEN(sizeof(v));
	memcpy(CMSG_DATA(c), &v, sizeof(v));
}

/* A packet that the network refuses is lost, as on any link. */
static void
send_batch(struct device *d, unsigned int n)
{
	unsigned int done = 0;
	int r;

	while (done < n) {
		r = sendmmsg(d->sock, msgs + done, n - done, MSG_DONTWAIT);
		if (r > 0) {
			done += (unsigned int)r;
			continue;
		}
		if (errno == EINTR)
			continue;
		d->drops[DROP_QUEUE]++;
		done++;
	}
}

static void
on_tun(evutil_socket_t fd, short what, void *arg)
{
	struct device *d = arg;
	struct tunnel_entry *e;
	unsigned int i, n = 0;
	ssize_t r;
	size_t len;

	(void)what;
	for (i = 0; i < BATCH; i++) {
		r = read((int)fd, packets[i], PACKET_MAX);
		if (r <= 0)
			break;
		if ((len = ipv4_check(packets[i], (size_t)r)) == 0) {
			/* IPv6 of the host's own, on any new interface */
			if (packets[i][0] >> 4 != 6)
				d->drops[DROP_MALFORMED]++;
			continue;
		}
		if ((e = entry_out(d, packets[i])) == NULL)
			continue;
		ipv4_clamp_mss(packets[i], len, d->conf.mtu);
		e->out_packets++;
		e->out_bytes += len;
		batch_out(n++, i, len, e, ecn_encap(packets[i][1]));
	}
	if (d->sock != -1)
		send_batch(d, n);
	else
		d->drops[DROP_QUEUE] += n;
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
	return (e);
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

static void
packet_in(struct device *d, unsigned int i)
{
	struct tunnel_entry *e;
	uint8_t *p = packets[i];
	size_t len;

	if ((len = ipv4_check(p, msgs[i].msg_len)) == 0) {
		d->drops[DROP_MALFORMED]++;
		return;
	}
	if ((e = entry_in(d, p, &names[i].sin6_addr)) == NULL)
		return;
	if (ecn_decap(p, len, traffic_class(&msgs[i].msg_hdr)) == -1) {
		d->drops[DROP_ECN]++;
		return;
	}
	ipv4_clamp_mss(p, len, d->conf.mtu);
	e->in_packets++;
	e->in_bytes += len;
	if (d->tun == -1 || write(d->tun, p, len) == -1)
		d->drops[DROP_QUEUE]++;
}

static void
on_sock(evutil_socket_t fd, short what, void *arg)
{
	struct device *d = arg;
	int i, n;

	(void)what;
	for (i = 0; i < BATCH; i++) {
		iovs[i].iov_base = packets[i];
		iovs[i].iov_len = PACKET_MAX;
		memset(&msgs[i], 0, sizeof(msgs[i]));
		msgs[i].msg_hdr.msg_name = &names[i];
		msgs[i].msg_hdr.msg_namelen = sizeof(names[i]);
		msgs[i].msg_hdr.msg_iov = &iovs[i];
		msgs[i].msg_hdr.msg_iovlen = 1;
		msgs[i].msg_hdr.msg_control = &controls[i];
		msgs[i].msg_hdr.msg_controllen = sizeof(controls[i].buf);
	}
	/* An ICMPv6 error that waits on the socket is no packet. */
	n = recvmmsg((int)fd, msgs, BATCH, MSG_DONTWAIT, NULL);
	for (i = 0; i < n; i++)
		packet_in(d, (unsigned int)i);
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
	if (d->ev_tun != NULL) {
		event_free(d->ev_tun);
		close(d->tun);
	}
	if (d->ev_sock != NULL) {
		event_free(d->ev_sock);
		close(d->sock);
	}
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
	d->ev_tun = watch(d->tun, on_tun, d);
}

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
	struct msg_tunnel_entry me;
	struct device *d;

	(void)l;
	memcpy(&me, m->data, sizeof(me));
	d = device_of(me.dev);
	if (d->map != NULL)
		tunnel_map_add(d->map, me.v4, &me.v6);
}

static void
tunnel_del(struct msglink *l, struct msg *m)
{
	struct msg_tunnel_entry me;
	struct device *d;

	(void)l;
	memcpy(&me, m->data, sizeof(me));
	d = device_of(me.dev);
	if (d->map != NULL)
		(void)tunnel_map_del(d->map, me.v4);
}

static void
tunnel_list(struct msglink *l, struct msg *m)
{
	static struct tunnel_entry page[PAGE_MAX];
	struct msg_tunnel_list ml;
	struct msg_tunnel_entry me;
	struct msg_tunnel_stats st;
	struct device *d;
	uint32_t i, n = 0;

	memcpy(&ml, m->data, sizeof(ml));
	d = device_of(ml.dev);
	memset(&st, 0, sizeof(st));
	st.cookie = ml.cookie;
	st.dev = ml.dev;
	if (d->map != NULL) {
		st.entries = tunnel_map_count(d->map);
		memcpy(st.drops, d->drops, sizeof(st.drops));
		if (ml.max > 0)
			st.next = tunnel_map_page(d->map, ml.slot, page,
			    ml.max < PAGE_MAX ? ml.max : PAGE_MAX, &n);
	}
	for (i = 0; i < n; i++) {
		memset(&me, 0, sizeof(me));
		me.dev = ml.dev;
		me.v4 = page[i].v4;
		me.v6 = page[i].v6;
		me.in_packets = page[i].in_packets;
		me.in_bytes = page[i].in_bytes;
		me.out_packets = page[i].out_packets;
		me.out_bytes = page[i].out_bytes;
		me.cookie = ml.cookie;
		msg_put(l, MSG_TUNNEL_ENTRY, &me, sizeof(me));
	}
	msg_put(l, MSG_TUNNEL_STATS, &st, sizeof(st));
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
	{ MSG_TUNNEL_ADD, PRIV, sizeof(struct msg_tunnel_entry), 0, 0,
	    tunnel_add },
	{ MSG_TUNNEL_DEL, PRIV, sizeof(struct msg_tunnel_entry), 0, 0,
	    tunnel_del },
	{ MSG_TUNNEL_LIST, PRIV, sizeof(struct msg_tunnel_list), 0, 0,
	    tunnel_list },
	{ MSG_VERBOSE, PRIV, sizeof(struct msg_verbose), 0, 0,
	    proc_verbose },
	{ MSG_CONF_END, PRIV, 0, 0, 0, tunnel_ready },
};

int
main(int argc, char *argv[])
{
	size_t i;

	proc_child(PROC_TUNNEL, argc, argv);
	if ((base = event_base_new()) == NULL)
		fatalx("event_base_new");
	for (i = 0; i < TUNNEL_DEV_MAX; i++)
		devices[i].tun = devices[i].sock = -1;
	(void)msglink_new(base, PROC_FD_PRIV, PROC_PRIV, rules,
	    sizeof(rules) / sizeof(rules[0]), proc_closed, NULL);
	event_base_dispatch(base);
	return (0);
}
