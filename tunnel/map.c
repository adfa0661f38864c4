/*
 * Inner IPv4 to outer IPv6: open addressing with linear probing, grown at
 * three quarters. Entries are deleted by moving their followers back, so
 * that there are no graves and a probe ends at the first empty slot.
 */
#include <sys/types.h>

#include <stdlib.h>
#include <string.h>

#include "tunnel/tunnel.h"

#define SLOTS_MIN	64

struct tunnel_map {
	struct tunnel_entry	*slots;	/* v4 0.0.0.0: empty */
	uint32_t		 nslots, count, seed;
};

static uint32_t
home(const struct tunnel_map *m, struct in_addr v4)
{
	uint32_t h = v4.s_addr ^ m->seed;

	/* Pools are runs of addresses: every bit must reach the lowest. */
	h = (h ^ h >> 16) * 0x85ebca6bU;
	h = (h ^ h >> 13) * 0xc2b2ae35U;
	return ((h ^ h >> 16) & (m->nslots - 1));
}

/* The slot of v4, or the empty one where it would be. */
static uint32_t
probe(const struct tunnel_map *m, struct in_addr v4)
{
	uint32_t i = home(m, v4);

	while (m->slots[i].v4.s_addr != 0 &&
	    m->slots[i].v4.s_addr != v4.s_addr)
		i = (i + 1) & (m->nslots - 1);
	return (i);
}

static void
grow(struct tunnel_map *m, uint32_t nslots)
{
	struct tunnel_entry *old = m->slots;
	uint32_t i, n = m->nslots;

	if ((m->slots = calloc(nslots, sizeof(*m->slots))) == NULL)
		fatal(NULL);
	m->nslots = nslots;
	for (i = 0; i < n; i++)
		if (old[i].v4.s_addr != 0)
			m->slots[probe(m, old[i].v4)] = old[i];
	free(old);
}

struct tunnel_map *
tunnel_map_new(void)
{
	struct tunnel_map *m;

	if ((m = calloc(1, sizeof(*m))) == NULL)
		fatal(NULL);
	m->seed = arc4random();
	grow(m, SLOTS_MIN);
	return (m);
}

void
tunnel_map_free(struct tunnel_map *m)
{
	if (m == NULL)
		return;
	free(m->slots);
	free(m);
}

struct tunnel_entry *
tunnel_map_find(struct tunnel_map *m, struct in_addr v4)
{
	struct tunnel_entry *e;

	if (v4.s_addr == 0)
		return (NULL);
	e = &m->slots[probe(m, v4)];
	return (e->v4.s_addr != 0 ? e : NULL);
}

void
tunnel_map_add(struct tunnel_map *m, struct in_addr v4,
    const struct in6_addr *v6, int64_t until)
{
	struct tunnel_entry *e;

	if (v4.s_addr == 0)
		return;
	if (m->count >= m->nslots / 4 * 3)
		grow(m, m->nslots * 2);
	e = &m->slots[probe(m, v4)];
	if (e->v4.s_addr == 0)
		m->count++;
	else if (IN6_ARE_ADDR_EQUAL(&e->v6, v6)) {
		e->until = until;
		return;
	}
	memset(e, 0, sizeof(*e));
	e->v4 = v4;
	e->v6 = *v6;
	e->until = until;
}

int
tunnel_map_del(struct tunnel_map *m, struct in_addr v4)
{
	uint32_t hole, i, want, mask = m->nslots - 1;

	if (v4.s_addr == 0)
		return (-1);
	hole = probe(m, v4);
	if (m->slots[hole].v4.s_addr == 0)
		return (-1);
	m->count--;
	for (i = (hole + 1) & mask; m->slots[i].v4.s_addr != 0;
	    i = (i + 1) & mask) {
		want = home(m, m->slots[i].v4);
		/* It may move to the hole unless its home lies behind it. */
		if (((i - want) & mask) >= ((i - hole) & mask)) {
			m->slots[hole] = m->slots[i];
			hole = i;
		}
	}
	memset(&m->slots[hole], 0, sizeof(m->slots[hole]));
	return (0);
}

uint32_t
tunnel_map_count(const struct tunnel_map *m)
{
	return (m->count);
}

uint32_t
tunnel_map_page(const struct tunnel_map *m, uint32_t slot,
    struct tunnel_entry *out, uint32_t max, uint32_t *n)
{
	for (*n = 0; slot < m->nslots && *n < max; slot++)
		if (m->slots[slot].v4.s_addr != 0)
			out[(*n)++] = m->slots[slot];
	return (slot < m->nslots ? slot : 0);
}
