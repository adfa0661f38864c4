/*
 * Between the files of plane bpf. A pin is a file in BPF_PIN_DIR, named by the
 * network namespace, the interface and the map: neither two daemons of one
 * namespace (which have an interface each) nor those of two meet.
 */
#ifndef TUNNEL_PLANE_BPF_H
#define TUNNEL_PLANE_BPF_H

#include <time.h>

#define BPF_PIN_DIR	"/sys/fs/bpf/dstmd"

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

#endif /* TUNNEL_PLANE_BPF_H */
