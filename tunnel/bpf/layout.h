/*
 * What the BPF programs share with the parent, which maps slots and state into
 * its memory. Addresses in network order, times of CLOCK_BOOTTIME in ns.
 */
#ifndef TUNNEL_BPF_LAYOUT_H
#define TUNNEL_BPF_LAYOUT_H

#include <linux/types.h>

/*
 * To be raised with every change of what maps mean, here or in the programs:
 * those of a daemon before are taken over only where it is the same.
 */
#define BPF_LAYOUT	5

/*
 * One lease. v6 never changes while v4 is set: another address is another
 * slot, so that no packet under way gets another lease's end.
 */
struct bpf_slot {
	__u32	 v4;		/* 0: nobody's */
	__u16	 asked_in;	/* 2^30 ns: for its next hop's link address, */
	__u16	 asked_out;	/* out of the tunnel and into it */
	__u32	 v6[4];
	__u64	 expires;	/* 0: never */
	__u64	 in_packets, in_bytes, out_packets, out_bytes;
	__u64	 in_busy, out_busy;	/* rate_take */
};

#define BPF_STATE_NODE		1
#define BPF_STATE_PASS_MISS	2	/* no lease: user space decides */
#define BPF_STATE_DEMAND	4	/* it wants to see use */
#define BPF_STATE_LEAVE		8	/* all packets are user space's */
#define BPF_STATE_SHORT		16	/* in by the outer interface */

struct bpf_state {
	__u32	 version;	/* BPF_LAYOUT */
	__u32	 flags;
	__u32	 ifindex;	/* the TUN device; 0: not open */
	__u32	 mtu;		/* inner */
	__u32	 tep4;		/* its echo replies are user space's; 0: none */
	__u32	 local[4];
	__u32	 device;	/* ifindex, also while that is 0 for a moment */
	__u32	 netns;		/* inode of the host's network namespace */
	__u64	 used;		/* when user space was shown a packet */
	__u64	 rate;		/* bits/s of a lease, each way; 0: no limit */
};

#endif /* TUNNEL_BPF_LAYOUT_H */
