/*
 * The shortcut of plane bpf (dstmd_out_ether of 4over6.bpf.c): twins of the
 * routes into a TUN device, by the outer interface. Of two alike the kernel
 * takes the one that was added last before the others; it removes twins when
 * their interface goes down, and packets take the routes into the device.
 *
 * Twins lead to a gateway that is nobody's. The interface's own link address
 * is told to be its: a frame that our program did not see goes nowhere.
 */
#include <sys/types.h>
#include <sys/socket.h>

#include <net/if.h>
#include <net/if_arp.h>
#include <linux/neighbour.h>
#include <linux/netconf.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "dstmd/dstmd.h"
#include "priv/netlink.h"
#include "priv/netlink-int.h"

#define TWINS_MAX	1024		/* of a device */
#define DUMP_TRIES	5
#define STRICT		1		/* rp_filter */

struct twin {
	struct in_addr	 dst, src;
	uint32_t	 table, metric, mtu;
	uint32_t	 oif;
	uint8_t		 plen;
	uint8_t		 is_twin;
};

struct twins {
	int		 full;
	size_t		 n;
	struct twin	 of[TWINS_MAX];
};

/* All routes of ours, by one walk through the kernel's table. */
struct ours {
	uint32_t	 device;	/* routes by it, 0: none */
	struct twins	 routes, twins;
};

static struct mnl_socket	*strict;	/* what it dumps is filtered */
/* RFC 7600, 4.8: the IPv4 dummy address, which no host has. */
static const uint8_t		 gateway[] = { 192, 0, 0, 8 };

int
netlink_short_open(void)
{
	int on = 1;

	if ((strict = netlink_socket(NETLINK_ROUTE)) == NULL)
		return (-1);
	return (mnl_socket_setsockopt(strict, NETLINK_GET_STRICT_CHK, &on,
	    sizeof(on)));
}

int
netlink_short_watch(void)
{
	return (netlink_watch(NETLINK_ROUTE, RTMGRP_LINK |
	    RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | 1U << (RTNLGRP_IPV4_NETCONF - 1)));
}

/*
 * May it be?
 */

/* How an interface is set, net.ipv4.conf. */
struct conf4 {
	uint32_t	 forwarding, rp_filter;
};

struct addr4 {
	int		 index;			/* whose */
	struct in_addr	 v4;			/* one of them; 0: none */
};

static int
is_ethernet(const struct netlink_link *l)
{
	return (l->type == ARPHRD_ETHER && l->has_mac &&
	    (l->flags & (IFF_NOARP | IFF_LOOPBACK | IFF_POINTOPOINT)) == 0);
}

static int
addr_cb(const struct nlmsghdr *nh, void *arg)
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nh);
	struct addr4 *f = arg;
	const struct nlattr *a;

	if (nh->nlmsg_type != RTM_NEWADDR ||
	    mnl_nlmsg_get_payload_len(nh) < sizeof(*ifa) ||
	    ifa->ifa_family != AF_INET || (int)ifa->ifa_index != f->index)
		return (MNL_CB_OK);
	mnl_attr_for_each(a, nh, sizeof(*ifa))
		if (mnl_attr_get_type(a) == IFA_LOCAL &&
		    mnl_attr_get_payload_len(a) == sizeof(f->v4) &&
		    f->v4.s_addr == 0)
			f->v4.s_addr = mnl_attr_get_u32(a);
	return (MNL_CB_OK);
}

/* An IPv4 address of that interface; 0.0.0.0 where it has none. */
static int
addr_get(int ifindex, struct in_addr *v4)
{
	struct addr4 f = { .index = ifindex };

	if (netlink_dump(RTM_GETADDR, AF_INET, addr_cb, &f) == -1)
		return (-1);
	*v4 = f.v4;
	return (0);
}

static int
conf_cb(const struct nlmsghdr *nh, void *arg)
{
	struct conf4 *f = arg;
	const struct nlattr *a;

	if (nh->nlmsg_type != RTM_NEWNETCONF ||
	    mnl_nlmsg_get_payload_len(nh) < sizeof(struct netconfmsg))
		return (MNL_CB_OK);
	mnl_attr_for_each(a, nh, sizeof(struct netconfmsg)) {
		if (mnl_attr_get_payload_len(a) != sizeof(uint32_t))
			continue;
		if (mnl_attr_get_type(a) == NETCONFA_FORWARDING)
			f->forwarding = mnl_attr_get_u32(a);
		else if (mnl_attr_get_type(a) == NETCONFA_RP_FILTER)
			f->rp_filter = mnl_attr_get_u32(a);
	}
	return (MNL_CB_OK);
}

static int
conf_get(int ifindex, struct conf4 *f)
{
	struct nlmsghdr *nh = netlink_request(RTM_GETNETCONF, 0);
	struct netconfmsg *nc = mnl_nlmsg_put_extra_header(nh, sizeof(*nc));

	nc->ncm_family = AF_INET;
	mnl_attr_put_u32(nh, NETCONFA_IFINDEX, (uint32_t)ifindex);
	return (netlink_talk(nh, conf_cb, f));
}

/* The kernel takes the larger of all's and the interface's. */
static uint32_t
rp_filter(const struct conf4 *all, const struct conf4 *f)
{
	return (all->rp_filter > f->rp_filter ? all->rp_filter :
	    f->rp_filter);
}

const char *
netlink_short_why_not(int device, const struct netlink_outer *outer,
    int is_node)
{
	struct conf4 all = { 0 }, in = { 0 }, out = { 0 };
	struct netlink_link dev, ether;
	uint32_t strictly, other;
	struct in_addr v4;

	if (strict == NULL)
		return ("this kernel does not filter what it dumps");
	if (netlink_link_get(NULL, device, &dev) == -1 ||
	    netlink_link_get(NULL, outer->ifindex, &ether) == -1 ||
	    addr_get(outer->ifindex, &v4) == -1 ||
	    conf_get(NETCONFA_IFINDEX_ALL, &all) == -1 ||
	    conf_get(device, &in) == -1 ||
	    conf_get(outer->ifindex, &out) == -1)
		return ("the kernel does not say how interfaces are set");
	if (!is_ethernet(&ether))
		return ("the outer interface is no Ethernet");
	if (dev.master != 0 || ether.master != 0)
		return ("an interface belongs to a bridge, bond or VRF");
	other = netlink_bpf_short_of(outer->ifindex);
	if (other != 0 && other != (uint32_t)outer->handle)
		return ("the outer interface is another tunnel's already");
	/* It would tell its neighbours of a better way, which is none. */
	if (v4.s_addr != 0)
		return ("the outer interface has an IPv4 address");
	/*
	 * What user space decapsulates comes from the device, and the way
	 * back is by the other. A node's may be by a third one.
	 */
	strictly = rp_filter(&all, &out);
	if (rp_filter(&all, &in) == STRICT || strictly == STRICT ||
	    (is_node && strictly != 0))
		return (is_node ? "net.ipv4.conf.*.rp_filter is not 0" :
		    "net.ipv4.conf.*.rp_filter is 1");
	/* Addresses are translated by the name of the interface. */
	if (is_node && in.forwarding)
		return ("this node forwards IPv4");
	if (in.forwarding && !out.forwarding)
		return ("the outer interface does not forward IPv4");
	return (NULL);
}

struct others {
	int	 outer;
	int	*ifindexes;
	size_t	 n, max;
};

static int
others_cb(const struct nlmsghdr *nh, void *arg)
{
	struct netlink_link link = { 0 };
	struct others *o = arg;
	size_t i;

	(void)netlink_link_cb(nh, &link);
	if (link.index <= 0 || link.index == o->outer || link.master != 0 ||
	    (link.flags & IFF_UP) == 0 || !is_ethernet(&link))
		return (MNL_CB_OK);
	for (i = 0; i < o->n; i++)
		if (o->ifindexes[i] == link.index)
			return (MNL_CB_OK);
	if (o->n < o->max)
		o->ifindexes[o->n++] = link.index;
	return (MNL_CB_OK);
}

ssize_t
netlink_short_others(int outer, int *ifindexes, size_t max)
{
	struct others o = { outer, ifindexes, 0, max };

	if (netlink_dump(RTM_GETLINK, AF_UNSPEC, others_cb, &o) == -1)
		return (-1);
	return ((ssize_t)o.n);
}

/*
 * Twins
 */

static void
read_metrics(const struct nlattr *metrics, struct twin *t)
{
	const struct nlattr *a;

	mnl_attr_for_each_nested(a, metrics)
		if (mnl_attr_get_type(a) == RTAX_MTU &&
		    mnl_attr_get_payload_len(a) == sizeof(uint32_t))
			t->mtu = mnl_attr_get_u32(a);
}

static int
route_cb(const struct nlmsghdr *nh, void *arg)
{
	const struct rtmsg *rtm = mnl_nlmsg_get_payload(nh);
	struct ours *ours = arg;
	const struct nlattr *a;
	struct twin t = { 0 };
	struct twins *to;
	size_t len;

	if (nh->nlmsg_type != RTM_NEWROUTE ||
	    mnl_nlmsg_get_payload_len(nh) < sizeof(*rtm) ||
	    rtm->rtm_family != AF_INET ||
	    rtm->rtm_protocol != RTPROT_DSTMD ||
	    rtm->rtm_type != RTN_UNICAST || rtm->rtm_dst_len > 32)
		return (MNL_CB_OK);
	t.plen = rtm->rtm_dst_len;
	t.table = rtm->rtm_table;
	mnl_attr_for_each(a, nh, sizeof(*rtm)) {
		len = mnl_attr_get_payload_len(a);
		if (mnl_attr_get_type(a) == RTA_METRICS)
			read_metrics(a, &t);
		else if (len != sizeof(uint32_t))
			continue;
		else if (mnl_attr_get_type(a) == RTA_DST)
			t.dst.s_addr = mnl_attr_get_u32(a);
		else if (mnl_attr_get_type(a) == RTA_PREFSRC)
			t.src.s_addr = mnl_attr_get_u32(a);
		else if (mnl_attr_get_type(a) == RTA_TABLE)
			t.table = mnl_attr_get_u32(a);
		else if (mnl_attr_get_type(a) == RTA_PRIORITY)
			t.metric = mnl_attr_get_u32(a);
		else if (mnl_attr_get_type(a) == RTA_OIF)
			t.oif = mnl_attr_get_u32(a);
		else if (mnl_attr_get_type(a) == RTA_GATEWAY)
			t.is_twin = memcmp(mnl_attr_get_payload(a), gateway,
			    sizeof(gateway)) == 0;
	}
	if (!t.is_twin && (ours->device == 0 || t.oif != ours->device))
		return (MNL_CB_OK);
	to = t.is_twin ? &ours->twins : &ours->routes;
	if (to->n == TWINS_MAX)
		to->full = 1;
	else
		to->of[to->n++] = t;
	return (MNL_CB_OK);
}

/* Twins by the interface oif, 0: by any; and the routes by a device. */
static int
routes(int device, int oif, struct ours *ours)
{
	struct nlmsghdr *nh;
	struct rtmsg *rtm;
	int tries;

	for (tries = 0; tries < DUMP_TRIES; tries++) {
		ours->device = (uint32_t)device;
		ours->routes.n = ours->twins.n = 0;
		ours->routes.full = ours->twins.full = 0;
		nh = netlink_request(RTM_GETROUTE, NLM_F_DUMP);
		rtm = mnl_nlmsg_put_extra_header(nh, sizeof(*rtm));
		rtm->rtm_family = AF_INET;
		rtm->rtm_protocol = RTPROT_DSTMD;
		if (oif != 0)
			mnl_attr_put_u32(nh, RTA_OIF, (uint32_t)oif);
		if (netlink_ask(strict, nh, route_cb, ours) == 0)
			return (0);
		if (errno != EINTR)
			break;
	}
	return (-1);
}

static int
is_alike(const struct twin *a, const struct twin *b)
{
	return (a->dst.s_addr == b->dst.s_addr && a->plen == b->plen &&
	    a->table == b->table && a->metric == b->metric);
}

/* A twin of it, as it shall be. */
static int
is_same(const struct twin *a, const struct twin *b)
{
	return (is_alike(a, b) && a->oif == b->oif && a->mtu == b->mtu &&
	    a->src.s_addr == b->src.s_addr);
}

static const struct twin *
find(const struct twins *all, const struct twin *t,
    int (*is)(const struct twin *, const struct twin *))
{
	size_t i;

	for (i = 0; i < all->n; i++)
		if (is(&all->of[i], t))
			return (&all->of[i]);
	return (NULL);
}

static int
twin_change(uint16_t type, uint16_t flags, const struct twin *t)
{
	struct nlmsghdr *nh = netlink_route(type, flags, t->dst, t->plen,
	    t->metric, t->table);
	struct rtmsg *rtm = mnl_nlmsg_get_payload(nh);
	struct nlattr *metrics;

	if (type == RTM_NEWROUTE)
		rtm->rtm_scope = RT_SCOPE_UNIVERSE;
	rtm->rtm_flags = RTNH_F_ONLINK;
	mnl_attr_put(nh, RTA_GATEWAY, sizeof(gateway), gateway);
	mnl_attr_put_u32(nh, RTA_OIF, t->oif);
	if (t->src.s_addr != 0)
		mnl_attr_put_u32(nh, RTA_PREFSRC, t->src.s_addr);
	if (t->mtu != 0) {
		metrics = mnl_attr_nest_start(nh, RTA_METRICS);
		mnl_attr_put_u32(nh, RTAX_MTU, t->mtu);
		mnl_attr_nest_end(nh, metrics);
	}
	return (netlink_talk(nh, NULL, NULL));
}

/* The gateway's link address there; NULL: none. */
static int
neighbour(int outer, const uint8_t mac[6])
{
	struct nlmsghdr *nh;
	struct ndmsg *nd;

	nh = netlink_request(mac != NULL ? RTM_NEWNEIGH : RTM_DELNEIGH,
	    mac != NULL ? NLM_F_CREATE | NLM_F_REPLACE : 0);
	nd = mnl_nlmsg_put_extra_header(nh, sizeof(*nd));
	nd->ndm_family = AF_INET;
	nd->ndm_ifindex = outer;
	nd->ndm_state = NUD_PERMANENT;
	mnl_attr_put(nh, NDA_DST, sizeof(gateway), gateway);
	if (mac != NULL)
		mnl_attr_put(nh, NDA_LLADDR, 6, mac);
	return (netlink_talk(nh, NULL, NULL));
}

/* The routes of a device with that address become what their twins shall be. */
static int
wanted(struct in_addr own, int outer, uint32_t mtu, struct twins *all)
{
	size_t i;

	if (all->full) {
		errno = E2BIG;
		return (-1);
	}
	for (i = 0; i < all->n; i++) {
		all->of[i].oif = (uint32_t)outer;
		all->of[i].mtu = mtu;
		/* Else it would be an address of any interface. */
		if (all->of[i].src.s_addr == 0)
			all->of[i].src = own;
	}
	return (0);
}

int
netlink_short_set(int device, int outer, uint32_t mtu)
{
	static struct ours ours;
	const struct twins *want = &ours.routes, *has = &ours.twins;
	struct netlink_link link;
	const struct twin *t;
	struct in_addr own;
	size_t i;

	if (netlink_link_get(NULL, outer, &link) == -1 ||
	    neighbour(outer, link.mac) == -1 ||
	    addr_get(device, &own) == -1 ||
	    routes(device, 0, &ours) == -1 ||
	    wanted(own, outer, mtu, &ours.routes) == -1)
		return (-1);
	for (i = 0; i < want->n; i++)
		if (find(has, &want->of[i], is_same) == NULL &&
		    twin_change(RTM_NEWROUTE, NLM_F_CREATE,
		    &want->of[i]) == -1 && errno != EEXIST)
			return (-1);
	for (i = 0; i < has->n; i++) {
		t = &has->of[i];
		/* By the interface of before, or of a route that is gone. */
		if (find(want, t, is_same) == NULL && (t->oif ==
		    (uint32_t)outer || find(want, t, is_alike) != NULL))
			(void)twin_change(RTM_DELROUTE, 0, t);
	}
	return (0);
}

/* Those by an interface, 0: by any that has no such program. */
static int
twins_remove(int outer)
{
	static struct ours ours;
	const struct twins *all = &ours.twins;
	const struct twin *t;
	uint32_t asked = 0, of = 0;
	size_t i, n;

	do {
		if (routes(0, outer, &ours) == -1)
			return (-1);
		for (i = n = 0; i < all->n; i++) {
			t = &all->of[i];
			if (outer == 0 && t->oif != asked)
				of = netlink_bpf_short_of((int)(asked =
				    t->oif));
			if (of != 0)
				continue;
			if (twin_change(RTM_DELROUTE, 0, t) == 0)
				n++;
			else if (errno != ESRCH)
				return (-1);
			if (outer == 0)
				(void)neighbour((int)t->oif, NULL);
		}
	} while (all->full && n > 0);
	return (0);
}

int
netlink_short_del(const struct netlink_outer *outer)
{
	uint32_t of = netlink_bpf_short_of(outer->ifindex);

	if (strict == NULL || (of != 0 && of != (uint32_t)outer->handle))
		return (0);
	if (twins_remove(outer->ifindex) == -1)
		return (-1);
	(void)neighbour(outer->ifindex, NULL);
	return (0);
}

void
netlink_short_clean(void)
{
	if (strict != NULL)
		(void)twins_remove(0);
}
