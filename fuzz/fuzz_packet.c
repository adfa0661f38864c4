/*
 * The whole tunnel process, its two ends of each device replaced: packets come
 * from the host (an interface) and from the network (a raw socket). What it
 * passes on must belong to the lease of its far end. Between the packets the
 * parent's messages: leases come, move and go, devices are opened anew; the
 * keepalive's time passes when the input says so.
 */
/* COVERS: tunnel/tunnel.c tunnel/encap.c tunnel/map.c tunnel/list.c tunnel/keepalive.c tunnel/pmtu.c */
/* LINK: fuzz/tunnel-main.o tunnel/encap.o tunnel/sum.o tunnel/gso.o tunnel/gro.o tunnel/pmtu.o tunnel/map.o tunnel/list.o tunnel/keepalive.o libdstmd.a */
/* LIBS: -Wl,--wrap=recvmsg -Wl,--wrap=recvmmsg -Wl,--wrap=sendmmsg -Wl,--wrap=proc_child -Wl,--wrap=event_base_dispatch -Wl,--wrap=timer_set -Wl,--wrap=read */
#include <sys/types.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/errqueue.h>
#include <linux/virtio_net.h>
#include <netinet/icmp6.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "dstmd/msg.h"
#include "fuzz/fuzz.h"
#include "tunnel/tunnel.h"

#define LEASES	4	/* at first; and far ends, the TEP of the node behind */
#define ENTRIES	256	/* addresses that may have one */
#define TURNS	3
#define AGREE_TURNS 1000
#define MTU	1460

enum { AS_TEP, AS_NODE, NDEV };

/* Of an operation's octet. */
#define OP_NODE		0x01
#define OP_FROM_NET	0x02
#define OP_MEND		0x04	/* the header is made right */
#define OP_LEASE(o)	((o) >> 3 & 3)
#define OP_OTHER	0x20	/* from another end than the lease's */
#define OP_ASK		0x40	/* as an answer to our keepalive */
#define OP_OFFLOAD	0x20	/* of the host's: with an offload header */
#define OP_BATCH	0x80	/* of the host's: the next one with it */
#define OP_TOO_BIG	0x80	/* from the network: it did not take it */
/* Those at the end are no packet: OP_NODE and what is done. */
#define OP_CONTROL	0xe0
enum { TICK, ADD, DEL, LIST, CLOSE, OPEN, KEEPALIVE, GONE, SENDS, NCONTROL };

struct end {
	int	 tun, sock;	/* the far sides of what it was given */
	ino_t	 sock_ino;	/* of its own */
	struct in6_addr	 far[ENTRIES];	/* of each lease; none: :: */
};

static struct event_base	*base;
static struct msglink		*child;
static struct end		 ends[NDEV];
static const uint8_t		*packet;	/* from the network */
static size_t			 packet_len;
static struct in6_addr		 packet_from;
static int			 packet_class;
static uint32_t			 packet_mtu;	/* 0: it came through */
static const struct in_addr	 tep4 = { 0x016433c6 };	/* 198.51.100.1 */
static uint8_t			 asked[KEEPALIVE_SIZE];
static struct event		*ticker;
static int			 read_errno;	/* of an interface */
static int			 sent_errno, sent_max;	/* of the network */
static uint64_t			 asked_lists, answered;	/* cookies */
static int			 settling;	/* what comes is not ours */

int	 tunnel_main(int, char *[]);
ssize_t	 __real_recvmsg(int, struct msghdr *, int);
ssize_t	 __wrap_recvmsg(int, struct msghdr *, int);
int	 __wrap_recvmmsg(int, struct mmsghdr *, unsigned int, int,
	    struct timespec *);
int	 __wrap_sendmmsg(int, struct mmsghdr *, unsigned int, int);
void	 __wrap_proc_child(enum proc_id, int, char *[]);
int	 __wrap_event_base_dispatch(struct event_base *);
void	 __wrap_timer_set(struct event *, int64_t);
ssize_t	 __wrap_read(int, void *, size_t);
ssize_t	 __real_read(int, void *, size_t);

static struct in_addr
lease_v4(unsigned int i)
{
	struct in_addr v4 = { htonl(0xc6336410U + i) };

	return (v4);
}

static struct in6_addr
lease_v6(unsigned int i)
{
	struct in6_addr v6 = { { { 0x20, 1, 0xd, 0xb8 } } };

	v6.s6_addr[15] = (uint8_t)(i + 1);
	return (v6);
}

static int
lease_of(struct in_addr v4)
{
	uint32_t i = ntohl(v4.s_addr) - ntohl(lease_v4(0).s_addr);

	return (i < ENTRIES ? (int)i : -1);
}

/* Is this the far end of the lease that has this inner address? */
static int
is_far_of(uint32_t dev, struct in_addr v4, const struct in6_addr *v6)
{
	int i = lease_of(v4);

	if (settling)
		return (1);
	return (i != -1 && !IN6_IS_ADDR_UNSPECIFIED(&ends[dev].far[i]) &&
	    IN6_ARE_ADDR_EQUAL(&ends[dev].far[i], v6));
}

static struct in_addr
addr_at(const uint8_t *p)
{
	struct in_addr v4;

	memcpy(&v4, p, sizeof(v4));
	return (v4);
}

/*
 * What the tunnel process calls
 */

void
__wrap_proc_child(enum proc_id id, int argc, char *argv[])
{
	(void)argc;
	(void)argv;
	msg_self(id);
}

int
__wrap_event_base_dispatch(struct event_base *b)
{
	base = b;
	return (0);
}

/* The keepalive's alone: it runs when the input says so. */
void
__wrap_timer_set(struct event *ev, int64_t ms)
{
	MUST(ms > 0);
	ticker = ev;
}

ssize_t
__wrap_read(int fd, void *buf, size_t n)
{
	if (read_errno != 0) {
		errno = read_errno;
		return (-1);
	}
	return (__real_read(fd, buf, n));
}

int
__wrap_recvmmsg(int fd, struct mmsghdr *msgs, unsigned int n, int flags,
    struct timespec *timeout)
{
	struct msghdr *mh = &msgs[0].msg_hdr;
	struct sockaddr_in6 *from = mh->msg_name;
	struct cmsghdr *c = CMSG_FIRSTHDR(mh);
	char poke;

	(void)timeout;
	if (recv(fd, &poke, 1, flags) != 1 || packet == NULL ||
	    packet_mtu != 0)
		return (-1);
	MUST(n > 0);
	MUST(mh->msg_iovlen == 1 && mh->msg_iov->iov_len >= packet_len);
	memcpy(mh->msg_iov->iov_base, packet, packet_len);
	msgs[0].msg_len = (unsigned int)packet_len;
	from->sin6_addr = packet_from;
	c->cmsg_level = IPPROTO_IPV6;
	c->cmsg_type = IPV6_TCLASS;
	c->cmsg_len = CMSG_LEN(sizeof(packet_class));
	memcpy(CMSG_DATA(c), &packet_class, sizeof(packet_class));
	packet = NULL;
	return (1);
}

/* A Packet Too Big that waits. */
ssize_t
__wrap_recvmsg(int fd, struct msghdr *mh, int flags)
{
	struct sock_extended_err ee;
	struct cmsghdr *c;
	size_t n;

	if ((flags & MSG_ERRQUEUE) == 0)
		return (__real_recvmsg(fd, mh, flags));
	if (packet == NULL || packet_mtu == 0)
		return (-1);
	n = mh->msg_iov->iov_len < packet_len ? mh->msg_iov->iov_len :
	    packet_len;
	memcpy(mh->msg_iov->iov_base, packet, n);
	((struct sockaddr_in6 *)mh->msg_name)->sin6_addr = packet_from;
	memset(&ee, 0, sizeof(ee));
	ee.ee_origin = SO_EE_ORIGIN_ICMP6;
	ee.ee_type = ICMP6_PACKET_TOO_BIG;
	ee.ee_info = packet_mtu;
	c = CMSG_FIRSTHDR(mh);
	c->cmsg_level = IPPROTO_IPV6;
	c->cmsg_type = IPV6_RECVERR;
	c->cmsg_len = CMSG_LEN(sizeof(ee));
	memcpy(CMSG_DATA(c), &ee, sizeof(ee));
	mh->msg_controllen = CMSG_SPACE(sizeof(ee));
	packet = NULL;
	return ((ssize_t)n);
}

static ino_t
inode(int fd)
{
	struct stat st;

	MUST(fstat(fd, &st) == 0);
	return (st.st_ino);
}

/* A packet that leaves by IPv6: to the end that its inner address has. */
int
__wrap_sendmmsg(int fd, struct mmsghdr *msgs, unsigned int n, int flags)
{
	const struct sockaddr_in6 *to;
	const struct msghdr *mh;
	uint8_t p[65536];
	unsigned int i;
	size_t len, k;
	int node = inode(fd) == ends[AS_NODE].sock_ino;

	(void)flags;
	if (sent_errno != 0) {
		errno = sent_errno;
		return (-1);
	}
	if (sent_max > 0 && n > (unsigned int)sent_max)
		n = (unsigned int)sent_max;
	for (i = 0; i < n; i++) {
		mh = &msgs[i].msg_hdr;
		to = mh->msg_name;
		for (len = k = 0; k < mh->msg_iovlen; k++) {
			MUST(len + mh->msg_iov[k].iov_len <= sizeof(p));
			memcpy(p + len, mh->msg_iov[k].iov_base,
			    mh->msg_iov[k].iov_len);
			len += mh->msg_iov[k].iov_len;
		}
		MUST(ipv4_check(p, len) == len);
		MUST(is_far_of(node ? AS_NODE : AS_TEP,
		    addr_at(p + (node ? 12 : 16)), &to->sin6_addr));
		if (node && len == KEEPALIVE_SIZE && p[9] == IPPROTO_ICMP)
			memcpy(asked, p, len);
	}
	return ((int)n);
}

/*
 * Set up
 */

static void
ignore(struct msglink *l, struct msg *m)
{
	(void)l;
	(void)m;
}

static void
on_closed(struct msglink *l, const char *reason)
{
	(void)l;
	(void)reason;
	MUST(!"the tunnel process has left");
}

static void
on_entry(struct msglink *l, struct msg *m)
{
	struct msg_tunnel_entry me;

	(void)l;
	memcpy(&me, m->data, sizeof(me));
	MUST(is_far_of(me.dev, me.v4, &me.v6));
}

static void
on_stats(struct msglink *l, struct msg *m)
{
	struct msg_tunnel_stats st;
	uint32_t i, n = 0;

	(void)l;
	memcpy(&st, m->data, sizeof(st));
	for (i = 0; i < ENTRIES; i++)
		n += !IN6_IS_ADDR_UNSPECIFIED(&ends[st.dev].far[i]);
	MUST(settling || st.entries == n);
	answered = st.cookie;
}

#define FROM	MSG_FROM(PROC_TUNNEL)
static const struct msg_rule	 rules[] = {
	{ MSG_READY, FROM, 0, 0, 0, ignore },
	{ MSG_TUNNEL_USED, FROM, sizeof(struct msg_tunnel_dev), 0, 0, ignore },
	{ MSG_TUNNEL_PEER, FROM, sizeof(struct msg_tunnel_peer), 0, 0,
	    ignore },
	{ MSG_TUNNEL_GONE, FROM, sizeof(struct msg_tunnel_dev), 0, 0, ignore },
	{ MSG_TUNNEL_ENTRY, FROM, sizeof(struct msg_tunnel_entry), 0, 0,
	    on_entry },
	{ MSG_TUNNEL_STATS, FROM, sizeof(struct msg_tunnel_stats), 0, 0,
	    on_stats },
};

static int
end_new(int *ours)
{
	int sp[2];

	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
	    sp) == -1)
		abort();
	*ours = sp[0];
	return (sp[1]);
}

static void
turn(void)
{
	int i;

	for (i = 0; i < TURNS; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

static void
entry(enum msg_type type, uint32_t dev, unsigned int i,
    const struct in6_addr *far)
{
	struct msg_tunnel_lease me;

	memset(&me, 0, sizeof(me));
	me.dev = dev;
	me.until = INT64_MAX;
	me.v4 = lease_v4(i);
	me.v6 = ends[dev].far[i] = *far;
	msg_put(child, type, &me, sizeof(me));
}

static void
hang_up(struct end *e)
{
	if (e->tun != -1)
		close(e->tun);
	if (e->sock != -1)
		close(e->sock);
	memset(e, 0, sizeof(*e));
	e->tun = e->sock = -1;
}

static void
device(uint32_t dev)
{
	struct msg_tunnel_dev md;
	struct in6_addr far;
	unsigned int i;
	int sock;

	hang_up(&ends[dev]);
	memset(&md, 0, sizeof(md));
	md.dev = dev;
	md.is_node = md.demand = dev == AS_NODE;
	md.mtu = MTU;
	msg_send(child, MSG_TUNNEL_DEV, end_new(&ends[dev].tun), &md,
	    sizeof(md), NULL, 0);
	for (i = 0; i < (dev == AS_NODE ? 1 : LEASES); i++) {
		far = lease_v6(dev == AS_NODE ? LEASES : i);
		entry(MSG_TUNNEL_ADD, dev, i, &far);
	}
	sock = end_new(&ends[dev].sock);
	ends[dev].sock_ino = inode(sock);
	msg_send(child, MSG_TUNNEL_SOCK, sock, &md, sizeof(md), NULL, 0);
}

static void
keepalive(uint32_t dev, uint32_t interval, uint32_t answers)
{
	struct msg_tunnel_keepalive mk;

	memset(&mk, 0, sizeof(mk));
	mk.dev = dev;
	mk.interval = interval;
	mk.answers = answers;
	mk.v4 = lease_v4(0);
	mk.tep4 = tep4;
	msg_put(child, MSG_TUNNEL_KEEPALIVE, &mk, sizeof(mk));
}

static void
list(uint32_t dev, uint32_t slot, uint32_t max)
{
	struct msg_tunnel_list ml = { .cookie = ++asked_lists, .dev = dev,
	    .slot = slot, .max = max };
	struct msg_tunnel_ask ma = { .cookie = asked_lists, .dev = dev,
	    .v4 = lease_v4(slot % ENTRIES) };

	msg_put(child, MSG_TUNNEL_ASK, &ma, sizeof(ma));
	msg_put(child, MSG_TUNNEL_LIST, &ml, sizeof(ml));
}

/* Until it has read all that it was told: we know the same. */
static void
agree(void)
{
	int i;

	list(AS_TEP, 0, 0);
	list(AS_NODE, 0, 0);
	for (i = 0; i < AGREE_TURNS && answered != asked_lists; i++)
		turn();
	MUST(answered == asked_lists);
}

static void
tick(void)
{
	if (ticker != NULL)
		event_active(ticker, EV_TIMEOUT, 0);
	turn();
}

/* Each input finds the same: both devices, and a node that has asked once. */
static void
set_up(void)
{
	read_errno = sent_errno = sent_max = 0;
	ticker = NULL;
	device(AS_TEP);
	device(AS_NODE);
	keepalive(AS_NODE, 1, 0);
	agree();
	tick();
}

void
fuzz_init(void)
{
	struct event_base *ours;
	char name[] = "tunnel", *argv[] = { name, NULL };
	int sp[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
	    sp) == -1)
		abort();
	if (sp[0] == PROC_FD_PRIV && (sp[0] = dup(sp[0])) == -1)
		abort();
	if (sp[1] != PROC_FD_PRIV && dup2(sp[1], PROC_FD_PRIV) == -1)
		abort();
	tunnel_main(1, argv);
	ours = base;
	msg_self(PROC_PRIV);
	child = msglink_new(ours, sp[0], PROC_TUNNEL, rules,
	    sizeof(rules) / sizeof(rules[0]), on_closed, NULL);
	msg_put(child, MSG_CONF_END, NULL, 0);
	ends[AS_TEP].tun = ends[AS_TEP].sock = -1;
	ends[AS_NODE].tun = ends[AS_NODE].sock = -1;
	set_up();
}

/*
 * The packets
 */

static void
checksum(uint8_t *p, size_t len)
{
	uint32_t sum = 0;
	size_t i;

	p[10] = p[11] = 0;
	for (i = 0; i + 1 < len; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	while (sum > 0xffff)
		sum = (sum & 0xffff) + (sum >> 16);
	p[10] = (uint8_t)(~sum >> 8);
	p[11] = (uint8_t)~sum;
}

/* Of an IPv4 packet what the tunnel looks at first. */
static void
mend(uint8_t *p, size_t n, uint32_t op)
{
	struct in_addr v4 = lease_v4(OP_LEASE(op));
	size_t hlen;
	int at, came;

	if (n < 20)
		return;
	if ((p[0] & 0xf) < 5 || (p[0] & 0xfU) * 4U > n)
		p[0] = 5;
	p[0] = (uint8_t)(0x40 | (p[0] & 0xf));
	hlen = (p[0] & 0xfU) * 4U;
	p[2] = (uint8_t)(n >> 8);
	p[3] = (uint8_t)n;
	/* What is too big for the network is what the host has sent. */
	came = (op & (OP_FROM_NET | OP_TOO_BIG)) == OP_FROM_NET;
	at = ((op & OP_NODE) != 0) == came ? 16 : 12;
	memcpy(p + at, &v4, sizeof(v4));
	if ((op & OP_ASK) != 0 && n >= KEEPALIVE_SIZE) {
		memcpy(p + 20, asked + 20, KEEPALIVE_SIZE - 20);
		memcpy(p + 12, &tep4, sizeof(tep4));
		p[9] = IPPROTO_ICMP;
		p[20] = 0;
	}
	checksum(p, hlen);
}

/*
 * What the host gets came from the far end of its inner address, or says that
 * its own packet is too big.
 */
static void
host_reads(uint32_t op)
{
	uint8_t frame[VNET_HEADER + 65536], *out = frame + VNET_HEADER;
	ssize_t n;

	while ((n = recv(ends[op & OP_NODE].tun, frame, sizeof(frame),
	    MSG_DONTWAIT)) >= 0) {
		n -= VNET_HEADER;
		MUST(n > 0);
		MUST(ipv4_check(out, (size_t)n) == (size_t)n);
		if ((op & OP_FROM_NET) == 0) {
			MUST(out[9] == IPPROTO_ICMP && out[20] == 3 &&
			    out[21] == 4);
			continue;
		}
		MUST(is_far_of(op & OP_NODE,
		    addr_at(out + ((op & OP_NODE) != 0 ? 16 : 12)),
		    &packet_from));
	}
}

/*
 * What is under way is of a process that was killed within an input: by fork,
 * the engine gives all the same sockets.
 */
static void
settle(void)
{
	uint8_t out[VNET_HEADER + 65536];
	int i;

	packet = NULL;
	settling = 1;
	do {
		turn();
		for (i = 0; i < NDEV && (ends[i].tun == -1 ||
		    recv(ends[i].tun, out, sizeof(out), MSG_DONTWAIT) == -1);
		    i++)
			;
	} while (i < NDEV);
	settling = 0;
}

/* An interface that somebody has removed fails once, and is watched no more. */
static void
gone(uint32_t dev)
{
	if (ends[dev].tun == -1 || send(ends[dev].tun, "", 1, 0) == -1)
		return;
	read_errno = EBADFD;
	turn();
	read_errno = 0;
}

static void
control(struct input *in, uint32_t op)
{
	static const int errors[] = { 0, EAGAIN, ENETUNREACH, EPERM };
	static const struct in6_addr none;
	struct in6_addr far;
	struct msg_tunnel_dev md = { .dev = op & OP_NODE };
	uint32_t a = input_number(in, 1), b = input_number(in, 1);

	turn();				/* a batch that waits is of before */
	switch ((op & ~(uint32_t)OP_CONTROL) >> 1) {
	case TICK:
		tick();
		break;
	case ADD:
		if (ends[md.dev].tun == -1)
			break;
		far = lease_v6(b % (LEASES + 1));
		for (; a < ENTRIES; a += b / 16 > 0 ? b / 16 : ENTRIES)
			entry(MSG_TUNNEL_ADD, md.dev, a, &far);
		break;
	case DEL:
		for (; a < ENTRIES; a += b > 0 ? b : ENTRIES)
			entry(MSG_TUNNEL_DEL, md.dev, a, &none);
		break;
	case LIST:
		list(md.dev, a, b);
		break;
	case CLOSE:
		msg_put(child, MSG_TUNNEL_CLOSE, &md, sizeof(md));
		turn();
		hang_up(&ends[md.dev]);
		if (md.dev == AS_NODE)
			ticker = NULL;
		break;
	case OPEN:
		if (md.dev == AS_NODE)
			ticker = NULL;
		device(md.dev);
		break;
	case KEEPALIVE:
		if (md.dev == AS_NODE)
			keepalive(md.dev, a, b & 1);
		if (md.dev == AS_NODE && a == 0)
			ticker = NULL;		/* it was stopped */
		break;
	case GONE:
		gone(md.dev);
		break;
	case SENDS:
		sent_errno = errors[a % 4];
		sent_max = (int)b;
		break;
	}
	agree();
}

/* Of the host, behind an offload header: 0, or -1 it is too large. */
static int
host_writes(struct end *e, const uint8_t *vnet, const uint8_t *p, size_t n)
{
	struct iovec iov[2];

	memcpy(&iov[0].iov_base, &vnet, sizeof(vnet));
	iov[0].iov_len = VNET_HEADER;
	memcpy(&iov[1].iov_base, &p, sizeof(p));
	iov[1].iov_len = n;
	return (writev(e->tun, iov, 2) == -1 ? -1 : 0);
}

/* Several of the host's are one batch: nobody looks before the last. */
static void
packet_of(struct input *in, uint32_t op)
{
	struct end *e = &ends[op & OP_NODE];
	uint8_t vnet[VNET_HEADER] = { 0 };
	uint8_t *p;
	size_t n, i;

	packet_class = (int)input_number(in, 1);
	packet_mtu = 0;
	if ((op & (OP_FROM_NET | OP_OFFLOAD)) == OP_OFFLOAD)
		for (i = 0; i < sizeof(vnet); i++)
			vnet[i] = (uint8_t)input_number(in, 1);
	if ((op & OP_FROM_NET) != 0 && (op & OP_TOO_BIG) != 0)
		packet_mtu = input_number(in, 2);
	p = input_piece(in, &n);
	if (op & OP_MEND)
		mend(p, n, op);
	if (e->tun == -1)
		n = 0;				/* closed */
	else if (op & OP_FROM_NET) {
		packet = p;
		packet_len = n;
		packet_from = lease_v6(op & OP_NODE ? LEASES : OP_LEASE(op));
		if (op & OP_OTHER)
			packet_from.s6_addr[8] ^= 1;
		MUST(send(e->sock, "", 1, 0) == 1);
	} else if (host_writes(e, vnet, p, n) == -1)
		n = 0;				/* too large for it */
	if ((op & OP_FROM_NET) != 0 || (op & OP_BATCH) == 0 || in->n == 0)
		turn();
	packet = NULL;
	host_reads(op);
	free(p);
}

void
fuzz_one(const uint8_t *buf, size_t len)
{
	struct input in = { buf, len };
	uint32_t op;

	settle();
	set_up();
	while (in.n > 0) {
		op = input_number(&in, 1);
		if (op >= OP_CONTROL &&
		    ((op & ~(uint32_t)OP_CONTROL) >> 1) < NCONTROL)
			control(&in, op);
		else
			packet_of(&in, op);
	}
}
