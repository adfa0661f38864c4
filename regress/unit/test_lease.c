/* The lease engine: every state, every event that matters. */
/* LINK: priv/lease.o priv/lease-act.o priv/lease-pool.o */
/* LINK: priv/lease-owner.o priv/lease-show.o libdstmd.a */
/* LINK: regress/unit/owner.o */
#include <arpa/inet.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dstmd/tsp.h"
#include "priv/lease.h"
#include "regress/unit/owner.h"

#define WALL	1000000

static struct lease_engine	*e;
static int64_t			 now;
static struct lease_policy	 policy;
static struct in_addr		 tep4;
static struct in6_addr		 tep6;
static int			 syncs;

static struct in_addr
v4(const char *text)
{
	struct in_addr a;

	assert_int_equal(inet_pton(AF_INET, text, &a), 1);
	return (a);
}

static int64_t
wall(void)
{
	return (WALL + now / 1000);
}

static void
make(int local)
{
	struct lease_limits limits = { 100, 10, 1000, 30 };

	now = 1000000;
	syncs = 0;
	memset(&policy, 0, sizeof(policy));
	policy.npools = 1;
	tep4 = v4("198.51.100.1");
	inet_pton(AF_INET6, "2001:db8::2", &tep6);
	e = lease_engine_new(&limits);
	lease_engine_add_tep(e, 0, local, "tep", tep4, &tep6);
	lease_engine_add_pool(e, 0, 0, 0);
	assert_int_equal(lease_engine_add_range(e, 0, v4("198.51.100.16"),
	    v4("198.51.100.19")), 0);
}

static int
setup_local(void **state)
{
	(void)state;
	make(1);
	return (0);
}

static int
setup_remote(void **state)
{
	(void)state;
	make(0);
	return (0);
}

static int
teardown(void **state)
{
	(void)state;
	lease_check(e);
	lease_engine_free(e);
	return (0);
}

static struct lease_ask
ask(uint32_t op, const char *user, int host, const char *addr)
{
	static uint32_t req;
	struct lease_ask a;

	memset(&a, 0, sizeof(a));
	a.conn.id = (uint32_t)host;
	a.conn.gen = 1;
	a.req = ++req;
	a.op = op;
	a.owner = owner_of(user, (uint32_t)host);
	a.policy = &policy;
	if (addr != NULL) {
		a.has_v4 = 1;
		a.v4 = v4(addr);
	}
	return (a);
}

static void
request(struct lease_ask a)
{
	lease_request(e, now, wall(), &a);
}

/* The next action, but for LA_TEP_SYNC: the simulator looks at its order. */
static int
take(enum lease_dest dest, struct lease_action *a)
{
	while (lease_action(e, dest, a)) {
		if (a->type != LA_TEP_SYNC)
			return (1);
		assert_int_equal(a->job, 0);
		syncs++;
	}
	return (0);
}

/* The next action of its destination must be of this type. */
static struct lease_action
expect(enum lease_action_type type)
{
	struct lease_action a;
	int tep = type == LA_TEP_ADD || type == LA_TEP_DEL;

	if (!tep || !take(LD_PLANE, &a))
		assert_int_equal(take(type == LA_STORE ? LD_STORE : LD_SESSION,
		    &a), 1);
	assert_int_equal(a.type, type);
	return (a);
}

static void
nothing(void)
{
	struct lease_action a;
	int dest;

	for (dest = 0; dest < LD_NDEST; dest++)
		assert_int_equal(take((enum lease_dest)dest, &a), 0);
}

static void
expect_status(uint32_t status)
{
	assert_int_equal(expect(LA_REPLY).reply.status, status);
	nothing();
}

static void
tep_says(const struct lease_action *a, uint32_t status)
{
	lease_tep_done(e, now, wall(), a->tep, a->job, status, tep4, &tep6);
}

/* A whole grant; its address. */
static struct in_addr
grant(const char *user, int host, const char *addr)
{
	struct lease_action a;

	request(ask(OP_CREATE, user, host, addr));
	a = expect(LA_TEP_ADD);
	nothing();
	tep_says(&a, STATUS_OK);
	a = expect(LA_STORE);
	assert_int_equal(a.rec.state, REC_BOUND);
	nothing();
	lease_store_done(e, now, wall(), a.seq);
	a = expect(LA_REPLY);
	assert_int_equal(a.reply.status, STATUS_OK);
	nothing();
	lease_check(e);
	return (a.reply.v4);
}

static void
test_grant(void **state)
{
	struct lease_info li;

	(void)state;
	assert_int_equal(grant("alice", 1, NULL).s_addr,
	    v4("198.51.100.16").s_addr);
	assert_int_equal(lease_walk(e, now, v4("0.0.0.0"), &li), 1);
	assert_string_equal(li.owner.name, "alice");
	assert_int_equal(li.state, CTL_BOUND);
	assert_int_equal(li.remains_ms, 100000);
	assert_int_equal(lease_deadline(e), now + 100000);
}

/* Nothing is answered before it is durable, nor stored before the TEP. */
static void
test_order(void **state)
{
	struct lease_action a;

	(void)state;
	request(ask(OP_CREATE, "alice", 1, NULL));
	a = expect(LA_TEP_ADD);
	nothing();
	lease_store_done(e, now, wall(), 99);
	nothing();
	tep_says(&a, STATUS_OK);
	a = expect(LA_STORE);
	nothing();
	lease_store_reset(e);		/* the store died: the same again */
	assert_int_equal(expect(LA_STORE).seq, a.seq);
	lease_store_done(e, now, wall(), a.seq - 1);
	nothing();
	lease_store_done(e, now, wall(), a.seq);
	expect_status(STATUS_OK);
}

static void
test_same_owner_same_lease(void **state)
{
	struct lease_action a;
	struct lease_ask first = ask(OP_CREATE, "alice", 1, NULL);

	(void)state;
	request(first);
	a = expect(LA_TEP_ADD);
	request(ask(OP_CREATE, "alice", 1, NULL));
	assert_int_equal(expect(LA_REPLY).reply.status, STATUS_PROGRESS);
	tep_says(&a, STATUS_OK);
	a = expect(LA_STORE);
	lease_store_done(e, now, wall(), a.seq);
	a = expect(LA_REPLY);
	assert_int_equal(a.reply.status, STATUS_OK);
	assert_true(a.reply.req == first.req + 1);
	nothing();
}

static void
test_exhausted(void **state)
{
	struct lease_pool_stats st;
	int i;

	(void)state;
	for (i = 1; i <= 4; i++)
		grant("alice", i, NULL);
	request(ask(OP_CREATE, "bob", 9, NULL));
	expect_status(STATUS_EXHAUSTED);
	lease_pool_stats(e, 0, &st);
	assert_int_equal(st.bound, 4);
	assert_int_equal(st.free, 0);
	assert_int_equal(st.exhausted, 1);
}

static void
test_limit(void **state)
{
	(void)state;
	policy.max_leases = 2;
	grant("alice", 1, NULL);
	grant("alice", 2, NULL);
	request(ask(OP_CREATE, "alice", 3, NULL));
	expect_status(STATUS_NO_TUNNELS);
	grant("bob", 3, NULL);
}

static void
test_renewal(void **state)
{
	struct lease_action a;

	(void)state;
	grant("alice", 1, NULL);
	now += 50000;
	request(ask(OP_CREATE, "alice", 1, "198.51.100.16"));
	a = expect(LA_STORE);
	assert_int_equal(a.rec.until, wall() + 100);
	nothing();
	lease_store_done(e, now, wall(), a.seq);
	assert_int_equal(expect(LA_TEP_ADD).lifetime, 100);
	expect_status(STATUS_OK);
	assert_int_equal(lease_deadline(e), now + 100000);
}

/* Not this owner's, and nothing changes: another user, another IPv6. */
static void
test_foreign(void **state)
{
	int64_t deadline;

	(void)state;
	grant("alice", 1, NULL);
	deadline = lease_deadline(e);
	request(ask(OP_CREATE, "bob", 1, "198.51.100.16"));
	expect_status(STATUS_UNAVAILABLE);
	request(ask(OP_CREATE, "alice", 2, "198.51.100.16"));
	expect_status(STATUS_UNAVAILABLE);
	request(ask(OP_DELETE, "bob", 2, "198.51.100.16"));
	expect_status(STATUS_UNAVAILABLE);
	request(ask(OP_CREATE, "alice", 1, "198.51.100.17"));
	expect_status(STATUS_UNAVAILABLE);
	request(ask(OP_CREATE, "alice", 1, "192.0.2.1"));
	expect_status(STATUS_IPV4);
	request(ask(OP_INFO, "alice", 1, "224.0.0.1"));
	expect_status(STATUS_IPV4);
	assert_int_equal(lease_deadline(e), deadline);
}

static void
test_expiry_and_quarantine(void **state)
{
	struct lease_action a;
	int i;

	(void)state;
	for (i = 1; i <= 4; i++)
		grant("alice", i, NULL);
	now += 100001;
	lease_tick(e, now, wall());
	for (i = 0; i < 4; i++) {
		assert_int_equal(expect(LA_NODE_DEL).reply.conn.gen, 1);
		a = expect(LA_TEP_DEL);
		/* the TEP has not confirmed: nobody gets it */
		request(ask(OP_CREATE, "bob", 9, NULL));
		lease_check(e);
		tep_says(&a, STATUS_OK);
	}
	for (i = 0; i < 4; i++)
		assert_int_equal(expect(LA_REPLY).reply.status,
		    STATUS_EXHAUSTED);
	nothing();
	now += 29000;
	lease_tick(e, now, wall());
	request(ask(OP_CREATE, "bob", 9, NULL));
	expect_status(STATUS_EXHAUSTED);
	/* its old owner may come back in the quarantine */
	assert_int_equal(grant("alice", 3, NULL).s_addr,
	    v4("198.51.100.18").s_addr);
	now += 1001;
	lease_tick(e, now, wall());
	grant("bob", 9, NULL);
}

static void
test_sticky(void **state)
{
	struct lease_action a;
	struct in_addr first;

	(void)state;
	grant("bob", 1, NULL);
	first = grant("alice", 2, NULL);
	request(ask(OP_DELETE, "alice", 2, NULL));
	a = expect(LA_STORE);
	assert_int_equal(a.rec.state, REC_CLOSED);
	nothing();
	lease_store_done(e, now, wall(), a.seq);
	assert_int_equal(expect(LA_REPLY).reply.status, STATUS_OK);
	a = expect(LA_TEP_DEL);
	nothing();
	tep_says(&a, STATUS_OK);
	now += 31000;
	lease_tick(e, now, wall());
	grant("carol", 3, NULL);
	assert_int_equal(grant("alice", 2, NULL).s_addr, first.s_addr);
}

static void
test_store_fails(void **state)
{
	struct lease_action a;

	(void)state;
	request(ask(OP_CREATE, "alice", 1, NULL));
	a = expect(LA_TEP_ADD);
	tep_says(&a, STATUS_OK);
	a = expect(LA_STORE);
	lease_store_fail(e, now, wall(), a.seq, a.seq);
	assert_int_equal(expect(LA_REPLY).reply.status, STATUS_BUSY);
	a = expect(LA_TEP_DEL);
	nothing();
	tep_says(&a, STATUS_OK);
	grant("bob", 2, NULL);
	/* a renewal that is not durable leaves the old end */
	now += 1000;
	request(ask(OP_CREATE, "bob", 2, NULL));
	a = expect(LA_STORE);
	lease_store_fail(e, now, wall(), a.seq, a.seq);
	expect_status(STATUS_BUSY);
	now += 99001;
	lease_tick(e, now, wall());
	expect(LA_NODE_DEL);
}

/* Word of a record that it never got, from whatever the store is now. */
static void
test_store_knows_too_much(void **state)
{
	struct lease_action a;

	(void)state;
	request(ask(OP_CREATE, "alice", 1, NULL));
	a = expect(LA_TEP_ADD);
	tep_says(&a, STATUS_OK);
	lease_store_done(e, now, wall(), UINT64_MAX);
	lease_store_fail(e, now, wall(), 1, UINT64_MAX);
	a = expect(LA_STORE);
	nothing();
	lease_store_reset(e);
	lease_store_done(e, now, wall(), a.seq);
	assert_int_equal(expect(LA_STORE).rec.v4.s_addr, a.rec.v4.s_addr);
	nothing();
	lease_store_done(e, now, wall(), a.seq);
	expect_status(STATUS_OK);
}

/* A store that is slower than the lease is long: nobody is told 0 s. */
static void
test_store_late(void **state)
{
	struct lease_action a;

	(void)state;
	lease_tep_up(e, now, 0);
	request(ask(OP_CREATE, "alice", 1, NULL));
	a = expect(LA_TEP_ADD);
	tep_says(&a, STATUS_OK);
	a = expect(LA_STORE);
	now += 100000;
	lease_store_done(e, now, wall(), a.seq);
	assert_int_equal(expect(LA_REPLY).reply.status, STATUS_BUSY);
	a = expect(LA_TEP_DEL);
	nothing();
	tep_says(&a, STATUS_OK);
	expect(LA_STORE);
	grant("bob", 2, NULL);
	now += 99000;
	request(ask(OP_CREATE, "bob", 2, NULL));
	a = expect(LA_STORE);
	now += 1000;
	lease_tick(e, now, wall());
	request(ask(OP_INFO, "bob", 2, NULL));
	expect_status(STATUS_UNAVAILABLE);
	lease_tep_down(e, now, wall(), 0);
	lease_tep_up(e, now, 0);
	nothing();
	now += 99000;
	lease_store_done(e, now, wall(), a.seq);
	expect_status(STATUS_BUSY);
	lease_tick(e, now, wall());
	expect(LA_NODE_DEL);
	expect(LA_TEP_DEL);
}

/* A grant for a connection that is gone takes nothing from the next one. */
static void
test_conn_count(void **state)
{
	struct conn_ref gone = { 1, 1 }, next = { 1, 2 };
	struct lease_action a, b;
	struct lease_ask second;

	(void)state;
	request(ask(OP_CREATE, "alice", 1, NULL));
	a = expect(LA_TEP_ADD);
	lease_conn_gone(e, gone);
	second = ask(OP_CREATE, "bob", 1, NULL);
	second.conn = next;
	request(second);
	b = expect(LA_TEP_ADD);
	tep_says(&b, STATUS_OK);
	lease_store_done(e, now, wall(), expect(LA_STORE).seq);
	assert_int_equal(expect(LA_REPLY).reply.status, STATUS_OK);
	assert_int_equal(lease_conn_count(e, next), 1);
	tep_says(&a, STATUS_OK);
	lease_store_done(e, now, wall(), expect(LA_STORE).seq);
	expect(LA_REPLY);
	assert_int_equal(lease_conn_count(e, next), 1);
}

static void
test_tep(void **state)
{
	struct lease_action a;

	(void)state;
	request(ask(OP_CREATE, "alice", 1, NULL));
	expect_status(STATUS_TEP);
	lease_tep_up(e, now, 0);
	request(ask(OP_CREATE, "alice", 1, NULL));
	a = expect(LA_TEP_ADD);
	tep_says(&a, STATUS_TEP);
	assert_int_equal(expect(LA_REPLY).reply.status, STATUS_TEP);
	a = expect(LA_TEP_DEL);
	lease_tep_down(e, now, wall(), 0);
	tep_says(&a, STATUS_TEP);
	nothing();
	lease_tep_up(e, now, 0);
	a = expect(LA_TEP_DEL);
	tep_says(&a, STATUS_OK);
	assert_int_equal(expect(LA_STORE).rec.state, REC_CLOSED);
	grant("bob", 2, NULL);
	lease_tep_down(e, now, wall(), 0);
	now += 5000;
	lease_tep_up(e, now, 0);
	assert_int_equal(expect(LA_TEP_ADD).lifetime, 95);
	nothing();
}

/* What waited to be said to a TEP is not all taken to its next connection. */
static void
test_tep_two_connections(void **state)
{
	struct lease_action a;
	int nadds = 0;

	(void)state;
	lease_tep_up(e, now, 0);
	grant("alice", 1, NULL);
	while (lease_action(e, LD_SESSION, &a))
		;
	lease_tep_down(e, now, wall(), 0);
	lease_tep_up(e, now, 0);
	lease_tep_down(e, now, wall(), 0);
	lease_tep_up(e, now, 0);
	while (lease_action(e, LD_SESSION, &a) && a.type == LA_TEP_ADD)
		nadds++;
	assert_int_equal(a.type, LA_TEP_SYNC);
	assert_true(nadds >= 1);
	assert_false(lease_action(e, LD_SESSION, &a));
}

static void
test_tep_dies_while_reserved(void **state)
{
	struct lease_action a, b;

	(void)state;
	lease_tep_up(e, now, 0);
	request(ask(OP_CREATE, "alice", 1, NULL));
	a = expect(LA_TEP_ADD);
	lease_tep_down(e, now, wall(), 0);
	expect_status(STATUS_TEP);
	tep_says(&a, STATUS_OK);	/* late */
	nothing();
	lease_tep_up(e, now, 0);
	b = expect(LA_TEP_DEL);
	assert_true(b.job != a.job);
	tep_says(&a, STATUS_OK);
	request(ask(OP_CREATE, "alice", 1, NULL));
	expect_status(STATUS_PROGRESS);
}

/* It said yes, and forgot it in a restart before the answer was durable. */
static void
test_tep_restarts_while_binding(void **state)
{
	struct lease_action a;
	uint64_t seq;

	(void)state;
	lease_tep_up(e, now, 0);
	request(ask(OP_CREATE, "alice", 1, NULL));
	a = expect(LA_TEP_ADD);
	tep_says(&a, STATUS_OK);
	seq = expect(LA_STORE).seq;
	/* another one's yes comes after its time, before the timer */
	request(ask(OP_CREATE, "bob", 2, NULL));
	a = expect(LA_TEP_ADD);
	now += 60000;
	tep_says(&a, STATUS_OK);
	assert_int_equal(expect(LA_REPLY).reply.status, STATUS_TEP);
	expect(LA_TEP_DEL);
	nothing();
	lease_tep_down(e, now, wall(), 0);
	now += 1000;
	lease_tep_up(e, now, 0);
	assert_int_equal(expect(LA_TEP_ADD).lifetime, 100);
	expect(LA_TEP_DEL);
	lease_store_done(e, now, wall(), seq);
	expect_status(STATUS_OK);
}

/* Of somebody's lease at this TEP, as the store has it. */
static struct lease_rec
record(const char *name, const char *addr, int64_t until)
{
	struct lease_rec rec;

	memset(&rec, 0, sizeof(rec));
	inet_pton(AF_INET6, "2001:db8:1::1", &rec.v6);
	rec.v4 = v4(addr);
	rec.mech = MECH_SCRAM_SHA_256;
	rec.state = REC_BOUND;
	rec.until = until;
	strlcpy(rec.name, name, sizeof(rec.name));
	strlcpy(rec.tep, "tep", sizeof(rec.tep));
	return (rec);
}

static void
test_load(void **state)
{
	struct lease_rec rec;
	struct lease_info li;

	(void)state;
	rec = record("alice", "198.51.100.17", wall() + 60);
	rec.since = wall() - 10;
	assert_int_equal(lease_load(e, now, wall(), &rec), 0);
	assert_int_equal(lease_load(e, now, wall(), &rec), -1);
	/* and the part of a second that the record has not */
	assert_int_equal(expect(LA_TEP_ADD).lifetime, 61);
	assert_int_equal(lease_walk(e, now, v4("0.0.0.0"), &li), 1);
	assert_int_equal(li.remains_ms, 61000);
	rec.v4 = v4("203.0.113.1");
	assert_int_equal(lease_load(e, now, wall(), &rec), -1);
	/* one that ended: quarantine, and sticky */
	rec.v4 = v4("198.51.100.16");
	rec.until = wall() - 5;
	strlcpy(rec.name, "bob", sizeof(rec.name));
	assert_int_equal(lease_load(e, now, wall(), &rec), 0);
	nothing();
	assert_int_equal(grant("carol", 3, NULL).s_addr,
	    v4("198.51.100.18").s_addr);
	assert_int_equal(grant("bob", 1, NULL).s_addr,
	    v4("198.51.100.16").s_addr);
}

/* Two records of one owner: no address is lost, or free too early. */
static void
test_load_two(void **state)
{
	struct lease_rec rec;
	struct lease_action a;
	struct lease_pool_stats st;
	uint32_t i;

	(void)state;
	rec = record("alice", "198.51.100.16", 0);
	for (i = 0; i < 3; i++) {
		rec.v4.s_addr = htonl(ntohl(v4("198.51.100.16").s_addr) + i);
		/* over, its TEP not asked; the one that is his; older */
		rec.since = wall() - (i == 1 ? 10 : 100);
		rec.until = wall() + (i == 0 ? -5 : 50);
		assert_int_equal(lease_load(e, now, wall(), &rec), 0);
	}
	lease_check(e);
	lease_pool_stats(e, 0, &st);
	assert_int_equal(st.bound, 2);
	assert_int_equal(st.closing, 1);
	lease_tep_up(e, now, 0);
	for (i = 0; i < 3; i++) {
		a = expect(i == 0 ? LA_TEP_DEL : LA_TEP_ADD);
		tep_says(&a, STATUS_OK);
	}
	assert_int_equal(expect(LA_STORE).rec.state, REC_CLOSED);
	request(ask(OP_CREATE, "alice", 1, NULL));
	assert_int_equal(expect(LA_STORE).rec.v4.s_addr,
	    v4("198.51.100.17").s_addr);
}

static void
test_revoke(void **state)
{
	struct lease_action a;

	(void)state;
	assert_int_equal(lease_revoke(e, now, wall(), v4("198.51.100.16")),
	    -1);
	grant("alice", 1, NULL);
	assert_int_equal(lease_revoke(e, now, wall(), v4("198.51.100.16")),
	    0);
	a = expect(LA_STORE);
	nothing();
	lease_store_done(e, now, wall(), a.seq);
	expect(LA_NODE_DEL);
	expect(LA_TEP_DEL);
	nothing();
}

/* The operator's word holds, though the store can not write it at once. */
static void
test_revoke_fails(void **state)
{
	struct lease_action a;

	(void)state;
	grant("alice", 1, NULL);
	assert_int_equal(lease_revoke(e, now, wall(), v4("198.51.100.16")),
	    0);
	a = expect(LA_STORE);
	lease_store_fail(e, now, wall(), a.seq, a.seq);
	nothing();
	request(ask(OP_CREATE, "alice", 1, NULL));
	expect_status(STATUS_UNAVAILABLE);
	now += LEASE_REVOKE_RETRY;
	assert_int_equal(lease_deadline(e), now);
	lease_tick(e, now, wall());
	a = expect(LA_STORE);
	assert_int_equal(a.rec.state, REC_CLOSED);
	nothing();
	lease_store_done(e, now, wall(), a.seq);
	expect(LA_NODE_DEL);
	expect(LA_TEP_DEL);
	nothing();
}

/* A lease whose TEP does not forward it is none. */
static void
test_tep_refuses_bound(void **state)
{
	struct lease_action a, b;

	(void)state;
	lease_tep_up(e, now, 0);
	grant("alice", 1, NULL);
	request(ask(OP_CREATE, "alice", 1, NULL));
	a = expect(LA_STORE);
	lease_store_done(e, now, wall(), a.seq);
	a = expect(LA_TEP_ADD);
	assert_int_equal(expect(LA_REPLY).reply.status, STATUS_OK);
	/* Another renewal is under way meanwhile: the TEP is asked again. */
	request(ask(OP_CREATE, "alice", 1, NULL));
	b = expect(LA_STORE);
	tep_says(&a, STATUS_UNAVAILABLE);
	lease_tick(e, now, wall());
	nothing();
	lease_store_done(e, now, wall(), b.seq);
	a = expect(LA_TEP_ADD);
	expect_status(STATUS_OK);
	lease_check(e);
	tep_says(&a, STATUS_IPV4);
	assert_int_equal(lease_deadline(e), now);
	lease_tick(e, now, wall());
	expect(LA_NODE_DEL);
	a = expect(LA_TEP_DEL);
	nothing();
	/* Another TEP's word, or that of one that is down, counts nothing. */
	lease_tep_done(e, now, wall(), 1, a.job, STATUS_OK, tep4, &tep6);
	nothing();
	/* It refuses that as well: it is asked again, until it says yes. */
	tep_says(&a, STATUS_UNAVAILABLE);
	assert_int_equal(lease_deadline(e), now + LEASE_TEP_RETRY);
	now += LEASE_TEP_RETRY;
	lease_tick(e, now, wall());
	a = expect(LA_TEP_DEL);
	nothing();
	tep_says(&a, STATUS_OK);
	assert_int_equal(expect(LA_STORE).rec.state, REC_CLOSED);
	nothing();
}

/* It restarted while the grant was written, and refuses it now. */
static void
test_tep_refuses_binding(void **state)
{
	struct lease_action a, b;

	(void)state;
	lease_tep_up(e, now, 0);
	request(ask(OP_CREATE, "alice", 1, NULL));
	a = expect(LA_TEP_ADD);
	tep_says(&a, STATUS_OK);
	b = expect(LA_STORE);
	lease_tep_down(e, now, wall(), 0);
	lease_tep_up(e, now, 0);
	lease_tep_up(e, now, 0);	/* says nothing new */
	a = expect(LA_TEP_ADD);
	nothing();
	assert_int_equal(syncs, 2);
	tep_says(&a, STATUS_UNAVAILABLE);
	lease_store_done(e, now, wall(), b.seq);
	assert_int_equal(expect(LA_REPLY).reply.status, STATUS_TEP);
	a = expect(LA_TEP_DEL);
	nothing();
	tep_says(&a, STATUS_OK);
	assert_int_equal(expect(LA_STORE).rec.state, REC_CLOSED);
	/* The next one is not refused for that. */
	request(ask(OP_CREATE, "alice", 1, NULL));
	a = expect(LA_TEP_ADD);
	tep_says(&a, STATUS_OK);
	b = expect(LA_STORE);
	lease_store_done(e, now, wall(), b.seq);
	expect_status(STATUS_OK);
}

/* Who renews faster than the store writes waits for it. */
static void
test_writes(void **state)
{
	struct lease_action a;
	int i;

	(void)state;
	grant("alice", 1, NULL);
	for (i = 0; i < LEASE_WRITES; i++) {
		request(ask(OP_CREATE, "alice", 1, NULL));
		a = expect(LA_STORE);
	}
	nothing();
	request(ask(OP_CREATE, "alice", 1, NULL));
	expect_status(STATUS_PROGRESS);
	lease_store_done(e, now, wall(), a.seq);
	for (i = 0; i < LEASE_WRITES; i++) {
		expect(LA_TEP_ADD);
		assert_int_equal(expect(LA_REPLY).reply.status, STATUS_OK);
	}
	nothing();
}

/* What was answered holds: limits and TEPs may be others at the next start. */
static void
test_load_other_conf(void **state)
{
	struct lease_rec rec;
	struct lease_info li;

	(void)state;
	rec = record("alice", "198.51.100.16", wall() + 5000);
	assert_int_equal(lease_load(e, now, wall(), &rec), 0);
	assert_int_equal(lease_walk(e, now, (struct in_addr){ 0 }, &li), 1);
	assert_int_equal(li.remains_ms, 5001 * 1000);
	/* Its TEP is gone, with an entry that lives so long. */
	rec.v4 = v4("198.51.100.17");
	rec.v6.s6_addr[15] = 2;
	rec.state = REC_ENDED;
	strlcpy(rec.tep, "gone", sizeof(rec.tep));
	assert_int_equal(lease_load(e, now, wall(), &rec), 0);
	assert_int_equal(lease_walk(e, now, v4("198.51.100.16"), &li), 1);
	assert_int_equal(li.state, CTL_QUARANTINE);
	assert_int_equal(li.remains_ms, (5001 + 30) * 1000);
}

/* A remote lease that is released says how long its TEP may forward it. */
static void
test_ended_until(void **state)
{
	struct lease_action a;

	(void)state;
	lease_tep_up(e, now, 0);
	grant("alice", 1, NULL);
	now += 40000;
	request(ask(OP_DELETE, "alice", 1, NULL));
	a = expect(LA_STORE);
	assert_int_equal(a.rec.state, REC_ENDED);
	assert_int_equal(a.rec.until, wall() + 60);
}

/* Two more pools, each of a TEP of its own. */
static void
three_teps(uint32_t weight1, uint32_t weight2)
{
	struct in_addr v4b = v4("198.51.100.2");

	lease_engine_add_tep(e, 1, 0, "second", v4b, &tep6);
	lease_engine_add_tep(e, 2, 0, "third", v4b, &tep6);
	lease_engine_add_pool(e, 1, 1, weight1);
	lease_engine_add_pool(e, 2, 2, weight2);
	assert_int_equal(lease_engine_add_range(e, 1, v4("203.0.113.1"),
	    v4("203.0.113.20")), 0);
	assert_int_equal(lease_engine_add_range(e, 2, v4("192.0.2.1"),
	    v4("192.0.2.20")), 0);
	policy.npools = 3;
	policy.pools[1] = 1;
	policy.pools[2] = 2;
	lease_tep_up(e, now, 0);
	lease_tep_up(e, now, 1);
	lease_tep_up(e, now, 2);
}

/* A TEP that refuses, is silent or goes: the node does not notice. */
static void
test_failover(void **state)
{
	struct lease_action a, b, c;

	(void)state;
	three_teps(0, 0);
	request(ask(OP_CREATE, "alice", 1, NULL));
	a = expect(LA_TEP_ADD);
	assert_int_equal(a.tep, 0);
	tep_says(&a, STATUS_TEP);
	assert_int_equal(expect(LA_TEP_DEL).tep, 0);
	b = expect(LA_TEP_ADD);
	assert_int_equal(b.tep, 1);
	nothing();
	lease_check(e);
	now += LEASE_FAILOVER;
	assert_int_equal(lease_deadline(e), now);
	lease_tick(e, now, wall());
	assert_int_equal(expect(LA_TEP_DEL).tep, 1);
	c = expect(LA_TEP_ADD);
	assert_int_equal(c.tep, 2);
	tep_says(&b, STATUS_OK);	/* too late */
	/* the last one is given its time, there is no other */
	assert_true(lease_deadline(e) > now + LEASE_FAILOVER);
	tep_says(&c, STATUS_OK);
	a = expect(LA_STORE);
	lease_store_done(e, now, wall(), a.seq);
	a = expect(LA_REPLY);
	assert_int_equal(a.reply.status, STATUS_OK);
	assert_int_equal(a.reply.v4.s_addr, v4("192.0.2.1").s_addr);
	nothing();
	lease_check(e);
}

/* All refuse: 307 once. An address that was named: at once. */
static void
test_failover_none(void **state)
{
	struct lease_action a;
	uint32_t i;

	(void)state;
	three_teps(0, 0);
	request(ask(OP_CREATE, "alice", 1, NULL));
	for (i = 0; i < 3; i++) {
		a = expect(LA_TEP_ADD);
		assert_int_equal(a.tep, i);
		if (i == 1)
			lease_tep_down(e, now, wall(), 1);
		else
			tep_says(&a, STATUS_TEP);
		if (i == 0)
			expect(LA_TEP_DEL);
	}
	assert_int_equal(expect(LA_REPLY).reply.status, STATUS_TEP);
	expect(LA_TEP_DEL);
	nothing();
	lease_tep_up(e, now, 1);
	a = expect(LA_TEP_DEL);
	tep_says(&a, STATUS_OK);
	assert_int_equal(expect(LA_STORE).rec.v4.s_addr,
	    v4("203.0.113.1").s_addr);
	/* the last one does not forget hers: another address will do */
	request(ask(OP_CREATE, "alice", 1, "203.0.113.1"));
	expect_status(STATUS_UNAVAILABLE);	/* it is not hers any more */
	request(ask(OP_CREATE, "alice", 1, NULL));
	expect_status(STATUS_PROGRESS);
	lease_tep_down(e, now, wall(), 2);
	request(ask(OP_CREATE, "alice", 1, "192.0.2.1"));
	expect_status(STATUS_TEP);
	lease_tep_up(e, now, 2);
	a = expect(LA_TEP_DEL);
	tep_says(&a, STATUS_UNAVAILABLE);
	request(ask(OP_CREATE, "alice", 1, NULL));
	assert_int_equal(expect(LA_TEP_ADD).tep, 0);
	nothing();
}

/* New leases are spread in the ratio of the weights, over what serves. */
static void
test_weights(void **state)
{
	int i, n[3] = { 0 };
	uint32_t addr;

	(void)state;
	three_teps(3, 1);
	for (i = 1; i <= 16; i++) {
		addr = ntohl(grant("alice", i, NULL).s_addr);
		n[addr >> 24 == 203 ? 1 : addr >> 24 == 192 ? 2 : 0]++;
	}
	assert_int_equal(n[0], 0);
	assert_int_equal(n[1], 12);
	assert_int_equal(n[2], 4);
	lease_tep_down(e, now, wall(), 1);
	for (i = 17; i <= 19; i++)
		assert_int_equal(ntohl(grant("alice", i, NULL).s_addr) >> 24,
		    192);
	/* without weight, when no other serves */
	lease_tep_down(e, now, wall(), 2);
	assert_int_equal(ntohl(grant("alice", 20, NULL).s_addr) >> 24, 198);
}

/* Reserved for alice: nobody else's, and hers before others. */
static void
test_fixed(void **state)
{
	struct lease_policy hers;
	struct lease_pool_stats st;
	struct lease_action a;
	struct lease_ask r;
	int i;

	(void)state;
	assert_int_equal(lease_engine_fix(e, v4("198.51.100.17")), 0);
	assert_int_equal(lease_engine_fix(e, v4("198.51.100.17")), -1);
	assert_int_equal(lease_engine_fix(e, v4("198.51.100.20")), -1);
	hers = policy;
	hers.nfixed = 1;
	hers.fixed[0] = v4("198.51.100.17");
	for (i = 1; i <= 3; i++)
		assert_int_not_equal(grant("bob", i, NULL).s_addr,
		    hers.fixed[0].s_addr);
	request(ask(OP_CREATE, "bob", 4, NULL));
	expect_status(STATUS_EXHAUSTED);
	request(ask(OP_CREATE, "bob", 4, "198.51.100.17"));
	expect_status(STATUS_UNAVAILABLE);
	lease_pool_stats(e, 0, &st);
	assert_int_equal(st.free, 1);
	/* hers, by name, though she never had it */
	r = ask(OP_CREATE, "alice", 5, "198.51.100.17");
	r.policy = &hers;
	request(r);
	a = expect(LA_TEP_ADD);
	tep_says(&a, STATUS_OK);
	a = expect(LA_STORE);
	lease_store_done(e, now, wall(), a.seq);
	expect_status(STATUS_OK);
	/* her second host finds no other */
	r = ask(OP_CREATE, "alice", 6, NULL);
	r.policy = &hers;
	request(r);
	expect_status(STATUS_EXHAUSTED);
	/* and gets it from the first, in its quarantine */
	r = ask(OP_DELETE, "alice", 5, NULL);
	r.policy = &hers;
	request(r);
	a = expect(LA_STORE);
	lease_store_done(e, now, wall(), a.seq);
	expect(LA_REPLY);
	a = expect(LA_TEP_DEL);
	tep_says(&a, STATUS_OK);
	r = ask(OP_CREATE, "alice", 6, NULL);
	r.policy = &hers;
	request(r);
	assert_int_equal(expect(LA_TEP_ADD).v4.s_addr, hers.fixed[0].s_addr);
}

/* Who had it before it was reserved keeps it to its end, not longer. */
static void
test_fixed_later(void **state)
{
	struct lease_rec rec;
	struct lease_pool_stats st;

	(void)state;
	assert_int_equal(lease_engine_fix(e, v4("198.51.100.17")), 0);
	rec = record("bob", "198.51.100.17", wall() + 50);
	assert_int_equal(lease_load(e, now, wall(), &rec), 0);
	assert_int_equal(lease_load(e, now, wall(), &rec), -1);
	expect(LA_TEP_ADD);
	request(ask(OP_INFO, "bob", 1, NULL));
	assert_int_equal(expect(LA_REPLY).reply.status, STATUS_OK);
	request(ask(OP_CREATE, "bob", 1, NULL));
	assert_int_equal(expect(LA_REPLY).reply.status, STATUS_UNAVAILABLE);
	assert_int_equal(expect(LA_STORE).rec.state, REC_CLOSED);
	lease_pool_stats(e, 0, &st);
	assert_int_equal(st.size, 4);
}

/* Records that no clock has written are over, or live as long as any may. */
static void
test_load_absurd(void **state)
{
	struct lease_rec rec;

	(void)state;
	rec = record("alice", "198.51.100.16", INT64_MIN);
	assert_int_equal(lease_load(e, now, wall(), &rec), 0);
	nothing();
	rec.v4 = v4("198.51.100.17");
	rec.until = INT64_MAX;
	strlcpy(rec.name, "bob", sizeof(rec.name));
	assert_int_equal(lease_load(e, now, wall(), &rec), 0);
	assert_int_equal(expect(LA_TEP_ADD).lifetime, LIFETIME_CEIL);
}

/* A sticky address that its owner may no longer have is no obstacle. */
static void
test_sticky_not_allowed(void **state)
{
	struct lease_action a;

	(void)state;
	lease_engine_add_pool(e, 1, 0, 0);
	assert_int_equal(lease_engine_add_range(e, 1, v4("203.0.113.1"),
	    v4("203.0.113.2")), 0);
	grant("alice", 1, NULL);
	policy.pools[0] = 1;
	request(ask(OP_CREATE, "alice", 1, NULL));	/* 2.2: and closed */
	a = expect(LA_STORE);
	expect_status(STATUS_UNAVAILABLE);
	lease_store_done(e, now, wall(), a.seq);
	expect(LA_NODE_DEL);
	a = expect(LA_TEP_DEL);
	tep_says(&a, STATUS_OK);
	request(ask(OP_CREATE, "alice", 1, "198.51.100.16"));
	expect_status(STATUS_UNAVAILABLE);
	assert_int_equal(grant("alice", 1, NULL).s_addr,
	    v4("203.0.113.1").s_addr);
}

/* A pool whose TEP is down, or a refusal, keeps nobody from another pool. */
static void
test_next_pool(void **state)
{
	struct lease_action a;

	(void)state;
	lease_engine_add_tep(e, 1, 1, "near", tep4, &tep6);
	lease_engine_add_pool(e, 1, 1, 0);
	assert_int_equal(lease_engine_add_range(e, 1, v4("203.0.113.1"),
	    v4("203.0.113.2")), 0);
	policy.npools = 2;
	policy.pools[1] = 1;
	policy.max_leases = 1;
	assert_int_equal(grant("alice", 1, NULL).s_addr,
	    v4("203.0.113.1").s_addr);
	lease_tep_up(e, now, 0);
	request(ask(OP_CREATE, "alice", 2, NULL));
	expect_status(STATUS_NO_TUNNELS);
	request(ask(OP_CREATE, "bob", 2, NULL));
	a = expect(LA_TEP_ADD);
	assert_int_equal(a.v4.s_addr, v4("198.51.100.16").s_addr);
	nothing();
}

static void
test_ranges(void **state)
{
	(void)state;
	assert_int_equal(lease_engine_add_range(e, 0, v4("198.51.100.19"),
	    v4("198.51.100.30")), -1);
	assert_int_equal(lease_engine_add_range(e, 0, v4("198.51.100.30"),
	    v4("198.51.100.20")), -1);
	assert_int_equal(lease_in_pools(e, v4("198.51.100.19")), 1);
	assert_int_equal(lease_in_pools(e, v4("198.51.100.20")), 0);
}

/* Ten times the pool, in and out: every address comes again. */
static void
test_churn(void **state)
{
	struct lease_pool_stats st;
	struct lease_action a;
	int i;

	(void)state;
	for (i = 1; i <= 200; i++) {
		grant("alice", i, NULL);
		now += 100001;
		lease_tick(e, now, wall());
		expect(LA_NODE_DEL);
		a = expect(LA_TEP_DEL);
		tep_says(&a, STATUS_OK);
		now += 30001;
		lease_tick(e, now, wall());
		nothing();
	}
	lease_pool_stats(e, 0, &st);
	assert_int_equal(st.free, 4);
	assert_int_equal(st.granted, 200);
}

/* A reserved one whose TEP refuses: another reserved one. */
static void
test_fixed_failover(void **state)
{
	struct lease_policy hers;
	struct lease_action a;
	struct lease_ask r;

	(void)state;
	three_teps(0, 0);
	hers = policy;
	hers.npools = 0;
	hers.nfixed = 2;
	hers.fixed[0] = v4("198.51.100.17");
	hers.fixed[1] = v4("192.0.2.5");
	assert_int_equal(lease_engine_fix(e, hers.fixed[0]), 0);
	assert_int_equal(lease_engine_fix(e, hers.fixed[1]), 0);
	r = ask(OP_CREATE, "alice", 1, NULL);
	r.policy = &hers;
	request(r);
	a = expect(LA_TEP_ADD);
	assert_int_equal(a.v4.s_addr, hers.fixed[0].s_addr);
	tep_says(&a, STATUS_TEP);
	assert_int_equal(expect(LA_TEP_DEL).tep, 0);
	assert_int_equal(expect(LA_TEP_ADD).v4.s_addr, hers.fixed[1].s_addr);
	nothing();
}

/* Its TEP is down: that is not a pool that is out. */
static void
test_fixed_tep_down(void **state)
{
	struct lease_policy hers;
	struct lease_ask r;

	(void)state;
	hers = policy;
	hers.npools = 0;
	hers.nfixed = 1;
	hers.fixed[0] = v4("198.51.100.17");
	assert_int_equal(lease_engine_fix(e, hers.fixed[0]), 0);
	r = ask(OP_CREATE, "alice", 1, NULL);
	r.policy = &hers;
	request(r);
	expect_status(STATUS_TEP);
}

int
main(void)
{
#define LOCAL(t)	cmocka_unit_test_setup_teardown(t, setup_local, teardown)
#define REMOTE(t)	cmocka_unit_test_setup_teardown(t, setup_remote, teardown)
	const struct CMUnitTest tests[] = {
		LOCAL(test_grant), LOCAL(test_order),
		LOCAL(test_same_owner_same_lease), LOCAL(test_exhausted),
		LOCAL(test_limit), LOCAL(test_renewal), LOCAL(test_foreign),
		LOCAL(test_expiry_and_quarantine), LOCAL(test_sticky),
		LOCAL(test_store_fails), LOCAL(test_store_knows_too_much),
		REMOTE(test_store_late), REMOTE(test_tep),
		REMOTE(test_tep_two_connections),
		REMOTE(test_tep_dies_while_reserved),
		REMOTE(test_tep_restarts_while_binding), LOCAL(test_load),
		REMOTE(test_load_two), LOCAL(test_sticky_not_allowed),
		LOCAL(test_conn_count), REMOTE(test_next_pool),
		LOCAL(test_revoke), LOCAL(test_revoke_fails),
		REMOTE(test_tep_refuses_bound),
		REMOTE(test_tep_refuses_binding), LOCAL(test_writes),
		LOCAL(test_load_other_conf), REMOTE(test_ended_until),
		LOCAL(test_fixed), LOCAL(test_fixed_later),
		LOCAL(test_load_absurd),
		REMOTE(test_fixed_failover), REMOTE(test_fixed_tep_down),
		REMOTE(test_failover), REMOTE(test_failover_none),
		REMOTE(test_weights),
		LOCAL(test_ranges), LOCAL(test_churn),
	};

	return (cmocka_run_group_tests_name("lease", tests, NULL, NULL));
}
