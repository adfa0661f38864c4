/*
 * The command phase, as server: framed requests, which are answered in
 * their order, and our own delete (the draft's 4.3) among the answers.
 */
#include <sys/types.h>

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "session/session-int.h"

static int64_t
seconds(uint32_t s)
{
	return ((int64_t)s * 1000);
}

void
request_drop(struct conn *c)
{
	struct request *r;

	while ((r = TAILQ_FIRST(&c->requests)) != NULL) {
		TAILQ_REMOVE(&c->requests, r, entry);
		free(r);
	}
	c->nrequests = 0;
}

static struct request *
request_new(struct conn *c)
{
	struct request *r;

	if ((r = calloc(1, sizeof(*r))) == NULL)
		fatal(NULL);
	if (++c->seq == 0)
		c->seq = 1;
	r->req = c->seq;
	r->since = c->active = now_ms();
	TAILQ_INSERT_TAIL(&c->requests, r, entry);
	c->nrequests++;
	return (r);
}

static struct request *
request_find(struct conn *c, uint32_t req)
{
	struct request *r;

	TAILQ_FOREACH(r, &c->requests, entry)
		if (r->order == ACTION_NONE && r->req == req)
			return (r);
	return (NULL);
}

int
request_full(const struct conn *c)
{
	return (c->closing || c->held || parse_full() || msglink_full(session.priv) ||
	    c->nrequests >= (c->role == ROLE_SERVER ? OUTSTANDING :
	    OUTSTANDING_PEER));
}

/*
 * Answers
 */
static void
write_status(struct conn *c, uint32_t status)
{
	char buf[256];
	int n;

	n = emit_status(buf, sizeof(buf), (enum tsp_status)status, c->dialect);
	if (n > 0)
		conn_write(c, buf, (size_t)n);
}

static void
write_redirect(struct conn *c, uint32_t status)
{
	char buf[TSP_REPLY_MAX + 64];
	int n;

	n = emit_redirect(buf, sizeof(buf), (enum tsp_status)status,
	    c->dialect, 1, session.conf.redirects, session.conf.nredirects);
	if (n > 0)
		conn_write(c, buf, (size_t)n);
}

void
put_addresses(struct tsp_tunnel *t, const struct msg_lease_reply *mr)
{
	t->server.flags = t->client.flags = EP_PRESENT | EP_V4 | EP_V6;
	/* A lease is one address: length 32. */
	t->server.v4_length = t->client.v4_length = 32;
	t->server.v4 = mr->tep4;
	t->server.v6 = mr->tep6;
	t->client.v4 = mr->v4;
	t->client.v6 = mr->v6;
}

static void
write_tunnel(struct conn *c, const struct tsp_tunnel *t)
{
	char buf[TSP_REPLY_MAX + 64];
	int n;

	n = emit_tunnel(buf, sizeof(buf), STATUS_OK, c->dialect, t);
	if (n > 0)
		conn_write(c, buf, (size_t)n);
}

static void
write_info(struct conn *c, const struct request *r)
{
	struct tsp_tunnel t;

	memset(&t, 0, sizeof(t));
	t.action = ACTION_INFO;
	/* What is over has no lifetime. */
	t.has_lifetime = r->reply.op != OP_DELETE;
	t.lifetime = r->reply.lifetime;
	put_addresses(&t, &r->reply);
	/* The server that calls us knows its TEP better than we do. */
	if (c->role == ROLE_NODE)
		memset(&t.server, 0, sizeof(t.server));
	if (r->keepalive != 0) {
		t.client.flags |= EP_KEEPALIVE | EP_KA_V4;
		t.client.keepalive = r->keepalive;
		t.client.keepalive_v4 = r->reply.tep4;
	}
	write_tunnel(c, &t);
}

static void
write_order(struct conn *c, const struct request *r)
{
	struct tsp_tunnel t;

	memset(&t, 0, sizeof(t));
	t.action = r->order;
	put_addresses(&t, &r->reply);
	if (r->order == ACTION_DELETE) {
		c->deletes++;
		c->deleted = r->reply.v4;
	} else {
		t.has_lifetime = 1;
		t.lifetime = r->reply.lifetime;
	}
	write_tunnel(c, &t);
}

static void
write_one(struct conn *c, const struct request *r)
{
	if (r->order != ACTION_NONE)
		write_order(c, r);
	else if (r->silent)
		return;
	else if (r->status == STATUS_OK && r->reply.op != OP_SYNC)
		write_info(c, r);
	else if (r->redirect)
		write_redirect(c, r->status);
	else
		write_status(c, r->status);
}

/* What can be said now, in its order. */
static void
write_answers(struct conn *c)
{
	struct request *r;

	while (c->state == ST_COMMAND &&
	    (r = TAILQ_FIRST(&c->requests)) != NULL && r->status != 0) {
		TAILQ_REMOVE(&c->requests, r, entry);
		c->nrequests -= r->order == ACTION_NONE;
		write_one(c, r);
		free(r);
	}
	if (c->state != ST_COMMAND)
		return;
	if (c->closing && TAILQ_EMPTY(&c->requests)) {
		conn_linger(c);
		return;
	}
	request_timer(c);
	if (c->stopped && !request_full(c))
		conn_input(c);
}

/*
 * Time
 */

/*
 * When this connection is at its end if nothing happens, or -1. Status 0: it
 * is not, but may be read again.
 */
static int64_t
deadline(const struct conn *c, uint32_t *status)
{
	const struct request *r = TAILQ_FIRST(&c->requests);
	int64_t at = -1, end;

	*status = STATUS_BUSY;
	if (r != NULL)
		at = r->since + seconds(session.conf.request_timeout);
	else if (c->role != ROLE_TEP) {
		end = c->active > c->lease_until ? c->active : c->lease_until;
		at = end + seconds(session.conf.idle_timeout);
	}
	if (c->partial != 0 && (at == -1 || c->partial + session.partial_ms <
	    at)) {
		at = c->partial + session.partial_ms;
		*status = STATUS_FORMAT;
	}
	if (c->held && (at == -1 || c->turn < at)) {
		at = c->turn;
		*status = 0;
	}
	return (at);
}

void
request_timer(struct conn *c)
{
	uint32_t status;

	if (c->state == ST_COMMAND)
		conn_deadline(c, deadline(c, &status));
}

void
request_timeout(struct conn *c)
{
	uint32_t status;
	int64_t at;

	if (c->held && c->turn <= now_ms()) {
		c->held = 0;
		conn_input(c);
		return;
	}
	at = deadline(c, &status);
	if (at == -1 || at > now_ms() || status == 0) {
		request_timer(c);
		return;
	}
	if (status == STATUS_FORMAT)
		conn_log(c, "the rest of a message does not come: closed");
	else if (!TAILQ_EMPTY(&c->requests))
		conn_log(c, "its request was not answered in %u s",
		    session.conf.request_timeout);
	else
		conn_log(c, "idle: closed");
	request_end(c, status);
}

void
request_end(struct conn *c, uint32_t status)
{
	struct request *r;
	int said = 0;

	if (c->state != ST_COMMAND)
		return;
	TAILQ_FOREACH(r, &c->requests, entry)
		if (r->status == 0) {
			r->status = status;
			r->silent = 0;
			said = 1;
		}
	/* Never a close in this phase without a status. */
	if (!said)
		request_new(c)->status = status;
	c->closing = 1;
	write_answers(c);
}

/*
 * Requests
 */

/* What is wrong with the addresses of a request, or 0. */
static uint32_t
bad_addresses(const struct conn *c, const struct tsp_tunnel *t, uint32_t op)
{
	uint32_t flags = t->client.flags;

	/* draft 3.2: one link-local and one global; which is it of two? */
	if (flags & (EP_BAD_V6 | EP_DUP_V6))
		return (STATUS_IPV6);
	if (flags & EP_BAD_V4)
		return (STATUS_IPV4);
	if ((op == OP_CREATE || c->role != ROLE_SERVER) &&
	    (flags & EP_V6) == 0)
		return (STATUS_IPV6);
	if (c->role != ROLE_SERVER && (flags & EP_V4) == 0)
		return (STATUS_IPV4);
	return (0);
}

static void
ask_lease(struct conn *c, struct request *r, uint32_t op,
    const struct tsp_tunnel *t)
{
	struct msg_lease_request m;

	if (op != OP_SYNC && (r->status = bad_addresses(c, t, op)) != 0) {
		conn_log(c, "refused with %u: its addresses", r->status);
		return;
	}
	memset(&m, 0, sizeof(m));
	m.conn = c->ref;
	m.req = r->req;
	m.op = op;
	/* Not the DTD's 1440 where the node did not say: it did not ask. */
	m.lifetime = t->has_lifetime ? t->lifetime : 0;
	if (t->client.flags & EP_V4) {
		m.has_v4 = 1;
		m.v4 = t->client.v4;
	}
	if (t->client.flags & EP_V6)
		m.v6 = t->client.v6;
	if (t->client.flags & EP_KEEPALIVE)
		r->keepalive = t->client.keepalive;
	msg_put(session.priv, MSG_LEASE_REQUEST, &m, sizeof(m));
}

/* draft 2.3: is this info for our delete? One about another lease is not. */
static int
acknowledges(const struct conn *c, const struct tsp_tunnel *t)
{
	return (c->deletes > 0 && ((t->client.flags & EP_V4) == 0 ||
	    t->client.v4.s_addr == c->deleted.s_addr));
}

static void
request_tunnel(struct conn *c, struct request *r, const struct tsp_tunnel *t)
{
	switch (t->action) {
	case ACTION_CREATE:
		ask_lease(c, r, OP_CREATE, t);
		break;
	case ACTION_DELETE:
		ask_lease(c, r, OP_DELETE, t);
		break;
	case ACTION_REJECT:		/* RFC 5572: frees the lease */
		r->silent = 1;
		ask_lease(c, r, OP_DELETE, t);
		break;
	case ACTION_ACCEPT:		/* RFC 5572: no answer expected */
		r->silent = 1;
		r->status = STATUS_OK;
		break;
	case ACTION_INFO:
		if (acknowledges(c, t)) {
			c->deletes--;
			r->silent = 1;
			r->status = STATUS_OK;
		} else
			ask_lease(c, r, OP_INFO, t);
		break;
	case ACTION_LIST:		/* ours: to compare notes */
		if (c->role == ROLE_TEP) {
			ask_lease(c, r, OP_SYNC, t);
			break;
		}
		/* FALLTHROUGH */
	default:
		conn_log(c, "not an action for a server");
		r->status = STATUS_FORMAT;
		break;
	}
}

void
request_parsed(struct conn *c, const struct msg_parsed *mp)
{
	struct request *r;

	if (c->state != ST_COMMAND ||
	    (r = request_find(c, mp->seq)) == NULL || r->status != 0)
		return;
	if (!mp->ok) {
		conn_log(c, "bad message: %s", mp->text);
		r->status = STATUS_FORMAT;
	} else if (mp->tunnel.type != TYPE_V4V6)
		r->status = STATUS_TYPE;
	else
		request_tunnel(c, r, &mp->tunnel);
	write_answers(c);
}

/* The parser died of it. */
void
request_lost(struct conn *c, uint32_t seq)
{
	struct request *r;

	if (c->state != ST_COMMAND || (r = request_find(c, seq)) == NULL)
		return;
	r->status = STATUS_FORMAT;
	c->closing = 1;
	write_answers(c);
}

void
request_reply(struct conn *c, const struct msg_lease_reply *mr)
{
	struct request *r;
	int64_t until;

	if (c->state != ST_COMMAND ||
	    (r = request_find(c, mr->req)) == NULL || r->status != 0)
		return;
	r->reply = *mr;
	r->status = mr->status != 0 ? mr->status : STATUS_BUSY;
	/* Another server may do what this one can not, for a node. */
	r->redirect = c->role == ROLE_SERVER && session.conf.nredirects > 0 &&
	    (r->status == STATUS_EXHAUSTED || r->status == STATUS_BUSY);
	if (mr->status == STATUS_OK && mr->op == OP_DELETE)
		c->lease_until = 0;
	else if (mr->status == STATUS_OK) {
		until = now_ms() + seconds(mr->lifetime);
		if (until > c->lease_until)
			c->lease_until = until;
	}
	write_answers(c);
}

/*
 * The lease is over, or here is one: on the connection that the node has kept,
 * behind the answers that were decided before, ahead of those that are open.
 */
void
request_order(struct conn *c, const struct msg_lease_reply *mr,
    enum tsp_action order)
{
	struct request *d, *r, *after = NULL;

	if (c->state != ST_COMMAND || c->role != ROLE_SERVER)
		return;
	if ((d = calloc(1, sizeof(*d))) == NULL)
		fatal(NULL);
	d->order = order;
	d->status = STATUS_OK;
	d->since = now_ms();
	d->reply = *mr;
	TAILQ_FOREACH(r, &c->requests, entry)
		if (r->status != 0)
			after = r;
	if (after != NULL)
		TAILQ_INSERT_AFTER(&c->requests, after, d, entry);
	else
		TAILQ_INSERT_HEAD(&c->requests, d, entry);
	if (order == ACTION_DELETE)
		c->lease_until = 0;
	c->active = now_ms();
	write_answers(c);
}

/*
 * Reading
 */
static int
is_blank(const uint8_t *p, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (!isspace(p[i]) && p[i] != '\0')
			return (0);
	return (1);
}

/* Of a whole request of a node: may it be taken now? */
static int
its_turn(struct conn *c)
{
	if (c->role != ROLE_SERVER)
		return (1);
	if (c->turn == 0 && (c->turn = source_request(c->source)) == -1) {
		c->turn = 0;
		conn_log(c, "too many requests of its source wait: closed");
		request_end(c, STATUS_BUSY);
		return (0);
	}
	if (c->turn > now_ms()) {
		c->held = 1;
		return (0);
	}
	c->turn = 0;
	return (1);
}

int
request_read(struct conn *c)
{
	const uint8_t *body, *xml;
	struct request *r;
	size_t len, n;
	int used, code;

	if ((used = tsp_frame(c->in, c->in_len, &body, &len)) == TSP_AGAIN) {
		if (c->partial == 0)
			c->partial = now_ms();
		return (0);
	}
	c->partial = 0;
	if (!its_turn(c))
		return (0);
	if (used == TSP_BAD) {
		/* Where the next one begins is not known any more. */
		conn_log(c, "not a frame, or longer than %d octets: closed",
		    TSP_BODY_MAX);
		r = request_new(c);
		r->status = STATUS_FORMAT;
		c->closing = 1;
		c->in_len = 0;
		write_answers(c);
		return (0);
	}
	xml = body;
	n = len;
	/* An acknowledgement may have a status line in front, or be one. */
	if (tsp_reply(body, len, &code, &xml, &n) == 0 && is_blank(xml, n)) {
		c->deletes -= c->deletes > 0;
		conn_consume(c, (size_t)used);
		return (1);
	}
	r = request_new(c);
	parse_send(c, r->req, xml, n);
	conn_consume(c, (size_t)used);
	return (1);
}
