/*
 * TSP connections: slots, buffers, timers. A slot's generation grows with
 * each use, so that what is late for an old connection finds nobody.
 *
 * One that was accepted is freed by its own events alone (its end, its
 * timer), never below a function that handles its input: conn_linger is
 * how those end it. One that we dialled is freed by dial_fail.
 */
#include <sys/types.h>
#include <sys/socket.h>

#include <netinet/tcp.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "session/session-int.h"

#define DRAIN_MAX	(256 * 1024)	/* octets read while lingering */
/* s: a peer that vanished is missed. A TEP's sooner: nodes wait for it. */
#define ALIVE_ACCEPTED	300
#define ALIVE_DIALLED	30
#define ALIVE_INTERVAL	15
#define ALIVE_COUNT	4

static struct conn	*conns[CONN_MAX];
static uint32_t		 gens[CONN_MAX];
static uint32_t		 free_slots[CONN_MAX], nfree, nslots;

/*
 * The log
 */
void
conn_log(const struct conn *c, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (c == NULL)
		log_peer("%s", text);
	else if (c->name[0] == '\0')
		log_peer("%s: %s", log_in6(&c->peer), text);
	else
		log_peer("%s (%s): %s", c->name, log_in6(&c->peer), text);
}

/*
 * Slots
 */
struct conn *
conn_find(struct conn_ref ref)
{
	struct conn *c;

	if (ref.id >= CONN_MAX || (c = conns[ref.id]) == NULL ||
	    c->ref.gen != ref.gen)
		return (NULL);
	return (c);
}

void
conn_each(void (*cb)(struct conn *))
{
	uint32_t i;

	for (i = 0; i < nslots; i++)
		if (conns[i] != NULL)
			cb(conns[i]);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;

	(void)fd;
	(void)what;
	c->due = 0;
	if (c->state == ST_LINGER)
		conn_close(c);
	else if (c->kind == CONN_ACCEPTED)
		serve_timeout(c);
	else
		dial_fail(c, "no answer in time");
}

struct conn *
conn_new(enum conn_kind kind, uint32_t index)
{
	struct conn *c;
	uint32_t id;

	if (nfree > 0)
		id = free_slots[--nfree];
	else if (nslots < CONN_MAX)
		id = nslots++;
	else
		return (NULL);
	if ((c = calloc(1, sizeof(*c))) == NULL)
		fatal(NULL);
	if (gens[id] < session.conf.last_gen)
		gens[id] = session.conf.last_gen;
	gens[id]++;
	c->ref.id = id;
	c->ref.gen = gens[id];
	c->kind = kind;
	c->index = index;
	c->fd = -1;
	TAILQ_INIT(&c->requests);
	if ((c->timer = evtimer_new(session.base, on_timer, c)) == NULL)
		fatalx("evtimer_new");
	conns[id] = c;
	return (c);
}

void
conn_deadline(struct conn *c, int64_t at)
{
	int64_t now = now_ms();

	if (at == -1) {
		conn_timer(c, -1);
		return;
	}
	/* Set anew, an event that is due already is forgotten by the loop. */
	if (at == c->due)
		return;
	conn_timer(c, at > now ? at - now : 0);
	c->due = at;
}

void
conn_timer(struct conn *c, int64_t ms)
{
	c->due = 0;
	if (ms < 0)
		evtimer_del(c->timer);
	else
		timer_set(c->timer, ms);
}

/*
 * Writing
 */
static void
out_free(struct conn *c)
{
	free(c->out);
	c->out = NULL;
	c->out_len = c->out_size = 0;
}

/* The octets that the socket took. An error shows at the next read. */
static size_t
send_some(struct conn *c, const uint8_t *data, size_t len)
{
	ssize_t n;

	do
		n = send(c->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n == -1 && errno == EINTR);
	if (n >= 0)
		return ((size_t)n);
	if (errno != EAGAIN && !c->broken) {
		c->broken = 1;
		event_active(c->ev_read, EV_READ, 1);
	}
	return (0);
}

static void
want_write(struct conn *c)
{
	if (event_add(c->ev_write, NULL) == -1)
		fatalx("event_add");
}

static void
flush(struct conn *c)
{
	size_t n;

	n = send_some(c, c->out, c->out_len);
	c->out_len -= n;
	memmove(c->out, c->out + n, c->out_len);
	if (c->out_len > 0 && !c->broken) {
		want_write(c);
		return;
	}
	out_free(c);
	if (c->state == ST_LINGER)
		(void)shutdown(c->fd, SHUT_WR);
}

static int
out_add(struct conn *c, const uint8_t *data, size_t len)
{
	size_t size;
	uint8_t *p;

	if (len > OUT_SIZE - c->out_len)
		return (-1);
	if (c->out_len + len > c->out_size) {
		for (size = 1024; size < c->out_len + len; size *= 2)
			;
		if ((p = realloc(c->out, size)) == NULL)
			fatal(NULL);
		c->out = p;
		c->out_size = size;
	}
	memcpy(c->out + c->out_len, data, len);
	c->out_len += len;
	return (0);
}

void
conn_write(struct conn *c, const void *data, size_t len)
{
	const uint8_t *p = data;
	size_t n = 0;

	if (c->fd == -1 || c->state == ST_LINGER || c->broken)
		return;
	if (c->out_len == 0)
		n = send_some(c, p, len);
	if (n == len || c->broken)
		return;
	if (out_add(c, p + n, len - n) == -1) {
		conn_log(c, "does not read what it is sent: closed");
		c->reason = "it does not read";
		out_free(c);
		conn_linger(c);
		return;
	}
	want_write(c);
}

static void
on_write(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;

	(void)fd;
	(void)what;
	if (c->state == ST_CONNECTING)
		dial_writable(c);
	else if (c->out_len > 0)
		flush(c);
}

/*
 * Reading
 */
static void
in_free(struct conn *c)
{
	if (c->in != NULL)
		freezero(c->in, IN_SIZE);
	c->in = NULL;
	c->in_len = 0;
}

void
conn_consume(struct conn *c, size_t n)
{
	if (n > c->in_len)
		n = c->in_len;		/* it was ended meanwhile */
	if (n == 0)
		return;
	c->in_len -= n;
	memmove(c->in, c->in + n, c->in_len);
}

void
conn_input(struct conn *c)
{
	struct conn_ref ref = c->ref;

	if (c->kind == CONN_ACCEPTED)
		serve_input(c);
	else
		dial_input(c);
	if (conn_find(ref) == c && c->in_len == 0)
		in_free(c);
}

/* Nothing is wanted any more, but a RST would take the last status away. */
static void
drain(struct conn *c)
{
	char buf[4096];
	ssize_t n;

	n = read(c->fd, buf, sizeof(buf));
	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return;
	c->drained += n > 0 ? (size_t)n : 0;
	if (n <= 0 || c->drained > DRAIN_MAX)
		conn_close(c);
}

static void
on_read(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;
	ssize_t n;

	(void)what;
	if (c->broken) {
		conn_close(c);
		return;
	}
	if (c->state == ST_LINGER || c->state == ST_CONNECTING) {
		if (c->state == ST_LINGER)
			drain(c);
		else
			dial_writable(c);	/* it has failed, or more */
		return;
	}
	if (c->in == NULL && (c->in = malloc(IN_SIZE)) == NULL)
		fatal(NULL);
	if (c->in_len == IN_SIZE) {
		/* what it waits for looks at it again */
		conn_stop(c, 1);
		return;
	}
	n = read((int)fd, c->in + c->in_len, IN_SIZE - c->in_len);
	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		if (n == -1)
			c->reason = strerror(errno);
		conn_close(c);
		return;
	}
	c->in_len += (size_t)n;
	conn_input(c);
}

void
conn_stop(struct conn *c, int stop)
{
	if (c->fd == -1 || c->stopped == stop)
		return;
	c->stopped = stop;
	if (stop)
		event_del(c->ev_read);
	else if (event_add(c->ev_read, NULL) == -1)
		fatalx("event_add");
}

/*
 * Begin and end
 */
static void
set_options(struct conn *c)
{
	int on = 1;

	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(c->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
#ifdef TCP_KEEPIDLE
	{
		int idle = c->kind == CONN_ACCEPTED ? ALIVE_ACCEPTED :
		    ALIVE_DIALLED;
		int interval = ALIVE_INTERVAL, count = ALIVE_COUNT;

		(void)setsockopt(c->fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle,
		    sizeof(idle));
		(void)setsockopt(c->fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval,
		    sizeof(interval));
		(void)setsockopt(c->fd, IPPROTO_TCP, TCP_KEEPCNT, &count,
		    sizeof(count));
	}
#endif
}

void
conn_attach(struct conn *c, int fd, const struct in6_addr *peer)
{
	struct sockaddr_in6 sin6;
	socklen_t len = sizeof(sin6);

	c->fd = fd;
	if (evutil_make_socket_nonblocking(fd) == -1)
		fatal("connection");
	if (peer != NULL)
		c->peer = *peer;
	memset(&sin6, 0, sizeof(sin6));
	if (getsockname(fd, (struct sockaddr *)&sin6, &len) == 0 &&
	    sin6.sin6_family == AF_INET6)
		c->local = sin6.sin6_addr;
	set_options(c);
	if (c->kind == CONN_ACCEPTED)
		source_enter(c->source = source_of(&c->peer));
	c->ev_read = event_new(session.base, fd, EV_READ | EV_PERSIST,
	    on_read, c);
	c->ev_write = event_new(session.base, fd, EV_WRITE, on_write, c);
	if (c->ev_read == NULL || c->ev_write == NULL ||
	    event_add(c->ev_read, NULL) == -1)
		fatalx("event_new");
}

/* What others hold of it. */
static void
leave(struct conn *c)
{
	struct msg_conn m;

	memset(&m, 0, sizeof(m));
	m.conn = c->ref;
	if (c->opened)
		msg_put(session.priv, MSG_CONN_CLOSE, &m, sizeof(m));
	if (c->state == ST_SASL || c->state == ST_LOGIN)
		msg_put(session.auth, MSG_AUTH_ABORT, &m, sizeof(m));
	c->opened = 0;
	serve_left(c);
	request_drop(c);
	if (c->final != NULL)
		freezero(c->final, c->final_len);
	c->final = NULL;
}

void
conn_linger(struct conn *c)
{
	if (c->state == ST_LINGER)
		return;
	leave(c);
	c->state = ST_LINGER;
	/* The buffer itself stays: who called may be reading in it. */
	c->in_len = 0;
	conn_timer(c, session.linger_ms);
	if (c->fd == -1)
		return;
	conn_stop(c, 0);
	if (c->out_len == 0)
		(void)shutdown(c->fd, SHUT_WR);
}

void
conn_close(struct conn *c)
{
	if (c->kind != CONN_ACCEPTED)
		dial_gone(c);
	else if (c->state == ST_SASL && c->stepping && !c->sasl_ok)
		source_failed(c->source);	/* it does not want to hear it */
	leave(c);
	if (c->fd != -1) {
		event_free(c->ev_read);
		event_free(c->ev_write);
		close(c->fd);
		if (c->kind == CONN_ACCEPTED)
			source_leave(c->source);
	}
	event_free(c->timer);
	out_free(c);
	in_free(c);
	conns[c->ref.id] = NULL;
	/* One that has used its generations stays free for ever. */
	if (c->ref.gen - session.conf.last_gen < CONN_GENS - 1)
		free_slots[nfree++] = c->ref.id;
	freezero(c, sizeof(*c));
}
