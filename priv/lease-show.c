/*
 * The lease engine looked at: for dstmctl, and for tests.
 */
#include <string.h>

#include "priv/lease-int.h"

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

int
lease_last(const struct lease_engine *e, struct lease_owner *o)
{
	struct lease *l, *last = NULL;

	RB_FOREACH(l, lease_tree, (struct lease_tree *)(uintptr_t)&e->tree) {
		if (l->user == NULL || !l->known ||
		    (last != NULL && l->since < last->since))
			continue;
		if (o->name[0] != '\0' ? owner_same_user(l, o) :
		    IN6_ARE_ADDR_EQUAL(&l->v6, &o->v6))
			last = l;
	}
	if (last == NULL)
		return (-1);
	o->mech = last->user->mech;
	strlcpy(o->name, last->user->name, sizeof(o->name));
	o->v6 = last->v6;
	return (0);
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
		check(l->state == BINDING ? l->writes == 1 :
		    l->state == BOUND || l->writes == 0, "writes", l);
		if (!l->known)
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
