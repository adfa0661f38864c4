/*
 * The addresses of the pools, for the lease engine: the ranges, and the next
 * one to lease in O(1). An address costs memory from its first use on.
 */
#include <string.h>

#include "priv/lease-int.h"

static int
addr_cmp(const struct lease *a, const struct lease *b)
{
	return (a->addr < b->addr ? -1 : a->addr > b->addr);
}

RB_GENERATE(lease_tree, lease, by_addr, addr_cmp)

void
lease_engine_add_pool(struct lease_engine *e, uint32_t pool, uint32_t tep,
    uint32_t weight)
{
	e->pools[pool].used = 1;
	e->pools[pool].tep = tep;
	e->pools[pool].weight = weight;
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

/* A binary search. */
const struct range *
pool_range(const struct lease_engine *e, uint32_t addr)
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

struct lease *
pool_lease(const struct lease_engine *e, uint32_t addr)
{
	struct lease key;

	key.addr = addr;
	return (RB_FIND(lease_tree, (struct lease_tree *)(uintptr_t)&e->tree,
	    &key));
}

void
pool_put(struct lease_engine *e, struct lease *l)
{
	struct pool *p = &e->pools[l->pool];

	if (l->fixed)
		p->nfixed_free++;
	else
		TAILQ_INSERT_TAIL(&p->free, l, free);
}

void
pool_out(struct lease_engine *e, struct lease *l)
{
	struct pool *p = &e->pools[l->pool];

	if (l->fixed)
		p->nfixed_free--;
	else
		TAILQ_REMOVE(&p->free, l, free);
}

int
lease_engine_fix(struct lease_engine *e, struct in_addr v4)
{
	uint32_t addr = ntohl(v4.s_addr);
	const struct range *r = pool_range(e, addr);
	struct lease *l;

	if (r == NULL || pool_lease(e, addr) != NULL)
		return (-1);
	l = pool_touch(e, addr, r->pool);
	pool_out(e, l);
	l->fixed = 1;
	pool_put(e, l);
	return (0);
}

struct lease *
pool_touch(struct lease_engine *e, uint32_t addr, uint32_t pool)
{
	struct pool *p = &e->pools[pool];
	struct lease *l = lease_calloc(1, sizeof(*l));

	l->addr = addr;
	l->pool = (uint8_t)pool;
	l->deadline = -1;
	l->state = FREE;
	p->touched++;
	p->counts[FREE]++;
	pool_put(e, l);
	RB_INSERT(lease_tree, &e->tree, l);
	return (l);
}

int
pool_has(const struct lease_engine *e, uint32_t pool)
{
	const struct pool *p = &e->pools[pool];

	return (p->counts[FREE] > p->nfixed_free || p->touched < p->size);
}

/*
 * Weights share by credit: each candidate earns its weight, the richest one
 * serves and pays what all of them earned.
 */
int
pool_next(struct lease_engine *e, const struct lease_policy *policy,
    uint64_t tried, int *down)
{
	struct pool *p, *best = NULL;
	int64_t earned = 0;
	uint32_t i;
	int first = -1;

	*down = 0;
	for (i = 0; i < policy->npools; i++) {
		p = &e->pools[policy->pools[i]];
		if (!pool_has(e, policy->pools[i]))
			continue;
		if (!e->teps[p->tep].up || (tried & 1ULL << p->tep)) {
			*down = 1;
			continue;
		}
		if (first == -1)
			first = policy->pools[i];
		p->credit += p->weight;
		earned += p->weight;
		if (p->weight > 0 && (best == NULL ||
		    p->credit > best->credit))
			best = p;
	}
	if (best == NULL)
		return (first);
	best->credit -= earned;
	return ((int)(best - e->pools));
}

/*
 * Never used ones first, so that sticky addresses live long; the load may
 * have touched some of those out of turn.
 */
struct lease *
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
		if (pool_lease(e, addr) == NULL)
			return (pool_touch(e, addr, pool));
	}
	return (TAILQ_FIRST(&p->free));
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

int
lease_in_pools(const struct lease_engine *e, struct in_addr v4)
{
	return (pool_range(e, ntohl(v4.s_addr)) != NULL);
}
