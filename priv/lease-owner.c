/*
 * Who has what, for the lease engine: the users, and the leases by owner.
 * Two hashes that grow together.
 */
#include <stdlib.h>
#include <string.h>

#include "priv/lease-int.h"

#define HASH_MIN	64

static uint64_t
mix(uint64_t h, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len-- > 0)
		h = (h ^ *p++) * 0x100000001b3ULL;
	return (h ^ h >> 29);
}

void
owner_rehash(struct lease_engine *e)
{
	uint32_t i, n = e->nbuckets != 0 ? e->nbuckets * 2 : HASH_MIN;
	struct user_list *users = lease_calloc(n, sizeof(*users));
	struct lease_list *owners = lease_calloc(n, sizeof(*owners));
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

struct user *
owner_user(struct lease_engine *e, const struct lease_owner *o, int make)
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
	u = lease_calloc(1, sizeof(*u));
	u->key = key;
	u->mech = o->mech;
	strlcpy(u->name, o->name, sizeof(u->name));
	LIST_INSERT_HEAD(&e->users[key & (e->nbuckets - 1)], u, hash);
	return (u);
}

struct lease *
owner_find(struct lease_engine *e, const struct lease_owner *o)
{
	struct user *u;
	struct lease *l;
	uint64_t key;

	if ((u = owner_user(e, o, 0)) == NULL)
		return (NULL);
	key = mix(u->key, &o->v6, sizeof(o->v6));
	LIST_FOREACH(l, &e->owners[key & (e->nbuckets - 1)], hash)
		if (l->key == key && l->user == u &&
		    IN6_ARE_ADDR_EQUAL(&l->v6, &o->v6))
			return (l);
	return (NULL);
}

void
owner_forget(struct lease_engine *e, struct lease *l)
{
	if (!l->known)
		return;
	LIST_REMOVE(l, hash);
	e->nowners--;
	l->known = 0;
}

void
owner_clear(struct lease_engine *e, struct lease *l)
{
	struct user *u = l->user;

	if (u == NULL)
		return;
	owner_forget(e, l);
	l->user = NULL;
	if (--u->refs == 0) {
		LIST_REMOVE(u, hash);
		free(u);
	}
}

void
owner_set(struct lease_engine *e, struct lease *l, const struct lease_owner *o)
{
	if (e->nowners >= e->nbuckets)
		owner_rehash(e);
	owner_clear(e, l);
	l->user = owner_user(e, o, 1);
	l->user->refs++;
	l->v6 = o->v6;
	l->key = mix(l->user->key, &l->v6, sizeof(l->v6));
	LIST_INSERT_HEAD(&e->owners[l->key & (e->nbuckets - 1)], l, hash);
	e->nowners++;
	l->known = 1;
}

int
owner_same_user(const struct lease *l, const struct lease_owner *o)
{
	return (l->user != NULL && l->user->mech == o->mech &&
	    strcmp(l->user->name, o->name) == 0);
}

int
owner_is(const struct lease *l, const struct lease_owner *o)
{
	return (l->known && owner_same_user(l, o) &&
	    IN6_ARE_ADDR_EQUAL(&l->v6, &o->v6));
}

int
lease_is_held(struct lease_engine *e, const struct lease_owner *o)
{
	const struct lease *l = owner_find(e, o);

	return (l != NULL && lease_is_live(l->state));
}
