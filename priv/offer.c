/*
 * Unsolicited allocation (draft 2): the operator gives a node a lease that it
 * has not asked for. The lease is made as any other, then offered: on the
 * connection that the node keeps, or in a call. A node takes it as it renews
 * one, by a create that names the address, and so proves who it is on a way
 * of its own choice; what is not taken in time is released.
 */
#include <sys/types.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dstmd/tsp.h"
#include "priv/priv.h"

#define OFFER_MAX	32		/* at one time */
#define PATIENCE_MAX	25000		/* ms: dstmctl's is longer */

enum offer_state { OFFER_FREE, OFFER_ASKED, OFFER_MADE };

struct offer {
	enum offer_state	 state;
	uint32_t		 req;		/* of our ask: never again */
	struct lease_owner	 owner;
	struct conn_ref		 conn;		/* gen 0: by a call */
	struct in_addr		 v4;		/* OFFER_MADE */
	struct event		*timer;
	offer_cb		 done;
	void			*arg;
};

static struct offer	 offers[OFFER_MAX];
static uint32_t		 noffers, last_req;

/*
 * Who is meant
 */

/* The one connection of that user or from that address. NULL, or why not. */
static const char *
find_conn(struct lease_owner *o, struct conn_ref *ref)
{
	const struct pconn *c;
	uint32_t id;

	for (id = 0; (c = conn_next(id)) != NULL; id++) {
		id = c->ref.id;
		if (c->user == NULL || !c->authenticated)
			continue;
		if (o->name[0] != '\0' ? strcmp(c->name, o->name) != 0 ||
		    c->mech == MECH_ANONYMOUS :
		    !IN6_ARE_ADDR_EQUAL(&c->peer, &o->v6))
			continue;
		/* Of one node the latest: an earlier one may be dead. */
		if (ref->gen != 0 && (strcmp(c->name, conn_find(*ref)->name) !=
		    0 || !IN6_ARE_ADDR_EQUAL(&c->peer,
		    &conn_find(*ref)->peer)))
			return ("several nodes are connected that this may "
			    "mean");
		if (ref->gen == 0 || c->since_ms >= conn_find(*ref)->since_ms)
			*ref = c->ref;
	}
	return (NULL);
}

static const char *
find_owner(struct lease_owner *o, struct conn_ref *ref)
{
	const struct pconn *c;
	const char *why;

	if ((why = find_conn(o, ref)) != NULL)
		return (why);
	if ((c = conn_find(*ref)) != NULL) {
		o->mech = lease_identity(c->mech);
		strlcpy(o->name, c->name, sizeof(o->name));
		o->v6 = c->peer;
		return (NULL);
	}
	if (o->name[0] != '\0' && conf_user(priv.conf, o->mech, o->name) ==
	    NULL)
		return ("there is no such user");
	if (lease_last(server_engine(), o) == -1)
		return ("that node is not connected, and it never had a lease "
		    "by which its address and user were known");
	if (!call_may(o))
		return ("that node is not connected, and nodes of its user "
		    "are not called");
	return (NULL);
}

/*
 * The end of an offer
 */
static void
offer_end(struct offer *o, const char *error)
{
	char text[128];

	event_free(o->timer);
	o->timer = NULL;
	snprintf(text, sizeof(text), "%s: %s at %s", log_in(o->v4),
	    o->owner.name, log_in6(&o->owner.v6));
	if (error == NULL)
		log_info("%s took what was offered", text);
	else
		log_info("%s at %s has no lease by our offer: %s",
		    o->owner.name, log_in6(&o->owner.v6), error);
	if (error != NULL && o->state == OFFER_MADE)
		(void)lease_revoke(server_engine(), now_ms(), now_wall(),
		    o->v4);
	o->state = OFFER_FREE;
	noffers--;
	o->done(o->arg, error == NULL, error == NULL ? text : error);
	server_pump();
}

static void
offer_timeout(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	offer_end(arg, "the node did not answer in time");
}

/* The offer that an ask was for; NULL: nobody waits for it any more. */
static struct offer *
offer_asked(uint32_t req)
{
	uint32_t i;

	for (i = 0; i < OFFER_MAX; i++)
		if (offers[i].state == OFFER_ASKED && offers[i].req == req)
			return (&offers[i]);
	return (NULL);
}

/* The offer of an address; NULL: none. */
static struct offer *
offer_find(struct in_addr v4)
{
	uint32_t i;

	for (i = 0; noffers > 0 && i < OFFER_MAX; i++)
		if (offers[i].state == OFFER_MADE &&
		    offers[i].v4.s_addr == v4.s_addr)
			return (&offers[i]);
	return (NULL);
}

void
offer_answered(struct in_addr v4, uint32_t status)
{
	struct offer *o = offer_find(v4);

	if (o == NULL || status == STATUS_OK)	/* then its create comes */
		return;
	offer_end(o, status == STATUS_BUSY ? "the node could not be reached" :
	    "the node does not take it");
}

void
offer_seen(const struct lease_owner *owner, const struct msg_lease_request *req)
{
	struct offer *o;

	if (!req->has_v4 || (o = offer_find(req->v4)) == NULL ||
	    o->owner.mech != owner->mech ||
	    strcmp(o->owner.name, owner->name) != 0 ||
	    !IN6_ARE_ADDR_EQUAL(&o->owner.v6, &owner->v6))
		return;
	if (req->op == OP_CREATE)
		offer_end(o, NULL);
	else if (req->op == OP_DELETE) {
		o->state = OFFER_ASKED;		/* it is released already */
		offer_end(o, "the node does not take it");
	}
}

void
offer_conn_gone(struct conn_ref ref)
{
	uint32_t i;

	for (i = 0; noffers > 0 && i < OFFER_MAX; i++)
		if (offers[i].state != OFFER_FREE && ref.gen != 0 &&
		    offers[i].conn.gen == ref.gen &&
		    offers[i].conn.id == ref.id)
			offer_end(&offers[i], "the node has gone");
}

/*
 * Its way
 */
static const char *
refusal(uint32_t status)
{
	switch (status) {
	case STATUS_NO_TUNNELS:
		return ("its user has as many leases as he may have");
	case STATUS_EXHAUSTED:
		return ("no address is free for it");
	case STATUS_TEP:
		return ("the TEP is down, or refuses");
	case STATUS_PROGRESS:
		return ("the node has just asked for a lease itself");
	default:
		return ("the lease could not be written");
	}
}

void
offer_reply(const struct msg_lease_reply *r)
{
	struct offer *o = offer_asked(r->req);
	struct msg_lease_reply body = *r;

	if (o == NULL) {
		if (r->status == STATUS_OK)
			(void)lease_revoke(server_engine(), now_ms(),
			    now_wall(), r->v4);
		return;
	}
	if (r->status != STATUS_OK) {
		offer_end(o, refusal(r->status));
		return;
	}
	o->state = OFFER_MADE;
	o->v4 = r->v4;
	log_info("%s is offered to %s at %s", log_in(r->v4), o->owner.name,
	    log_in6(&o->owner.v6));
	body.conn = o->conn;
	body.req = 0;
	if (o->conn.gen == 0)
		call_node(&o->owner, &body);
	else
		msg_put(child_link(PROC_SESSION), MSG_LEASE_OFFER, &body,
		    sizeof(body));
}

static void
offer_start(struct offer *o)
{
	const struct conf_user *u;
	struct lease_policy policy;
	struct lease_ask ask;
	int64_t patience = (int64_t)priv.conf->request_timeout * 2000;

	if ((o->timer = evtimer_new(priv.base, offer_timeout, o)) == NULL)
		fatalx("evtimer_new");
	timer_set(o->timer, patience < PATIENCE_MAX ? patience : PATIENCE_MAX);
	u = conf_user(priv.conf, o->owner.mech, o->owner.name);
	conf_policy(priv.conf, o->owner.mech, u, &o->owner.v6, &policy);
	memset(&ask, 0, sizeof(ask));
	ask.conn.id = CONN_MAX;
	ask.conn.gen = 1;
	ask.req = o->req = ++last_req;
	ask.op = OP_CREATE;
	ask.owner = o->owner;
	ask.policy = &policy;
	lease_request(server_engine(), now_ms(), now_wall(), &ask);
	server_pump();
}

const char *
offer_make(const char *name, const struct in6_addr *v6, offer_cb done,
    void *arg)
{
	struct lease_owner owner;
	struct lease_policy policy;
	struct conn_ref conn = { 0, 0 };
	const struct conf_user *u;
	const char *why;
	uint32_t i;

	memset(&owner, 0, sizeof(owner));
	owner.mech = MECH_SCRAM_SHA_256;
	strlcpy(owner.name, name, sizeof(owner.name));
	owner.v6 = *v6;
	if ((why = find_owner(&owner, &conn)) != NULL)
		return (why);
	if ((u = conf_user(priv.conf, owner.mech, owner.name)) == NULL)
		return ("its user has no place in the configuration");
	conf_policy(priv.conf, owner.mech, u, &owner.v6, &policy);
	if (policy.npools + policy.nfixed == 0)
		return ("no pool of its user is for that node");
	if (lease_is_held(server_engine(), &owner))
		return ("that node has a lease already");
	if (server_draining() != DRAIN_OFF)
		return ("this server is being drained");
	for (i = 0; i < OFFER_MAX && offers[i].state != OFFER_FREE; i++)
		;
	if (i == OFFER_MAX)
		return ("too many offers are under way");
	noffers++;
	offers[i].state = OFFER_ASKED;
	offers[i].owner = owner;
	offers[i].conn = conn;
	offers[i].v4.s_addr = 0;
	offers[i].done = done;
	offers[i].arg = arg;
	offer_start(&offers[i]);
	return (NULL);
}
