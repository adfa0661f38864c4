/*
 * Within plane tun: its descriptors, one of each for every queue, and which
 * packet goes by which queue.
 */
#ifndef TUNNEL_PLANE_TUN_H
#define TUNNEL_PLANE_TUN_H

#include <stdint.h>

struct plane_dev;

/*
 * plane-queue.c. A packet goes by the queue of its flow, which is that of both
 * ways: inner addresses and, of TCP and UDP that is not in fragments, ports. Or
 * by that of its lease, whatever the flow: so its rate is counted at one place.
 */
enum queue_by { QUEUE_BY_FLOW, QUEUE_BY_LEASE, QUEUE_NBY };

/* Loads what an interface is steered by; before the sandbox. 0, or -1. */
int		 queue_prepare(void);
/* The program of that kind, or -1: what it returns, modulo n, is the queue. */
int		 queue_program(enum queue_by);
/* An interface, by one of its queues: what the host sends. 0, or -1. */
int		 queue_steer(int, enum queue_by);
/*
 * A raw socket that is bound: of the packets of nodes those of queue i of n.
 * What it has got before is thrown away. 0, or -1.
 */
int		 queue_filter(int, enum queue_by, uint32_t i, uint32_t n);

/* plane-tun-fd.c */

/*
 * The interface of a device: how many queues it has, n or, where this host
 * does not give it more, 1, with a descriptor of each; or -1 logged.
 */
int		 tun_link_open(const struct plane_dev *, uint32_t n, int *);
/* n outer sockets, -1 without an address: 0, or -1 logged. */
int		 tun_socks_open(const struct plane_dev *, uint32_t n, int *);
/* Those that are there; then they are -1. */
void		 tun_fds_close(int *, uint32_t n);

#endif /* TUNNEL_PLANE_TUN_H */
