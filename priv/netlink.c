/*
 * rtnetlink by one socket, opened at the start: each call asks and waits for
 * the answer, which the kernel gives at once.
 */
#include <sys/types.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <net/if.h>
#include <linux/fib_rules.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <libmnl/libmnl.h>

#include "dstmd/dstmd.h"
#include "priv/netlink.h"
#include "priv/netlink-int.h"

#define BUF_SIZE	32768		/* what a piece of a dump may have */
#define WAIT_S		5
#define DUMP_TRIES	5		/* of one that changes under way */
#define FILTERS_MAX	64		/* on a hook, that are ours */
#define OTHERS_MAX	64		/* addresses of an interface of ours */
#define ALIKE_MAX	8		/* routes of ours: by shortcuts too */
#define RULES_MAX	100000		/* that a clean removes */

static struct mnl_socket	*nl;
static uint32_t			 seq;
static union {
	struct nlmsghdr	 align;
	uint8_t		 data[BUF_SIZE];
} buf;

struct mnl_socket *
netlink_socket(int protocol)
{
	struct timeval tv = { WAIT_S, 0 };
	struct mnl_socket *s;

	if ((s = mnl_socket_open2(protocol, SOCK_CLOEXEC)) == NULL)
		return (NULL);
	if (mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) == 0 &&
	    setsockopt(mnl_socket_get_fd(s), SOL_SOCKET, SO_RCVTIMEO, &tv,
	    sizeof(tv)) == 0)
		return (s);
	mnl_socket_close(s);
	return (NULL);
}

int
netlink_open(void)
{
	return ((nl = netlink_socket(NETLINK_ROUTE)) == NULL ? -1 : 0);
}

struct nlmsghdr *
netlink_request(uint16_t type, uint16_t flags)
{
	struct nlmsghdr *nh;

	nh = mnl_nlmsg_put_header(buf.data);
	nh->nlmsg_type = type;
	nh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	nh->nlmsg_seq = ++seq;
	return (nh);
}

/* A piece of the answer to that question: its length, or -1 with errno. */
static ssize_t
answer(struct mnl_socket *s, uint32_t number, int64_t end)
{
	ssize_t n;

	while (now_ms() < end) {
		n = mnl_socket_recvfrom(s, buf.data, sizeof(buf.data));
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1 && errno == EAGAIN)
			break;
		/* What comes too late for an older question has its number. */
		if (n == -1 || (n >= (ssize_t)sizeof(buf.align) &&
		    buf.align.nlmsg_seq == number))
			return (n);
	}
	errno = ETIMEDOUT;
	return (-1);
}

/*
 * Are these octets whole messages, each of its own length? The library takes
 * a length of more than 2 GB for a negative one, and goes on behind the buffer.
 */
static int
is_whole(size_t n)
{
	const uint8_t *p = buf.data;
	struct nlmsghdr nh;
	size_t len;

	for (; n >= sizeof(nh); p += len, n -= len) {
		memcpy(&nh, p, sizeof(nh));
		if (nh.nlmsg_len < sizeof(nh) || nh.nlmsg_len > n)
			return (0);
		len = MNL_ALIGN(nh.nlmsg_len);
		if (len > n)
			len = n;
	}
	return (n == 0);
}

int
netlink_ask(struct mnl_socket *s, struct nlmsghdr *nh, mnl_cb_t cb, void *arg)
{
	uint32_t number = nh->nlmsg_seq;
	int64_t end = now_ms() + WAIT_S * 1000;
	ssize_t n;
	int r;

	if (s == NULL) {
		errno = ENOTCONN;
		return (-1);
	}
	if (mnl_socket_sendto(s, nh, nh->nlmsg_len) == -1)
		return (-1);
	do {
		if ((n = answer(s, number, end)) == -1)
			return (-1);
		if (!is_whole((size_t)n)) {
			errno = EBADMSG;
			return (-1);
		}
		r = mnl_cb_run(buf.data, (size_t)n, number,
		    mnl_socket_get_portid(s), cb, arg);
	} while (r > MNL_CB_STOP);
	return (r == MNL_CB_STOP ? 0 : -1);
}

int
netlink_talk(struct nlmsghdr *nh, mnl_cb_t cb, void *arg)
{
	return (netlink_ask(nl, nh, cb, arg));
}

/*
 * Links
 */

int
netlink_link_cb(const struct nlmsghdr *nh, void *arg)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nh);
	struct netlink_link *link = arg;
	const struct nlattr *a;

	if (nh->nlmsg_type != RTM_NEWLINK ||
	    mnl_nlmsg_get_payload_len(nh) < sizeof(*ifi))
		return (MNL_CB_OK);
	link->index = ifi->ifi_index;
	link->type = ifi->ifi_type;
	link->flags = ifi->ifi_flags;
	mnl_attr_for_each(a, nh, sizeof(*ifi)) {
		if (mnl_attr_get_type(a) == IFLA_MTU &&
		    mnl_attr_get_payload_len(a) == sizeof(uint32_t))
			link->mtu = mnl_attr_get_u32(a);
		else if (mnl_attr_get_type(a) == IFLA_MASTER &&
		    mnl_attr_get_payload_len(a) == sizeof(uint32_t))
			link->master = mnl_attr_get_u32(a);
		else if (mnl_attr_get_type(a) == IFLA_ADDRESS &&
		    mnl_attr_get_payload_len(a) == sizeof(link->mac)) {
			memcpy(link->mac, mnl_attr_get_payload(a),
			    sizeof(link->mac));
			link->has_mac = 1;
		}
	}
	return (MNL_CB_OK);
}

int
netlink_link_get(const char *ifname, int index, struct netlink_link *link)
{
	struct nlmsghdr *nh;
	struct ifinfomsg *ifi;

	memset(link, 0, sizeof(*link));
	nh = netlink_request(RTM_GETLINK, 0);
	ifi = mnl_nlmsg_put_extra_header(nh, sizeof(*ifi));
	ifi->ifi_family = AF_UNSPEC;
	ifi->ifi_index = index;
	if (ifname != NULL) {
		if (ifname[0] == '\0' || strlen(ifname) >= IFNAMSIZ) {
			errno = ENODEV;
			return (-1);
		}
		mnl_attr_put_strz(nh, IFLA_IFNAME, ifname);
	}
	if (netlink_talk(nh, netlink_link_cb, link) == -1)
		return (-1);
	if (link->index <= 0) {
		errno = ENODEV;
		return (-1);
	}
	return (0);
}

static int
index_of(const char *ifname)
{
	struct netlink_link link;

	return (netlink_link_get(ifname, 0, &link) == -1 ? -1 : link.index);
}

static struct nlmsghdr *
link_request(uint16_t type, int index, struct ifinfomsg **ifi)
{
	struct nlmsghdr *nh = netlink_request(type, 0);

	*ifi = mnl_nlmsg_put_extra_header(nh, sizeof(**ifi));
	(*ifi)->ifi_family = AF_UNSPEC;
	(*ifi)->ifi_index = index;
	return (nh);
}

/* No link-local address: nothing speaks IPv6 within the tunnel. */
static int
link_quiet(int index)
{
	struct ifinfomsg *ifi;
	struct nlmsghdr *nh = link_request(RTM_NEWLINK, index, &ifi);
	struct nlattr *af, *inet6;

	af = mnl_attr_nest_start(nh, IFLA_AF_SPEC);
	inet6 = mnl_attr_nest_start(nh, AF_INET6);
	mnl_attr_put_u8(nh, IFLA_INET6_ADDR_GEN_MODE,
	    IN6_ADDR_GEN_MODE_NONE);
	mnl_attr_nest_end(nh, inet6);
	mnl_attr_nest_end(nh, af);
	return (netlink_talk(nh, NULL, NULL));
}

int
netlink_link_up(const char *ifname, uint32_t mtu)
{
	struct ifinfomsg *ifi;
	struct nlmsghdr *nh;
	int i;

	if ((i = index_of(ifname)) == -1)
		return (-1);
	/* An interface without IPv6 (by sysctl) is quiet as it is. */
	if (link_quiet(i) == -1)
		log_debug("%s: IPv6 stays on", ifname);
	/* Then the MTU: below 1280 the interface has no IPv6 any more. */
	nh = link_request(RTM_NEWLINK, i, &ifi);
	ifi->ifi_flags = ifi->ifi_change = IFF_UP;
	mnl_attr_put_u32(nh, IFLA_MTU, mtu);
	return (netlink_talk(nh, NULL, NULL));
}

int
netlink_link_del(const char *ifname)
{
	struct ifinfomsg *ifi;
	int i;

	if ((i = index_of(ifname)) == -1)
		return (-1);
	return (netlink_talk(link_request(RTM_DELLINK, i, &ifi), NULL, NULL));
}

/*
 * IPv4 addresses
 */

static int
plen_check(int plen)
{
	if (plen >= 0 && plen <= 32)
		return (0);
	errno = EINVAL;
	return (-1);
}

static int
addr(uint16_t type, uint16_t flags, const char *ifname, struct in_addr v4,
    int plen)
{
	struct nlmsghdr *nh;
	struct ifaddrmsg *ifa;
	int i;

	if (plen_check(plen) == -1 || (i = index_of(ifname)) == -1)
		return (-1);
	nh = netlink_request(type, flags);
	ifa = mnl_nlmsg_put_extra_header(nh, sizeof(*ifa));
	ifa->ifa_family = AF_INET;
	ifa->ifa_prefixlen = (uint8_t)plen;
	ifa->ifa_scope = RT_SCOPE_UNIVERSE;
	ifa->ifa_index = (uint32_t)i;
	mnl_attr_put_u32(nh, IFA_LOCAL, v4.s_addr);
	mnl_attr_put_u32(nh, IFA_ADDRESS, v4.s_addr);
	return (netlink_talk(nh, NULL, NULL));
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

int
netlink_dump(uint16_t type, uint8_t family, mnl_cb_t cb, void *arg)
{
	struct nlmsghdr *nh;
	struct rtgenmsg *rt;
	int tries;

	for (tries = 0; tries < DUMP_TRIES; tries++) {
		nh = netlink_request(type, NLM_F_DUMP);
		rt = mnl_nlmsg_put_extra_header(nh, sizeof(*rt));
		rt->rtgen_family = family;
		if (netlink_talk(nh, cb, arg) == 0)
			return (0);
		if (errno != EINTR)
			return (-1);
	}
	return (-1);
}

struct others {
	uint32_t	 index;
	struct in_addr	 but;
	struct in_addr	 v4[OTHERS_MAX];
	uint8_t		 plen[OTHERS_MAX];
	size_t		 n;
};

static int
others_cb(const struct nlmsghdr *nh, void *arg)
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nh);
	const struct nlattr *a;
	struct others *o = arg;

	if (nh->nlmsg_type != RTM_NEWADDR ||
	    mnl_nlmsg_get_payload_len(nh) < sizeof(*ifa) ||
	    ifa->ifa_family != AF_INET || ifa->ifa_index != o->index)
		return (MNL_CB_OK);
	mnl_attr_for_each(a, nh, sizeof(*ifa)) {
		if (mnl_attr_get_type(a) != IFA_LOCAL ||
		    mnl_attr_get_payload_len(a) != sizeof(struct in_addr) ||
		    mnl_attr_get_u32(a) == o->but.s_addr ||
		    o->n == OTHERS_MAX)
			continue;
		o->v4[o->n].s_addr = mnl_attr_get_u32(a);
		o->plen[o->n++] = ifa->ifa_prefixlen;
	}
	return (MNL_CB_OK);
}

int
netlink_addr_only(const char *ifname, struct in_addr v4)
{
	struct others o;
	size_t i;
	int index;

	if ((index = index_of(ifname)) == -1)
		return (-1);
	memset(&o, 0, sizeof(o));
	o.index = (uint32_t)index;
	o.but = v4;
	if (netlink_dump(RTM_GETADDR, AF_INET, others_cb, &o) == -1)
		return (-1);
	for (i = 0; i < o.n; i++)
		if (netlink_addr_del(ifname, o.v4[i], o.plen[i]) == -1 &&
		    errno != EADDRNOTAVAIL)
			return (-1);
	return (0);
}

/*
 * Routes
 */

struct nlmsghdr *
netlink_route(uint16_t type, uint16_t flags, struct in_addr dst, int plen,
    uint32_t metric, uint32_t table)
{
	struct nlmsghdr *nh = netlink_request(type, flags);
	struct rtmsg *rtm = mnl_nlmsg_put_extra_header(nh, sizeof(*rtm));

	if (table == 0)
		table = RT_TABLE_MAIN;
	rtm->rtm_family = AF_INET;
	rtm->rtm_dst_len = (uint8_t)plen;
	rtm->rtm_table = table < 256 ? (uint8_t)table : RT_TABLE_UNSPEC;
	rtm->rtm_protocol = RTPROT_DSTMD;
	rtm->rtm_scope = type == RTM_NEWROUTE ? RT_SCOPE_LINK :
	    RT_SCOPE_NOWHERE;		/* any */
	rtm->rtm_type = type == RTM_NEWROUTE ? RTN_UNICAST : RTN_UNSPEC;
	mnl_attr_put_u32(nh, RTA_TABLE, table);
	if (plen > 0)
		mnl_attr_put_u32(nh, RTA_DST, dst.s_addr);
	if (metric != 0)
		mnl_attr_put_u32(nh, RTA_PRIORITY, metric);
	return (nh);
}

static int
route_new(int index, uint16_t flags, struct in_addr dst, int plen,
    struct in_addr src, uint32_t metric, uint32_t table)
{
	struct nlmsghdr *nh = netlink_route(RTM_NEWROUTE, flags, dst, plen,
	    metric, table);

	if (src.s_addr != 0)
		mnl_attr_put_u32(nh, RTA_PREFSRC, src.s_addr);
	mnl_attr_put_u32(nh, RTA_OIF, (uint32_t)index);
	return (netlink_talk(nh, NULL, NULL));
}

/*
 * The kernel's own replacement would take the place of anybody's route, which
 * is not ours to remove and which nobody would put back.
 */
int
netlink_route_add(const char *ifname, struct in_addr dst, int plen,
    struct in_addr src, uint32_t metric, uint32_t table)
{
	const uint16_t excl = NLM_F_CREATE | NLM_F_EXCL;
	int i, n;

	if (plen_check(plen) == -1 || (i = index_of(ifname)) == -1)
		return (-1);
	if (route_new(i, excl, dst, plen, src, metric, table) == 0)
		return (0);
	if (errno != EEXIST)
		return (-1);
	/*
	 * To add without leave to create is refused in two ways: the very same
	 * is there, and carries packets; or it is not.
	 */
	if (route_new(i, 0, dst, plen, src, metric, table) == -1 &&
	    errno == EEXIST)
		return (0);
	for (n = 0; n < ALIKE_MAX; n++)
		if (netlink_talk(netlink_route(RTM_DELROUTE, 0, dst, plen,
		    metric, table), NULL, NULL) == -1) {
			if (errno != ESRCH)
				return (-1);
			break;
		}
	return (route_new(i, excl, dst, plen, src, metric, table));
}

int
netlink_route_del(const char *ifname, struct in_addr dst, int plen,
    uint32_t metric, uint32_t table)
{
	struct nlmsghdr *nh;
	int i;

	if (plen_check(plen) == -1 || (i = index_of(ifname)) == -1)
		return (-1);
	nh = netlink_route(RTM_DELROUTE, 0, dst, plen, metric, table);
	mnl_attr_put_u32(nh, RTA_OIF, (uint32_t)i);
	return (netlink_talk(nh, NULL, NULL));
}

/*
 * Rules
 */

static struct nlmsghdr *
rule(uint16_t type, uint16_t flags, uint32_t table, struct fib_rule_hdr **frh)
{
	struct nlmsghdr *nh = netlink_request(type, flags);
	struct fib_rule_hdr *h = mnl_nlmsg_put_extra_header(nh, sizeof(*h));

	h->family = AF_INET;
	h->action = FR_ACT_TO_TBL;
	h->table = table < 256 ? (uint8_t)table : RT_TABLE_UNSPEC;
	mnl_attr_put_u32(nh, FRA_TABLE, table);
	mnl_attr_put_u8(nh, FRA_PROTOCOL, RTPROT_DSTMD);
	*frh = h;
	return (nh);
}

int
netlink_rule_add(struct in_addr src, uint32_t table)
{
	struct fib_rule_hdr *frh;
	struct nlmsghdr *nh = rule(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL,
	    table, &frh);

	frh->src_len = 32;
	mnl_attr_put_u32(nh, FRA_SRC, src.s_addr);
	if (netlink_talk(nh, NULL, NULL) == -1 && errno != EEXIST)
		return (-1);
	return (0);
}

int
netlink_rule_clean(uint32_t table)
{
	struct fib_rule_hdr *frh;
	int i;

	/* One at a time, until the kernel finds no more. */
	for (i = 0; i < RULES_MAX; i++)
		if (netlink_talk(rule(RTM_DELRULE, 0, table, &frh), NULL,
		    NULL) == -1)
			return (errno == ENOENT || errno == ESRCH ||
			    errno == EAFNOSUPPORT ? 0 : -1);
	errno = E2BIG;
	return (-1);
}

/*
 * The outer side: IPv6 addresses and MTU
 */

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

/* The interface of an address; or the link-local address of an interface. */
struct addr_search {
	const struct in6_addr	*want;		/* NULL: link-local */
	int			 index;		/* 0: not found */
	int			 found;
	struct in6_addr		 linklocal;
};

static int
addr_cb(const struct nlmsghdr *nh, void *arg)
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nh);
	struct addr_search *s = arg;
	const struct nlattr *a;
	struct in6_addr v6;
	int local = 0;

	if (nh->nlmsg_type != RTM_NEWADDR ||
	    mnl_nlmsg_get_payload_len(nh) < sizeof(*ifa) ||
	    ifa->ifa_family != AF_INET6)
		return (MNL_CB_OK);
	memset(&v6, 0, sizeof(v6));
	/* IFA_ADDRESS is the peer's where there is IFA_LOCAL. */
	mnl_attr_for_each(a, nh, sizeof(*ifa)) {
		if ((mnl_attr_get_type(a) != IFA_LOCAL &&
		    (mnl_attr_get_type(a) != IFA_ADDRESS || local)) ||
		    mnl_attr_get_payload_len(a) != sizeof(v6))
			continue;
		local = mnl_attr_get_type(a) == IFA_LOCAL;
		memcpy(&v6, mnl_attr_get_payload(a), sizeof(v6));
	}
	if (s->want != NULL && IN6_ARE_ADDR_EQUAL(&v6, s->want))
		s->index = (int)ifa->ifa_index;
	else if (s->want == NULL && !s->found && IN6_IS_ADDR_LINKLOCAL(&v6) &&
	    (int)ifa->ifa_index == s->index) {
		s->linklocal = v6;
		s->found = 1;
	}
	return (MNL_CB_OK);
}

static int
index_of_addr(const struct in6_addr *v6)
{
	struct addr_search s;

	memset(&s, 0, sizeof(s));
	s.want = v6;
	if (netlink_dump(RTM_GETADDR, AF_INET6, addr_cb, &s) == -1)
		return (-1);
	if (s.index <= 0) {
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
	if ((s.index = index_of_addr(v6)) == -1 ||
	    netlink_dump(RTM_GETADDR, AF_INET6, addr_cb, &s) == -1)
		return (-1);
	if (!s.found) {
		errno = EADDRNOTAVAIL;
		return (-1);
	}
	*ll = s.linklocal;
	return (0);
}

uint32_t
netlink_addr_mtu(const struct in6_addr *v6)
{
	struct netlink_link link;
	int i;

	if ((i = index_of_addr(v6)) == -1 || netlink_link_get(NULL, i, &link) == -1)
		return (0);
	return (link.mtu);
}

int
netlink_has_addr6(const struct in6_addr *v6)
{
	return (index_of_addr(v6) != -1 || errno != EADDRNOTAVAIL);
}

/*
 * tc programs. Ours have RTPROT_DSTMD as their preference, and as their handle
 * the index of the device that they serve.
 */

struct nlmsghdr *
netlink_tc(uint16_t type, uint16_t flags, int ifindex, uint32_t parent)
{
	struct nlmsghdr *nh = netlink_request(type, flags);
	struct tcmsg *t = mnl_nlmsg_put_extra_header(nh, sizeof(*t));

	t->tcm_family = AF_UNSPEC;
	t->tcm_ifindex = ifindex;
	t->tcm_parent = parent;
	return (nh);
}

static struct nlmsghdr *
filter(uint16_t type, uint16_t flags, int ifindex, uint32_t hook, int handle)
{
	struct nlmsghdr *nh;
	struct tcmsg *t;

	nh = netlink_tc(type, flags, ifindex, TC_H_MAKE(TC_H_CLSACT, hook));
	t = mnl_nlmsg_get_payload(nh);
	t->tcm_info = TC_H_MAKE((uint32_t)RTPROT_DSTMD << 16,
	    htons(0x0003));		/* ETH_P_ALL */
	t->tcm_handle = (uint32_t)handle;
	mnl_attr_put_strz(nh, TCA_KIND, "bpf");
	return (nh);
}

/* Filters on a hook of an interface. */
struct filters {
	uint32_t	 total;			/* anybody's */
	uint32_t	 nours;
	uint32_t	 ours[FILTERS_MAX];	/* handles */
};

static int
filter_cb(const struct nlmsghdr *nh, void *arg)
{
	const struct tcmsg *t = mnl_nlmsg_get_payload(nh);
	struct filters *f = arg;

	/* With the handle 0 a classifier is told before its filters. */
	if (nh->nlmsg_type != RTM_NEWTFILTER ||
	    mnl_nlmsg_get_payload_len(nh) < sizeof(*t) || t->tcm_handle == 0)
		return (MNL_CB_OK);
	f->total++;
	if (t->tcm_info >> 16 == RTPROT_DSTMD && f->nours < FILTERS_MAX)
		f->ours[f->nours++] = t->tcm_handle;
	return (MNL_CB_OK);
}

static int
filters_get(int ifindex, uint32_t hook, struct filters *f)
{
	int tries;

	for (tries = 0; tries < DUMP_TRIES; tries++) {
		memset(f, 0, sizeof(*f));
		if (netlink_talk(netlink_tc(RTM_GETTFILTER, NLM_F_DUMP, ifindex,
		    TC_H_MAKE(TC_H_CLSACT, hook)), filter_cb, f) == 0)
			return (0);
		if (errno != EINTR)
			break;
	}
	return (-1);
}

static int
has_own(int ifindex, uint32_t hook, uint32_t handle)
{
	struct filters f;
	uint32_t i;

	if (filters_get(ifindex, hook, &f) == -1)
		return (-1);
	for (i = 0; i < f.nours; i++)
		if (f.ours[i] == handle)
			return (1);
	return (0);
}

/*
 * The device of that index serves somebody as long as it has our program at
 * its egress: the index alone may be a later interface's.
 */
int
netlink_bpf_is_served(uint32_t ifindex)
{
	int r = has_own((int)ifindex, TC_H_MIN_EGRESS, ifindex);

	return (r == -1 ? errno != ENODEV && errno != EINVAL : r);
}

uint32_t
netlink_bpf_short_of(int ifindex)
{
	struct filters f;
	uint32_t i;

	if (filters_get(ifindex, TC_H_MIN_EGRESS, &f) == -1)
		return (0);
	for (i = 0; i < f.nours; i++)
		if (f.ours[i] != (uint32_t)ifindex &&
		    netlink_bpf_is_served(f.ours[i]))
			return (f.ours[i]);
	return (0);
}

int
netlink_bpf_attached(const char *ifname)
{
	int i;

	if ((i = index_of(ifname)) == -1 ||
	    has_own(i, TC_H_MIN_EGRESS, (uint32_t)i) != 1)
		return (-1);
	return (i);
}

/* What a killed daemon left on a hook: how many. */
static uint32_t
hook_clean(int ifindex, uint32_t hook)
{
	struct filters f;
	uint32_t i, n = 0;

	if (filters_get(ifindex, hook, &f) == -1)
		return (0);
	for (i = 0; i < f.nours; i++)
		if (!netlink_bpf_is_served(f.ours[i]) &&
		    netlink_talk(filter(RTM_DELTFILTER, 0, ifindex, hook,
		    (int)f.ours[i]), NULL, NULL) == 0)
			n++;
	return (n);
}

static uint32_t
filters_clean(int ifindex)
{
	return (hook_clean(ifindex, TC_H_MIN_INGRESS) +
	    hook_clean(ifindex, TC_H_MIN_EGRESS));
}

int
netlink_clsact(uint16_t type, int ifindex)
{
	struct nlmsghdr *nh;

	nh = netlink_tc(type, type == RTM_NEWQDISC ?
	    NLM_F_CREATE | NLM_F_EXCL : 0, ifindex, TC_H_CLSACT);
	((struct tcmsg *)mnl_nlmsg_get_payload(nh))->tcm_handle =
	    TC_H_MAKE(TC_H_CLSACT, 0);
	mnl_attr_put_strz(nh, TCA_KIND, "clsact");
	if (netlink_talk(nh, NULL, NULL) == 0)
		return (1);
	return (errno == EEXIST ? 0 : -1);
}

static int
bpf_attach(int ifindex, uint32_t hook, int handle, int prog)
{
	struct nlmsghdr *nh;
	struct nlattr *opt;

	nh = filter(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_REPLACE, ifindex,
	    hook, handle);
	opt = mnl_attr_nest_start(nh, TCA_OPTIONS);
	mnl_attr_put_u32(nh, TCA_BPF_FD, (uint32_t)prog);
	mnl_attr_put_strz(nh, TCA_BPF_NAME, "dstmd");
	mnl_attr_put_u32(nh, TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
	mnl_attr_nest_end(nh, opt);
	return (netlink_talk(nh, NULL, NULL));
}

int
netlink_bpf_attach(const char *ifname, int prog)
{
	int i;

	if ((i = index_of(ifname)) == -1 ||
	    netlink_clsact(RTM_NEWQDISC, i) == -1 ||
	    bpf_attach(i, TC_H_MIN_EGRESS, i, prog) == -1)
		return (-1);
	return (i);
}

int
netlink_bpf_attach_outer(const struct in6_addr *v6, int ifindex, int prog,
    struct netlink_outer *outer)
{
	int i, new;

	if ((i = index_of_addr(v6)) == -1 ||
	    (new = netlink_clsact(RTM_NEWQDISC, i)) == -1)
		return (-1);
	/* What carries a filter of ours was made for it, or nobody knows. */
	if (filters_clean(i) > 0 ||
	    has_own(i, TC_H_MIN_INGRESS, (uint32_t)ifindex) == 1)
		new = 1;
	if (bpf_attach(i, TC_H_MIN_INGRESS, ifindex, prog) == -1)
		return (-1);
	outer->ifindex = i;
	outer->handle = ifindex;
	outer->qdisc |= new;
	return (0);
}

int
netlink_bpf_attach_short(const struct netlink_outer *outer, int prog)
{
	if (prog != -1)
		return (bpf_attach(outer->ifindex, TC_H_MIN_EGRESS,
		    outer->handle, prog));
	if (netlink_talk(filter(RTM_DELTFILTER, 0, outer->ifindex,
	    TC_H_MIN_EGRESS, outer->handle), NULL, NULL) == -1 &&
	    errno != ENOENT && errno != ENODEV && errno != EINVAL)
		return (-1);
	return (0);
}

/* Removes what carried filters, unless there are others. */
static int
clsact_clean(int ifindex)
{
	struct filters in, out;

	if (filters_get(ifindex, TC_H_MIN_INGRESS, &in) == -1 ||
	    filters_get(ifindex, TC_H_MIN_EGRESS, &out) == -1 ||
	    in.total != 0 || out.total != 0)
		return (0);
	return (netlink_clsact(RTM_DELQDISC, ifindex) == -1 ? -1 : 0);
}

void
netlink_bpf_clean(const struct in6_addr *v6)
{
	struct netlink_outer outer = { 0 };
	int i;

	netlink_short_clean();
	if ((i = index_of_addr(v6)) == -1 || filters_clean(i) == 0)
		return;
	outer.ifindex = i;
	(void)netlink_short_del(&outer);
	(void)clsact_clean(i);
}

int
netlink_outer_moved(const struct netlink_outer *outer,
    const struct in6_addr *v6)
{
	int i = index_of_addr(v6);

	return (i != -1 && i != outer->ifindex);
}

int
netlink_bpf_detach_outer(const struct netlink_outer *outer)
{
	if (netlink_talk(filter(RTM_DELTFILTER, 0, outer->ifindex,
	    TC_H_MIN_INGRESS, outer->handle), NULL, NULL) == -1)
		return (errno == ENODEV ? 0 : -1);
	return (outer->qdisc ? clsact_clean(outer->ifindex) : 0);
}

int
netlink_watch(int protocol, unsigned int group)
{
	struct sockaddr_nl snl;
	int fd;

	memset(&snl, 0, sizeof(snl));
	snl.nl_family = AF_NETLINK;
	snl.nl_groups = group;
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
	    protocol);
	if (fd != -1 && bind(fd, (struct sockaddr *)&snl, sizeof(snl)) == -1) {
		close(fd);
		return (-1);
	}
	return (fd);
}

int
netlink_watch_addr6(void)
{
	return (netlink_watch(NETLINK_ROUTE, RTMGRP_IPV6_IFADDR));
}

/* Also after ENOBUFS: that some were lost is said once. */
void
netlink_watch_empty(int fd)
{
	while (recv(fd, buf.data, sizeof(buf.data), 0) != -1 ||
	    errno == ENOBUFS || errno == EINTR)
		;
}
