/*
 * The session process with real sockets, its neighbours faked as in the unit
 * test (whose XML parser is the real one): strangers that connect to it, a TEP
 * and a server that it has called. An input is what they do, in turn.
 */
/* COVERS: session/ask.c session/call.c session/conn.c session/dial.c session/link.c session/listen.c session/node.c session/parse.c session/request.c session/serve.c session/source.c session/tep.c session/emit.c session/watch.c */
/* LINK: session/ask.o session/call.o session/conn.o session/dial.o session/emit.o session/jitter.o session/link.o session/listen.o session/node.o session/parse.o session/request.o session/serve.o session/source.o session/tep.o session/tsp.o session/watch.o parser/xml.o regress/unit/world.o libdstmd.a */
/* LIBS: -lxml2 -lseccomp -lcmocka */
#include <sys/types.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "fuzz/fuzz.h"
#include "regress/unit/world.h"
#include "session/session-int.h"

#define NPEERS		4
#define STEPS		128
#define TURNS		8

enum { CONNECT, CALLED, CLOSE, SAY, FRAME, LINE, HALF, ANSWER, PARENT, TIME,
    NODE, TEP, HOLD, NOP };

/*
 * From this number of a step on: the rest of what the neighbours say, their
 * deaths, and a configuration under which there is less room.
 */
#define LATE		208
enum { CALL, TAKEN, REJECT, AUTH, PARSER, WAIT, MODE, AUTH_SAYS, END, NLATE };
#define WAIT_MAX	60	/* ms */

/*
 * And from this one on: whole dialogues, so that an input need not find each
 * word of them, time, and what the host has too little of.
 */
#define WHOLE		238
enum { PASS, CLIENT, SERVE, REPLY, FLOOD, LIMITS, SHORT, DIALS, LIE, AGAIN,
    MOVE, FROM, NWHOLE };
#define CALL_PATIENCE	12	/* s: longer than a call is put off */
#define FLOOD_MAX	256	/* frames, more than may be left unread */

static struct peer	 peers[NPEERS];
static int		 elsewhere;

static const char *const lines[] = { "VERSION=1.0\r\n", "VERSION=2.0.1\r\n",
    "AUTHENTICATE ANONYMOUS\r\n", "OK Authentication successful\r\n",
    "200 Success\r\n", "CAPABILITY TUNNEL=V4V6 AUTH=ANONYMOUS\r\n", "\r\n",
    "VERSION=9\r\n", "AUTHENTICATE PLAIN\r\n", "300 no\r\n",
    "1302 no\r\nContent-length: 5\r\nabcde",
    "CAPABILITY TUNNEL=V4V6 AUTH=SCRAM-SHA-256-PLUS\r\n", "c3RlcA==\r\n",
    "530 busy\r\n", "500 no\r\n", "not base64\r\n", "CAPABILITY none\r\n" };
static const char *const bodies[] = {
    "<tunnel action=\"%s\" type=\"v4v6\"><client><address type=\"ipv6\">"
    "2001:db8:1::1</address></client></tunnel>\r\n",
    "200 Success\r\n<tunnel action=\"%s\" type=\"v4v6\" lifetime=\"60\">"
    "<server><address type=\"ipv4\">198.51.100.1</address>"
    "<address type=\"ipv6\">2001:db8::3</address></server><client>"
    "<address type=\"ipv4\">198.51.100.9</address>"
    "<address type=\"ipv6\">::1</address></client></tunnel>\r\n",
    "200 Success\r\n" };
static const char *const actions[] = { "create", "info", "delete", "list",
    "accept", "reject", "steal" };
static const int	 codes[] = { 0, 200, 300, 306, 307, 308, 309, 310, 500,
    530, 1306, 1530, 999 };

void
fuzz_init(void)
{
	uint16_t port;
	int i, little = 4096;

	world.mechs[0] = MECH_SCRAM_SHA_256;
	world.mechs[1] = MECH_DIGEST_MD5;
	world.suspend_ms = SUSPEND_TICK;
	world.offers = 1;
	world.lifetime = 60;
	world_start();
	session.parse_max = 6;		/* as few peers may reach */
	for (i = CONN_TO_TEP; i <= CONN_TO_NODE; i++) {
		world.dialled[i] = listen_socket(&port);
		MUST(fcntl(world.dialled[i], F_SETFL, O_NONBLOCK) != -1);
	}
	elsewhere = listen_socket(&port);
	/* What a peer leaves unread is soon too much. */
	MUST(setsockopt(world.listener, SOL_SOCKET, SO_SNDBUF, &little,
	    sizeof(little)) == 0);
	for (i = 0; i < NPEERS; i++)
		peers[i].fd = -1;
}

static void
turn(void)
{
	int i;

	for (i = 0; i < TURNS; i++)
		event_base_loop(world.base, EVLOOP_NONBLOCK);
}

static void
pass_ms(int64_t ms)
{
	time_passes(world.base, &world.passed, ms * 1000);
}

static void
drain(struct peer *p)
{
	char buf[4096];

	while (p->fd != -1 && recv(p->fd, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
}

static void
say(struct peer *p, const void *data, size_t n)
{
	if (p->fd != -1)
		(void)send(p->fd, data, n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void
frame(struct input *in, struct peer *p)
{
	char body[1024], text[1200];
	uint32_t which = input_number(in, 1);
	int n;

	snprintf(body, sizeof(body), bodies[which % 3],
	    actions[which / 3 % 6]);
	n = snprintf(text, sizeof(text), "Content-length: %zu\r\n%s",
	    strlen(body), body);
	say(p, text, (size_t)n);
}

/* A call that is not given up yet; the next one that comes, in its time. */
static void
called(struct peer *p, int kind)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);
	int i, fd;

	for (i = 0; p->fd == -1 && i < CALL_PATIENCE; i++) {
		while ((fd = accept4(world.dialled[kind], NULL, NULL,
		    SOCK_NONBLOCK | SOCK_CLOEXEC)) != -1) {
			MUST(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info,
			    &len) == 0);
			if (p->fd == -1 && info.tcpi_state == TCP_ESTABLISHED)
				p->fd = fd;
			else
				close(fd);
		}
		if (p->fd == -1)
			pass_ms(1000);
	}
}

/* A call that nobody has taken, or -1. */
static int
accept_any(void)
{
	int fd = -1, kind;

	for (kind = CONN_TO_TEP; fd == -1 && kind <= CONN_TO_NODE; kind++)
		fd = accept4(world.dialled[kind], NULL, NULL, SOCK_CLOEXEC);
	return (fd);
}

static void
close_all(void)
{
	int i;

	for (i = 0; i < NPEERS; i++) {
		if (peers[i].fd != -1)
			close(peers[i].fd);
		peers[i].fd = -1;
	}
}

/* The parent, who is not hostile: says what it may, at any time. */
static void
parent(struct input *in)
{
	static const uint32_t status[] = { 200, 306, 307, 308, 309, 310, 521,
	    530 };
	struct msg_lease_reply mr;
	uint32_t what = input_number(in, 1);

	memset(&mr, 0, sizeof(mr));
	mr.op = OP_DELETE;
	if (world.nasked > 0)
		mr.conn = world.asked[world.nasked - 1].conn;
	mr.v4.s_addr = htonl(0xc6336401U);
	mr.lifetime = 60;
	switch (what % 3) {
	case 0:
		if (world.nasked > 0)
			answer(&world.asked[world.nasked - 1],
			    status[what / 3 % 8], 1);
		break;
	case 1:
		msg_put(world.priv, MSG_LEASE_DELETE, &mr, sizeof(mr));
		break;
	case 2:
		mr.op = OP_CREATE;
		msg_put(world.priv, MSG_LEASE_OFFER, &mr, sizeof(mr));
		break;
	}
}

static void
node(struct input *in)
{
	struct msg_node_start ms;
	uint32_t what = input_number(in, 1);

	memset(&ms, 0, sizeof(ms));
	if (what % 3 == 0)
		msg_put(world.priv, MSG_NODE_STOP, NULL, 0);
	else {
		ms.has_v4 = what % 3 == 1;
		ms.v4.s_addr = htonl(0xc6336401U);
		msg_put(world.priv, MSG_NODE_START, &ms, sizeof(ms));
	}
}

static void
tep(struct input *in)
{
	struct msg_tep_request mt;

	memset(&mt, 0, sizeof(mt));
	mt.op = OP_CREATE + input_number(in, 1) % 4;
	mt.job = world.ntep_replies + 1;
	mt.lifetime = 60;
	mt.v4.s_addr = htonl(0xc6336402U);
	mt.v6 = in6addr_loopback;
	msg_put(world.priv, MSG_TEP_REQUEST, &mt, sizeof(mt));
}

/* The session need not accept it at once, or at all. */
static void
stranger(struct peer *p)
{
	struct sockaddr_in6 a;
	int little = 4096;

	memset(&a, 0, sizeof(a));
	a.sin6_family = AF_INET6;
	a.sin6_addr = in6addr_loopback;
	a.sin6_port = htons(world.port);
	p->fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
	    0);
	MUST(p->fd != -1);
	(void)setsockopt(p->fd, SOL_SOCKET, SO_RCVBUF, &little,
	    sizeof(little));
	(void)connect(p->fd, (struct sockaddr *)&a, sizeof(a));
}

static void
call(uint32_t n)
{
	struct msg_call mc;

	memset(&mc, 0, sizeof(mc));
	mc.call = n % 2;
	if (world.calls & 1U << mc.call)
		return;
	world.calls |= 1U << mc.call;
	strlcpy(mc.name, "alice", sizeof(mc.name));
	mc.body.op = n & 2 ? OP_DELETE : OP_CREATE;
	mc.body.lifetime = 60;
	mc.body.v4.s_addr = htonl(0xc6336405U);
	mc.body.v6 = in6addr_loopback;
	msg_put(world.priv, MSG_CALL, &mc, sizeof(mc));
}

static void
about_lease(uint32_t type)
{
	struct msg_node_delete md;

	memset(&md, 0, sizeof(md));
	md.conn = world.lease.conn;
	md.v4 = world.lease.v4;
	msg_put(world.priv, type, &md, sizeof(md));
}

/* A SASL step; the connection may be gone. */
static void
auth_says(struct input *in)
{
	struct msg_auth_next mn;
	struct msg_auth_done md;
	uint32_t n = input_number(in, 1);
	char blob[SASL_BLOB_MAX];

	if (world.auth == NULL || world.auth_conn.gen == 0)
		return;
	memset(&mn, 0, sizeof(mn));
	mn.conn = world.auth_conn;
	mn.has_blob = (n & 4) != 0;
	mn.result = n % 3 == 0 ? AUTH_OK : n % 3 == 1 ? AUTH_MORE :
	    AUTH_FAILED;
	memset(blob, 'x', sizeof(blob));
	msg_send(world.auth, MSG_AUTH_NEXT, -1, &mn, sizeof(mn), blob,
	    n & 4 ? n & 64 ? sizeof(blob) : 4 : 0);
	if (mn.result != AUTH_OK)
		return;
	memset(&md, 0, sizeof(md));
	md.conn = mn.conn;
	md.role = n & 8 ? ROLE_TEP : n & 16 ? ROLE_NODE : ROLE_SERVER;
	md.ok = (n & 32) == 0;
	strlcpy(md.name, "alice", sizeof(md.name));
	msg_put(world.priv, MSG_AUTH_DONE, &md, sizeof(md));
}

static void
mode(uint32_t n)
{
	session.conf.handshakes = n & 1 ? 2 : 200;
	session.conf.max_conns = n & 2 ? 3 : 200;
	session.conf.request_rate = n & 4 ? 60 : 1000000;
	session.conf.nredirects = n & 8 ? 1 : 0;
	session.conf.redirects[0] = in6addr_loopback;
	world.hold_auth = n >> 4 & 1;
}

static void
limits(uint32_t n)
{
	session.conf.source_prefix = n & 1 ? 60 : 128;
	session.conf.source_rate = n & 2 ? 1 : 1000;
	session.conf.auth_failures = n & 4 ? 2 : 60000;
	session.conf.max_source = n & 8 ? 2 : 100;
	session.conf.success_pause = n & 16 ? 100 : 0;
	if (n & 32)
		session.conf.request_rate = 1;
}

/*
 * No descriptors for a moment: not for those that are on their way between
 * processes, which would be the end.
 */
static void
no_descriptors(struct peer *p)
{
	struct rlimit all, none;

	settle();
	if (p->fd == -1)
		stranger(p);
	else
		say(p, lines[2], strlen(lines[2]));
	MUST(getrlimit(RLIMIT_NOFILE, &all) == 0);
	none = all;
	none.rlim_cur = 0;
	MUST(setrlimit(RLIMIT_NOFILE, &none) == 0);
	turn();
	MUST(setrlimit(RLIMIT_NOFILE, &all) == 0);
}

/* A helper in foreign hands. */
static void
lie(uint32_t n)
{
	struct msg_parsed mp;
	struct msg_auth_next mn;

	memset(&mp, 0, sizeof(mp));
	memset(&mn, 0, sizeof(mn));
	mp.seq = mn.result = n;
	mp.conn = mn.conn = world.auth_conn;
	if (n & 1 && world.parser != NULL)
		msg_put(world.parser, n & 2 ? MSG_PARSED : MSG_READY, &mp,
		    n & 2 ? sizeof(mp) : 0);
	else if ((n & 1) == 0 && world.auth != NULL)
		msg_put(world.auth, n & 2 ? MSG_AUTH_NEXT : MSG_READY, &mn,
		    n & 2 ? sizeof(mn) : 0);
}

/* The next one is there before session has heard the last one's end. */
static void
again(uint32_t n)
{
	if (n & 1 && world.auth != NULL) {
		auth_dies();
		auth_start();
	} else if (world.parser != NULL) {
		parser_dies();
		parser_start();
	}
}

static void
move(struct conn *c)
{
	if (c->kind == CONN_TO_SERVER)
		c->local.s6_addr[0] ^= 0x20;
}

/* A stranger from somewhere else: this host has one such address alone. */
static void
from(struct peer *p, uint32_t n)
{
	struct sockaddr_in6 to;
	struct in6_addr addr = { .s6_addr = { 0x20, 0x01, 0x0d, 0xb8 } };
	socklen_t len = sizeof(to);
	int fd;

	if (p->fd != -1)
		return;
	addr.s6_addr[7] = n >> 2 & 15;
	addr.s6_addr[15] = n & 3;
	MUST(getsockname(elsewhere, (struct sockaddr *)&to, &len) == 0);
	p->fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	MUST(p->fd != -1);
	MUST(connect(p->fd, (struct sockaddr *)&to, len) == 0);
	MUST((fd = accept4(elsewhere, NULL, NULL, SOCK_CLOEXEC)) != -1);
	listen_accepted(fd, 0, &addr);
}

/* A stranger's lines up to a login. */
static void
client(struct peer *p, uint32_t n)
{
	static const char *const mechs[] = { "ANONYMOUS", "SCRAM-SHA-256",
	    "DIGEST-MD5", "PLAIN" };
	char text[128];
	int len;

	if (p->fd != -1)
		return;
	stranger(p);
	turn();
	len = snprintf(text, sizeof(text), "VERSION=%s\r\nAUTHENTICATE %s\r\n",
	    n & 1 ? "2.0.1" : "1.0", mechs[n >> 1 & 3]);
	say(p, text, (size_t)len);
}

/* Whom the session calls, up to its success. */
static void
serve(struct peer *p, uint32_t n)
{
	const char *mech = n & 4 ? "SCRAM-SHA-256-PLUS" : "ANONYMOUS";
	char text[128];
	int len;

	if (p->fd != -1)
		return;
	called(p, CONN_TO_TEP + (int)(n % 4 % 3));
	turn();
	len = snprintf(text, sizeof(text), "CAPABILITY TUNNEL=V4V6 AUTH=%s\r\n",
	    mech);
	say(p, text, (size_t)len);
	turn();
	if ((n & 8) == 0)
		say(p, lines[3], strlen(lines[3]));
}

static const char *const endpoints[][4] = {
    { "", "<address type=\"ipv4\">198.51.100.2</address>"
    "<address type=\"ipv6\">::1</address>",
    "<address type=\"ipv4\">198.51.100.3</address>",
    "<address type=\"ipv6\">2001:db8::9</address>" },
    { "", "<address type=\"ipv4\">198.51.100.1</address>"
    "<address type=\"ipv6\">2001:db8::3</address>",
    "<address type=\"ipv4\">198.51.100.1</address>",
    "<address type=\"ipv4\">127.0.0.1</address>"
    "<address type=\"ipv6\">2001:db8::3</address>" } };
static const char	 brokers[] = "<broker><address type=\"ipv6\">"
    "2001:db8:7::1</address></broker><broker><address type=\"ipv6\">"
    "2001:db8:9::2</address></broker><broker><address type=\"ipv6\">"
    "2001:db8:9::1</address></broker>";

/* A message with a sense: code, action, then what is in it. */
static void
reply(struct input *in, struct peer *p)
{
	static const char *const lifetimes[] = { "", " lifetime=\"60\"",
	    " lifetime=\"0\"", " lifetime=\"4000000000\"" };
	uint32_t what = input_number(in, 1), parts = input_number(in, 1);
	char body[1024], text[1200];
	int n = 0, code = codes[what % 13];

	if (code != 0)
		n = snprintf(body, sizeof(body), "%d said\r\n", code);
	if (what / 13 < 7)
		n += snprintf(body + n, sizeof(body) - (size_t)n,
		    "<tunnel action=\"%s\" type=\"v4v6\"%s><server>%s"
		    "</server><client>%s</client></tunnel>\r\n",
		    actions[what / 13], lifetimes[parts & 3],
		    endpoints[1][parts >> 2 & 3], endpoints[0][parts >> 4 & 3]);
	else if (what / 13 < 14)
		n += snprintf(body + n, sizeof(body) - (size_t)n,
		    "<tunnel action=\"list\" type=\"broker\">%s</tunnel>",
		    parts & 1 ? brokers : "");
	n = snprintf(text, sizeof(text), "Content-length: %d\r\n%.*s", n, n,
	    body);
	say(p, text, (size_t)n);
}

static void
flood(struct peer *p, uint32_t n)
{
	char text[1200], body[1024];
	uint32_t i;
	int len;

	snprintf(body, sizeof(body), bodies[0], actions[n % 7]);
	len = snprintf(text, sizeof(text), "Content-length: %zu\r\n%s",
	    strlen(body), body);
	for (i = 0; i < n && i < FLOOD_MAX; i++) {
		say(p, text, (size_t)len);
		turn();
	}
}

static void
whole(struct input *in, uint32_t op)
{
	static const int64_t times[] = { 1, 100, 1000, 2000, 3000, 10000,
	    31000, 61000 };
	uint32_t n = input_number(in, 1);
	struct peer *p = &peers[n % NPEERS];

	switch (op) {
	case PASS:
		pass_ms(times[n % 8]);
		break;
	case CLIENT:
		client(p, n / NPEERS);
		break;
	case SERVE:
		serve(p, n / NPEERS);
		break;
	case REPLY:
		reply(in, p);
		break;
	case FLOOD:
		flood(p, n);
		break;
	case LIMITS:
		limits(n);
		break;
	case SHORT:
		no_descriptors(p);
		break;
	case DIALS:
		world.dials_fail = n & 1;
		world.nobody = n >> 1 & 1;
		break;
	case LIE:
		lie(n);
		break;
	case AGAIN:
		again(n);
		break;
	case FROM:
		from(p, n / NPEERS);
		break;
	case MOVE:
		conn_each(move);
		break;
	}
}

static void
neighbours(void)
{
	if (world.parser == NULL)
		parser_start();
	if (world.auth == NULL)
		auth_start();
}

static void
late(struct input *in, uint32_t op)
{
	struct msg_conn mc;

	switch (op) {
	case CALL:
		call(input_number(in, 1));
		break;
	case TAKEN:
		about_lease(MSG_NODE_TAKEN);
		break;
	case REJECT:
		about_lease(MSG_NODE_REJECT);
		break;
	case AUTH:
		if (world.auth == NULL)
			auth_start();
		else
			auth_dies();
		break;
	case PARSER:
		if (world.parser == NULL)
			parser_start();
		else
			parser_dies();
		break;
	case WAIT:
		pass_ms(input_number(in, 1) % WAIT_MAX);
		break;
	case MODE:
		mode(input_number(in, 1));
		break;
	case AUTH_SAYS:
		auth_says(in);
		break;
	case END:
		memset(&mc, 0, sizeof(mc));
		mc.conn = world.auth_conn;
		msg_put(world.priv, MSG_CONN_CLOSE, &mc, sizeof(mc));
		break;
	}
}

static void
step(struct input *in, uint32_t op)
{
	struct peer *p = &peers[op / NOP % NPEERS];
	uint8_t *piece;
	size_t n;

	switch (op % NOP) {
	case CONNECT:
		if (p->fd == -1)
			stranger(p);
		break;
	case CALLED:
		called(p, CONN_TO_TEP + (int)(op / NOP / NPEERS % 3));
		break;
	case CLOSE:
		if (p->fd != -1)
			close(p->fd);
		p->fd = -1;
		break;
	case HALF:
		if (p->fd != -1)
			shutdown(p->fd, SHUT_WR);
		break;
	case SAY:
		piece = input_piece(in, &n);
		say(p, piece, n);
		free(piece);
		break;
	case LINE:
		n = input_number(in, 1) % (sizeof(lines) / sizeof(lines[0]));
		say(p, lines[n], strlen(lines[n]));
		break;
	case FRAME:
		frame(in, p);
		break;
	case ANSWER:
		drain(p);
		break;
	case PARENT:
		parent(in);
		break;
	case TIME:
		world.suspended += (int64_t)input_number(in, 1) * 100;
		break;
	case NODE:
		node(in);
		break;
	case TEP:
		tep(in);
		break;
	case HOLD:
		n = input_number(in, 1);
		world.hold_leases = n & 1;
		world.hold_parser = n >> 1 & 1;
		world.refuse_auth = n >> 2 & 1;
		break;
	}
}

/*
 * The next input finds nobody there, a node that wants nothing, and a TEP that
 * is to be called.
 */
static void
quiet(void)
{
	int i, fd;

	close_all();
	mode(0);
	limits(0);
	world.hold_leases = world.hold_parser = world.refuse_auth = 0;
	world.dials_fail = world.nobody = 0;
	for (i = 0; i < CALL_PATIENCE; i++) {
		neighbours();
		turn();
		while ((fd = accept_any()) != -1)
			close(fd);
		if (i == 0)
			msg_put(world.priv, MSG_NODE_STOP, NULL, 0);
		pass_ms(i < 5 ? 1000 : 10000);
	}
	MUST(session.naccepted == 0);
}

void
fuzz_one(const uint8_t *buf, size_t len)
{
	struct input in = { buf, len };
	uint32_t op;
	int i;

	world.nasked = world.ntep_replies = 0;
	for (i = 0; in.n > 0 && i < STEPS; i++) {
		op = input_number(&in, 1);
		if (op >= WHOLE)
			whole(&in, (op - WHOLE) % NWHOLE);
		else if (op >= LATE)
			late(&in, (op - LATE) % NLATE);
		else
			step(&in, op);
		turn();
	}
	quiet();
}
