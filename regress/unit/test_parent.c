/* LINK: regress/unit/parent.o priv/call.o priv/conf.o priv/conf-print.o priv/conn.o priv/lease.o priv/lease-act.o priv/lease-owner.o priv/lease-pool.o priv/lease-show.o priv/lex.o priv/node.o priv/offer.o priv/parse.o priv/rules.o priv/server.o priv/store.o priv/tep.o priv/value.o dstmd/addr.o dstmd/mech.o */
/*
 * The parent (parent.c) among processes that have been taken over: each says
 * whatever its table lets it say, as often and in whatever order it likes.
 * Beside what parent.h promises nothing crashes, and nothing grows.
 *
 * environment: PARENT_STEPS, messages (200000); PARENT_SEED
 */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "regress/unit/parent.h"

static uint64_t		 rng;

static uint32_t
rnd(uint32_t n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (n == 0 ? 0 : (uint32_t)((rng >> 16) % n));
}

/*
 * What the others say: most of it could be, some of it not.
 */
static struct conn_ref
some_conn(void)
{
	struct conn_ref ref;

	ref.id = rnd(NSLOT);
	ref.gen = pw.said[ref.id].gen;
	switch (rnd(40)) {
	case 0:
		ref.id = rnd(2) ? CONN_MAX + rnd(3) : UINT32_MAX - rnd(2);
		break;
	case 1:
		ref.gen += rnd(3) - 1;
		break;
	}
	return (ref);
}

static struct in_addr
some_v4(void)
{
	static const uint32_t odd[] = { 0, 0x7f000001, 0xe0000001, 0xffffffff,
	    0xc0000201, 0xcb007101, 0xcb007105, 0x08080808 };
	struct in_addr v4;

	if (rnd(2) == 0)
		return (pw.recent[rnd(NRECENT)]);
	v4.s_addr = htonl(rnd(8) == 0 ? odd[rnd(COUNT(odd))] :
	    POOL + rnd(40) + (rnd(3) == 0 ? 256 : 0));
	return (v4);
}

static struct in6_addr
some_v6(void)
{
	switch (rnd(12)) {
	case 0:
		return (pw.here[rnd(NHERE)]);
	case 1:
		return (in6addr_loopback);
	case 2:
		return (in6addr_any);
	default:
		return (pw.nodes[rnd(NADDR)]);
	}
}

static void
some_name(char *name)
{
	static const char *const names[] = { "alice", "bob", "anonymous",
	    "other", "other", "up", "mallory", "", "dstm1", "alice", "bob" };

	memset(name, 0, NAME_SIZE);
	if (rnd(50) == 0)
		memset(name, 'a', NAME_SIZE);	/* without an end */
	else
		strlcpy(name, names[rnd(COUNT(names))], NAME_SIZE);
}

static uint32_t
some_status(void)
{
	static const uint32_t codes[] = { 200, 200, 200, 200, 307, 308, 0, 530,
	    UINT32_MAX };

	return (codes[rnd(COUNT(codes))]);
}

/* session */
static void
s_open(void)
{
	struct msg_conn_open m;

	memset(&m, 0, sizeof(m));
	m.conn = some_conn();
	if (m.conn.id < NSLOT && rnd(10) != 0)
		m.conn.gen = pw.said[m.conn.id].tried + 1 +
		    (rnd(20) == 0 ? CONN_GENS - rnd(2) : 0);
	m.listener = rnd(5);
	pw.sock_local = pw.here[rnd(NHERE)];
	pw.sock_peer = rnd(6) == 0 ? pw.here[3] : pw.nodes[rnd(NADDR)];
	say(PROC_SESSION, MSG_CONN_OPEN, &m, -1);
}

static void
s_close(void)
{
	struct msg_conn m = { some_conn(), 0 };

	say(PROC_SESSION, MSG_CONN_CLOSE, &m, -1);
}

static void
s_dial(void)
{
	struct msg_dial m;

	m.conn = some_conn();
	if (m.conn.id < NSLOT)
		m.conn.gen = pw.said[m.conn.id].tried + 1 +
		    (rnd(20) == 0 ? CONN_GENS - rnd(2) : 0);
	m.kind = CONN_ACCEPTED + rnd(5);
	m.index = rnd(6);
	pw.sock_local = pw.here[0];
	say(PROC_SESSION, MSG_DIAL, &m, -1);
}

static void
s_request(void)
{
	struct msg_lease_request m;

	memset(&m, 0, sizeof(m));
	m.conn = some_conn();
	m.req = rnd(100);
	m.op = rnd(20) == 0 ? rnd(9) : OP_CREATE + rnd(3);
	m.has_v4 = rnd(4) == 0 || (m.conn.id < NSLOT &&
	    strcmp(pw.said[m.conn.id].name, "other") == 0);
	m.lifetime = rnd(3) == 0 ? (uint32_t)rng : rnd(30);
	m.v4 = some_v4();
	m.v6 = m.conn.id < NSLOT && rnd(4) != 0 ? pw.said[m.conn.id].peer :
	    some_v6();
	say(PROC_SESSION, MSG_LEASE_REQUEST, &m, -1);
}

static void
s_tep(void)
{
	struct msg_tep_state st = { rnd(4), some_conn() };
	struct msg_tep_reply re;
	uint32_t i = rnd(NJOBS);

	if (rnd(20) == 0) {
		say(PROC_SESSION, rnd(2) ? MSG_TEP_UP : MSG_TEP_DOWN, &st, -1);
		return;
	}
	memset(&re, 0, sizeof(re));
	re.tep = rnd(10) == 0 ? rnd(70) : pw.jobs[i].tep;
	re.job = rnd(10) == 0 ? rng : pw.jobs[i].job;
	re.status = some_status();
	re.tep4 = some_v4();
	re.tep6 = some_v6();
	say(PROC_SESSION, MSG_TEP_REPLY, &re, -1);
}

static void
s_node(void)
{
	struct msg_node_lease nl;
	struct msg_node_delete nd;
	struct msg_node_note nn;
	struct msg_call_done cd = { rnd(CALL_MAX + 2), some_status() };

	memset(&nl, 0, sizeof(nl));
	nl.conn = nd.conn = some_conn();
	nl.lifetime = rnd(30);
	nl.v4 = nd.v4 = some_v4();
	nl.tep4 = some_v4();
	nl.v6 = rnd(2) ? pw.here[0] : some_v6();
	nl.tep6 = some_v6();
	memset(&nn, rnd(256) & 0xff, sizeof(nn));
	switch (rnd(6)) {
	case 0:
		say(PROC_SESSION, MSG_NODE_LEASE, &nl, -1);
		break;
	case 1:
		say(PROC_SESSION, MSG_NODE_DELETE, &nd, -1);
		break;
	case 2:
		say(PROC_SESSION, MSG_NODE_OFFER, &nd, -1);
		break;
	case 3:
		say(PROC_SESSION, MSG_NODE_NOTE, &nn, -1);
		break;
	case 4:
		say(PROC_SESSION, MSG_NODE_STOPPED, NULL, -1);
		break;
	default:
		say(PROC_SESSION, MSG_CALL_DONE, &cd, -1);
		break;
	}
}

/* auth */
static void
a_verdict(void)
{
	struct msg_auth_verdict m;
	uint32_t id;

	memset(&m, 0, sizeof(m));
	m.conn = some_conn();
	m.side = rnd(4) == 0 ? AUTH_CLIENT : rnd(50) == 0 ? rnd(9) :
	    AUTH_SERVER;
	m.mech = rnd(20) == 0 ? rnd(256) : rnd(3) == 0 ? 1U << rnd(6) :
	    MECH_SCRAM_SHA_256;
	m.cred = rnd(5) == 0 ? rnd(100) : rnd(2) ? CRED_TEP(1) :
	    CRED_SERVER(0);
	m.mutual = rnd(4) != 0;
	id = m.conn.id;
	m.ends.from = id < NSLOT ? pw.said[id].peer : in6addr_any;
	m.ends.to = pw.here[rnd(NHERE)];
	some_name(m.name);
	if (m.mech == MECH_ANONYMOUS && rnd(4) != 0)
		strlcpy(m.name, "anonymous", sizeof(m.name));
	say(PROC_AUTH, MSG_AUTH_VERDICT, &m, -1);
}

/* store */
static void
t_says(void)
{
	struct msg_store_done m;
	struct msg_store_lease sl;
	struct msg_store_node sn;
	struct msg_store_loaded ld = { rnd(3) };

	memset(&m, 0, sizeof(m));
	m.seq = rnd(20) == 0 ? rng : pw.put_seq - rnd(4);
	m.seq_last = m.seq + rnd(3);
	m.error = rnd(200);
	switch (rnd(12)) {
	case 0:
		say(PROC_STORE, MSG_STORE_FAIL, &m, -1);
		break;
	case 1:
		memset(&sl, 0, sizeof(sl));
		sl.rec.v4 = some_v4();
		sl.rec.v6 = some_v6();
		sl.rec.mech = MECH_SCRAM_SHA_256;
		sl.rec.state = REC_BOUND;
		sl.rec.until = now_wall() + 30;
		some_name(sl.rec.name);
		some_name(sl.rec.tep);
		say(PROC_STORE, MSG_STORE_LEASE, &sl, -1);
		break;
	case 2:
		memset(&sn, rnd(256) & 0xff, sizeof(sn));
		say(PROC_STORE, MSG_STORE_NODE, &sn, -1);
		say(PROC_STORE, MSG_STORE_LOADED, &ld, -1);
		break;
	default:
		say(PROC_STORE, MSG_STORE_DONE, &m, -1);
		break;
	}
}

/* tunnel */
static void
u_says(void)
{
	struct msg_tunnel_dev m;
	struct msg_tunnel_peer p;
	enum proc_id from;

	memset(&m, 0, sizeof(m));
	m.dev = rnd(4) == 0 ? (uint32_t)rng : rnd(2) ? NODE_DEV : 0;
	p.dev = m.dev;
	p.alive = rnd(3);
	from = PROC_TUNNEL + rnd(TUNNEL_QUEUE_MAX);
	switch (rnd(3)) {
	case 0:
		say(from, MSG_TUNNEL_GONE, &m, -1);
		break;
	case 1:
		say(PROC_TUNNEL, MSG_TUNNEL_USED, &m, -1);
		break;
	default:
		say(PROC_TUNNEL, MSG_TUNNEL_PEER, &p, -1);
		break;
	}
}

static void
on_offer(void *arg, int ok, const char *text)
{
	(void)arg;
	(void)ok;
	assert_non_null(text);
}

/* The operator, and the death of processes. */
static void
o_does(void)
{
	struct in6_addr v6 = some_v6();
	char name[NAME_SIZE];

	some_name(name);
	name[NAME_MAX_LEN] = '\0';
	switch (rnd(12)) {
	case 0:
		(void)lease_revoke(server_engine(), now_ms(), now_wall(),
		    some_v4());
		server_pump();
		break;
	case 1:
		(void)node_up();
		break;
	case 2:
		(void)node_down();
		break;
	case 3:
		server_drain(rnd(3));
		server_drain(DRAIN_OFF);
		break;
	case 4:
		if (rnd(10) != 0)
			break;
		conn_drop_all();
		session_anew();
		server_teps_lost();
		call_session_lost();
		break;
	case 5:
		pw.store_down = rnd(4) == 0;
		if (!pw.store_down)
			server_store_up();
		break;
	case 6:
		parent_full(rnd(4) == 0);
		break;
	default:
		(void)offer_make(rnd(2) ? name : "", &v6, on_offer, NULL);
		break;
	}
}

/* That lease is asked for by a node that has just logged in. */
static void
node_asks(const char *name, const struct in6_addr *at)
{
	struct msg_conn_open mo;
	struct msg_auth_verdict mv;
	struct msg_lease_request mr;

	memset(&mo, 0, sizeof(mo));
	memset(&mv, 0, sizeof(mv));
	memset(&mr, 0, sizeof(mr));
	mo.conn.gen = pw.said[0].tried + 1;
	pw.sock_peer = *at;
	pw.sock_local = pw.here[0];
	say(PROC_SESSION, MSG_CONN_OPEN, &mo, -1);
	mv.conn = mr.conn = mo.conn;
	mv.side = AUTH_SERVER;
	mv.mech = MECH_SCRAM_SHA_256;
	strlcpy(mv.name, name, sizeof(mv.name));
	say(PROC_AUTH, MSG_AUTH_VERDICT, &mv, -1);
	mr.op = OP_CREATE;
	mr.v6 = *at;
	say(PROC_SESSION, MSG_LEASE_REQUEST, &mr, -1);
}

/*
 * A store that is starting has not been given the records of meanwhile. It
 * says that it has them, or has not: nothing comes of that, and they are
 * given to it, each in its turn, when it is up.
 */
static void
test_store_starts(void **state)
{
	struct msg_store_done all = { UINT64_MAX, UINT64_MAX, 0 };
	struct msg_store_done one = { 1, UINT64_MAX, 0 };
	struct msg_store_done right;

	(void)state;
	pw.store_down = 1;
	node_asks("alice", &pw.nodes[0]);
	assert_int_equal(pw.put_seq, 0);
	say(PROC_STORE, MSG_STORE_DONE, &all, -1);
	say(PROC_STORE, MSG_STORE_FAIL, &one, -1);
	assert_int_equal(pw.granted + pw.refused, 0);
	pw.store_down = 0;
	server_store_up();
	assert_int_equal(pw.put_seq, 1);
	assert_int_equal(pw.granted + pw.refused, 0);
	right.seq = right.seq_last = pw.put_seq;
	right.error = 0;
	say(PROC_STORE, MSG_STORE_DONE, &right, -1);
	assert_int_equal(pw.granted, 1);
	parent_check();
}

static int
number(const char *name, int standard)
{
	const char *s = getenv(name);

	return (s != NULL ? atoi(s) : standard);
}

static int
setup(void **state)
{
	(void)state;
	parent_start();
	rng = (uint64_t)number("PARENT_SEED", (int)time(NULL)) << 20 | 1;
	return (0);
}

static void
test_monkey(void **state)
{
	static void (*const what[])(void) = { s_open, s_open, s_close, s_dial,
	    s_request, s_request, s_request, s_request, s_tep, s_tep, s_node,
	    a_verdict, a_verdict, t_says, t_says, t_says, u_says, o_does };
	uint64_t seed = rng;
	int i, steps = number("PARENT_STEPS", 200000);
	size_t early = 0, late;

	(void)state;
	for (i = 0; i < steps; i++) {
		what[rnd(COUNT(what))]();
		event_base_loop(priv.base, EVLOOP_NONBLOCK);
		if (i % 64 == 0)
			parent_check();
		if (i == steps / 4)
			early = mallinfo2().uordblks;
	}
	late = mallinfo2().uordblks;
	print_message("seed %llu: %llu granted, %llu refused, %llu calls, "
	    "%llu deletes, %llu of another server, %zu and %zu octets\n",
	    (unsigned long long)(seed >> 20), (unsigned long long)pw.granted,
	    (unsigned long long)pw.refused, (unsigned long long)pw.calls,
	    (unsigned long long)pw.deletes, (unsigned long long)pw.foreign,
	    early, late);
	/* it did something, and did not grow by it */
	assert_true(pw.foreign > 0);
	assert_true(pw.granted > (uint64_t)steps / 4000);
	assert_true(pw.refused > (uint64_t)steps / 1000);
	assert_true(late < early + 1024 * 1024);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_store_starts),
		cmocka_unit_test(test_monkey),
	};

	return (cmocka_run_group_tests_name("parent", tests, setup, NULL));
}
