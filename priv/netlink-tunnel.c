/*
 * The kernel's own tunnels (ip6_tunnel), for plane kernel: devices, who may
 * send what through them, routes, counters.
 *
 * A TEP has one device for all its nodes ("external"): where a packet goes
 * to is its route's to say, and whom one came from is a mark on the packet.
 * A gate of tc filters (flower) stands at both hooks of a device. All filters
 * of a hook's leases have the same fields, so that the kernel finds the one
 * of a packet by a hash; a packet without one is dropped and counted. The
 * gate is the device's: no other program's "flush" opens it, and it is gone
 * when the device is.
 *
 * Ours are those of kind ip6tnl in the interface group RTPROT_DSTMD.
 */
#include <sys/types.h>
#include <sys/socket.h>

#include <net/if.h>
#include <linux/gen_stats.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_tunnel.h>
#include <linux/ip6_tunnel.h>
#include <linux/lwtunnel.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_gact.h>

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "priv/netlink.h"
#include "priv/netlink-int.h"

#define KIND		"ip6tnl"
#define HOPS		64		/* of the outer packet */
#define PROBE		"dstmd-probe"

/* Preferences of the filters, in the order in which they are asked. */
#define PREF_LEASES	RTPROT_DSTMD
#define PREF_IPV4	(RTPROT_DSTMD + 1)	/* drops what has no lease */
#define PREF_REST	(RTPROT_DSTMD + 2)	/* and what is no IPv4 */

/*
 * Devices
 */

struct found {
	int	 index;			/* 0: not there */
	int	 is_ours;
};

static int
kind_is_ours(const struct nlattr *info)
{
	const struct nlattr *a;

	mnl_attr_for_each_nested(a, info)
		if (mnl_attr_get_type(a) == IFLA_INFO_KIND &&
		    mnl_attr_get_payload_len(a) >= sizeof(KIND) &&
		    memcmp(mnl_attr_get_payload(a), KIND, sizeof(KIND)) == 0)
			return (1);
	return (0);
}

static int
found_cb(const struct nlmsghdr *nh, void *arg)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nh);
	const struct nlattr *a;
	struct found *f = arg;
	int kind = 0, group = 0;

	if (nh->nlmsg_type != RTM_NEWLINK ||
	    mnl_nlmsg_get_payload_len(nh) < sizeof(*ifi))
		return (MNL_CB_OK);
	mnl_attr_for_each(a, nh, sizeof(*ifi)) {
		if (mnl_attr_get_type(a) == IFLA_GROUP &&
		    mnl_attr_get_payload_len(a) == sizeof(uint32_t))
			group = mnl_attr_get_u32(a) == RTPROT_DSTMD;
		else if (mnl_attr_get_type(a) == IFLA_LINKINFO)
			kind = kind_is_ours(a);
	}
	f->index = ifi->ifi_index;
	f->is_ours = kind && group;
	return (MNL_CB_OK);
}

static struct nlmsghdr *
link_request(uint16_t type, uint16_t flags, int ifindex)
{
	struct nlmsghdr *nh = netlink_request(type, flags);
	struct ifinfomsg *ifi = mnl_nlmsg_put_extra_header(nh, sizeof(*ifi));

	ifi->ifi_family = AF_UNSPEC;
	ifi->ifi_index = ifindex;
	return (nh);
}

/* By name, or by index where that is NULL. */
static int
find(const char *ifname, int ifindex, struct found *f)
{
	struct nlmsghdr *nh;

	memset(f, 0, sizeof(*f));
	if (ifname != NULL && (ifname[0] == '\0' ||
	    strlen(ifname) >= IFNAMSIZ)) {
		errno = EINVAL;
		return (-1);
	}
	nh = link_request(RTM_GETLINK, 0, ifindex);
	if (ifname != NULL)
		mnl_attr_put_strz(nh, IFLA_IFNAME, ifname);
	if (netlink_talk(nh, found_cb, f) == -1)
		return (-1);
	if (f->index <= 0) {
		errno = ENODEV;
		return (-1);
	}
	return (0);
}

int
netlink_tunnel_exists(int ifindex)
{
	struct found f;

	return (find(NULL, ifindex, &f) == 0 && f.is_ours);
}

int
netlink_tunnel_del(int ifindex)
{
	struct found f;

	if (find(NULL, ifindex, &f) == -1)
		return (errno == ENODEV ? 0 : -1);
	if (!f.is_ours)
		return (0);
	return (netlink_talk(link_request(RTM_DELLINK, 0, ifindex), NULL,
	    NULL));
}

int
netlink_tunnel_clean(const char *ifname)
{
	struct found f;

	if (find(ifname, 0, &f) == -1)
		return (errno == ENODEV ? 0 : -1);
	if (!f.is_ours)
		return (0);
	return (netlink_tunnel_del(f.index) == -1 ? -1 : 1);
}

static void
put_in6(struct nlmsghdr *nh, uint16_t type, const struct in6_addr *v6)
{
	mnl_attr_put(nh, type, sizeof(*v6), v6);
}

/* What kind of tunnel; peer NULL: a TEP's, for all its nodes. */
static void
put_info(struct nlmsghdr *nh, const struct in6_addr *local,
    const struct in6_addr *peer)
{
	struct nlattr *info, *data;

	info = mnl_attr_nest_start(nh, IFLA_LINKINFO);
	mnl_attr_put_strz(nh, IFLA_INFO_KIND, KIND);
	data = mnl_attr_nest_start(nh, IFLA_INFO_DATA);
	mnl_attr_put_u8(nh, IFLA_IPTUN_PROTO, IPPROTO_IPIP);
	if (peer == NULL)
		mnl_attr_put(nh, IFLA_IPTUN_COLLECT_METADATA, 0, NULL);
	else {
		put_in6(nh, IFLA_IPTUN_LOCAL, local);
		put_in6(nh, IFLA_IPTUN_REMOTE, peer);
		mnl_attr_put_u8(nh, IFLA_IPTUN_TTL, HOPS);
		/* 4over6 has the outer header and nothing else */
		mnl_attr_put_u32(nh, IFLA_IPTUN_FLAGS,
		    IP6_TNL_F_IGN_ENCAP_LIMIT | IP6_TNL_F_USE_ORIG_TCLASS);
	}
	mnl_attr_nest_end(nh, data);
	mnl_attr_nest_end(nh, info);
}

/* Makes it, link down: its index or -1. */
static int
make(const char *ifname, const struct in6_addr *local,
    const struct in6_addr *peer)
{
	struct nlmsghdr *nh;
	struct found f;

	if (netlink_tunnel_clean(ifname) == -1)
		return (-1);
	nh = link_request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0);
	mnl_attr_put_strz(nh, IFLA_IFNAME, ifname);
	mnl_attr_put_u32(nh, IFLA_GROUP, RTPROT_DSTMD);
	put_info(nh, local, peer);
	if (netlink_talk(nh, NULL, NULL) == -1 ||
	    find(ifname, 0, &f) == -1)
		return (-1);
	return (f.index);
}

int
netlink_tunnel_peer(int ifindex, const struct in6_addr *local,
    const struct in6_addr *peer)
{
	struct nlmsghdr *nh = link_request(RTM_NEWLINK, 0, ifindex);

	put_info(nh, local, peer);
	return (netlink_talk(nh, NULL, NULL));
}

/*
 * The gate
 */

static struct nlmsghdr *
filter(uint16_t type, uint16_t flags, int ifindex, int out, uint32_t pref,
    uint32_t handle)
{
	struct nlmsghdr *nh;
	struct tcmsg *t;

	nh = netlink_tc(type, flags, ifindex, TC_H_MAKE(TC_H_CLSACT,
	    out ? TC_H_MIN_EGRESS : TC_H_MIN_INGRESS));
	t = mnl_nlmsg_get_payload(nh);
	t->tcm_info = TC_H_MAKE(pref << 16,
	    htons(pref == PREF_REST ? ETH_P_ALL : ETH_P_IP));
	t->tcm_handle = handle;
	mnl_attr_put_strz(nh, TCA_KIND, "flower");
	return (nh);
}

static void
put_action(struct nlmsghdr *nh, int action)
{
	/* one counter, not one for each CPU: a lease is small */
	static const struct nla_bitfield32 small = {
		TCA_ACT_FLAGS_NO_PERCPU_STATS, TCA_ACT_FLAGS_NO_PERCPU_STATS
	};
	struct nlattr *acts, *act, *opt;
	struct tc_gact gact;

	memset(&gact, 0, sizeof(gact));
	gact.action = action;
	acts = mnl_attr_nest_start(nh, TCA_FLOWER_ACT);
	act = mnl_attr_nest_start(nh, 1);
	mnl_attr_put_strz(nh, TCA_ACT_KIND, "gact");
	mnl_attr_put(nh, TCA_ACT_FLAGS, sizeof(small), &small);
	opt = mnl_attr_nest_start(nh, TCA_ACT_OPTIONS);
	mnl_attr_put(nh, TCA_GACT_PARMS, sizeof(gact), &gact);
	mnl_attr_nest_end(nh, opt);
	mnl_attr_nest_end(nh, act);
	mnl_attr_nest_end(nh, acts);
}

static int
put_drop(int ifindex, int out, uint32_t pref)
{
	struct nlmsghdr *nh;
	struct nlattr *opt;

	nh = filter(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, ifindex, out,
	    pref, 1);
	opt = mnl_attr_nest_start(nh, TCA_OPTIONS);
	put_action(nh, TC_ACT_SHOT);
	mnl_attr_nest_end(nh, opt);
	return (netlink_talk(nh, NULL, NULL));
}

/* Shut, before the link is up. */
static int
gate(int ifindex)
{
	int out;

	if (netlink_clsact(RTM_NEWQDISC, ifindex) == -1)
		return (-1);
	for (out = 0; out < 2; out++)
		if (put_drop(ifindex, out, PREF_IPV4) == -1 ||
		    put_drop(ifindex, out, PREF_REST) == -1)
			return (-1);
	return (0);
}

int
netlink_tunnel_add(const char *ifname, const struct in6_addr *local,
    const struct in6_addr *peer)
{
	int i, saved;

	if ((i = make(ifname, local, peer)) == -1)
		return (-1);
	if (gate(i) == 0)
		return (i);
	saved = errno;
	(void)netlink_tunnel_del(i);
	errno = saved;
	return (-1);
}

int
netlink_tunnel_probe(void)
{
	int i;

	if ((i = netlink_tunnel_add(PROBE, &in6addr_loopback,
	    &in6addr_loopback)) == -1)
		return (-1);
	return (netlink_tunnel_del(i));
}

/*
 * Leases
 */

static void
put_v4(struct nlmsghdr *nh, uint16_t key, uint16_t mask, struct in_addr v4)
{
	mnl_attr_put_u32(nh, key, v4.s_addr);
	mnl_attr_put_u32(nh, mask, UINT32_MAX);
}

static void
put_v6(struct nlmsghdr *nh, uint16_t key, uint16_t mask,
    const struct in6_addr *v6)
{
	struct in6_addr all;

	memset(&all, 0xff, sizeof(all));
	put_in6(nh, key, v6);
	put_in6(nh, mask, &all);
}

/* Its handle is the address, so that nobody has to keep one. */
static int
open_gate(const struct netlink_lease *l, int out)
{
	struct nlmsghdr *nh;
	struct nlattr *opt;

	nh = filter(RTM_NEWTFILTER, NLM_F_CREATE, l->ifindex, out,
	    PREF_LEASES, ntohl(l->v4.s_addr));
	opt = mnl_attr_nest_start(nh, TCA_OPTIONS);
	mnl_attr_put_u16(nh, TCA_FLOWER_KEY_ETH_TYPE, htons(ETH_P_IP));
	/* the node's address: of what a TEP lets in and a node lets out */
	if (out == l->is_node)
		put_v4(nh, TCA_FLOWER_KEY_IPV4_SRC,
		    TCA_FLOWER_KEY_IPV4_SRC_MASK, l->v4);
	else
		put_v4(nh, TCA_FLOWER_KEY_IPV4_DST,
		    TCA_FLOWER_KEY_IPV4_DST_MASK, l->v4);
	/* a node's device has looked at these already */
	if (!out && !l->is_node) {
		put_v6(nh, TCA_FLOWER_KEY_ENC_IPV6_SRC,
		    TCA_FLOWER_KEY_ENC_IPV6_SRC_MASK, &l->peer);
		put_v6(nh, TCA_FLOWER_KEY_ENC_IPV6_DST,
		    TCA_FLOWER_KEY_ENC_IPV6_DST_MASK, &l->local);
	}
	put_action(nh, TC_ACT_OK);
	mnl_attr_nest_end(nh, opt);
	return (netlink_talk(nh, NULL, NULL));
}

static int
shut_gate(const struct netlink_lease *l, int out)
{
	if (netlink_talk(filter(RTM_DELTFILTER, 0, l->ifindex, out,
	    PREF_LEASES, ntohl(l->v4.s_addr)), NULL, NULL) == 0 ||
	    errno == ENOENT || errno == EINVAL || errno == ENODEV)
		return (0);
	return (-1);
}

/*
 * The route that names the node. Its metric is the address too: the kernel
 * looks for equal routes by a hash of metric and device, and with one metric
 * for all would look at every lease.
 */
static struct nlmsghdr *
encap(uint16_t type, uint16_t flags, const struct netlink_lease *l)
{
	struct nlmsghdr *nh = netlink_route(type, flags, l->v4, 32,
	    ntohl(l->v4.s_addr), 0);

	mnl_attr_put_u32(nh, RTA_OIF, (uint32_t)l->ifindex);
	return (nh);
}

static int
encap_new(const struct netlink_lease *l)
{
	struct nlmsghdr *nh = encap(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, l);
	struct nlattr *a;

	mnl_attr_put_u16(nh, RTA_ENCAP_TYPE, LWTUNNEL_ENCAP_IP6);
	a = mnl_attr_nest_start(nh, RTA_ENCAP);
	put_in6(nh, LWTUNNEL_IP6_DST, &l->peer);
	put_in6(nh, LWTUNNEL_IP6_SRC, &l->local);
	mnl_attr_put_u8(nh, LWTUNNEL_IP6_HOPLIMIT, HOPS);
	mnl_attr_nest_end(nh, a);
	return (netlink_talk(nh, NULL, NULL));
}

static int
encap_del(const struct netlink_lease *l)
{
	if (netlink_talk(encap(RTM_DELROUTE, 0, l), NULL, NULL) == 0 ||
	    errno == ESRCH || errno == ENODEV)
		return (0);
	return (-1);
}

int
netlink_lease_del(const struct netlink_lease *l)
{
	int r = 0;

	/* all three, whatever fails: what is sent, then what is taken */
	if (shut_gate(l, 1) == -1)
		r = -1;
	if (shut_gate(l, 0) == -1)
		r = -1;
	if (!l->is_node && encap_del(l) == -1)
		r = -1;
	return (r);
}

int
netlink_lease_add(const struct netlink_lease *l)
{
	int saved;

	if (!l->is_node && encap_new(l) == -1)
		return (-1);
	if (open_gate(l, 0) == 0 && open_gate(l, 1) == 0)
		return (0);
	saved = errno;
	(void)netlink_lease_del(l);
	errno = saved;
	return (-1);
}

/*
 * Counters
 */

/* The attribute of that type within a nest, or NULL. */
static const struct nlattr *
within(const struct nlattr *nest, uint16_t type)
{
	const struct nlattr *a;

	if (nest != NULL)
		mnl_attr_for_each_nested(a, nest)
			if (mnl_attr_get_type(a) == type)
				return (a);
	return (NULL);
}

static int
count_cb(const struct nlmsghdr *nh, void *arg)
{
	struct netlink_count *n = arg;
	struct gnet_stats_basic basic;
	const struct nlattr *a, *stats, *opt = NULL;

	if (nh->nlmsg_type != RTM_NEWTFILTER ||
	    mnl_nlmsg_get_payload_len(nh) < sizeof(struct tcmsg))
		return (MNL_CB_OK);
	mnl_attr_for_each(a, nh, sizeof(struct tcmsg))
		if (mnl_attr_get_type(a) == TCA_OPTIONS)
			opt = a;
	stats = within(within(within(opt, TCA_FLOWER_ACT), 1), TCA_ACT_STATS);
	/* The kernel's has no padding at its end. */
	if ((a = within(stats, TCA_STATS_BASIC)) != NULL &&
	    mnl_attr_get_payload_len(a) >= 12) {
		memcpy(&basic, mnl_attr_get_payload(a), 12);
		n->bytes = basic.bytes;
		n->packets = basic.packets;
	}
	/* Where there are more than 32 bits carry. */
	if ((a = within(stats, TCA_STATS_PKT64)) != NULL &&
	    mnl_attr_get_payload_len(a) == sizeof(uint64_t))
		n->packets = mnl_attr_get_u64(a);
	return (MNL_CB_OK);
}

static int
count(int ifindex, int out, uint32_t pref, uint32_t handle,
    struct netlink_count *n)
{
	memset(n, 0, sizeof(*n));
	return (netlink_talk(filter(RTM_GETTFILTER, 0, ifindex, out, pref,
	    handle), count_cb, n));
}

int
netlink_lease_count(const struct netlink_lease *l, struct netlink_count *in,
    struct netlink_count *out)
{
	uint32_t handle = ntohl(l->v4.s_addr);

	return (count(l->ifindex, 0, PREF_LEASES, handle, in) == -1 ||
	    count(l->ifindex, 1, PREF_LEASES, handle, out) == -1 ? -1 : 0);
}

int
netlink_tunnel_drops(int ifindex, uint64_t *in, uint64_t *out,
    uint64_t *rest)
{
	struct netlink_count n[4];

	if (count(ifindex, 0, PREF_IPV4, 1, &n[0]) == -1 ||
	    count(ifindex, 1, PREF_IPV4, 1, &n[1]) == -1 ||
	    count(ifindex, 0, PREF_REST, 1, &n[2]) == -1 ||
	    count(ifindex, 1, PREF_REST, 1, &n[3]) == -1)
		return (-1);
	*in = n[0].packets;
	*out = n[1].packets;
	*rest = n[2].packets + n[3].packets;
	return (0);
}
