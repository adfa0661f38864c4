/*
 * TSP: what its messages hold once they are parsed, and its status codes.
 * Shared by parser (bytes to struct), session (struct to bytes) and priv
 * (status codes).
 */
#ifndef DSTMD_TSP_H
#define DSTMD_TSP_H

#include <netinet/in.h>

#include <stdint.h>

#include "dstmd.h"

/* draft 5; RFC 5572 */
enum tsp_status {
	STATUS_OK		= 200,
	STATUS_AUTH		= 300,	/* Authentication failed */
	STATUS_NO_TUNNELS	= 301,	/* No more tunnels available */
	STATUS_VERSION		= 302,	/* Unsupported client version */
	STATUS_TYPE		= 303,	/* Unsupported tunnel type */
	STATUS_EXHAUSTED	= 306,	/* Address Pool Exhausted */
	STATUS_TEP		= 307,	/* Configuration Error at TEP */
	STATUS_UNAVAILABLE	= 308,	/* Requested Address Unavailable */
	STATUS_IPV6		= 309,	/* Invalid IPv6 address */
	STATUS_IPV4		= 310,	/* IPv4 Invalid Address */
	STATUS_FORMAT		= 500,	/* Invalid request format */
	STATUS_PROGRESS		= 521,	/* Request in progress */
	STATUS_BUSY		= 530	/* System too busy, retry later */
};

/* Added to one of these where a broker list follows. */
#define STATUS_REDIRECT	1000

enum tsp_action {
	ACTION_NONE, ACTION_CREATE, ACTION_INFO, ACTION_DELETE, ACTION_LIST,
	ACTION_ACCEPT, ACTION_REJECT
};

enum tsp_type {
	TYPE_NONE, TYPE_V4V6, TYPE_BROKER,
	TYPE_OTHER		/* v6v4, v6anyv4, ...: well-formed, not ours */
};

/* What an endpoint (client or server element) holds. */
#define EP_PRESENT	0x0001	/* the element was there */
#define EP_V4		0x0002
#define EP_V6		0x0004	/* global: not in fe80::/10 */
#define EP_V6LL		0x0008	/* in fe80::/10 */
#define EP_BAD_V4	0x0010	/* an address of type ipv4 that is none */
#define EP_BAD_V6	0x0020
#define EP_DUP_V4	0x0040	/* more than one of the kind: the last
				 * is kept, as field clients do with
				 * a reply; a request with two global
				 * or two link-local ones is refused */
#define EP_DUP_V6	0x0080
#define EP_DN		0x0100
#define EP_KEEPALIVE	0x0200
#define EP_KA_V4	0x0400	/* keepalive names an IPv4 address */

#define TSP_DN_SIZE	256

struct tsp_endpoint {
	uint32_t	 flags;
	uint32_t	 v4_length;	/* prefix length, 32 where absent */
	struct in_addr	 v4;
	struct in6_addr	 v6;
	struct in6_addr	 v6ll;
	uint32_t	 keepalive;	/* s */
	struct in_addr	 keepalive_v4;
	char		 dn[TSP_DN_SIZE];
};

#define TSP_BROKERS	8

struct tsp_broker {
	uint32_t	 flags;		/* EP_V4, EP_V6, EP_DN */
	struct in_addr	 v4;
	struct in6_addr	 v6;
	char		 dn[TSP_DN_SIZE];
};

struct tsp_tunnel {
	uint32_t	 action;
	uint32_t	 type;
	uint32_t	 has_lifetime;
	uint32_t	 lifetime;	/* s; 1440 where absent (the DTD) */
	struct tsp_endpoint client;
	struct tsp_endpoint server;
	uint32_t	 nbrokers;
	struct tsp_broker brokers[TSP_BROKERS];
};

/* MSG_PARSE: tail is the XML, MSG_PARSED answers each, in order. */
struct msg_parse {
	struct conn_ref	 conn;
	uint32_t	 seq;
};

struct msg_parsed {
	struct conn_ref	 conn;
	uint32_t	 seq;
	uint32_t	 ok;		/* 0: malformed, see text */
	char		 text[96];	/* why, for the log; printable ASCII */
	struct tsp_tunnel tunnel;	/* zero where not ok */
};

#endif /* DSTMD_TSP_H */
