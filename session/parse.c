/*
 * What waits for the parser. A message is kept until it has been answered,
 * and few are on their way at a time. When the parser dies, any of those may
 * be why: they are given to its successor one by one, so that its death
 * costs only the connection whose message does it.
 */
#include <sys/types.h>

#include <stdlib.h>
#include <string.h>

#include "session/session-int.h"

#define WINDOW		64		/* with the parser at a time */

struct waiting {
	TAILQ_ENTRY(waiting)	 entry;
	struct msg_parse	 head;
	size_t			 len;
	uint8_t			 xml[];
};
TAILQ_HEAD(waitings, waiting);

static struct waitings	 sent = TAILQ_HEAD_INITIALIZER(sent);
static struct waitings	 queue = TAILQ_HEAD_INITIALIZER(queue);
static uint32_t		 nsent, nqueued;
static uint32_t		 suspects;	/* were sent when a parser died */
static int		 full;

/* A parser that is stuck with a message would be so for ever. */
static void
late(void)
{
	parser_closed(session.parser, "it does not answer");
}

static struct watch	 watch = { .late = late };

/* Half of the time in which the request must be answered. */
static void
wait_anew(void)
{
	if (TAILQ_EMPTY(&sent))
		watch_end(&watch);
	else
		watch_anew(&watch,
		    (int64_t)session.conf.request_timeout * 500);
}

static void
push(void)
{
	uint32_t window = suspects > 0 ? 1 : WINDOW;
	struct waiting *w;

	while (session.parser != NULL && nsent < window &&
	    (w = TAILQ_FIRST(&queue)) != NULL) {
		TAILQ_REMOVE(&queue, w, entry);
		nqueued--;
		TAILQ_INSERT_TAIL(&sent, w, entry);
		if (nsent++ == 0)
			wait_anew();
		msg_send(session.parser, MSG_PARSE, -1, &w->head,
		    sizeof(w->head), w->xml, w->len);
	}
	if (nqueued >= session.parse_max)
		full = 1;
	else if (full && nqueued <= session.parse_max / 2) {
		full = 0;
		serve_resume();
	}
}

int
parse_full(void)
{
	return (full);
}

void
parse_send(struct conn *c, uint32_t seq, const uint8_t *xml, size_t len)
{
	struct waiting *w;

	if ((w = calloc(1, sizeof(*w) + len)) == NULL)
		fatal(NULL);
	w->head.conn = c->ref;
	w->head.seq = seq;
	w->len = len;
	memcpy(w->xml, xml, len);
	TAILQ_INSERT_TAIL(&queue, w, entry);
	nqueued++;
	push();
}

/* The oldest that was sent is done with. */
static void
sent_done(struct waiting *w)
{
	TAILQ_REMOVE(&sent, w, entry);
	nsent--;
	if (suspects > 0)
		suspects--;
	free(w);
}

void
parse_result(struct msglink *l, struct msg *m)
{
	struct waiting *w = TAILQ_FIRST(&sent);
	struct msg_parsed mp;
	struct conn *c;

	memcpy(&mp, m->data, sizeof(mp));
	if (w == NULL || w->head.conn.id != mp.conn.id ||
	    w->head.conn.gen != mp.conn.gen || w->head.seq != mp.seq) {
		/* What it says next may be about anything. */
		parser_closed(l, "an answer to no question");
		return;
	}
	sent_done(w);
	wait_anew();
	mp.text[sizeof(mp.text) - 1] = '\0';
	if ((c = conn_find(mp.conn)) != NULL && c->state != ST_LINGER) {
		if (c->kind == CONN_ACCEPTED)
			request_parsed(c, &mp);
		else
			dial_parsed(c, &mp);
	}
	push();
}

/* It alone was with the parser that died: it is why. */
static void
convict(struct waiting *w)
{
	uint32_t seq = w->head.seq;
	struct conn *c;

	c = conn_find(w->head.conn);
	sent_done(w);
	if (c == NULL || c->state == ST_LINGER)
		return;
	conn_log(c, "the parser failed at its message");
	if (c->kind == CONN_ACCEPTED)
		request_lost(c, seq);
	else
		dial_fail(c, "a message that the parser died of");
}

void
parse_lost(void)
{
	struct waiting *w;

	if (nsent == 1)
		convict(TAILQ_FIRST(&sent));
	else if (nsent > 1)
		suspects = nsent;
	while ((w = TAILQ_LAST(&sent, waitings)) != NULL) {
		TAILQ_REMOVE(&sent, w, entry);
		nsent--;
		TAILQ_INSERT_HEAD(&queue, w, entry);
		nqueued++;
	}
	wait_anew();
}

/* A new parser is there. */
void
parse_resume(void)
{
	push();
}
