/*
 * Interfaces, addresses and routes by rtnetlink (libmnl), for the parent.
 * Each call is one bounded exchange with the kernel. 0, or -1 with errno
 * set (the caller logs). What dstmd adds is marked RTPROT_DSTMD, so that
 * what a killed daemon left can be found and removed.
 */
#ifndef PRIV_NETLINK_H
#define PRIV_NETLINK_H

#include <netinet/in.h>

#include <stdint.h>

#define RTPROT_DSTMD	213

int	 netlink_open(void);	/* before the sandbox; keeps its socket */
/* Up, with that MTU, without an IPv6 link-local address. */
int	 netlink_link_up(const char *ifname, uint32_t mtu);
/* Is it there? 1 or 0. */
int	 netlink_link_del(const char *ifname);
/* Address with prefix length; already there is success. */
int	 netlink_addr_add(const char *ifname, struct in_addr, int plen);
int	 netlink_addr_del(const char *ifname, struct in_addr, int plen);
/* Route dst/plen by the interface; src is preferred source where not 0;
 * table 0: main. Replaces its own; another's of the same destination,
 * metric and table stays, and is EEXIST. */
int	 netlink_route_add(const char *ifname, struct in_addr dst, int plen,
	    struct in_addr src, uint32_t metric, uint32_t table);
/* Its own alone; metric 0: whatever metric. */
int	 netlink_route_del(const char *ifname, struct in_addr dst, int plen,
	    uint32_t metric, uint32_t table);
/* Policy rule: packets from src (a /32) look up table; there is success. */
int	 netlink_rule_add(struct in_addr src, uint32_t table);
/* Removes every rule that is RTPROT_DSTMD for that table (a crash's rests). */
int	 netlink_rule_clean(uint32_t table);
/* MTU of the outer path to peer from local (:: any), octets; 0 on error. */
uint32_t netlink_path_mtu(const struct in6_addr *local,
	    const struct in6_addr *peer);
/* Has this host that IPv6 address? 1 or 0; where it can not be known 1. */
int	 netlink_has_addr6(const struct in6_addr *);
/*
 * A descriptor that can be read when this host's IPv6 addresses have
 * changed, or -1. The reader empties it, and asks what is there now.
 */
int	 netlink_watch_addr6(void);	/* before the sandbox */
void	 netlink_watch_empty(int);
/* MTU of the interface that has this address; 0 on error. */
uint32_t netlink_addr_mtu(const struct in6_addr *);
/* A tc program (its descriptor) onto the egress of an interface: its index. */
int	 netlink_bpf_attach(const char *ifname, int prog);
/* The index of an interface that has one of ours there; or -1. */
int	 netlink_bpf_attached(const char *ifname);
/*
 * And onto the ingress of the interface that has that outer address, for the
 * device of index ifindex; takes the place of the one before, and removes
 * those of devices that are no more (of a killed daemon). What it did is in
 * outer, for detach, which undoes it: the qdisc too where it was not there
 * before us and nobody else uses it.
 */
struct netlink_outer {
	int	 ifindex;	/* 0: nothing is attached */
	int	 handle;
	int	 qdisc;		/* is ours */
};
int	 netlink_bpf_attach_outer(const struct in6_addr *, int ifindex,
	    int prog, struct netlink_outer *outer);
int	 netlink_bpf_detach_outer(const struct netlink_outer *);
/* There, programs of devices that are no more, and would eat their packets. */
void	 netlink_bpf_clean(const struct in6_addr *);
/* The link-local address of the interface that has this address: 0 or -1. */
int	 netlink_linklocal(const struct in6_addr *, struct in6_addr *);

#endif /* PRIV_NETLINK_H */
