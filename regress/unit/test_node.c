/* LINK: priv/node.o dstmd/log.o dstmd/procname.o dstmd/addr.o */
/*
 * The parent's side of the node, on a clock of the test's own: the host, the
 * kernel and the other processes are faked.
 */
#include <sys/types.h>

#include <arpa/inet.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dstmd/tsp.h"
#include "priv/netlink.h"
#include "priv/priv.h"

struct priv		 priv;
static struct conf	 conf;
static int64_t		 clock_ms = 1000;
static void		(*resumed)(void);
static uint32_t		 nstart, nstop, nclose, nstore;
static struct msg_node_start start;
static uint32_t		 stored;
static int		 open_, configured, refuse, removed;
static struct pconn	 server;
static char		 events[32];
static uint32_t		 ntaken, nreject, replied, nkeepalive;
static int		 known;
static int64_t		 last_timer;

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

	last_timer = ms;
	assert_int_equal(evtimer_add(ev, &tv), 0);
}

void
suspend_watch(struct event_base *base, int64_t tick, void (*cb)(void))
{
	(void)base;
	(void)tick;
	resumed = cb;
}

void
msg_put(struct msglink *l, uint32_t type, const void *data, size_t size)
{
	struct msg_store_node ms;

	(void)l;
	switch (type) {
	case MSG_NODE_START:
		assert_int_equal(size, sizeof(start));
		memcpy(&start, data, sizeof(start));
		nstart++;
		break;
	case MSG_NODE_STOP:
		nstop++;
		break;
	case MSG_CONN_CLOSE:
		nclose++;
		break;
	case MSG_STORE_NODE:
		memcpy(&ms, data, sizeof(ms));
		stored = ms.rec.valid;
		nstore++;
		break;
	case MSG_NODE_TAKEN:
		ntaken++;
		break;
	case MSG_NODE_REJECT:
		nreject++;
		break;
	default:
		fail_msg("message %u", type);
	}
}

void
server_reply(const struct msg_lease_request *req, uint32_t code,
    const struct msg_lease_reply *body)
{
	assert_true(code != STATUS_OK || body->v4.s_addr == req->v4.s_addr);
	replied = code;
}

struct msglink *
child_link(enum proc_id id)
{
	(void)id;
	return (NULL);
}

struct pconn *
conn_find(struct conn_ref ref)
{
	return (ref.gen == server.ref.gen ? &server : NULL);
}

struct pconn *
conn_next(uint32_t id)
{
	return (id <= server.ref.id && server.ref.gen != 0 ? &server : NULL);
}

static int
plane_exists(uint32_t dev)
{
	(void)dev;
	return (!removed);
}

int
msglink_full(const struct msglink *l)
{
	(void)l;
	return (0);
}

static const struct plane	 fake_plane = { .exists = plane_exists };

int
netlink_has_addr6(const struct in6_addr *v6)
{
	(void)v6;
	return (1);
}

int
netlink_watch_addr6(void)
{
	return (-1);
}

void
netlink_watch_empty(int fd)
{
	(void)fd;
}

void
event_send(const struct msg_event *m)
{
	strlcat(events, m->event == EVENT_UP ? "u" : m->event == EVENT_RENEWED ?
	    "r" : m->event == EVENT_DOWN ? "d" : "l", sizeof(events));
}

int64_t
host_init(void)
{
	return (0);
}

int
host_wait(void)
{
	if (conf.node.idle != 0)
		open_ = !refuse;
	return (refuse ? -1 : 0);
}

int
host_configure(const struct msg_node_lease *l, int64_t until)
{
	(void)l;
	assert_true(until > now_ms());
	if (refuse)
		return (-1);
	open_ = configured = 1;
	return (0);
}

void
host_renew(const struct msg_node_lease *l, int64_t until)
{
	(void)l;
	assert_true(configured && until > now_ms());
}

void
host_unconfigure(void)
{
	configured = 0;
	open_ = open_ && conf.node.idle != 0;
}

void
host_keepalive(const struct msg_node_lease *l, int answers)
{
	assert_int_not_equal(l->tep4.s_addr, 0);
	known = answers;
	nkeepalive++;
}

void
host_close(void)
{
	open_ = configured = 0;
}

int
node_dev(struct plane_dev *dev)
{
	memset(dev, 0, sizeof(*dev));
	return (open_);
}

/*
 * What happens
 */
static uint32_t
status(void)
{
	struct msg_ctl_node row;

	node_status(&row);
	return (row.state);
}

static void
lease(uint32_t lifetime)
{
	struct msg_node_lease m;
	struct msg msg;

	memset(&m, 0, sizeof(m));
	m.conn = server.ref;
	m.lifetime = lifetime;
	inet_pton(AF_INET, "198.51.100.16", &m.v4);
	inet_pton(AF_INET, "198.51.100.1", &m.tep4);
	inet_pton(AF_INET6, "2001:db8:2::3", &m.tep6);
	inet_pton(AF_INET6, "2001:db8:1::10", &m.v6);
	memset(&msg, 0, sizeof(msg));
	msg.data = &m;
	node_lease(NULL, &msg);
}

/* Time passes; the loop's own clock is another, so only a 0 is due. */
static void
later(int64_t ms)
{
	clock_ms += ms;
	event_base_loop(priv.base, EVLOOP_NONBLOCK);
}

/* The machine wakes up: what was set before is late by that time. */
static void
suspended(int64_t ms)
{
	later(ms);
	resumed();
	later(0);
	later(0);
}

static void
tep_says(int alive)
{
	struct msg_tunnel_peer m;
	struct msg msg;

	memset(&m, 0, sizeof(m));
	m.dev = NODE_DEV;
	m.alive = (uint32_t)alive;
	memset(&msg, 0, sizeof(msg));
	msg.data = &m;
	node_peer(NULL, &msg);
}

/* As the tunnel process does, when it has listened for an interval. */
static void
tep(int alive)
{
	clock_ms += 30000;
	tep_says(alive);
}

static uint32_t
tep_life(void)
{
	struct msg_ctl_node row;

	node_status(&row);
	return (row.life);
}

static int
setup(void **state)
{
	(void)state;
	memset(&conf, 0, sizeof(conf));
	conf.roles = ROLE_NODE;
	conf.node.idle = 600;
	conf.node.nservers = 1;
	conf.node.keepalive = 30;
	priv.conf = &conf;
	priv.plane = &fake_plane;
	assert_non_null(priv.base = event_base_new());
	memset(&server, 0, sizeof(server));
	server.ref.id = 3;
	server.ref.gen = 7;
	server.kind = CONN_TO_SERVER;
	server.authenticated = 1;
	inet_pton(AF_INET6, "2001:db8:1::10", &server.local);
	refuse = removed = 0;
	events[0] = '\0';
	nstart = nstop = nclose = nstore = ntaken = nreject = 0;
	nkeepalive = 0;
	node_init();
	return (0);
}

static int
teardown(void **state)
{
	(void)state;
	node_end();
	event_base_free(priv.base);
	return (0);
}

static void
test_demand(void **state)
{
	(void)state;
	assert_int_equal(status(), CTL_NODE_IDLE);
	assert_true(open_);
	assert_int_equal(nstart, 0);
	lease(600);			/* nobody has asked */
	assert_int_equal(status(), CTL_NODE_IDLE);
	node_used(NULL, NULL);
	assert_int_equal(status(), CTL_NODE_ASKING);
	assert_int_equal(nstart, 1);
	node_used(NULL, NULL);
	assert_int_equal(nstart, 1);
	lease(600);
	assert_int_equal(status(), CTL_NODE_BOUND);
	assert_true(configured);
	node_stopped(NULL, NULL);	/* nobody has stopped it */
	assert_int_equal(status(), CTL_NODE_BOUND);
}

/* The TEP is silent: the server is asked; then the lease is given up. */
static void
test_dead(void **state)
{
	int64_t pause;
	int i;

	(void)state;
	tep(0);				/* of no lease */
	node_used(NULL, NULL);
	lease(600);
	assert_int_equal(nkeepalive, 1);
	assert_int_equal(known, 0);
	assert_int_equal(tep_life(), CTL_TEP_UNKNOWN);
	tep(1);
	assert_int_equal(tep_life(), CTL_TEP_ANSWERS);

	/* It is back after the renewal. */
	tep(0);
	assert_int_equal(tep_life(), CTL_TEP_SILENT);
	assert_int_equal(status(), CTL_NODE_BOUND);
	assert_int_equal(nstart, 2);
	tep(0);				/* the server does not answer either */
	assert_int_equal(status(), CTL_NODE_BOUND);
	lease(600);
	assert_int_equal(nkeepalive, 2);
	assert_int_equal(known, 1);
	tep(1);
	assert_int_equal(tep_life(), CTL_TEP_ANSWERS);
	assert_string_equal(events, "u");

	/* It is not, and of the next lease neither: later and later. */
	for (i = 0, pause = 30000; i < 8; i++) {
		tep(0);
		lease(600);
		assert_int_equal(status(), CTL_NODE_BOUND);
		tep(0);
		assert_int_equal(status(), CTL_NODE_RELEASING);
		assert_int_equal(nstop, i + 1);
		node_stopped(NULL, NULL);
		assert_int_equal(status(), CTL_NODE_ASKING);
		assert_false(configured);
		assert_int_equal(last_timer, pause);
		pause = pause * 2 > 900000 ? 900000 : pause * 2;
		assert_null(node_up());	/* the operator knows better */
		assert_int_equal(start.has_v4, 0);
		lease(600);
		assert_int_equal(status(), CTL_NODE_BOUND);
		assert_int_equal(known, 1);
	}
	assert_string_equal(events, "ululululululululu");

	/* The operator's word counts more than the pause. */
	tep(0);
	lease(600);
	tep(0);
	assert_null(node_down());
	node_stopped(NULL, NULL);
	assert_int_equal(status(), CTL_NODE_DOWN);
	tep(0);
	tep(1);
	assert_int_equal(status(), CTL_NODE_DOWN);
}

/* A tunnel process that was taken over says so without end. */
static void
test_liar(void **state)
{
	int i;

	(void)state;
	node_used(NULL, NULL);
	lease(600);
	tep(1);
	for (i = 0; i < 1000; i++) {
		tep_says(0);
		tep_says(1);
	}
	assert_int_equal(nstart, 2);
	assert_int_equal(status(), CTL_NODE_BOUND);
	assert_int_equal(tep_life(), CTL_TEP_ANSWERS);
	assert_string_equal(events, "u");
}

static void
test_unwatched(void **state)
{
	(void)state;
	conf.node.keepalive = 0;
	node_used(NULL, NULL);
	lease(600);
	assert_int_equal(nkeepalive, 0);
	assert_int_equal(tep_life(), CTL_TEP_UNWATCHED);
	tep(0);
	lease(600);
	tep(0);
	assert_int_equal(status(), CTL_NODE_BOUND);
	assert_int_equal(nstart, 1);
}

/* A packet that comes while the lease is given back asks again. */
static void
test_race(void **state)
{
	(void)state;
	node_used(NULL, NULL);
	lease(600);
	assert_null(node_down());
	assert_int_equal(status(), CTL_NODE_RELEASING);
	node_used(NULL, NULL);		/* but the operator's word stands */
	assert_null(node_up());
	assert_null(node_down());
	assert_null(node_up());
	lease(600);			/* too late */
	node_stopped(NULL, NULL);
	assert_int_equal(status(), CTL_NODE_ASKING);
	assert_false(configured);
	assert_int_equal(nstart, 2);
	assert_true(start.has_v4);
	assert_null(node_down());
	node_stopped(NULL, NULL);
	assert_int_equal(status(), CTL_NODE_DOWN);
	assert_false(open_);
	node_used(NULL, NULL);
	lease(600);
	assert_int_equal(status(), CTL_NODE_DOWN);
	assert_int_equal(nstart, 2);
	assert_non_null(node_renew());
	assert_null(node_down());
	assert_null(node_up());
	assert_true(open_);
	assert_int_equal(nstart, 3);
}

static void
test_operator(void **state)
{
	(void)state;
	assert_null(node_down());	/* while idle */
	assert_int_equal(status(), CTL_NODE_DOWN);
	assert_false(open_);
	assert_int_equal(nstop, 0);
	assert_null(node_up());
	lease(600);
	assert_null(node_up());		/* it is */
	assert_int_equal(nstart, 1);
	assert_null(node_renew());
	assert_int_equal(nstart, 2);
	lease(600);
	assert_int_equal(status(), CTL_NODE_BOUND);
	assert_null(node_down());
	assert_int_equal(nstop, 1);
	node_stopped(NULL, NULL);
	assert_int_equal(stored, 0);
	assert_null(node_up());
	lease(600);
	lease(601);
	assert_string_equal(events, "udur");
}

/* The session process dies: what was being given back is not ours. */
static void
test_session_dies(void **state)
{
	(void)state;
	node_used(NULL, NULL);
	node_session_up();
	assert_int_equal(nstart, 2);
	lease(600);
	node_session_up();
	assert_int_equal(nstart, 3);
	assert_null(node_down());
	node_session_up();
	assert_int_equal(status(), CTL_NODE_DOWN);
	node_session_up();
	assert_int_equal(nstart, 3);
}

/* What can not be is not believed. */
static void
test_lies(void **state)
{
	struct msg_node_note note;
	struct msg_ctl_node row;
	struct msg m;

	(void)state;
	node_used(NULL, NULL);
	server.authenticated = 0;
	lease(600);
	server.authenticated = 1;
	lease(0);
	server.kind = CONN_TO_TEP;
	lease(600);
	server.kind = CONN_TO_SERVER;
	server.local.s6_addr[15]++;
	lease(600);
	assert_false(configured);
	memset(&note, 'x', sizeof(note));
	memset(&m, 0, sizeof(m));
	m.data = &note;
	node_note(NULL, &m);
	node_status(&row);
	assert_int_equal(strlen(row.error), NODE_TEXT - 1);
	assert_true(IN6_IS_ADDR_UNSPECIFIED(&row.server));
	note.server = 0;
	note.next_ms = 5000;
	note.text[0] = '\0';
	node_note(NULL, &m);
	later(2000);
	node_status(&row);
	assert_int_equal(row.next, 3);
	assert_int_equal(row.error_age, 2);
	later(4000);
	node_status(&row);
	assert_int_equal(row.next, -1);
}

/* The host refuses: nothing is half done, and it is said. */
static void
test_refused(void **state)
{
	struct msg_ctl_node row;

	(void)state;
	node_used(NULL, NULL);
	refuse = 1;
	lease(600);
	assert_int_equal(status(), CTL_NODE_ASKING);
	assert_int_equal(nstop, 1);
	node_status(&row);
	assert_memory_equal(row.error, "this host refused", 17);
	refuse = 0;
	node_gone();			/* it is there */
	lease(600);
	assert_int_equal(status(), CTL_NODE_BOUND);
	removed = 1;
	node_gone();
	assert_int_equal(status(), CTL_NODE_ASKING);
	assert_true(open_);
	assert_false(configured);
	assert_string_equal(events, "ul");
}

/* Asleep for less than the lease, for longer, and beyond the silence. */
static void
test_suspended(void **state)
{
	(void)state;
	conf.node.idle = 0;
	assert_null(node_up());
	lease(600);
	suspended(300 * 1000);
	assert_int_equal(status(), CTL_NODE_BOUND);
	suspended(301 * 1000);
	assert_int_equal(status(), CTL_NODE_ASKING);
	assert_false(configured);
	conf.node.idle = 600;
	assert_null(node_down());
	node_stopped(NULL, NULL);
	assert_null(node_up());
	lease(86400);
	nstop = 0;
	suspended(599 * 1000);
	assert_int_equal(status(), CTL_NODE_BOUND);
	suspended(2 * 1000);
	assert_int_equal(status(), CTL_NODE_RELEASING);
	assert_int_equal(nstop, 1);
}

/* A server that has called: its request about an address. */
static uint32_t
call(uint32_t op, const char *v4, const char *v6)
{
	struct msg_lease_request req;
	struct pconn caller = server;

	caller.kind = CONN_ACCEPTED;
	caller.caller = 1;
	memset(&req, 0, sizeof(req));
	req.op = op;
	req.has_v4 = 1;
	inet_pton(AF_INET, v4, &req.v4);
	inet_pton(AF_INET6, v6, &req.v6);
	node_call(&caller, &req);
	return (replied);
}

static void
offer(const char *v4)
{
	struct msg_node_delete m;
	struct msg msg;

	memset(&m, 0, sizeof(m));
	m.conn = server.ref;
	inet_pton(AF_INET, v4, &m.v4);
	memset(&msg, 0, sizeof(msg));
	msg.data = &m;
	node_offer(NULL, &msg);
}

#define MINE	"198.51.100.16"
#define HERE	"2001:db8:1::10"

static void
test_called(void **state)
{
	(void)state;
	assert_int_equal(call(OP_DELETE, MINE, HERE), STATUS_UNAVAILABLE);
	node_used(NULL, NULL);
	lease(600);
	assert_int_equal(call(OP_DELETE, "198.51.100.17", HERE),
	    STATUS_UNAVAILABLE);
	assert_int_equal(call(OP_DELETE, MINE, "2001:db8:1::11"),
	    STATUS_UNAVAILABLE);
	assert_int_equal(call(OP_INFO, MINE, HERE), STATUS_FORMAT);
	assert_int_equal(status(), CTL_NODE_BOUND);
	assert_int_equal(ntaken, 0);
	assert_int_equal(call(OP_DELETE, MINE, HERE), STATUS_OK);
	assert_int_equal(status(), CTL_NODE_ASKING);
	assert_int_equal(ntaken, 1);
	assert_false(configured);
	assert_string_equal(events, "ul");
}

static void
test_offers(void **state)
{
	(void)state;
	/* by default none is wanted */
	assert_int_equal(call(OP_CREATE, MINE, HERE), STATUS_UNAVAILABLE);
	offer(MINE);
	assert_int_equal(nreject, 1);
	assert_int_equal(nstart, 0);
	conf.node.offers = 1;
	assert_int_equal(call(OP_CREATE, MINE, "2001:db8:1::11"), STATUS_IPV6);
	assert_int_equal(call(OP_CREATE, "127.0.0.1", HERE),
	    STATUS_UNAVAILABLE);
	server.kind = CONN_TO_TEP;	/* a lie of session's */
	offer(MINE);
	server.kind = CONN_TO_SERVER;
	assert_int_equal(nstart, 0);
	/* a hint, and no more */
	assert_int_equal(call(OP_CREATE, "198.51.100.99", HERE), STATUS_OK);
	assert_int_equal(nstart, 1);
	assert_int_equal(status(), CTL_NODE_ASKING);
	assert_false(configured);
	offer(MINE);			/* a later one is a better one */
	assert_int_equal(nstart, 2);
	assert_int_equal(start.has_v4, 1);
	assert_int_equal(start.v4.s_addr, inet_addr(MINE));
	lease(600);
	assert_int_equal(call(OP_CREATE, MINE, HERE), STATUS_OK);
	assert_int_equal(call(OP_CREATE, "198.51.100.99", HERE),
	    STATUS_UNAVAILABLE);
	/* the operator's word stands */
	assert_null(node_down());
	assert_int_equal(call(OP_CREATE, MINE, HERE), STATUS_UNAVAILABLE);
	node_stopped(NULL, NULL);
	assert_int_equal(call(OP_CREATE, MINE, HERE), STATUS_UNAVAILABLE);
	assert_int_equal(status(), CTL_NODE_DOWN);
	assert_int_equal(nreject, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_demand, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dead, setup, teardown),
		cmocka_unit_test_setup_teardown(test_liar, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unwatched, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_race, setup, teardown),
		cmocka_unit_test_setup_teardown(test_operator, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_session_dies, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_lies, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_suspended, setup,
		    teardown),
		cmocka_unit_test_setup_teardown(test_called, setup, teardown),
		cmocka_unit_test_setup_teardown(test_offers, setup, teardown),
	};

	log_init("test", LOG_TO_STDERR, 0);
	return (cmocka_run_group_tests_name("node", tests, NULL, NULL));
}
