/* LINK: priv/call.o priv/offer.o dstmd/log.o dstmd/procname.o dstmd/addr.o dstmd/mech.o */
/*
 * Calls and offers of a server: what becomes of them when nodes, or session,
 * do not answer. Engine, configuration and session are faked.
 */
#include <sys/types.h>

#include <arpa/inet.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dstmd/tsp.h"
#include "priv/priv.h"

#define ALICE	"2001:db8:1::10"
#define LEASE	"198.51.100.16"

struct priv		 priv;
static struct conf	 conf;
static struct conf_user	 alice;
static int64_t		 clock_ms = 1000;
static int		 up, is_held, known, poolless;
static uint32_t		 ncall, noffer, nask, nrevoke;
static struct msg_call	 last;
static struct msg_lease_reply offered;
static struct lease_ask	 asked;
static struct pconn	 conns[2];
static char		 result[160];

/*
 * What is around it
 */
int64_t
now_ms(void)
{
	return (clock_ms);
}

int64_t
now_wall(void)
{
	return (clock_ms / 1000);
}

void
timer_set(struct event *ev, int64_t ms)
{
	struct timeval tv = { ms > 0 ? ms / 1000 : 0, 0 };

	assert_int_equal(evtimer_add(ev, &tv), 0);
}

void
msg_put(struct msglink *l, uint32_t type, const void *data, size_t size)
{
	(void)l;
	if (type == MSG_CALL) {
		assert_int_equal(size, sizeof(last));
		memcpy(&last, data, sizeof(last));
		ncall++;
	} else {
		assert_int_equal(type, MSG_LEASE_OFFER);
		memcpy(&offered, data, sizeof(offered));
		noffer++;
	}
}

struct msglink *
child_link(enum proc_id id)
{
	(void)id;
	return (NULL);
}

int
child_is_up(enum proc_id id)
{
	assert_int_equal(id, PROC_SESSION);
	return (up);
}

const struct conf_user *
conf_user(const struct conf *c, uint32_t mech, const char *name)
{
	(void)c;
	return (mech != MECH_ANONYMOUS && strcmp(name, "alice") == 0 ? &alice :
	    NULL);
}

void
conf_policy(const struct conf *c, uint32_t mech, const struct conf_user *u,
    const struct in6_addr *v6, struct lease_policy *p)
{
	(void)c;
	(void)mech;
	assert_ptr_equal(u, &alice);
	assert_non_null(v6);
	memset(p, 0, sizeof(*p));
	p->npools = poolless ? 0 : 1;
}

struct lease_engine *
server_engine(void)
{
	return (NULL);
}

void
server_pump(void)
{
}

uint32_t
server_draining(void)
{
	return (DRAIN_OFF);
}

uint32_t
lease_identity(uint32_t mech)
{
	return (mech);
}

int
lease_is_held(struct lease_engine *e, const struct lease_owner *o)
{
	(void)e;
	(void)o;
	return (is_held);
}

int
lease_last(const struct lease_engine *e, struct lease_owner *o)
{
	(void)e;
	if (!known)
		return (-1);
	o->mech = MECH_SCRAM_SHA_256;
	strlcpy(o->name, "alice", sizeof(o->name));
	inet_pton(AF_INET6, ALICE, &o->v6);
	return (0);
}

void
lease_request(struct lease_engine *e, int64_t now, int64_t wall,
    const struct lease_ask *ask)
{
	(void)e;
	(void)now;
	(void)wall;
	asked = *ask;
	nask++;
}

int
lease_revoke(struct lease_engine *e, int64_t now, int64_t wall,
    struct in_addr v4)
{
	(void)e;
	(void)now;
	(void)wall;
	assert_int_equal(v4.s_addr, inet_addr(LEASE));
	nrevoke++;
	return (0);
}

struct pconn *
conn_find(struct conn_ref ref)
{
	size_t i;

	for (i = 0; i < 2; i++)
		if (ref.gen != 0 && conns[i].ref.gen == ref.gen)
			return (&conns[i]);
	return (NULL);
}

struct pconn *
conn_next(uint32_t id)
{
	for (; id < 2; id++)
		if (conns[id].ref.gen != 0)
			return (&conns[id]);
	return (NULL);
}

/*
 * What happens
 */
static void
done(uint32_t call, uint32_t status)
{
	struct msg_call_done md = { call, status };
	struct msg m;

	memset(&m, 0, sizeof(m));
	m.data = &md;
	call_done(NULL, &m);
}

static struct lease_owner
owner(const char *name)
{
	struct lease_owner o;

	memset(&o, 0, sizeof(o));
	o.mech = MECH_SCRAM_SHA_256;
	strlcpy(o.name, name, sizeof(o.name));
	inet_pton(AF_INET6, ALICE, &o.v6);
	return (o);
}

static void
take_back(const char *name)
{
	struct lease_owner o = owner(name);
	struct msg_lease_reply r;

	memset(&r, 0, sizeof(r));
	r.op = OP_DELETE;
	r.v4.s_addr = inet_addr(LEASE);
	call_node(&o, &r);
}

static void
later(int64_t ms)
{
	clock_ms += ms;
	call_session_up();
}

static void
connected(uint32_t id, const char *v6, int64_t since)
{
	struct pconn *c = &conns[id];

	c->ref.id = id;
	c->ref.gen = 10 + id;
	c->kind = CONN_ACCEPTED;
	c->authenticated = 1;
	c->mech = MECH_SCRAM_SHA_256;
	c->user = &alice;
	c->since_ms = since;
	strlcpy(c->name, "alice", sizeof(c->name));
	inet_pton(AF_INET6, v6, &c->peer);
}

static void
answer(void *arg, int ok, const char *text)
{
	assert_ptr_equal(arg, &conf);
	snprintf(result, sizeof(result), "%d %s", ok, text);
}

static const char *
allocate(const char *name)
{
	result[0] = '\0';
	return (offer_make(name, &in6addr_any, answer, &conf));
}

/* The engine's answer to the last ask. */
static void
granted(uint32_t code)
{
	struct msg_lease_reply r;

	memset(&r, 0, sizeof(r));
	r.conn = asked.conn;
	r.req = asked.req;
	r.op = asked.op;
	r.status = code;
	r.v4.s_addr = inet_addr(LEASE);
	r.v6 = asked.owner.v6;
	offer_reply(&r);
}

/* The node's own request. */
static void
comes(uint32_t op, const char *name)
{
	struct lease_owner o = owner(name);
	struct msg_lease_request req;

	memset(&req, 0, sizeof(req));
	req.op = op;
	req.has_v4 = 1;
	req.v4.s_addr = inet_addr(LEASE);
	offer_seen(&o, &req);
}

static int
setup(void **state)
{
	(void)state;
	memset(&conf, 0, sizeof(conf));
	strlcpy(conf.call.name, "dstm1", sizeof(conf.call.name));
	conf.request_timeout = 1;
	priv.conf = &conf;
	if (priv.base == NULL) {
		assert_non_null(priv.base = event_base_new());
		call_init();
	}
	memset(conns, 0, sizeof(conns));
	alice.call = up = 1;
	is_held = known = poolless = 0;
	ncall = noffer = nask = nrevoke = 0;
	return (0);
}

static void
test_delete(void **state)
{
	(void)state;
	take_back("bob");		/* is not called */
	alice.call = 0;
	take_back("alice");
	alice.call = 1;
	assert_int_equal(ncall, 0);
	take_back("alice");
	assert_int_equal(ncall, 1);
	assert_string_equal(last.name, "alice");
	assert_int_equal(last.body.op, OP_DELETE);
	assert_non_null(call_target(last.call));
	done(last.call, STATUS_OK);
	assert_null(call_target(last.call));
	/* said again, or of what is none: nothing */
	done(last.call, STATUS_OK);
	done(CALL_MAX, 0);
	done(UINT32_MAX, 0);
	later(60000);
	assert_int_equal(ncall, 1);
}

/* Three times, and a node that has a lease again is left alone. */
static void
test_again(void **state)
{
	int i;

	(void)state;
	take_back("alice");
	for (i = 1; i <= 3; i++) {
		assert_int_equal(ncall, i);
		done(last.call, 0);
		later(14000);
		assert_int_equal(ncall, i);
		later(1000);
	}
	later(60000);
	assert_int_equal(ncall, 3);
	take_back("alice");
	done(last.call, 0);
	is_held = 1;
	later(60000);
	assert_int_equal(ncall, 4);
}

/* So many at one time; the death of session is a failure of each. */
static void
test_many(void **state)
{
	uint32_t i;

	(void)state;
	for (i = 0; i < 2 * CALL_MAX; i++)
		take_back("alice");
	assert_int_equal(ncall, CALL_MAX);
	done(3, STATUS_OK);
	assert_int_equal(ncall, CALL_MAX + 1);
	assert_int_equal(last.call, 3);
	up = 0;
	call_session_lost();
	assert_int_equal(ncall, CALL_MAX + 1);
	up = 1;
	call_session_up();
	for (i = 0; i < CALL_MAX; i++)
		done(i, STATUS_OK);
	assert_int_equal(ncall, 2 * CALL_MAX);
	later(15000);
	assert_int_equal(ncall, 3 * CALL_MAX);
	for (i = 0; i < CALL_MAX; i++)
		done(i, STATUS_OK);
	/* a bound, above which it is said and forgotten */
	up = 0;
	for (i = 0; i < 16384 + 10; i++)
		take_back("alice");
	is_held = up = 1;
	later(0);
	assert_int_equal(ncall, 3 * CALL_MAX);
}

static void
test_offer_kept(void **state)
{
	(void)state;
	assert_non_null(allocate("bob"));
	assert_non_null(allocate("alice"));	/* where is it? */
	connected(0, ALICE, 5);
	connected(1, ALICE, 6);
	is_held = 1;
	assert_non_null(allocate("alice"));
	is_held = 0;
	poolless = 1;
	assert_non_null(allocate("alice"));
	poolless = 0;
	assert_int_equal(nask, 0);
	assert_null(allocate("alice"));
	assert_int_equal(nask, 1);
	assert_int_equal(asked.conn.id, CONN_MAX);
	granted(STATUS_OK);
	assert_int_equal(noffer, 1);
	assert_int_equal(offered.conn.gen, 11);	/* the later connection */
	comes(OP_CREATE, "bob");		/* somebody else's */
	comes(OP_INFO, "alice");
	assert_string_equal(result, "");
	comes(OP_CREATE, "alice");
	assert_string_equal(result, "1 " LEASE ": alice at " ALICE);
	/* refused, gone, out of addresses */
	assert_null(allocate("alice"));
	granted(STATUS_OK);
	comes(OP_DELETE, "alice");
	assert_string_equal(result, "0 the node does not take it");
	assert_int_equal(nrevoke, 0);		/* it has done so itself */
	assert_null(allocate("alice"));
	granted(STATUS_OK);
	offer_conn_gone(conns[0].ref);
	assert_string_equal(result, "");
	offer_conn_gone(conns[1].ref);
	assert_string_equal(result, "0 the node has gone");
	assert_int_equal(nrevoke, 1);
	assert_null(allocate("alice"));
	granted(STATUS_EXHAUSTED);
	assert_string_equal(result, "0 no address is free for it");
	/* granted when nobody waits any more: it is nobody's */
	granted(STATUS_OK);
	assert_int_equal(nrevoke, 2);
	/* nor is it the next one's */
	assert_null(allocate("alice"));
	asked.req--;
	granted(STATUS_OK);
	assert_int_equal(nrevoke, 3);
	assert_string_equal(result, "");
	asked.req++;
	granted(STATUS_TEP);
	connected(0, "2001:db8:1::11", 7);
	assert_non_null(allocate("alice"));	/* which of the two? */
}

static void
test_offer_called(void **state)
{
	(void)state;
	known = 1;
	alice.call = 0;
	assert_non_null(allocate("alice"));
	alice.call = 1;
	assert_null(allocate("alice"));
	granted(STATUS_OK);
	assert_int_equal(ncall, 1);
	assert_int_equal(last.body.op, OP_CREATE);
	done(last.call, STATUS_OK);		/* it will come */
	assert_string_equal(result, "");
	comes(OP_CREATE, "alice");
	assert_int_equal(result[0], '1');
	assert_null(allocate("alice"));
	granted(STATUS_OK);
	done(last.call, STATUS_UNAVAILABLE);
	assert_string_equal(result, "0 the node does not take it");
	assert_int_equal(nrevoke, 1);
	assert_null(allocate("alice"));
	granted(STATUS_OK);
	done(last.call, 0);
	assert_string_equal(result, "0 the node could not be reached");
	assert_int_equal(nrevoke, 2);
	assert_int_equal(ncall, 3);
	later(60000);				/* an offer is made once */
	assert_int_equal(ncall, 3);
	/* it says yes, and does not come */
	assert_null(allocate("alice"));
	granted(STATUS_OK);
	done(last.call, STATUS_OK);
	event_base_loop(priv.base, EVLOOP_ONCE);
	assert_string_equal(result, "0 the node did not answer in time");
	assert_int_equal(nrevoke, 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_delete, setup),
		cmocka_unit_test_setup(test_again, setup),
		cmocka_unit_test_setup(test_many, setup),
		cmocka_unit_test_setup(test_offer_kept, setup),
		cmocka_unit_test_setup(test_offer_called, setup),
	};

	log_init("test", LOG_TO_STDERR, 0);
	return (cmocka_run_group_tests_name("call", tests, NULL, NULL));
}
