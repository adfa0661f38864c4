/*
 * The data plane. struct plane is how the parent speaks to whichever plane
 * carries the packets: today tun (user space), later bpf and kernel. All
 * calls are the parent's; none blocks (open may wait half a second for an
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

/* map.c: inner IPv4 to outer IPv6, one per device */

struct tunnel_map;
struct tunnel_entry {
	struct in_addr	 v4;
	struct in6_addr	 v6;
	int64_t		 until;		/* now_ms(); the map does not look */
	uint64_t	 in_packets, in_bytes, out_packets, out_bytes;
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
	 * the plane (tun: the tunnel process) started.
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
};

extern const struct plane plane_tun;

/* plane-tun.c: the tunnel process behind plane_tun */

struct msglink;
struct msg;

/*
 * A (new) tunnel process that is ready: it is given all devices and entries,
 * each device's socket last, which is when its packets start to move. NULL:
 * it is gone; what is said meanwhile is kept for the next, and packets wait
 * in the kernel's queues. Takes over the link's msglink_on_drained.
 */
void		 plane_tun_attach(struct msglink *);
/*
 * Handlers of MSG_TUNNEL_ENTRY and MSG_TUNNEL_STATS. Of what the process
 * says only counters are believed.
 */
void		 plane_tun_entry(struct msglink *, struct msg *);
void		 plane_tun_stats(struct msglink *, struct msg *);

/* The interface stays when we are killed: 0, or -1 with errno. */
int		 plane_tun_persist(uint32_t dev);

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
int		 plane_bpf_stays(void);		/* each device does: 1 or 0 */
void		 plane_bpf_end(void);		/* all closed: removes pins */

/* gif-openbsd.c: one gif(4) for each entry. It has never run. */
#ifdef __OpenBSD__
extern const struct plane plane_gif;
#endif

#endif /* TUNNEL_TUNNEL_H */
