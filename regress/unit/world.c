/* What is around the session process, see world.h. */
#include <sys/types.h>
#include <sys/socket.h>

#include <netinet/in.h>

#include <arpa/inet.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "parser/parser.h"
#include "regress/unit/world.h"
#include "session/session-int.h"

#define PATIENCE	5000		/* ms */

struct world		 world;
static struct xml_ctx	*xml;

/*
 * The clock: of a machine that can be suspended.
 */
static int64_t
clock_ms(clockid_t id)
{
	struct timespec ts;

	assert_return_code(clock_gettime(id, &ts), errno);
	return ((int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000);
}

int64_t
now_ms(void)
{
	return (clock_ms(CLOCK_MONOTONIC) + world.suspended +
	    world.passed / 1000);
}

int64_t
now_suspended(void)
{
	return (world.suspended);
}

int64_t
now_wall(void)
{
	return (clock_ms(CLOCK_REALTIME) / 1000);
}

void
settle(void)
{
	int i;

	for (i = 0; i < 50; i++)
		event_base_loop(world.base, EVLOOP_NONBLOCK);
}

void
until(int (*cond)(void *), void *arg, const char *what)
{
	struct timeval tv = { 0, 5000 };
	int64_t end = now_ms() + PATIENCE;

	while (!cond(arg)) {
		if (now_ms() > end)
			fail_msg("waited in vain for %s", what);
		event_base_loopexit(world.base, &tv);
		event_base_loop(world.base, EVLOOP_ONCE);
	}
}

/*
 * The parent
 */
static void
p_ready(struct msglink *l, struct msg *m)
{
	(void)l;
	(void)m;
}

static void
p_open(struct msglink *l, struct msg *m)
{
	struct msg_conn_open mo;
	struct msg_conn r;

	memcpy(&mo, m->data, sizeof(mo));
	memset(&r, 0, sizeof(r));
	r.conn = mo.conn;
	r.ok = 1;
	msg_put(l, MSG_CONN_READY, &r, sizeof(r));
}

static void
p_dial(struct msglink *l, struct msg *m)
{
	struct sockaddr_in6 to;
	struct msg_dial md;
	struct msg_dialled r;
	socklen_t len = sizeof(to);
	int fd;

	memcpy(&md, m->data, sizeof(md));
	memset(&r, 0, sizeof(r));
	r.conn = md.conn;
	world.ndials++;
	fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd == -1 || world.dials_fail) {
		r.error = fd == -1 ? (uint32_t)errno : ENETUNREACH;
		if (fd != -1)
			close(fd);
		msg_put(l, MSG_DIALLED, &r, sizeof(r));
		return;
	}
	assert_in_range(md.kind, 0, CONN_TO_NODE);
	assert_return_code(getsockname(world.dialled[md.kind],
	    (struct sockaddr *)&to, &len), errno);
	if (world.nobody)
		to.sin6_port = htons(1);
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == -1 &&
	    !world.nobody)
		assert_int_equal(errno, EINPROGRESS);
	msg_send(l, MSG_DIALLED, fd, &r, sizeof(r), NULL, 0);
}

static void
p_request(struct msglink *l, struct msg *m)
{
	struct msg_lease_request *r;

	(void)l;
	assert_in_range(world.nasked, 0, ASKED_MAX - 1);
	r = &world.asked[world.nasked++];
	memcpy(r, m->data, sizeof(*r));
	if (!world.hold_leases)
		answer(r, STATUS_OK, 1);
}

void
answer(const struct msg_lease_request *r, uint32_t status, int n)
{
	struct msg_lease_reply mr;

	memset(&mr, 0, sizeof(mr));
	mr.conn = r->conn;
	mr.req = r->req;
	mr.op = r->op;
	mr.status = status;
	mr.lifetime = 600;
	mr.v4.s_addr = htonl(0xc6336400U + (uint32_t)n);
	mr.tep4.s_addr = htonl(0xc6336401U);
	mr.v6 = r->v6;
	inet_pton(AF_INET6, "2001:db8::3", &mr.tep6);
	msg_put(world.priv, MSG_LEASE_REPLY, &mr, sizeof(mr));
}

static void
p_nothing(struct msglink *l, struct msg *m)
{
	(void)l;
	(void)m;
}

static void
p_tep_up(struct msglink *l, struct msg *m)
{
	struct msg_tep_state ms;

	(void)l;
	memcpy(&ms, m->data, sizeof(ms));
	world.tep_conn = ms.conn;
	world.ntep_up++;
}

static void
p_tep_down(struct msglink *l, struct msg *m)
{
	(void)l;
	(void)m;
	world.ntep_down++;
}

static void
p_tep_reply(struct msglink *l, struct msg *m)
{
	(void)l;
	assert_in_range(world.ntep_replies, 0, ASKED_MAX - 1);
	memcpy(&world.tep_replies[world.ntep_replies++], m->data,
	    sizeof(struct msg_tep_reply));
}

static void
p_node_lease(struct msglink *l, struct msg *m)
{
	(void)l;
	memcpy(&world.lease, m->data, sizeof(world.lease));
	world.nleases++;
}

static void
p_node_delete(struct msglink *l, struct msg *m)
{
	(void)l;
	(void)m;
	world.ndeletes++;
}

static void
p_node_note(struct msglink *l, struct msg *m)
{
	(void)l;
	memcpy(&world.note, m->data, sizeof(world.note));
	world.nnotes++;
}

static void
p_node_stopped(struct msglink *l, struct msg *m)
{
	(void)l;
	(void)m;
	world.nstopped++;
}

static void
p_call_done(struct msglink *l, struct msg *m)
{
	struct msg_call_done md;

	(void)l;
	memcpy(&md, m->data, sizeof(md));
	assert_in_range(md.call, 0, CALL_MAX - 1);
	world.calls &= ~(1U << md.call);
}

static void
p_replace(struct msglink *l, struct msg *m)
{
	(void)l;
	memcpy(&world.replace, m->data, sizeof(world.replace));
	world.replaced++;
}

#define FROM	MSG_FROM(PROC_SESSION)
static const struct msg_rule	 priv_rules[] = {
	{ MSG_READY, FROM, 0, 0, 0, p_ready },
	{ MSG_CONN_OPEN, FROM, sizeof(struct msg_conn_open), 0, MSG_F_FD,
	    p_open },
	{ MSG_CONN_CLOSE, FROM, sizeof(struct msg_conn), 0, 0, p_nothing },
	{ MSG_REPLACE, FROM, sizeof(struct msg_link_to), 0, 0, p_replace },
	{ MSG_DIAL, FROM, sizeof(struct msg_dial), 0, 0, p_dial },
	{ MSG_LEASE_REQUEST, FROM, sizeof(struct msg_lease_request), 0, 0,
	    p_request },
	{ MSG_TEP_UP, FROM, sizeof(struct msg_tep_state), 0, 0, p_tep_up },
	{ MSG_TEP_DOWN, FROM, sizeof(struct msg_tep_state), 0, 0,
	    p_tep_down },
	{ MSG_TEP_REPLY, FROM, sizeof(struct msg_tep_reply), 0, 0,
	    p_tep_reply },
	{ MSG_NODE_LEASE, FROM, sizeof(struct msg_node_lease), 0, 0,
	    p_node_lease },
	{ MSG_NODE_DELETE, FROM, sizeof(struct msg_node_delete), 0, 0,
	    p_node_delete },
	{ MSG_NODE_NOTE, FROM, sizeof(struct msg_node_note), 0, 0,
	    p_node_note },
	{ MSG_CALL_DONE, FROM, sizeof(struct msg_call_done), 0, 0,
	    p_call_done },
	{ MSG_NODE_OFFER, FROM, sizeof(struct msg_node_delete), 0, 0,
	    p_nothing },
	{ MSG_NODE_STOPPED, FROM, 0, 0, 0, p_node_stopped },
};

/*
 * auth: yes to everybody
 */
static void
a_start(struct msglink *l, struct msg *m)
{
	struct msg_auth_start ms;
	struct msg_auth_next mn;
	struct msg_auth_done md;

	memcpy(&ms, m->data, sizeof(ms));
	world.auth_conn = ms.conn;
	if (world.hold_auth)
		return;
	memset(&mn, 0, sizeof(mn));
	mn.conn = ms.conn;
	mn.result = world.refuse_auth ? AUTH_FAILED : AUTH_OK;
	msg_put(l, MSG_AUTH_NEXT, &mn, sizeof(mn));
	memset(&md, 0, sizeof(md));
	md.conn = ms.conn;
	md.role = ROLE_SERVER;
	md.ok = 1;
	strlcpy(md.name, "anonymous", sizeof(md.name));
	if (!world.refuse_auth)
		msg_put(world.priv, MSG_AUTH_DONE, &md, sizeof(md));
}

static const struct msg_rule	 auth_rules[] = {
	{ MSG_AUTH_START, FROM, sizeof(struct msg_auth_start), SASL_BLOB_MAX,
	    0, a_start },
	{ MSG_AUTH_STEP, FROM, sizeof(struct msg_auth_step), SASL_BLOB_MAX, 0,
	    p_nothing },
	{ MSG_AUTH_ABORT, FROM, sizeof(struct msg_conn), 0, 0, p_nothing },
};

/*
 * parser: the real one, but a comment says "poison", and it dies of it
 */
static void
x_parse(struct msglink *l, struct msg *m)
{
	struct msg_parse mp;
	struct msg_parsed r;

	world.nparsed++;
	if (memmem(m->tail, m->tail_len, "poison", 6) != NULL) {
		parser_dies();
		return;
	}
	if (world.hold_parser)
		return;
	memcpy(&mp, m->data, sizeof(mp));
	memset(&r, 0, sizeof(r));
	r.conn = mp.conn;
	r.seq = mp.seq;
	r.ok = xml_parse(xml, m->tail, m->tail_len, &r.tunnel, r.text,
	    sizeof(r.text)) == 0;
	msg_put(l, MSG_PARSED, &r, sizeof(r));
}

static const struct msg_rule	 parser_rules[] = {
	{ MSG_PARSE, FROM, sizeof(struct msg_parse), TSP_BODY_MAX, 0,
	    x_parse },
};

/*
 * Links
 */
static void
on_closed(struct msglink *l, const char *reason)
{
	if (l == world.parser) {
		parser_dies();
		return;
	}
	if (l == world.auth) {
		auth_dies();
		return;
	}
	fail_msg("session broke a link: %s", reason != NULL ? reason :
	    "closed");
}

static struct msglink *
link_new(int fd, const struct msg_rule *rules, size_t n)
{
	struct msglink *l;

	msg_self(PROC_PRIV);
	l = msglink_new(world.base, fd, PROC_SESSION, rules, n, on_closed,
	    NULL);
	msg_self(PROC_SESSION);
	return (l);
}

static struct msglink *
link_helper(uint32_t peer, const struct msg_rule *rules, size_t n)
{
	struct msg_link_to m;
	int sp[2];

	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
	    sp), errno);
	m.peer = peer;
	m.life = ++world.lives;
	msg_send(world.priv, MSG_LINK, sp[0], &m, sizeof(m), NULL, 0);
	return (link_new(sp[1], rules, n));
}

void
parser_start(void)
{
	world.parser = link_helper(PROC_PARSER, parser_rules,
	    sizeof(parser_rules) / sizeof(parser_rules[0]));
}

void
parser_dies(void)
{
	msglink_free(world.parser);
	world.parser = NULL;
	world.parser_deaths++;
}

void
auth_start(void)
{
	world.auth = link_helper(PROC_AUTH, auth_rules,
	    sizeof(auth_rules) / sizeof(auth_rules[0]));
}

void
auth_dies(void)
{
	msglink_free(world.auth);
	world.auth = NULL;
	world.auth_deaths++;
}

int
listen_socket(uint16_t *port)
{
	struct sockaddr_in6 a;
	socklen_t len = sizeof(a);
	int fd;

	memset(&a, 0, sizeof(a));
	a.sin6_family = AF_INET6;
	a.sin6_addr = in6addr_loopback;
	fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_return_code(fd, errno);
	assert_return_code(bind(fd, (struct sockaddr *)&a, len), errno);
	assert_return_code(listen(fd, 128), errno);
	assert_return_code(getsockname(fd, (struct sockaddr *)&a, &len),
	    errno);
	*port = ntohs(a.sin6_port);
	return (fd);
}

void
world_start(void)
{
	struct msg_session_conf sc;
	struct msg_listen ml;
	struct msg_tep_conf mt;
	struct msg_node_conf mn;
	uint16_t port;
	int i, sp[2];

	xml = xml_new();
	assert_non_null(world.base = event_base_new());
	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
	    sp), errno);
	msg_self(PROC_SESSION);
	session_init(world.base, sp[0]);
	session.partial_ms = 300;
	session.linger_ms = 200;
	session.suspend_ms = world.suspend_ms ? world.suspend_ms : 20;
	world.priv = link_new(sp[1], priv_rules,
	    sizeof(priv_rules) / sizeof(priv_rules[0]));
	world.dialled[0] = listen_socket(&port);
	for (i = 1; i <= CONN_TO_NODE; i++)
		world.dialled[i] = world.dialled[0];
	parser_start();
	auth_start();
	memset(&sc, 0, sizeof(sc));
	sc.roles = ROLE_SERVER | ROLE_NODE;
	sc.max_conns = 200;
	sc.handshakes = 200;
	sc.max_source = 100;
	sc.source_prefix = 128;
	sc.source_rate = 1000;
	sc.auth_failures = 60000;
	sc.request_rate = 1000000;
	sc.auth_timeout = 1;
	sc.idle_timeout = 60;
	sc.request_timeout = 2;
	sc.last_gen = 41;
	msg_put(world.priv, MSG_SESSION_CONF, &sc, sizeof(sc));
	memset(&ml, 0, sizeof(ml));
	ml.mechs[0] = MECH_ANONYMOUS;
	memcpy(&ml.mechs[1], world.mechs, sizeof(world.mechs));
	world.listener = listen_socket(&world.port);
	msg_send(world.priv, MSG_LISTEN, world.listener, &ml, sizeof(ml),
	    NULL, 0);
	memset(&mt, 0, sizeof(mt));
	mt.tep = 0;
	mt.mech = MECH_ANONYMOUS;
	strlcpy(mt.name, "far", sizeof(mt.name));
	msg_put(world.priv, MSG_TEP_CONF, &mt, sizeof(mt));
	memset(&mn, 0, sizeof(mn));
	mn.nservers = 2;
	mn.mech = MECH_ANONYMOUS;
	mn.offers = world.offers;
	mn.lifetime = world.lifetime;
	inet_pton(AF_INET6, "2001:db8:9::1", &mn.servers[0]);
	inet_pton(AF_INET6, "2001:db8:9::2", &mn.servers[1]);
	msg_put(world.priv, MSG_NODE_CONF, &mn, sizeof(mn));
	msg_put(world.priv, MSG_CONF_END, NULL, 0);
	settle();
}

/*
 * Peers
 */
static void
nonblock(int fd)
{
	assert_return_code(fcntl(fd, F_SETFL, O_NONBLOCK), errno);
}

void
peer_connect(struct peer *p)
{
	struct sockaddr_in6 a;

	memset(p, 0, sizeof(*p));
	memset(&a, 0, sizeof(a));
	a.sin6_family = AF_INET6;
	a.sin6_addr = in6addr_loopback;
	a.sin6_port = htons(world.port);
	p->fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_return_code(p->fd, errno);
	assert_return_code(connect(p->fd, (struct sockaddr *)&a, sizeof(a)),
	    errno);
	nonblock(p->fd);
}

static int
called(void *arg)
{
	struct peer *p = arg;

	p->fd = accept4(world.dialled[0], NULL, NULL, SOCK_NONBLOCK |
	    SOCK_CLOEXEC);
	return (p->fd != -1);
}

void
peer_accept(struct peer *p)
{
	memset(p, 0, sizeof(*p));
	nonblock(world.dialled[0]);
	until(called, p, "a call of the session");
}

void
peer_close(struct peer *p)
{
	if (p->fd != -1)
		close(p->fd);
	p->fd = -1;
	settle();
}

void
peer_send(struct peer *p, const char *data, size_t len)
{
	ssize_t n;
	int64_t end = now_ms() + PATIENCE;

	while (len > 0) {
		n = send(p->fd, data, len, MSG_NOSIGNAL);
		if (n == -1 && errno != EAGAIN)
			return;		/* it was closed: its end is read */
		if (n > 0) {
			data += n;
			len -= (size_t)n;
		} else if (now_ms() > end)
			fail_msg("the session does not read");
		event_base_loop(world.base, EVLOOP_NONBLOCK);
	}
}

void
peer_say(struct peer *p, const char *text)
{
	peer_send(p, text, strlen(text));
}

void
peer_frame(struct peer *p, const char *body)
{
	char buf[8192];

	snprintf(buf, sizeof(buf), "Content-length: %zu\r\n%s", strlen(body),
	    body);
	peer_say(p, buf);
}

static void
peer_read(struct peer *p)
{
	ssize_t n;

	if (p->fd == -1 || p->ended)
		return;
	n = recv(p->fd, p->buf + p->len, sizeof(p->buf) - p->len - 1, 0);
	if (n > 0)
		p->len += (size_t)n;
	else if (n == 0 || errno != EAGAIN)
		p->ended = 1;
	p->buf[p->len] = '\0';
}

int
peer_has(struct peer *p, const char *text)
{
	peer_read(p);
	return (memmem(p->buf, p->len, text, strlen(text)) != NULL);
}

struct wanted {
	struct peer	*peer;
	const char	*text;
};

static int
has(void *arg)
{
	struct wanted *w = arg;

	return (peer_has(w->peer, w->text));
}

void
peer_expect(struct peer *p, const char *text)
{
	struct wanted w = { p, text };
	char what[200], *at;
	size_t used;

	snprintf(what, sizeof(what), "\"%.100s\"", text);
	until(has, &w, what);
	at = memmem(p->buf, p->len, text, strlen(text));
	used = (size_t)(at - p->buf) + strlen(text);
	p->len -= used;
	memmove(p->buf, p->buf + used, p->len + 1);
}

static int
has_ended(void *arg)
{
	struct peer *p = arg;

	peer_read(p);
	return (p->ended);
}

void
peer_expect_end(struct peer *p)
{
	until(has_ended, p, "the end of a connection");
	close(p->fd);
	p->fd = -1;
}

void
peer_login(struct peer *p)
{
	peer_say(p, "VERSION=1.0\r\n");
	peer_expect(p, "AUTH=ANONYMOUS\r\n");
	peer_say(p, "AUTHENTICATE ANONYMOUS\r\n");
	peer_expect(p, "OK Authentication successful\r\n");
}

void
peer_serve(struct peer *p)
{
	peer_expect(p, "VERSION=1.0\r\n");
	peer_say(p, "CAPABILITY TUNNEL=V4V6 AUTH=ANONYMOUS\r\n");
	peer_expect(p, "AUTHENTICATE ANONYMOUS\r\n");
	peer_say(p, "OK Authentication successful\r\n");
}
