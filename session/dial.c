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

	if ((c = conn_new(-1, kind, index)) == NULL)
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

/* Ends it; the role hears why by ops->down. */
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
dial_timeout(struct conn *c)
{
	dial_fail(c, "no answer in time");
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
	conn_attach(c, m->fd);
	m->fd = -1;
	event_add(c->ev_write, NULL);
}

void
dial_writable(struct conn *c)
{
	static const char version[] = "VERSION=1.0\r\n";
	struct sockaddr_in6 sin6;
	socklen_t len = sizeof(int);
	int error = 0;

	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) == -1)
		error = errno;
	if (error != 0) {
		dial_fail(c, strerror(error));
		return;
	}
	len = sizeof(sin6);
	if (getpeername(c->fd, (struct sockaddr *)&sin6, &len) == 0)
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
	n = snprintf(buf, sizeof(buf), "AUTHENTICATE %s\r\n",
	    mech_name(c->mech));
	memset(&ms, 0, sizeof(ms));
	ms.conn = c->ref;
	ms.side = AUTH_CLIENT;
	ms.mech = c->mech;
	ms.cred = c->cred;
	c->state = ST_LOGIN;
	conn_write(c, buf, (size_t)n);
	msg_put(session.auth, MSG_AUTH_START, &ms, sizeof(ms));
}

static void
check_success(struct conn *c)
{
	if (!c->sasl_ok || !c->priv_ok || !c->success_line ||
	    c->state != ST_LOGIN)
		return;
	c->state = ST_CLIENT;
	conn_timer(c, -1);
	c->ops->up(c);
}

static void
read_login(struct conn *c, const uint8_t *line, size_t len)
{
	struct msg_auth_step ms;
	uint8_t blob[SASL_BLOB_MAX];
	size_t n;
	int code = -1;

	/* A status has a space in it, base64 has none. */
	if (memchr(line, ' ', len) != NULL)
		code = tsp_status_line(line, len);
	if (code == STATUS_OK) {
		c->success_line = 1;
		check_success(c);
		return;
	}
	if (code == STATUS_AUTH || c->sasl_ok) {
		dial_fail(c, "300 Authentication failed");
		return;
	}
	if (code != -1) {
		dial_fail(c, "the peer refuses the login");
		return;
	}
	if (tsp_base64_decode(line, len, blob, sizeof(blob), &n) == -1) {
		dial_fail(c, "a SASL line that is none");
		return;
	}
	memset(&ms, 0, sizeof(ms));
	ms.conn = c->ref;
	msg_send(session.auth, MSG_AUTH_STEP, -1, &ms, sizeof(ms), blob, n);
}

void
dial_auth_next(struct conn *c, const struct msg_auth_next *mn,
    const uint8_t *blob, size_t len)
{
	char line[TSP_LINE_MAX + 8];
	int n;

	if (c->state != ST_LOGIN)
		return;
	if (mn->result != AUTH_MORE && mn->result != AUTH_OK) {
		dial_fail(c, "authentication failed: the peer did not prove "
		    "itself, or our password is wrong");
		return;
	}
	if (mn->has_blob && c->mech != MECH_ANONYMOUS) {
		if ((n = tsp_base64_line(blob, len, line, sizeof(line))) == -1) {
			dial_fail(c, "a SASL step that is too long");
			return;
		}
		conn_write(c, line, (size_t)n);
	}
	if (mn->result == AUTH_OK)
		c->sasl_ok = 1;
	check_success(c);
}

void
dial_auth_done(struct conn *c, const struct msg_auth_done *md)
{
	if (c->state != ST_LOGIN)
		return;
	if (!md->ok) {
		dial_fail(c, "the parent does not want this peer");
		return;
	}
	c->priv_ok = 1;
	check_success(c);
}

void
dial_parsed(struct conn *c, const struct msg_parsed *mp)
{
	if (c->state != ST_CLIENT)
		return;
	if (!mp->ok) {
		log_warnx("%s sends a bad message: %s", log_in6(&c->peer),
		    mp->text);
		dial_fail(c, "a bad message");
		return;
	}
	c->ops->parsed(c, mp);
}

/* One element of the buffer: octets used, 0 not whole, -1 it is over. */
static int
read_one(struct conn *c)
{
	const uint8_t *p;
	size_t len;
	int used;

	if (c->state == ST_CLIENT)
		used = tsp_frame(c->in, c->in_len, &p, &len);
	else
		used = tsp_line(c->in, c->in_len, &p, &len);
	if (used == TSP_BAD) {
		dial_fail(c, "the peer does not speak TSP");
		return (-1);
	}
	if (used == TSP_AGAIN)
		return (0);
	switch (c->state) {
	case ST_CAPABILITY:
		read_capability(c, p, len);
		break;
	case ST_LOGIN:
		read_login(c, p, len);
		break;
	case ST_CLIENT:
		c->ops->frame(c, p, len);
		break;
	default:
		break;
	}
	return (used);
}

void
dial_input(struct conn *c)
{
	struct conn_ref ref = c->ref;
	size_t used;
	int n;

	for (;;) {
		used = tsp_skip(c->in, c->in_len);
		c->in_len -= used;
		memmove(c->in, c->in + used, c->in_len);
		/* after the success line nothing is read until it is true */
		if (c->in_len == 0 ||
		    (c->state == ST_LOGIN && c->success_line))
			return;
		n = read_one(c);
		if (conn_find(ref) == NULL || n <= 0)
			return;
		c->in_len -= (size_t)n;
		memmove(c->in, c->in + n, c->in_len);
	}
}
