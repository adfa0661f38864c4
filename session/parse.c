/*
 * What waits for the parser: kept until it has answered, so that its death
 * costs only the connection whose message it was reading.
 */
#include <sys/types.h>

#include <stdlib.h>
#include <string.h>

#include "session/session-int.h"

struct waiting {
	TAILQ_ENTRY(waiting)	 entry;
	struct msg_parse	 head;
	size_t			 len;
	uint8_t			 xml[];
};
static TAILQ_HEAD(, waiting) queue = TAILQ_HEAD_INITIALIZER(queue);

static void
send_one(const struct waiting *w)
{
	msg_send(session.parser, MSG_PARSE, -1, &w->head, sizeof(w->head),
	    w->xml, w->len);
}

void
parse_send(struct conn *c, const uint8_t *xml, size_t len)
{
	struct waiting *w;

	if ((w = calloc(1, sizeof(*w) + len)) == NULL)
		fatal(NULL);
	w->head.conn = c->ref;
	w->head.seq = ++c->parsing;
	w->len = len;
	memcpy(w->xml, xml, len);
	TAILQ_INSERT_TAIL(&queue, w, entry);
	send_one(w);
}

static void
deliver(struct conn *c, const struct msg_parsed *mp)
{
	if (c->state == ST_LINGER)
		return;
	if (c->kind == CONN_ACCEPTED)
		serve_parsed(c, mp);
	else
		dial_parsed(c, mp);
}

void
parse_result(struct msglink *l, struct msg *m)
{
	struct waiting *w = TAILQ_FIRST(&queue);
	struct msg_parsed mp;
	struct conn *c;

	(void)l;
	memcpy(&mp, m->data, sizeof(mp));
	if (w == NULL || w->head.conn.id != mp.conn.id ||
	    w->head.conn.gen != mp.conn.gen || w->head.seq != mp.seq) {
		log_warnx("parser: an answer to no question");
		return;
	}
	TAILQ_REMOVE(&queue, w, entry);
	free(w);
	mp.text[sizeof(mp.text) - 1] = '\0';
	if ((c = conn_find(mp.conn)) != NULL)
		deliver(c, &mp);
}

/* The parser died: of the message that it was at. */
void
parse_lost(void)
{
	struct waiting *w = TAILQ_FIRST(&queue);
	struct conn *c;

	if (w == NULL)
		return;
	TAILQ_REMOVE(&queue, w, entry);
	if ((c = conn_find(w->head.conn)) != NULL) {
		log_warnx("the parser died of a message of %s",
		    log_in6(&c->peer));
		if (c->kind == CONN_ACCEPTED) {
			serve_status(c, STATUS_FORMAT);
			conn_linger(c);
		} else
			dial_fail(c, "a message that the parser died of");
	}
	free(w);
}

void
parse_resend(void)
{
	struct waiting *w;

	TAILQ_FOREACH(w, &queue, entry)
		send_one(w);
}
