/* Listeners, and how many may come. */
#include <sys/types.h>
#include <sys/socket.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "session/session-int.h"

#define ACCEPT_BATCH	64
#define ACCEPT_PAUSE	500		/* ms, out of descriptors */

struct listener {
	int			 fd;
	uint32_t		 mechs[MECH_MAX];
	struct event		*event, *resume;
};

static struct listener	 listeners[LISTEN_MAX];

/* Slots that clients never take: those of our own calls. */
#define SLOTS_OWN	(TEP_MAX + SERVER_MAX + CALL_MAX)

/*
 * One more of its source? In all, room is made where it can be, for those who
 * come when that one has gone.
 */
static int
too_many(const struct source *s)
{
	if (source_count(s) >= session.conf.max_source)
		return (1);
	if (session.naccepted >= session.conf.max_conns ||
	    session.naccepted >= CONN_MAX - SLOTS_OWN) {
		if (!serve_shed())
			(void)serve_shed_guest();
		return (1);
	}
	return (session.nhandshakes >= session.conf.handshakes &&
	    !serve_shed());
}

void
listen_accepted(int fd, uint32_t index, const struct in6_addr *peer)
{
	struct source *s = source_of(peer);
	struct conn *c;
	int64_t wait;
	char buf[64];
	int n;

	if ((wait = source_turn(s)) == -1 || too_many(s) ||
	    (c = conn_new(CONN_ACCEPTED, index)) == NULL) {
		if (wait == -1)
			conn_log(NULL, "%s: more than %u connections a second",
			    log_in6(peer), session.conf.source_rate);
		else
			conn_log(NULL, "%s: one connection too many, of %u "
			    "from there, %u in all, %u not logged in",
			    log_in6(peer), source_count(s),
			    session.naccepted, session.nhandshakes);
		n = emit_auth_status(buf, sizeof(buf), STATUS_BUSY,
		    DIALECT_RFC);
		(void)send(fd, buf, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
		close(fd);
		return;
	}
	conn_attach(c, fd, peer);
	serve_start(c, wait);
}

static void
on_accept(evutil_socket_t lfd, short what, void *arg)
{
	struct listener *ln = arg;
	struct sockaddr_in6 sin6;
	socklen_t len;
	int fd, i;

	(void)what;
	for (i = 0; i < ACCEPT_BATCH; i++) {
		len = sizeof(sin6);
		memset(&sin6, 0, sizeof(sin6));
		fd = accept4((int)lfd, (struct sockaddr *)&sin6, &len,
		    SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd != -1) {
			listen_accepted(fd, (uint32_t)(ln - listeners),
			    &sin6.sin6_addr);
			continue;
		}
		if (errno == ECONNABORTED || errno == EINTR)
			continue;
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
		    errno == ENOMEM) {
			log_warn("cannot accept connections, as descriptors "
			    "or memory are short (raise the limit, or lower "
			    "\"connections\"): trying again in %d ms",
			    ACCEPT_PAUSE);
			event_del(ln->event);
			timer_set(ln->resume, ACCEPT_PAUSE);
		}
		return;
	}
}

static void
on_resume(evutil_socket_t fd, short what, void *arg)
{
	struct listener *ln = arg;

	(void)fd;
	(void)what;
	if (event_add(ln->event, NULL) == -1)
		fatalx("event_add");
}

void
listen_add(uint32_t index, int fd, const uint32_t *mechs)
{
	struct listener *ln;

	if (index >= LISTEN_MAX || listeners[index].event != NULL ||
	    mechs[0] == 0 || session.ready)
		fatalx("listener %u", index);
	ln = &listeners[index];
	if (evutil_make_socket_nonblocking(fd) == -1)
		fatal("listener %u", index);
	ln->fd = fd;
	memcpy(ln->mechs, mechs, sizeof(ln->mechs));
	ln->event = event_new(session.base, fd, EV_READ | EV_PERSIST,
	    on_accept, ln);
	ln->resume = evtimer_new(session.base, on_resume, ln);
	if (ln->event == NULL || ln->resume == NULL)
		fatalx("event_new");
}

void
listen_start(void)
{
	size_t i;

	for (i = 0; i < LISTEN_MAX; i++)
		if (listeners[i].event != NULL &&
		    event_add(listeners[i].event, NULL) == -1)
			fatalx("event_add");
}

const uint32_t *
listen_mechs(uint32_t index)
{
	static const uint32_t none[MECH_MAX];

	return (index < LISTEN_MAX ? listeners[index].mechs : none);
}
