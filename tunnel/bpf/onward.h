/*
 * Onward: from the interface that a packet came by to the one that it leaves
 * by, past the host's own way of an IPv4 packet (ip_rcv, ip_forward and
 * ip_output), where nobody could tell the one from the other. Anything that
 * has a say there, or is not common, and the packet takes that way.
 */
#ifndef TUNNEL_BPF_ONWARD_H
#define TUNNEL_BPF_ONWARD_H

#define AF_INET		2
#define PRE_ROUTING	0		/* of hooks_ipv4 */
#define FORWARD		2
#define POST_ROUTING	4
#define POLICY_OUT	1		/* of IPsec's */
#define POLICY_FWD	2
#define POLICY_BLOCK	1

/*
 * Of the kernel's structures what is asked here; libbpf finds it in the one
 * that runs.
 */
#pragma clang attribute push(__attribute__((preserve_access_index)), \
    apply_to = record)
struct nf_hook_entries;
struct rx_handler;

struct net {
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
	struct bpf_mprog_entry	*tcx_ingress;
	struct nf_hook_entries	*nf_hooks_ingress;
	struct netdev_queue	*ingress_queue;
	void			*rx_handler;
};

struct sk_buff {
	struct net_device	*dev;
};
#pragma clang attribute pop

extern void *bpf_cast_to_kern_ctx(void *) __ksym;

/* Firewalls, conntrack, SELinux and IPsec are hooks or policies. */
static __always_inline int
host_has_a_say(const struct net_device *dev)
{
	const struct net *net = dev->nd_net.net;

	return (net->nf.hooks_ipv4[PRE_ROUTING] != 0 ||
	    net->nf.hooks_ipv4[FORWARD] != 0 ||
	    net->nf.hooks_ipv4[POST_ROUTING] != 0 ||
	    net->xfrm.policy_count[POLICY_OUT] != 0 ||
	    net->xfrm.policy_count[POLICY_FWD] != 0 ||
	    net->xfrm.policy_default[POLICY_FWD] == POLICY_BLOCK ||
	    dev->nf_hooks_ingress != 0 || dev->rx_handler != 0);
}

/* Of what comes after our program, the only one there, in the same hook. */
static __always_inline int
others_have_a_say(const struct net_device *dev)
{
	return (dev->tcx_ingress == 0 ||
	    dev->tcx_ingress->fp_items[1].prog != 0 ||
	    (dev->ingress_queue != 0 &&
	    dev->ingress_queue->qdisc_sleeping->handle != 0));
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

/*
 * The way of packets like this one, found out once in a moment: there is a
 * route, and the source is by the interface that they came by, so that no
 * rp_filter minds. Its ifindex is 0 where they are the host's to forward.
 */
static __always_inline void
find_turn(struct __sk_buff *skb, struct turn *t, const struct ip4 *ip,
    __u32 other)
{
	struct bpf_fib_lookup fib = {};

	t->other = other;
	t->by = skb->ifindex;
	t->tos = ip->tos;
	t->ifindex = 0;
	fib.family = AF_INET;
	fib.ifindex = skb->ifindex;
	fib.tot_len = 1;
	fib.tos = ip->tos;
	fib.ipv4_src = ip->dst;
	fib.ipv4_dst = ip->src;
	if (bpf_fib_lookup(skb, &fib, sizeof(fib), SKIP_NEIGH) != 0 ||
	    fib.ifindex != skb->ifindex)
		return;
	__builtin_memset(&fib, 0, sizeof(fib));
	fib.family = AF_INET;
	fib.ifindex = skb->ifindex;
	fib.tot_len = 1;
	fib.tos = ip->tos;
	fib.ipv4_src = ip->src;
	fib.ipv4_dst = ip->dst;
	if (bpf_fib_lookup(skb, &fib, sizeof(fib), 0) != 0 ||
	    fib.ifindex == skb->ifindex)
		return;
	t->ifindex = fib.ifindex;
	t->mtu = fib.mtu_result;
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
 * its ingress: where it goes, rewritten for that, or 0 and it is as it was.
 * Sizes are those of measure.
 */
static __always_inline __u32
onward(struct __sk_buff *skb, struct turn *t, int alone, __u32 len, __u32 hdr)
{
	const struct net_device *dev;
	struct ether *e = (void *)(long)skb->data;
	struct ip4 *ip = (void *)(e + 1);
	__u32 other;

	if ((void *)(ip + 1) > (void *)(long)skb->data_end || !is_plain(ip) ||
	    skb->mark != 0 || skb->vlan_present)
		return (0);
	dev = ((struct sk_buff *)bpf_cast_to_kern_ctx(skb))->dev;
	if (host_has_a_say(dev) || (alone && others_have_a_say(dev)))
		return (0);
	other = alone ? ip->src : ip->dst;
	if (t->other != other || t->by != skb->ifindex || t->tos != ip->tos)
		find_turn(skb, t, ip, other);
	if (t->ifindex == 0 ||
	    (skb->gso_size ? hdr + skb->gso_size : len) > t->mtu)
		return (0);
	__builtin_memcpy(e->dst, t->dst, sizeof(e->dst));
	__builtin_memcpy(e->src, t->src, sizeof(e->src));
	older(ip);
	skb->priority = priority(ip->tos);
	return (t->ifindex);
}

#endif /* TUNNEL_BPF_ONWARD_H */
