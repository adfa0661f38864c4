/*
 * The session process, with its neighbours faked (world.c): what it does
 * when they die, when a peer is slow, greedy or lies.
 */
/* LINK: session/ask.o session/call.o session/conn.o session/dial.o session/emit.o session/jitter.o session/link.o session/listen.o session/node.o session/parse.o session/request.o session/serve.o session/source.o session/tep.o session/tsp.o session/watch.o parser/xml.o regress/unit/world.o libdstmd.a */
/* LIBS: -lxml2 -lseccomp */
#include <sys/types.h>

#include <arpa/inet.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "regress/unit/world.h"
#include "session/session-int.h"

#define NCLIENTS	20
#define FLOOD		5000		/* messages */

static struct peer	 peers[NCLIENTS + 100], tep, far;

#define CREATE	"<tunnel action=\"create\" type=\"v4v6\"><client>" \
		"<address type=\"ipv6\">2001:db8:1::1</address>%s" \
		"</client></tunnel>\r\n"

static void
create(struct peer *p, const char *more)
{
	char body[512];

	snprintf(body, sizeof(body), CREATE, more);
	peer_frame(p, body);
}

/* Until *n is at least want. */
static void
until_count(const uint32_t *n, uint32_t want, const char *what)
{
	int64_t end = now_ms() + 5000;

	while (*n < want) {
		event_base_loop(world.base, EVLOOP_NONBLOCK);
		if (now_ms() > end)
			fail_msg("%u of %u %s", *n, want, what);
	}
}

/*
 * As server
 */
static void
test_login(void **state)
{
	struct peer *p = &peers[0];

	(void)state;
	peer_connect(p);
	peer_login(p);
	create(p, "");
	peer_expect(p, "200 OK\r\n<tunnel action=\"info\"");
	peer_expect(p, "198.51.100.1</address>");
	/* the parent said that 41 is the last generation of before */
	assert_in_range(world.asked[0].conn.gen, 42, 50);
	peer_close(p);
}

/* Answers leave in the order of the requests, whatever the parent's. */
static void
test_order(void **state)
{
	struct peer *p = &peers[0];
	uint32_t from = world.nasked;
	char text[32];
	int i;

	(void)state;
	peer_connect(p);
	peer_login(p);
	world.hold_leases = 1;
	for (i = 0; i < 4; i++)
		create(p, "");
	until_count(&world.nasked, from + 4, "requests");
	for (i = 3; i >= 0; i--) {
		assert_false(peer_has(p, "tunnel"));
		answer(&world.asked[from + (uint32_t)i], STATUS_OK, 10 + i);
		settle();
	}
	for (i = 0; i < 4; i++) {
		snprintf(text, sizeof(text), "198.51.100.%d<", 10 + i);
		peer_expect(p, text);
	}
	world.hold_leases = 0;
	peer_close(p);
}

/* Who asks without end, and reads nothing, waits in its own buffers. */
static void
test_greedy(void **state)
{
	struct peer *p = &peers[0], *q = &peers[1];
	uint32_t from = world.nasked;
	int i;

	(void)state;
	peer_connect(p);
	peer_login(p);
	world.hold_leases = 1;
	for (i = 0; i < 100; i++)
		create(p, "");
	until_count(&world.nasked, from + OUTSTANDING, "requests");
	settle();
	assert_int_equal(world.nasked, from + OUTSTANDING);
	world.hold_leases = 0;
	peer_connect(q);
	peer_login(q);
	create(q, "");
	peer_expect(q, "200 OK");
	peer_close(q);
	for (i = 0; i < OUTSTANDING; i++)
		answer(&world.asked[from + (uint32_t)i], STATUS_OK, 1);
	until_count(&world.nasked, from + 101, "requests");
	peer_close(p);
}

/* The one that kills the parser is the one that pays for it. */
static void
test_poison(void **state)
{
	int i, bad = 7;
	uint32_t deaths;

	(void)state;
	for (i = 0; i < NCLIENTS; i++) {
		peer_connect(&peers[i]);
		peer_login(&peers[i]);
	}
	world.hold_parser = 1;
	for (i = 0; i < NCLIENTS; i++)
		if (i != bad)
			create(&peers[i], "");
	settle();
	create(&peers[bad], "<!-- poison -->");
	settle();
	assert_null(world.parser);	/* with all of them in it */
	world.hold_parser = 0;
	deaths = world.parser_deaths;
	parser_start();
	until_count(&world.parser_deaths, deaths + 1, "deaths");
	parser_start();
	for (i = 0; i < NCLIENTS; i++) {
		if (i == bad) {
			peer_expect(&peers[i], "500 Invalid request format");
			peer_expect_end(&peers[i]);
			continue;
		}
		peer_expect(&peers[i], "200 OK");
		peer_close(&peers[i]);
	}
}

/* One that does not answer is replaced; who was alone with it pays for it. */
static void
test_stuck(void **state)
{
	struct peer *p = &peers[0], *q = &peers[1];
	uint32_t deaths = world.parser_deaths, life = world.lives;

	(void)state;
	peer_connect(p);
	peer_login(p);
	peer_connect(q);
	peer_login(q);
	world.hold_parser = 1;
	create(p, "");
	until_count(&world.parser_deaths, deaths + 1, "deaths");
	settle();
	assert_int_equal(world.replace.peer, PROC_PARSER);
	assert_true(world.replace.life <= life);
	world.hold_parser = 0;
	peer_expect(p, "500 Invalid request format");
	peer_expect_end(p);
	create(q, "");			/* waits for the next */
	settle();
	parser_start();
	peer_expect(q, "200 OK");
	peer_close(q);
}

/* Nobody's fault, so not 300; and the next login finds the next auth. */
static void
test_auth_dies(void **state)
{
	struct peer *p = &peers[0];

	(void)state;
	world.hold_auth = 1;
	peer_connect(p);
	peer_say(p, "VERSION=1.0\r\nAUTHENTICATE ANONYMOUS\r\n");
	peer_expect(p, "AUTH=ANONYMOUS\r\n");
	settle();
	auth_dies();
	peer_expect(p, "530 System too busy, retry later\r\n");
	peer_expect_end(p);
	/* who comes while there is none, too */
	peer_connect(p);
	peer_say(p, "VERSION=2.0.0\r\nAUTHENTICATE ANONYMOUS\r\n");
	peer_expect(p, "530 ");
	peer_expect_end(p);
	world.hold_auth = 0;
	auth_start();
	settle();
	peer_connect(p);
	peer_login(p);
	peer_close(p);
}

/*
 * One that takes a step and does not answer, though it lives, is replaced:
 * also where those who wait for it have gone. Others' logins begin anew.
 */
static void
test_auth_stuck(void **state)
{
	struct peer *p = &peers[0], *q = &peers[1];
	uint32_t deaths = world.auth_deaths, replaced = world.replaced;
	int64_t end;

	(void)state;
	world.hold_auth = 1;
	peer_connect(p);
	peer_say(p, "VERSION=1.0\r\nAUTHENTICATE ANONYMOUS\r\n");
	peer_expect(p, "AUTH=ANONYMOUS\r\n");
	settle();
	peer_close(p);
	assert_int_equal(world.replaced, replaced);
	peer_connect(q);
	peer_say(q, "VERSION=1.0\r\nAUTHENTICATE ANONYMOUS\r\n");
	until_count(&world.auth_deaths, deaths + 1, "deaths");
	until_count(&world.replaced, replaced + 1, "orders");
	assert_int_equal(world.replace.peer, PROC_AUTH);
	assert_true(world.replace.life <= world.lives);
	peer_expect(q, "530 System too busy, retry later\r\n");
	peer_expect_end(q);
	world.hold_auth = 0;
	auth_start();
	settle();
	peer_connect(p);
	peer_login(p);
	/* who has answered all is left alone */
	for (end = now_ms() + 700; now_ms() < end;)
		event_base_loop(world.base, EVLOOP_NONBLOCK);
	assert_int_equal(world.auth_deaths, deaths + 1);
	peer_close(p);
}

/* Who is logged in, and sends nonsense without end, does not fill the log. */
static void
test_log_flood(void **state)
{
	FILE *log = tmpfile();
	int64_t begin = now_ms(), most;
	struct peer *p = &peers[0];
	int old, i, lines = 0;
	char line[1024];

	(void)state;
	assert_non_null(log);
	peer_connect(p);
	peer_login(p);
	fflush(stderr);
	assert_true((old = dup(STDERR_FILENO)) != -1);
	assert_true(dup2(fileno(log), STDERR_FILENO) != -1);
	for (i = 0; i < FLOOD; i++) {
		peer_frame(p, "<tunnel action=\"steal\"></tunnel>\r\n");
		peer_expect(p, "500 Invalid request format\r\n");
	}
	assert_true(dup2(old, STDERR_FILENO) != -1);
	close(old);
	rewind(log);
	while (fgets(line, sizeof(line), log) != NULL)
		lines++;
	fclose(log);
	/* a hundred, a hundred a second, and how many more there were */
	most = 100 + (now_ms() - begin) / 10 + (now_ms() - begin) / 10000;
	if (most > FLOOD / 2)
		skip();		/* a machine on which this is no flood */
	assert_in_range(lines, 50, most);
	peer_close(p);
}

static void
test_refused(void **state)
{
	struct peer *p = &peers[0];

	(void)state;
	world.refuse_auth = 1;
	peer_connect(p);
	peer_say(p, "VERSION=1.0\r\nAUTHENTICATE ANONYMOUS\r\n");
	peer_expect(p, "300 Authentication failed\r\n");
	peer_expect_end(p);
	world.refuse_auth = 0;
}

/* The time to log in is from the accept, however much is said meanwhile. */
static void
test_login_deadline(void **state)
{
	struct peer *p = &peers[0], *q = &peers[1];
	int64_t begin = now_ms();

	(void)state;
	peer_connect(p);
	peer_connect(q);
	peer_say(q, "VERSION=1.0\r\n");
	while (!p->ended || !q->ended) {
		if (now_ms() - begin > 5000)
			fail_msg("logins without end");
		if (!q->ended)
			peer_send(q, "\0", 1);	/* NULs are skipped */
		event_base_loop(world.base, EVLOOP_NONBLOCK);
		(void)peer_has(p, "300 Authentication failed\r\n");
		(void)peer_has(q, "300 Authentication failed\r\n");
	}
	assert_in_range(now_ms() - begin, 900, 4000);
	assert_true(peer_has(p, "300 Authentication failed\r\n"));
	peer_close(p);
	peer_close(q);
}

/* A message that does not end; the time is that of the whole. */
static void
test_partial(void **state)
{
	struct peer *p = &peers[0];

	(void)state;
	peer_connect(p);
	peer_login(p);
	peer_say(p, "Content-length: 400\r\n<tunnel");
	peer_expect(p, "500 Invalid request format\r\n");
	peer_expect_end(p);
}

/* The parent does not answer: 530, framed, not for ever. */
static void
test_no_answer(void **state)
{
	struct peer *p = &peers[0];

	(void)state;
	world.hold_leases = 1;
	peer_connect(p);
	peer_login(p);
	create(p, "");
	peer_expect(p, "Content-length: 34\r\n530 System too busy");
	peer_expect_end(p);
	world.hold_leases = 0;
}

static void
test_per_source(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < 100; i++)
		peer_connect(&peers[i]);
	settle();
	peer_connect(&peers[100]);
	peer_expect(&peers[100], "530 System too busy, retry later\r\n");
	peer_expect_end(&peers[100]);
	peer_close(&peers[0]);
	settle();
	peer_connect(&peers[100]);
	peer_login(&peers[100]);
	for (i = 1; i <= 100; i++)
		peer_close(&peers[i]);
}

/*
 * As client of a TEP
 */
#define INFO	"200 OK\r\n<tunnel action=\"info\" type=\"v4v6\" " \
		"lifetime=\"60\"><server><address type=\"ipv4\">" \
		"198.51.100.1</address><address type=\"ipv6\">2001:db8::3" \
		"</address></server></tunnel>\r\n"

static void
tep_ask(uint64_t job)
{
	struct msg_tep_request m;

	memset(&m, 0, sizeof(m));
	m.op = OP_CREATE;
	m.job = job;
	m.lifetime = 60;
	m.v4.s_addr = htonl(0xc6336400U + (uint32_t)job % 200);
	inet_pton(AF_INET6, "2001:db8:1::1", &m.v6);
	msg_put(world.priv, MSG_TEP_REQUEST, &m, sizeof(m));
}

static int
outstanding(void)
{
	const char *p;
	int n = 0;

	(void)peer_has(&tep, "");
	for (p = tep.buf; (p = strstr(p, "</tunnel>")) != NULL; p++)
		n++;
	return (n);
}

/* 1000 at once: 64 of them under way, each answered as its own. */
static void
test_tep(void **state)
{
	static int seen[1000];
	uint32_t i, job, done = 0;
	int n;

	(void)state;
	peer_accept(&tep);
	peer_serve(&tep);
	until_count(&world.ntep_up, 1, "TEPs up");
	for (i = 0; i < 1000; i++)
		tep_ask(7000 + i);
	while (done < 1000) {
		settle();
		n = outstanding();
		assert_in_range(n, 1, OUTSTANDING_PEER);
		tep.len = 0;
		for (; n > 0; n--, done++)
			if (done % 10 == 3)
				peer_frame(&tep, "307 Configuration Error "
				    "at TEP\r\n");
			else
				peer_frame(&tep, INFO);
		until_count(&world.ntep_replies, done, "answers");
	}
	/* An error needs no parser, and may overtake what is in it. */
	for (i = 0; i < 1000; i++) {
		job = (uint32_t)world.tep_replies[i].job - 7000;
		assert_in_range(job, 0, 999);
		assert_int_equal(seen[job]++, 0);
		assert_int_equal(world.tep_replies[i].status, job % 10 == 3 ?
		    STATUS_TEP : STATUS_OK);
	}
	assert_int_equal(world.ntep_down, 0);
}

/* One answer too many is one for nobody: it is not believed any more. */
static void
test_tep_lies(void **state)
{
	uint32_t n = world.ntep_replies;

	(void)state;
	tep_ask(1);
	peer_expect(&tep, "</tunnel>\r\n");
	peer_frame(&tep, INFO);
	peer_frame(&tep, INFO);
	until_count(&world.ntep_down, 1, "TEPs down");
	assert_int_equal(world.ntep_replies, n + 1);
	peer_expect_end(&tep);
	/* it is called again, and an answer about another address is none */
	peer_accept(&tep);
	peer_serve(&tep);
	until_count(&world.ntep_up, 2, "TEPs up");
	tep_ask(2);
	peer_expect(&tep, "</tunnel>\r\n");
	peer_frame(&tep, "200 OK\r\n<tunnel action=\"info\" type=\"v4v6\">"
	    "<client><address type=\"ipv4\">192.0.2.99</address></client>"
	    "</tunnel>\r\n");
	until_count(&world.ntep_down, 2, "TEPs down");
	assert_int_equal(world.ntep_replies, n + 1);
	peer_expect_end(&tep);
	/* one that is silent is given up */
	peer_accept(&tep);
	peer_serve(&tep);
	until_count(&world.ntep_up, 3, "TEPs up");
	tep_ask(3);
	until_count(&world.ntep_down, 3, "TEPs down");
	peer_expect_end(&tep);
	/* and kept, for the next tests, as one that works */
	peer_accept(&tep);
	peer_serve(&tep);
	until_count(&world.ntep_up, 4, "TEPs up");
}

/*
 * As node
 */
#define LEASE	"200 OK\r\n<tunnel action=\"info\" type=\"v4v6\" " \
		"lifetime=\"600\"><server><address type=\"ipv4\">" \
		"198.51.100.1</address><address type=\"ipv6\">2001:db8::3" \
		"</address></server><client><address type=\"ipv4\">" \
		"198.51.100.%d</address><address type=\"ipv6\">::1" \
		"</address></client></tunnel>\r\n"

static void
grant(int n)
{
	char body[1024];

	snprintf(body, sizeof(body), LEASE, n);
	peer_frame(&far, body);
}

static void
node_start_with(int n)
{
	struct msg_node_start m;

	memset(&m, 0, sizeof(m));
	m.has_v4 = n != 0;
	m.v4.s_addr = htonl(0xc6336400U + (uint32_t)n);
	msg_put(world.priv, MSG_NODE_START, &m, sizeof(m));
}

/* The address of before is asked for; refused, any other will do. */
static void
test_node(void **state)
{
	(void)state;
	node_start_with(77);
	peer_accept(&far);
	peer_serve(&far);
	peer_expect(&far, "action=\"create\"");
	peer_expect(&far, "198.51.100.77</address></client></tunnel>\r\n");
	peer_frame(&far, "308 Requested Address Unavailable\r\n");
	peer_expect(&far, "action=\"create\"");
	peer_expect(&far, "</client></tunnel>\r\n");
	assert_int_equal(far.len, 0);
	assert_string_equal(world.note.text,
	    "server 1 refuses: 308 Requested Address Unavailable");
	grant(20);
	until_count(&world.nleases, 1, "leases");
	settle();
	assert_string_equal(world.note.text, "");
	assert_in_range(world.note.next_ms, 269000, 331000);
	assert_int_equal(ntohl(world.lease.v4.s_addr), 0xc6336414);
	assert_int_equal(world.lease.lifetime, 600);
}

/* The draft's 4.3: obeyed, acknowledged, and another is asked for. */
static void
test_node_deleted(void **state)
{
	(void)state;
	peer_frame(&far, "200 OK\r\n<tunnel action=\"delete\" type=\"v4v6\">"
	    "<client><address type=\"ipv4\">198.51.100.99</address></client>"
	    "</tunnel>\r\n");		/* not ours: nothing happens */
	settle();
	assert_int_equal(world.ndeletes, 0);
	peer_frame(&far, "200 OK\r\n<tunnel action=\"delete\" type=\"v4v6\">"
	    "<client><address type=\"ipv4\">198.51.100.20</address></client>"
	    "</tunnel>\r\n");
	peer_expect(&far, "action=\"info\"");
	until_count(&world.ndeletes, 1, "deletes");
	peer_expect(&far, "action=\"create\"");
	peer_expect(&far, "</tunnel>\r\n");
	grant(21);
	until_count(&world.nleases, 2, "leases");
}

/* The connection is lost: the same server, with the address of the lease. */
static void
test_node_reconnects(void **state)
{
	(void)state;
	peer_close(&far);
	assert_memory_equal(world.note.text, "server 1: ", 10);
	assert_in_range(world.note.next_ms, 300, 600);
	peer_accept(&far);
	peer_serve(&far);
	peer_expect(&far, "198.51.100.21</address></client></tunnel>\r\n");
	grant(21);
	until_count(&world.nleases, 3, "leases");
	assert_int_equal(world.ndeletes, 1);
	/* told to start what runs: it is renewed now */
	node_start_with(21);
	peer_expect(&far, "198.51.100.21</address></client></tunnel>\r\n");
	grant(21);
	until_count(&world.nleases, 4, "leases");
}

#define MOVED	"200 OK\r\n<tunnel action=\"info\" type=\"v4v6\" " \
		"lifetime=\"600\"><server><address type=\"ipv4\">" \
		"198.51.100.1</address><address type=\"ipv6\">2001:db8::3" \
		"</address></server><client><address type=\"ipv4\">" \
		"198.51.100.30</address><address type=\"ipv6\">" \
		"2001:db8:1::7</address></client></tunnel>\r\n"

/* The connection to the server is from there. */
static void
call_from_7(struct conn *c)
{
	if (c->kind == CONN_TO_SERVER)
		inet_pton(AF_INET6, "2001:db8:1::7", &c->local);
}

/*
 * A lease of an address that it does not call from any more: it is given
 * back, whatever the server says to that, and another is asked for.
 */
static void
test_node_moves(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		node_start_with(30);
		peer_expect(&far, "</client></tunnel>\r\n");
		conn_each(call_from_7);
		peer_frame(&far, MOVED);
		until_count(&world.nleases, 5 + 2 * (uint32_t)i, "leases");
		peer_close(&far);
		peer_accept(&far);
		peer_serve(&far);
		peer_expect(&far, "action=\"delete\"");
		peer_expect(&far, "2001:db8:1::7<");
		peer_expect(&far, "</client></tunnel>\r\n");
		until_count(&world.ndeletes, 2 + (uint32_t)i, "deletes");
		assert_false(peer_has(&far, "create"));
		peer_frame(&far, i == 0 ? "309 Invalid IPv6 address\r\n" :
		    "200 OK\r\n<tunnel action=\"info\" type=\"v4v6\">"
		    "<client><address type=\"ipv4\">198.51.100.30</address>"
		    "</client></tunnel>\r\n");
		peer_expect(&far, "action=\"create\"");
		peer_expect(&far, "::1</address></client></tunnel>\r\n");
		grant(21);
		until_count(&world.nleases, 6 + 2 * (uint32_t)i, "leases");
	}
}

/* Suspended: the connection is made anew, the lease renewed or forgotten. */
static void
test_node_suspended(void **state)
{
	uint32_t leases = world.nleases;

	(void)state;
	world.suspended += 60 * 1000;
	until_count(&world.ndials, world.ndials + 1, "dials");
	peer_expect_end(&far);
	peer_accept(&far);
	peer_serve(&far);
	peer_expect(&far, "198.51.100.21</address></client></tunnel>\r\n");
	grant(21);
	until_count(&world.nleases, leases + 1, "leases");
	world.suspended += 601 * 1000;
	until_count(&world.ndials, world.ndials + 1, "dials");
	peer_expect_end(&far);
	/* it is over: the next server is as good */
	settle();
	assert_int_equal(world.note.server, 1);
	peer_accept(&far);
	peer_serve(&far);
	peer_expect(&far, "198.51.100.21</address></client></tunnel>\r\n");
	grant(21);
	until_count(&world.nleases, leases + 2, "leases");
}

/* Stopped: the lease is given back, then it is quiet. */
static void
test_node_stops(void **state)
{
	(void)state;
	msg_put(world.priv, MSG_NODE_STOP, NULL, 0);
	peer_expect(&far, "action=\"delete\"");
	assert_int_equal(world.nstopped, 0);
	peer_frame(&far, "200 OK\r\n<tunnel action=\"info\" type=\"v4v6\">"
	    "<client><address type=\"ipv4\">198.51.100.21</address></client>"
	    "</tunnel>\r\n");
	until_count(&world.nstopped, 1, "stops");
	settle();
	assert_false(peer_has(&far, "create"));
}

/* Stopped while it asks: what is granted nevertheless is given back. */
static void
test_node_stops_asking(void **state)
{
	uint32_t leases = world.nleases;

	(void)state;
	far.len = 0;
	node_start_with(0);
	peer_expect(&far, "action=\"create\"");
	msg_put(world.priv, MSG_NODE_STOP, NULL, 0);
	settle();
	assert_int_equal(world.nstopped, 1);
	grant(22);
	peer_expect(&far, "action=\"delete\"");
	peer_expect(&far, "198.51.100.22<");
	peer_frame(&far, "308 Requested Address Unavailable\r\n");
	until_count(&world.nstopped, 2, "stops");
	assert_int_equal(world.nleases, leases);
}

/* To a configured server, at once; to a stranger never. */
static void
test_node_redirected(void **state)
{
	uint32_t dials, leases;

	(void)state;
	far.len = 0;
	node_start_with(0);
	peer_expect(&far, "</client></tunnel>\r\n");
	dials = world.ndials;
	peer_frame(&far, "1306 Address Pool Exhausted\r\n"
	    "<tunnel action=\"list\" type=\"broker\"><broker><address "
	    "type=\"ipv6\">2001:db8:66::6</address></broker><broker><address "
	    "type=\"ipv6\">2001:db8:9::2</address></broker></tunnel>\r\n");
	peer_expect_end(&far);
	peer_accept(&far);
	assert_int_equal(world.ndials, dials + 1);
	peer_serve(&far);
	peer_expect(&far, "</client></tunnel>\r\n");
	/* the other one sends back to the first, and so on: not for ever */
	peer_frame(&far, "1306 Address Pool Exhausted\r\n"
	    "<tunnel action=\"list\" type=\"broker\"></tunnel>\r\n");
	peer_expect_end(&far);
	peer_accept(&far);
	peer_serve(&far);
	peer_expect(&far, "</client></tunnel>\r\n");
	leases = world.nleases;
	grant(23);
	until_count(&world.nleases, leases + 1, "leases");
	peer_close(&far);
}

static int
setup(void **state)
{
	(void)state;
	log_init("test", LOG_TO_STDERR, 0);
	world_start();
	return (0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tep),
		cmocka_unit_test(test_tep_lies),
		cmocka_unit_test(test_login),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_greedy),
		cmocka_unit_test(test_poison),
		cmocka_unit_test(test_stuck),
		cmocka_unit_test(test_auth_dies),
		cmocka_unit_test(test_auth_stuck),
		cmocka_unit_test(test_log_flood),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_login_deadline),
		cmocka_unit_test(test_partial),
		cmocka_unit_test(test_no_answer),
		cmocka_unit_test(test_per_source),
		cmocka_unit_test(test_node),
		cmocka_unit_test(test_node_deleted),
		cmocka_unit_test(test_node_reconnects),
		cmocka_unit_test(test_node_moves),
		cmocka_unit_test(test_node_suspended),
		cmocka_unit_test(test_node_stops),
		cmocka_unit_test(test_node_stops_asking),
		cmocka_unit_test(test_node_redirected),
	};

	return (cmocka_run_group_tests_name("session", tests, setup, NULL));
}
