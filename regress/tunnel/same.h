/* What plane bpf's programs are to do with packets, and what they do. */
#ifndef REGRESS_SAME_H
#define REGRESS_SAME_H

#include <sys/types.h>

#include <stdint.h>

#include "dstmd/dstmd.h"
#include "tunnel/bpf/layout.h"
#include "tunnel/tunnel.h"

#define ETH		14
#define OUTER		40
#define IP6		0x86dd
#define IP4		0x0800
#define SIZE		1600
#define LEASES		3
#define PATH		1280	/* the interface's */
#define LATE		(UINT64_MAX / 2)
#define SECOND		1000000000ULL
#define PASS		(-1)	/* TC_ACT_UNSPEC, _OK, _SHOT, _REDIRECT */
#define GOES		0
#define DROPPED		2
#define REDIRECTED	7

enum way { IN, OUT };

struct packet {
	uint8_t	 data[SIZE];
	size_t	 len;
	uint32_t ifindex;
};

struct wanted {
	int		 verdict;
	enum tunnel_drop reason;
	int		 lease;		/* whose it is carried as, or -1 */
	uint32_t	 label;		/* as it was, in the end */
	struct packet	 packet;	/* not where DROPPED */
};

struct world {
	struct bpf_object *object;
	int		 drops, progs[2];
	uint32_t	 ifindex;
	struct bpf_slot	*slots, books[LEASES];
	struct bpf_state *st;
	uint64_t	 dropped[DROP_NREASON];
	uint64_t	 seen[2][REDIRECTED + 2]; /* by verdict + 1 */
	uint64_t	 asked, same_flow;
	uint32_t	 labels;
};

/* same.c */
extern const uint8_t	 ours[6];	/* the interface's MAC: same-bpf.t */
/* Whose the inner packet is that goes such a way, or -1. */
int		 whose(const struct world *, enum way, const uint8_t *);

/* same_want.c */
void		 want_in(const struct world *, const struct packet *,
		    struct wanted *);
void		 want_out(const struct world *, const struct packet *,
		    struct wanted *);
/* The TUN device's program does it, or who reads there. */
void		 want_long_way(const struct packet *, struct wanted *);

#endif /* REGRESS_SAME_H */
