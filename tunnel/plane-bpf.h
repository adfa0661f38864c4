/*
 * Between the files of plane bpf. A pin is a file in BPF_PIN_DIR, named by the
 * network namespace, the interface and the map: neither two daemons of one
 * namespace (which have an interface each) nor those of two meet.
 */
#ifndef TUNNEL_PLANE_BPF_H
#define TUNNEL_PLANE_BPF_H

#include <sys/queue.h>
#include <sys/tree.h>

#include <time.h>

#include "dstmd/dstmd.h"
#include "priv/netlink.h"
#include "tunnel/bpf/layout.h"
#include "tunnel/tunnel.h"

#define BPF_PIN_DIR	"/sys/fs/bpf/dstmd"
#define BPF_OTHERS_MAX	64		/* interfaces beside the outer one */

struct bpf_object;

struct lease {
	RB_ENTRY(lease)	 by_v4;
	struct in_addr	 v4;
	uint32_t	 slot;
	int		 old;		/* of a daemon before, and not added yet */
};
RB_HEAD(bpf_leases, lease);

/* What a daemon before us left. */
enum left {
	LEFT_NOTHING,
	LEFT_MAPS,		/* they are ours now */
	LEFT_OTHERS		/* whose maps we can not read */
};

/* Packets of leases are handed on from there by dstmd_in_other. */
struct bpf_other {
	int	 ifindex;
	int	 link;		/* -1: it can not be had there */
};

struct bpfdev {
	int			 ready;		/* programs and maps are there */
	int			 open;
	int			 pinned;
	enum left		 left;		/* until it is open */
	int			 waits;		/* LEFT_OTHERS carry packets yet */
	char			 ifname[IFNAME_SIZE];	/* of pins */
	struct plane_dev	 conf;		/* while it is open */
	struct bpf_object	*object;
	int			 out, in_ether, out_ether;	/* programs */
	int			 in_other;		/* -1: not to be had */
	int			 leases_fd, drops_fd;
	struct bpf_slot		*slots;
	struct bpf_state	*state;
	struct netlink_outer	 outer;		/* where in_ether is */
	int			 dressed;
	int			 is_short;	/* out_ether is there too */
	int			 first_in, first_out;	/* links; -1: none */
	struct bpf_other	 others[BPF_OTHERS_MAX];
	size_t			 nothers;
	const char		*why_not;	/* as logged; NULL: it is */
	uint32_t		 nslots;
	uint32_t		*unused;	/* a ring: the longest unused first */
	uint32_t		 first, nunused;
	struct bpf_leases	 leases;
};

/* plane-bpf-pin.c */

/*
 * Is the directory there, and root's alone? It is made where it has to be, with
 * a file system mounted where there is none. 0, or -1 there are no pins: where
 * there have to be, the log says why. Before the sandbox.
 */
int	 bpf_pin_init(int make);
/* The descriptor of a map that is pinned, the caller's; or -1. */
int	 bpf_pin_get(const char *ifname, const char *map);
/* In place of what was there: 0, or -1. */
int	 bpf_pin_set(const char *ifname, const char *map, int fd);
void	 bpf_pin_remove(const char *ifname, const char *map);
/* Each interface that has that map pinned, and when that was done. */
void	 bpf_pin_each(const char *map, void (*)(const char *ifname,
	    time_t made));

/* plane-bpf-short.c */

/*
 * What the shortcut of an open device shall be by now: made, corrected or
 * removed; the log says which, and why. It is looked after from time to time.
 */
void	 plane_bpf_short(struct bpfdev *);
void	 plane_bpf_short_off(struct bpfdev *);

#endif /* TUNNEL_PLANE_BPF_H */
