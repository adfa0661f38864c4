/*
 * The data plane. struct plane is how the parent speaks to whichever plane
 * carries the packets: tun (user space), bpf, kernel. All calls are the parent's; none blocks (open may wait half a second for an
 * interface that a daemon before us is about to lose).
 *
 * 4over6 is RFC 2473 with next header 4; ECN as in RFC 6040.
 */
#ifndef TUNNEL_TUNNEL_H
#define TUNNEL_TUNNEL_H

#include <netinet/in.h>

#include <stddef.h>
#include <stdint.h>

#include "dstmd/dstmd.h"

#define OUTER_OVERHEAD	40	/* octets: the outer IPv6 header */

/* Of IPv4 packets, in octets where they are lengths. */
#define IPV4_HEADER	20	/* without options */
#define IPV4_DF		0x4000	/* in the word at 6: don't fragment */
#define IPV4_OFFSET	0x1fff	/* of a fragment */
#define IPV4_FRAGMENT	0x3fff	/* more fragments, or an offset */
#define TCP_HEADER	20
#define UDP_HEADER	8
#define TCP_FIN		0x01
#define TCP_SYN		0x02
#define TCP_RST		0x04
#define TCP_PSH		0x08
#define TCP_ACK		0x10
#define TCP_URG		0x20
#define TCP_ECE		0x40
#define TCP_CWR		0x80
#define TCP_OPT_END	0
#define TCP_OPT_NOP	1
#define TCP_OPT_MSS	2

struct iovec;
struct virtio_net_hdr;

/* sum.c: fields in network order, the Internet's checksum */

static inline uint16_t
get16(const uint8_t *p)
{
	return ((uint16_t)(p[0] << 8 | p[1]));
}

static inline void
put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline uint32_t
get32(const uint8_t *p)
{
	return ((uint32_t)get16(p) << 16 | get16(p + 2));
}

static inline void
put32(uint8_t *p, uint32_t v)
{
	put16(p, (uint16_t)(v >> 16));
	put16(p + 2, (uint16_t)v);
}

/*
 * RFC 1071: the ones' complement sum, not inverted, of len octets, with what
 * was summed before. Only the last piece of several may be odd.
 */
uint16_t	 sum_of(const uint8_t *, size_t, uint16_t);
/* Of the pseudo header of an IPv4 packet with so many octets of payload. */
uint16_t	 sum_pseudo(const uint8_t *, size_t);
/* Puts the header checksum of an IPv4 packet right. */
void		 sum_ipv4(uint8_t *);
/* RFC 1624: the checksum at sum after a word changed from old to new. */
void		 sum_fix(uint8_t *sum, uint16_t old, uint16_t new);

/* encap.c: packets, pure functions */

enum encap_result { ENCAP_OK, ENCAP_DROP };

/*
 * Checks that buf[len] is one IPv4 packet (version, header length, total
 * length <= len; what is behind it is padding): its length, or 0.
 */
size_t		 ipv4_check(const uint8_t *, size_t);
/*
 * Lowers the MSS option of a TCP SYN to what fits mtu (inner, octets), checksum
 * corrected; other packets, fragments and malformed options are left alone.
 */
void		 ipv4_clamp_mss(uint8_t *, size_t, uint32_t);
/*
 * Does somebody on this host want the network by this checked packet? Not by
 * what only answers strangers (TCP resets, ICMP errors, echo replies), nor by
 * multicast and broadcast, which daemons send into any interface. 1 or 0.
 */
int		 ipv4_is_demand(const uint8_t *, size_t);
/* Inner TOS to outer traffic class, on encapsulation (RFC 6040, normal). */
uint8_t		 ecn_encap(uint8_t);
/*
 * On decapsulation: corrects the inner packet's ECN (and checksum) from
 * the outer traffic class: 0, or -1 it must be dropped (RFC 6040, 4.2).
 */
int		 ecn_decap(uint8_t *, size_t, uint8_t);

/* gso.c: packets of the host that are larger than the wire's, pure functions */

#define GSO_HEADER_MAX	120	/* octets: IPv4 and TCP with all options */
#define VNET_HEADER	10	/* octets: struct virtio_net_hdr */

struct gso {
	size_t		 ip;		/* octets of the IPv4 header */
	size_t		 hlen;		/* and of TCP's or UDP's; 0: whole */
	size_t		 size;		/* payload of each, the last has less */
	uint32_t	 n;		/* packets on the wire */
};

/*
 * A checked packet as the host's kernel left it, and how it leaves: as g->n
 * segments, or whole, its checksum completed. 0, or -1: header and packet
 * do not belong together.
 */
int		 gso_open(struct gso *, const struct virtio_net_hdr *,
		    uint8_t *, size_t);
/*
 * Cuts a TCP packet, whole or not, into segments of at most mtu octets. TCP
 * does not mind: 0. -1, and as it was: no TCP, a checksum that is wrong, or
 * flags or options that belong to this very segment.
 */
int		 gso_shrink(struct gso *, const uint8_t *, size_t,
		    uint32_t mtu);
/*
 * Segment i: its headers, g->hlen octets, to hdr; its payload is n octets of
 * the packet.
 */
void		 gso_segment(const struct gso *, const uint8_t *, size_t,
		    uint32_t i, uint8_t *hdr, uint8_t **payload, size_t *n);
/*
 * The offload header of a checked packet that has come. Its checksum may be of
 * the pseudo header alone, and so many TCP segments joined that it is larger
 * than mtu: an interface has done that, or its sender's, on this machine, has
 * left it to one. How large they were nobody says; the wire takes mtu. 0, or
 * -1: datagrams joined, which nobody can cut.
 */
int		 gso_received(struct virtio_net_hdr *, const uint8_t *, size_t,
		    uint32_t mtu);

/*
 * gro.c: TCP segments become such packets again, pure functions. In a batch
 * those of one flow keep their order, and all that is not TCP keeps its.
 */

#define GRO_MAX		64	/* packets of a batch */

struct gro_packet {
	uint8_t		*p;
	size_t		 len, hlen;
	uint8_t		 next;		/* of its bundle */
};
struct gro_bundle {
	void		*owner;
	uint8_t		 first, last;
	uint8_t		 flow;		/* it is TCP's: may be looked for */
	uint8_t		 closed;	/* takes no more */
	uint8_t		 checked;	/* the first's checksum is right */
	uint32_t	 n;		/* packets */
	size_t		 octets;	/* of them */
	size_t		 payload;
};
struct gro {
	uint32_t	 npackets, nbundles;
	struct gro_packet packets[GRO_MAX];
	struct gro_bundle bundles[GRO_MAX];
};

/*
 * Takes a checked packet of len octets, of which all belong to it; at most
 * GRO_MAX after gro->npackets and gro->nbundles were set to 0.
 */
void		 gro_add(struct gro *, uint8_t *, size_t, void *owner);
/*
 * Bundle i as it goes to the host: its offload header, and pieces in the order
 * of the octets; headers of the first packet are changed. How many pieces,
 * 1 to GRO_MAX.
 */
int		 gro_frame(struct gro *, uint32_t i, struct virtio_net_hdr *,
		    struct iovec *);

/* map.c: inner IPv4 to outer IPv6, one per device */

struct tunnel_map;
struct tunnel_entry {
	struct in_addr	 v4;
	struct in6_addr	 v6;
	int64_t		 until;		/* now_ms(); the map does not look */
	uint32_t	 pmtu;		/* outer, octets; 0: none is known */
	int64_t		 pmtu_until;	/* ms */
	uint64_t	 in_packets, in_bytes, out_packets, out_bytes;
	unsigned long long in_busy, out_busy;	/* rate_take */
};
struct tunnel_map *tunnel_map_new(void);
void		 tunnel_map_free(struct tunnel_map *);
/*
 * Adds or replaces; counters start at 0, but go on where nothing changes.
 * 0.0.0.0 is never in the map. Pointers of tunnel_map_find are good until
 * the next add or del. tunnel_map_del: 0, or -1 it was not there.
 */
void		 tunnel_map_add(struct tunnel_map *, struct in_addr,
		    const struct in6_addr *, int64_t until);
int		 tunnel_map_del(struct tunnel_map *, struct in_addr);
struct tunnel_entry *tunnel_map_find(struct tunnel_map *, struct in_addr);
uint32_t	 tunnel_map_count(const struct tunnel_map *);
/*
 * From slot on, up to max entries; the next slot, 0 at the end. A walk that
 * meets changes may miss an entry or see it twice.
 */
uint32_t	 tunnel_map_page(const struct tunnel_map *, uint32_t slot,
		    struct tunnel_entry *, uint32_t max, uint32_t *n);

/* list.c: what the parent is told of entries */

#define TUNNEL_PAGE_MAX	256	/* entries of a page */

/* A page, and drops[DROP_NREASON]; a map of NULL has nothing. */
struct msglink;
void		 list_page(struct msglink *, const struct msg_tunnel_list *,
		    const struct tunnel_map *, const uint64_t *);
/* The entry of an address, or nothing. */
void		 list_one(struct msglink *, const struct msg_tunnel_ask *,
		    struct tunnel_map *);

/* pmtu.c: packets that are too big for a path, pure functions */

#define PMTU_LEAST	1280	/* octets: no IPv6 path takes less */
#define PMTU_MS		600000	/* RFC 8201, 4: then a larger one is tried */
#define TOO_BIG_MAX	576	/* octets of our ICMP messages (RFC 1812) */

/*
 * The path to e's far end takes mtu (outer), says an ICMPv6 Packet Too Big
 * about a packet of len octets (inner): 1, or 0 it is not believed.
 */
int		 pmtu_learn(struct tunnel_entry *, uint32_t mtu, size_t len,
		    int64_t now);
/* The largest inner packet for e's far end, at most mtu. */
uint32_t	 pmtu_inner(struct tunnel_entry *, uint32_t mtu, int64_t now);
/*
 * "Fragmentation needed" (RFC 1191) about a packet, to who sent it, its
 * header checked, with the octets that are there: its length, or 0. None is
 * sent about an ICMP error, a later fragment, or what has no single sender
 * and receiver (RFC 1122, 3.2.2).
 */
size_t		 pmtu_too_big(uint8_t *, const uint8_t *, size_t,
		    uint32_t mtu);

struct bucket {			/* all 0: full */
	int64_t		 since;		/* ms */
	uint32_t	 used;
};
/* One of at most burst at once and so many a second: 1, or 0 not now. */
int		 bucket_take(struct bucket *, uint32_t burst,
		    uint32_t per_second, int64_t now);

/* keepalive.c: does the TEP of a node answer? */

#define KEEPALIVE_SIZE	36	/* octets of an echo request */

struct keepalive {		/* all 0: nobody asks */
	int64_t		 interval_ms;
	struct in_addr	 v4, tep4;
	uint8_t		 cookie[10];	/* of our packets */
	uint16_t	 seq;
	int		 missed, heard;
	int		 answers;	/* it is known to; else it is not judged */
	int		 dead;
	int		 told;		/* since the start: that it answers */
};

void		 keepalive_start(struct keepalive *,
		    const struct msg_tunnel_keepalive *);
/* The next echo request, KEEPALIVE_SIZE octets: its length. */
size_t		 keepalive_packet(struct keepalive *, uint8_t *);
/* Is this checked packet from the TEP an answer to one of ours? 1 or 0. */
int		 keepalive_is_answer(const struct keepalive *, const uint8_t *,
		    size_t);
/*
 * Something came from the TEP, maybe an answer. 1: that is news. It was dead,
 * or this is the first life since the start of one that answers.
 */
int		 keepalive_heard(struct keepalive *, int);
/*
 * The time has come: ms until the next. send: a packet is to be sent; died:
 * it was silent for an interval, and for three requests in another one. A TEP
 * that never answered is asked once in an interval, and not judged.
 */
int64_t		 keepalive_tick(struct keepalive *, int *send, int *died);

/* The parent's view */

struct plane_dev {
	uint32_t	 dev;		/* number, 0 .. TUNNEL_DEV_MAX - 1 */
	int		 is_node;
	int		 demand;	/* MSG_TUNNEL_USED when the host sends,
					 * once a second at most */
	uint32_t	 mtu;
	uint64_t	 rate;		/* bits/s of each lease, each way;
					 * 0: no limit */
	int		 left;		/* the interface is there, of a daemon
					 * before us, and is taken */
	char		 ifname[IFNAME_SIZE];
	struct in6_addr	 local;		/* outer; with demand :: for none
					 * yet: what the host sends is lost */
};

typedef void	(*plane_entry_cb)(const struct msg_tunnel_entry *, void *);
/*
 * Ends a page: next is the slot of the next page or 0. NULL: it failed,
 * which may be said before list returns.
 */
typedef void	(*plane_page_cb)(const struct msg_tunnel_stats *, void *);

struct plane {
	const char	*name;
	/* Makes the interface, link up, MTU set: 0, or -1 logged. */
	int		(*open)(const struct plane_dev *);
	void		(*close)(uint32_t dev);
	/* Is the interface that was made still there? */
	int		(*exists)(uint32_t dev);
	/*
	 * Somebody has removed the interface: makes it again, with its
	 * entries. Its addresses and routes are the caller's to add. 0, or
	 * -1 logged.
	 */
	int		(*reopen)(uint32_t dev);
	/*
	 * The open device takes another outer address and MTU, and keeps its
	 * interface and entries. 0, or -1 logged: as it was.
	 */
	int		(*move)(const struct plane_dev *);
	/*
	 * v4 -> v6; replaces. Takes effect in order of the calls; of several
	 * calls for one address that wait, the last one counts. Of packets
	 * from `until' on (now_ms(); INT64_MAX never) all are dropped, even
	 * if the parent hangs; del is the caller's still.
	 */
	void		(*add)(uint32_t dev, struct in_addr,
			    const struct in6_addr *, int64_t until);
	void		(*del)(uint32_t dev, struct in_addr);
	/*
	 * Whether the far end of the node's one entry answers is watched from
	 * now on, or with interval 0 not any more: MSG_TUNNEL_PEER. Ends with
	 * the device.
	 */
	void		(*keepalive)(const struct msg_tunnel_keepalive *);
	/*
	 * One page of entries with counters, and the drop counters, since
	 * the plane (tun: each tunnel process) started; TUNNEL_PAGE_MAX
	 * entries at most.
	 */
	void		(*list)(uint32_t dev, uint32_t slot, uint32_t max,
			    plane_entry_cb, plane_page_cb, void *);
	/*
	 * For a plane that outlives the daemon, else NULL. Of what open found
	 * of a daemon before, and nobody has added since, that goes of which
	 * `over' says 1.
	 */
	void		(*sweep)(uint32_t dev,
			    int (*over)(uint32_t dev, struct in_addr));
	/*
	 * Before open, of a node's device (dev and ifname are given): 1 what
	 * a daemon before us left carries packets still. local and mtu are
	 * set, v4 (0: none) and the time until which it is good.
	 */
	int		(*left)(struct plane_dev *, struct in_addr *v4,
			    int64_t *until);
	/*
	 * The interface has its addresses and routes. NULL where nobody asks.
	 */
	void		(*dressed)(uint32_t dev);
};

extern const struct plane plane_tun;

/* plane-tun.c: the tunnel processes behind plane_tun */

struct msg;

/*
 * Before the sandbox, and any device: so many queues, each with a tunnel
 * process, are wanted for the interface of a TEP. How many it may have: that,
 * or 1, as without this call.
 */
uint32_t	 plane_tun_prepare(uint32_t);
/*
 * A (new) tunnel process, of the queue of that number, that is ready: it is
 * given all devices that have such a queue, and their entries,
 * each device's socket last, which is when its packets start to move. NULL:
 * it is gone; what is said meanwhile is kept for the next, and packets wait
 * in the kernel's queues. The link's peer is PROC_TUNNEL + that number. Takes
 * over its msglink_on_drained.
 */
void		 plane_tun_attach(uint32_t, struct msglink *);
/*
 * Handlers of MSG_TUNNEL_ENTRY and MSG_TUNNEL_STATS, of each of them. Of what a
 * process says only counters are believed.
 */
void		 plane_tun_entry(struct msglink *, struct msg *);
void		 plane_tun_stats(struct msglink *, struct msg *);

/* The interface stays when we are killed: 0, or -1 with errno. */
int		 plane_tun_persist(uint32_t dev);
/* An interface that a daemon of plane bpf has left, and nobody has taken. */
void		 plane_tun_remove_left(const char *ifname);

/*
 * plane-bpf.c: plane tun, and the kernel's fast path for the common packet.
 * Before the sandbox each device is prepared, with room for so many entries:
 * 0, or -1 this kernel, or who we are, does not do it: why is in *why. One
 * that is not prepared is carried in user space alone. With the name of its
 * interface what is prepared outlives the daemon, where it can: the maps are
 * pinned, the filters hold the programs, and the interface stays. What a
 * daemon before us left is taken over.
 */
extern const struct plane plane_bpf;
int		 plane_bpf_prepare(uint32_t dev, uint32_t max,
		    const char *ifname, const char **why);
/* No program of an interface is to be taken over. Before the sandbox. */
void		 plane_bpf_forget(const char *ifname);
/* Says what is there of interfaces that were not prepared; after all were. */
void		 plane_bpf_left_over(void);
/* All packets pass the interface: no shortcut. */
void		 plane_bpf_by_interface(void);
/* What netlink_short_watch watches has changed. */
void		 plane_bpf_look(void);
/* 1: the programs carry nothing, all is the tunnel process's. */
void		 plane_bpf_leave(int);
int		 plane_bpf_stays(void);		/* each device does: 1 or 0 */
void		 plane_bpf_end(void);		/* all closed: removes pins */

/*
 * plane-kernel.c: the kernel's own ip6_tunnel; what it does not do stands
 * there. Before the sandbox: can it be had? 0, or -1 logged.
 */
extern const struct plane plane_kernel;
int		 plane_kernel_prepare(void);

/* gif-openbsd.c: one gif(4) for each entry. It has never run. */
#ifdef __OpenBSD__
extern const struct plane plane_gif;
#endif

#endif /* TUNNEL_TUNNEL_H */
