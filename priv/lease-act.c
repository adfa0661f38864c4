/*
 * What the events of the lease engine (lease.c) have in common: the state and
 * the timer of a lease, and the actions that the caller takes out.
 */
#include <stdlib.h>
#include <string.h>

#include "dstmd/tsp.h"
#include "priv/lease-int.h"

static int
time_cmp(const struct lease *a, const struct lease *b)
{
	if (a->deadline != b->deadline)
		return (a->deadline < b->deadline ? -1 : 1);
	return (a->addr < b->addr ? -1 : a->addr > b->addr);
}

RB_GENERATE(lease_timers, lease, by_time, time_cmp)

void *
lease_calloc(size_t n, size_t size)
{
	void *p;

	if ((p = calloc(n, size)) == NULL)
		fatal(NULL);
	return (p);
}

struct lease_engine *
lease_engine_new(const struct lease_limits *limits)
{
	struct lease_engine *e = lease_calloc(1, sizeof(*e));
	int i;

	e->limits = *limits;
	arc4random_buf(&e->seed, sizeof(e->seed));
	RB_INIT(&e->tree);
	RB_INIT(&e->timers);
	TAILQ_INIT(&e->pending);
	for (i = 0; i < LD_NDEST; i++)
		TAILQ_INIT(&e->work[i]);
	owner_rehash(e);
	return (e);
}

void
lease_engine_free(struct lease_engine *e)
{
	struct pending *p;
	struct lease *l;
	struct work *w;
	int i;

	for (i = 0; i < LD_NDEST; i++)
		while ((w = TAILQ_FIRST(&e->work[i])) != NULL) {
			TAILQ_REMOVE(&e->work[i], w, entry);
			free(w);
		}
	while ((p = TAILQ_FIRST(&e->pending)) != NULL) {
		TAILQ_REMOVE(&e->pending, p, entry);
		free(p);
	}
	while ((l = RB_ROOT(&e->tree)) != NULL) {
		RB_REMOVE(lease_tree, &e->tree, l);
		owner_clear(e, l);
		free(l->attempt);
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

/*
 * States and timers
 */
int
lease_is_live(int state)
{
	return (state == RESERVED || state == BINDING || state == BOUND);
}

void
lease_set_timer(struct lease_engine *e, struct lease *l, int64_t deadline)
{
	if (l->deadline != -1)
		RB_REMOVE(lease_timers, &e->timers, l);
	l->deadline = deadline;
	if (deadline != -1)
		RB_INSERT(lease_timers, &e->timers, l);
}

int64_t
lease_deadline(const struct lease_engine *e)
{
	struct lease *l = RB_MIN(lease_timers,
	    (struct lease_timers *)(uintptr_t)&e->timers);

	return (l != NULL ? l->deadline : -1);
}

void
lease_count_conn(struct lease_engine *e, struct conn_ref c, int add)
{
	if (c.gen == 0 || c.id >= CONN_MAX)
		return;
	if (add) {
		/* The slot's next connection may be there already. */
		if ((int32_t)(c.gen - e->conns[c.id].gen) < 0)
			return;
		if (e->conns[c.id].gen != c.gen)
			e->conns[c.id].count = 0;
		e->conns[c.id].gen = c.gen;
		e->conns[c.id].count++;
	} else if (e->conns[c.id].gen == c.gen && e->conns[c.id].count > 0)
		e->conns[c.id].count--;
}

uint32_t
lease_conn_count(const struct lease_engine *e, struct conn_ref c)
{
	return (c.id < CONN_MAX && e->conns[c.id].gen == c.gen ?
	    e->conns[c.id].count : 0);
}

void
lease_set_state(struct lease_engine *e, struct lease *l, int state)
{
	struct pool *p = &e->pools[l->pool];

	if (l->user != NULL)
		l->user->live += (uint32_t)(lease_is_live(state) -
		    lease_is_live(l->state));
	if (l->state == RESERVED) {
		free(l->attempt);
		l->attempt = NULL;
	}
	if (l->state == BOUND && state != BOUND)
		lease_count_conn(e, l->conn, 0);
	if (l->state == FREE)
		pool_out(e, l);
	if (state == FREE)
		pool_put(e, l);
	p->counts[l->state]--;
	p->counts[state]++;
	l->state = (uint8_t)state;
}

/*
 * Actions
 */
static struct work *
work_add(struct lease_engine *e, enum lease_dest dest,
    enum lease_action_type type)
{
	struct work *w = lease_calloc(1, sizeof(*w));

	w->type = type;
	TAILQ_INSERT_TAIL(&e->work[dest], w, entry);
	return (w);
}

static struct work *
work_tep(struct lease_engine *e, uint32_t tep, enum lease_action_type type)
{
	struct work *w = work_add(e, e->teps[tep].local ? LD_PLANE :
	    LD_SESSION, type);

	w->tep = tep;
	return (w);
}

int
lease_action(struct lease_engine *e, enum lease_dest dest,
    struct lease_action *a)
{
	struct work *w;

	if ((w = TAILQ_FIRST(&e->work[dest])) == NULL)
		return (0);
	TAILQ_REMOVE(&e->work[dest], w, entry);
	memset(a, 0, sizeof(*a));
	a->type = w->type;
	a->reply = w->reply;
	a->job = w->job;
	a->lifetime = w->reply.lifetime;
	a->v4 = w->reply.v4;
	a->v6 = w->reply.v6;
	a->tep = w->tep;
	a->owner = w->owner;
	if (w->pending != NULL) {
		w->pending->taken = 1;
		a->seq = w->pending->seq;
		a->rec = w->pending->rec;
	}
	free(w);
	return (1);
}

static void
fill_reply(struct msg_lease_reply *r, const struct lease *l)
{
	r->v4.s_addr = htonl(l->addr);
	r->v6 = l->v6;
	r->tep4 = l->tep4;
	r->tep6 = l->tep6;
}

void
lease_reply(struct lease_engine *e, const struct waiter *w, uint32_t status,
    const struct lease *l, uint32_t lifetime)
{
	struct msg_lease_reply *r;

	if (w->conn.gen == 0)
		return;
	r = &work_add(e, LD_SESSION, LA_REPLY)->reply;
	r->conn = w->conn;
	r->req = w->req;
	r->op = w->op;
	r->status = status;
	if (l != NULL && status == STATUS_OK) {
		fill_reply(r, l);
		r->lifetime = lifetime;
	}
}

void
lease_answer(struct lease_engine *e, struct lease *l, uint32_t status)
{
	lease_reply(e, &l->waiter, status, l, 0);
	l->waiter.conn.gen = 0;
}

void
lease_set_waiter(struct lease_engine *e, struct lease *l,
    const struct lease_ask *ask)
{
	lease_answer(e, l, STATUS_PROGRESS);
	l->waiter.conn = ask->conn;
	l->waiter.req = ask->req;
	l->waiter.op = ask->op;
}

uint32_t
lease_seconds(int64_t now, int64_t until)
{
	return (until <= now ? 0 : (uint32_t)((until - now + SEC - 1) / SEC));
}

void
lease_tell_tep(struct lease_engine *e, struct lease *l,
    enum lease_action_type type, uint32_t lifetime)
{
	struct work *w;

	l->gen++;
	if (!e->teps[e->pools[l->pool].tep].up)
		return;		/* lease_tep_up says it again */
	w = work_tep(e, e->pools[l->pool].tep, type);
	w->job = (uint64_t)l->gen << 32 | l->addr;
	w->reply.lifetime = lifetime;
	fill_reply(&w->reply, l);
}

/*
 * One that was not said yet belongs to a connection that is no more: said on
 * the next one, before the leases, it would undo those that live.
 */
void
lease_unsync_tep(struct lease_engine *e, uint32_t tep)
{
	struct work_queue *q = &e->work[LD_SESSION];
	struct work *w, *next;

	for (w = TAILQ_FIRST(q); w != NULL; w = next) {
		next = TAILQ_NEXT(w, entry);
		if (w->type != LA_TEP_SYNC || w->tep != tep)
			continue;
		TAILQ_REMOVE(q, w, entry);
		free(w);
	}
}

void
lease_sync_tep(struct lease_engine *e, uint32_t tep)
{
	if (!e->teps[tep].local)
		(void)work_tep(e, tep, LA_TEP_SYNC);
}

void
lease_write(struct lease_engine *e, struct lease *l, enum kind kind,
    int64_t now, int64_t wall, uint32_t lifetime)
{
	const struct tep *tep = &e->teps[e->pools[l->pool].tep];
	struct pending *p = lease_calloc(1, sizeof(*p));

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
	/* The TEP's entry may live so long, whatever happens to us. */
	if (p->rec.state == REC_ENDED)
		p->rec.until = wall + lease_seconds(now, l->until);
	p->rec.tep4 = l->tep4;
	p->rec.tep6 = l->tep6;
	strlcpy(p->rec.name, l->user->name, sizeof(p->rec.name));
	strlcpy(p->rec.tep, tep->name, sizeof(p->rec.tep));
	if (kind == K_CLOSED)
		l->closes++;
	else {
		l->writes++;
		p->waiter = l->waiter;
		l->waiter.conn.gen = 0;
	}
	TAILQ_INSERT_TAIL(&e->pending, p, entry);
	work_add(e, LD_STORE, LA_STORE)->pending = p;
}

void
lease_store_reset(struct lease_engine *e)
{
	struct pending *p;
	struct work *w;

	while ((w = TAILQ_FIRST(&e->work[LD_STORE])) != NULL) {
		TAILQ_REMOVE(&e->work[LD_STORE], w, entry);
		free(w);
	}
	TAILQ_FOREACH(p, &e->pending, entry) {
		p->taken = 0;
		work_add(e, LD_STORE, LA_STORE)->pending = p;
	}
}

void
lease_tell_node(struct lease_engine *e, struct lease *l)
{
	struct work *w = work_add(e, LD_SESSION, LA_NODE_DEL);

	fill_reply(&w->reply, l);
	w->reply.conn = l->conn;
	w->owner.mech = l->user->mech;
	strlcpy(w->owner.name, l->user->name, sizeof(w->owner.name));
	w->owner.v6 = l->v6;
}

void
lease_close(struct lease_engine *e, struct lease *l)
{
	lease_set_timer(e, l, -1);
	lease_set_state(e, l, CLOSING);
	l->releasing = l->revoked = l->refused = 0;
	lease_tell_tep(e, l, LA_TEP_DEL, 0);
}
