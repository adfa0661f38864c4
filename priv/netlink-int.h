/* What the files of netlink share: one request at a time. */
#ifndef PRIV_NETLINK_INT_H
#define PRIV_NETLINK_INT_H

#include <netinet/in.h>

#include <stdint.h>

#include <libmnl/libmnl.h>

/* Begins a request, in a buffer that holds one: the next takes its place. */
struct nlmsghdr	*netlink_request(uint16_t type, uint16_t flags);
/*
 * Sends it; what comes back goes to the callback (NULL: none), of which only
 * that it is whole messages has been checked. 0, or -1 with the kernel's errno.
 */
int		 netlink_talk(struct nlmsghdr *, mnl_cb_t, void *);
/* A socket for requests, of another protocol than routes, and one on it. */
struct mnl_socket *netlink_socket(int protocol);
int		 netlink_ask(struct mnl_socket *, struct nlmsghdr *, mnl_cb_t,
		    void *);
/* A descriptor that can be read when one of that group was told; or -1. */
int		 netlink_watch(int protocol, unsigned int group);
struct netlink_link {
	int		 index;
	uint32_t	 mtu;
	uint32_t	 master;	/* 0: none */
	unsigned int	 flags;
	unsigned short	 type;
	int		 has_mac;	/* one of 6 octets */
	uint8_t		 mac[6];
};
int		 netlink_link_cb(const struct nlmsghdr *, void *link);
/* By name, or by index where that is NULL. */
int		 netlink_link_get(const char *ifname, int index,
		    struct netlink_link *);
/* All links, or addresses: RTM_GET...; after a change they may be told twice. */
int		 netlink_dump(uint16_t type, uint8_t family, mnl_cb_t, void *);
/* Begins one for an IPv4 route of ours; table 0: main. */
struct nlmsghdr	*netlink_route(uint16_t type, uint16_t flags,
		    struct in_addr dst, int plen, uint32_t metric,
		    uint32_t table);
/* Begins one of traffic control. */
struct nlmsghdr	*netlink_tc(uint16_t type, uint16_t flags, int ifindex,
		    uint32_t parent);
/*
 * What carries the filters of both hooks, RTM_NEWQDISC or RTM_DELQDISC: 1 it
 * is new (or gone), 0 there was one, -1.
 */
int		 netlink_clsact(uint16_t type, int ifindex);

/* Has the device of that index our program? 1, also if unknown, or 0. */
int		 netlink_bpf_is_served(uint32_t ifindex);
/* The device whose shortcut is by that interface; 0: none's. */
uint32_t	 netlink_bpf_short_of(int ifindex);

#endif /* PRIV_NETLINK_INT_H */
