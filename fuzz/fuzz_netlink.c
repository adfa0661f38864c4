/*
 * What the kernel answers to the parent, by rtnetlink. A fuzzer's answer comes
 * in pieces, as the kernel's datagrams do; for some their number and port are
 * made right, as otherwise none would be looked at.
 */
/* COVERS: priv/netlink.c priv/netlink-short.c priv/netlink-tunnel.c priv/netlink-xfrm.c */
/* LINK: priv/netlink.o priv/netlink-short.o priv/netlink-tunnel.o priv/netlink-xfrm.o libdstmd.a */
/* LIBS: -lmnl -Wl,--wrap=mnl_socket_sendto -Wl,--wrap=mnl_socket_recvfrom */
#include <sys/types.h>
#include <sys/socket.h>

#include <linux/netlink.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <libmnl/libmnl.h>

#include "fuzz/fuzz.h"
#include "priv/netlink.h"

enum { UP, DEL, ADDR, ROUTE, ROUTE_DEL, RULE, CLEAN, HAS, MTU, LOCAL,
    NCALL };
enum { TUNNEL_ADD, TUNNEL_PROBE, TUNNEL_PEER, TUNNEL_DEL, TUNNEL_DROPS,
    LEASE_ADD, LEASE_DEL, LEASE_COUNT, BPF, BPF_OUTER, POLICIES,
    ADDR_ONLY, SHORT_MAY, SHORT_SET, SHORT_DEL, SHORT_OTHERS, NTUNNEL };

#define RIGHT	0x80		/* of the call: number and port are right */
#define TUNNEL	0x40		/* it is one of the second row */
#define NODE	0x10		/* and of a node */

static struct input	 in;
static uint32_t		 number;
static int		 right;

ssize_t	 __wrap_mnl_socket_sendto(const struct mnl_socket *, const void *,
	    size_t);
ssize_t	 __wrap_mnl_socket_recvfrom(const struct mnl_socket *, void *, size_t);

ssize_t
__wrap_mnl_socket_sendto(const struct mnl_socket *s, const void *p, size_t n)
{
	const struct nlmsghdr *nh = p;

	(void)s;
	/* what we ask is well-formed, whatever was answered before */
	MUST(n >= sizeof(*nh) && nh->nlmsg_len == n);
	number = nh->nlmsg_seq;
	return ((ssize_t)n);
}

static void
make_right(const struct mnl_socket *s, uint8_t *p, size_t n)
{
	struct nlmsghdr nh;
	size_t len;

	while (n >= sizeof(nh)) {
		memcpy(&nh, p, sizeof(nh));
		nh.nlmsg_seq = number;
		nh.nlmsg_pid = mnl_socket_get_portid(s);
		memcpy(p, &nh, sizeof(nh));
		len = NLMSG_ALIGN((size_t)nh.nlmsg_len);
		if (len < sizeof(nh) || len > n)
			break;
		p += len;
		n -= len;
	}
}

ssize_t
__wrap_mnl_socket_recvfrom(const struct mnl_socket *s, void *buf, size_t size)
{
	uint8_t *piece;
	size_t n;

	if (in.n == 0) {
		errno = EAGAIN;
		return (-1);
	}
	piece = input_piece(&in, &n);
	if (n > size)
		n = size;
	if (right)
		make_right(s, piece, n);
	memcpy(buf, piece, n);
	free(piece);
	return ((ssize_t)n);
}

void
fuzz_init(void)
{
	if (netlink_open() == -1 || netlink_short_open() == -1)
		abort();
	(void)netlink_watch_policies();	/* not every kernel has IPsec */
}

static const struct in_addr	 v4 = { 0x0a0200c0 };
static const struct in6_addr	 v6 = { { { 0x20, 1, 0xd, 0xb8, [15] = 1 } } };

static void
tunnel_one(uint32_t call, int is_node)
{
	const struct netlink_lease l = { 7, is_node, v4, v6, v6 };
	struct netlink_count from, to;
	struct netlink_outer outer;
	uint64_t drops[3];
	int i, others[2];
	ssize_t n;

	switch (call % NTUNNEL) {
	case TUNNEL_ADD:
		/* what is said to be an interface can be one */
		i = netlink_tunnel_add("dstm0", &v6, is_node ? &v6 : NULL);
		MUST(i == -1 || i > 0);
		break;
	case TUNNEL_PROBE:
		(void)netlink_tunnel_probe();
		break;
	case TUNNEL_PEER:
		(void)netlink_tunnel_peer(7, &v6, &v6);
		break;
	case TUNNEL_DEL:
		(void)netlink_tunnel_del(7);
		break;
	case TUNNEL_DROPS:
		(void)netlink_tunnel_drops(7, &drops[0], &drops[1],
		    &drops[2]);
		break;
	case LEASE_ADD:
		(void)netlink_lease_add(&l);
		break;
	case LEASE_DEL:
		(void)netlink_lease_del(&l);
		break;
	case LEASE_COUNT:
		(void)netlink_lease_count(&l, &from, &to);
		break;
	case BPF:
		i = netlink_bpf_attach("dstm0", 3);
		MUST(i == -1 || i > 0);
		break;
	case ADDR_ONLY:
		(void)netlink_addr_only("dstm0", v4);
		break;
	case POLICIES:
		i = netlink_has_policies();
		MUST(i == -1 || i == 0 || i == 1);
		break;
	case BPF_OUTER:
		memset(&outer, 0, sizeof(outer));
		if (netlink_bpf_attach_outer(&v6, 7, 3, &outer) == -1)
			break;
		MUST(outer.ifindex > 0);
		(void)netlink_bpf_attach_short(&outer, 3);
		(void)netlink_bpf_detach_outer(&outer);
		break;
	case SHORT_MAY:
		memset(&outer, 0, sizeof(outer));
		outer.ifindex = 8;
		(void)netlink_short_why_not(7, &outer, is_node);
		break;
	case SHORT_SET:
		(void)netlink_short_set(7, 8, 1460);
		break;
	case SHORT_DEL:
		memset(&outer, 0, sizeof(outer));
		outer.ifindex = 8;
		(void)netlink_short_del(&outer);
		(void)netlink_outer_moved(&outer, &v6);
		break;
	case SHORT_OTHERS:
		n = netlink_short_others(8, others, 2);
		MUST(n >= -1 && n <= 2);
		while (n-- > 0)
			MUST(others[n] > 0 && others[n] != 8);
		break;
	}
}

void
fuzz_one(const uint8_t *buf, size_t len)
{
	struct in6_addr ll;
	uint32_t call;

	in = (struct input){ buf, len };
	call = input_number(&in, 1);
	right = (call & RIGHT) != 0;
	if (call & TUNNEL) {
		tunnel_one(call & 0xf, (call & NODE) != 0);
		return;
	}
	switch ((call & ~(uint32_t)RIGHT) % NCALL) {
	case UP:
		(void)netlink_link_up("dstm0", 1460);
		break;
	case DEL:
		(void)netlink_link_del("dstm0");
		break;
	case ADDR:
		if (netlink_addr_add("dstm0", v4, 32) == 0)
			(void)netlink_addr_del("dstm0", v4, 32);
		break;
	case ROUTE:
		(void)netlink_route_add("dstm0", v4, 24, v4, 100, 1000);
		break;
	case ROUTE_DEL:
		(void)netlink_route_del("dstm0", v4, 24, 0, 0);
		break;
	case RULE:
		(void)netlink_rule_add(v4, 1000);
		break;
	case CLEAN:
		(void)netlink_rule_clean(1000);
		break;
	case HAS:
		(void)netlink_has_addr6(&v6);
		break;
	case MTU:
		(void)netlink_addr_mtu(&v6);
		break;
	case LOCAL:
		/* what is said to be link-local is */
		if (netlink_linklocal(&v6, &ll) == 0)
			MUST(IN6_IS_ADDR_LINKLOCAL(&ll));
		break;
	}
}
