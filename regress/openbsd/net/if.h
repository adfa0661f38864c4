/*
 * Stub of OpenBSD's <net/if.h>, <sys/sockio.h>: names and layouts as its
 * manual pages ifioctl, gif(4) and netintro(4) tell. For a compile check.
 */
#ifndef STUB_NET_IF_H
#define STUB_NET_IF_H

#include <sys/socket.h>

#define IFNAMSIZ	16
#define IF_NAMESIZE	16
#define IFF_UP		0x1

struct ifreq {
	char	 ifr_name[IFNAMSIZ];
	union {
		struct sockaddr	 ifru_addr;
		short		 ifru_flags;
		int		 ifru_metric;
	} ifr_ifru;
#define ifr_addr	ifr_ifru.ifru_addr
#define ifr_flags	ifr_ifru.ifru_flags
#define ifr_mtu		ifr_ifru.ifru_metric
};

struct if_laddrreq {
	char			 iflr_name[IFNAMSIZ];
	unsigned int		 flags;
	unsigned int		 prefixlen;
	struct sockaddr_storage	 addr;
	struct sockaddr_storage	 dstaddr;
};

#define SIOCIFCREATE	0x8020697aUL
#define SIOCIFDESTROY	0x80206979UL
#define SIOCSIFFLAGS	0x80206910UL
#define SIOCGIFFLAGS	0xc0206911UL
#define SIOCSIFMTU	0x8020697fUL
#define SIOCSLIFPHYADDR	0x8218694aUL

unsigned int	 if_nametoindex(const char *);

#endif
