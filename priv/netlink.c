#include <sys/types.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <net/if.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <libmnl/libmnl.h>

#include "dstmd/dstmd.h"
#include "priv/netlink.h"

#define BUF_SIZE	32768

static struct mnl_socket	*nl;
static uint32_t			 seq;
static uint8_t			 buf[BUF_SIZE];

int
netlink_open(void)
{
	struct timeval tv = { 5, 0 };	/* the kernel answers at once */

	if ((nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC)) == NULL ||
	    mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) == -1)
		return (-1);
	return (setsockopt(mnl_socket_get_fd(nl), SOL_SOCKET, SO_RCVTIMEO,
	    &tv, sizeof(tv)));
}

static struct nlmsghdr *
request(uint16_t type, uint16_t flags)
{
	struct nlmsghdr *nh;

	memset(buf, 0, sizeof(buf));
	nh = mnl_nlmsg_put_header(buf);
	nh->nlmsg_type = type;
	nh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	nh->nlmsg_seq = ++seq;
	return (nh);
}

/* Sends it; what comes back goes to cb. 0, or -1 with the kernel's errno. */
static int
talk(struct nlmsghdr *nh, mnl_cb_t cb, void *arg)
{
	uint32_t number = nh->nlmsg_seq;
	unsigned int port = mnl_socket_get_portid(nl);
	ssize_t n;
	int r = MNL_CB_OK;

	if (mnl_socket_sendto(nl, nh, nh->nlmsg_len) == -1)
		return (-1);
	while (r > MNL_CB_STOP) {
		if ((n = mnl_socket_recvfrom(nl, buf, sizeof(buf))) == -1)
			return (-1);
		r = mnl_cb_run(buf, (size_t)n, number, port, cb, arg);
		if (r == MNL_CB_ERROR && errno == ESRCH && cb == NULL)
			return (-1);
		if (r == MNL_CB_ERROR && errno == EPROTO)
			r = MNL_CB_OK;	/* of an older question */
	}
	return (r == MNL_CB_ERROR ? -1 : 0);
}

static int
index_of(const char *ifname)
{
	unsigned int i = if_nametoindex(ifname);

	return (i == 0 ? -1 : (int)i);
}

int
netlink_link_up(const char *ifname, uint32_t mtu)
{
	struct nlmsghdr *nh = request(RTM_NEWLINK, 0);
	struct ifinfomsg *ifi = mnl_nlmsg_put_extra_header(nh, sizeof(*ifi));
	struct nlattr *af, *inet6;

	ifi->ifi_family = AF_UNSPEC;
	if ((ifi->ifi_index = index_of(ifname)) == -1)
		return (-1);
	ifi->ifi_flags = ifi->ifi_change = IFF_UP;
	mnl_attr_put_u32(nh, IFLA_MTU, mtu);
	/* no link-local address: nothing speaks IPv6 within the tunnel */
	af = mnl_attr_nest_start(nh, IFLA_AF_SPEC);
	inet6 = mnl_attr_nest_start(nh, AF_INET6);
	mnl_attr_put_u8(nh, IFLA_INET6_ADDR_GEN_MODE,
	    IN6_ADDR_GEN_MODE_NONE);
	mnl_attr_nest_end(nh, inet6);
	mnl_attr_nest_end(nh, af);
	return (talk(nh, NULL, NULL));
}

int
netlink_link_del(const char *ifname)
{
	struct nlmsghdr *nh = request(RTM_DELLINK, 0);
	struct ifinfomsg *ifi = mnl_nlmsg_put_extra_header(nh, sizeof(*ifi));

	ifi->ifi_family = AF_UNSPEC;
	if ((ifi->ifi_index = index_of(ifname)) == -1)
		return (-1);
	return (talk(nh, NULL, NULL));
}

static int
addr(uint16_t type, uint16_t flags, const char *ifname, struct in_addr v4,
    int plen)
{
	struct nlmsghdr *nh = request(type, flags);
	struct ifaddrmsg *ifa = mnl_nlmsg_put_extra_header(nh, sizeof(*ifa));
	int i;

	if ((i = index_of(ifname)) == -1)
		return (-1);
	ifa->ifa_family = AF_INET;
	ifa->ifa_prefixlen = (uint8_t)plen;
	ifa->ifa_scope = RT_SCOPE_UNIVERSE;
	ifa->ifa_index = (uint32_t)i;
	mnl_attr_put_u32(nh, IFA_LOCAL, v4.s_addr);
	mnl_attr_put_u32(nh, IFA_ADDRESS, v4.s_addr);
	return (talk(nh, NULL, NULL));
}

int
netlink_addr_add(const char *ifname, struct in_addr v4, int plen)
{
	return (addr(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, ifname, v4,
	    plen));
}

int
netlink_addr_del(const char *ifname, struct in_addr v4, int plen)
{
	return (addr(RTM_DELADDR, 0, ifname, v4, plen));
}

static int
route(uint16_t type, uint16_t flags, const char *ifname, struct in_addr dst,
    int plen, struct in_addr src, uint32_t metric, uint32_t table)
{
	struct nlmsghdr *nh = request(type, flags);
	struct rtmsg *rtm = mnl_nlmsg_put_extra_header(nh, sizeof(*rtm));
	int i;

	if ((i = index_of(ifname)) == -1)
		return (-1);
	if (table == 0)
		table = RT_TABLE_MAIN;
	rtm->rtm_family = AF_INET;
	rtm->rtm_dst_len = (uint8_t)plen;
	rtm->rtm_table = table < 256 ? (uint8_t)table : RT_TABLE_UNSPEC;
	rtm->rtm_protocol = RTPROT_DSTMD;
	rtm->rtm_scope = RT_SCOPE_LINK;
	rtm->rtm_type = RTN_UNICAST;
	mnl_attr_put_u32(nh, RTA_TABLE, table);
	if (plen > 0)
		mnl_attr_put_u32(nh, RTA_DST, dst.s_addr);
	if (src.s_addr != 0)
		mnl_attr_put_u32(nh, RTA_PREFSRC, src.s_addr);
	if (metric != 0)
		mnl_attr_put_u32(nh, RTA_PRIORITY, metric);
	mnl_attr_put_u32(nh, RTA_OIF, (uint32_t)i);
	return (talk(nh, NULL, NULL));
}

int
netlink_route_add(const char *ifname, struct in_addr dst, int plen,
    struct in_addr src, uint32_t metric, uint32_t table)
{
	return (route(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, ifname, dst,
	    plen, src, metric, table));
}

int
netlink_route_del(const char *ifname, struct in_addr dst, int plen,
    uint32_t metric, uint32_t table)
{
	struct in_addr none = { 0 };

	return (route(RTM_DELROUTE, 0, ifname, dst, plen, none, metric,
	    table));
}

static struct nlmsghdr *
rule(uint16_t type, uint16_t flags, uint32_t table)
{
	struct nlmsghdr *nh = request(type, flags);
	struct fib_rule_hdr *frh = mnl_nlmsg_put_extra_header(nh,
	    sizeof(*frh));

	frh->family = AF_INET;
	frh->action = FR_ACT_TO_TBL;
	frh->table = table < 256 ? (uint8_t)table : RT_TABLE_UNSPEC;
	mnl_attr_put_u32(nh, FRA_TABLE, table);
	mnl_attr_put_u8(nh, FRA_PROTOCOL, RTPROT_DSTMD);
	return (nh);
}

int
netlink_rule_add(struct in_addr src, uint32_t table)
{
	struct nlmsghdr *nh = rule(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL,
	    table);
	struct fib_rule_hdr *frh = mnl_nlmsg_get_payload(nh);

	frh->src_len = 32;
	mnl_attr_put_u32(nh, FRA_SRC, src.s_addr);
	return (talk(nh, NULL, NULL));
}

int
netlink_rule_clean(uint32_t table)
{
	int i;

	/* One at a time, until the kernel finds no more. */
	for (i = 0; i < 1000; i++)
		if (talk(rule(RTM_DELRULE, 0, table), NULL, NULL) == -1)
			return (errno == ENOENT || errno == ESRCH ||
			    errno == EAFNOSUPPORT ? 0 : -1);
	return (0);
}

uint32_t
netlink_path_mtu(const struct in6_addr *local, const struct in6_addr *peer)
{
	struct sockaddr_in6 sin6;
	socklen_t len;
	int fd, mtu = 0;

	fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return (0);
	memset(&sin6, 0, sizeof(sin6));
	sin6.sin6_family = AF_INET6;
	sin6.sin6_addr = *local;
	if (bind(fd, (struct sockaddr *)&sin6, sizeof(sin6)) == 0) {
		sin6.sin6_addr = *peer;
		sin6.sin6_port = htons(TSP_PORT);	/* nothing is sent */
		len = sizeof(mtu);
		if (connect(fd, (struct sockaddr *)&sin6, sizeof(sin6)) == -1 ||
		    getsockopt(fd, IPPROTO_IPV6, IPV6_MTU, &mtu, &len) == -1)
			mtu = 0;
	}
	close(fd);
	return (mtu > 0 ? (uint32_t)mtu : 0);
}

/*
 * Dumps
 */
struct addr_search {
	const struct in6_addr	*want;
	int			 index;
	int			 linklocal;	/* 1: that of index instead */
	struct in6_addr		 found;
};

static int
addr_cb(const struct nlmsghdr *nh, void *arg)
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nh);
	struct addr_search *s = arg;
	const struct nlattr *a;
	struct in6_addr v6;

	mnl_attr_for_each(a, nh, sizeof(*ifa)) {
		if (mnl_attr_get_type(a) != IFA_ADDRESS ||
		    mnl_attr_get_payload_len(a) != sizeof(v6))
			continue;
		memcpy(&v6, mnl_attr_get_payload(a), sizeof(v6));
		if (!s->linklocal && IN6_ARE_ADDR_EQUAL(&v6, s->want))
			s->index = (int)ifa->ifa_index;
		else if (s->linklocal && (int)ifa->ifa_index == s->index &&
		    IN6_IS_ADDR_LINKLOCAL(&v6)) {
			s->found = v6;
			s->linklocal = 2;
		}
	}
	return (MNL_CB_OK);
}

static int
addr_dump(struct addr_search *s)
{
	struct nlmsghdr *nh = request(RTM_GETADDR, NLM_F_DUMP);
	struct ifaddrmsg *ifa = mnl_nlmsg_put_extra_header(nh, sizeof(*ifa));

	ifa->ifa_family = AF_INET6;
	return (talk(nh, addr_cb, s));
}

static int
index_of_addr(const struct in6_addr *v6)
{
	struct addr_search s;

	memset(&s, 0, sizeof(s));
	s.want = v6;
	if (addr_dump(&s) == -1 || s.index == 0) {
		errno = EADDRNOTAVAIL;
		return (-1);
	}
	return (s.index);
}

int
netlink_linklocal(const struct in6_addr *v6, struct in6_addr *ll)
{
	struct addr_search s;

	memset(&s, 0, sizeof(s));
	if ((s.index = index_of_addr(v6)) == -1)
		return (-1);
	s.linklocal = 1;
	if (addr_dump(&s) == -1 || s.linklocal != 2)
		return (-1);
	*ll = s.found;
	return (0);
}

static int
mtu_cb(const struct nlmsghdr *nh, void *arg)
{
	const struct nlattr *a;

	if (nh->nlmsg_type != RTM_NEWLINK)
		return (MNL_CB_OK);
	mnl_attr_for_each(a, nh, sizeof(struct ifinfomsg))
		if (mnl_attr_get_type(a) == IFLA_MTU &&
		    mnl_attr_get_payload_len(a) == sizeof(uint32_t))
			*(uint32_t *)arg = mnl_attr_get_u32(a);
	return (MNL_CB_OK);
}

uint32_t
netlink_addr_mtu(const struct in6_addr *v6)
{
	struct nlmsghdr *nh;
	struct ifinfomsg *ifi;
	uint32_t mtu = 0;
	int i;

	if ((i = index_of_addr(v6)) == -1)
		return (0);
	nh = request(RTM_GETLINK, 0);
	ifi = mnl_nlmsg_put_extra_header(nh, sizeof(*ifi));
	ifi->ifi_family = AF_UNSPEC;
	ifi->ifi_index = i;
	if (talk(nh, mtu_cb, &mtu) == -1)
		return (0);
	return (mtu);
}
