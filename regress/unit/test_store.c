/* LINK: store/db.o store/serve.o dstmd/msg.o dstmd/proc.o dstmd/sandbox.o dstmd/sandbox-linux.o dstmd/sandbox-table.o dstmd/log.o dstmd/clock.o dstmd/procname.o dstmd/mech.o dstmd/addr.o regress/unit/records.o regress/unit/disk.o */
/* LIBS: -lsqlite3 */
/*
 * The store process as its parent sees it: a real process, on real files,
 * without its sandbox.
 */
#include <sys/types.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <arpa/inet.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "dstmd/dstmd.h"
#include "dstmd/msg.h"
#include "regress/unit/disk.h"
#include "regress/unit/records.h"

struct parent {
	struct msglink	*link;
	pid_t		 pid;
	int		 ready, closed, ndone, nfail;
	uint64_t	 sent, done;
	struct msg_store_done fail;
	int		 nload, loaded, has_node;
	uint64_t	 count;
	uint32_t	 versions[NREC];
	struct node_rec	 node;
};

static struct event_base *base;
static struct parent	 p;

static void
p_ready(struct msglink *l, struct msg *m)
{
	(void)l;
	(void)m;
	p.ready++;
}

static void
p_lease(struct msglink *l, struct msg *m)
{
	struct msg_store_lease ml;
	struct lease_rec want;

	(void)l;
	memcpy(&ml, m->data, sizeof(ml));
	assert_int_equal(ml.seq, 0);
	assert_int_equal(p.loaded, 0);
	want = make(number(&ml.rec), version(&ml.rec));
	assert_memory_equal(&ml.rec, &want, sizeof(want));
	if (number(&ml.rec) < NREC)
		p.versions[number(&ml.rec)] = version(&ml.rec);
	p.nload++;
}

static void
p_node(struct msglink *l, struct msg *m)
{
	struct msg_store_node mn;

	(void)l;
	memcpy(&mn, m->data, sizeof(mn));
	assert_int_equal(p.loaded, 0);
	p.node = mn.rec;
	p.has_node++;
}

static void
p_loaded(struct msglink *l, struct msg *m)
{
	struct msg_store_loaded ml;

	(void)l;
	memcpy(&ml, m->data, sizeof(ml));
	p.count = ml.count;
	p.loaded++;
}

static void
p_done(struct msglink *l, struct msg *m)
{
	struct msg_store_done md;

	(void)l;
	memcpy(&md, m->data, sizeof(md));
	assert_true(md.seq > p.done && md.seq <= p.sent);
	p.done = md.seq;
	p.ndone++;
}

static void
p_fail(struct msglink *l, struct msg *m)
{
	(void)l;
	memcpy(&p.fail, m->data, sizeof(p.fail));
	assert_int_equal(p.fail.seq, p.done + 1);
	assert_true(p.fail.seq_last >= p.fail.seq);
	assert_true(p.fail.seq_last <= p.sent);
	p.done = p.fail.seq_last;
	p.nfail++;
}

static void
p_closed(struct msglink *l, const char *reason)
{
	(void)reason;
	msglink_free(l);
	p.link = NULL;
	p.closed = 1;
}

#define FROM_STORE	MSG_FROM(PROC_STORE)
static const struct msg_rule	 p_rules[] = {
	{ MSG_READY, FROM_STORE, 0, 0, 0, p_ready },
	{ MSG_STORE_LEASE, FROM_STORE, sizeof(struct msg_store_lease), 0, 0,
	    p_lease },
	{ MSG_STORE_NODE, FROM_STORE, sizeof(struct msg_store_node), 0, 0,
	    p_node },
	{ MSG_STORE_LOADED, FROM_STORE, sizeof(struct msg_store_loaded), 0, 0,
	    p_loaded },
	{ MSG_STORE_DONE, FROM_STORE, sizeof(struct msg_store_done), 0, 0,
	    p_done },
	{ MSG_STORE_FAIL, FROM_STORE, sizeof(struct msg_store_done), 0, 0,
	    p_fail },
};

static void
store_process(int fd)
{
	struct event_base *b;
	struct db *db;
	char err[512];
	int null;

	signal(SIGXFSZ, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	/* What it says is expected. */
	if ((null = open("/dev/null", O_WRONLY)) == -1 ||
	    dup2(null, STDERR_FILENO) == -1)
		_exit(3);
	msg_self(PROC_STORE);
	if ((b = event_base_new()) == NULL ||
	    (db = db_open(path, err, sizeof(err))) == NULL)
		_exit(4);
	store_serve(b, fd, db);
	event_base_dispatch(b);
	_exit(5);
}

static void
store_start(void)
{
	int sp[2];

	memset(&p, 0, sizeof(p));
	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK |
	    SOCK_CLOEXEC, 0, sp), errno);
	fflush(NULL);
	if ((p.pid = fork()) == 0) {
		close(sp[0]);
		store_process(sp[1]);
	}
	close(sp[1]);
	p.link = msglink_new(base, sp[0], PROC_STORE, p_rules,
	    sizeof(p_rules) / sizeof(p_rules[0]), p_closed, NULL);
}

/* Its exit status; it ends because the link does, or by itself. */
static int
store_end(void)
{
	int status;

	msglink_flush(p.link, 2000);
	msglink_free(p.link);
	p.link = NULL;
	assert_int_equal(waitpid(p.pid, &status, 0), p.pid);
	return (status);
}

/* The loop, until *what is at least so much; 0 too late. */
static int
until(const int *what, int least)
{
	int64_t end = now_ms() + 10000;
	struct timeval tv = { 0, 50000 };

	while (*what < least && now_ms() < end) {
		event_base_loopexit(base, &tv);
		event_base_loop(base, EVLOOP_ONCE);
	}
	return (*what >= least);
}

static void
until_done(uint64_t seq)
{
	int64_t end = now_ms() + 20000;
	struct timeval tv = { 0, 50000 };

	while (p.done < seq && !p.closed) {
		if (now_ms() > end)
			fail_msg("no answer to %llu", (unsigned long long)seq);
		event_base_loopexit(base, &tv);
		event_base_loop(base, EVLOOP_ONCE);
	}
}

static void
send_put(uint32_t n, uint32_t v)
{
	struct msg_store_lease ml;

	memset(&ml, 0, sizeof(ml));
	ml.seq = ++p.sent;
	ml.rec = make(n, v);
	msg_put(p.link, MSG_STORE_PUT, &ml, sizeof(ml));
}

static void
send_node(uint64_t seq, int64_t end)
{
	struct msg_store_node mn;

	memset(&mn, 0, sizeof(mn));
	mn.seq = seq;
	mn.rec.valid = end != 0;
	mn.rec.v4.s_addr = htonl(0xc6336405U);
	mn.rec.until = end;
	msg_put(p.link, MSG_STORE_NODE, &mn, sizeof(mn));
}

static void
send_load(void)
{
	msg_put(p.link, MSG_STORE_LOAD, NULL, 0);
}

static int
serve_setup(void **state)
{
	signal(SIGPIPE, SIG_IGN);
	if ((base = event_base_new()) == NULL)
		return (-1);
	return (setup(state));
}

static int
serve_teardown(void **state)
{
	if (p.link != NULL) {
		msglink_free(p.link);
		p.link = NULL;
	}
	event_base_free(base);
	return (teardown(state));
}

static void
test_serve(void **state)
{
	uint32_t i;

	(void)state;
	store_start();
	msg_put(p.link, MSG_CONF_END, NULL, 0);
	send_load();
	assert_true(until(&p.loaded, 1));
	assert_int_equal(p.ready, 1);
	assert_int_equal(p.count, 0);
	assert_int_equal(p.has_node, 0);
	for (i = 0; i < 500; i++)
		send_put(i, 1);
	send_node(0, 77);
	p.sent++;
	send_node(p.sent, 78);
	until_done(501);
	assert_int_equal(p.done, 501);
	assert_int_equal(p.nfail, 0);
	/* They shared their syncs. */
	assert_in_range(p.ndone, 1, 10);
	assert_int_equal(store_end(), 0);

	store_start();
	p.loaded = 0;
	send_load();
	assert_true(until(&p.loaded, 1));
	assert_int_equal(p.nload, 500);
	assert_int_equal(p.count, 500);
	assert_int_equal(p.has_node, 1);
	assert_int_equal(p.node.until, 78);
	/* Again, after it, and with records that it has not answered yet. */
	p.loaded = p.nload = 0;
	send_put(3, 9);
	send_load();
	assert_true(until(&p.loaded, 1));
	assert_int_equal(p.nload, 500);
	assert_int_equal(p.versions[3], 9);
	assert_int_equal(p.done, 1);
	assert_int_equal(store_end(), 0);
}

/* What was sent and not answered when the parent goes is kept. */
static void
test_serve_end(void **state)
{
	uint32_t i;

	(void)state;
	store_start();
	for (i = 0; i < 50; i++)
		send_put(i, 1);
	assert_int_equal(store_end(), 0);
	store_start();
	send_load();
	assert_true(until(&p.loaded, 1));
	assert_int_equal(p.nload, 50);
	assert_int_equal(store_end(), 0);
}

/* More than a link may hold, to a parent that does not read at first. */
static void
test_serve_big_load(void **state)
{
	struct lease_rec r;
	struct db *db;
	uint32_t i;

	(void)state;
	db = must_open(path);
	assert_return_code(db_begin(db), 0);
	for (i = 0; i < 40000; i++) {
		r = make(i, 1);
		assert_return_code(db_put_lease(db, &r), 0);
	}
	assert_string_equal(db_commit(db) == -1 ? db_error(db) : "", "");
	db_close(db);
	assert_true(40000 * sizeof(struct msg_store_lease) > MSG_QUEUE_MAX);
	store_start();
	send_load();
	assert_return_code(msglink_flush(p.link, 1000), 0);
	usleep(300000);
	assert_true(until(&p.loaded, 1));
	assert_int_equal(p.nload, 40000);
	assert_int_equal(p.count, 40000);
	assert_int_equal(store_end(), 0);
}

/* Records that come while a load is under way. */
static void
test_serve_put_in_load(void **state)
{
	uint32_t i;

	(void)state;
	store_start();
	for (i = 0; i < NREC; i++)
		send_put(i, 1);
	send_load();
	for (i = 0; i < 100; i++)
		send_put(i, 2);
	until_done(NREC + 100);
	assert_true(until(&p.loaded, 1));
	assert_int_equal(p.nload, NREC);
	assert_int_equal(store_end(), 0);
}

static void
test_serve_bad_seq(void **state)
{
	(void)state;
	store_start();
	p.sent = 40;
	send_put(1, 1);		/* a restarted store: any first number */
	until_done(41);
	p.sent++;
	send_put(2, 1);
	assert_true(until(&p.closed, 1));
	assert_int_equal(store_end(), 1 << 8);

	store_start();
	p.sent = UINT64_MAX;
	send_put(1, 1);		/* number 0 */
	assert_true(until(&p.closed, 1));
	assert_int_equal(store_end(), 1 << 8);

	store_start();
	msg_put(p.link, MSG_STORE_DONE, NULL, 0);
	assert_true(until(&p.closed, 1));
	assert_int_equal(store_end(), 1 << 8);
}

/* One that can not be believed fails alone. */
static void
test_serve_bad_record(void **state)
{
	struct msg_store_lease ml;
	uint32_t i;

	(void)state;
	store_start();
	for (i = 0; i < 10; i++)
		send_put(i, 1);
	memset(&ml, 0, sizeof(ml));
	ml.seq = ++p.sent;
	ml.rec = make(50, 1);
	memset(ml.rec.name, 'a', sizeof(ml.rec.name));
	msg_put(p.link, MSG_STORE_PUT, &ml, sizeof(ml));
	for (i = 10; i < 20; i++)
		send_put(i, 1);
	send_node(0, -1);
	until_done(21);
	assert_int_equal(p.nfail, 1);
	assert_int_equal(p.fail.seq, 11);
	assert_int_equal(p.fail.seq_last, 11);
	assert_int_equal(p.fail.error, EINVAL);
	send_load();
	assert_true(until(&p.loaded, 1));
	assert_int_equal(p.nload, 20);
	assert_int_equal(p.has_node, 0);
	assert_int_equal(store_end(), 0);
}

static void
test_serve_full(void **state)
{
	struct rlimit old, low;
	uint32_t i;
	uint64_t good, before;

	(void)state;
	store_start();
	send_put(0, 1);
	until_done(1);
	assert_return_code(prlimit(p.pid, RLIMIT_FSIZE, NULL, &old), errno);
	low = old;
	low.rlim_cur = 128 * 1024;
	assert_return_code(prlimit(p.pid, RLIMIT_FSIZE, &low, NULL), errno);
	for (i = 1; p.nfail == 0 && i < 500; i++) {
		send_put(i, 1);
		until_done(p.sent);
	}
	assert_int_equal(p.nfail, 1);
	assert_int_equal(p.fail.error, EFBIG);
	good = p.fail.seq - 1;
	/* A run fails as one; it lives on. */
	before = p.sent;
	for (i = 600; i < 700; i++)
		send_put(i, 1);
	until_done(p.sent);
	assert_int_equal(p.closed, 0);
	assert_int_equal(p.fail.seq_last, before + 100);
	assert_return_code(prlimit(p.pid, RLIMIT_FSIZE, &old, NULL), errno);
	before = (uint64_t)p.nfail;
	send_put(800, 1);
	until_done(p.sent);
	assert_int_equal(p.nfail, before);
	send_load();
	assert_true(until(&p.loaded, 1));
	assert_int_equal(p.nload, good + 1);
	assert_int_equal(p.versions[800], 1);
	assert_int_equal(p.versions[600], 0);
	assert_int_equal(store_end(), 0);
}

/* A sync that fails: no answer, and the process ends. */
static void
test_serve_bad_sync(void **state)
{
	(void)state;
	disk_setup(NULL);
	bad_sync = 12;
	store_start();
	for (;;) {
		send_put((uint32_t)p.sent, 1);
		until_done(p.sent);
		if (p.closed || p.sent > 100)
			break;
	}
	assert_true(p.closed);
	assert_int_equal(p.nfail, 0);
	assert_int_equal(p.done, p.sent - 1);
	assert_int_equal(store_end(), 1 << 8);
	disk_teardown(NULL);
}

/* SIGKILL in the middle of commits: what was acknowledged is there. */
static void
test_kill(void **state)
{
	uint32_t acked[NREC], tried[NREC], versions[NREC], v = 0, n, i;
	uint32_t of_seq[64 * 1024], v_of_seq[64 * 1024];
	int64_t begin, end, after;
	uint64_t seen, total = 0;
	struct db *db;
	int cycle;

	(void)state;
	memset(acked, 0, sizeof(acked));
	memset(tried, 0, sizeof(tried));
	for (cycle = 0; cycle < 50; cycle++) {
		store_start();
		after = 3 + (int64_t)arc4random_uniform(30);
		begin = now_ms();
		end = begin + after;
		seen = 0;
		while (now_ms() < end && p.sent < 64 * 1024 - 200) {
			/* Every other one is killed when it has done some. */
			if (cycle % 2 != 0 && p.done == 0 &&
			    now_ms() - begin < 10000)
				end = now_ms() + after;
			for (i = msglink_full(p.link) ? 0 : 1 + arc4random_uniform(100); i > 0; i--) {
				n = arc4random_uniform(NREC);
				tried[n] = ++v;
				send_put(n, v);
				of_seq[p.sent] = n;
				v_of_seq[p.sent] = v;
			}
			event_base_loop(base, EVLOOP_NONBLOCK);
		}
		kill(p.pid, SIGKILL);
		assert_true(until(&p.closed, 1));
		assert_int_equal(store_end(), SIGKILL);
		assert_int_equal(p.nfail, 0);
		for (; seen < p.done; seen++)
			acked[of_seq[seen + 1]] = v_of_seq[seen + 1];
		total += p.done;
		db = must_open(path);
		(void)load_all(db, versions);
		db_close(db);
		for (i = 0; i < NREC; i++) {
			if (versions[i] < acked[i] || versions[i] > tried[i])
				fail_msg("cycle %d: %u has version %u, "
				    "acknowledged %u, tried %u", cycle, i,
				    versions[i], acked[i], tried[i]);
			acked[i] = versions[i];
		}
	}
	assert_true(total >= 25);
}

#define T(test)	cmocka_unit_test_setup_teardown(test, serve_setup,	\
	serve_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_serve),
		T(test_serve_end),
		T(test_serve_big_load),
		T(test_serve_put_in_load),
		T(test_serve_bad_seq),
		T(test_serve_bad_record),
		T(test_serve_full),
		T(test_serve_bad_sync),
		T(test_kill),
	};

	log_init("test_store", LOG_TO_STDERR, getenv("V") != NULL);
	db_init();
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
