/* The session process: its links, its listeners. */
#include <sys/types.h>
#include <sys/socket.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "session/session-int.h"

#define ACCEPT_BATCH	64
#define ACCEPT_PAUSE	500		/* ms, out of descriptors */

struct listener {
	int			 fd;
	uint32_t		 mechs;
	struct event		*event, *resume;
};

struct session		 session;

static struct listener	 listeners[LISTEN_MAX];

int64_t
jitter(int64_t ms)
{
	int64_t span = ms / 5;

	if (span <= 0)
		return (ms);
	return (ms - span / 2 + arc4random_uniform((uint32_t)span));
}

void
timer_set(struct event *ev, int64_t ms)
{
	struct timeval tv;

	if (ms < 0)
		ms = 0;
	tv.tv_sec = ms / 1000;
	tv.tv_usec = (ms % 1000) * 1000;
	if (evtimer_add(ev, &tv) == -1)
		fatalx("evtimer_add");
}

int
fd_dup(int fd)
{
	return (fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

uint32_t
session_listener_mechs(uint32_t i)
{
	return (i < LISTEN_MAX ? listeners[i].mechs : 0);
}

/*
 * Listeners
 */
static void
accepted(int fd, uint32_t index, const struct in6_addr *peer)
{
	static uint32_t total;
	struct conn *c;
	char buf[64];
	int n;

	(void)total;
	if (conn_source_count(peer) >= (int)session.conf.max_source ||
	    (c = conn_new(fd, CONN_ACCEPTED, index)) == NULL) {
		log_info("%s: too many connections", log_in6(peer));
		n = emit_auth_status(buf, sizeof(buf), STATUS_BUSY,
		    DIALECT_RFC);
		(void)!write(fd, buf, (size_t)n);
		close(fd);
		return;
	}
	c->state = ST_VERSION;
	conn_timer(c, (int64_t)session.conf.auth_timeout * 1000);
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
			accepted(fd, (uint32_t)(ln - listeners),
			    &sin6.sin6_addr);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
		    errno == ENOMEM) {
			log_warn("accept: waiting");
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
	event_add(ln->event, NULL);
}

static void
session_listen(struct msglink *l, struct msg *m)
{
	struct msg_listen ml;
	struct listener *ln;

	(void)l;
	memcpy(&ml, m->data, sizeof(ml));
	if (ml.listener >= LISTEN_MAX || ml.mechs == 0)
		fatalx("listener %u", ml.listener);
	ln = &listeners[ml.listener];
	ln->fd = m->fd;
	m->fd = -1;
	ln->mechs = ml.mechs;
	ln->event = event_new(session.base, ln->fd, EV_READ | EV_PERSIST,
	    on_accept, ln);
	ln->resume = evtimer_new(session.base, on_resume, ln);
	if (ln->event == NULL || ln->resume == NULL)
		fatalx("event_new");
}

/*
 * auth
 */
static void
auth_next(struct msglink *l, struct msg *m)
{
	struct msg_auth_next mn;
	struct conn *c;

	(void)l;
	memcpy(&mn, m->data, sizeof(mn));
	if ((c = conn_find(mn.conn)) == NULL)
		return;
	if (c->kind == CONN_ACCEPTED)
		serve_auth_next(c, &mn, m->tail, m->tail_len);
	else
		dial_auth_next(c, &mn, m->tail, m->tail_len);
}

static const struct msg_rule	 auth_rules[] = {
	{ MSG_AUTH_NEXT, MSG_FROM(PROC_AUTH), sizeof(struct msg_auth_next),
	    SASL_BLOB_MAX, 0, auth_next },
};

static void
client_auth_lost(struct conn *c)
{
	if (c->kind == CONN_ACCEPTED)
		serve_auth_lost(c);
	else if (c->state == ST_LOGIN)
		dial_fail(c, "auth died");
}

static void
auth_closed(struct msglink *l, const char *reason)
{
	if (reason != NULL)
		log_warnx("auth: %s", reason);
	msglink_free(l);
	if (l != session.auth)
		return;
	session.auth = NULL;
	conn_each(client_auth_lost);
}

/*
 * parser
 */
static const struct msg_rule	 parser_rules[] = {
	{ MSG_PARSED, MSG_FROM(PROC_PARSER), sizeof(struct msg_parsed), 0, 0,
	    parse_result },
};

static void
parser_closed(struct msglink *l, const char *reason)
{
	if (reason != NULL)
		log_warnx("parser: %s", reason);
	msglink_free(l);
	if (l != session.parser)
		return;
	session.parser = NULL;
	parse_lost();
}

/*
 * priv
 */
static void
session_link(struct msglink *l, struct msg *m)
{
	struct msg_link_to ml;
	struct msglink *old;

	(void)l;
	memcpy(&ml, m->data, sizeof(ml));
	if (ml.peer == PROC_AUTH) {
		if ((old = session.auth) != NULL)
			auth_closed(old, NULL);
		session.auth = msglink_new(session.base, m->fd, PROC_AUTH,
		    auth_rules, sizeof(auth_rules) / sizeof(auth_rules[0]),
		    auth_closed, NULL);
	} else if (ml.peer == PROC_PARSER) {
		if ((old = session.parser) != NULL)
			parser_closed(old, NULL);
		session.parser = msglink_new(session.base, m->fd, PROC_PARSER,
		    parser_rules,
		    sizeof(parser_rules) / sizeof(parser_rules[0]),
		    parser_closed, NULL);
		parse_resend();
	} else
		fatalx("link to %s", proc_name(ml.peer));
	m->fd = -1;
}

static void
session_conf(struct msglink *l, struct msg *m)
{
	(void)l;
	memcpy(&session.conf, m->data, sizeof(session.conf));
}

static void
session_verbose(struct msglink *l, struct msg *m)
{
	struct msg_verbose mv;

	(void)l;
	memcpy(&mv, m->data, sizeof(mv));
	log_setverbose(mv.verbose != 0);
}

static void
session_start(struct msglink *l, struct msg *m)
{
	size_t i;

	(void)m;
	session.ready = 1;
	for (i = 0; i < LISTEN_MAX; i++)
		if (listeners[i].event != NULL)
			event_add(listeners[i].event, NULL);
	msg_put(l, MSG_READY, NULL, 0);
	tep_start();
}

static void
conn_ready(struct msglink *l, struct msg *m)
{
	struct msg_conn mc;
	struct conn *c;

	(void)l;
	memcpy(&mc, m->data, sizeof(mc));
	if ((c = conn_find(mc.conn)) != NULL)
		serve_ready(c, mc.ok != 0);
}

static void
conn_end(struct msglink *l, struct msg *m)
{
	struct msg_conn mc;
	struct conn *c;

	(void)l;
	memcpy(&mc, m->data, sizeof(mc));
	if ((c = conn_find(mc.conn)) == NULL)
		return;
	if (c->state == ST_COMMAND)
		serve_status(c, STATUS_BUSY);
	conn_linger(c);
}

static void
auth_done(struct msglink *l, struct msg *m)
{
	struct msg_auth_done md;
	struct conn *c;

	(void)l;
	memcpy(&md, m->data, sizeof(md));
	md.name[NAME_MAX_LEN] = '\0';
	if ((c = conn_find(md.conn)) == NULL)
		return;
	if (c->kind == CONN_ACCEPTED)
		serve_auth_done(c, &md);
	else
		dial_auth_done(c, &md);
}

static void
lease_reply(struct msglink *l, struct msg *m)
{
	struct msg_lease_reply mr;
	struct conn *c;

	(void)l;
	memcpy(&mr, m->data, sizeof(mr));
	if ((c = conn_find(mr.conn)) != NULL && c->kind == CONN_ACCEPTED)
		serve_reply(c, &mr);
}

static void
lease_delete(struct msglink *l, struct msg *m)
{
	struct msg_lease_reply mr;
	struct conn *c;

	(void)l;
	memcpy(&mr, m->data, sizeof(mr));
	if ((c = conn_find(mr.conn)) != NULL && c->kind == CONN_ACCEPTED)
		serve_delete(c, &mr);
}

#define PRIV	MSG_FROM(PROC_PRIV)

static const struct msg_rule	 priv_rules[] = {
	{ MSG_LINK, PRIV, sizeof(struct msg_link_to), 0, MSG_F_FD,
	    session_link },
	{ MSG_VERBOSE, PRIV, sizeof(struct msg_verbose), 0, 0,
	    session_verbose },
	{ MSG_SESSION_CONF, PRIV, sizeof(struct msg_session_conf), 0, 0,
	    session_conf },
	{ MSG_LISTEN, PRIV, sizeof(struct msg_listen), 0, MSG_F_FD,
	    session_listen },
	{ MSG_CONF_END, PRIV, 0, 0, 0, session_start },
	{ MSG_CONN_READY, PRIV, sizeof(struct msg_conn), 0, 0, conn_ready },
	{ MSG_CONN_CLOSE, PRIV, sizeof(struct msg_conn), 0, 0, conn_end },
	{ MSG_DIALLED, PRIV, sizeof(struct msg_dialled), 0, MSG_F_FD_OPT,
	    dial_done },
	{ MSG_AUTH_DONE, PRIV, sizeof(struct msg_auth_done), 0, 0, auth_done },
	{ MSG_LEASE_REPLY, PRIV, sizeof(struct msg_lease_reply), 0, 0,
	    lease_reply },
	{ MSG_LEASE_DELETE, PRIV, sizeof(struct msg_lease_reply), 0, 0,
	    lease_delete },
	{ MSG_TEP_CONF, PRIV, sizeof(struct msg_tep_conf), 0, 0, tep_conf },
	{ MSG_TEP_REQUEST, PRIV, sizeof(struct msg_tep_request), 0, 0,
	    tep_request },
	{ MSG_NODE_CONF, PRIV, sizeof(struct msg_node_conf), 0, 0, node_conf },
	{ MSG_NODE_START, PRIV, sizeof(struct msg_node_start), 0, 0,
	    node_start },
	{ MSG_NODE_STOP, PRIV, 0, 0, 0, node_stop },
};

static void
resume_one(struct conn *c)
{
	if (c->kind == CONN_ACCEPTED && c->stopped &&
	    c->nrequests < OUTSTANDING) {
		conn_stop(c, 0);
		conn_input(c);
	}
}

static void
priv_drained(struct msglink *l)
{
	(void)l;
	conn_each(resume_one);
}

int
main(int argc, char *argv[])
{
	proc_child(PROC_SESSION, argc, argv);
	if ((session.base = event_base_new()) == NULL)
		fatalx("event_base_new");
	session.priv = msglink_new(session.base, PROC_FD_PRIV, PROC_PRIV,
	    priv_rules, sizeof(priv_rules) / sizeof(priv_rules[0]),
	    proc_closed, NULL);
	msglink_on_drained(session.priv, priv_drained);
	event_base_dispatch(session.base);
	return (0);
}
