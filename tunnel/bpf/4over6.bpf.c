/*
 * The fast path: 4over6 (RFC 2473) in the kernel for the common packet. What
 * is not common (too big for the path, fragments of the outer packet, options
 * in the outer header, no route) goes on to user space, which does all of it:
 * here nothing is answered, only forwarded, dropped or passed on. The checks
 * are those of tunnel.c and encap.c.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "tunnel/bpf/layout.h"
#include "tunnel/rate.h"

#define DECAP_IPV4	(1ULL << 7)	/* BPF_F_ADJ_ROOM_DECAP_L3_IPV4 */
#define SKIP_NEIGH	(1U << 2)	/* BPF_FIB_LOOKUP_SKIP_NEIGH */
#define AF_INET6	10
#define PROTO_IPV4	0x0800
#define PROTO_IPV6	0x86dd
#define PROTO_8021Q	0x8100
#define PROTO_8021AD	0x88a8
#define OTHERHOST	3		/* of pkt_type */
#define ETH_LEN		14
#define OUTER		40
#define HOPS		64
#define LO		1		/* as for what this host itself sends */
#define SECOND		1000000000ULL
#define NEXT_IPV4	4
#define ICMP		1
#define TCP		6
#define UDP		17
#define OPTIONS		40
#define NMOMENTS	256

/* enum tunnel_drop of dstmd.h; plane-bpf.c checks that they are the same. */
enum { INNER_SOURCE, OUTER_SOURCE, NO_LEASE, MALFORMED, ECN, QUEUE, EXPIRED,
	MARTIAN, TOO_BIG, RATE, NREASON };

struct ether {
	__u16	 dst[3], src[3];
	__u16	 proto;
};

struct ip4 {
	__u8	 vihl, tos;
	__u16	 len, id, frag;
	__u8	 ttl, proto;
	__u16	 sum;
	__u32	 src, dst;
};

struct ip6 {
	__u32	 flow;
	__u16	 len;
	__u8	 next, hops;
	__u32	 src[4], dst[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);		/* the loader knows */
	__type(key, __u32);
	__type(value, __u32);
} leases SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bpf_slot);
} slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bpf_state);
} state SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, NREASON);
	__type(key, __u32);
	__type(value, __u64);
} drops SEC(".maps");

/* How packets that are alike go on from their interface, see onward.h. */
struct turn {
	__u32	 other, by, tos;	/* of an IPv4 packet; other 0: none */
	__u32	 ifindex, mtu, hop;	/* ifindex 0: none */
	__u16	 dst[3], src[3];
	__u32	 has_priority;	/* the TOS says the priority */
	volatile __u64 device;	/* the kernel's own */
};

/*
 * What a processor has found out in one tick of the clock (1 to 10 ms), of
 * the lease that was last there: its next packets need not ask again.
 */
struct moment {
	__u64	 tick, now;		/* CLOCK_BOOTTIME in ns, of its first */
	__u32	 v4, slot;
	__u32	 dst[4], hop[4];	/* the route, where ifindex is not 0 */
	__u32	 ifindex, mtu, tos;
	__u16	 mac[3];		/* the hop's, where it is known */
	__u16	 has_mac;
	struct turn to, from;		/* the node */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, NMOMENTS);
	__type(key, __u32);
	__type(value, struct moment);
} moments SEC(".maps");

static __always_inline int
drop(__u32 reason)
{
	__u64 *n = bpf_map_lookup_elem(&drops, &reason);

	if (n)
		*n += 1;
	return (TC_ACT_SHOT);
}

/* The same of what this host sends: lost, as in a tunnel, and no error to it. */
static __always_inline int
swallow(__u32 reason)
{
	(void)drop(reason);
	return (TC_ACT_STOLEN);
}

/* And the moment that its packets share. */
static __always_inline struct bpf_slot *
lease_of(__u32 v4, struct moment **m)
{
	__u32 *i, at = (v4 >> 24 ^ v4 >> 16) % NMOMENTS;
	__u64 tick = bpf_jiffies64();
	struct bpf_slot *s;

	if (!(*m = bpf_map_lookup_elem(&moments, &at)))
		return (0);
	if ((*m)->tick == tick && (*m)->v4 == v4 &&
	    (s = bpf_map_lookup_elem(&slots, &(*m)->slot)) &&
	    *(volatile __u32 *)&s->v4 == v4)
		return (s);
	if (!(i = bpf_map_lookup_elem(&leases, &v4)) ||
	    !(s = bpf_map_lookup_elem(&slots, i)))
		return (0);
	(*m)->tick = tick;
	(*m)->now = bpf_ktime_get_boot_ns();
	(*m)->v4 = v4;
	(*m)->slot = *i;
	(*m)->ifindex = (*m)->to.other = (*m)->from.other = 0;
	return (*(volatile __u32 *)&s->v4 == v4 ? s : 0);
}

/* What is at `at' into *to, in one piece or not: 1, or 0 it is not there. */
#define LOAD(skb, at, to) __extension__ ({				\
	typeof(to) p_ = (void *)(long)(skb)->data + (at);		\
	int ok_ = 1;							\
									\
	if ((void *)(p_ + 1) > (void *)(long)(skb)->data_end)		\
		ok_ = bpf_skb_load_bytes(skb, at, to,			\
		    sizeof(*(to))) == 0;				\
	else								\
		*(to) = *p_;						\
	ok_;								\
})

static __always_inline int
same_mac(const __u16 *a, const __u16 *b)
{
	return (((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2])) == 0);
}

static __always_inline int
same6(const __u32 *a, const __u32 *b)
{
	return (((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) |
	    (a[3] ^ b[3])) == 0);
}

/* in_usable of addr.c */
static __always_inline int
martian(__u32 v4)
{
	__u32 a = bpf_ntohl(v4);

	return (a >> 24 == 0 || a >> 24 == 127 || a >= 0xe0000000U ||
	    a >> 16 == 0xa9fe);
}

static __always_inline int
expired(const struct bpf_slot *s, const struct moment *m)
{
	return (s->expires != 0 && s->expires <= m->now);
}

/*
 * What goes on to user space from here is counted there once more, alone: who
 * mixes what each of the two carries may have twice the rate.
 */
static __always_inline int
in_time(__u64 *busy, const struct bpf_state *st, __u32 octets)
{
	return (st->rate == 0 ||
	    rate_take(busy, st->rate, octets, bpf_ktime_get_boot_ns()));
}

/* ipv4_clamp_mss */
static __always_inline void
clamp_mss(struct __sk_buff *skb, __u32 at, const struct ip4 *ip, __u32 mtu)
{
	__u32 tcp = at + (ip->vihl & 15) * 4, pos, end, i;
	__u16 off_flags, old, new;
	__u8 kind, len;

	if (ip->proto != TCP || (ip->frag & bpf_htons(0x3fff)) ||
	    !LOAD(skb, tcp + 12, &off_flags) ||
	    !(off_flags & bpf_htons(2)) || mtu < 104)
		return;
	end = tcp + (bpf_ntohs(off_flags) >> 12) * 4;
	pos = tcp + 20;
	if (end > at + bpf_ntohs(ip->len))
		return;
	for (i = 0; i < OPTIONS && pos < end; i++) {
		if (bpf_skb_load_bytes(skb, pos, &kind, 1) != 0 || kind == 0)
			return;
		if (kind == 1) {
			pos++;
			continue;
		}
		if (pos + 1 >= end ||
		    bpf_skb_load_bytes(skb, pos + 1, &len, 1) != 0 ||
		    len < 2 || pos + len > end)
			return;
		if (kind == 2)
			break;
		pos += len;
	}
	if (i >= OPTIONS || pos >= end || len != 4 ||
	    bpf_skb_load_bytes(skb, pos + 2, &old, 2) != 0)
		return;
	mtu -= 40;
	if (bpf_ntohs(old) <= mtu)
		return;
	new = bpf_htons((__u16)mtu);
	bpf_skb_store_bytes(skb, pos + 2, &new, 2, 0);
	if ((pos - tcp) & 1) {		/* in two words of the sum */
		old = (__u16)(old << 8 | old >> 8);
		new = (__u16)(new << 8 | new >> 8);
	}
	bpf_l4_csum_replace(skb, tcp + 16, old, new, 2);
}

/*
 * The inner packet at `at' of which len octets are there: 1 it is one that is
 * done here; *segs packets of hdr octets before their data each.
 */
static __always_inline int
measure(struct __sk_buff *skb, __u32 at, const struct ip4 *ip, __u32 len,
    __u32 *segs, __u32 *hdr)
{
	__u32 ihl = (ip->vihl & 15) * 4, l4 = 8;
	__u8 doff;

	*segs = 1;
	*hdr = 0;
	if (ip->vihl >> 4 != 4 || ihl < 20 || len < ihl)
		return (0);
	if (skb->gso_size == 0)
		return (bpf_ntohs(ip->len) == len);
	if (ip->proto == TCP) {
		if (!LOAD(skb, at + ihl + 12, &doff))
			return (0);
		l4 = (doff >> 4) * 4;
	} else if (ip->proto != UDP)
		return (0);
	*hdr = ihl + l4;
	if (len <= *hdr)
		return (0);
	*segs = (len - *hdr + skb->gso_size - 1) / skb->gso_size;
	return (1);
}

/* The largest of the packets that it will be; hdr as of measure. */
static __always_inline __u32
largest(const struct __sk_buff *skb, __u32 len, __u32 hdr)
{
	return (skb->gso_size ? hdr + skb->gso_size : len);
}

static __always_inline void
count(__u64 *packets, __u64 *bytes, __u32 segs, __u32 len)
{
	__sync_fetch_and_add(packets, segs);
	__sync_fetch_and_add(bytes, len);
}

/* ipv4_is_demand */
static __always_inline int
is_demand(struct __sk_buff *skb, __u32 at, const struct ip4 *ip)
{
	__u32 l4 = at + (ip->vihl & 15) * 4;
	__u8 v;

	if (bpf_ntohl(ip->dst) >> 24 >= 224 || (ip->frag & bpf_htons(0x1fff)))
		return (0);
	if (ip->proto == TCP && bpf_skb_load_bytes(skb, l4 + 13, &v, 1) == 0)
		return (!(v & 4));
	if (ip->proto == ICMP && bpf_skb_load_bytes(skb, l4, &v, 1) == 0)
		return (!(v == 0 || (v >= 3 && v <= 5) || v == 11 || v == 12));
	return (1);
}

/*
 * How the outer packet goes: 1, or 0 it is not known here. With flags of 0
 * the hop's link address is in the kernel's table.
 */
static __always_inline int
route(struct __sk_buff *skb, struct moment *m, const struct ip6 *out, __u8 tos,
    __u32 flags)
{
	struct bpf_fib_lookup fib = {};

	if (m->ifindex != 0 && m->tos == tos && same6(m->dst, out->dst) &&
	    (flags != 0 || m->has_mac))
		return (1);
	fib.family = AF_INET6;
	fib.ifindex = LO;
	fib.l4_protocol = NEXT_IPV4;
	fib.tot_len = 1;		/* so that the MTU is told */
	fib.flowinfo = out->flow & bpf_htonl(0x0fffffff);
	__builtin_memcpy(fib.ipv6_src, out->src, sizeof(out->src));
	__builtin_memcpy(fib.ipv6_dst, out->dst, sizeof(out->dst));
	if (bpf_fib_lookup(skb, &fib, sizeof(fib), flags) != 0)
		return (0);
	m->ifindex = fib.ifindex;
	m->mtu = fib.mtu_result;
	m->tos = tos;
	m->has_mac = flags == 0;
	__builtin_memcpy(m->mac, fib.dmac, sizeof(m->mac));
	__builtin_memcpy(m->dst, out->dst, sizeof(m->dst));
	__builtin_memcpy(m->hop, fib.ipv6_dst, sizeof(m->hop));
	return (1);
}

/* A packet into the tunnel. */
struct job {
	struct bpf_slot	*s;
	struct moment	*m;
	struct ip4	 ip;
	struct ip6	 out;
	__u32		 len, segs, hdr;	/* see measure */
};

/* At the outer interface: the TUN device's program, which does it. */
static __always_inline int
lose(__u32 at, __u32 reason)
{
	return (at == 0 ? swallow(reason) : TC_ACT_UNSPEC);
}

/*
 * The IPv4 packet at `at': TC_ACT_OK and what becomes of it, or TC_ACT_UNSPEC
 * who comes next decides, or what is to be returned.
 */
static __always_inline int
plan(struct __sk_buff *skb, __u32 at, struct bpf_state *st, struct job *j)
{
	__u64 now;
	__u32 v4;

	j->len = skb->len - at;
	if (st->ifindex == 0 || (st->flags & BPF_STATE_LEAVE) ||
	    (st->local[0] | st->local[1] |
	    st->local[2] | st->local[3]) == 0 ||
	    skb->protocol != bpf_htons(PROTO_IPV4) ||
	    !LOAD(skb, at, &j->ip) ||
	    !measure(skb, at, &j->ip, j->len, &j->segs, &j->hdr))
		return (TC_ACT_UNSPEC);
	v4 = st->flags & BPF_STATE_NODE ? j->ip.src : j->ip.dst;
	if (!(j->s = lease_of(v4, &j->m))) {
		if (st->flags & (BPF_STATE_PASS_MISS | BPF_STATE_DEMAND))
			return (TC_ACT_UNSPEC);
		return (lose(at, st->flags & BPF_STATE_NODE ? INNER_SOURCE :
		    NO_LEASE));
	}
	if (expired(j->s, j->m))
		return (lose(at, EXPIRED));
	if (martian(j->ip.src) || martian(j->ip.dst))
		return (lose(at, MARTIAN));
	if (st->flags & BPF_STATE_DEMAND) {
		now = bpf_ktime_get_boot_ns();
		if (now - st->used > SECOND && is_demand(skb, at, &j->ip)) {
			/* At the outer interface it is not seen yet. */
			if (at == 0)
				st->used = now;
			return (TC_ACT_UNSPEC);
		}
	}
	__builtin_memcpy(j->out.src, st->local, sizeof(j->out.src));
	__builtin_memcpy(j->out.dst, j->s->v6, sizeof(j->out.dst));
	j->out.flow = bpf_htonl(6U << 28 | (__u32)j->ip.tos << 20 |
	    (bpf_get_hash_recalc(skb) & 0xfffff));
	j->out.len = j->len > 0xffff ? 0 : bpf_htons((__u16)j->len);
	j->out.next = NEXT_IPV4;
	j->out.hops = HOPS;
	/* It is another lease's by now: as if it had come too late. */
	if (*(volatile __u32 *)&j->s->v4 != v4)
		return (lose(at, NO_LEASE));
	return (TC_ACT_OK);
}

static __always_inline int
fits(const struct __sk_buff *skb, const struct job *j)
{
	return (largest(skb, j->len, j->hdr) + OUTER <= j->m->mtu);
}

static __always_inline int
make_room(struct __sk_buff *skb, __u32 at, const struct bpf_state *st,
    const struct job *j)
{
	clamp_mss(skb, at, &j->ip, st->mtu);
	return (bpf_skb_adjust_room(skb, OUTER, BPF_ADJ_ROOM_MAC,
	    BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 | BPF_F_ADJ_ROOM_FIXED_GSO));
}

static __always_inline void
count_out(const struct job *j)
{
	count(&j->s->out_packets, &j->s->out_bytes, j->segs,
	    j->len + (j->segs - 1) * j->hdr);
}

/* Egress of the TUN device: packets without a link header. */
SEC("tc")
int
dstmd_out(struct __sk_buff *skb)
{
	struct bpf_redir_neigh nh = {};
	struct bpf_state *st;
	struct job j = {};
	__u32 zero = 0;
	int r;

	if (!(st = bpf_map_lookup_elem(&state, &zero)))
		return (TC_ACT_UNSPEC);
	if ((r = plan(skb, 0, st, &j)) != TC_ACT_OK)
		return (r);
	if (!route(skb, j.m, &j.out, j.ip.tos, SKIP_NEIGH) || !fits(skb, &j))
		return (TC_ACT_UNSPEC);
	if (!in_time(&j.s->out_busy, st, j.len + (j.segs - 1) * j.hdr))
		return (swallow(RATE));
	if (make_room(skb, 0, st, &j) != 0)
		return (TC_ACT_UNSPEC);
	/* bpf_redirect_neigh wants a link header to replace. */
	if (bpf_skb_change_head(skb, ETH_LEN, 0) != 0)
		return (swallow(QUEUE));
	if (bpf_skb_store_bytes(skb, ETH_LEN, &j.out, sizeof(j.out),
	    BPF_F_RECOMPUTE_CSUM) != 0)
		return (swallow(QUEUE));
	count_out(&j);
	nh.nh_family = AF_INET6;
	__builtin_memcpy(nh.ipv6_nh, j.m->hop, sizeof(nh.ipv6_nh));
	return (bpf_redirect_neigh(j.m->ifindex, &nh, sizeof(nh), 0));
}

/*
 * Once in 1.07 s (2^30 ns) a lease's packet takes the long way, whose use of the
 * hop's link address makes the kernel test it (RFC 4861, 7.3). 1: now. Of several
 * hops each is another.
 */
static __always_inline int
asks(__u16 *asked, const struct moment *m, __u32 hop)
{
	__u16 now = (__u16)(m->now >> 30 ^ hop ^ hop >> 16);

	if (*asked == now)
		return (0);
	*asked = now;
	return (1);
}

/*
 * What was routed there has the interface's own link address as the hop's. A
 * lease's packets are the tunnel's in any case, to groups too.
 */
static __always_inline int
is_ours(struct __sk_buff *skb, const struct bpf_state *st,
    const struct ether *eth)
{
	struct moment *m;
	struct ip4 ip;

	return (same_mac(eth->dst, eth->src) || (LOAD(skb, ETH_LEN, &ip) &&
	    lease_of(st->flags & BPF_STATE_NODE ? ip.src : ip.dst, &m) != 0));
}

/*
 * The shortcut: egress of the outer interface. What is ours goes out in its
 * very frame; what is not common goes the long way by the TUN device, as ever.
 */
SEC("tc")
int
dstmd_out_ether(struct __sk_buff *skb)
{
	struct bpf_state *st;
	struct job j = {};
	struct ether eth, *e;
	struct ip6 *to;
	__u32 zero = 0;

	st = bpf_map_lookup_elem(&state, &zero);
	if (!st || st->device == 0 || skb->vlan_present ||
	    skb->protocol != bpf_htons(PROTO_IPV4) ||
	    !LOAD(skb, 0, &eth) || !is_ours(skb, st, &eth))
		return (TC_ACT_UNSPEC);
	if (eth.proto != bpf_htons(PROTO_IPV4) ||
	    plan(skb, ETH_LEN, st, &j) != TC_ACT_OK ||
	    asks(&j.s->asked_out, j.m, 0) ||
	    !route(skb, j.m, &j.out, j.ip.tos, 0) ||
	    j.m->ifindex != skb->ifindex || !fits(skb, &j) ||
	    !in_time(&j.s->out_busy, st, j.len + (j.segs - 1) * j.hdr))
		return (bpf_redirect(st->device, 0));
	/* Not where it has just come out of a tunnel, for one. */
	if (make_room(skb, ETH_LEN, st, &j) != 0)
		return (bpf_redirect(st->device, 0));
	__builtin_memcpy(eth.dst, j.m->mac, sizeof(eth.dst));
	eth.proto = bpf_htons(PROTO_IPV6);
	e = (void *)(long)skb->data;
	to = (void *)(e + 1);
	/* A sum of the whole frame is there where the host did not forward it. */
	if (bpf_csum_update(skb, 0) < 0 &&
	    (void *)(to + 1) <= (void *)(long)skb->data_end) {
		*e = eth;
		*to = j.out;
	} else if (bpf_skb_store_bytes(skb, 0, &eth, sizeof(eth),
	    BPF_F_RECOMPUTE_CSUM) != 0 ||
	    bpf_skb_store_bytes(skb, ETH_LEN, &j.out, sizeof(j.out),
	    BPF_F_RECOMPUTE_CSUM) != 0)
		return (drop(QUEUE));
	count_out(&j);
	return (TC_ACT_OK);
}

/* RFC 6040, 4.2: the inner TOS to be, or -1 it must be dropped. */
static __always_inline int
ecn_decap(__u8 tos, __u8 outer)
{
	__u8 inner = tos & 3;

	outer &= 3;
	if (outer == 3 && inner == 0)
		return (-1);
	if (inner == 0 || inner == 3)
		return (tos);
	if (outer == 3)
		return (tos | 3);
	return (outer == 1 ? (tos & ~3) | 1 : tos);
}

/*
 * Plain IPv4 that the host could not tell from a lease's, out of the tunnel?
 * The VLAN 0 is none, and one in another is nobody's.
 */
static __always_inline int
passes_for(struct __sk_buff *skb, const struct bpf_state *st)
{
	struct moment *m;
	struct ip4 ip;

	if (skb->pkt_type == OTHERHOST ||
	    (skb->vlan_present && (skb->vlan_tci & 0xfff) != 0))
		return (0);
	if (skb->protocol == bpf_htons(PROTO_8021Q) ||
	    skb->protocol == bpf_htons(PROTO_8021AD))
		return (skb->vlan_present);
	return (skb->protocol == bpf_htons(PROTO_IPV4) &&
	    LOAD(skb, ETH_LEN, &ip) &&
	    lease_of(st->flags & BPF_STATE_NODE ? ip.dst : ip.src, &m) != 0);
}

#ifdef ONWARD
#include "tunnel/bpf/onward.h"

/* Ingress of another Ethernet interface: the route leads to the shortcut. */
SEC("tc")
int
dstmd_in_other(struct __sk_buff *skb)
{
	__u32 zero = 0, segs, hdr, len, size;
	struct bpf_state *st;
	struct moment *m;
	struct ether eth;
	struct ip4 ip;

	st = bpf_map_lookup_elem(&state, &zero);
	if (!st || st->ifindex == 0 || (st->flags & BPF_STATE_SHORT) == 0 ||
	    (st->flags & BPF_STATE_LEAVE) || skb->pkt_type != 0 ||
	    skb->protocol != bpf_htons(PROTO_IPV4) ||
	    !LOAD(skb, 0, &eth) || eth.proto != bpf_htons(PROTO_IPV4) ||
	    !LOAD(skb, ETH_LEN, &ip) || !lease_of(ip.dst, &m))
		return (TC_ACT_UNSPEC);
	len = skb->len - ETH_LEN;
	/* Ethernet has no frames as short as that. */
	if (skb->gso_size == 0 && bpf_ntohs(ip.len) < len &&
	    bpf_ntohs(ip.len) >= sizeof(ip)) {
		len = bpf_ntohs(ip.len);
		if (bpf_skb_change_tail(skb, ETH_LEN + len, 0) != 0)
			return (TC_ACT_UNSPEC);
	}
	if (!measure(skb, ETH_LEN, &ip, len, &segs, &hdr) ||
	    (size = largest(skb, len, hdr)) > st->mtu ||
	    !onward(skb, &m->to, st->netns, 1, size))
		return (TC_ACT_UNSPEC);
	return (bpf_redirect(m->to.ifindex, 0));
}

/* What came out of the tunnel, its largest packet of that size. */
static __always_inline int
hand_on(struct __sk_buff *skb, const struct bpf_state *st, struct bpf_slot *s,
    struct moment *m, __u32 size)
{
	struct bpf_redir_neigh nh = {};

	if ((st->flags & BPF_STATE_NODE) ||
	    !onward(skb, &m->from, st->netns, 0, size))
		return (TC_ACT_OK);
	if (!asks(&s->asked_in, m, m->from.hop))
		return (bpf_redirect(m->from.ifindex, 0));
	nh.nh_family = AF_INET;
	nh.ipv4_nh = m->from.hop;
	return (bpf_redirect_neigh(m->from.ifindex, &nh, sizeof(nh), 0));
}
#else
#define hand_on(skb, st, s, m, size)	TC_ACT_OK	/* the host does it */
#endif

/* Ingress of the Ethernet interface that the outer packets come by. */
SEC("tc")
int
dstmd_in_ether(struct __sk_buff *skb)
{
	const __u32 l2 = ETH_LEN;
	__u32 zero = 0, segs, hdr, len;
	struct bpf_state *st;
	struct bpf_slot *s;
	struct moment *m;
	struct ether *e;
	struct ip6 out;
	struct ip4 ip;
	__u16 old, new;
	__u32 v4;
	int tos;

	st = bpf_map_lookup_elem(&state, &zero);
	if (!st || st->ifindex == 0)
		return (TC_ACT_UNSPEC);
	if ((st->flags & BPF_STATE_SHORT) && passes_for(skb, st))
		return (drop(st->flags & BPF_STATE_NODE ? OUTER_SOURCE :
		    INNER_SOURCE));
	if ((st->flags & BPF_STATE_LEAVE) ||
	    skb->pkt_type != 0 || skb->vlan_present ||
	    skb->protocol != bpf_htons(PROTO_IPV6) ||
	    !LOAD(skb, l2, &out) ||
	    out.next != NEXT_IPV4 || !same6(out.dst, st->local) ||
	    !LOAD(skb, l2 + OUTER, &ip))
		return (TC_ACT_UNSPEC);
	len = skb->len - l2 - OUTER;
	if ((skb->gso_size == 0 && bpf_ntohs(out.len) != len) ||
	    !measure(skb, l2 + OUTER, &ip, len, &segs, &hdr))
		return (TC_ACT_UNSPEC);
	v4 = st->flags & BPF_STATE_NODE ? ip.dst : ip.src;
	if (!(s = lease_of(v4, &m))) {
		if (st->flags & BPF_STATE_PASS_MISS)
			return (TC_ACT_UNSPEC);
		return (drop(st->flags & BPF_STATE_NODE ? NO_LEASE :
		    INNER_SOURCE));
	}
	if (!same6(out.src, s->v6) || *(volatile __u32 *)&s->v4 != v4)
		return (drop(OUTER_SOURCE));
	if (expired(s, m))
		return (drop(EXPIRED));
	if (martian(ip.src) || martian(ip.dst))
		return (drop(MARTIAN));
	/* An answer to user space's question, maybe. */
	if (st->tep4 != 0 && ip.src == st->tep4 && ip.proto == ICMP)
		return (TC_ACT_UNSPEC);
	if (!in_time(&s->in_busy, st, len + (segs - 1) * hdr))
		return (drop(RATE));
	if ((tos = ecn_decap(ip.tos, (__u8)(bpf_ntohl(out.flow) >> 20))) < 0)
		return (drop(ECN));
	if (tos != ip.tos) {
		old = bpf_htons((__u16)(ip.vihl << 8 | ip.tos));
		new = bpf_htons((__u16)(ip.vihl << 8 | tos));
		bpf_skb_store_bytes(skb, l2 + OUTER, &new, 2, 0);
		bpf_l3_csum_replace(skb, l2 + OUTER + 10, old, new, 2);
	}
	clamp_mss(skb, l2 + OUTER, &ip, st->mtu);
	if (bpf_skb_adjust_room(skb, -OUTER, BPF_ADJ_ROOM_MAC, DECAP_IPV4 |
	    BPF_F_ADJ_ROOM_FIXED_GSO) != 0)
		return (TC_ACT_UNSPEC);
	count(&s->in_packets, &s->in_bytes, segs, len + (segs - 1) * hdr);
	bpf_set_hash_invalid(skb);
	if ((st->flags & BPF_STATE_SHORT) == 0)
		return (bpf_redirect(st->ifindex, BPF_F_INGRESS));
	e = (void *)(long)skb->data;
	if ((void *)(e + 1) > (void *)(long)skb->data_end)
		return (drop(QUEUE));
	e->proto = bpf_htons(PROTO_IPV4);
	return (hand_on(skb, st, s, m, largest(skb, len, hdr)));
}

/*
 * Run once, with a packet of the parent's: older kernels take the programs
 * above, and refuse what they ask for at each packet. 0: none of it.
 */
SEC("tc")
int
dstmd_probe(struct __sk_buff *skb)
{
	struct bpf_fib_lookup fib = {};

	fib.family = AF_INET6;
	fib.ifindex = LO;
	if (bpf_fib_lookup(skb, &fib, sizeof(fib), SKIP_NEIGH) < 0)
		return (1);
	return (bpf_skb_adjust_room(skb, -OUTER, BPF_ADJ_ROOM_MAC,
	    DECAP_IPV4 | BPF_F_ADJ_ROOM_FIXED_GSO) != 0);
}

/* The kernel gives bpf_fib_lookup to such programs alone. */
char dstmd_license[] SEC("license") = "GPL";
