/*
 * TSP connections: slots, buffers, timers. A slot's generation grows with
 * each use, so that what is late for an old connection finds nobody.
 */
#include <sys/types.h>
#include <sys/socket.h>

#include <netinet/tcp.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "session/session-int.h"

#define SOURCES		4096		/* hash of sources */

struct source {
	LIST_ENTRY(source)	 entry;
	struct in6_addr		 addr;
	uint32_t		 count;
};
LIST_HEAD(source_list, source);

static struct conn	*conns[CONN_MAX];
static uint32_t		 gens[CONN_MAX];
static uint32_t		 free_slots[CONN_MAX], nfree, nslots;
static struct source_list sources[SOURCES];

static struct source *
source_find(const struct in6_addr *addr, int make)
{
	static uint32_t seed;
	uint32_t h, word, i;
	struct source *s;

	if (seed == 0)
		seed = arc4random() | 1;
	for (i = 0, h = seed; i < 4; i++) {
		memcpy(&word, &addr->s6_addr[4 * i], sizeof(word));
		h = (h ^ word) * 0x9e3779b1U;
		h ^= h >> 15;
	}
	LIST_FOREACH(s, &sources[h % SOURCES], entry)
		if (IN6_ARE_ADDR_EQUAL(&s->addr, addr))
			return (s);
	if (!make)
		return (NULL);
	if ((s = calloc(1, sizeof(*s))) == NULL)
		fatal(NULL);
	s->addr = *addr;
	LIST_INSERT_HEAD(&sources[h % SOURCES], s, entry);
	return (s);
}

int
conn_source_count(const struct in6_addr *addr)
{
	const struct source *s = source_find(addr, 0);

	return (s != NULL ? (int)s->count : 0);
}

static void
source_leave(const struct in6_addr *addr)
{
	struct source *s = source_find(addr, 0);

	if (s != NULL && --s->count == 0) {
		LIST_REMOVE(s, entry);
		free(s);
	}
}

struct conn *
conn_find(struct conn_ref ref)
{
	struct conn *c;

	if (ref.id >= CONN_MAX || (c = conns[ref.id]) == NULL ||
	    c->ref.gen != ref.gen)
		return (NULL);
	return (c);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;

	(void)fd;
	(void)what;
	if (c->state == ST_LINGER)
		conn_close(c);
	else if (c->kind == CONN_ACCEPTED)
		serve_timeout(c);
	else
		dial_timeout(c);
}

/* A slot: fd -1 where the socket comes later. NULL: all are taken. */
struct conn *
conn_new(int fd, enum conn_kind kind, uint32_t index)
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
	if (++gens[id] == 0)
		gens[id] = 1;
	c->ref.id = id;
	c->ref.gen = gens[id];
	c->kind = kind;
	c->index = index;
	c->fd = -1;
	TAILQ_INIT(&c->requests);
	if ((c->timer = evtimer_new(session.base, on_timer, c)) == NULL)
		fatalx("evtimer_new");
	conns[id] = c;
	if (fd != -1)
		conn_attach(c, fd);
	return (c);
}

static void
flush(struct conn *c)
{
	ssize_t n;

	while (c->out_len > 0) {
		n = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1 && errno == EAGAIN)
			break;
		if (n == -1) {
			/* the reader will see the end */
			c->out_len = 0;
			break;
		}
		c->out_len -= (size_t)n;
		memmove(c->out, c->out + n, c->out_len);
	}
	if (c->out_len > 0)
		event_add(c->ev_write, NULL);
	else if (c->state == ST_LINGER)
		shutdown(c->fd, SHUT_WR);
}

static void
on_write(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;

	(void)fd;
	(void)what;
	if (c->state == ST_CONNECTING)
		dial_writable(c);
	else
		flush(c);
}

void
conn_input(struct conn *c)
{
	if (c->state == ST_LINGER)
		c->in_len = 0;
	else if (c->kind == CONN_ACCEPTED)
		serve_input(c);
	else
		dial_input(c);
}

static void
on_read(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;
	ssize_t n;

	(void)what;
	if (c->in_len == sizeof(c->in)) {
		/* a whole message fits: its handler waits for an answer */
		conn_stop(c, 1);
		return;
	}
	n = read((int)fd, c->in + c->in_len, sizeof(c->in) - c->in_len);
	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		conn_close(c);
		return;
	}
	c->in_len += (size_t)n;
	conn_input(c);
}

void
conn_attach(struct conn *c, int fd)
{
	struct sockaddr_in6 sin6;
	socklen_t len = sizeof(sin6);
	int on = 1;

	c->fd = fd;
	memset(&sin6, 0, sizeof(sin6));
	if (getpeername(fd, (struct sockaddr *)&sin6, &len) == 0)
		c->peer = sin6.sin6_addr;
	len = sizeof(sin6);
	if (getsockname(fd, (struct sockaddr *)&sin6, &len) == 0)
		c->local = sin6.sin6_addr;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	if (c->kind == CONN_ACCEPTED)
		source_find(&c->peer, 1)->count++;
	c->ev_read = event_new(session.base, fd, EV_READ | EV_PERSIST,
	    on_read, c);
	c->ev_write = event_new(session.base, fd, EV_WRITE, on_write, c);
	if (c->ev_read == NULL || c->ev_write == NULL ||
	    event_add(c->ev_read, NULL) == -1)
		fatalx("event_new");
}

void
conn_write(struct conn *c, const void *data, size_t len)
{
	if (c->fd == -1 || c->state == ST_LINGER)
		return;
	if (len > sizeof(c->out) - c->out_len) {
		log_info("%s does not read what it is sent: closed",
		    log_in6(&c->peer));
		c->out_len = 0;
		conn_linger(c);
		return;
	}
	memcpy(c->out + c->out_len, data, len);
	c->out_len += len;
	flush(c);
}

void
conn_timer(struct conn *c, int64_t ms)
{
	if (ms < 0)
		evtimer_del(c->timer);
	else
		timer_set(c->timer, ms);
}

void
conn_stop(struct conn *c, int stop)
{
	if (c->fd == -1 || c->stopped == stop)
		return;
	c->stopped = stop;
	if (stop)
		event_del(c->ev_read);
	else
		event_add(c->ev_read, NULL);
}

/* What belongs to it elsewhere. */
static void
conn_leave(struct conn *c)
{
	struct msg_conn m;
	struct request *r;

	memset(&m, 0, sizeof(m));
	m.conn = c->ref;
	if (c->opened)
		msg_put(session.priv, MSG_CONN_CLOSE, &m, sizeof(m));
	if (c->state == ST_SASL || c->state == ST_LOGIN ||
	    c->state == ST_SUCCESS)
		msg_put(session.auth, MSG_AUTH_ABORT, &m, sizeof(m));
	c->opened = 0;
	while ((r = TAILQ_FIRST(&c->requests)) != NULL) {
		TAILQ_REMOVE(&c->requests, r, entry);
		free(r);
	}
	c->nrequests = 0;
}

void
conn_linger(struct conn *c)
{
	if (c->state == ST_LINGER)
		return;
	conn_leave(c);
	c->state = ST_LINGER;
	c->in_len = 0;
	conn_stop(c, 0);
	conn_timer(c, LINGER_MS);
	flush(c);
}

void
conn_close(struct conn *c)
{
	if (c->kind != CONN_ACCEPTED)
		dial_gone(c);
	conn_leave(c);
	if (c->fd != -1) {
		event_free(c->ev_read);
		event_free(c->ev_write);
		close(c->fd);
		if (c->kind == CONN_ACCEPTED)
			source_leave(&c->peer);
	}
	event_free(c->timer);
	conns[c->ref.id] = NULL;
	free_slots[nfree++] = c->ref.id;
	freezero(c, sizeof(*c));
}

void
conn_each(void (*cb)(struct conn *))
{
	uint32_t i;

	for (i = 0; i < nslots; i++)
		if (conns[i] != NULL)
			cb(conns[i]);
}
