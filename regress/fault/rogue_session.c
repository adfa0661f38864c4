/*
 * A session process that was taken over. It has the listeners, the links to
 * parser and auth, and whatever connects. Each client orders an attempt, and
 * is told in one line what came of it.
 */
#include <sys/types.h>
#include <sys/socket.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dstmd/tsp.h"
#include "regress/fault/rogue.h"

#define RIDES	300		/* connections that it makes of one */

static uint32_t		 last_gen;
static int		 listener = -1;
static struct event	*accepting;

/* The client, and what is told to it. */
static int		 client = -1;
static struct event	*ordering;
static struct in6_addr	 peer;
static char		 line[4096];
static uint32_t		 last_own;	/* generation, of slot 1 */
static uint32_t		 asked, answered, granted, logins;
static struct in_addr	 addresses[RIDES];
static uint32_t		 naddresses;

static int
dup_of(int fd)
{
	return (fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

static void
tell(void)
{
	strlcat(line, "\n", sizeof(line));
	if (client != -1 && write(client, line, strlen(line)) == -1)
		log_warn("rogue: client");
	line[0] = '\0';
}

static void
word(const char *fmt, uint32_t n)
{
	char text[64];

	snprintf(text, sizeof(text), fmt, n);
	strlcat(line, text, sizeof(line));
}

static struct conn_ref
ref(uint32_t id, uint32_t gen)
{
	struct conn_ref r = { id, last_gen + gen };

	return (r);
}

static void
open_conn(struct conn_ref r, int fd)
{
	struct msg_conn_open mo;

	memset(&mo, 0, sizeof(mo));
	mo.conn = r;
	msg_send(rogue.priv, MSG_CONN_OPEN, dup_of(fd), &mo, sizeof(mo), NULL,
	    0);
}

static void
close_conn(struct conn_ref r)
{
	struct msg_conn mc;

	memset(&mc, 0, sizeof(mc));
	mc.conn = r;
	msg_put(rogue.priv, MSG_CONN_CLOSE, &mc, sizeof(mc));
}

/* By a verdict of auth that everybody can have. */
static void
log_in_anonymously(struct conn_ref r)
{
	struct msg_auth_start ms;

	memset(&ms, 0, sizeof(ms));
	ms.conn = r;
	ms.side = AUTH_SERVER;
	ms.mech = MECH_ANONYMOUS;
	ms.has_blob = 1;
	msg_put(rogue.auth, MSG_AUTH_START, &ms, sizeof(ms));
}

static void
request(struct conn_ref r, uint32_t op, const char *v4,
    const struct in6_addr *v6)
{
	struct msg_lease_request mr;

	memset(&mr, 0, sizeof(mr));
	mr.conn = r;
	mr.req = asked++;
	mr.op = op;
	if (v4 != NULL) {
		mr.has_v4 = 1;
		inet_pton(AF_INET, v4, &mr.v4);
	}
	if (v6 != NULL)
		mr.v6 = *v6;
	msg_put(rogue.priv, MSG_LEASE_REQUEST, &mr, sizeof(mr));
}

/*
 * What it does with a connection, by the plan
 */

/* Nobody has logged in: of no use. plan[1] and [2]: a lease of somebody. */
static void
try_unproved(struct conn_ref r)
{
	struct in6_addr his;
	uint32_t op;

	inet_pton(AF_INET6, rogue.plan[2], &his);
	for (op = 0; op <= OP_SYNC + 1; op++) {
		request(r, op, NULL, &peer);
		request(r, op, rogue.plan[1], &his);
	}
}

/* Logged in, and after somebody else's lease; at last an own one. */
static void
try_others(struct conn_ref r)
{
	static const uint32_t ops[] = { OP_CREATE, OP_INFO, OP_DELETE };
	struct in6_addr his;
	size_t i;

	inet_pton(AF_INET6, rogue.plan[2], &his);
	for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		request(r, ops[i], rogue.plan[1], &peer);
		request(r, ops[i], rogue.plan[1], &his);
		request(r, ops[i], rogue.plan[1], NULL);
		if (!IN6_ARE_ADDR_EQUAL(&his, &peer))
			request(r, ops[i], NULL, &his);
	}
	request(r, OP_SYNC, rogue.plan[1], &his);
	request(r, 77, rogue.plan[1], &his);
	request(r, OP_CREATE, NULL, &peer);
}

/*
 * Generations: one that was, one that logged in and is over, those of other
 * lives, and what is no TCP connection. plan[1], [2] as above.
 */
static void
try_generations(void)
{
	int pipefd[2];

	open_conn(ref(5, 10), client);		/* the first, good */
	close_conn(ref(5, 10));
	open_conn(ref(5, 10), client);
	open_conn(ref(5, 9), client);
	open_conn(ref(5, 0), client);
	open_conn(ref(5, 0 - 5U), client);
	open_conn(ref(5, CONN_GENS), client);
	open_conn(ref(5, CONN_GENS + 12), client);
	open_conn(ref(CONN_MAX, 1), client);
	open_conn(ref(UINT32_MAX, 1), client);
	open_conn(ref(6, 1), listener);
	if (pipe2(pipefd, O_CLOEXEC) == 0) {
		open_conn(ref(7, 1), pipefd[0]);
		close(pipefd[0]);
		close(pipefd[1]);
	}
	request(ref(5, 10), OP_CREATE, NULL, &peer);
	request(ref(8, 1), OP_CREATE, NULL, &peer);
	open_conn(ref(5, 11), client);		/* the second, good */
	log_in_anonymously(ref(5, 11));
}

/* 11 was logged in: its verdict is of no use to 12. */
static void
try_replay(void)
{
	open_conn(ref(5, 12), client);
	request(ref(5, 11), OP_CREATE, NULL, &peer);
	request(ref(5, 12), OP_CREATE, NULL, &peer);
}

/* One client, many connections: they are still one node. */
static void
try_ride(void)
{
	uint32_t i;

	for (i = 0; i < RIDES; i++)
		open_conn(ref(100 + i, 1), client);
}

static void
ride_on(struct conn_ref r)
{
	struct in6_addr other = peer;

	other.s6_addr[15] ^= (uint8_t)(r.id | 1);
	other.s6_addr[14] ^= (uint8_t)(r.id >> 8);
	request(r, OP_CREATE, NULL, &peer);
	request(r, OP_CREATE, NULL, &other);
}

/*
 * Floods
 */
static void
flood_one(uint64_t n)
{
	union {
		struct msg_lease_request	 request;
		struct msg_conn			 conn;
		struct msg_dial			 dial;
		struct msg_tep_state		 state;
		struct msg_tep_reply		 reply;
		struct msg_node_lease		 lease;
		struct msg_node_delete		 node_delete;
		struct msg_call_done		 call;
		struct msg_node_note		 note;
	} m;
	static const struct { uint32_t type; size_t size; } kinds[] = {
		{ MSG_LEASE_REQUEST, sizeof(m.request) },
		{ MSG_LEASE_REQUEST, sizeof(m.request) },
		{ MSG_CONN_CLOSE, sizeof(m.conn) },
		{ MSG_DIAL, sizeof(m.dial) },
		{ MSG_TEP_UP, sizeof(m.state) },
		{ MSG_TEP_DOWN, sizeof(m.state) },
		{ MSG_TEP_REPLY, sizeof(m.reply) },
		{ MSG_NODE_LEASE, sizeof(m.lease) },
		{ MSG_NODE_DELETE, sizeof(m.node_delete) },
		{ MSG_NODE_OFFER, sizeof(m.node_delete) },
		{ MSG_CALL_DONE, sizeof(m.call) },
		{ MSG_NODE_NOTE, sizeof(m.note) },
		{ MSG_NODE_STOPPED, 0 },
		{ MSG_READY, 0 },
	};
	uint32_t kind = rnd(sizeof(kinds) / sizeof(kinds[0]));

	memset(&m, 0, sizeof(m));
	/* a reference is the first of most; TEPs and calls have numbers */
	m.conn.conn = ref(rnd(64), 1 + rnd(3));
	if (kinds[kind].type == MSG_DIAL)
		m.dial.kind = rnd(5);
	else if (kinds[kind].type == MSG_LEASE_REQUEST) {
		m.request.op = rnd(6);
		m.request.v6 = peer;
	} else if (kinds[kind].type >= MSG_TEP_UP &&
	    kinds[kind].type <= MSG_TEP_REPLY)
		m.state.tep = rnd(3);
	if (kinds[kind].size > 0 && rnd(2))
		noise(&m, kinds[kind].size);
	if (n % 50 == 0)
		open_conn(ref(rnd(64), 1 + (uint32_t)(n / 50)), listener);
	if (n % 50 == 25 && client != -1)
		open_conn(ref(rnd(64), 1 + (uint32_t)(n / 50)), client);
	msg_put(rogue.priv, kinds[kind].type, &m, kinds[kind].size);
}

/* Our node has a lease, says session, of a server that was never asked. */
static void
lease_of_nobody(uint64_t n)
{
	struct msg_node_lease ml;

	memset(&ml, 0, sizeof(ml));
	ml.conn = ref(rnd(4), 1);
	ml.lifetime = 600;
	inet_pton(AF_INET, "203.0.113.66", &ml.v4);
	inet_pton(AF_INET, "203.0.113.1", &ml.tep4);
	inet_pton(AF_INET6, rogue.plan[1], &ml.v6);
	inet_pton(AF_INET6, "2001:db8:66::6", &ml.tep6);
	if (n % 2)
		noise(&ml, sizeof(ml));
	msg_put(rogue.priv, MSG_NODE_LEASE, &ml, sizeof(ml));
}

/*
 * What comes
 */
static void
on_ready(const struct msg_conn *mc)
{
	if (planned("unproved") && mc->ok)
		try_unproved(mc->conn);
	else if (planned("others") && mc->ok)
		log_in_anonymously(mc->conn);
	else if (planned("ride") && mc->ok)
		log_in_anonymously(mc->conn);
	else if (planned("generations"))
		word(mc->ok ? "ready:%u " : "not:%u ",
		    mc->conn.gen - last_gen);
}

static void
on_done(const struct msg_auth_done *md)
{
	if (!md->ok)
		return;
	logins++;
	if (planned("others"))
		try_others(md->conn);
	else if (planned("ride"))
		ride_on(md->conn);
	else if (planned("generations"))
		try_replay();
}

static void
on_reply(const struct msg_lease_reply *mr)
{
	uint32_t i;

	answered++;
	if (mr->status == STATUS_OK) {
		granted++;
		for (i = 0; i < naddresses; i++)
			if (addresses[i].s_addr == mr->v4.s_addr)
				break;
		if (i == naddresses && naddresses < RIDES)
			addresses[naddresses++] = mr->v4;
	}
	if (planned("unproved") || planned("others")) {
		word("%u=", mr->status);
		if (mr->status == STATUS_OK)
			strlcat(line, log_in(mr->v4), sizeof(line));
		strlcat(line, " ", sizeof(line));
		if (answered == asked)
			tell();
	} else if (planned("ride") && answered == 2 * RIDES) {
		word("logins:%u ", logins);
		word("granted:%u ", granted);
		word("addresses:%u", naddresses);
		tell();
	} else if (planned("generations")) {
		/* the last of all: 12 has not logged in */
		word("%u:", mr->conn.gen - last_gen);
		word("%u", mr->status);
		tell();
	}
}

/* Who connects says in one line what shall be tried: words as of a plan. */
static void
on_order(evutil_socket_t fd, short what, void *arg)
{
	char text[256];
	ssize_t n;

	(void)what;
	(void)arg;
	if ((n = read(fd, text, sizeof(text) - 1)) <= 0)
		return;
	text[n] = '\0';
	if (sscanf(text, "%63s %63s %63s", rogue.plan[0], rogue.plan[1],
	    rogue.plan[2]) < 1)
		return;
	line[0] = '\0';
	asked = answered = granted = logins = naddresses = 0;
	log_info("rogue: %s", rogue.plan[0]);
	if (planned("generations"))
		try_generations();
	else if (planned("ride"))
		try_ride();
	else if (planned("unproved") || planned("others"))
		open_conn(ref(1, ++last_own), client);
	else if (planned("flood"))
		flood(300000, flood_one);
}

static void
on_accept(evutil_socket_t fd, short what, void *arg)
{
	struct sockaddr_in6 from;
	socklen_t len = sizeof(from);
	int s;

	(void)what;
	(void)arg;
	s = accept4(fd, (struct sockaddr *)&from, &len,
	    SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (s == -1)
		return;
	if (ordering != NULL)
		event_free(ordering);
	if (client != -1)
		close(client);
	client = s;
	peer = from.sin6_addr;
	ordering = event_new(rogue.base, client, EV_READ, on_order, NULL);
	if (ordering == NULL || event_add(ordering, NULL) == -1)
		fatalx("event_add");
}

static void
session_message(struct msglink *l, struct msg *m)
{
	(void)l;
	switch (m->type) {
	case MSG_SESSION_CONF:
		last_gen = ((const struct msg_session_conf *)m->data)->last_gen;
		break;
	case MSG_LISTEN:
		listener = m->fd;
		m->fd = -1;
		accepting = event_new(rogue.base, listener,
		    EV_READ | EV_PERSIST, on_accept, NULL);
		if (accepting == NULL || event_add(accepting, NULL) == -1)
			fatalx("event_add");
		break;
	case MSG_CONN_READY:
		on_ready(m->data);
		break;
	case MSG_AUTH_DONE:
		on_done(m->data);
		break;
	case MSG_LEASE_REPLY:
		on_reply(m->data);
		break;
	}
}

static void
session_configured(void)
{
	if (planned("node"))
		flood(200000, lease_of_nobody);
}

const struct role	 role_session = {
	PROC_SESSION, session_configured, session_message
};
