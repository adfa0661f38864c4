/*
 * What the parent asks of the store. All records that the link has ready
 * are one transaction: many grants share one sync.
 */
#include <sys/types.h>

#include <event2/event.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dstmd/dstmd.h"
#include "dstmd/msg.h"
#include "store/store.h"

#define COMPLAIN_MS	60000	/* between two lines about failing writes */

/*
 * Links have the middle of three priorities. An event of the lowest runs in
 * a turn of the loop in which no link had anything to read.
 */
#define PRIORITIES	3
#define PRIORITY_IDLE	2

static struct msglink	*priv_link;
static struct db	*db;
static struct event	*idle_event;

static struct {
	int		 count;		/* records; 0: no transaction is open */
	int		 failed;	/* already before its commit */
	uint64_t	 first, last;	/* seq; 0: nobody waits for an answer */
} batch;

static struct {
	int		 running;
	struct in_addr	 after;		/* what has been sent */
	uint64_t	 count;
} load;

static struct trouble {
	int64_t		 said;		/* ms; 0: all is well */
	uint64_t	 records;	/* lost since then */
} writes, believes;

static uint64_t		 last_seq;	/* 0: none came yet */

/*
 * The log
 */
static void
complain(struct trouble *t, int records, const char *what, const char *why)
{
	t->records += (uint64_t)records;
	if (t->said != 0 && now_ms() - t->said < COMPLAIN_MS)
		return;
	log_warnx("%llu records not written: %s%s",
	    (unsigned long long)t->records, what, why);
	t->said = now_ms();
	t->records = 0;
}

static void
content(struct trouble *t)
{
	if (t->said == 0)
		return;
	log_info("writing succeeds again; %llu more records were not written",
	    (unsigned long long)t->records);
	memset(t, 0, sizeof(*t));
}

/*
 * A sync that failed leaves nobody wiser: the octets are in the kernel's
 * cache, marked as written, and may or may not be on the disk; a second
 * sync would succeed and mean nothing. To say DONE could lose a lease, to
 * say FAIL could bring back one that was refused. So this process ends
 * without a word: the parent starts a new one, which writes all that it can
 * read once more before it believes it (db_open), and sends again what was
 * not answered. db_close would write the log on in this state: it is not
 * called.
 */
static void __attribute__((__noreturn__))
give_up(void)
{
	log_warnx("%s: what is on the disk is not known, starting again",
	    db_error(db));
	exit(1);
}

/*
 * Transactions
 */
static void
answer(uint32_t type, uint64_t first, uint64_t last, int error)
{
	struct msg_store_done md;

	if (last == 0)
		return;
	memset(&md, 0, sizeof(md));
	if (type == MSG_STORE_FAIL) {
		md.seq = first;
		md.seq_last = last;
		md.error = (uint32_t)error;
	} else
		md.seq = last;
	msg_put(priv_link, type, &md, sizeof(md));
}

/*
 * The answers leave first: they do not wait for these syncs. Where it fails
 * (the file cannot grow) the log goes on, and it is tried again later.
 */
static void
checkpoint(void)
{
	static int at = DB_LOG_PAGES;

	if (db_log_pages(db) < at)
		return;
	(void)msglink_flush(priv_link, 0);
	at = DB_LOG_PAGES;
	if (db_checkpoint(db) == 0)
		return;
	if (db_lost(db))
		give_up();
	log_warnx("%s; %d pages are in the log", db_error(db),
	    db_log_pages(db));
	at += db_log_pages(db);
}

static void
batch_end(void)
{
	int error;

	if (batch.count == 0)
		return;
	if (!batch.failed && db_commit(db) == 0) {
		content(&writes);
		answer(MSG_STORE_DONE, batch.first, batch.last, 0);
	} else {
		error = db_errno(db);
		if (!db_lost(db))
			db_rollback(db);
		if (db_lost(db))
			give_up();
		complain(&writes, batch.count, "", db_error(db));
		answer(MSG_STORE_FAIL, batch.first, batch.last, error);
	}
	memset(&batch, 0, sizeof(batch));
	checkpoint();
}

static void
idle(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	batch_end();
}

/* Every seq, also of what is refused. 0, from a node: nobody waits. */
static void
check_seq(uint64_t seq)
{
	if (seq == 0)
		return;
	if (last_seq != 0 && seq != last_seq + 1)
		fatalx("record %llu came after %llu", (unsigned long long)seq,
		    (unsigned long long)last_seq);
	last_seq = seq;
}

/* Adds a record to the transaction: 0 it is to be put, -1 that has failed. */
static int
batch_add(uint64_t seq)
{
	if (batch.count == 0) {
		event_active(idle_event, EV_TIMEOUT, 1);
		batch.failed = db_begin(db) == -1;
	}
	batch.count++;
	if (seq != 0) {
		if (batch.first == 0)
			batch.first = seq;
		batch.last = seq;
	}
	return (batch.failed ? -1 : 0);
}

/* FAIL says that all before it have had their answer: they get it now. */
static void
refuse(uint64_t seq, const char *what, const char *why)
{
	complain(&believes, 1, what, why);
	batch_end();
	answer(MSG_STORE_FAIL, seq, seq, EINVAL);
}

static void
store_put(struct msglink *l, struct msg *m)
{
	struct msg_store_lease ml;
	const char *why;

	(void)l;
	memcpy(&ml, m->data, sizeof(ml));
	if (ml.seq == 0)
		fatalx("the lease of %s without a number", log_in(ml.rec.v4));
	check_seq(ml.seq);
	if ((why = db_check_lease(&ml.rec)) != NULL) {
		refuse(ml.seq, "a lease: ", why);
		return;
	}
	if (batch_add(ml.seq) == 0 && db_put_lease(db, &ml.rec) == -1)
		batch.failed = 1;
	if (batch.count >= BATCH_MAX)
		batch_end();
}

static void
store_node(struct msglink *l, struct msg *m)
{
	struct msg_store_node mn;
	const char *why;

	(void)l;
	memcpy(&mn, m->data, sizeof(mn));
	check_seq(mn.seq);
	if ((why = db_check_node(&mn.rec)) != NULL) {
		refuse(mn.seq, "the node's own: ", why);
		return;
	}
	if (batch_add(mn.seq) == 0 && db_put_node(db, &mn.rec) == -1)
		batch.failed = 1;
	if (batch.count >= BATCH_MAX)
		batch_end();
}

/*
 * The load
 */
static void
load_finish(struct msglink *l)
{
	struct msg_store_loaded ml;
	struct msg_store_node mn;
	int r;

	memset(&mn, 0, sizeof(mn));
	if ((r = db_node(db, &mn.rec)) == -1)
		fatalx("%s", db_error(db));
	if (r == 1)
		msg_put(l, MSG_STORE_NODE, &mn, sizeof(mn));
	memset(&ml, 0, sizeof(ml));
	ml.count = load.count;
	msg_put(l, MSG_STORE_LOADED, &ml, sizeof(ml));
	load.running = 0;
}

/*
 * As much as the parent takes; the rest when it has taken that. No cursor
 * stays open meanwhile, it would hold up transactions and the checkpoint.
 * A lease that was acknowledged must not be missing, so a row that is not to
 * be believed ends it all.
 */
static void
load_some(struct msglink *l)
{
	struct msg_store_lease ml;
	int r = 1;

	if (!load.running)
		return;
	batch_end();		/* only what is durable is told */
	memset(&ml, 0, sizeof(ml));
	db_load(db, load.after);
	while (!msglink_full(l) && (r = db_next(db, &ml.rec)) == 1) {
		load.count++;
		load.after = ml.rec.v4;
		msg_put(l, MSG_STORE_LEASE, &ml, sizeof(ml));
	}
	if (r == -1)
		fatalx("%s", db_error(db));
	db_load_end(db);
	if (r == 0)
		load_finish(l);
}

static void
store_load(struct msglink *l, struct msg *m)
{
	(void)m;
	if (load.running)
		fatalx("a load within a load");
	memset(&load, 0, sizeof(load));
	load.running = 1;
	load_some(l);
}

static void
store_ready(struct msglink *l, struct msg *m)
{
	(void)m;
	msg_put(l, MSG_READY, NULL, 0);
}

static const struct msg_rule	 rules[] = {
	{ MSG_VERBOSE, MSG_FROM(PROC_PRIV), sizeof(struct msg_verbose), 0, 0,
	    proc_verbose },
	{ MSG_CONF_END, MSG_FROM(PROC_PRIV), 0, 0, 0, store_ready },
	{ MSG_STORE_LOAD, MSG_FROM(PROC_PRIV), 0, 0, 0, store_load },
	{ MSG_STORE_PUT, MSG_FROM(PROC_PRIV), sizeof(struct msg_store_lease),
	    0, 0, store_put },
	{ MSG_STORE_NODE, MSG_FROM(PROC_PRIV), sizeof(struct msg_store_node),
	    0, 0, store_node },
};

/* The parent has ended: what it sent last is kept. */
static void
store_closed(struct msglink *l, const char *reason)
{
	batch_end();
	db_close(db);
	proc_closed(l, reason);
}

void
store_serve(struct event_base *base, int fd, struct db *d)
{
	db = d;
	if (event_base_priority_init(base, PRIORITIES) == -1 ||
	    (idle_event = event_new(base, -1, 0, idle, NULL)) == NULL ||
	    event_priority_set(idle_event, PRIORITY_IDLE) == -1)
		fatalx("cannot set up the event loop");
	priv_link = msglink_new(base, fd, PROC_PRIV, rules,
	    sizeof(rules) / sizeof(rules[0]), store_closed, NULL);
	msglink_on_drained(priv_link, load_some);
}
