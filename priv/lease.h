/*
 * The lease engine: events and the time in, actions out. No system call,
 * no global, no allocation failure that returns (the caller's malloc
 * aborts). The daemon and the simulator drive the same object.
 *
 *	FREE -> RESERVED (TEP being set up) -> BINDING (store writes it) ->
 *	BOUND (durable, answered) -> renewed ... -> CLOSING (TEP must confirm
 *	the deletion) -> QUARANTINE -> FREE
 *
 * now is milliseconds of a clock that never steps (now_ms); wall is the
 * wall clock in seconds and goes into records only. All is O(1), or
 * O(log n) for timers, in the number of leases, whatever the fill.
 *
 * Two owners of one address must be impossible: where in doubt, refuse.
 */
#ifndef PRIV_LEASE_H
#define PRIV_LEASE_H

#include <netinet/in.h>

#include <stddef.h>
#include <stdint.h>

#include "dstmd/dstmd.h"

#define LIFETIME_CEIL	(31 * 86400)	/* s; a TEP keeps none longer */
#define LEASE_FIXED_MAX	16		/* addresses reserved for one user */

struct lease_engine;

struct lease_limits {
	uint32_t	 lifetime;	/* s, where a request does not say */
	uint32_t	 lifetime_min;	/* s */
	uint32_t	 lifetime_max;	/* s */
	uint32_t	 quarantine;	/* s */
};

struct lease_owner {
	uint32_t	 mech;		/* identities are (mech, name) */
	char		 name[NAME_SIZE];
	struct in6_addr	 v6;		/* the node's outer address */
};

/* What the configuration allows this owner. */
struct lease_policy {
	uint32_t	 npools;	/* tried in this order */
	uint8_t		 pools[POOL_MAX];
	uint32_t	 nfixed;	/* reserved for it, tried before them */
	struct in_addr	 fixed[LEASE_FIXED_MAX];
	uint32_t	 max_leases;	/* of (mech, name); 0: no limit */
};

struct lease_ask {
	struct conn_ref	 conn;		/* an id of CONN_MAX: the caller's */
	uint32_t	 req;
	uint32_t	 op;		/* enum lease_op */
	uint32_t	 has_v4;
	uint32_t	 lifetime;	/* s, 0: default; clamped to min..max */
	struct in_addr	 v4;
	struct lease_owner owner;	/* verified by the caller */
	const struct lease_policy *policy;
};

enum lease_action_type {
	LA_REPLY = 1,	/* answer conn/req: .reply */
	LA_TEP_ADD,	/* tell .tep: .v4 -> .v6 for .lifetime s, as .job */
	LA_TEP_DEL,	/* tell .tep to drop .v4/.v6, as .job */
	LA_TEP_SYNC,	/* .tep has been told of all its leases: whatever
			 * else it has of us is nobody's. No answer awaited */
	LA_STORE,	/* make .rec durable, as .seq */
	LA_NODE_DEL	/* tell the node of .owner, on .reply.conn (gen 0:
			 * none known), that its lease is over: .reply */
};

/* Who carries an action out: each has a queue, so that none waits for another. */
enum lease_dest {
	LD_SESSION,	/* LA_REPLY, LA_NODE_DEL; LA_TEP_* of a remote TEP */
	LD_PLANE,	/* LA_TEP_* of a local TEP */
	LD_STORE,	/* LA_STORE */
	LD_NDEST
};

struct lease_action {
	enum lease_action_type type;
	uint32_t	 tep;		/* index */
	uint32_t	 lifetime;
	uint64_t	 job;
	uint64_t	 seq;
	struct in_addr	 v4;
	struct in6_addr	 v6;
	struct msg_lease_reply reply;
	struct lease_owner owner;
	struct lease_rec rec;
};

/* Statistics of a pool, for dstmctl. */
struct lease_pool_stats {
	uint32_t	 size, free, bound, reserved, closing, quarantine;
	uint64_t	 granted, exhausted;
};

/* One lease, for dstmctl: a copy. state is enum ctl_lease_state. */
struct lease_info {
	struct in_addr	 v4;
	struct lease_owner owner;
	struct in_addr	 tep4;
	struct in6_addr	 tep6;
	uint32_t	 pool, tep, state, renewals;
	int64_t		 since;		/* wall */
	int64_t		 remains_ms;	/* to expiry or end of quarantine */
};

struct lease_engine *lease_engine_new(const struct lease_limits *);
void	 lease_engine_free(struct lease_engine *);

/*
 * A TEP: index as configured. A local one is always up and its addresses
 * are given here (its LA_TEP_ADD still awaits lease_tep_done, which the
 * caller may say at once); a remote one starts down.
 */
void	 lease_engine_add_tep(struct lease_engine *, uint32_t, int,
	    const char *, struct in_addr, const struct in6_addr *);
/*
 * Pools before any event: index, TEP, weight, then disjoint ranges, lo and hi
 * inclusive. New leases are spread over the pools of a user that have a
 * weight, in its ratio, and go to the others, in the user's order, only when
 * none of those serves. lease_engine_add_range: 0, or -1 where it overlaps a range of
 * any pool or lo > hi. A range costs O(1) memory until its addresses are used.
 */
void	 lease_engine_add_pool(struct lease_engine *, uint32_t, uint32_t tep,
	    uint32_t weight);
int	 lease_engine_add_range(struct lease_engine *, uint32_t, struct in_addr,
	    struct in_addr);

/*
 * Reserves an address of a pool for those in whose policy it is: nobody else
 * gets it any more. 0, or -1 it is in no pool or reserved already. A lease
 * that the store has of another user is kept until it ends or is to be
 * renewed: 308, as below.
 */
int	 lease_engine_fix(struct lease_engine *, struct in_addr);

/*
 * A record of the store, at start, before any request, in any order: 0; -1
 * where it is not to be believed (address in no pool, twice, bad fields):
 * logged and ignored by the caller. Of two that one owner has the live or
 * the later one is his, the other one ends when it would have. Live leases
 * emit LA_TEP_ADD (local TEP), or wait for lease_tep_up.
 */
int	 lease_load(struct lease_engine *, int64_t now, int64_t wall,
	    const struct lease_rec *);

/*
 * Events. Each lease_request gets exactly one LA_REPLY, now or later.
 *
 * OP_CREATE without IPv4: the owner's present lease (extended), else the
 * first free one of those that are reserved for its user (or in quarantine
 * after the same user), else the sticky address, else a new one, of the first
 * pool that has one and whose TEP is up; 306 where all allowed pools are out,
 * 301 over max_leases. A sticky address that policy no longer allows is
 * forgotten. With IPv4: renewal; 310 outside every pool (or not unicast), 308
 * not this owner's. An ended lease of this very owner that is free or in
 * quarantine is granted again, and so is one that is reserved for its user
 * where it holds no other. A TEP that is down, refuses or is silent for
 * LEASE_FAILOVER: a request that names no address goes to the next pool of
 * another TEP; where none is left, or it names one: 307. Reserved by this
 * owner already: the earlier request gets 521, the later one the address. A
 * renewal that policy no longer allows: 308, and the lease is closed (draft
 * 2.2).
 * OP_INFO: the lease's remaining lifetime; without IPv4, the owner's by
 * its IPv6. None: 308 (310 outside every pool).
 * OP_DELETE: durable, then 200, TEP told; 308 foreign or none, 310 as above.
 * More than LEASE_WRITES of one lease that are not durable yet: 521.
 *
 * Renewal tells the TEP the new lifetime (LA_TEP_ADD) without waiting.
 */
#define LEASE_WRITES	8
#define LEASE_FAILOVER	3000		/* ms, where another TEP may do it */
void	 lease_request(struct lease_engine *, int64_t now, int64_t wall,
	    const struct lease_ask *);
/*
 * The operator takes an address back: 0, or -1 none such. Node is told. Tried
 * again every LEASE_REVOKE_RETRY until it is durable (or the lease is over).
 */
#define LEASE_REVOKE_RETRY	10000	/* ms */
int	 lease_revoke(struct lease_engine *, int64_t now, int64_t wall,
	    struct in_addr);
/* The connection is gone: its requests need no answer, deletes no sending. */
void	 lease_conn_gone(struct lease_engine *, struct conn_ref);

/* It is told of all its leases, and then LA_TEP_SYNC. */
void	 lease_tep_up(struct lease_engine *, int64_t now, uint32_t tep);
void	 lease_tep_down(struct lease_engine *, int64_t now, int64_t wall,
	    uint32_t tep);
/*
 * The TEP answered a job: status 200 or an error; its addresses with 200.
 * An LA_TEP_DEL that is refused is said again LEASE_TEP_RETRY later, and at
 * the next lease_tep_up. A BOUND lease whose LA_TEP_ADD is refused is over:
 * no packet passes, so the node is told. Stale jobs, jobs of another TEP and
 * of one that is down are ignored.
 */
#define LEASE_TEP_RETRY	30000		/* ms */
void	 lease_tep_done(struct lease_engine *, int64_t now, int64_t wall,
	    uint32_t tep, uint64_t job, uint32_t status, struct in_addr,
	    const struct in6_addr *);

/*
 * Store: durable up to seq; a run failed; the store was restarted: all
 * LA_STORE that are not acknowledged are emitted again, in order. What is said
 * of one that was not emitted yet is ignored: the store can not have it.
 */
void	 lease_store_done(struct lease_engine *, int64_t now, int64_t wall,
	    uint64_t seq);
void	 lease_store_fail(struct lease_engine *, int64_t now, int64_t wall,
	    uint64_t seq, uint64_t seq_last);
void	 lease_store_reset(struct lease_engine *);

/* Time: expires what is due. lease_deadline: when next, or -1 (never). */
void	 lease_tick(struct lease_engine *, int64_t now, int64_t wall);
int64_t	 lease_deadline(const struct lease_engine *);

/* Takes the oldest action for a destination: 1, or 0 where there is none. */
int	 lease_action(struct lease_engine *, enum lease_dest,
	    struct lease_action *);

/*
 * For dstmctl. lease_walk: the lease at the lowest address above `after'
 * (0.0.0.0: the first) that is not FREE: 1, or 0 where none is left.
 */
int	 lease_walk(const struct lease_engine *, int64_t now, struct in_addr after,
	    struct lease_info *);
void	 lease_pool_stats(const struct lease_engine *, uint32_t pool,
	    struct lease_pool_stats *);
/* BOUND leases that were granted or renewed on this connection last. */
uint32_t lease_conn_count(const struct lease_engine *, struct conn_ref);
/* Has this owner a lease, or is one being made for it? 1 or 0. */
int	 lease_is_held(struct lease_engine *, const struct lease_owner *);
/*
 * Where the node of a user was when it got its latest lease, or who was
 * there: the owner that has this name (mech, name) or, with name "", this
 * address. 0, or -1 none is known. A walk.
 */
int	 lease_last(const struct lease_engine *, struct lease_owner *);
/* Is this address one that the pools lease? 1 or 0. */
int	 lease_in_pools(const struct lease_engine *, struct in_addr);
/* For tests and the simulator: fatal (abort) where an invariant fails. */
void	 lease_check(const struct lease_engine *);

#endif /* PRIV_LEASE_H */
