/*
 * The configuration, dstmd.conf(5): what parse.y makes and the parent
 * keeps. Plain data, checked as a whole by conf_check. Arrays, as indices
 * are what messages and the lease engine speak of.
 */
#ifndef PRIV_CONF_H
#define PRIV_CONF_H

#include <netinet/in.h>

#include <stdint.h>
#include <stdio.h>

#include "dstmd/dstmd.h"
#include "priv/lease.h"

#define CONF_PATH_SIZE	256
#define CONF_RANGE_MAX	64	/* of one pool, after exclusions */
#define CONF_PREFIX_MAX	16
#define CONF_PEER_MAX	16
#define CONF_USER_MAX	65536
#define CONF_FILE_MAX	(16 << 20)	/* octets of one file */
#define LIFETIME_FLOOR	2		/* s, of every lease */
#define LIFETIME_DEFAULT	3600
#define LIFETIME_MIN_DEFAULT	60
#define LIFETIME_MAX_DEFAULT	86400
#define IDLE_DEFAULT	600	/* s */
#define IDLE_CEIL	(7 * 86400)
#define QUARANTINE_CEIL	(7 * 86400)	/* s */

/* Where a thing was written, for messages; line 0: not known. */
struct conf_at { uint32_t file, line; };

struct conf_range { struct in_addr lo, hi; };	/* inclusive */
struct conf_prefix4 { struct in_addr addr; int len; };
struct conf_prefix6 { struct in6_addr addr; int len; };

struct conf_listen {
	struct in6_addr	 addr;
	uint16_t	 port;
	uint32_t	 role;		/* ROLE_SERVER, ROLE_TEP or both;
					 * ROLE_NODE alone */
	uint32_t	 mechs[MECH_MAX];	/* offered, in this order */
	struct conf_at	 at;
};

/* A line of a pool as written. plen: of a prefix, 0 of a range. */
struct conf_written {
	struct conf_range r;		/* whole, first and last included */
	int		 plen;
	int		 exclude;
	struct conf_at	 at;
};

struct conf_pool {
	char		 name[NAME_SIZE];
	char		 tep_name[NAME_SIZE];
	uint32_t	 tep;		/* index into teps */
	uint32_t	 weight;	/* 0: none */
	uint32_t	 mechs;		/* by which one logs in for it: a set;
					 * 0: any that its users may */
	uint32_t	 nranges;	/* exclusions already taken out */
	struct conf_range ranges[CONF_RANGE_MAX];
	/* as written, for -nv */
	uint32_t	 nwritten;
	struct conf_written written[CONF_RANGE_MAX];
	struct conf_at	 at;
};

/* A user of the server; anonymous is one with mech MECH_ANONYMOUS. */
struct conf_user {
	char		 name[NAME_SIZE];	/* "" for the default class,
						 * "anonymous" for that one */
	uint32_t	 mech;			/* 0: any but ANONYMOUS */
	struct lease_policy policy;
	uint8_t		 fixed_pools[LEASE_FIXED_MAX]; /* of policy.fixed */
	uint32_t	 nprefixes;	/* IPv6 it may claim beside its own */
	struct conf_prefix6 prefixes[CONF_PREFIX_MAX];
	int		 call;		/* its nodes listen: they are called */
	struct conf_at	 at;
};

/* A server that a local TEP obeys. */
struct conf_peer {
	char		 name[NAME_SIZE];
	uint32_t	 nprefixes;	/* IPv4 it may map, 1 or more */
	struct conf_prefix4 prefixes[CONF_PREFIX_MAX];
	struct conf_at	 at;
};

struct conf_login {			/* who we are towards a peer */
	char		 name[NAME_SIZE];
	char		 password[CONF_PATH_SIZE];	/* file */
};

struct conf_tep {
	char		 name[NAME_SIZE];
	int		 local;		/* 1: ours, with an interface */
	struct in6_addr	 addr6;		/* local: outer end */
	struct in_addr	 addr4;		/* local: inner */
	char		 ifname[IFNAME_SIZE];
	uint32_t	 mtu;		/* inner; 0: from the outer path */
	uint64_t	 rate;		/* bits/s of a lease; 0: no limit */
	uint32_t	 nouters;	/* where its nodes are; 0: anywhere */
	struct conf_prefix6 outers[CONF_PREFIX_MAX];
	uint32_t	 npeers;	/* servers that it obeys */
	struct conf_peer peers[CONF_PEER_MAX];
	/* remote: */
	struct in6_addr	 connect;
	uint16_t	 port;
	struct conf_login login;
	struct conf_at	 at;
};

struct conf_server_addr { struct in6_addr addr; uint16_t port; };

struct conf_node {
	uint32_t	 nservers;
	struct conf_server_addr servers[SERVER_MAX];
	uint32_t	 mech;
	struct conf_login login;	/* unless ANONYMOUS */
	char		 ifname[IFNAME_SIZE];
	struct in6_addr	 addr;		/* outer; :: the route's choice */
	uint32_t	 mtu;		/* 0: from the outer path */
	uint32_t	 lifetime;	/* wanted; 0: the server's default */
	uint32_t	 metric;	/* of the default route; table 0 */
	uint32_t	 table;		/* own routing table, 0: main */
	int		 route;		/* 0: no default route */
	uint32_t	 idle;		/* s; on demand: a lease while packets
					 * are sent; 0: always */
	uint32_t	 keepalive;	/* s; 0: the TEP is not watched */
	char		 event[CONF_PATH_SIZE];	/* script; "": none */
	char		 caller[NAME_SIZE];	/* the servers' name when they
						 * call; "": they may not */
	int		 offers;	/* are taken: unsolicited allocation */
	struct conf_at	 at;
};

enum conf_plane { PLANE_AUTO, PLANE_BPF, PLANE_KERNEL, PLANE_TUN };

struct conf {
	uint32_t	 roles;
	char		 control[CONF_PATH_SIZE];
	char		 store[CONF_PATH_SIZE];		/* directory */
	char		 secrets[CONF_PATH_SIZE];
	struct lease_limits limits;
	enum conf_plane	 plane;
	int		 plane_interface; /* all packets pass the tunnel
					   * interface: no shortcut */
	char		 keytab[CONF_PATH_SIZE];	/* of GSSAPI */
	uint32_t	 server_mechs[MECH_MAX];	/* offered, in this
							 * order */
	struct conf_login call;		/* ours at nodes; its passwords, by
					 * user; name "": none is called */
	uint32_t	 nredirects;	/* servers where clients are sent */
	struct in6_addr	 redirects[REDIRECT_MAX];
	uint32_t	 max_conns, handshakes, max_source, source_prefix;
	uint32_t	 source_rate, auth_failures, request_rate;
	uint32_t	 auth_timeout, idle_timeout, request_timeout;
	uint32_t	 success_pause;	/* ms */
	uint32_t	 nlisten;
	struct conf_listen listen[LISTEN_MAX];
	uint32_t	 npools;
	struct conf_pool pools[POOL_MAX];
	uint32_t	 nteps;
	struct conf_tep	 teps[TEP_MAX];	/* local ones first: their index is
					 * their device's number */
	uint32_t	 nusers;
	struct conf_user *users;	/* sorted by (mech, name) */
	struct conf_node node;
	struct conf_at	 server_at;
	uint32_t	 nfiles;	/* that were read, for conf_at */
	char		**files;
};

/* parse.y */

/*
 * Parses a file: the configuration (caller frees with conf_free), or NULL
 * after messages "file:line: what" on standard error. Checks all that can be
 * checked without privileges (conf_check). The file, and those that it
 * includes, must belong to root or the caller and be writable to nobody
 * else. Not reentrant, as yacc is not.
 */
struct conf	*conf_parse(const char *);
/*
 * The same from memory: a function of name (for messages) and the text
 * alone, which can not include files.
 */
struct conf	*conf_parse_text(const char *, const char *, size_t);

/* conf.c */

/* An empty configuration with the defaults of dstmd.conf(5). */
struct conf	*conf_new(void);
void		 conf_free(struct conf *);	/* NULL is fine */
/*
 * Completes the configuration (ranges, indices, order, listeners'
 * mechanisms) and checks it in whole: names that are used exist, ranges are
 * disjoint and usable, roles have what they need. The number of errors,
 * each printed, with the file's name where no better place is known.
 */
int		 conf_check(struct conf *, const char *);
/* May a node of that TEP have this outer address? 1 or 0. */
int		 conf_outer(const struct conf_tep *, const struct in6_addr *);
/*
 * What a user may have who logged in by that mechanism, in its order, for a
 * node of that outer address; NULL: of any. Without a pool and an address:
 * nothing.
 */
void		 conf_policy(const struct conf *, uint32_t mech,
		    const struct conf_user *, const struct in6_addr *,
		    struct lease_policy *);
/*
 * Policy of an authenticated identity, or NULL: not allowed. The default
 * class covers no server that a local TEP obeys.
 */
const struct conf_user *conf_user(const struct conf *, uint32_t mech,
		    const char *name);
/* The server of that name that a local TEP obeys; its TEP in *tep. */
const struct conf_peer *conf_peer(const struct conf *, const char *name,
		    uint32_t *tep);

/* conf-print.c */

/* Prints it in a form that parses to itself (-nv). */
void		 conf_print(const struct conf *, FILE *);

#endif /* PRIV_CONF_H */
