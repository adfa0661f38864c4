/*
 * The lease engine, see lease.h. What an event does in which state:
 *
 *		request		TEP answers	stored		time, revoke
 * FREE		-> RESERVED	-		-		-
 * RESERVED	521 to the	200: BINDING	-		CLOSING, 307
 *		earlier one	else CLOSING, 307
 * BINDING	521		-		BOUND, 200	-
 *						fail: CLOSING, 530
 * BOUND	renewal: store	-		200, tell TEP	CLOSING
 *		delete: store	-		200, CLOSING
 * CLOSING	521 (307 while	200: QUARANTINE	-		-
 *		the TEP is down)
 * QUARANTINE	its old owner:	-		-		FREE
 *		-> RESERVED
 *
 * An address leaves CLOSING only when its TEP has confirmed the deletion,
 * so no packet of its old owner passes when it has a new one.
 */
#include <sys/types.h>
#include <sys/queue.h>
#include <sys/tree.h>

#include <stdlib.h>
#include <string.h>

#include "dstmd/tsp.h"
#include "priv/lease.h"

#define RESERVE_MS	60000	/* a TEP's answer: session's bound is less */
#define RETRY_MS	1000	/* expiry waits for a write under way */
#define RANGES_MAX	4096
#define HASH_MIN	64
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

struct lease {
	RB_ENTRY(lease)		 by_addr;
	RB_ENTRY(lease)		 by_time;
	TAILQ_ENTRY(lease)	 free;		/* of its pool, FREE only */
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
	uint16_t		 writes;	/* bind, renew, release under way */
	uint8_t			 pool, state, releasing, tell_node;
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
	struct lease_fifo	 free;		/* longest free first */
	uint32_t		 counts[QUARANTINE + 1];
	uint64_t		 granted, exhausted;
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
	struct lease_rec	 rec;
};
TAILQ_HEAD(pending_queue, pending);

struct work {
	TAILQ_ENTRY(work)	 entry;
	enum lease_action_type	 type;
	struct lease		*lease;
	struct pending		*pending;
	uint64_t		 job;
	struct msg_lease_reply	 reply;
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
	struct work_queue	 work;
	uint64_t		 seq;
	uint64_t		 seed;
	struct user_list	*users;
	struct lease_list	*owners;
	uint32_t		 nbuckets, nowners;
	struct { uint32_t gen, count; } conns[CONN_MAX];
};

static int
addr_cmp(const struct lease *a, const struct lease *b)
{
	return (a->addr < b->addr ? -1 : a->addr > b->addr);
}

static int
time_cmp(const struct lease *a, const struct lease *b)
{
	if (a->deadline != b->deadline)
		return (a->deadline < b->deadline ? -1 : 1);
	return (addr_cmp(a, b));
}

RB_PROTOTYPE(lease_tree, lease, by_addr, addr_cmp)
RB_PROTOTYPE(lease_timers, lease, by_time, time_cmp)
RB_GENERATE(lease_tree, lease, by_addr, addr_cmp)
RB_GENERATE(lease_timers, lease, by_time, time_cmp)

static void *
xcalloc(size_t n, size_t size)
{
	void *p;

	if ((p = calloc(n, size)) == NULL)
		fatal(NULL);
	return (p);
}

/*
 * Users and owners: two hashes that grow together
 */
static uint64_t
mix(uint64_t h, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len-- > 0)
		h = (h ^ *p++) * 0x100000001b3ULL;
	return (h ^ h >> 29);
}

static void
rehash(struct lease_engine *e)
{
	uint32_t i, n = e->nbuckets != 0 ? e->nbuckets * 2 : HASH_MIN;
	struct user_list *users = xcalloc(n, sizeof(*users));
	struct lease_list *owners = xcalloc(n, sizeof(*owners));
	struct user *u;
	struct lease *l;

	for (i = 0; i < e->nbuckets; i++) {
		while ((u = LIST_FIRST(&e->users[i])) != NULL) {
			LIST_REMOVE(u, hash);
			LIST_INSERT_HEAD(&users[u->key & (n - 1)], u, hash);
		}
		while ((l = LIST_FIRST(&e->owners[i])) != NULL) {
			LIST_REMOVE(l, hash);
			LIST_INSERT_HEAD(&owners[l->key & (n - 1)], l, hash);
		}
	}
	free(e->users);
	free(e->owners);
	e->users = users;
	e->owners = owners;
	e->nbuckets = n;
}

static struct user *
user_find(struct lease_engine *e, const struct lease_owner *o, int make)
{
	struct user *u;
	uint64_t key;

	key = mix(mix(e->seed, &o->mech, sizeof(o->mech)), o->name,
	    strlen(o->name));
	LIST_FOREACH(u, &e->users[key & (e->nbuckets - 1)], hash)
		if (u->key == key && u->mech == o->mech &&
		    strcmp(u->name, o->name) == 0)
			return (u);
	if (!make)
		return (NULL);
	u = xcalloc(1, sizeof(*u));
	u->key = key;
	u->mech = o->mech;
	strlcpy(u->name, o->name, sizeof(u->name));
	LIST_INSERT_HEAD(&e->users[key & (e->nbuckets - 1)], u, hash);
	return (u);
}

static struct lease *
owner_find(struct lease_engine *e, const struct lease_owner *o)
{
	struct user *u;
	struct lease *l;
	uint64_t key;

	if ((u = user_find(e, o, 0)) == NULL)
		return (NULL);
	key = mix(u->key, &o->v6, sizeof(o->v6));
	LIST_FOREACH(l, &e->owners[key & (e->nbuckets - 1)], hash)
		if (l->key == key && l->user == u &&
		    IN6_ARE_ADDR_EQUAL(&l->v6, &o->v6))
			return (l);
	return (NULL);
}

static void
owner_clear(struct lease_engine *e, struct lease *l)
{
	struct user *u = l->user;

	if (u == NULL)
		return;
	LIST_REMOVE(l, hash);
	e->nowners--;
	l->user = NULL;
	if (--u->refs == 0) {
		LIST_REMOVE(u, hash);
		free(u);
	}
}

static void
owner_set(struct lease_engine *e, struct lease *l, const struct lease_owner *o)
{
	if (e->nowners >= e->nbuckets)
		rehash(e);
	owner_clear(e, l);
	l->user = user_find(e, o, 1);
	l->user->refs++;
	l->v6 = o->v6;
	l->key = mix(l->user->key, &l->v6, sizeof(l->v6));
	LIST_INSERT_HEAD(&e->owners[l->key & (e->nbuckets - 1)], l, hash);
	e->nowners++;
}

static int
is_owner(const struct lease *l, const struct lease_owner *o)
{
	return (l->user != NULL && l->user->mech == o->mech &&
	    strcmp(l->user->name, o->name) == 0 &&
	    IN6_ARE_ADDR_EQUAL(&l->v6, &o->v6));
}

/*
 * States and timers
 */
static int
is_live(int state)
{
	return (state == RESERVED || state == BINDING || state == BOUND);
}

static void
set_timer(struct lease_engine *e, struct lease *l, int64_t deadline)
{
	if (l->deadline != -1)
		RB_REMOVE(lease_timers, &e->timers, l);
	l->deadline = deadline;
	if (deadline != -1)
		RB_INSERT(lease_timers, &e->timers, l);
}

static void
count_conn(struct lease_engine *e, struct conn_ref c, int add)
{
	if (c.gen == 0 || c.id >= CONN_MAX)
		return;
	if (add) {
		if (e->conns[c.id].gen != c.gen)
			e->conns[c.id].count = 0;
		e->conns[c.id].gen = c.gen;
		e->conns[c.id].count++;
	} else if (e->conns[c.id].gen == c.gen && e->conns[c.id].count > 0)
		e->conns[c.id].count--;
}

static void
set_state(struct lease_engine *e, struct lease *l, int state)
{
	struct pool *p = &e->pools[l->pool];

	if (l->user != NULL)
		l->user->live += (uint32_t)(is_live(state) -
		    is_live(l->state));
	if (l->state == BOUND && state != BOUND)
		count_conn(e, l->conn, 0);
	if (l->state == FREE)
		TAILQ_REMOVE(&p->free, l, free);
	if (state == FREE)
		TAILQ_INSERT_TAIL(&p->free, l, free);
	p->counts[l->state]--;
	p->counts[state]++;
	l->state = (uint8_t)state;
}

/*
 * Actions
 */
static struct work *
work_add(struct lease_engine *e, enum lease_action_type type, struct lease *l)
{
	struct work *w = xcalloc(1, sizeof(*w));

	w->type = type;
	w->lease = l;
	TAILQ_INSERT_TAIL(&e->work, w, entry);
	return (w);
}

static void
fill_reply(struct msg_lease_reply *r, const struct lease *l)
{
	r->v4.s_addr = htonl(l->addr);
	r->v6 = l->v6;
	r->tep4 = l->tep4;
	r->tep6 = l->tep6;
}

static void
reply(struct lease_engine *e, const struct waiter *w, uint32_t status,
    const struct lease *l, uint32_t lifetime)
{
	struct msg_lease_reply *r;

	if (w->conn.gen == 0)
		return;
	r = &work_add(e, LA_REPLY, NULL)->reply;
	r->conn = w->conn;
	r->req = w->req;
	r->op = w->op;
	r->status = status;
	if (l != NULL && status == STATUS_OK) {
		fill_reply(r, l);
		r->lifetime = lifetime;
	}
}

/* Who waits for the reservation; a record's waiter is the record's. */
static void
answer(struct lease_engine *e, struct lease *l, uint32_t status)
{
	reply(e, &l->waiter, status, l, 0);
	l->waiter.conn.gen = 0;
}

static void
set_waiter(struct lease_engine *e, struct lease *l, const struct lease_ask *ask)
{
	answer(e, l, STATUS_PROGRESS);
	l->waiter.conn = ask->conn;
	l->waiter.req = ask->req;
	l->waiter.op = ask->op;
}

/* Seconds to the end, rounded up: a TEP must not end it earlier. */
static uint32_t
seconds_to(int64_t now, int64_t until)
{
	return (until <= now ? 0 : (uint32_t)((until - now + SEC - 1) / SEC));
}

static void
tell_tep(struct lease_engine *e, struct lease *l, enum lease_action_type type,
    uint32_t lifetime)
{
	struct work *w;

	l->gen++;
	if (!e->teps[e->pools[l->pool].tep].up)
		return;		/* lease_tep_up says it again */
	w = work_add(e, type, l);
	w->job = (uint64_t)l->gen << 32 | l->addr;
	w->reply.lifetime = lifetime;
	fill_reply(&w->reply, l);
}

static void
store(struct lease_engine *e, struct lease *l, enum kind kind, int64_t now,
    int64_t wall, uint32_t lifetime)
{
	const struct tep *tep = &e->teps[e->pools[l->pool].tep];
	struct pending *p = xcalloc(1, sizeof(*p));

	p->seq = ++e->seq;
	p->kind = kind;
	p->lease = l;
	p->until = now + (int64_t)lifetime * SEC;
	p->rec.v4.s_addr = htonl(l->addr);
	p->rec.v6 = l->v6;
	p->rec.mech = l->user->mech;
	p->rec.state = kind == K_BIND || kind == K_RENEW ? REC_BOUND :
	    kind == K_RELEASE && !tep->local ? REC_ENDED : REC_CLOSED;
	p->rec.since = l->since;
	p->rec.until = wall + lifetime;
	p->rec.tep4 = l->tep4;
	p->rec.tep6 = l->tep6;
	strlcpy(p->rec.name, l->user->name, sizeof(p->rec.name));
	strlcpy(p->rec.tep, tep->name, sizeof(p->rec.tep));
	if (kind != K_CLOSED) {
		l->writes++;
		p->waiter = l->waiter;
		l->waiter.conn.gen = 0;
	}
	TAILQ_INSERT_TAIL(&e->pending, p, entry);
	work_add(e, LA_STORE, l)->pending = p;
}

static void
tell_node(struct lease_engine *e, struct lease *l)
{
	struct work *w = work_add(e, LA_NODE_DEL, l);

	fill_reply(&w->reply, l);
	w->reply.conn = l->conn;
}

/* From now on the TEP must forget it; until it says so nobody gets it. */
static void
close_lease(struct lease_engine *e, struct lease *l)
{
	set_timer(e, l, -1);
	set_state(e, l, CLOSING);
	l->releasing = 0;
	tell_tep(e, l, LA_TEP_DEL, 0);
}

/*
 * Set-up
 */
struct lease_engine *
lease_engine_new(const struct lease_limits *limits)
{
	struct lease_engine *e = xcalloc(1, sizeof(*e));

	e->limits = *limits;
	arc4random_buf(&e->seed, sizeof(e->seed));
	RB_INIT(&e->tree);
	RB_INIT(&e->timers);
	TAILQ_INIT(&e->pending);
	TAILQ_INIT(&e->work);
	rehash(e);
	return (e);
}

void
lease_engine_free(struct lease_engine *e)
{
	struct pending *p;
	struct lease *l;
	struct work *w;

	while ((w = TAILQ_FIRST(&e->work)) != NULL) {
		TAILQ_REMOVE(&e->work, w, entry);
		free(w);
	}
	while ((p = TAILQ_FIRST(&e->pending)) != NULL) {
		TAILQ_REMOVE(&e->pending, p, entry);
		free(p);
	}
	while ((l = RB_ROOT(&e->tree)) != NULL) {
		RB_REMOVE(lease_tree, &e->tree, l);
		owner_clear(e, l);
		free(l);
	}
	free(e->users);
	free(e->owners);
	free(e);
}

void
lease_engine_add_tep(struct lease_engine *e, uint32_t tep, int local,
    const char *name, struct in_addr v4, const struct in6_addr *v6)
{
	struct tep *t = &e->teps[tep];

	t->used = 1;
	t->local = t->up = local;
	strlcpy(t->name, name, sizeof(t->name));
	t->v4 = v4;
	t->v6 = *v6;
}

void
lease_engine_add_pool(struct lease_engine *e, uint32_t pool, const char *name,
    uint32_t tep)
{
	(void)name;
	e->pools[pool].used = 1;
	e->pools[pool].tep = tep;
	TAILQ_INIT(&e->pools[pool].free);
}

int
lease_engine_add_range(struct lease_engine *e, uint32_t pool,
    struct in_addr lo4, struct in_addr hi4)
{
	uint32_t i, lo = ntohl(lo4.s_addr), hi = ntohl(hi4.s_addr);

	if (lo > hi || e->nranges == RANGES_MAX)
		return (-1);
	for (i = 0; i < e->nranges; i++)
		if (lo <= e->ranges[i].hi && hi >= e->ranges[i].lo)
			return (-1);
	for (i = e->nranges; i > 0 && e->ranges[i - 1].lo > lo; i--)
		e->ranges[i] = e->ranges[i - 1];
	e->ranges[i].lo = lo;
	e->ranges[i].hi = hi;
	e->ranges[i].pool = pool;
	e->nranges++;
	e->pools[pool].size += hi - lo + 1;
	return (0);
}

/* The range of an address, or NULL: binary search. */
static const struct range *
range_find(const struct lease_engine *e, uint32_t addr)
{
	uint32_t lo = 0, hi = e->nranges, mid;

	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		if (addr < e->ranges[mid].lo)
			hi = mid;
		else if (addr > e->ranges[mid].hi)
			lo = mid + 1;
		else
			return (&e->ranges[mid]);
	}
	return (NULL);
}

static struct lease *
lease_find(const struct lease_engine *e, uint32_t addr)
{
	struct lease key;

	key.addr = addr;
	return (RB_FIND(lease_tree, (struct lease_tree *)(uintptr_t)&e->tree,
	    &key));
}

/* The lease of an address that was never used: FREE, without owner. */
static struct lease *
lease_touch(struct lease_engine *e, uint32_t addr, uint32_t pool)
{
	struct pool *p = &e->pools[pool];
	struct lease *l = xcalloc(1, sizeof(*l));

	l->addr = addr;
	l->pool = (uint8_t)pool;
	l->deadline = -1;
	l->state = FREE;
	p->touched++;
	p->counts[FREE]++;
	TAILQ_INSERT_TAIL(&p->free, l, free);
	RB_INSERT(lease_tree, &e->tree, l);
	return (l);
}

/*
 * Never used ones first, so that sticky addresses live long; the load may
 * have touched some of those out of turn.
 */
static struct lease *
pool_take(struct lease_engine *e, uint32_t pool)
{
	struct pool *p = &e->pools[pool];
	const struct range *r;
	uint32_t addr;

	while (p->range < e->nranges) {
		r = &e->ranges[p->range];
		if (r->pool != pool || p->next > r->hi - r->lo) {
			p->range++;
			p->next = 0;
			continue;
		}
		addr = r->lo + p->next++;
		if (lease_find(e, addr) == NULL)
			return (lease_touch(e, addr, pool));
	}
	return (TAILQ_FIRST(&p->free));
}

/*
 * Requests
 */
static uint32_t
clamp(const struct lease_engine *e, uint32_t lifetime)
{
	if (lifetime == 0)
		lifetime = e->limits.lifetime;
	if (lifetime < e->limits.lifetime_min)
		lifetime = e->limits.lifetime_min;
	if (lifetime > e->limits.lifetime_max)
		lifetime = e->limits.lifetime_max;
	return (lifetime);
}

static int
pool_allowed(const struct lease_policy *policy, uint32_t pool)
{
	uint32_t i;

	for (i = 0; i < policy->npools; i++)
		if (policy->pools[i] == pool)
			return (1);
	return (0);
}

static void
refuse(struct lease_engine *e, const struct lease_ask *ask, uint32_t status)
{
	struct waiter w;

	w.conn = ask->conn;
	w.req = ask->req;
	w.op = ask->op;
	reply(e, &w, status, NULL, 0);
}

static void
reserve(struct lease_engine *e, int64_t now, int64_t wall, struct lease *l,
    const struct lease_ask *ask)
{
	const struct user *u = user_find(e, &ask->owner, 0);

	if (ask->policy->max_leases != 0 && u != NULL &&
	    u->live >= ask->policy->max_leases) {
		refuse(e, ask, STATUS_NO_TUNNELS);
		return;
	}
	if (!e->teps[e->pools[l->pool].tep].up) {
		refuse(e, ask, STATUS_TEP);
		return;
	}
	if (!is_owner(l, &ask->owner))
		owner_set(e, l, &ask->owner);
	l->since = wall;
	l->renewals = 0;
	l->lifetime = clamp(e, ask->lifetime);
	set_state(e, l, RESERVED);
	set_timer(e, l, now + RESERVE_MS);
	set_waiter(e, l, ask);
	/* The TEP's entry outlives the answer, which comes later. */
	tell_tep(e, l, LA_TEP_ADD, l->lifetime + RESERVE_MS / 1000);
}

static void
create_new(struct lease_engine *e, int64_t now, int64_t wall,
    const struct lease_ask *ask)
{
	struct lease *l = NULL;
	uint32_t i;

	for (i = 0; i < ask->policy->npools && l == NULL; i++)
		l = pool_take(e, ask->policy->pools[i]);
	if (l != NULL) {
		reserve(e, now, wall, l, ask);
		return;
	}
	for (i = 0; i < ask->policy->npools; i++)
		e->pools[ask->policy->pools[i]].exhausted++;
	refuse(e, ask, STATUS_EXHAUSTED);
}

static void
create(struct lease_engine *e, int64_t now, int64_t wall, struct lease *l,
    const struct lease_ask *ask)
{
	if (l == NULL) {
		create_new(e, now, wall, ask);
		return;
	}
	if (!pool_allowed(ask->policy, l->pool)) {
		/* draft 2.2: 308, and nothing of it is left at the TEP */
		if (l->state == BOUND && !l->releasing)
			(void)lease_revoke(e, now, wall,
			    (struct in_addr){ htonl(l->addr) });
		refuse(e, ask, STATUS_UNAVAILABLE);
		return;
	}
	switch (l->state) {
	case FREE:
	case QUARANTINE:
		reserve(e, now, wall, l, ask);
		break;
	case RESERVED:
		set_waiter(e, l, ask);
		break;
	case BINDING:
		refuse(e, ask, STATUS_PROGRESS);
		break;
	case BOUND:
		if (l->releasing) {
			refuse(e, ask, STATUS_PROGRESS);
			break;
		}
		set_waiter(e, l, ask);
		l->lifetime = clamp(e, ask->lifetime);
		store(e, l, K_RENEW, now, wall, l->lifetime);
		break;
	default:
		refuse(e, ask, e->teps[e->pools[l->pool].tep].up ?
		    STATUS_PROGRESS : STATUS_TEP);
		break;
	}
}

static void
release(struct lease_engine *e, int64_t now, int64_t wall, struct lease *l,
    const struct lease_ask *ask)
{
	if (l == NULL || (l->state != BOUND && !is_live(l->state)))
		refuse(e, ask, STATUS_UNAVAILABLE);
	else if (l->state != BOUND || l->releasing)
		refuse(e, ask, STATUS_PROGRESS);
	else {
		set_waiter(e, l, ask);
		l->releasing = 1;
		l->tell_node = 0;
		store(e, l, K_RELEASE, now, wall, 0);
	}
}

void
lease_request(struct lease_engine *e, int64_t now, int64_t wall,
    const struct lease_ask *ask)
{
	struct lease *l;

	if (ask->has_v4) {
		if (!in_usable(ask->v4) ||
		    range_find(e, ntohl(ask->v4.s_addr)) == NULL) {
			refuse(e, ask, STATUS_IPV4);
			return;
		}
		l = lease_find(e, ntohl(ask->v4.s_addr));
		if (l == NULL || !is_owner(l, &ask->owner)) {
			refuse(e, ask, STATUS_UNAVAILABLE);
			return;
		}
	} else
		l = owner_find(e, &ask->owner);
	switch (ask->op) {
	case OP_CREATE:
		create(e, now, wall, l, ask);
		break;
	case OP_DELETE:
		release(e, now, wall, l, ask);
		break;
	default:
		if (l == NULL || l->state != BOUND) {
			refuse(e, ask, STATUS_UNAVAILABLE);
			break;
		}
		reply(e, &(struct waiter){ ask->conn, ask->req, ask->op },
		    STATUS_OK, l, seconds_to(now, l->until));
		break;
	}
}

int
lease_revoke(struct lease_engine *e, int64_t now, int64_t wall,
    struct in_addr v4)
{
	struct lease *l = lease_find(e, ntohl(v4.s_addr));

	if (l == NULL || l->state != BOUND)
		return (-1);
	if (l->releasing)
		return (0);
	l->releasing = 1;
	l->tell_node = 1;
	store(e, l, K_RELEASE, now, wall, 0);
	return (0);
}

void
lease_conn_gone(struct lease_engine *e, struct conn_ref c)
{
	/* Answers to it are dropped by who sends them. */
	if (c.id < CONN_MAX && e->conns[c.id].gen == c.gen)
		e->conns[c.id].count = 0;
}

/*
 * TEPs
 */
static void
bind_lease(struct lease_engine *e, int64_t now, int64_t wall, struct lease *l)
{
	set_timer(e, l, -1);
	set_state(e, l, BINDING);
	store(e, l, K_BIND, now, wall, l->lifetime);
}

static void
closed(struct lease_engine *e, int64_t now, int64_t wall, struct lease *l)
{
	set_state(e, l, QUARANTINE);
	set_timer(e, l, now + (int64_t)e->limits.quarantine * SEC);
	/* Nobody waits for this: a local TEP's end is known by its time. */
	if (!e->teps[e->pools[l->pool].tep].local)
		store(e, l, K_CLOSED, now, wall, 0);
}

void
lease_tep_done(struct lease_engine *e, int64_t now, int64_t wall, uint64_t job,
    uint32_t status, struct in_addr tep4, const struct in6_addr *tep6)
{
	struct lease *l = lease_find(e, (uint32_t)job);

	if (l == NULL || l->gen != (uint32_t)(job >> 32))
		return;
	if (l->state == RESERVED && status == STATUS_OK) {
		l->tep4 = tep4;
		l->tep6 = *tep6;
		bind_lease(e, now, wall, l);
	} else if (l->state == RESERVED) {
		answer(e, l, STATUS_TEP);
		close_lease(e, l);
	} else if (l->state == CLOSING && status == STATUS_OK)
		closed(e, now, wall, l);
}

void
lease_tep_up(struct lease_engine *e, int64_t now, uint32_t tep)
{
	struct lease *l;

	e->teps[tep].up = 1;
	RB_FOREACH(l, lease_tree, &e->tree) {
		if (e->pools[l->pool].tep != tep)
			continue;
		if (l->state == BOUND)
			tell_tep(e, l, LA_TEP_ADD, seconds_to(now, l->until));
		else if (l->state == CLOSING)
			tell_tep(e, l, LA_TEP_DEL, 0);
	}
}

void
lease_tep_down(struct lease_engine *e, int64_t now, int64_t wall, uint32_t tep)
{
	struct lease *l;

	(void)now;
	(void)wall;
	if (!e->teps[tep].up || e->teps[tep].local)
		return;
	e->teps[tep].up = 0;
	RB_FOREACH(l, lease_tree, &e->tree)
		if (e->pools[l->pool].tep == tep && l->state == RESERVED) {
			answer(e, l, STATUS_TEP);
			close_lease(e, l);
		}
}

/*
 * Store
 */
static void
stored_bound(struct lease_engine *e, int64_t now, struct pending *p)
{
	struct lease *l = p->lease;

	l->until = p->until;
	l->conn = p->waiter.conn;
	if (p->kind == K_BIND) {
		set_state(e, l, BOUND);
		e->pools[l->pool].granted++;
	} else {
		l->renewals++;
		tell_tep(e, l, LA_TEP_ADD, seconds_to(now, l->until));
	}
	count_conn(e, l->conn, 1);
	set_timer(e, l, l->until);
	reply(e, &p->waiter, STATUS_OK, l, seconds_to(now, l->until));
}

static void
stored(struct lease_engine *e, int64_t now, struct pending *p)
{
	struct lease *l = p->lease;

	if (p->kind == K_CLOSED)
		return;
	l->writes--;
	switch (p->kind) {
	case K_BIND:
		stored_bound(e, now, p);
		break;
	case K_RENEW:
		if (l->releasing) {	/* the release behind it decides */
			reply(e, &p->waiter, STATUS_UNAVAILABLE, l, 0);
			break;
		}
		count_conn(e, l->conn, 0);
		stored_bound(e, now, p);
		break;
	default:
		reply(e, &p->waiter, STATUS_OK, l, 0);
		if (l->tell_node)
			tell_node(e, l);
		close_lease(e, l);
		break;
	}
}

static void
not_stored(struct lease_engine *e, struct pending *p)
{
	struct lease *l = p->lease;

	if (p->kind == K_CLOSED)
		return;		/* the next start asks the TEP again */
	l->writes--;
	reply(e, &p->waiter, STATUS_BUSY, l, 0);
	if (p->kind == K_BIND)
		close_lease(e, l);
	else if (p->kind == K_RELEASE)
		l->releasing = 0;
}

void
lease_store_done(struct lease_engine *e, int64_t now, int64_t wall,
    uint64_t seq)
{
	struct pending *p;

	(void)wall;
	while ((p = TAILQ_FIRST(&e->pending)) != NULL && p->seq <= seq) {
		TAILQ_REMOVE(&e->pending, p, entry);
		stored(e, now, p);
		free(p);
	}
}

void
lease_store_fail(struct lease_engine *e, int64_t now, int64_t wall,
    uint64_t seq, uint64_t seq_last)
{
	struct pending *p, *next;

	if (seq > 1)
		lease_store_done(e, now, wall, seq - 1);
	for (p = TAILQ_FIRST(&e->pending); p != NULL && p->seq <= seq_last;
	    p = next) {
		next = TAILQ_NEXT(p, entry);
		TAILQ_REMOVE(&e->pending, p, entry);
		not_stored(e, p);
		free(p);
	}
}

void
lease_store_reset(struct lease_engine *e)
{
	struct pending *p;
	struct work *w, *next;

	for (w = TAILQ_FIRST(&e->work); w != NULL; w = next) {
		next = TAILQ_NEXT(w, entry);
		if (w->type == LA_STORE) {
			TAILQ_REMOVE(&e->work, w, entry);
			free(w);
		}
	}
	TAILQ_FOREACH(p, &e->pending, entry)
		work_add(e, LA_STORE, p->lease)->pending = p;
}

/*
 * Load
 */
static void
load_ended(struct lease_engine *e, struct lease *l, int64_t now, int64_t end)
{
	set_state(e, l, QUARANTINE);
	set_timer(e, l, end > now ? end : now);
}

int
lease_load(struct lease_engine *e, int64_t now, int64_t wall,
    const struct lease_rec *rec)
{
	const struct range *r = range_find(e, ntohl(rec->v4.s_addr));
	int64_t left, quarantine = e->limits.quarantine;
	const struct tep *tep;
	struct lease_owner o;
	struct lease *l;

	memset(&o, 0, sizeof(o));
	o.mech = rec->mech;
	o.v6 = rec->v6;
	strlcpy(o.name, rec->name, sizeof(o.name));
	if (r == NULL || !in_usable(rec->v4) || !in6_usable(&rec->v6) ||
	    mech_name(rec->mech) == NULL || rec->state < REC_BOUND ||
	    rec->state > REC_CLOSED || lease_find(e, ntohl(rec->v4.s_addr)) !=
	    NULL)
		return (-1);
	l = lease_touch(e, ntohl(rec->v4.s_addr), r->pool);
	/* An older sticky address of this owner is forgotten. */
	if (owner_find(e, &o) != NULL && rec->state != REC_BOUND)
		return (0);
	if (owner_find(e, &o) != NULL && !is_live(owner_find(e, &o)->state))
		owner_clear(e, owner_find(e, &o));
	else if (owner_find(e, &o) != NULL)
		return (-1);
	owner_set(e, l, &o);
	l->since = rec->since;
	l->tep4 = rec->tep4;
	l->tep6 = rec->tep6;
	tep = &e->teps[e->pools[l->pool].tep];
	left = rec->until - wall;
	if (left > (int64_t)e->limits.lifetime_max)
		left = e->limits.lifetime_max;
	if (left < -31LL * 86400)
		left = -31LL * 86400;
	if (strcmp(tep->name, rec->tep) != 0)
		/* its TEP is not ours any more: give it time to forget */
		load_ended(e, l, now, now + (quarantine + (left > 0 ? left :
		    0)) * SEC);
	else if (rec->state == REC_BOUND && left > 0) {
		set_state(e, l, BOUND);
		l->until = now + left * SEC;
		set_timer(e, l, l->until);
		tell_tep(e, l, LA_TEP_ADD, (uint32_t)left);
	} else if (!tep->local && rec->state != REC_CLOSED)
		close_lease(e, l);
	else
		load_ended(e, l, now, now + (left + quarantine) * SEC);
	return (0);
}

/*
 * Time
 */
static void
expire(struct lease_engine *e, int64_t now, struct lease *l)
{
	switch (l->state) {
	case RESERVED:
		answer(e, l, STATUS_TEP);
		close_lease(e, l);
		break;
	case BOUND:
		if (l->writes > 0) {
			set_timer(e, l, now + RETRY_MS);
			break;
		}
		tell_node(e, l);
		close_lease(e, l);
		break;
	case QUARANTINE:
		set_timer(e, l, -1);
		set_state(e, l, FREE);
		break;
	default:
		set_timer(e, l, -1);
		break;
	}
}

void
lease_tick(struct lease_engine *e, int64_t now, int64_t wall)
{
	struct lease *l;

	(void)wall;
	while ((l = RB_MIN(lease_timers, &e->timers)) != NULL &&
	    l->deadline <= now)
		expire(e, now, l);
}

int64_t
lease_deadline(const struct lease_engine *e)
{
	struct lease *l = RB_MIN(lease_timers,
	    (struct lease_timers *)(uintptr_t)&e->timers);

	return (l != NULL ? l->deadline : -1);
}

int
lease_action(struct lease_engine *e, struct lease_action *a)
{
	struct work *w;

	if ((w = TAILQ_FIRST(&e->work)) == NULL)
		return (0);
	TAILQ_REMOVE(&e->work, w, entry);
	memset(a, 0, sizeof(*a));
	a->type = w->type;
	a->reply = w->reply;
	a->job = w->job;
	a->lifetime = w->reply.lifetime;
	a->v4 = w->reply.v4;
	a->v6 = w->reply.v6;
	if (w->lease != NULL)
		a->tep = e->pools[w->lease->pool].tep;
	if (w->pending != NULL) {
		a->seq = w->pending->seq;
		a->rec = w->pending->rec;
	}
	free(w);
	return (1);
}

/*
 * For dstmctl and tests
 */
int
lease_walk(const struct lease_engine *e, int64_t now, struct in_addr after,
    struct lease_info *li)
{
	static const uint32_t states[] = {
		0, CTL_RESERVED, CTL_RESERVED, CTL_BOUND, CTL_CLOSING,
		CTL_QUARANTINE
	};
	struct lease key, *l;

	key.addr = ntohl(after.s_addr) + 1;
	l = RB_NFIND(lease_tree, (struct lease_tree *)(uintptr_t)&e->tree,
	    &key);
	while (l != NULL && (l->state == FREE || l->user == NULL))
		l = RB_NEXT(lease_tree, &e->tree, l);
	if (l == NULL)
		return (0);
	memset(li, 0, sizeof(*li));
	li->v4.s_addr = htonl(l->addr);
	li->owner.mech = l->user->mech;
	strlcpy(li->owner.name, l->user->name, sizeof(li->owner.name));
	li->owner.v6 = l->v6;
	li->tep4 = l->tep4;
	li->tep6 = l->tep6;
	li->pool = l->pool;
	li->tep = e->pools[l->pool].tep;
	li->state = states[l->state];
	li->renewals = l->renewals;
	li->since = l->since;
	li->remains_ms = l->deadline == -1 ? 0 : l->deadline - now;
	return (1);
}

void
lease_pool_stats(const struct lease_engine *e, uint32_t pool,
    struct lease_pool_stats *st)
{
	const struct pool *p = &e->pools[pool];

	memset(st, 0, sizeof(*st));
	st->size = p->size;
	st->free = p->counts[FREE] + p->size - p->touched;
	st->bound = p->counts[BOUND];
	st->reserved = p->counts[RESERVED] + p->counts[BINDING];
	st->closing = p->counts[CLOSING];
	st->quarantine = p->counts[QUARANTINE];
	st->granted = p->granted;
	st->exhausted = p->exhausted;
}

uint32_t
lease_conn_count(const struct lease_engine *e, struct conn_ref c)
{
	return (c.id < CONN_MAX && e->conns[c.id].gen == c.gen ?
	    e->conns[c.id].count : 0);
}

int
lease_in_pools(const struct lease_engine *e, struct in_addr v4)
{
	return (range_find(e, ntohl(v4.s_addr)) != NULL);
}

static void
check(int ok, const char *what, const struct lease *l)
{
	if (!ok)
		fatalx("lease engine: %s: %s", what, log_in(
		    (struct in_addr){ htonl(l->addr) }));
}

void
lease_check(const struct lease_engine *e)
{
	struct lease *l, *o;
	struct lease_owner owner;
	uint32_t counts[POOL_MAX][QUARANTINE + 1];
	uint32_t i;

	memset(counts, 0, sizeof(counts));
	RB_FOREACH(l, lease_tree, (struct lease_tree *)(uintptr_t)&e->tree) {
		counts[l->pool][l->state]++;
		check(l->state == FREE || l->user != NULL, "no owner", l);
		check(l->state != BOUND || l->deadline != -1, "no timer", l);
		check(l->state != QUARANTINE || l->deadline != -1,
		    "quarantine without end", l);
		check(l->state == BINDING ? l->writes == 1 : 1, "writes", l);
		if (l->user == NULL)
			continue;
		memset(&owner, 0, sizeof(owner));
		owner.mech = l->user->mech;
		strlcpy(owner.name, l->user->name, sizeof(owner.name));
		owner.v6 = l->v6;
		o = owner_find((struct lease_engine *)(uintptr_t)e, &owner);
		check(o == l, "an owner with two addresses", l);
	}
	for (i = 0; i < POOL_MAX; i++)
		if (e->pools[i].used && memcmp(counts[i], e->pools[i].counts,
		    sizeof(counts[i])) != 0)
			fatalx("lease engine: counts of pool %u", i);
}
