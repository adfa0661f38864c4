/*
 * The server's side of a connection: of a node, or of a server whose TEP we
 * are. Version, capability, authentication, then framed requests, which
 * are answered in their order.
 */
#include <sys/types.h>

#include <stdlib.h>
#include <string.h>

#include "session/session-int.h"

static void
auth_fail(struct conn *c, enum tsp_status status, const char *why)
{
	char buf[128];
	int n;

	log_info("%s: %s", log_in6(&c->peer), why);
	n = emit_auth_status(buf, sizeof(buf), status, c->dialect);
	conn_write(c, buf, (size_t)n);
	conn_linger(c);
}

void
serve_status(struct conn *c, uint32_t status)
{
	char buf[256];
	int n;

	n = emit_status(buf, sizeof(buf), (enum tsp_status)status, c->dialect);
	conn_write(c, buf, (size_t)n);
}

void
serve_timeout(struct conn *c)
{
	struct request *r;
	int64_t limit = (int64_t)session.conf.request_timeout * 1000;

	switch (c->state) {
	case ST_COMMAND:
		r = TAILQ_FIRST(&c->requests);
		if (r != NULL && now_ms() - r->since >= limit) {
			log_warnx("%s (%s): no answer in %u s", c->name,
			    log_in6(&c->peer), session.conf.request_timeout);
			serve_status(c, STATUS_BUSY);
		} else if (c->in_len > 0)
			serve_status(c, STATUS_FORMAT);
		else if (r != NULL) {
			conn_timer(c, limit - (now_ms() - r->since));
			return;
		} else {
			log_debug("%s (%s): idle", c->name, log_in6(&c->peer));
			serve_status(c, STATUS_BUSY);
		}
		conn_linger(c);
		break;
	default:
		auth_fail(c, STATUS_AUTH, "not authenticated in time");
		break;
	}
}

/* After each change of what the connection waits for. */
static void
set_timeout(struct conn *c)
{
	const struct request *r = TAILQ_FIRST(&c->requests);

	if (r != NULL)
		conn_timer(c, (int64_t)session.conf.request_timeout * 1000);
	else if (c->in_len > 0)
		conn_timer(c, PARTIAL_MS);
	else if (!c->has_lease && !c->is_server)
		conn_timer(c, (int64_t)session.conf.idle_timeout * 1000);
	else
		conn_timer(c, -1);
}

/*
 * Authentication
 */
static void
read_version(struct conn *c, const uint8_t *line, size_t len)
{
	char buf[256];
	uint32_t mechs = session_listener_mechs(c->index);
	int n;

	if ((c->dialect = tsp_version(line, len)) == DIALECT_NONE) {
		auth_fail(c, STATUS_VERSION, "unsupported version");
		return;
	}
	n = emit_capability(buf, sizeof(buf), mechs);
	c->state = ST_AUTHENTICATE;
	conn_write(c, buf, (size_t)n);
}

static void
read_authenticate(struct conn *c, const uint8_t *line, size_t len)
{
	struct msg_conn_open mo;
	int fd;

	if (tsp_authenticate(line, len, &c->mech) == -1) {
		auth_fail(c, STATUS_FORMAT, "AUTHENTICATE was expected");
		return;
	}
	if ((c->mech & session_listener_mechs(c->index)) == 0) {
		auth_fail(c, STATUS_AUTH, "a mechanism that is not offered");
		return;
	}
	if ((fd = fd_dup(c->fd)) == -1) {
		auth_fail(c, STATUS_BUSY, "out of descriptors");
		return;
	}
	memset(&mo, 0, sizeof(mo));
	mo.conn = c->ref;
	mo.listener = c->index;
	c->opened = 1;
	c->state = ST_OPENING;
	msg_send(session.priv, MSG_CONN_OPEN, fd, &mo, sizeof(mo), NULL, 0);
}

void
serve_ready(struct conn *c, int ok)
{
	struct msg_auth_start ms;

	if (c->state != ST_OPENING)
		return;
	if (!ok || session.auth == NULL) {
		auth_fail(c, STATUS_BUSY, ok ? "auth is not there" :
		    "the parent refuses it");
		return;
	}
	memset(&ms, 0, sizeof(ms));
	ms.conn = c->ref;
	ms.side = AUTH_SERVER;
	ms.mech = c->mech;
	ms.has_blob = c->mech == MECH_ANONYMOUS;
	c->state = ST_SASL;
	msg_put(session.auth, MSG_AUTH_START, &ms, sizeof(ms));
	conn_input(c);
}

static void
read_blob(struct conn *c, const uint8_t *line, size_t len)
{
	struct msg_auth_step ms;
	uint8_t blob[SASL_BLOB_MAX];
	size_t n;

	if (c->sasl_ok || c->mech == MECH_ANONYMOUS ||
	    tsp_base64_decode(line, len, blob, sizeof(blob), &n) == -1) {
		auth_fail(c, STATUS_AUTH, "a SASL line that is none");
		return;
	}
	memset(&ms, 0, sizeof(ms));
	ms.conn = c->ref;
	msg_send(session.auth, MSG_AUTH_STEP, -1, &ms, sizeof(ms), blob, n);
	explicit_bzero(blob, sizeof(blob));
}

static void
write_blob(struct conn *c, const uint8_t *blob, size_t len)
{
	char line[TSP_LINE_MAX + 8];
	int n;

	if ((n = tsp_base64_line(blob, len, line, sizeof(line))) == -1)
		auth_fail(c, STATUS_AUTH, "a SASL step that is too long");
	else
		conn_write(c, line, (size_t)n);
}

/* Both auth and the parent have said yes: the client is who it says. */
static void
auth_success(struct conn *c)
{
	char buf[128];
	int n;

	if (!c->sasl_ok || !c->priv_ok)
		return;
	c->state = ST_COMMAND;
	if (c->has_final)
		write_blob(c, c->final, c->final_len);
	explicit_bzero(c->final, sizeof(c->final));
	n = emit_auth_status(buf, sizeof(buf), STATUS_OK, c->dialect);
	conn_write(c, buf, (size_t)n);
	log_debug("%s authenticated from %s", c->name, log_in6(&c->peer));
	set_timeout(c);
	conn_input(c);
}

void
serve_auth_next(struct conn *c, const struct msg_auth_next *mn,
    const uint8_t *blob, size_t len)
{
	if (c->state != ST_SASL || c->sasl_ok)
		return;
	switch (mn->result) {
	case AUTH_MORE:
		if (mn->has_blob)
			write_blob(c, blob, len);
		break;
	case AUTH_OK:
		c->sasl_ok = 1;
		if (mn->has_blob && len <= sizeof(c->final)) {
			memcpy(c->final, blob, len);
			c->final_len = len;
			c->has_final = 1;
		}
		auth_success(c);
		break;
	default:
		auth_fail(c, STATUS_AUTH, "authentication failed");
		break;
	}
}

void
serve_auth_done(struct conn *c, const struct msg_auth_done *md)
{
	if (c->state != ST_SASL)
		return;
	if (!md->ok) {
		auth_fail(c, STATUS_AUTH, "authenticated, but not wanted");
		return;
	}
	c->priv_ok = 1;
	c->is_server = md->is_server != 0;
	strlcpy(c->name, md->name, sizeof(c->name));
	auth_success(c);
}

void
serve_auth_lost(struct conn *c)
{
	if (c->kind == CONN_ACCEPTED && c->state == ST_SASL)
		auth_fail(c, STATUS_BUSY, "auth died");
}

/*
 * Requests
 */
static struct request *
request_new(struct conn *c)
{
	struct request *r;

	if ((r = calloc(1, sizeof(*r))) == NULL)
		fatal(NULL);
	r->req = ++c->next_req;
	r->since = now_ms();
	TAILQ_INSERT_TAIL(&c->requests, r, entry);
	c->nrequests++;
	return (r);
}

static void
write_info(struct conn *c, const struct request *r)
{
	struct tsp_tunnel t;
	char buf[TSP_REPLY_MAX + 64];
	int n;

	memset(&t, 0, sizeof(t));
	t.action = ACTION_INFO;
	t.has_lifetime = r->reply.op != OP_DELETE;
	t.lifetime = r->reply.lifetime;
	t.server.flags = EP_PRESENT | EP_V4 | EP_V6;
	t.server.v4 = r->reply.tep4;
	t.server.v6 = r->reply.tep6;
	t.server.v4_length = 32;
	t.client.flags = EP_PRESENT | EP_V4 | EP_V6;
	t.client.v4 = r->reply.v4;
	t.client.v6 = r->reply.v6;
	t.client.v4_length = 32;
	if (r->keepalive != 0) {
		t.client.flags |= EP_KEEPALIVE | EP_KA_V4;
		t.client.keepalive = r->keepalive;
		t.client.keepalive_v4 = r->reply.tep4;
	}
	n = emit_tunnel(buf, sizeof(buf), STATUS_OK, c->dialect, &t);
	conn_write(c, buf, (size_t)n);
}

/* Answers that are there, in the order of the requests. */
static void
write_answers(struct conn *c)
{
	struct request *r;

	while ((r = TAILQ_FIRST(&c->requests)) != NULL && r->status != 0 &&
	    c->state == ST_COMMAND) {
		TAILQ_REMOVE(&c->requests, r, entry);
		c->nrequests--;
		if (!r->silent && r->status == STATUS_OK)
			write_info(c, r);
		else if (!r->silent)
			serve_status(c, r->status);
		free(r);
	}
	if (c->state != ST_COMMAND)
		return;
	set_timeout(c);
	if (c->stopped && c->nrequests < OUTSTANDING) {
		conn_stop(c, 0);
		conn_input(c);
	}
}

static struct request *
request_find(struct conn *c, uint32_t req)
{
	struct request *r;

	TAILQ_FOREACH(r, &c->requests, entry)
		if (r->req == req)
			return (r);
	return (NULL);
}

void
serve_reply(struct conn *c, const struct msg_lease_reply *mr)
{
	struct request *r;

	if (c->state != ST_COMMAND ||
	    (r = request_find(c, mr->req)) == NULL || r->status != 0)
		return;
	r->reply = *mr;
	r->status = mr->status != 0 ? mr->status : STATUS_BUSY;
	if (mr->status == STATUS_OK)
		c->has_lease = mr->op != OP_DELETE;
	write_answers(c);
}

/* What is wrong with the addresses of a request, or 0. */
static uint32_t
bad_addresses(const struct conn *c, const struct tsp_tunnel *t, uint32_t op)
{
	uint32_t flags = t->client.flags;

	if (flags & EP_BAD_V6)
		return (STATUS_IPV6);
	if (flags & EP_BAD_V4)
		return (STATUS_IPV4);
	if (op == OP_CREATE && (flags & EP_V6) == 0)
		return (STATUS_IPV6);
	if (c->is_server && (flags & EP_V4) == 0)
		return (STATUS_IPV4);
	return (0);
}

static void
ask_lease(struct conn *c, struct request *r, uint32_t op,
    const struct tsp_tunnel *t)
{
	struct msg_lease_request m;

	if ((r->status = bad_addresses(c, t, op)) != 0)
		return;
	memset(&m, 0, sizeof(m));
	m.conn = c->ref;
	m.req = r->req;
	m.op = op;
	/* A node is not asked how long (the draft): only where it says. */
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
	case ACTION_REJECT:
		r->silent = 1;
		ask_lease(c, r, OP_DELETE, t);
		break;
	case ACTION_ACCEPT:
		r->silent = 1;
		r->status = STATUS_OK;
		break;
	case ACTION_INFO:
		if (c->deletes > 0) {
			/* draft 2.3: acknowledges our delete */
			c->deletes--;
			r->silent = 1;
			r->status = STATUS_OK;
		} else
			ask_lease(c, r, OP_INFO, t);
		break;
	default:
		r->status = STATUS_FORMAT;
		break;
	}
}

void
serve_parsed(struct conn *c, const struct msg_parsed *mp)
{
	struct request *r;

	/* In order: the oldest request that the parser has not answered. */
	TAILQ_FOREACH(r, &c->requests, entry)
		if (r->req == mp->seq)
			break;
	if (c->state != ST_COMMAND || r == NULL)
		return;
	if (!mp->ok) {
		log_info("%s (%s): bad message: %s", c->name,
		    log_in6(&c->peer), mp->text);
		r->status = STATUS_FORMAT;
	} else if (mp->tunnel.type != TYPE_V4V6)
		r->status = STATUS_TYPE;
	else
		request_tunnel(c, r, &mp->tunnel);
	write_answers(c);
}

static int
read_frame(struct conn *c)
{
	const uint8_t *body, *xml;
	size_t len, n;
	int used, code;

	if ((used = tsp_frame(c->in, c->in_len, &body, &len)) == TSP_AGAIN)
		return (0);
	if (used == TSP_BAD) {
		log_info("%s (%s): not a frame", c->name, log_in6(&c->peer));
		serve_status(c, STATUS_FORMAT);
		conn_linger(c);
		return (0);
	}
	/* An acknowledgement may carry a status line in front. */
	xml = body;
	n = len;
	if (tsp_reply(body, len, &code, &xml, &n) == 0 && n == 0) {
		if (c->deletes > 0)
			c->deletes--;
	} else {
		(void)request_new(c);
		parse_send(c, xml, n);
	}
	return (used);
}

static int
read_line(struct conn *c)
{
	const uint8_t *line;
	size_t len;
	int used;

	if ((used = tsp_line(c->in, c->in_len, &line, &len)) == TSP_AGAIN)
		return (0);
	if (used == TSP_BAD) {
		auth_fail(c, STATUS_FORMAT, "a line that is none");
		return (0);
	}
	switch (c->state) {
	case ST_VERSION:
		read_version(c, line, len);
		break;
	case ST_AUTHENTICATE:
		read_authenticate(c, line, len);
		break;
	default:
		read_blob(c, line, len);
		break;
	}
	return (used);
}

void
serve_input(struct conn *c)
{
	size_t used;
	int n;

	for (;;) {
		used = tsp_skip(c->in, c->in_len);
		c->in_len -= used;
		memmove(c->in, c->in + used, c->in_len);
		if (c->in_len == 0)
			break;
		if (c->state == ST_COMMAND) {
			if (c->nrequests >= OUTSTANDING ||
			    msglink_full(session.priv)) {
				conn_stop(c, 1);
				break;
			}
			n = read_frame(c);
		} else if (c->state == ST_VERSION ||
		    c->state == ST_AUTHENTICATE || (c->state == ST_SASL &&
		    !c->sasl_ok && c->mech != MECH_ANONYMOUS))
			n = read_line(c);
		else
			break;		/* an answer of ours comes first */
		if (n == 0 || c->state == ST_LINGER)
			break;
		c->in_len -= (size_t)n;
		memmove(c->in, c->in + n, c->in_len);
	}
	if (c->state == ST_COMMAND)
		set_timeout(c);
}

/* The draft's 4.3, on the connection that the node has kept. */
void
serve_delete(struct conn *c, const struct msg_lease_reply *mr)
{
	struct tsp_tunnel t;
	char buf[TSP_REPLY_MAX + 64];
	int n;

	if (c->state != ST_COMMAND)
		return;
	memset(&t, 0, sizeof(t));
	t.action = ACTION_DELETE;
	t.server.flags = t.client.flags = EP_PRESENT | EP_V4 | EP_V6;
	t.server.v4 = mr->tep4;
	t.server.v6 = mr->tep6;
	t.server.v4_length = t.client.v4_length = 32;
	t.client.v4 = mr->v4;
	t.client.v6 = mr->v6;
	n = emit_tunnel(buf, sizeof(buf), STATUS_OK, c->dialect, &t);
	c->deletes++;
	c->has_lease = 0;
	conn_write(c, buf, (size_t)n);
	if (c->state == ST_COMMAND)
		set_timeout(c);
}
