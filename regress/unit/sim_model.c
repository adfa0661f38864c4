/*
 * What the lease engine may do: a simple model, and the promises to nodes,
 * compared with what the engine shows and says after every step.
 */
#include <arpa/inet.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dstmd/tsp.h"
#include "regress/unit/sim.h"

/*
 * Answers have whole seconds, rounded up: what a node was told may end so
 * much later than what the engine knows.
 */
#define SLACK		1000	/* ms */
#define TIMEOUT		60000	/* ms that a TEP has */

void
broken(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "test_lease_sim: ");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
	exit(1);
}

static const char *
name(const struct sim_addr *a)
{
	struct in_addr v4 = { htonl(a->v4) };

	return (inet_ntoa(v4));
}

static int
is_live(uint32_t state)
{
	return (state == CTL_RESERVED || state == CTL_BOUND);
}

static int
rec_owner(const struct lease_rec *rec)
{
	return (owner_index(rec->mech, rec->name, &rec->v6));
}

static uint32_t
lifetime_of(const struct sim_req *r)
{
	uint32_t t = r->lifetime != 0 ? r->lifetime : sim.limits.lifetime;

	if (t < sim.limits.lifetime_min)
		t = sim.limits.lifetime_min;
	return (t > sim.limits.lifetime_max ? sim.limits.lifetime_max : t);
}

static int
allowed(int owner, const struct sim_addr *a)
{
	const struct lease_policy *p = &sim.policy[owner / NHOSTS];
	uint32_t i;

	if (a->fixed != -1)
		return (a->fixed == owner / NHOSTS);
	for (i = 0; i < p->npools; i++)
		if (p->pools[i] == a->pool)
			return (1);
	return (0);
}

static uint32_t
live_leases(int user)
{
	uint32_t n = 0;
	int i;

	for (i = 0; i < NADDRS; i++)
		n += is_live(sim.a[i].state) && sim.a[i].owner / NHOSTS == user;
	return (n);
}

static int
told_now(const struct sim_addr *a)
{
	return (a->told != -1 && a->told_until > sim.now + SLACK);
}

/*
 * Requests
 */
static uint64_t
bit(uint32_t status)
{
	static const uint32_t all[] = { STATUS_OK, STATUS_NO_TUNNELS,
	    STATUS_EXHAUSTED, STATUS_TEP, STATUS_UNAVAILABLE, STATUS_IPV4,
	    STATUS_PROGRESS, STATUS_BUSY };
	size_t i;

	for (i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (all[i] == status)
			return (1ULL << i);
	broken("status %u", status);
}

/* Its node gives it up, or the operator takes it: renewals may be late. */
static void
doubt(struct sim_addr *a)
{
	uint32_t i;

	a->doubt = 1;
	a->told = -1;
	for (i = sim.oldest; i < sim.nreqs; i++)
		if (sim.reqs[i].want == a - sim.a &&
		    sim.reqs[i].op == OP_CREATE)
			sim.reqs[i].may |= bit(STATUS_UNAVAILABLE);
}

#define GRANT	(bit(STATUS_OK) | bit(STATUS_TEP) | bit(STATUS_PROGRESS) | \
		    bit(STATUS_BUSY))

/* One that is reserved for it, and to be had? */
static int
fixed_free(const struct sim_addr *a, int owner)
{
	return (a->fixed == owner / NHOSTS && (a->state == 0 ||
	    (a->state == CTL_QUARANTINE && a->owner / NHOSTS ==
	    owner / NHOSTS)));
}

static int
fixed_next(int owner, int without)
{
	const struct lease_policy *p = &sim.policy[owner / NHOSTS];
	uint32_t j;
	int i;

	for (j = 0; j < p->nfixed; j++) {
		i = addr_index(p->fixed[j], "the policy");
		if (fixed_free(&sim.a[i], owner) && tep_of(i) != without &&
		    sim.teps[tep_of(i)].up)
			return (i);
	}
	return (-1);
}

/* A new address, or why not. */
static void
asks_new(struct sim_req *r)
{
	const struct lease_policy *p = &sim.policy[r->owner / NHOSTS];
	int i, pool, any = 0, up = 0, weighed = 0;
	uint32_t j;

	if ((r->must = fixed_next(r->owner, r->without)) != -1) {
		any = up = 1;
		r->pool = sim.a[r->must].pool;
	}
	/* Its TEP is down or does not do it: that is not a pool that is out. */
	for (i = 0; i < NADDRS; i++)
		any |= fixed_free(&sim.a[i], r->owner);
	for (j = 0; j < p->npools && r->must == -1; j++)
		for (i = 0; i < NADDRS; i++) {
			pool = p->pools[j];
			if (sim.a[i].pool != pool || sim.a[i].state != 0 ||
			    sim.a[i].fixed != -1)
				continue;
			any = 1;
			if (!sim.teps[tep_of(i)].up || tep_of(i) == r->without)
				continue;
			up = 1;
			weighed |= sim.weights[pool] > 0;
			if (r->pool == -1)
				r->pool = pool;
		}
	if (weighed)
		r->pool = -1;
	if (!any)
		r->may |= bit(STATUS_EXHAUSTED);
	if (p->max_leases != 0 && live_leases(r->owner / NHOSTS) >=
	    p->max_leases)
		r->may |= bit(STATUS_NO_TUNNELS);
	if (any && !up)
		r->may |= bit(STATUS_TEP);
	if (r->may == 0)
		r->may = GRANT;
}

/* Are so many of its requests under way that one more is too many? */
static int
crowded(int owner)
{
	uint32_t i, n = 0;

	for (i = sim.oldest; i < sim.nreqs; i++)
		n += sim.reqs[i].owner == owner &&
		    sim.reqs[i].op == OP_CREATE && !sim.reqs[i].answered;
	return (n >= LEASE_WRITES);
}

static void
asks_create(struct sim_req *r, int said)
{
	const struct lease_policy *p = &sim.policy[r->owner / NHOSTS];
	struct sim_addr *a = &sim.a[r->want];

	if (!said && a->fixed == -1 && (a->state == 0 ||
	    a->state == CTL_QUARANTINE) && fixed_next(r->owner, -1) != -1) {
		r->want = -1;
		asks_new(r);
		return;
	}
	if (!allowed(r->owner, a)) {
		if (a->state == CTL_BOUND)
			doubt(a);
		if (is_live(a->state) || a->state == CTL_CLOSING || said)
			r->may = bit(STATUS_UNAVAILABLE);
		else {
			r->want = -1;
			asks_new(r);
		}
		return;
	}
	switch (a->state) {
	case CTL_RESERVED:
		r->may = GRANT;
		break;
	case CTL_BOUND:
		r->may = bit(STATUS_OK) | bit(STATUS_BUSY);
		if (a->doubt)
			r->may |= bit(STATUS_PROGRESS) |
			    bit(STATUS_UNAVAILABLE);
		if (crowded(r->owner))
			r->may |= bit(STATUS_PROGRESS);
		break;
	case CTL_CLOSING:
		if (sim.teps[tep_of(r->want)].up && !a->stuck)
			r->may = bit(STATUS_PROGRESS);
		else if (said)
			r->may = bit(STATUS_TEP) | (a->stuck ?
			    bit(STATUS_PROGRESS) : 0);
		else {
			r->without = tep_of(r->want);
			r->want = -1;
			asks_new(r);
			/* A refusal may have been of an older request. */
			r->may |= bit(STATUS_TEP) | bit(STATUS_PROGRESS);
			r->unsure = a->stuck;
		}
		break;
	default:
		if (p->max_leases != 0 && live_leases(r->owner / NHOSTS) >=
		    p->max_leases)
			r->may |= bit(STATUS_NO_TUNNELS);
		else if (!sim.teps[tep_of(r->want)].up)
			r->may = bit(STATUS_TEP);
		else
			r->may = GRANT;
	}
}

static void
asks_delete(struct sim_req *r)
{
	struct sim_addr *a = &sim.a[r->want];

	if (!is_live(a->state))
		r->may = bit(STATUS_UNAVAILABLE);
	else if (a->state == CTL_RESERVED)
		r->may = bit(STATUS_PROGRESS);
	else {
		r->may = bit(STATUS_OK) | bit(STATUS_BUSY);
		if (a->doubt)
			r->may |= bit(STATUS_PROGRESS);
		doubt(a);
	}
}

static int
holds(int owner)
{
	int i;

	for (i = 0; i < NADDRS; i++)
		if (sim.a[i].last == owner && is_live(sim.a[i].state))
			return (1);
	return (0);
}

void
model_asks(struct sim_req *r, int addr)
{
	struct sim_addr *a;
	int64_t end = sim.now + 1000LL * lifetime_of(r);
	int i;

	r->want = r->pool = r->must = r->without = -1;
	r->said = addr != ANY;
	r->unsure = 0;
	for (i = 0; i < NADDRS; i++) {
		a = &sim.a[i];
		if (a->last == r->owner && (addr == ANY || addr == i))
			r->want = i;
		/* Who asks for less can not be sure of more. */
		if (r->op == OP_CREATE && a->told == r->owner &&
		    end < a->told_until)
			a->told_until = end;
		if (sim.vague[r->owner] && a->owner == r->owner &&
		    (r->op == OP_DELETE || (r->op == OP_CREATE &&
		    !allowed(r->owner, a))))
			doubt(a);
	}
	/* Its user's, though another node or nobody had it last. */
	if (addr >= 0 && r->want == -1 && r->op == OP_CREATE &&
	    fixed_free(&sim.a[addr], r->owner) && !holds(r->owner))
		r->want = addr;
	if (addr == NOWHERE)
		r->may = bit(STATUS_IPV4);
	else if (sim.vague[r->owner]) {
		r->want = -1;
		r->may = ~0ULL;
	} else if (r->want == -1 && (addr != ANY || r->op != OP_CREATE))
		r->may = bit(STATUS_UNAVAILABLE);
	else if (r->want == -1)
		asks_new(r);
	else if (r->op == OP_CREATE)
		asks_create(r, addr != ANY);
	else if (r->op == OP_DELETE)
		asks_delete(r);
	else
		r->may = sim.a[r->want].state != CTL_BOUND ?
		    bit(STATUS_UNAVAILABLE) : told_now(&sim.a[r->want]) ?
		    bit(STATUS_OK) : bit(STATUS_OK) | bit(STATUS_UNAVAILABLE);
}

/* It was made: who may have an address is getting one. */
void
model_asked(const struct sim_req *r)
{
	int i;

	for (i = 0; i < NADDRS; i++)
		if (sim.a[i].state == CTL_RESERVED &&
		    sim.a[i].owner == r->owner && (r->pool == -1 ||
		    sim.a[i].pool == r->pool)) {
			if (r->may == GRANT && !r->unsure && r->must != -1 &&
			    i != r->must)
				broken("owner %d gets %s, not what is "
				    "reserved", r->owner, name(&sim.a[i]));
			return;
		}
	if (r->may == GRANT && !r->unsure)
		broken("owner %d is refused, but pool %d has room", r->owner,
		    r->pool);
}

void
model_revoked(int addr)
{
	doubt(&sim.a[addr]);
}

void
model_refused(int addr)
{
	doubt(&sim.a[addr]);
}

/*
 * Answers
 */
void
model_put(const struct lease_rec *rec)
{
	int i = addr_index(rec->v4, "a record");

	(void)rec_owner(rec);
	if (rec->state == REC_CLOSED && tep_of(i) != 0 &&
	    ++sim.a[i].closed > sim.a[i].confirmed)
		broken("%s is recorded as closed, its TEP may forward it",
		    name(&sim.a[i]));
}

void
model_stored(const struct sim_put *put)
{
	struct sim_addr *a = &sim.a[addr_index(put->rec.v4, "a record")];
	int owner = rec_owner(&put->rec);

	a->stored_at = sim.now;
	if (put->rec.state == REC_BOUND)
		a->bound_step[owner] = sim.step;
	else
		a->ended_step[owner] = sim.step;
}

/* From its own until, and not beyond what it has asked for since. */
static void
tell(struct sim_addr *a, const struct sim_req *r, uint32_t lifetime)
{
	const struct sim_req *o;
	uint32_t i;

	a->told = r->owner;
	a->told_until = a->stored_at + 1000LL * lifetime;
	a->told_epoch = r->epoch;
	for (i = sim.oldest; i < sim.nreqs; i++) {
		o = &sim.reqs[i];
		if (o->owner == r->owner && o->op == OP_CREATE &&
		    !o->answered && o->asked + 1000LL * lifetime_of(o) <
		    a->told_until)
			a->told_until = o->asked + 1000LL * lifetime_of(o);
	}
}

static void
granted(const struct sim_req *r, const struct msg_lease_reply *m,
    struct sim_addr *a)
{
	int i;

	if (a->bound_step[r->owner] <= r->step)
		broken("%s is answered before it is durable", name(a));
	if (a->told != r->owner && told_now(a))
		broken("%s has two owners: %d was told, and now %d", name(a),
		    a->told, r->owner);
	for (i = 0; i < NADDRS; i++)
		if (&sim.a[i] != a && sim.a[i].told == r->owner &&
		    !a->twin && !sim.a[i].twin &&
		    told_now(&sim.a[i]))
			broken("an owner with two addresses: %s", name(a));
	if (a->host != -1 && a->host_until > sim.now && !a->revived &&
	    a->host != r->owner % NHOSTS && a->state == CTL_BOUND &&
	    a->owner == r->owner)
		broken("%s is forwarded to another node", name(a));
	/* An answer that waited until the lease was over promises nothing. */
	if (a->state != CTL_BOUND || a->owner != r->owner)
		return;
	a->held = 1;
	a->conn = m->conn;
	if (!a->doubt)
		tell(a, r, m->lifetime);
}

static void
answered_ok(const struct sim_req *r, const struct msg_lease_reply *m)
{
	struct sim_addr *a = &sim.a[addr_index(m->v4, "an answer")];
	const struct sim_tep *t = &sim.teps[tep_of((int)(a - sim.a))];
	const struct lease_owner *o = &sim.owners[r->owner];
	uint32_t most;

	if ((r->want != -1 && a != &sim.a[r->want]) ||
	    (r->pool != -1 && a->pool != r->pool))
		broken("%s is the wrong address", name(a));
	if (memcmp(&m->v6, &o->v6, sizeof(o->v6)) != 0 ||
	    m->tep4.s_addr != t->v4.s_addr ||
	    memcmp(&m->tep6, &t->v6, sizeof(t->v6)) != 0)
		broken("%s is answered with wrong addresses", name(a));
	/* A start makes it a second longer, a step of the clock much more. */
	most = r->op == OP_CREATE ? sim.limits.lifetime_max :
	    sim.epoch == 0 ? sim.limits.lifetime_max + 1 : LIFETIME_CEIL;
	if (r->op != OP_DELETE && (m->lifetime == 0 || m->lifetime > most))
		broken("%s is answered with %u s", name(a), m->lifetime);
	if (r->op == OP_CREATE)
		granted(r, m, a);
	else if (r->op == OP_DELETE) {
		if (a->ended_step[r->owner] <= r->step)
			broken("%s: delete is not durable", name(a));
		a->held = 0;
	}
}

void
model_reply(const struct msg_lease_reply *m)
{
	struct sim_req *r;

	if (m->req >= sim.nreqs)
		broken("an answer to no request");
	r = &sim.reqs[m->req];
	if (r->answered)
		broken("request %u is answered twice", m->req);
	if (r->conn.id != m->conn.id || r->conn.gen != m->conn.gen ||
	    r->op != m->op)
		broken("request %u is answered to another", m->req);
	r->answered = 1;
	trace("request %u is answered with %u", m->req, m->status);
	sim.answered++;
	sim.status[m->status % 1000]++;
	while (sim.oldest < sim.nreqs && sim.reqs[sim.oldest].answered)
		sim.oldest++;
	if ((r->may & bit(m->status)) == 0)
		broken("request %u (%u by %d) is answered with %u", m->req,
		    r->op, r->owner, m->status);
	/* Busy: the store failed, or was so slow that nothing remained. */
	if (m->status == STATUS_BUSY && sim.failed_step <= r->step &&
	    sim.now - r->asked < 1000LL * sim.limits.lifetime_min)
		broken("request %u: busy, with what?", m->req);
	if (m->status == STATUS_OK)
		answered_ok(r, m);
}

void
model_node_del(const struct msg_lease_reply *m)
{
	struct sim_addr *a = &sim.a[addr_index(m->v4, "a node's delete")];

	/* Too early an end is seen when it happens: see_told. */
	if (a->ends == 0)
		broken("%s is taken back, but not over", name(a));
	a->ends--;
	a->told = -1;
	a->held = 0;
}

/* The TEP forwards it: to nobody but who was told that it has it. */
void
model_check_entry(int addr)
{
	const struct sim_addr *a = &sim.a[addr];

	if (told_now(a) && a->host != a->told % NHOSTS)
		broken("%s is forwarded to %d, but %d was told", name(a),
		    a->host, a->told);
}

void
model_check_unnamed(int addr)
{
	const struct sim_addr *a = &sim.a[addr];

	/* One that was over, and was renewed since, is named again. */
	if (told_now(a) && a->host == a->told % NHOSTS && !a->doubt &&
	    !a->lossy && a->state == CTL_BOUND &&
	    a->stored_at < sim.teps[tep_of(addr)].since)
		broken("%s is removed, which %d has", name(a), a->told);
}

/*
 * What the engine shows
 */
struct seen {
	uint32_t	 state;
	int		 owner;
	int64_t		 remains;
};

static struct seen	 look[NADDRS];		/* the present one */

static void
see(struct seen *s)
{
	struct in_addr at = { 0 };
	struct lease_info li;
	int i;

	for (i = 0; i < NADDRS; i++)
		s[i] = (struct seen){ 0, -1, 0 };
	while (lease_walk(sim.e, sim.now, at, &li)) {
		i = addr_index(li.v4, "the engine");
		at = li.v4;
		s[i].state = li.state;
		s[i].owner = owner_index(li.owner.mech, li.owner.name,
		    &li.owner.v6);
		s[i].remains = li.remains_ms;
	}
}

/* Somebody gets it, who may have had it last. */
static void
see_reserved(struct sim_addr *a, int owner)
{
	const struct lease_policy *p = &sim.policy[owner / NHOSTS];
	int i;

	if (a->state != 0 && a->state != CTL_QUARANTINE)
		broken("%s goes to %d in state %u", name(a), owner, a->state);
	if (a->dirty)
		broken("%s goes to %d, its TEP may forward it", name(a), owner);
	if (a->last != owner && sim.now < a->free_at && (a->fixed == -1 ||
	    a->owner == -1 || a->owner / NHOSTS != owner / NHOSTS))
		broken("%s goes to %d in its quarantine", name(a), owner);
	if (!allowed(owner, a))
		broken("%s goes to %d against the policy", name(a), owner);
	if (p->max_leases != 0 && live_leases(owner / NHOSTS) >=
	    p->max_leases)
		broken("%s goes to %d over its limit", name(a), owner);
	for (i = 0; i < NADDRS; i++) {
		/* The longest free one, so that others find theirs again. */
		if (a->last != owner && a->fixed == -1 &&
		    sim.a[i].fixed == -1 && sim.a[i].pool == a->pool &&
		    sim.a[i].state == 0 && look[i].state == 0 &&
		    sim.a[i].free_step < a->free_step)
			broken("%s goes to %d, %d is free longer", name(a),
			    owner, i);
		if (&sim.a[i] != a && sim.a[i].last == owner)
			sim.a[i].last = -1;
	}
	a->last = owner;
	a->acked = -1;
	sim.vague[owner] = 0;
}

static void
see_bound(struct sim_addr *a, int owner)
{
	if (a->state != CTL_RESERVED || a->owner != owner)
		broken("%s is bound from state %u", name(a), a->state);
	if (a->acked != owner % NHOSTS)
		broken("%s is bound without its TEP's yes", name(a));
	if (!a->has_rec || a->rec.state != REC_BOUND ||
	    rec_owner(&a->rec) != owner)
		broken("%s is bound, but not durable", name(a));
	sim.granted[a->pool]++;
}

/* Its TEP did not do it: any that its owner may have will do. */
static void
moved(int owner)
{
	struct sim_req *r;
	uint32_t i;

	for (i = sim.oldest; i < sim.nreqs; i++) {
		r = &sim.reqs[i];
		if (r->owner != owner || r->said || r->answered ||
		    r->op != OP_CREATE)
			continue;
		r->want = r->pool = -1;
		r->may |= bit(STATUS_NO_TUNNELS);
	}
}

static void
see_change(struct sim_addr *a, const struct seen *s)
{
	if (a->owner == s->owner && a->state == s->state)
		return;
	trace("%d: state %u of %d to %u of %d", (int)(a - sim.a), a->state,
	    a->owner, s->state, s->owner);
	switch (s->state) {
	case CTL_RESERVED:
		see_reserved(a, s->owner);
		break;
	case CTL_BOUND:
		see_bound(a, s->owner);
		break;
	case CTL_CLOSING:
		if (!is_live(a->state) || a->owner != s->owner)
			broken("%s closes in state %u", name(a), a->state);
		a->stuck = 0;
		a->ends += a->state == CTL_BOUND;
		if (a->state == CTL_RESERVED)
			moved(a->owner);
		break;
	case CTL_QUARANTINE:
		if (a->state != CTL_CLOSING || a->owner != s->owner)
			broken("%s: quarantine from state %u", name(a),
			    a->state);
		if (a->dirty)
			broken("%s: quarantine, its TEP may forward it",
			    name(a));
		break;
	default:
		if (a->state != CTL_QUARANTINE || sim.now < a->free_at)
			broken("%s is free, from state %u, too early", name(a),
			    a->state);
		a->free_step = sim.step;
	}
	if (a->state == CTL_BOUND)
		a->doubt = a->twin = 0;
}

/* What was told is so, in the engine and in the store. */
static void
see_told(const struct sim_addr *a, const struct seen *s)
{
	if (!told_now(a))
		return;
	if (s->state != CTL_BOUND || s->owner != a->told)
		broken("%s: %d was told that it has it until %lld, now %lld; "
		    "it is %d's, state %u", name(a), a->told,
		    (long long)a->told_until, (long long)sim.now, s->owner,
		    s->state);
	if (s->remains < a->told_until - sim.now - SLACK)
		broken("%s ends earlier than was told", name(a));
	if (!a->has_rec || a->rec.state != REC_BOUND ||
	    rec_owner(&a->rec) != a->told)
		broken("%s was told, but is not durable", name(a));
	if (a->told_epoch == sim.epoch && (a->rec.until + 1 - wall()) * 1000 <
	    a->told_until - sim.now - SLACK)
		broken("%s is durable for less than was told", name(a));
}

static void
see_pools(void)
{
	uint32_t n[NPOOLS][8] = { 0 };
	struct lease_pool_stats st;
	int i;

	for (i = 0; i < NADDRS; i++)
		n[sim.a[i].pool][sim.a[i].state]++;
	for (i = 0; i < NPOOLS; i++) {
		lease_pool_stats(sim.e, (uint32_t)i, &st);
		if (st.free != n[i][0] || st.reserved != n[i][CTL_RESERVED] ||
		    st.bound != n[i][CTL_BOUND] ||
		    st.closing != n[i][CTL_CLOSING] ||
		    st.quarantine != n[i][CTL_QUARANTINE] ||
		    st.size != st.free + st.reserved + st.bound + st.closing +
		    st.quarantine || st.granted != sim.granted[i])
			broken("the counts of pool %d are wrong", i);
	}
}

static void
look_at(struct sim_addr *a, const struct seen *s)
{
	see_change(a, s);
	a->state = s->state;
	a->owner = s->owner;
	a->remains = s->remains;
	see_told(a, s);
}

void
model_look(void)
{
	int i, begin;

	see(look);
	/* What ends makes room for what begins in its place. */
	for (begin = 0; begin < 2; begin++)
		for (i = 0; i < NADDRS; i++)
			if ((look[i].state == CTL_RESERVED) == begin)
				look_at(&sim.a[i], &look[i]);
	see_pools();
	if (sim.step % 16 == 0)
		lease_check(sim.e);
}

/*
 * After a start
 */
static void
loaded(struct sim_addr *a, const struct seen *s)
{
	int remote = tep_of((int)(a - sim.a)) != 0;
	int64_t left = a->rec.until - wall() + 1;

	a->last = rec_owner(&a->rec);
	if (left > LIFETIME_CEIL)
		left = LIFETIME_CEIL;
	a->dirty = remote && a->rec.state != REC_CLOSED;
	if (a->rec.state == REC_BOUND && left > 0) {
		a->dirty |= s->state == CTL_BOUND;
		if (s->state != CTL_BOUND)
			broken("%s is not back", name(a));
	} else if (s->state == CTL_BOUND)
		broken("%s is back, without a record", name(a));
	/*
	 * It was over, and that was not durable yet, nor was its next owner's
	 * lease, who has no answer: it is live again (a clock that stepped
	 * back, a TEP that had refused it). Until the TEP is told, it forwards
	 * to who was to be the next.
	 */
	a->revived = s->state == CTL_BOUND &&
	    (a->revived || a->owner != s->owner);
	a->free_at = a->dirty ? 0 : sim.now +
	    1000LL * (left + sim.limits.quarantine);
	if (a->told != -1 && a->told_epoch != sim.epoch &&
	    sim.now + 1000 * left < a->told_until)
		a->told_until = sim.now + 1000 * left;
}

void
model_loaded(void)
{
	struct seen seen[NADDRS];
	struct sim_addr *a;
	int i, n[NOWNERS] = { 0 };

	see(seen);
	memset(sim.granted, 0, sizeof(sim.granted));
	for (i = 0; i < NADDRS; i++)
		if (sim.a[i].has_rec)
			n[rec_owner(&sim.a[i].rec)]++;
	for (i = 0; i < NOWNERS; i++)
		sim.vague[i] = n[i] > 1;
	for (i = 0; i < NADDRS; i++) {
		a = &sim.a[i];
		if (a->doubt)
			a->told = -1;
		a->last = a->acked = -1;
		a->dirty = a->doubt = a->stuck = 0;
		a->ends = 0;
		a->confirmed = a->closed = 0;
		a->free_at = a->free_step = 0;
		a->conn = (struct conn_ref){ 0, 0 };
		if (a->has_rec)
			loaded(a, &seen[i]);
		else if (seen[i].state != 0)
			broken("%s comes from nowhere", name(a));
		a->state = seen[i].state;
		a->owner = seen[i].owner;
		a->remains = seen[i].remains;
		a->held = a->state == CTL_BOUND;
		a->twin = a->held && sim.vague[a->owner];
	}
}

/*
 * When nothing is under way
 */
static void
still_addr(struct sim_addr *a)
{
	int host = a->host_until > sim.now ? a->host : -1;

	if (a->state == CTL_RESERVED || a->state == CTL_CLOSING)
		broken("%s stays in state %u", name(a), a->state);
	if (a->held != (a->state == CTL_BOUND))
		broken("%s: %s", name(a), a->held ?
		    "it is over, and nobody was told" :
		    "it is bound, and nobody knows");
	if (a->state != CTL_BOUND) {
		if (host != -1)
			broken("%s is forwarded, without a lease", name(a));
		return;
	}
	a->doubt = 0;
}

void
model_forwards(void)
{
	struct sim_addr *a;
	int i;

	for (i = 0; i < NADDRS; i++) {
		a = &sim.a[i];
		if (a->state == CTL_BOUND && !a->lossy &&
		    sim.teps[tep_of(i)].up && (a->host_until <= sim.now ||
		    a->host != a->owner % NHOSTS))
			broken("%s is not forwarded to its owner", name(a));
	}
}

void
model_still(void)
{
	uint32_t conns[NCONNS] = { 0 }, i;
	struct conn_ref c;

	for (i = sim.oldest; i < sim.nreqs; i++)
		if (!sim.reqs[i].answered)
			broken("request %u (%u by %d) is never answered", i,
			    sim.reqs[i].op, sim.reqs[i].owner);
	for (i = 0; i < NADDRS; i++) {
		still_addr(&sim.a[i]);
		if (sim.a[i].held && sim.a[i].conn.gen != 0 &&
		    sim.a[i].conn.gen == sim.gens[sim.a[i].conn.id])
			conns[sim.a[i].conn.id]++;
	}
	for (i = 0; i < NCONNS; i++) {
		c = (struct conn_ref){ i, sim.gens[i] };
		if (lease_conn_count(sim.e, c) != conns[i])
			broken("connection %u has %u leases, not %u", i,
			    conns[i], lease_conn_count(sim.e, c));
	}
}
