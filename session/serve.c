/*
 * The server's side of a connection, of a node or of a server whose TEP we
 * are, up to its requests: version, capability, authentication. One attempt
 * to authenticate for a connection.
 */
#include <sys/types.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "session/session-int.h"

/* The last message before we close. */
static void
end(struct conn *c, const char *buf, int len)
{
	if (len > 0)
		conn_write(c, buf, (size_t)len);
	conn_linger(c);
}

/* A last line, and why for the log: never a word about the secret. */
static void
auth_fail(struct conn *c, enum tsp_status status, const char *why)
{
	char buf[128];
	int n;

	if (c->state == ST_LINGER)
		return;
	conn_log(c, "%s", why);
	n = emit_auth_status(buf, sizeof(buf), status, c->dialect);
	end(c, buf, n);
}

/* 302, or 1302 where somebody else may speak its version. */
static void
version_fail(struct conn *c)
{
	char buf[TSP_REPLY_MAX + 64];
	int n;

	if (session.conf.nredirects == 0) {
		auth_fail(c, STATUS_VERSION, "unsupported version");
		return;
	}
	conn_log(c, "unsupported version: redirected");
	n = emit_redirect(buf, sizeof(buf), STATUS_VERSION, c->dialect, 0,
	    session.conf.redirects, session.conf.nredirects);
	end(c, buf, n);
}

/*
 * Handshakes: those that are listened to, in their order, behind those that
 * come too often and are not. Guests: logged in, and not seen to hold a lease.
 */
#define SHED_AGE	3000		/* ms: then an honest peer has said all */
#define SHED_LOOKS	16		/* at so many */
#define SHED_LINGER	100		/* ms: its place is wanted */

TAILQ_HEAD(conn_list, conn);
static struct conn_list	 handshakes = TAILQ_HEAD_INITIALIZER(handshakes);
static struct conn_list	 guests = TAILQ_HEAD_INITIALIZER(guests);

static void
unlist(struct conn *c)
{
	if (c->list == LIST_HANDSHAKES) {
		TAILQ_REMOVE(&handshakes, c, handshake);
		session.nhandshakes--;
	} else if (c->list == LIST_GUESTS)
		TAILQ_REMOVE(&guests, c, handshake);
	c->list = LIST_NONE;
}

static void
list_handshake(struct conn *c)
{
	unlist(c);
	if (c->state == ST_HELD)
		TAILQ_INSERT_HEAD(&handshakes, c, handshake);
	else
		TAILQ_INSERT_TAIL(&handshakes, c, handshake);
	session.nhandshakes++;
	c->list = LIST_HANDSHAKES;
	c->listed = now_ms();
}

static void
list_guest(struct conn *c)
{
	unlist(c);
	if (c->role != ROLE_SERVER)
		return;
	TAILQ_INSERT_TAIL(&guests, c, handshake);
	c->list = LIST_GUESTS;
	c->listed = now_ms();
}

/* Is it the peer that we wait for, not the peer for us? */
static int
lets_wait(const struct conn *c)
{
	switch (c->state) {
	case ST_HELD:
		return (1);
	case ST_VERSION:
	case ST_AUTHENTICATE:
		break;
	case ST_SASL:
		if (c->stepping || c->sasl_ok)
			return (0);
		break;
	default:
		return (0);
	}
	return (now_ms() - c->listed >= SHED_AGE);
}

int
serve_shed(void)
{
	struct conn *c;
	int looks = 0;

	TAILQ_FOREACH(c, &handshakes, handshake) {
		if (lets_wait(c)) {
			auth_fail(c, STATUS_BUSY,
			    "makes room for others: its login took too long");
			conn_timer(c, SHED_LINGER);
			return (1);
		}
		if (++looks == SHED_LOOKS)
			break;
	}
	return (0);
}

int
serve_shed_guest(void)
{
	struct conn *c;
	int looks;

	for (looks = 0; looks < SHED_LOOKS; looks++) {
		if ((c = TAILQ_FIRST(&guests)) == NULL ||
		    now_ms() - c->listed < SHED_AGE)
			return (0);
		if (TAILQ_EMPTY(&c->requests) && c->lease_until <= now_ms()) {
			conn_log(c, "makes room for others: it has no lease");
			request_end(c, STATUS_BUSY);
			if (c->state == ST_LINGER)
				conn_timer(c, SHED_LINGER);
			return (1);
		}
		list_guest(c);
	}
	return (0);
}

/* Those that sent what we could not take yet, in their order. */
static TAILQ_HEAD(, conn) waiters = TAILQ_HEAD_INITIALIZER(waiters);
static uint32_t		 nwaiters;

static void
set_waits(struct conn *c, int waits)
{
	if (c->waits == waits)
		return;
	c->waits = waits;
	if (waits) {
		TAILQ_INSERT_TAIL(&waiters, c, waiter);
		nwaiters++;
	} else {
		TAILQ_REMOVE(&waiters, c, waiter);
		nwaiters--;
	}
}

void
serve_left(struct conn *c)
{
	unlist(c);
	set_waits(c, 0);
}

/* As many as wait now: one may wait again, or this be called from within. */
void
serve_resume(void)
{
	struct conn *c;
	uint32_t n;

	for (n = nwaiters; n > 0 && (c = TAILQ_FIRST(&waiters)) != NULL; n--) {
		set_waits(c, 0);
		conn_input(c);
	}
}

static void
serve_begin(struct conn *c)
{
	c->state = ST_VERSION;
	list_handshake(c);
	conn_timer(c, (int64_t)session.conf.auth_timeout * 1000);
}

void
serve_start(struct conn *c, int64_t wait)
{
	if (wait == 0) {
		serve_begin(c);
		return;
	}
	c->state = ST_HELD;
	list_handshake(c);
	conn_timer(c, wait);
}

void
serve_end(struct conn *c)
{
	if (c->state == ST_COMMAND)
		request_end(c, STATUS_BUSY);
	else
		auth_fail(c, STATUS_BUSY, "ended by the parent");
}

static void
read_version(struct conn *c, const uint8_t *line, size_t len)
{
	char buf[256];
	int n;

	if ((c->dialect = tsp_version(line, len)) == DIALECT_NONE) {
		version_fail(c);
		return;
	}
	n = emit_capability(buf, sizeof(buf), listen_mechs(c->index));
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
	if ((c->mech & mech_set(listen_mechs(c->index))) == 0) {
		auth_fail(c, STATUS_AUTH, "a mechanism that is not offered");
		return;
	}
	if (source_locked(c->source)) {
		auth_fail(c, STATUS_BUSY, "too many logins from there failed");
		return;
	}
	if ((fd = fcntl(c->fd, F_DUPFD_CLOEXEC, 0)) == -1) {
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
	/*
	 * TSP's ANONYMOUS sends no message, and in DIGEST-MD5 the server
	 * speaks first: an empty one stands for what is not sent.
	 */
	ms.has_blob = (c->mech & (MECH_ANONYMOUS | MECH_DIGEST_MD5)) != 0;
	ms.ends.from = c->peer;
	ms.ends.to = c->local;
	c->stepping = ms.has_blob != 0;
	c->state = ST_SASL;
	if (ms.has_blob)
		ask_auth(c, MSG_AUTH_START, &ms, sizeof(ms), NULL, 0);
	else
		msg_put(session.auth, MSG_AUTH_START, &ms, sizeof(ms));
	conn_input(c);
}

static void
read_blob(struct conn *c, const uint8_t *line, size_t len)
{
	struct msg_auth_step ms;
	uint8_t blob[SASL_BLOB_MAX];
	size_t n;

	if (tsp_sasl_decode(c->mech, line, len, blob, sizeof(blob), &n) == -1)
		auth_fail(c, STATUS_AUTH, "a SASL step that is not base64");
	else {
		memset(&ms, 0, sizeof(ms));
		ms.conn = c->ref;
		c->stepping = 1;
		ask_auth(c, MSG_AUTH_STEP, &ms, sizeof(ms), blob, n);
	}
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
	explicit_bzero(line, sizeof(line));
}

static void
write_success(struct conn *c)
{
	char buf[128];
	int n;

	n = emit_auth_status(buf, sizeof(buf), STATUS_OK, c->dialect);
	conn_write(c, buf, (size_t)n);
	if (c->state == ST_LINGER)
		return;
	c->pausing = 0;
	list_guest(c);
	c->state = ST_COMMAND;
	c->active = now_ms();
	log_debug("%s authenticated from %s", c->name, log_in6(&c->peer));
	request_timer(c);
	conn_input(c);
}

/* Once both auth and the parent have said yes. */
static void
auth_success(struct conn *c)
{
	if (!c->sasl_ok || !c->priv_ok)
		return;
	if (c->final != NULL) {
		write_blob(c, c->final, c->final_len);
		freezero(c->final, c->final_len);
		c->final = NULL;
		/* field clients must read rspauth and success one by one */
		if (c->mech == MECH_DIGEST_MD5 &&
		    c->dialect == DIALECT_RFC && c->state == ST_SASL) {
			c->pausing = 1;
			conn_timer(c, session.conf.success_pause);
			return;
		}
	}
	if (c->state == ST_SASL)
		write_success(c);
}

void
serve_timeout(struct conn *c)
{
	if (c->state == ST_HELD) {
		serve_begin(c);
		conn_input(c);
		return;
	}
	if (c->state == ST_COMMAND)
		request_timeout(c);
	else if (c->pausing)
		write_success(c);
	else if (c->state == ST_OPENING || c->stepping || c->sasl_ok)
		auth_fail(c, STATUS_BUSY, "no answer of our own to the login");
	else
		auth_fail(c, STATUS_AUTH, "not authenticated in time");
}

void
serve_auth_next(struct conn *c, const struct msg_auth_next *mn,
    const uint8_t *blob, size_t len)
{
	if (c->state != ST_SASL || c->sasl_ok)
		return;
	c->stepping = 0;
	if (mn->result == AUTH_MORE && mn->has_blob &&
	    c->mech != MECH_ANONYMOUS) {
		write_blob(c, blob, len);
		if (c->state == ST_SASL)
			conn_input(c);
	} else if (mn->result == AUTH_OK) {
		c->sasl_ok = 1;
		if (mn->has_blob && c->mech != MECH_ANONYMOUS) {
			if ((c->final = malloc(len + 1)) == NULL)
				fatal(NULL);
			memcpy(c->final, blob, len);
			c->final_len = len;
		}
		auth_success(c);
	} else {
		source_failed(c->source);
		auth_fail(c, STATUS_AUTH, "authentication failed");
	}
}

void
serve_auth_done(struct conn *c, const struct msg_auth_done *md)
{
	if (c->state != ST_SASL || c->priv_ok)
		return;
	if (!md->ok) {
		auth_fail(c, STATUS_AUTH, "authenticated, but not wanted");
		return;
	}
	c->priv_ok = 1;
	c->role = md->role;
	strlcpy(c->name, md->name, sizeof(c->name));
	auth_success(c);
}

/* Not the client's fault, so not 300. */
void
serve_auth_lost(struct conn *c)
{
	if (c->state == ST_SASL && !c->sasl_ok)
		auth_fail(c, STATUS_BUSY, "auth died within the login");
}

/* One line of the buffer: 1 it was taken, 0 not (whole) there. */
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
	conn_consume(c, (size_t)used);
	return (1);
}

/* Is an answer of ours to come before the client may say more? */
static int
must_wait(const struct conn *c)
{
	switch (c->state) {
	case ST_VERSION:
	case ST_AUTHENTICATE:
		/* it will need the parent */
		return (msglink_full(session.priv));
	case ST_SASL:
		return (c->stepping || c->sasl_ok || session.auth == NULL ||
		    msglink_full(session.auth));
	case ST_COMMAND:
		return (request_full(c));
	default:
		return (1);
	}
}

void
serve_input(struct conn *c)
{
	int wait, more = 1;

	while (more && !must_wait(c)) {
		conn_consume(c, tsp_skip(c->in, c->in_len));
		if (c->in_len == 0)
			break;
		more = c->state == ST_COMMAND ? request_read(c) : read_line(c);
	}
	if (c->state == ST_LINGER)
		return;
	wait = must_wait(c);
	/*
	 * What comes meanwhile is for the kernel to keep; in the lines before
	 * the requests there is room for what a client sends ahead.
	 */
	conn_stop(c, c->in_len == IN_SIZE || (c->state == ST_COMMAND && wait));
	set_waits(c, wait && (c->in_len > 0 || c->stopped));
	if (c->state == ST_COMMAND) {
		if (wait || c->in_len == 0)
			c->partial = 0;
		request_timer(c);
	}
}
