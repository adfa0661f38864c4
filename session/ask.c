/*
 * What auth was asked. It answers each step, in their order, also where the
 * connection is gone meanwhile: one that does not is stuck, and whoever logs
 * in would wait in vain, again and again.
 */
#include <sys/types.h>

#include <stdlib.h>

#include "session/session-int.h"

struct ask {
	TAILQ_ENTRY(ask)	 entry;
	struct conn_ref		 conn;
};

static TAILQ_HEAD(, ask) asks = TAILQ_HEAD_INITIALIZER(asks);

static void
late(void)
{
	auth_closed(session.auth, "it does not answer");
}

static struct watch	 watch = { .late = late };

/* Half of the time in which a login must be over. */
static void
wait_anew(void)
{
	if (TAILQ_EMPTY(&asks))
		watch_end(&watch);
	else
		watch_anew(&watch, (int64_t)session.conf.auth_timeout * 500);
}

void
ask_auth(struct conn *c, uint32_t type, const void *m, size_t size,
    const void *blob, size_t len)
{
	struct ask *a;

	if ((a = calloc(1, sizeof(*a))) == NULL)
		fatal(NULL);
	a->conn = c->ref;
	TAILQ_INSERT_TAIL(&asks, a, entry);
	if (TAILQ_FIRST(&asks) == a)
		wait_anew();
	msg_send(session.auth, type, -1, m, size, blob, len);
}

void
ask_answered(struct conn_ref conn)
{
	struct ask *a = TAILQ_FIRST(&asks);

	/* It may refuse a start of which nothing was asked. */
	if (a == NULL || a->conn.id != conn.id || a->conn.gen != conn.gen)
		return;
	TAILQ_REMOVE(&asks, a, entry);
	free(a);
	wait_anew();
}

void
ask_forget(void)
{
	struct ask *a;

	while ((a = TAILQ_FIRST(&asks)) != NULL) {
		TAILQ_REMOVE(&asks, a, entry);
		free(a);
	}
	wait_anew();
}
