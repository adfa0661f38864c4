/*
 * The whole tunnel process, its two ends of each device replaced: packets come
 * from the host (an interface) and from the network (a raw socket). What it
 * passes on must belong to the lease of its far end.
 */
/* COVERS: tunnel/tunnel.c tunnel/encap.c tunnel/map.c tunnel/keepalive.c tunnel/pmtu.c */
/* LINK: fuzz/tunnel-main.o tunnel/encap.o tunnel/sum.o tunnel/gso.o tunnel/gro.o tunnel/pmtu.o tunnel/map.o tunnel/keepalive.o libdstmd.a */
/* LIBS: -Wl,--wrap=recvmsg -Wl,--wrap=recvmmsg -Wl,--wrap=sendmmsg -Wl,--wrap=proc_child -Wl,--wrap=event_base_dispatch */
#include <sys/types.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <arpa/inet.h>
#include <linux/errqueue.h>
#include <linux/virtio_net.h>
#include <netinet/icmp6.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "dstmd/msg.h"
#include "fuzz/fuzz.h"
#include "tunnel/tunnel.h"

#define LEASES	4
#define TURNS	3
#define MTU	1460

enum { AS_TEP, AS_NODE, NDEV };

/* Of an operation's octet. */
#define OP_NODE		0x01
#define OP_FROM_NET	0x02
#define OP_MEND		0x04	/* the header is made right */
#define OP_LEASE(o)	((o) >> 3 & 3)
#define OP_OTHER	0x20	/* from another end than the lease's */
#define OP_ASK		0x40	/* as an answer to our keepalive */
#define OP_MORE		0x80	/* from the host: with an offload header;
				 * from the network: it is too big for it */

struct end {
	int	 tun, sock;	/* the far sides of what it was given */
	ino_t	 sock_ino;	/* of its own */
};

static struct event_base	*base;
static struct msglink		*child;
static struct end		 ends[NDEV];
static const uint8_t		*packet;	/* from the network */
static size_t			 packet_len;
static struct in6_addr		 packet_from;
static int			 packet_class;
static uint32_t			 packet_mtu;	/* 0: it came through */
static int			 learned;	/* the path of an entry */
static const struct in_addr	 tep4 = { 0x016433c6 };	/* 198.51.100.1 */
static uint8_t			 asked[2][KEEPALIVE_SIZE];

int	 tunnel_main(int, char *[]);
ssize_t	 __real_recvmsg(int, struct msghdr *, int);
ssize_t	 __wrap_recvmsg(int, struct msghdr *, int);
int	 __wrap_recvmmsg(int, struct mmsghdr *, unsigned int, int,
	    struct timespec *);
int	 __wrap_sendmmsg(int, struct mmsghdr *, unsigned int, int);
void	 __wrap_proc_child(enum proc_id, int, char *[]);
int	 __wrap_event_base_dispatch(struct event_base *);

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
	unsigned int i;

	for (i = 0; i < LEASES; i++)
		if (lease_v4(i).s_addr == v4.s_addr)
			return ((int)i);
	return (-1);
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
	learned = 1;
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
	struct in6_addr v6;
	unsigned int i;
	size_t len, k;
	int which, node = inode(fd) == ends[AS_NODE].sock_ino;

	(void)flags;
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
		if (node) {
			MUST(addr_at(p + 12).s_addr == lease_v4(0).s_addr);
			v6 = lease_v6(LEASES);
			if (len == KEEPALIVE_SIZE && p[9] == IPPROTO_ICMP)
				memcpy(asked[0], p, len);
		} else {
			MUST((which = lease_of(addr_at(p + 16))) != -1);
			v6 = lease_v6((unsigned int)which);
		}
		MUST(IN6_ARE_ADDR_EQUAL(&to->sin6_addr, &v6));
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

#define FROM	MSG_FROM(PROC_TUNNEL)
static const struct msg_rule	 rules[] = {
	{ MSG_READY, FROM, 0, 0, 0, ignore },
	{ MSG_TUNNEL_USED, FROM, sizeof(struct msg_tunnel_dev), 0, 0, ignore },
	{ MSG_TUNNEL_PEER, FROM, sizeof(struct msg_tunnel_peer), 0, 0,
	    ignore },
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
leases(uint32_t dev, uint32_t type)
{
	struct msg_tunnel_entry me;
	unsigned int i;

	memset(&me, 0, sizeof(me));
	me.dev = dev;
	for (i = 0; i < (dev == AS_NODE ? 1 : LEASES); i++) {
		me.v4 = lease_v4(i);
		me.v6 = lease_v6(dev == AS_NODE ? LEASES : i);
		msg_put(child, type, &me, sizeof(me));
	}
}

static void
device(uint32_t dev)
{
	struct msg_tunnel_dev md;
	int sock;

	memset(&md, 0, sizeof(md));
	md.dev = dev;
	md.is_node = md.demand = dev == AS_NODE;
	md.mtu = MTU;
	msg_send(child, MSG_TUNNEL_DEV, end_new(&ends[dev].tun), &md,
	    sizeof(md), NULL, 0);
	leases(dev, MSG_TUNNEL_ADD);
	sock = end_new(&ends[dev].sock);
	ends[dev].sock_ino = inode(sock);
	msg_send(child, MSG_TUNNEL_SOCK, sock, &md, sizeof(md), NULL, 0);
}

void
fuzz_init(void)
{
	struct msg_tunnel_keepalive mk;
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
	device(AS_TEP);
	device(AS_NODE);
	memset(&mk, 0, sizeof(mk));
	mk.dev = AS_NODE;
	mk.interval = 1;
	mk.v4 = lease_v4(0);
	mk.tep4 = tep4;
	msg_put(child, MSG_TUNNEL_KEEPALIVE, &mk, sizeof(mk));
	turn();
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
	came = (op & (OP_FROM_NET | OP_MORE)) == OP_FROM_NET;
	at = ((op & OP_NODE) != 0) == came ? 16 : 12;
	memcpy(p + at, &v4, sizeof(v4));
	if ((op & OP_ASK) != 0 && n >= KEEPALIVE_SIZE) {
		memcpy(p + 20, asked[0] + 20, KEEPALIVE_SIZE - 20);
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
	struct in6_addr v6;
	ssize_t n;
	int which;

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
		if (op & OP_NODE) {
			MUST(addr_at(out + 16).s_addr == lease_v4(0).s_addr);
			v6 = lease_v6(LEASES);
		} else {
			MUST((which = lease_of(addr_at(out + 12))) != -1);
			v6 = lease_v6((unsigned int)which);
		}
		MUST(IN6_ARE_ADDR_EQUAL(&packet_from, &v6));
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
	if (learned) {
		leases(AS_TEP, MSG_TUNNEL_DEL);
		leases(AS_TEP, MSG_TUNNEL_ADD);
		leases(AS_NODE, MSG_TUNNEL_DEL);
		leases(AS_NODE, MSG_TUNNEL_ADD);
		learned = 0;
	}
	do {
		turn();
		for (i = 0; i < NDEV && recv(ends[i].tun, out, sizeof(out),
		    MSG_DONTWAIT) == -1; i++)
			;
	} while (i < NDEV);
}

/* Of the host, behind an offload header. */
static void
host_writes(uint32_t op, const uint8_t *vnet, const uint8_t *p, size_t n)
{
	struct iovec iov[2];

	memcpy(&iov[0].iov_base, &vnet, sizeof(vnet));
	iov[0].iov_len = VNET_HEADER;
	memcpy(&iov[1].iov_base, &p, sizeof(p));
	iov[1].iov_len = n;
	/* One that is too large for the socket is lost. */
	(void)writev(ends[op & OP_NODE].tun, iov, 2);
}

void
fuzz_one(const uint8_t *buf, size_t len)
{
	struct input in = { buf, len };
	uint8_t vnet[VNET_HEADER];
	uint8_t *p;
	uint32_t op;
	size_t n, i;

	settle();
	while (in.n > 0) {
		op = input_number(&in, 1);
		packet_class = (int)input_number(&in, 1);
		packet_mtu = 0;
		memset(vnet, 0, sizeof(vnet));
		if ((op & (OP_MORE | OP_FROM_NET)) == OP_MORE)
			for (i = 0; i < sizeof(vnet); i++)
				vnet[i] = (uint8_t)input_number(&in, 1);
		else if (op & OP_MORE)
			packet_mtu = input_number(&in, 2);
		p = input_piece(&in, &n);
		if (op & OP_MEND)
			mend(p, n, op);
		if (op & OP_FROM_NET) {
			packet = p;
			packet_len = n;
			packet_from = lease_v6(op & OP_NODE ? LEASES :
			    OP_LEASE(op));
			if (op & OP_OTHER)
				packet_from.s6_addr[8] ^= 1;
			MUST(send(ends[op & OP_NODE].sock, "", 1, 0) == 1);
		} else
			host_writes(op, vnet, p, n);
		turn();
		host_reads(op);
		free(p);
	}
}
