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
 * CLOSING	521; another	200: QUARANTINE	-		-
 *		address where the TEP is down or refuses
 * QUARANTINE	its old owner:	-		-		FREE
 *		-> RESERVED
 *
 * An address leaves CLOSING only when its TEP has confirmed the deletion,
 * so no packet of its old owner passes when it has a new one.
 */
#include <stdlib.h>
#include <string.h>

#include "dstmd/tsp.h"
#include "priv/lease-int.h"

#define RESERVE_MS	60000	/* a TEP's answer: session's bound is less */
#define RETRY_MS	1000	/* expiry waits for a write under way */

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
allowed(const struct lease_policy *policy, const struct lease *l)
{
	uint32_t i;

	for (i = 0; i < policy->nfixed && l->fixed; i++)
		if (ntohl(policy->fixed[i].s_addr) == l->addr)
			return (1);
	for (i = 0; i < policy->npools && !l->fixed; i++)
		if (policy->pools[i] == l->pool)
			return (1);
	return (0);
}

/* Reserved for this user, and to be had? */
static int
fixed_is_free(const struct lease *l, const struct lease_ask *ask)
{
	return (l->fixed && allowed(ask->policy, l) && (l->state == FREE ||
	    (l->state == QUARANTINE && owner_same_user(l, &ask->owner))));
}

/*
 * The first of its reserved ones whose TEP is up, or NULL. Would there be one
 * but for its TEP?
 */
static struct lease *
fixed_next(const struct lease_engine *e, const struct lease_ask *ask,
    uint64_t tried, int *down)
{
	struct lease *l;
	uint32_t i, tep;

	*down = 0;
	for (i = 0; i < ask->policy->nfixed; i++) {
		l = pool_lease(e, ntohl(ask->policy->fixed[i].s_addr));
		if (l == NULL || !fixed_is_free(l, ask))
			continue;
		tep = e->pools[l->pool].tep;
		if (e->teps[tep].up && (tried & 1ULL << tep) == 0)
			return (l);
		*down = 1;
	}
	return (NULL);
}

static void
refuse(struct lease_engine *e, const struct lease_ask *ask, uint32_t status)
{
	struct waiter w;

	w.conn = ask->conn;
	w.req = ask->req;
	w.op = ask->op;
	lease_reply(e, &w, status, NULL, 0);
}

static int
over_limit(struct lease_engine *e, const struct lease_ask *ask)
{
	const struct user *u = owner_user(e, &ask->owner, 0);

	return (ask->policy->max_leases != 0 && u != NULL &&
	    u->live >= ask->policy->max_leases);
}

/* Has this owner one reserved or a pool where a TEP is up, none of those? */
static int
other_tep(const struct lease_engine *e, const struct lease_ask *ask,
    uint64_t tried)
{
	const struct lease_policy *policy = ask->policy;
	uint32_t i, tep;
	int down;

	if (fixed_next(e, ask, tried, &down) != NULL)
		return (1);
	for (i = 0; i < policy->npools; i++) {
		tep = e->pools[policy->pools[i]].tep;
		if (e->teps[tep].up && (tried & 1ULL << tep) == 0)
			return (1);
	}
	return (0);
}

/* Another TEP may do what this one does not, where any address will do. */
static void
attempt_keep(struct lease_engine *e, struct lease *l,
    const struct lease_ask *ask, uint64_t tried)
{
	struct attempt *t = l->attempt;

	if (ask->has_v4 || !other_tep(e, ask, tried |
	    1ULL << e->pools[l->pool].tep)) {
		free(t);
		l->attempt = NULL;
		return;
	}
	if (t == NULL)
		t = l->attempt = lease_calloc(1, sizeof(*t));
	t->ask = *ask;
	t->policy = *ask->policy;
	t->ask.policy = &t->policy;
	t->tried = tried;
}

static void
reserve(struct lease_engine *e, int64_t now, int64_t wall, struct lease *l,
    const struct lease_ask *ask, uint64_t tried)
{
	struct lease *old;

	if (over_limit(e, ask)) {
		refuse(e, ask, STATUS_NO_TUNNELS);
		return;
	}
	if (!e->teps[e->pools[l->pool].tep].up) {
		refuse(e, ask, STATUS_TEP);
		return;
	}
	if (!owner_is(l, &ask->owner)) {
		/* The address that it had before is not its own any more. */
		if ((old = owner_find(e, &ask->owner)) != NULL)
			owner_forget(e, old);
		owner_set(e, l, &ask->owner);
	}
	l->since = wall;
	l->renewals = 0;
	l->refused = 0;
	l->lifetime = clamp(e, ask->lifetime);
	lease_set_state(e, l, RESERVED);
	lease_set_waiter(e, l, ask);
	attempt_keep(e, l, ask, tried);
	lease_set_timer(e, l, now + (l->attempt != NULL ? LEASE_FAILOVER :
	    RESERVE_MS));
	/* A far TEP's entry outlives the answer, which comes later. */
	lease_tell_tep(e, l, LA_TEP_ADD, l->lifetime +
	    (e->teps[e->pools[l->pool].tep].local ? 0 : RESERVE_MS / 1000));
}

static void
create_new(struct lease_engine *e, int64_t now, int64_t wall,
    const struct lease_ask *ask, uint64_t tried)
{
	struct lease *l;
	uint32_t i;
	int down, fixed_down, pool;

	if ((l = fixed_next(e, ask, tried, &fixed_down)) != NULL) {
		reserve(e, now, wall, l, ask, tried);
		return;
	}
	/* A refusal uses no new address up. */
	if ((pool = pool_next(e, ask->policy, tried, &down)) != -1 &&
	    over_limit(e, ask)) {
		refuse(e, ask, STATUS_NO_TUNNELS);
		return;
	}
	if (pool != -1) {
		reserve(e, now, wall, pool_take(e, (uint32_t)pool), ask, tried);
		return;
	}
	if (down || fixed_down || tried != 0) {
		refuse(e, ask, STATUS_TEP);
		return;
	}
	for (i = 0; i < ask->policy->npools; i++)
		e->pools[ask->policy->pools[i]].exhausted++;
	refuse(e, ask, STATUS_EXHAUSTED);
}

/*
 * Its address is not free yet, but will be in a moment; if not (its TEP is
 * gone, or refuses to forget it), another TEP's will do.
 */
static void
create_closing(struct lease_engine *e, int64_t now, int64_t wall,
    struct lease *l, const struct lease_ask *ask)
{
	uint32_t tep = e->pools[l->pool].tep;
	int stuck = !e->teps[tep].up || l->refused;

	if (!stuck)
		refuse(e, ask, STATUS_PROGRESS);
	else if (ask->has_v4)
		refuse(e, ask, STATUS_TEP);
	else
		create_new(e, now, wall, ask, 1ULL << tep);
}

static void
create(struct lease_engine *e, int64_t now, int64_t wall, struct lease *l,
    const struct lease_ask *ask)
{
	int over = l == NULL || l->state == FREE || l->state == QUARANTINE;
	int down;

	/* What is reserved comes before what is sticky, unless that is both. */
	if (over && !ask->has_v4 && (l == NULL || !allowed(ask->policy, l) ||
	    (!l->fixed && fixed_next(e, ask, 0, &down) != NULL))) {
		if (l != NULL && !allowed(ask->policy, l))
			owner_forget(e, l);
		create_new(e, now, wall, ask, 0);
		return;
	}
	if (!allowed(ask->policy, l)) {
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
		/* its TEP refuses again and again, the store does not move */
		if (l->closes >= LEASE_WRITES)
			refuse(e, ask, STATUS_PROGRESS);
		else
			reserve(e, now, wall, l, ask, 0);
		break;
	case RESERVED:
		lease_set_waiter(e, l, ask);
		attempt_keep(e, l, ask, l->attempt != NULL ?
		    l->attempt->tried : 0);
		break;
	case BINDING:
		refuse(e, ask, STATUS_PROGRESS);
		break;
	case BOUND:
		if (l->releasing || l->revoked) {
			refuse(e, ask, l->revoked ? STATUS_UNAVAILABLE :
			    STATUS_PROGRESS);
			break;
		}
		if (l->writes >= LEASE_WRITES) {
			refuse(e, ask, STATUS_PROGRESS);
			break;
		}
		lease_set_waiter(e, l, ask);
		l->lifetime = clamp(e, ask->lifetime);
		lease_write(e, l, K_RENEW, now, wall, l->lifetime);
		break;
	default:
		create_closing(e, now, wall, l, ask);
		break;
	}
}

static void
release(struct lease_engine *e, int64_t now, int64_t wall, struct lease *l,
    const struct lease_ask *ask)
{
	if (l == NULL || (l->state != BOUND && !lease_is_live(l->state)))
		refuse(e, ask, STATUS_UNAVAILABLE);
	else if (l->state != BOUND || l->releasing)
		refuse(e, ask, STATUS_PROGRESS);
	else {
		lease_set_waiter(e, l, ask);
		l->releasing = 1;
		l->tell_node = 0;
		lease_write(e, l, K_RELEASE, now, wall, 0);
	}
}

void
lease_request(struct lease_engine *e, int64_t now, int64_t wall,
    const struct lease_ask *ask)
{
	struct lease *l;

	if (ask->has_v4) {
		if (!in_usable(ask->v4) ||
		    pool_range(e, ntohl(ask->v4.s_addr)) == NULL) {
			refuse(e, ask, STATUS_IPV4);
			return;
		}
		l = pool_lease(e, ntohl(ask->v4.s_addr));
		if (l == NULL || (!owner_is(l, &ask->owner) &&
		    (ask->op != OP_CREATE || !fixed_is_free(l, ask) ||
		    lease_is_held(e, &ask->owner)))) {
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
		if (l == NULL || l->state != BOUND || l->until <= now) {
			refuse(e, ask, STATUS_UNAVAILABLE);
			break;
		}
		lease_reply(e, &(struct waiter){ ask->conn, ask->req, ask->op },
		    STATUS_OK, l, lease_seconds(now, l->until));
		break;
	}
}

int
lease_revoke(struct lease_engine *e, int64_t now, int64_t wall,
    struct in_addr v4)
{
	struct lease *l = pool_lease(e, ntohl(v4.s_addr));

	if (l == NULL || l->state != BOUND)
		return (-1);
	if (l->releasing)
		return (0);
	l->releasing = 1;
	l->tell_node = 1;
	l->revoked = 1;
	lease_write(e, l, K_RELEASE, now, wall, 0);
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
/* Its TEP does not do it: another one, or 307. */
static void
tep_failed(struct lease_engine *e, int64_t now, int64_t wall, struct lease *l)
{
	struct attempt *t = l->attempt;

	l->attempt = NULL;
	if (t == NULL || l->waiter.conn.gen == 0) {
		lease_answer(e, l, STATUS_TEP);
		lease_close(e, l);
	} else {
		l->waiter.conn.gen = 0;
		lease_close(e, l);
		create_new(e, now, wall, &t->ask, t->tried |
		    1ULL << e->pools[l->pool].tep);
	}
	free(t);
}

static void
bind_lease(struct lease_engine *e, int64_t now, int64_t wall, struct lease *l)
{
	lease_set_timer(e, l, -1);
	lease_set_state(e, l, BINDING);
	lease_write(e, l, K_BIND, now, wall, l->lifetime);
}

static void
closed(struct lease_engine *e, int64_t now, int64_t wall, struct lease *l)
{
	lease_set_timer(e, l, now + (int64_t)e->limits.quarantine * SEC);
	lease_set_state(e, l, QUARANTINE);
	/* Nobody waits for this: a local TEP's end is known by its time. */
	if (!e->teps[e->pools[l->pool].tep].local)
		lease_write(e, l, K_CLOSED, now, wall, 0);
}

void
lease_tep_done(struct lease_engine *e, int64_t now, int64_t wall, uint32_t tep,
    uint64_t job, uint32_t status, struct in_addr tep4,
    const struct in6_addr *tep6)
{
	struct lease *l = pool_lease(e, (uint32_t)job);

	if (l == NULL || l->gen != (uint32_t)(job >> 32) ||
	    e->pools[l->pool].tep != tep || !e->teps[tep].up)
		return;
	/* Too late, and the entry may end before the lease. */
	if (l->state == RESERVED && now >= l->deadline)
		status = STATUS_TEP;
	if (l->state == RESERVED && status == STATUS_OK) {
		l->tep4 = tep4;
		l->tep6 = *tep6;
		bind_lease(e, now, wall, l);
	} else if (l->state == RESERVED) {
		tep_failed(e, now, wall, l);
	} else if (l->state == BOUND && status != STATUS_OK) {
		/* Its end; a renewal that is under way asks the TEP again. */
		l->until = now;
		lease_set_timer(e, l, now);
	} else if (l->state == BINDING)
		l->refused = status != STATUS_OK;
	else if (l->state == CLOSING && status == STATUS_OK)
		closed(e, now, wall, l);
	else if (l->state == CLOSING) {
		l->refused = 1;
		lease_set_timer(e, l, now + LEASE_TEP_RETRY);
	}
}

void
lease_tep_up(struct lease_engine *e, int64_t now, uint32_t tep)
{
	struct lease *l;

	if (e->teps[tep].up)
		return;
	e->teps[tep].up = 1;
	RB_FOREACH(l, lease_tree, &e->tree) {
		if (e->pools[l->pool].tep != tep)
			continue;
		if (l->state == BOUND && l->until > now)
			lease_tell_tep(e, l, LA_TEP_ADD, lease_seconds(now, l->until));
		else if (l->state == BINDING)	/* it may have restarted */
			lease_tell_tep(e, l, LA_TEP_ADD, l->lifetime);
		else if (l->state == CLOSING)
			lease_tell_tep(e, l, LA_TEP_DEL, 0);
	}
	lease_sync_tep(e, tep);
}

void
lease_tep_down(struct lease_engine *e, int64_t now, int64_t wall, uint32_t tep)
{
	struct lease *l;

	if (!e->teps[tep].up || e->teps[tep].local)
		return;
	e->teps[tep].up = 0;
	lease_unsync_tep(e, tep);
	RB_FOREACH(l, lease_tree, &e->tree)
		if (e->pools[l->pool].tep == tep && l->state == RESERVED)
			tep_failed(e, now, wall, l);
}

/*
 * Store
 */
/* Durable when it is over already: 0 s would be any time to a node or TEP. */
static void
stored_late(struct lease_engine *e, struct lease *l, struct pending *p)
{
	lease_reply(e, &p->waiter, STATUS_BUSY, l, 0);
	if (p->kind == K_BIND)
		lease_close(e, l);
	else
		lease_set_timer(e, l, l->until);
}

static void
stored_bound(struct lease_engine *e, int64_t now, struct pending *p)
{
	struct lease *l = p->lease;

	l->until = p->until;
	if (p->kind == K_BIND && l->refused) {
		lease_reply(e, &p->waiter, STATUS_TEP, l, 0);
		lease_close(e, l);
		return;
	}
	if (l->until <= now) {
		stored_late(e, l, p);
		return;
	}
	if (p->kind == K_RENEW)
		lease_count_conn(e, l->conn, 0);
	l->conn = p->waiter.conn;
	if (p->kind == K_BIND) {
		lease_set_state(e, l, BOUND);
		e->pools[l->pool].granted++;
	} else {
		l->renewals++;
		lease_tell_tep(e, l, LA_TEP_ADD, lease_seconds(now, l->until));
	}
	lease_count_conn(e, l->conn, 1);
	lease_set_timer(e, l, l->until);
	lease_reply(e, &p->waiter, STATUS_OK, l, lease_seconds(now, l->until));
}

static void
stored(struct lease_engine *e, int64_t now, struct pending *p)
{
	struct lease *l = p->lease;

	if (p->kind == K_CLOSED) {
		l->closes--;
		return;
	}
	l->writes--;
	switch (p->kind) {
	case K_BIND:
		stored_bound(e, now, p);
		break;
	case K_RENEW:
		if (l->releasing) {	/* the release behind it decides */
			lease_reply(e, &p->waiter, STATUS_UNAVAILABLE, l, 0);
			break;
		}
		stored_bound(e, now, p);
		break;
	default:
		lease_reply(e, &p->waiter, STATUS_OK, l, 0);
		if (l->tell_node)
			lease_tell_node(e, l);
		lease_close(e, l);
		break;
	}
}

static void
not_stored(struct lease_engine *e, int64_t now, struct pending *p)
{
	struct lease *l = p->lease;

	if (p->kind == K_CLOSED) {
		l->closes--;	/* the next start asks the TEP again */
		return;
	}
	l->writes--;
	lease_reply(e, &p->waiter, STATUS_BUSY, l, 0);
	if (p->kind == K_BIND)
		lease_close(e, l);
	else if (p->kind == K_RELEASE) {
		l->releasing = 0;
		if (l->revoked && now + LEASE_REVOKE_RETRY < l->until)
			lease_set_timer(e, l, now + LEASE_REVOKE_RETRY);
	}
}

void
lease_store_done(struct lease_engine *e, int64_t now, int64_t wall,
    uint64_t seq)
{
	struct pending *p;

	(void)wall;
	while ((p = TAILQ_FIRST(&e->pending)) != NULL && p->taken &&
	    p->seq <= seq) {
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
	for (p = TAILQ_FIRST(&e->pending); p != NULL && p->taken &&
	    p->seq <= seq_last; p = next) {
		next = TAILQ_NEXT(p, entry);
		TAILQ_REMOVE(&e->pending, p, entry);
		not_stored(e, now, p);
		free(p);
	}
}

/*
 * Load
 */
static void
load_ended(struct lease_engine *e, struct lease *l, int64_t now, int64_t end)
{
	lease_set_state(e, l, QUARANTINE);
	lease_set_timer(e, l, end > now ? end : now);
}

static int
load_believed(struct lease_engine *e, const struct lease_rec *rec)
{
	const struct lease *l = pool_lease(e, ntohl(rec->v4.s_addr));

	return (pool_range(e, ntohl(rec->v4.s_addr)) != NULL &&
	    in_usable(rec->v4) && in6_usable(&rec->v6) &&
	    mech_name(rec->mech) != NULL && rec->state >= REC_BOUND &&
	    rec->state <= REC_CLOSED && (l == NULL ||
	    (l->fixed && l->user == NULL)));
}

/*
 * The record that says that a lease is over may have failed before its
 * owner got another address: then there are two, and the live or the later
 * one is right. The other one is not found again, but ends as it would have:
 * where the clock stepped back both look alive, and one was answered.
 */
static int
load_outlives(struct lease_engine *e, const struct lease_owner *o,
    const struct lease_rec *rec, int live)
{
	struct lease *old = owner_find(e, o);

	if (old == NULL)
		return (1);
	if (lease_is_live(old->state) != live ? !live :
	    rec->since <= old->since)
		return (0);
	owner_forget(e, old);
	return (1);
}

/* Seconds; what was answered holds, though the configuration is another now. */
static int64_t
load_left(int64_t until, int64_t wall)
{
	if (until >= wall + LIFETIME_CEIL)
		return (LIFETIME_CEIL);
	if (until <= wall - LIFETIME_CEIL)
		return (-LIFETIME_CEIL);
	/* Both lack their parts of a second: late rather than early. */
	return (until - wall + 1);
}

int
lease_load(struct lease_engine *e, int64_t now, int64_t wall,
    const struct lease_rec *rec)
{
	int64_t left, quarantine = e->limits.quarantine;
	const struct tep *tep;
	struct lease_owner o;
	struct lease *l;
	int live, first;

	if (!load_believed(e, rec))
		return (-1);
	if ((l = pool_lease(e, ntohl(rec->v4.s_addr))) == NULL)
		l = pool_touch(e, ntohl(rec->v4.s_addr),
		    pool_range(e, ntohl(rec->v4.s_addr))->pool);
	tep = &e->teps[e->pools[l->pool].tep];
	left = load_left(rec->until, wall);
	live = rec->state == REC_BOUND && left > 0 &&
	    strcmp(tep->name, rec->tep) == 0;
	memset(&o, 0, sizeof(o));
	o.mech = rec->mech;
	o.v6 = rec->v6;
	strlcpy(o.name, rec->name, sizeof(o.name));
	first = load_outlives(e, &o, rec, live);
	owner_set(e, l, &o);
	if (!first)
		owner_forget(e, l);
	l->since = rec->since;
	l->tep4 = rec->tep4;
	l->tep6 = rec->tep6;
	if (strcmp(tep->name, rec->tep) != 0)
		/* its TEP is not ours any more: give it time to forget */
		load_ended(e, l, now, now + (quarantine + (left > 0 ? left :
		    0)) * SEC);
	else if (live) {
		lease_set_state(e, l, BOUND);
		l->until = now + left * SEC;
		lease_set_timer(e, l, l->until);
		lease_tell_tep(e, l, LA_TEP_ADD, (uint32_t)left);
	} else if (!tep->local && rec->state != REC_CLOSED)
		lease_close(e, l);
	else
		load_ended(e, l, now, now + (left + quarantine) * SEC);
	return (0);
}

/*
 * Time
 */
static void
expire(struct lease_engine *e, int64_t now, int64_t wall, struct lease *l)
{
	switch (l->state) {
	case RESERVED:
		tep_failed(e, now, wall, l);
		break;
	case BOUND:
		if (l->writes > 0) {
			lease_set_timer(e, l, now + RETRY_MS);
			break;
		}
		if (l->until > now) {	/* a revocation that was not durable */
			lease_set_timer(e, l, l->until);
			if (l->revoked)
				(void)lease_revoke(e, now, wall,
				    (struct in_addr){ htonl(l->addr) });
			break;
		}
		lease_tell_node(e, l);
		lease_close(e, l);
		break;
	case CLOSING:	/* the TEP refused to delete it */
		lease_set_timer(e, l, -1);
		lease_tell_tep(e, l, LA_TEP_DEL, 0);
		break;
	case QUARANTINE:
		lease_set_timer(e, l, -1);
		lease_set_state(e, l, FREE);
		break;
	default:
		lease_set_timer(e, l, -1);
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
		expire(e, now, wall, l);
}
