/*
 * Inside of the lease engine: what lease.c (the events), lease-act.c (states
 * and actions), lease-pool.c (addresses), lease-owner.c (who has what) and
 * lease-show.c share. Nobody else includes this.
 */
#ifndef PRIV_LEASE_INT_H
#define PRIV_LEASE_INT_H

#include <sys/types.h>
#include <sys/queue.h>
#include <sys/tree.h>

#include "priv/lease.h"

#define RANGES_MAX	4096
#define SEC		1000LL

enum state { FREE, RESERVED, BINDING, BOUND, CLOSING, QUARANTINE };
enum kind { K_BIND, K_RENEW, K_RELEASE, K_CLOSED };

struct user {
	LIST_ENTRY(user)	 hash;
	uint64_t		 key;
	uint32_t		 mech;
	uint32_t		 refs;		/* leases that name it */
	uint32_t		 live;		/* of them: held or being made */
	char			 name[NAME_SIZE];
};
LIST_HEAD(user_list, user);

struct waiter {
	struct conn_ref		 conn;		/* gen 0: nobody waits */
	uint32_t		 req, op;
};

/* What a new lease is for, while its TEP is asked: another may be, too. */
struct attempt {
	struct lease_ask	 ask;
	struct lease_policy	 policy;
	uint64_t		 tried;		/* TEPs, as bits */
};

struct lease {
	RB_ENTRY(lease)		 by_addr;
	RB_ENTRY(lease)		 by_time;
	TAILQ_ENTRY(lease)	 free;		/* of its pool: FREE, not fixed */
	LIST_ENTRY(lease)	 hash;		/* by owner, if it has one */
	uint64_t		 key;
	int64_t			 deadline;	/* -1: no timer */
	int64_t			 until;		/* BOUND: answered end */
	int64_t			 since;		/* wall */
	struct user		*user;		/* NULL: never had an owner */
	struct in6_addr		 v6;
	struct in6_addr		 tep6;
	struct in_addr		 tep4;
	uint32_t		 addr;		/* host order */
	uint32_t		 gen;		/* of its latest TEP job */
	uint32_t		 lifetime;	/* s, of the grant under way */
	uint32_t		 renewals;
	struct conn_ref		 conn;		/* granted or renewed on it */
	struct waiter		 waiter;
	struct attempt		*attempt;	/* RESERVED, or NULL */
	uint32_t		 writes;	/* bind, renew, release under way */
	uint32_t		 closes;	/* as well: nobody waits for them */
	uint8_t			 pool, state, releasing, tell_node;
	uint8_t			 revoked;	/* the operator's word */
	uint8_t			 refused;	/* by the TEP: BINDING, CLOSING */
	uint8_t			 known;		/* its owner finds it */
	uint8_t			 fixed;		/* reserved for a user */
};
RB_HEAD(lease_tree, lease);
RB_HEAD(lease_timers, lease);
TAILQ_HEAD(lease_fifo, lease);
LIST_HEAD(lease_list, lease);

struct range {
	uint32_t		 lo, hi;
	uint32_t		 pool;
};

struct pool {
	int			 used;
	uint32_t		 tep;
	uint32_t		 size, touched;
	uint32_t		 range;		/* next never used address: */
	uint32_t		 next;		/* in this range, this far */
	struct lease_fifo	 free;		/* longest free first; without */
	uint32_t		 nfixed_free;	/* the fixed ones of them */
	uint32_t		 counts[QUARANTINE + 1];
	uint64_t		 granted, exhausted;
	uint32_t		 weight;	/* 0: in the user's order */
	int64_t			 credit;
};

struct tep {
	int			 used, local, up;
	char			 name[NAME_SIZE];
	struct in_addr		 v4;
	struct in6_addr		 v6;
};

/* A record that the store has not acknowledged. */
struct pending {
	TAILQ_ENTRY(pending)	 entry;
	uint64_t		 seq;
	enum kind		 kind;
	struct lease		*lease;
	int64_t			 until;		/* now_ms, BIND and RENEW */
	struct waiter		 waiter;	/* for its answer */
	int			 taken;		/* the store may have it */
	struct lease_rec	 rec;
};
TAILQ_HEAD(pending_queue, pending);

struct work {
	TAILQ_ENTRY(work)	 entry;
	enum lease_action_type	 type;
	struct pending		*pending;
	uint32_t		 tep;		/* LA_TEP_* */
	uint64_t		 job;
	struct msg_lease_reply	 reply;
	struct lease_owner	 owner;		/* LA_NODE_DEL */
};
TAILQ_HEAD(work_queue, work);

struct lease_engine {
	struct lease_limits	 limits;
	struct tep		 teps[TEP_MAX];
	struct pool		 pools[POOL_MAX];
	struct range		 ranges[RANGES_MAX];	/* sorted */
	uint32_t		 nranges;
	struct lease_tree	 tree;
	struct lease_timers	 timers;
	struct pending_queue	 pending;
	struct work_queue	 work[LD_NDEST];
	uint64_t		 seq;
	uint64_t		 seed;
	struct user_list	*users;
	struct lease_list	*owners;
	uint32_t		 nbuckets, nowners;
	struct { uint32_t gen, count; } conns[CONN_MAX];
};

/* lease-act.c */
RB_PROTOTYPE(lease_timers, lease, by_time, time_cmp)
void	*lease_calloc(size_t, size_t);
int	 lease_is_live(int);
void	 lease_set_state(struct lease_engine *, struct lease *, int);
/* When, in now_ms; -1: never. */
void	 lease_set_timer(struct lease_engine *, struct lease *, int64_t);
/* One lease more or less that was granted on this connection. */
void	 lease_count_conn(struct lease_engine *, struct conn_ref, int);
void	 lease_reply(struct lease_engine *, const struct waiter *, uint32_t,
	    const struct lease *, uint32_t);
/* Who waits for the reservation; a record's waiter is the record's. */
void	 lease_answer(struct lease_engine *, struct lease *, uint32_t);
void	 lease_set_waiter(struct lease_engine *, struct lease *,
	    const struct lease_ask *);
void	 lease_sync_tep(struct lease_engine *, uint32_t);
void	 lease_unsync_tep(struct lease_engine *, uint32_t);
/* Seconds to the end, rounded up: a TEP must not end it earlier. */
uint32_t lease_seconds(int64_t now, int64_t until);
void	 lease_tell_tep(struct lease_engine *, struct lease *,
	    enum lease_action_type, uint32_t);
void	 lease_tell_node(struct lease_engine *, struct lease *);
/* A record, which takes over who waits; lifetime in s from now. */
void	 lease_write(struct lease_engine *, struct lease *, enum kind,
	    int64_t now, int64_t wall, uint32_t);
/* From now on the TEP must forget it; until it says so nobody gets it. */
void	 lease_close(struct lease_engine *, struct lease *);

/* lease-pool.c */
RB_PROTOTYPE(lease_tree, lease, by_addr, addr_cmp)
/* Of an address, in host order: its range and its lease, or NULL. */
const struct range *pool_range(const struct lease_engine *, uint32_t);
struct lease *pool_lease(const struct lease_engine *, uint32_t);
/* The lease of an address that was never used: FREE, without owner. */
struct lease *pool_touch(struct lease_engine *, uint32_t, uint32_t);
/* Has it a FREE address, for anybody? */
int	 pool_has(const struct lease_engine *, uint32_t);
/* Into and out of what pool_take takes: the state is or was FREE. */
void	 pool_put(struct lease_engine *, struct lease *);
void	 pool_out(struct lease_engine *, struct lease *);
/* The FREE lease that is next in its pool, or NULL. */
struct lease *pool_take(struct lease_engine *, uint32_t);
/*
 * The pool that serves a new lease next, or -1: TEPs that are down or in
 * `tried' do not; *down tells whether such a one would have room.
 */
int	 pool_next(struct lease_engine *, const struct lease_policy *,
	    uint64_t tried, int *down);

/* lease-owner.c */
/* The first buckets; owner_set doubles them. */
void	 owner_rehash(struct lease_engine *);
/* int: make it where there is none; else NULL. */
struct user *owner_user(struct lease_engine *, const struct lease_owner *,
	    int);
struct lease *owner_find(struct lease_engine *, const struct lease_owner *);
void	 owner_clear(struct lease_engine *, struct lease *);
void	 owner_set(struct lease_engine *, struct lease *,
	    const struct lease_owner *);
/* No longer its sticky address, though it had it last. */
void	 owner_forget(struct lease_engine *, struct lease *);
int	 owner_is(const struct lease *, const struct lease_owner *);
/* The same user, by whatever IPv6? */
int	 owner_same_user(const struct lease *, const struct lease_owner *);

#endif /* PRIV_LEASE_INT_H */
