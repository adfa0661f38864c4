/*
 * The lease engine in a world where everything goes wrong, in random order:
 * many worlds of many steps each, from one seed, against a simple model.
 *
 *	DSTMD_SEED=n	begins with world n: what a failure prints
 *	DSTMD_WORLDS=n	so many instead of WORLDS
 *	DSTMD_TRACE=1	says what happens
 */
/* LINK: regress/unit/sim_world.o regress/unit/sim_model.o */
/* LINK: priv/lease.o priv/lease-act.o priv/lease-pool.o */
/* LINK: priv/lease-owner.o priv/lease-show.o libdstmd.a */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#ifdef SANITIZER
#include <sanitizer/common_interface_defs.h>
#endif

#include "dstmd/tsp.h"
#include "regress/unit/sim.h"

#define SEED	20071
#ifdef SANITIZER
#define WORLDS	2000
#else
#define WORLDS	10000
#endif

enum happening { E_NEW, E_AGAIN, E_INFO, E_DELETE, E_REVOKE, E_GONE, E_PUMP,
    E_TEP, E_TEP_SAYS, E_TEP_LATE, E_TEP_DOWN, E_TEP_UP, E_STORE, E_STORE_SAYS,
    E_STORE_DIES, E_STORE_UP, E_MS, E_SECONDS, E_LONG, E_WALL, E_CRASH,
    E_STILL, NEVENTS };

static const uint32_t usual[NEVENTS] = {
	[E_NEW] = 150, [E_AGAIN] = 80, [E_INFO] = 10, [E_DELETE] = 40,
	[E_REVOKE] = 5, [E_GONE] = 10, [E_PUMP] = 250, [E_TEP] = 150,
	[E_TEP_SAYS] = 150, [E_TEP_LATE] = 15, [E_TEP_DOWN] = 4,
	[E_TEP_UP] = 12, [E_STORE] = 100, [E_STORE_SAYS] = 100,
	[E_STORE_DIES] = 2, [E_STORE_UP] = 10, [E_MS] = 100, [E_SECONDS] = 30,
	[E_LONG] = 2, [E_WALL] = 3, [E_CRASH] = 2, [E_STILL] = 3,
};
static uint32_t	 weights[NEVENTS], total;

/* For a while some things hardly happen, and some all the time. */
static void
new_mood(void)
{
	int i;

	total = 0;
	for (i = 0; i < NEVENTS; i++) {
		weights[i] = usual[i];
		if (rnd(6) == 0)
			weights[i] = rnd(2) ? usual[i] * 4 : usual[i] / 10;
		total += weights[i];
	}
}

static enum happening
pick(void)
{
	uint32_t n = rnd(total), i;

	for (i = 0; n >= weights[i]; i++)
		n -= weights[i];
	return ((enum happening)i);
}

static uint32_t
random_lifetime(void)
{
	switch (rnd(4)) {
	case 0:
		return (1 + rnd(60));
	case 1:
		return (rnd(2000));
	default:
		return (0);
	}
}

static void
ask(uint32_t op, int owner, int addr)
{
	struct sim_req *r = &sim.reqs[sim.nreqs];
	struct lease_ask a;

	if (sim.nreqs > STEPS)
		return;
	memset(&a, 0, sizeof(a));
	r->conn.id = rnd(NCONNS);
	r->conn.gen = sim.gens[r->conn.id];
	r->op = op;
	r->owner = owner;
	r->lifetime = op == OP_CREATE ? random_lifetime() : 0;
	r->asked = sim.now;
	r->step = sim.step;
	r->epoch = sim.epoch;
	a.conn = r->conn;
	a.req = sim.nreqs++;
	a.op = op;
	a.has_v4 = addr != ANY;
	a.lifetime = r->lifetime;
	a.v4.s_addr = htonl(addr >= 0 ? sim.a[addr].v4 :
	    rnd(2) ? 0xc6336412 : 0xe0000001);	/* a hole, multicast */
	a.owner = sim.owners[owner];
	a.policy = &sim.policy[owner / NHOSTS];
	model_asks(r, addr);
	trace("request %u: %u by %d of %d (may get %d)", a.req, op, owner,
	    addr, r->want);
	lease_request(sim.e, sim.now, wall(), &a);
	model_look();
	model_asked(r);
}

/* By its owner, if it ever had one; sometimes by another. */
static void
ask_again(uint32_t op)
{
	int addr = (int)rnd(NADDRS), owner = sim.a[addr].last;

	if (owner == -1 || rnd(10) == 0)
		owner = (int)rnd(NOWNERS);
	switch (rnd(20)) {
	case 0:
		addr = NOWHERE;
		break;
	case 1: case 2: case 3: case 4: case 5: case 6:
		addr = ANY;
		break;
	}
	ask(op, owner, addr);
}

static void
revoke(void)
{
	int i = (int)rnd(NADDRS);
	struct in_addr v4 = { htonl(sim.a[i].v4) };
	int r = lease_revoke(sim.e, sim.now, wall(), v4);

	if (r != (sim.a[i].state == CTL_BOUND ? 0 : -1))
		broken("revoke says %d", r);
	if (r == 0)
		model_revoked(i);
}

static void
conn_gone(void)
{
	uint32_t id = rnd(NCONNS);

	lease_conn_gone(sim.e, (struct conn_ref){ id, sim.gens[id] });
	sim.gens[id]++;
}

static void
all_done(void)
{
	int i, busy;

	do {
		pump(QUEUE);
		busy = sim.store.nin + sim.store.nout;
		store_works(QUEUE);
		model_look();
		store_answers();
		model_look();
		for (i = 1; i < NTEPS; i++) {
			busy += sim.teps[i].in.n + sim.teps[i].out.n;
			tep_works(i);
			tep_answers(i);
			model_look();
		}
	} while (busy > 0);
}

/* Everything answers, and there is time enough: what is still under way? */
static void
be_still(void)
{
	int i, again;

	sim.quiet = 1;
	store_comes();
	for (again = 0; again < 2; again++) {
		for (i = 1; i < NTEPS; i++) {
			tep_comes(i);
			model_look();
		}
		all_done();
		clock_runs(61000);
		model_look();
		all_done();
		model_forwards();
		/* A refused delete is said again to a TEP that comes back. */
		for (i = 1; i < NTEPS && again == 0; i++)
			if (rnd(2))
				tep_breaks(i, 0);
		model_look();
	}
	for (i = 1; i < NTEPS; i++) {
		tep_breaks(i, 0);
		model_look();
		tep_comes(i);
		model_look();
	}
	all_done();
	model_forwards();
	model_still();
	sim.quiet = 0;
}

static void
happens(enum happening ev)
{
	int tep = 1 + (int)rnd(NTEPS - 1);

	switch (ev) {
	case E_NEW:
		ask(OP_CREATE, (int)rnd(NOWNERS), ANY);
		break;
	case E_AGAIN:
		ask_again(OP_CREATE);
		break;
	case E_INFO:
		ask_again(OP_INFO);
		break;
	case E_DELETE:
		ask_again(OP_DELETE);
		break;
	case E_REVOKE:
		revoke();
		break;
	case E_GONE:
		conn_gone();
		break;
	case E_PUMP:
		pump(1 + (int)rnd(20));
		break;
	case E_TEP:
		tep_works(tep);
		break;
	case E_TEP_SAYS:
		tep_answers(tep);
		break;
	case E_TEP_LATE:
		tep_late(tep);
		break;
	case E_TEP_DOWN:
		tep_breaks(tep, rnd(3) == 0);
		break;
	case E_TEP_UP:
		tep_comes(tep);
		break;
	case E_STORE:
		store_works(1 + (int)rnd(10));
		break;
	case E_STORE_SAYS:
		store_answers();
		break;
	case E_STORE_DIES:
		store_breaks();
		break;
	case E_STORE_UP:
		store_comes();
		break;
	case E_MS:
		clock_runs(rnd(500));
		break;
	case E_SECONDS:
		clock_runs(rnd(15000));
		break;
	case E_LONG:
		clock_runs(rnd(1500000));
		break;
	case E_WALL:
		sim.epoch++;
		sim.wall_off += (int64_t)rnd(600000) - 300000;
		break;
	case E_CRASH:
		crash();
		break;
	default:
		be_still();
		break;
	}
}

static uint32_t
world(uint64_t seed)
{
	uint32_t steps = seed % LONG_EVERY == 0 ? STEPS : STEPS_SHORT;

	sim_new(seed);
	for (sim.step = 1; sim.step <= steps; sim.step++) {
		if (sim.step % 300 == 1)
			new_mood();
		happens(pick());
		model_look();
	}
	be_still();
	sim_end();
	return (steps);
}

static uint64_t
number(const char *name, uint64_t otherwise)
{
	const char *s = getenv(name);

	return (s != NULL ? strtoull(s, NULL, 10) : otherwise);
}

static void
test_worlds(void **state)
{
	uint64_t seed = number("DSTMD_SEED", SEED), i;
	uint64_t worlds = number("DSTMD_WORLDS", WORLDS);
	uint64_t replies = 0, grants = 0, steps = 0;

	(void)state;
	for (i = 0; i < worlds; i++) {
		steps += world(seed + i);
		replies += sim.answered;
		grants += sim.status[STATUS_OK];
	}
	printf("%llu worlds, %llu steps, %llu answers, %llu of them 200\n",
	    (unsigned long long)worlds, (unsigned long long)steps,
	    (unsigned long long)replies, (unsigned long long)grants);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_worlds) };

	/* Also where the engine's own checks, or a sanitizer, end it. */
	atexit(sim_say_seed);
#ifdef SANITIZER
	__sanitizer_set_death_callback(sim_say_seed);
#endif
	return (cmocka_run_group_tests_name("lease_sim", tests, NULL, NULL));
}
