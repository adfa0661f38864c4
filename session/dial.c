/*
 * Our side as a client, for the TEP links of a server and for the node. The
 * peer is trusted only when three have said so: auth (the peer's proof was
 * right), the peer (its success line) and the parent.
 */
#include <sys/types.h>
#include <sys/socket.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "session/session-int.h"

struct conn *
dial(enum conn_kind kind, uint32_t index, uint32_t cred, uint32_t mech,
    const struct client_ops *ops)
{
	struct msg_dial md;
	struct conn *c;

	if ((c = conn_new(kind, index)) == NULL)
		return (NULL);
	c->ops = ops;
	c->cred = cred;
	c->mech = mech;
	c->dialect = DIALECT_DRAFT;
	c->state = ST_DIALLING;
	c->opened = 1;
	memset(&md, 0, sizeof(md));
	md.conn = c->ref;
	md.kind = kind;
	md.index = index;
	msg_put(session.priv, MSG_DIAL, &md, sizeof(md));
	conn_timer(c, (int64_t)session.conf.auth_timeout * 1000);
	return (c);
}

void
dial_fail(struct conn *c, const char *why)
{
	c->reason = why;
	conn_close(c);
}

void
dial_gone(struct conn *c)
{
	const struct client_ops *ops = c->ops;

	c->ops = NULL;
	if (ops != NULL)
		ops->down(c, c->reason != NULL ? c->reason :
		    "the connection ended");
}

void
dial_auth_lost(struct conn *c)
{
	if (c->state == ST_LOGIN && !c->sasl_ok)
		dial_fail(c, "auth died within the login");
}

void
dial_done(struct msglink *l, struct msg *m)
{
	struct msg_dialled md;
	struct conn *c;

	(void)l;
	memcpy(&md, m->data, sizeof(md));
	if ((c = conn_find(md.conn)) == NULL || c->state != ST_DIALLING)
		return;
	if (m->fd == -1) {
		c->opened = 0;
		dial_fail(c, strerror((int)md.error));
		return;
	}
	c->linklocal = md.linklocal;
	c->state = ST_CONNECTING;
	conn_attach(c, m->fd, NULL);
	m->fd = -1;
	if (event_add(c->ev_write, NULL) == -1)
		fatalx("event_add");
}

/* connect(2) has ended, one way or the other. */
void
dial_writable(struct conn *c)
{
	static const char version[] = "VERSION=1.0\r\n";
	struct sockaddr_in6 sin6;
	socklen_t len = sizeof(int);
	int error = 0;

	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) == -1)
		error = errno;
	len = sizeof(sin6);
	if (error == 0 &&
	    getpeername(c->fd, (struct sockaddr *)&sin6, &len) == -1)
		error = errno;
	if (error != 0) {
		dial_fail(c, strerror(error));
		return;
	}
	c->peer = sin6.sin6_addr;
	c->state = ST_CAPABILITY;
	conn_write(c, version, sizeof(version) - 1);
}

static void
read_capability(struct conn *c, const uint8_t *line, size_t len)
{
	struct msg_auth_start ms;
	char buf[64];
	uint32_t mechs;
	int n;

	if (tsp_capability(line, len, &mechs) != 1) {
		dial_fail(c, "the peer offers no v4v6 tunnels");
		return;
	}
	if ((mechs & c->mech) == 0) {
		dial_fail(c, "the peer does not offer our mechanism");
		return;
	}
	if (session.auth == NULL) {
		dial_fail(c, "auth is not there");
		return;
	}
	n = snprintf(buf, sizeof(buf), "AUTHENTICATE %s\r\n",
	    mech_name(c->mech));
	memset(&ms, 0, sizeof(ms));
	ms.conn = c->ref;
	ms.side = AUTH_CLIENT;
	ms.mech = c->mech;
	ms.cred = c->cred;
	ms.ends.from = c->local;
	ms.ends.to = c->peer;
	strlcpy(ms.name, c->name, sizeof(ms.name));
	c->state = ST_LOGIN;
	conn_write(c, buf, (size_t)n);
	ask_auth(c, MSG_AUTH_START, &ms, sizeof(ms), NULL, 0);
}

static void
check_success(struct conn *c)
{
	/* each in its own time, in any order */
	if (!c->sasl_ok || !c->priv_ok || !c->success_line ||
	    c->state != ST_LOGIN)
		return;
	c->state = ST_CLIENT;
	conn_timer(c, -1);
	c->ops->up(c);
}

static void
proceed(struct conn *c)
{
	struct conn_ref ref = c->ref;

	check_success(c);
	if (conn_find(ref) == c)
		conn_input(c);
}

static void
login_status(struct conn *c, int code)
{
	if (code == STATUS_OK && !c->sasl_ok && c->mech != MECH_ANONYMOUS)
		dial_fail(c, "the peer says success before it has proved "
		    "itself");
	else if (code == STATUS_OK) {
		c->success_line = 1;
		check_success(c);
	} else if (code == STATUS_AUTH)
		dial_fail(c, "300 Authentication failed");
	else if (code == STATUS_BUSY)
		dial_fail(c, "the peer is too busy");
	else
		dial_fail(c, "the peer refuses the login");
}

static void
login_blob(struct conn *c, const uint8_t *line, size_t len)
{
	struct msg_auth_step ms;
	uint8_t blob[SASL_BLOB_MAX];
	size_t n;

	if (c->sasl_ok || tsp_base64_decode(line, len, blob, sizeof(blob),
	    &n) == -1) {
		dial_fail(c, "a SASL line that is none");
		return;
	}
	memset(&ms, 0, sizeof(ms));
	ms.conn = c->ref;
	c->stepping = 1;
	ask_auth(c, MSG_AUTH_STEP, &ms, sizeof(ms), blob, n);
}

static void
read_login(struct conn *c, const uint8_t *line, size_t len)
{
	int code = -1;

	/* A status has a space in it, base64 has none. */
	if (memchr(line, ' ', len) != NULL)
		code = tsp_status_line(line, len);
	if (code != -1)
		login_status(c, code);
	else
		login_blob(c, line, len);
}

void
dial_auth_next(struct conn *c, const struct msg_auth_next *mn,
    const uint8_t *blob, size_t len)
{
	char line[TSP_LINE_MAX + 8];
	int n;

	if (c->state != ST_LOGIN || c->sasl_ok)
		return;
	c->stepping = 0;
	if (mn->result != AUTH_MORE && mn->result != AUTH_OK) {
		dial_fail(c, "authentication failed: the peer did not prove "
		    "itself, or our password is wrong");
		return;
	}
	if (mn->has_blob && c->mech != MECH_ANONYMOUS) {
		n = tsp_base64_line(blob, len, line, sizeof(line));
		if (n == -1) {
			dial_fail(c, "a SASL step that is too long");
			return;
		}
		conn_write(c, line, (size_t)n);
	}
	if (mn->result == AUTH_OK)
		c->sasl_ok = 1;
	proceed(c);
}

void
dial_auth_done(struct conn *c, const struct msg_auth_done *md)
{
	if (c->state != ST_LOGIN || c->priv_ok)
		return;
	if (!md->ok) {
		dial_fail(c, "the parent does not want this peer");
		return;
	}
	c->priv_ok = 1;
	proceed(c);
}

void
dial_parse(struct conn *c, uint32_t seq, const uint8_t *xml, size_t len)
{
	c->in_parser++;
	parse_send(c, seq, xml, len);
}

void
dial_parsed(struct conn *c, const struct msg_parsed *mp)
{
	struct conn_ref ref = c->ref;

	if (c->state != ST_CLIENT)
		return;
	c->in_parser--;
	if (!mp->ok) {
		conn_log(c, "sends a bad message: %s", mp->text);
		dial_fail(c, "a bad message");
		return;
	}
	c->ops->parsed(c, mp);
	if (conn_find(ref) == c)
		conn_input(c);
}

/*
 * Is something to happen before the peer is listened to? What follows the
 * success line waits until that is true, what follows a SASL step for auth,
 * a message of a server to its node for the one before.
 */
static int
must_wait(const struct conn *c)
{
	switch (c->state) {
	case ST_CAPABILITY:
		return (0);
	case ST_LOGIN:
		return (c->stepping || c->success_line);
	case ST_CLIENT:
		return (c->in_parser >= c->ops->window);
	default:
		return (1);
	}
}

/* One element of the buffer: 1 it was taken, 0 not whole, -1 it is over. */
static int
read_one(struct conn *c)
{
	struct conn_ref ref = c->ref;
	const uint8_t *p;
	size_t len;
	int used;

	if (c->state == ST_CLIENT)
		used = tsp_frame(c->in, c->in_len, &p, &len);
	else
		used = tsp_line(c->in, c->in_len, &p, &len);
	if (used == TSP_AGAIN)
		return (0);
	if (used == TSP_BAD)
		dial_fail(c, "the peer does not speak TSP");
	else if (c->state == ST_CAPABILITY)
		read_capability(c, p, len);
	else if (c->state == ST_LOGIN)
		read_login(c, p, len);
	else
		c->ops->frame(c, p, len);
	if (conn_find(ref) != c)
		return (-1);
	conn_consume(c, (size_t)used);
	return (1);
}

void
dial_input(struct conn *c)
{
	int n = 1;

	while (n == 1 && !must_wait(c)) {
		conn_consume(c, tsp_skip(c->in, c->in_len));
		n = c->in_len > 0 ? read_one(c) : 0;
	}
	if (n != -1 && c->state != ST_LINGER)
		conn_stop(c, c->in_len == IN_SIZE);
}
