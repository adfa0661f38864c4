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
/* Removes every other IPv4 address of the interface. */
int	 netlink_addr_only(const char *ifname, struct in_addr);
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
/*
 * The same of IPsec policies, netlink-xfrm.c; -1 with EPROTONOSUPPORT: this
 * kernel has none. Are there any (1 or 0; -1 on error)?
 */
int	 netlink_watch_policies(void);	/* before the sandbox */
int	 netlink_has_policies(void);
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
/* Is that outer address another interface's by now? 1; 0, also if it is gone. */
int	 netlink_outer_moved(const struct netlink_outer *,
	    const struct in6_addr *);
/* The shortcut's program onto the egress of that interface; -1: it goes. */
int	 netlink_bpf_attach_short(const struct netlink_outer *, int prog);
/* There, programs of devices that are no more, and would eat their packets. */
void	 netlink_bpf_clean(const struct in6_addr *);

/*
 * netlink-short.c: the shortcut of plane bpf. Each of our routes into the
 * device (of that index) has a twin, before it, by the outer interface. One
 * device has such of an interface, the one whose program is at its egress.
 */
int	 netlink_short_open(void);	/* before the sandbox */
/* NULL: it may be; or why not. */
const char *netlink_short_why_not(int device, const struct netlink_outer *,
	    int is_node);
/*
 * Makes the twins that are missing, with that MTU (inner, octets), and removes
 * those of which there is no route; what is as it shall be is not touched.
 * Also the link address that they lead to.
 */
int	 netlink_short_set(int device, int outer, uint32_t mtu);
/*
 * Ethernet interfaces beside the outer one, which packets of nodes may come by:
 * how many of them, at most so many; or -1.
 */
ssize_t	 netlink_short_others(int outer, int *ifindexes, size_t max);
/* Unless they are another's. */
int	 netlink_short_del(const struct netlink_outer *);
/* Twins by interfaces without a program, or with one of no device any more. */
void	 netlink_short_clean(void);
/*
 * A descriptor as of netlink_watch_addr6, of what netlink_short_why_not asks,
 * of outer addresses, and of interfaces that go down, which takes twins away.
 */
int	 netlink_short_watch(void);	/* before the sandbox */

/* The link-local address of the interface that has this address: 0 or -1. */
int	 netlink_linklocal(const struct in6_addr *, struct in6_addr *);

/*
 * netlink-tunnel.c: the kernel's own tunnels. Of errno: EOPNOTSUPP this kernel
 * has no ip6_tunnel, ENOENT no flower or clsact, EEXIST somebody else has the
 * name, or the pair of addresses, or the one device that there can be of a
 * TEP's kind.
 */

/* Makes such a device and removes it: before the sandbox. 0 or -1. */
int	 netlink_tunnel_probe(void);
/*
 * Removes what a killed daemon left by that name: 1 it did, 0 there is none,
 * or it is another's; -1.
 */
int	 netlink_tunnel_clean(const char *ifname);
/*
 * A device, link down, through which nothing passes: its index, or -1. The
 * far end is peer; NULL: the leases', which are the nodes of a TEP. What a
 * killed daemon left by that name is removed first, another's is not.
 */
int	 netlink_tunnel_add(const char *ifname, const struct in6_addr *local,
	    const struct in6_addr *peer);
/* Of a device that has one peer, both ends anew. */
int	 netlink_tunnel_peer(int ifindex, const struct in6_addr *local,
	    const struct in6_addr *peer);
int	 netlink_tunnel_exists(int ifindex);	/* and is ours: 1 or 0 */
/* With all its leases, addresses and routes; not there is success. */
int	 netlink_tunnel_del(int ifindex);
/* Packets without a lease since it was made, and those that are no IPv4. */
int	 netlink_tunnel_drops(int ifindex, uint64_t *in, uint64_t *out,
	    uint64_t *rest);

struct netlink_lease {
	int		 ifindex;
	int		 is_node;	/* 0 or 1: the device is a node's */
	struct in_addr	 v4;		/* the node's */
	struct in6_addr	 local, peer;	/* outer; a node's device has them */
};
struct netlink_count {
	uint64_t	 packets;
	uint64_t	 bytes;		/* inner */
};
/*
 * Its packets pass, both ways; one that is there is to be removed first. Add
 * does all or nothing.
 */
int	 netlink_lease_add(const struct netlink_lease *);
/* Not there is success. */
int	 netlink_lease_del(const struct netlink_lease *);
/* Out of the tunnel, and into it, since it was added. */
int	 netlink_lease_count(const struct netlink_lease *,
	    struct netlink_count *in, struct netlink_count *out);

#endif /* PRIV_NETLINK_H */
