/*
 * The session process with real sockets, its neighbours faked as in the unit
 * test (whose XML parser is the real one): strangers that connect to it, a TEP
 * and a server that it has called. An input is what they do, in turn.
 */
/* COVERS: session/call.c session/conn.c session/dial.c session/link.c session/listen.c session/node.c session/parse.c session/request.c session/serve.c session/source.c session/tep.c session/emit.c */
/* LINK: session/call.o session/conn.o session/dial.o session/emit.o session/jitter.o session/link.o session/listen.o session/node.o session/parse.o session/request.o session/serve.o session/source.o session/tep.o session/tsp.o parser/xml.o regress/unit/world.o libdstmd.a */
/* LIBS: -lxml2 -lseccomp -lcmocka */
#include <sys/types.h>
#include <sys/socket.h>

#include <netinet/in.h>

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
#define WAIT_MAX	60	/* ms of one input */

static struct peer	 peers[NPEERS];
static int		 waited;

static const char *const lines[] = { "VERSION=1.0\r\n", "VERSION=2.0.1\r\n",
    "AUTHENTICATE ANONYMOUS\r\n", "OK Authentication successful\r\n",
    "200 Success\r\n", "CAPABILITY TUNNEL=V4V6 AUTH=ANONYMOUS\r\n", "\r\n",
    "VERSION=9\r\n", "AUTHENTICATE PLAIN\r\n", "300 no\r\n",
    "1302 no\r\nContent-length: 5\r\nabcde" };
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
    "accept", "reject" };

void
fuzz_init(void)
{
	int i;

	world.mech = MECH_SCRAM_SHA_256;
	world_start();
	session.partial_ms = 20;	/* as a WAIT may be */
	session.linger_ms = 20;
	if (fcntl(world.dialled, F_SETFL, O_NONBLOCK) == -1)
		abort();
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

	memset(&a, 0, sizeof(a));
	a.sin6_family = AF_INET6;
	a.sin6_addr = in6addr_loopback;
	a.sin6_port = htons(world.port);
	p->fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
	    0);
	MUST(p->fd != -1);
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

	if (world.auth == NULL || world.auth_conn.gen == 0)
		return;
	memset(&mn, 0, sizeof(mn));
	mn.conn = world.auth_conn;
	mn.has_blob = (n & 4) != 0;
	mn.result = n % 3 == 0 ? AUTH_OK : n % 3 == 1 ? AUTH_MORE :
	    AUTH_FAILED;
	msg_send(world.auth, MSG_AUTH_NEXT, -1, &mn, sizeof(mn), "step",
	    n & 4 ? 4 : 0);
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
wait_ms(int ms)
{
	struct timeval tv = { 0, 0 };

	if (waited + ms > WAIT_MAX)
		ms = WAIT_MAX - waited;
	waited += ms;
	tv.tv_usec = ms * 1000;
	event_base_loopexit(world.base, &tv);
	event_base_dispatch(world.base);
}

static void
mode(uint32_t n)
{
	session.conf.handshakes = n & 1 ? 2 : 200;
	session.conf.max_conns = n & 2 ? 4 : 200;
	session.conf.request_rate = n & 4 ? 60 : 1000000;
	session.conf.nredirects = n & 8 ? 1 : 0;
	session.conf.redirects[0] = in6addr_loopback;
	world.hold_auth = n >> 4 & 1;
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
		wait_ms((int)(input_number(in, 1) % WAIT_MAX));
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
step(struct input *in)
{
	uint32_t op = input_number(in, 1);
	struct peer *p = &peers[op / NOP % NPEERS];
	uint8_t *piece;
	size_t n;

	if (op >= LATE) {
		late(in, (op - LATE) % NLATE);
		return;
	}
	switch (op % NOP) {
	case CONNECT:
		if (p->fd == -1)
			stranger(p);
		break;
	case CALLED:
		if (p->fd == -1)
			p->fd = accept4(world.dialled, NULL, NULL,
			    SOCK_NONBLOCK | SOCK_CLOEXEC);
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

void
fuzz_one(const uint8_t *buf, size_t len)
{
	struct input in = { buf, len };
	int i, fd;

	waited = 0;
	world.nasked = world.ntep_replies = 0;
	world.hold_leases = world.hold_parser = world.refuse_auth = 0;
	for (i = 0; in.n > 0 && i < STEPS; i++) {
		step(&in);
		turn();
	}
	close_all();
	turn();
	mode(0);
	neighbours();
	turn();
	/* the next input is not to answer what this one did not */
	while ((fd = accept4(world.dialled, NULL, NULL, SOCK_CLOEXEC)) != -1)
		close(fd);
	turn();
}
