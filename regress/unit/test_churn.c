/*
 * A full pool, without rest: what is given back is the next one's, at once and
 * exactly, and nothing grows. DSTMD_CHURN says how many allocations; ten million
 * take a minute.
 */
/* LINK: priv/lease.o priv/lease-act.o priv/lease-pool.o */
/* LINK: priv/lease-owner.o priv/lease-show.o libdstmd.a */
/* LINK: regress/unit/owner.o */
#include <arpa/inet.h>

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "dstmd/tsp.h"
#include "priv/lease.h"
#include "regress/unit/owner.h"

#define POOL		0x0a090000U	/* 10.9.0.0/22 */
#define SIZE		1024
#define FEW		100000
#define QUARANTINE	5		/* s */
#define CHECKED		4096		/* allocations between lease_checks */

static struct lease_engine	*e;
static int64_t			 now = 1000000;
static struct lease_policy	 policy;
static struct in_addr		 tep4;
static struct in6_addr		 tep6;
static struct lease_owner	 owners[SIZE];	/* of each address */
static uint32_t			 uses[SIZE];
static uint32_t			 serial, req;

static int64_t
wall(void)
{
	return (now / 1000);
}

/* Somebody who was never there before. */
static struct lease_owner
newcomer(void)
{
	char name[NAME_SIZE];

	snprintf(name, sizeof(name), "user%u", ++serial);
	return (owner_of(name, serial));
}

static struct lease_action
take(enum lease_dest dest, enum lease_action_type type)
{
	struct lease_action a;

	assert_int_equal(lease_action(e, dest, &a), 1);
	assert_int_equal(a.type, type);
	return (a);
}

static void
nothing(void)
{
	struct lease_action a;
	int dest;

	for (dest = 0; dest < LD_NDEST; dest++)
		assert_int_equal(lease_action(e, (enum lease_dest)dest, &a), 0);
}

static void
request(const struct lease_owner *o, uint32_t op)
{
	struct lease_ask ask;

	memset(&ask, 0, sizeof(ask));
	ask.conn.id = serial % CONN_MAX;
	ask.conn.gen = 1 + serial / CONN_MAX;
	ask.req = ++req;
	ask.op = op;
	ask.owner = *o;
	ask.policy = &policy;
	lease_request(e, now, wall(), &ask);
}

static void
tep_confirms(const struct lease_action *a)
{
	lease_tep_done(e, now, wall(), a->tep, a->job, STATUS_OK, tep4, &tep6);
}

/* There is one address, or there was one of all: which it is. */
static uint32_t
granted(void)
{
	struct lease_owner o;
	struct lease_action a;
	uint32_t i;

	o = newcomer();
	request(&o, OP_CREATE);
	a = take(LD_PLANE, LA_TEP_ADD);
	tep_confirms(&a);
	a = take(LD_STORE, LA_STORE);
	lease_store_done(e, now, wall(), a.seq);
	a = take(LD_SESSION, LA_REPLY);
	assert_int_equal(a.reply.status, STATUS_OK);
	nothing();
	i = ntohl(a.reply.v4.s_addr) - POOL;
	assert_in_range(i, 0, SIZE - 1);
	assert_int_equal(owners[i].mech, 0);
	owners[i] = o;
	uses[i]++;
	return (i);
}

static void
exhausted(void)
{
	struct lease_owner o;

	o = newcomer();
	request(&o, OP_CREATE);
	assert_int_equal(take(LD_SESSION, LA_REPLY).reply.status,
	    STATUS_EXHAUSTED);
	nothing();
}

/* By its node, or by the operator; nobody has it in its quarantine. */
static void
released(uint32_t i, int by_node)
{
	struct lease_action a;

	if (by_node)
		request(&owners[i], OP_DELETE);
	else
		assert_int_equal(lease_revoke(e, now, wall(),
		    (struct in_addr){ htonl(POOL + i) }), 0);
	a = take(LD_STORE, LA_STORE);
	assert_int_equal(ntohl(a.rec.v4.s_addr), POOL + i);
	lease_store_done(e, now, wall(), a.seq);
	a = take(LD_SESSION, by_node ? LA_REPLY : LA_NODE_DEL);
	a = take(LD_PLANE, LA_TEP_DEL);
	exhausted();
	tep_confirms(&a);
	nothing();
	exhausted();
	now += QUARANTINE * 1000;
	lease_tick(e, now, wall());
	memset(&owners[i], 0, sizeof(owners[i]));
}

/* Nobody's lease ends by time: all are renewed before. */
static void
renewed(void)
{
	struct lease_action a;
	uint32_t i;

	for (i = 0; i < SIZE; i++) {
		request(&owners[i], OP_CREATE);
		a = take(LD_STORE, LA_STORE);
		lease_store_done(e, now, wall(), a.seq);
		a = take(LD_PLANE, LA_TEP_ADD);
		tep_confirms(&a);
		assert_int_equal(take(LD_SESSION, LA_REPLY).reply.status,
		    STATUS_OK);
	}
	nothing();
}

static long
allocations(void)
{
	const char *text = getenv("DSTMD_CHURN");
	long n = text != NULL ? strtol(text, NULL, 10) : FEW;

	assert_in_range(n, 20 * SIZE, 1L << 40);
	return (n);
}

static void
test_full(void **state)
{
	struct lease_pool_stats st;
	size_t early = 0, late;
	long i, n = allocations();
	uint32_t a;

	(void)state;
	for (i = 0; i < SIZE; i++)
		(void)granted();
	for (; i < n; i++) {
		a = arc4random_uniform(SIZE);
		released(a, i % 3 != 0);
		assert_int_equal(granted(), a);
		exhausted();
		if (i % CHECKED == 0) {
			lease_check(e);
			renewed();
		}
		if (i == n / 4)
			early = mallinfo2().uordblks;
	}
	late = mallinfo2().uordblks;
	lease_pool_stats(e, 0, &st);
	assert_int_equal(st.bound, SIZE);
	assert_int_equal(st.free, 0);
	assert_int_equal(st.granted, n);
	assert_int_equal(st.exhausted, 3 * (n - SIZE));
	for (a = 0; a < SIZE; a++)
		assert_true(uses[a] > 1);
	print_message("%ld allocations, %ld refusals, %.1f s of CPU, %zu and "
	    "%zu octets\n", n, 3 * (n - SIZE), (double)clock() / CLOCKS_PER_SEC,
	    early, late);
	assert_true(late < early + 65536);
}

static int
setup(void **state)
{
	/* a lifetime of more than CHECKED quarantines */
	struct lease_limits limits = { 86400, 10, 86400, QUARANTINE };

	(void)state;
	policy.npools = 1;
	inet_pton(AF_INET, "198.51.100.1", &tep4);
	inet_pton(AF_INET6, "2001:db8::2", &tep6);
	e = lease_engine_new(&limits);
	lease_engine_add_tep(e, 0, 1, "tep", tep4, &tep6);
	lease_engine_add_pool(e, 0, 0, 0);
	return (lease_engine_add_range(e, 0, (struct in_addr){ htonl(POOL) },
	    (struct in_addr){ htonl(POOL + SIZE - 1) }));
}

static int
teardown(void **state)
{
	(void)state;
	lease_check(e);
	lease_engine_free(e);
	return (0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_full),
	};

	return (cmocka_run_group_tests_name("churn", tests, setup, teardown));
}
