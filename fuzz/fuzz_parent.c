/*
 * The parent's message tables: a process in foreign hands says what its rows
 * let it say, field by field what the fuzzer likes. Around it is the world of
 * the unit test, which checks each answer.
 */
/* COVERS: priv/conn.c priv/server.c priv/tep.c priv/node.c priv/call.c priv/offer.c priv/store.c priv/lease.c priv/lease-act.c priv/lease-owner.c priv/lease-pool.c */
/* LINK: regress/unit/parent.o priv/call.o priv/conf.o priv/conf-print.o priv/conn.o priv/lease.o priv/lease-act.o priv/lease-owner.o priv/lease-pool.o priv/lease-show.o priv/lex.o priv/node.o priv/offer.o priv/parse.o priv/rules.o priv/server.o priv/store.o priv/tep.o priv/value.o dstmd/addr.o dstmd/mech.o */
/* LIBS: -lcmocka */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fuzz/fuzz.h"
#include "regress/unit/parent.h"

#define MESSAGES	256	/* of one input: the next finds a quiet parent */
#define WAIT_MAX	60	/* ms, the parent's seconds */
#define QUIET_MS	30	/* after which nobody waits for an offer */

/*
 * Beside its own octets a message may have what makes sense: a connection
 * that is there, an address that was leased, a record that waits.
 */
enum { SENSE_CONN = 1, SENSE_NEW = 2, SENSE_V4 = 4, SENSE_SEQ = 8, SENSE_JOB =
    16, SENSE_NAME = 32 };

/*
 * From this number of a message on: what befalls the parent from elsewhere,
 * the operator, its clock, the death of processes.
 */
#define WORLD		225
/*
 * Rules that are in the table behind so many have the last numbers of a message:
 * with a new rule, at the end, what is in the corpus goes on to mean the same.
 */
#define RULES		25
enum { REVOKE, NODE_GO, NODE_REST, NODE_RENEW, DRAIN, SESSION_DIES, SESSION_UP,
    STORE_UP, STORE_START, OFFER, WAIT, MODE, RESUME, LOOK, NWORLD };
enum { MODE_FULL = 1, MODE_GONE = 2, MODE_REFUSES = 4, MODE_IDLE = 8,
    MODE_KEEPALIVE = 16, MODE_STORE_DOWN = 32, MODE_UNREACHABLE = 64,
    MODE_NAMELESS = 128 };

static uint64_t			 loaded;	/* leases, since STORE_START */
static int			 loading;

static const char *const	 names[] = { "alice", "bob", "anonymous", "other",
    "up" };

void
fuzz_init(void)
{
	pw.own_clock = 1;	/* so that an input says the same each time */
	parent_start();
}

static void
conn_sense(struct input *in, uint32_t type, uint32_t sense, uint8_t *m,
    size_t size)
{
	struct conn_ref ref;

	if ((sense & SENSE_CONN) == 0 || size < sizeof(ref))
		return;
	if (type == MSG_TEP_UP || type == MSG_TEP_DOWN)
		m += offsetof(struct msg_tep_state, conn);
	ref.id = input_number(in, 1) % NSLOT;
	ref.gen = sense & SENSE_NEW ? pw.said[ref.id].tried + 1 :
	    pw.said[ref.id].gen;
	memcpy(m, &ref, sizeof(ref));
}

/* At that offset, if it is that type. */
#define SET(type, wanted, s, field, value) do {				\
	if ((type) == (wanted))						\
		memcpy(m + offsetof(s, field), &(value), sizeof(value)); \
} while (0)

static void
v4_sense(struct input *in, uint32_t type, uint8_t *m)
{
	struct in_addr v4 = pw.recent[input_number(in, 1) % NRECENT];

	SET(type, MSG_LEASE_REQUEST, struct msg_lease_request, v4, v4);
	SET(type, MSG_NODE_LEASE, struct msg_node_lease, v4, v4);
	SET(type, MSG_NODE_DELETE, struct msg_node_delete, v4, v4);
	SET(type, MSG_NODE_OFFER, struct msg_node_delete, v4, v4);
	SET(type, MSG_TEP_REPLY, struct msg_tep_reply, tep4, v4);
	SET(type, MSG_STORE_LEASE, struct msg_store_lease, rec.v4, v4);
}

static void
job_sense(struct input *in, uint32_t type, uint8_t *m)
{
	uint32_t i = input_number(in, 1) % NJOBS;

	SET(type, MSG_TEP_REPLY, struct msg_tep_reply, tep, pw.jobs[i].tep);
	SET(type, MSG_TEP_REPLY, struct msg_tep_reply, job, pw.jobs[i].job);
}

/* Who logs in, from an address of the fuzzer's choice. */
static void
name_sense(struct input *in, uint32_t type, uint8_t *m)
{
	struct msg_auth_verdict v;
	uint32_t i = input_number(in, 1);

	pw.sock_peer = (i & 0x60) == 0x60 ? pw.here[3] : pw.nodes[i % NADDR];
	pw.sock_local = pw.here[i / NADDR % NHERE];
	if (type != MSG_AUTH_VERDICT)
		return;
	memcpy(&v, m, sizeof(v));
	strlcpy(v.name, names[i % COUNT(names)], sizeof(v.name));
	v.side = i & 0x80 ? AUTH_CLIENT : AUTH_SERVER;
	v.mech = strcmp(v.name, "anonymous") == 0 ? MECH_ANONYMOUS :
	    MECH_SCRAM_SHA_256;
	v.mutual = 1;
	memcpy(m, &v, sizeof(v));
}

static void
session_dies(void)
{
	conn_drop_all();
	session_anew();
	server_teps_lost();
	call_session_lost();
}

/* A server that starts: the store loads, and its count is right. */
static void
store_begins(void)
{
	if (loading)
		return;
	session_dies();
	parent_restart();
	store_start();
	loading = 1;
	loaded = 0;
}

/* Its load was not to be believed: it is killed, and there is a new one. */
static void
store_again(void)
{
	if (!pw.store_killed)
		return;
	pw.store_killed = loading = 0;
	store_begins();
}

static void
store_ends(void)
{
	struct msg_store_loaded m = { loaded };

	if (loading)
		say(PROC_STORE, MSG_STORE_LOADED, &m, -1);
	loading = 0;
}

static void
on_offer(void *arg, int ok, const char *text)
{
	(void)arg;
	(void)ok;
	MUST(text != NULL);
}

/* It gets what it has missed. */
static void
store_is_up(void)
{
	server_store_up();
	node_store_up();
}

static void
mode(uint32_t how)
{
	int was_down = pw.store_down;

	pw.full = (how & MODE_FULL) != 0;
	pw.gone = (how & MODE_GONE) != 0;
	pw.refuses = (how & MODE_REFUSES) != 0;
	pw.store_down = (how & MODE_STORE_DOWN) != 0;
	pw.unreachable = (how & MODE_UNREACHABLE) != 0;
	pw.nameless = (how & MODE_NAMELESS) != 0;
	priv.conf->node.idle = how & MODE_IDLE ? 5 : 0;
	priv.conf->node.keepalive = how & MODE_KEEPALIVE ? 1 : 0;
	if (was_down && !pw.store_down)
		store_is_up();
	parent_full(pw.full);
}

/* What the control socket shows. */
static void
look(void)
{
	struct msg_ctl_lease row;
	struct msg_ctl_node node;
	struct in_addr after = { 0 };

	(void)node_row(&row);
	node_status(&node);
	MUST(memchr(node.error, '\0', sizeof(node.error)) != NULL);
	while (tep_walk(after, &row))
		after = row.v4;
	parent_check();
}

static void
world(struct input *in, uint32_t op)
{
	uint32_t n;

	switch (op) {
	case REVOKE:
		n = input_number(in, 1);
		(void)lease_revoke(server_engine(), now_ms(), now_wall(),
		    pw.recent[n % NRECENT]);
		server_pump();
		break;
	case NODE_GO:
		(void)node_up();
		break;
	case NODE_REST:
		(void)node_down();
		break;
	case NODE_RENEW:
		(void)node_renew();
		break;
	case DRAIN:
		server_drain(input_number(in, 1) % 3);
		break;
	case SESSION_DIES:
		session_dies();
		break;
	case SESSION_UP:
		node_session_up();
		call_session_up();
		break;
	case STORE_UP:
		store_is_up();
		break;
	case STORE_START:
		store_begins();
		break;
	case OFFER:
		n = input_number(in, 1);
		(void)offer_make(n & 0x80 ? "" : names[n % COUNT(names)],
		    &pw.nodes[n / 8 % NADDR], on_offer, NULL);
		break;
	case WAIT:
		time_passes(priv.base, &pw.passed,
		    (int64_t)(input_number(in, 1) % WAIT_MAX) * 1000);
		break;
	case MODE:
		mode(input_number(in, 1));
		break;
	case RESUME:
		pw.resumed();
		break;
	case LOOK:
		look();
		break;
	}
}

static void
message(struct input *in, uint32_t number)
{
	size_t more = priv_nrules - RULES;
	const struct msg_rule *r = &priv_rules[number >= WORLD - more ?
	    RULES + number - (WORLD - more) : number % RULES];
	uint32_t sense = input_number(in, 1);
	uint8_t m[512], *piece;
	uint64_t seq;
	size_t n;
	int from;

	MUST(r->size <= sizeof(m));
	memset(m, 0, sizeof(m));
	piece = input_piece(in, &n);
	memcpy(m, piece, n < sizeof(m) ? n : sizeof(m));
	free(piece);
	conn_sense(in, r->type, sense, m, r->size);
	if (sense & SENSE_V4)
		v4_sense(in, r->type, m);
	if (sense & SENSE_SEQ) {
		seq = pw.put_seq - input_number(in, 1) % 4;
		SET(r->type, MSG_STORE_DONE, struct msg_store_done, seq, seq);
		SET(r->type, MSG_STORE_FAIL, struct msg_store_done, seq, seq);
	}
	if (sense & SENSE_JOB)
		job_sense(in, r->type, m);
	if (sense & SENSE_NAME)
		name_sense(in, r->type, m);
	/* A count that is right, or as the input says. */
	if (r->type == MSG_STORE_LOADED && input_number(in, 1) % 2 != 0) {
		store_ends();
		return;
	}
	loaded += r->type == MSG_STORE_LEASE;
	for (from = 0; (r->from & MSG_FROM(from)) == 0; from++)
		;
	say((enum proc_id)from, r->type, m, -1);
}

/*
 * The next input finds a node that wants a lease, and nobody else: no lease, no
 * offer, no job of this one's, so that what it finds it finds alone as well.
 * Entries of other servers stay until their end.
 */
static void
quiet(void)
{
	mode(0);
	server_drain(DRAIN_OFF);
	store_ends();
	session_dies();
	(void)node_down();
	node_stopped(NULL, NULL);
	time_passes(priv.base, &pw.passed, QUIET_MS * 1000);
	parent_restart();
	pw.store_killed = 0;
	memset(pw.jobs, 0, sizeof(pw.jobs));
	pw.njobs = 0;
	pw.granted = 0;
	pw.sock_peer = pw.sock_local = in6addr_any;
	(void)node_up();
	server_pump();
}

void
fuzz_one(const uint8_t *buf, size_t len)
{
	struct input in = { buf, len };
	uint32_t number;
	int i;

	for (i = 0; in.n > 0 && i < MESSAGES; i++) {
		number = input_number(&in, 1);
		if (number >= WORLD)
			world(&in, (number - WORLD) % NWORLD);
		else
			message(&in, number);
		store_again();
		event_base_loop(priv.base, EVLOOP_NONBLOCK);
	}
	parent_check();
	quiet();
	parent_check();
}
