/*
 * Calls: what a server has to say to a node that has no connection to it, on
 * one that it opens (draft 2.3, 4.3 and 7). Only the nodes of users that are
 * configured so are called. Nobody waits for them: a delete that does not
 * arrive is tried again a few times and forgotten, as the lease is over
 * anyway. session opens the connections, to whom is decided here.
 */
#include <sys/types.h>
#include <sys/queue.h>

#include <stdlib.h>
#include <string.h>

#include "dstmd/tsp.h"
#include "priv/priv.h"

#define WAITING_MAX	16384	/* calls */
#define TRIES		3	/* of a delete */
#define AGAIN_MS	15000	/* between them */

struct call {
	TAILQ_ENTRY(call)	 entry;
	struct lease_owner	 owner;
	struct msg_lease_reply	 body;
	int			 tries;
	int64_t			 due;		/* the next one, ms */
};
TAILQ_HEAD(calls, call);

/* Each has one delay, so that the first of it is due first. */
static struct calls	 waiting = TAILQ_HEAD_INITIALIZER(waiting);
static struct calls	 later = TAILQ_HEAD_INITIALIZER(later);
static uint32_t		 nwaiting;		/* in both */
static struct call	*active[CALL_MAX];	/* by number */
static struct event	*timer;

static void	 call_pump(void);

static void
call_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	call_pump();
}

void
call_init(void)
{
	if (priv.conf->call.name[0] != '\0' &&
	    (timer = evtimer_new(priv.base, call_timer, NULL)) == NULL)
		fatalx("evtimer_new");
}

/* Is there a point in it still? Who has got a lease since keeps it. */
static int
is_stale(const struct call *c)
{
	return (c->body.op == OP_DELETE &&
	    lease_is_held(server_engine(), &c->owner));
}

static void
call_start(uint32_t number, struct call *c)
{
	struct msg_call m;

	active[number] = c;
	memset(&m, 0, sizeof(m));
	m.call = number;
	strlcpy(m.name, c->owner.name, sizeof(m.name));
	m.body = c->body;
	msg_put(child_link(PROC_SESSION), MSG_CALL, &m, sizeof(m));
}

/* The next that is to be made; NULL: none. */
static struct call *
call_next(void)
{
	struct call *c;

	while ((c = TAILQ_FIRST(&waiting)) != NULL) {
		TAILQ_REMOVE(&waiting, c, entry);
		nwaiting--;
		if (!is_stale(c))
			return (c);
		free(c);
	}
	return (NULL);
}

static void
call_pump(void)
{
	struct call *c;
	uint32_t i;

	while ((c = TAILQ_FIRST(&later)) != NULL && c->due <= now_ms()) {
		TAILQ_REMOVE(&later, c, entry);
		TAILQ_INSERT_TAIL(&waiting, c, entry);
	}
	for (i = 0; i < CALL_MAX && child_is_up(PROC_SESSION); i++) {
		if (active[i] != NULL)
			continue;
		if ((c = call_next()) == NULL)
			break;
		call_start(i, c);
	}
	if ((c = TAILQ_FIRST(&later)) != NULL)
		timer_set(timer, c->due - now_ms());
}

int
call_may(const struct lease_owner *owner)
{
	const struct conf_user *u;

	if (owner->mech == MECH_ANONYMOUS)
		return (0);
	u = conf_user(priv.conf, owner->mech, owner->name);
	return (u != NULL && u->call);
}

void
call_node(const struct lease_owner *owner, const struct msg_lease_reply *body)
{
	struct call *c;

	if (!call_may(owner))
		return;
	if (nwaiting == WAITING_MAX) {
		log_warnx("%d nodes wait to be called: %s at %s is not",
		    WAITING_MAX, owner->name, log_in6(&owner->v6));
		return;
	}
	if ((c = calloc(1, sizeof(*c))) == NULL)
		fatal(NULL);
	c->owner = *owner;
	c->body = *body;
	TAILQ_INSERT_TAIL(&waiting, c, entry);
	nwaiting++;
	call_pump();
}

const struct lease_owner *
call_target(uint32_t number)
{
	return (number < CALL_MAX && active[number] != NULL ?
	    &active[number]->owner : NULL);
}

static void
call_failed(struct call *c)
{
	log_info("%s at %s could not be called", c->owner.name,
	    log_in6(&c->owner.v6));
	if (c->body.op == OP_CREATE)
		offer_answered(c->body.v4, STATUS_BUSY);
	if (c->body.op == OP_CREATE || ++c->tries == TRIES) {
		free(c);
		return;
	}
	c->due = now_ms() + AGAIN_MS;
	TAILQ_INSERT_TAIL(&later, c, entry);
	nwaiting++;
}

static void
call_end(struct call *c, uint32_t status)
{
	if (status == 0)
		call_failed(c);
	else {
		log_info("%s at %s was called about %s: %u", c->owner.name,
		    log_in6(&c->owner.v6), log_in(c->body.v4), status);
		if (c->body.op == OP_CREATE)
			offer_answered(c->body.v4, status);
		free(c);
	}
}

void
call_done(struct msglink *l, struct msg *m)
{
	struct msg_call_done md;
	struct call *c;

	(void)l;
	memcpy(&md, m->data, sizeof(md));
	if (md.call >= CALL_MAX || (c = active[md.call]) == NULL) {
		log_doubt(PROC_SESSION, "session: the end of call %u, which "
		    "is none", md.call);
		return;
	}
	active[md.call] = NULL;
	call_end(c, md.status);
	call_pump();
}

void
call_session_up(void)
{
	if (timer != NULL)
		call_pump();
}

void
call_session_lost(void)
{
	struct call *c;
	uint32_t i;

	for (i = 0; i < CALL_MAX; i++) {
		if ((c = active[i]) == NULL)
			continue;
		active[i] = NULL;
		call_failed(c);
	}
	if (timer != NULL)
		call_pump();
}
