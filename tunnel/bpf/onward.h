/*
 * Onward: from the interface that a packet came by to the one that it leaves
 * by, past the host's own way of an IPv4 packet (ip_rcv, ip_forward and
 * ip_output), where nobody could tell the one from the other. Anything that
 * has a say there, or is not common, and the packet takes that way.
 */
#ifndef TUNNEL_BPF_ONWARD_H
#define TUNNEL_BPF_ONWARD_H

#include <bpf/bpf_core_read.h>

#define AF_INET		2
#define PRE_ROUTING	0		/* of hooks_ipv4 */
#define FORWARD		2
#define POST_ROUTING	4
#define POLICY_OUT	1		/* of IPsec's */
#define POLICY_FWD	2
#define POLICY_ACCEPT	2
#define ETHERNET	1
#define MAC_LEN		6
#define DEVICES		256		/* of dev_index_head, NETDEV_HASHENTRIES */
#define CHAIN_MAX	16
#define TEPS_MAX	16		/* TUNNEL_DEV_MAX */

/*
 * Of the kernel's structures what is asked here; libbpf finds it in the one
 * that runs.
 */
#pragma clang attribute push(__attribute__((preserve_access_index)), \
    apply_to = record)
struct hlist_node {
	struct hlist_node	*next;
};

struct hlist_head {
	struct hlist_node	*first;
};

struct net {
	struct {
		unsigned int		 inum;
	} ns;
	struct hlist_head	*dev_index_head;
	struct {
		_Bool			 fib_has_custom_rules;
		__u8			 sysctl_fib_multipath_hash_policy;
		__u8			 sysctl_ip_fwd_update_priority;
	} ipv4;
	struct {
		struct nf_hook_entries	*hooks_ipv4[5];
	} nf;
	struct {
		unsigned int		 policy_count[6];
		__u8			 policy_default[3];
	} xfrm;
};

struct Qdisc {
	__u32		 handle;
};

struct netdev_queue {
	struct Qdisc	*qdisc_sleeping;
};

struct bpf_prog {
	__u8		 tag[8];
};

struct bpf_mprog_fp {
	struct bpf_prog	*prog;
};

struct bpf_mprog_entry {
	struct bpf_mprog_fp	 fp_items[64];
};

struct net_device {
	struct {
		struct net	*net;
	} nd_net;
	int			 ifindex;
	unsigned short		 type;
	unsigned char		 addr_len;
	struct hlist_node	 index_hlist;
	struct bpf_mprog_entry	*tcx_ingress;
	struct nf_hook_entries	*nf_hooks_ingress, *nf_hooks_egress;
	struct netdev_queue	*ingress_queue;
	void			*rx_handler;
};

struct sk_buff {
	struct net_device	*dev;
	unsigned long		 _skb_refdst;
	__u8			 active_extensions;
};
#pragma clang attribute pop

extern void *bpf_cast_to_kern_ctx(void *) __ksym;
extern void *bpf_rdonly_cast(const void *, __u32) __ksym;

#define AT(type, address)						\
	((struct type *)bpf_rdonly_cast((const void *)(address),	\
	    bpf_core_type_id_kernel(struct type)))

/* Firewalls, conntrack and SELinux are hooks. */
static __always_inline int
host_has_a_say(const struct sk_buff *skb, const struct net_device *dev,
    const struct net *net)
{
	return (net->nf.hooks_ipv4[PRE_ROUTING] != 0 ||
	    net->nf.hooks_ipv4[FORWARD] != 0 ||
	    net->nf.hooks_ipv4[POST_ROUTING] != 0 ||
	    dev->nf_hooks_ingress != 0 || dev->rx_handler != 0 ||
	    skb->_skb_refdst != 0 || skb->active_extensions != 0);
}

/*
 * IPsec's policies and rules of routing, once in a moment: it is this host, and
 * has none. What can not be read is 0: so something is asked that is not.
 */
static __always_inline int
is_plain_host(const struct net *net, __u32 netns)
{
	return (netns != 0 && net->ns.inum == netns &&
	    net->xfrm.policy_count[POLICY_OUT] == 0 &&
	    net->xfrm.policy_count[POLICY_FWD] == 0 &&
	    net->xfrm.policy_default[POLICY_FWD] == POLICY_ACCEPT &&
	    net->xfrm.policy_default[POLICY_OUT] == POLICY_ACCEPT &&
	    !net->ipv4.fib_has_custom_rules &&
	    net->ipv4.sysctl_fib_multipath_hash_policy == 0);
}

/*
 * Of those in the hook where our program is: another TEP's is the same, and has
 * other leases. Where all are the same they are ours.
 */
static __always_inline int
others_have_a_say(const struct net_device *dev)
{
	const struct bpf_mprog_entry *in = dev->tcx_ingress;
	__u32 i;

	if (in == 0 || in->fp_items[0].prog == 0 || (dev->ingress_queue != 0 &&
	    dev->ingress_queue->qdisc_sleeping->handle != 0))
		return (1);
	for (i = 1; i < TEPS_MAX && in->fp_items[i].prog != 0; i++)
		if (*(__u64 *)in->fp_items[i].prog->tag !=
		    *(__u64 *)in->fp_items[0].prog->tag)
			return (1);
	return (in->fp_items[i].prog != 0);
}

/*
 * Where in the kernel's memory that Ethernet interface is: 1, or 0 there is
 * none. In *at a pointer loses the type that the verifier knows of it.
 */
static __always_inline int
find_device(const struct net *net, __u32 ifindex, volatile __u64 *at)
{
	const struct hlist_node *n;
	const struct net_device *d;
	__u32 i;

	*at = (__u64)net->dev_index_head;
	n = AT(hlist_head, *at + (ifindex & (DEVICES - 1)) *
	    sizeof(struct hlist_head))->first;
	for (i = 0; i < CHAIN_MAX && n != 0; i++) {
		*at = (__u64)n;
		*at -= bpf_core_field_offset(struct net_device, index_hlist);
		d = AT(net_device, *at);
		if (d->ifindex == (int)ifindex)
			return (d->type == ETHERNET && d->addr_len == MAC_LEN);
		n = d->index_hlist.next;
	}
	return (0);
}

/*
 * tc's packets do not pass this hook of the interface that they leave by. That
 * is in the same namespace as the one that they came by, even if either moves.
 */
static __always_inline int
way_out_has_a_say(const struct turn *t, const struct net *net)
{
	const struct net_device *d = AT(net_device, t->device);

	return (d->ifindex != (int)t->ifindex || d->nd_net.net != net ||
	    d->nf_hooks_egress != 0);
}

/* ip_rcv would take it; no options. */
static __always_inline int
is_plain(const struct ip4 *ip)
{
	const __u16 *word = (const __u16 *)ip;
	__u32 sum = 0, i;

	for (i = 0; i < sizeof(*ip) / 2; i++)
		sum += word[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return (ip->vihl == 0x45 && ip->ttl > 1 &&
	    (__u16)(sum + (sum >> 16)) == 0xffff &&
	    !martian(ip->src) && !martian(ip->dst));
}

static __always_inline int
look_up(struct __sk_buff *skb, struct bpf_fib_lookup *fib, __u8 tos,
    __u32 src, __u32 dst, __u32 flags)
{
	__builtin_memset(fib, 0, sizeof(*fib));
	fib->family = AF_INET;
	fib->ifindex = skb->ifindex;
	fib->tot_len = 1;		/* so that the MTU is told */
	fib->tos = tos;
	fib->ipv4_src = src;
	fib->ipv4_dst = dst;
	return (bpf_fib_lookup(skb, fib, sizeof(*fib), flags) == 0 &&
	    fib->family == AF_INET);
}

/*
 * The way of packets like this one, found out once in a moment: there is a
 * route, and the source is by the interface that they came by, so that no
 * rp_filter minds. Its ifindex is 0 where they are the host's to forward.
 */
static __always_inline void
find_turn(struct __sk_buff *skb, struct turn *t, const struct net *net,
    __u32 netns, __u8 tos, __u32 src, __u32 dst)
{
	struct bpf_fib_lookup fib;

	t->ifindex = 0;
	if (!is_plain_host(net, netns) ||
	    !look_up(skb, &fib, tos, dst, src, SKIP_NEIGH) ||
	    fib.ifindex != skb->ifindex ||
	    !look_up(skb, &fib, tos, src, dst, 0) ||
	    fib.ifindex == skb->ifindex ||
	    !find_device(net, fib.ifindex, &t->device))
		return;
	t->ifindex = fib.ifindex;
	t->mtu = fib.mtu_result;
	t->hop = fib.ipv4_dst;
	t->has_priority = net->ipv4.sysctl_ip_fwd_update_priority;
	__builtin_memcpy(t->dst, fib.dmac, sizeof(t->dst));
	__builtin_memcpy(t->src, fib.smac, sizeof(t->src));
}

/* rt_tos2priority */
static __always_inline __u32
priority(__u8 tos)
{
	return (0x4444666622220000ULL >> (tos & 0x1e) * 2 & 15);
}

/* ip_decrease_ttl */
static __always_inline void
older(struct ip4 *ip)
{
	__u32 sum = ip->sum + bpf_htons(0x0100);

	ip->sum = (__u16)(sum + (sum >= 0xffff));
	ip->ttl--;
}

/*
 * The frame of an IPv4 packet of a lease, of which other is the other end, at
 * its ingress, rewritten for where it goes: 1, or 0 and it is as it was. At an
 * interface where our program alone is others are asked too. size is that of
 * the largest packet that it will be.
 */
static __always_inline int
onward(struct __sk_buff *skb, struct turn *t, __u32 netns, int alone,
    __u32 size)
{
	struct sk_buff *k = bpf_cast_to_kern_ctx(skb);
	const struct net_device *dev = k->dev;
	const struct net *net = dev->nd_net.net;
	struct ether *e = (void *)(long)skb->data;
	struct ip4 *ip = (void *)(e + 1);
	__u32 other, src, dst;
	__u8 tos;

	/* The host trims a frame that says less, and drops one that says more. */
	if ((void *)(ip + 1) > (void *)(long)skb->data_end || !is_plain(ip) ||
	    bpf_ntohs(ip->len) != skb->len - ETH_LEN ||
	    skb->mark != 0 || skb->vlan_present ||
	    host_has_a_say(k, dev, net) ||
	    (alone && others_have_a_say(dev)))
		return (0);
	src = ip->src;
	dst = ip->dst;
	tos = ip->tos;
	other = alone ? src : dst;
	if (t->other != other || t->by != skb->ifindex || t->tos != tos) {
		find_turn(skb, t, net, netns, tos, src, dst);
		t->other = other;
		t->by = skb->ifindex;
		t->tos = tos;
	}
	if (t->ifindex == 0 || size > t->mtu || way_out_has_a_say(t, net))
		return (0);
	__builtin_memcpy(e->dst, t->dst, sizeof(e->dst));
	__builtin_memcpy(e->src, t->src, sizeof(e->src));
	older(ip);
	if (t->has_priority)
		skb->priority = priority(tos);
	return (1);
}

#endif /* TUNNEL_BPF_ONWARD_H */
