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

#define MESSAGES	64	/* of one input: the next finds a quiet parent */

/*
 * Beside its own octets a message may have what makes sense: a connection
 * that is there, an address that was leased, a record that waits.
 */
enum { SENSE_CONN = 1, SENSE_NEW = 2, SENSE_V4 = 4, SENSE_SEQ = 8, SENSE_JOB =
    16, SENSE_NAME = 32 };

static const char *const	 names[] = { "alice", "bob", "anonymous", "other",
    "up" };

void
fuzz_init(void)
{
	parent_start();
}

static void
conn_sense(struct input *in, uint32_t sense, uint8_t *m, size_t size)
{
	struct conn_ref ref;

	if ((sense & SENSE_CONN) == 0 || size < sizeof(ref))
		return;
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

	pw.sock_peer = pw.nodes[i % NADDR];
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
message(struct input *in)
{
	const struct msg_rule *r = &priv_rules[input_number(in, 1) %
	    priv_nrules];
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
	conn_sense(in, sense, m, r->size);
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
	for (from = 0; (r->from & MSG_FROM(from)) == 0; from++)
		;
	say((enum proc_id)from, r->type, m, -1);
}

void
fuzz_one(const uint8_t *buf, size_t len)
{
	struct input in = { buf, len };
	int i;

	for (i = 0; in.n > 0 && i < MESSAGES; i++)
		message(&in);
	event_base_loop(priv.base, EVLOOP_NONBLOCK);
	parent_check();
	/* the session dies, which ends all of its connections */
	conn_drop_all();
	session_anew();
	server_teps_lost();
	call_session_lost();
	server_pump();
	parent_check();
}
