/*
 * Durable grants per second: lease records through the store process (group
 * commit), with so many requests under way at a time; beside it, in the same
 * run and the same directory, its peers: one transaction for each record
 * in the same database, and one append with one fdatasync(2) for each record
 * to a plain file, which is the most that a disk gives without group commit.
 *
 * usage: grants [-d directory] [-r rounds] [-t milliseconds]
 */
#include <sys/types.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <arpa/inet.h>

#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "dstmd/dstmd.h"
#include "dstmd/msg.h"
#include "store/store.h"

#define POOL		65536	/* addresses, in turn */
#define ROUNDS_MAX	99

static char	 dir[128], db_path[160], raw_path[160];
static int64_t	 duration = 500;	/* ms of a measurement */
static uint64_t	 next_address;

static void
fill(struct lease_rec *r)
{
	uint32_t n = (uint32_t)(next_address++ % POOL);

	memset(r, 0, sizeof(*r));
	r->v4.s_addr = htonl(0x0a000000U + n);
	r->v6.s6_addr[0] = 0x20;
	memcpy(&r->v6.s6_addr[12], &n, sizeof(n));
	r->mech = MECH_SCRAM_SHA_256;
	r->state = REC_BOUND;
	r->since = now_wall();
	r->until = r->since + 3600;
	r->tep4.s_addr = htonl(0x0aff0001U);
	r->tep6.s6_addr[0] = 0x20;
	snprintf(r->name, sizeof(r->name), "user%u", n);
	strlcpy(r->tep, "local", sizeof(r->tep));
}

static struct db *
open_db(void)
{
	struct db *db;
	char why[512];

	if ((db = db_open(db_path, why, sizeof(why))) == NULL)
		errx(1, "%s: %s", db_path, why);
	return (db);
}

/*
 * The store process, and the parent that asks it
 */
static struct event_base	*base;
static struct msglink		*store;
static uint64_t			 sent, done;
static uint32_t			 window;
static int64_t			 end;

static void
feed(void)
{
	struct msg_store_lease m;

	if (now_ms() >= end) {
		if (done == sent)
			event_base_loopbreak(base);
		return;
	}
	while (sent - done < window) {
		memset(&m, 0, sizeof(m));
		m.seq = ++sent;
		fill(&m.rec);
		msg_put(store, MSG_STORE_PUT, &m, sizeof(m));
	}
}

static void
store_done(struct msglink *l, struct msg *m)
{
	struct msg_store_done md;

	(void)l;
	memcpy(&md, m->data, sizeof(md));
	done = md.seq;
	feed();
}

static void
store_ready(struct msglink *l, struct msg *m)
{
	(void)l;
	(void)m;
	event_base_loopbreak(base);
}

static void
store_fail(struct msglink *l, struct msg *m)
{
	(void)l;
	(void)m;
	errx(1, "the store could not write");
}

static void
store_closed(struct msglink *l, const char *reason)
{
	(void)l;
	errx(1, "the store has ended: %s", reason != NULL ? reason : "");
}

static const struct msg_rule	 rules[] = {
	{ MSG_READY, MSG_FROM(PROC_STORE), 0, 0, 0, store_ready },
	{ MSG_STORE_DONE, MSG_FROM(PROC_STORE), sizeof(struct msg_store_done),
	    0, 0, store_done },
	{ MSG_STORE_FAIL, MSG_FROM(PROC_STORE), sizeof(struct msg_store_done),
	    0, 0, store_fail },
};

static pid_t
store_start(void)
{
	struct event_base *b;
	pid_t pid;
	int sp[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sp) == -1)
		err(1, "socketpair");
	switch (pid = fork()) {
	case -1:
		err(1, "fork");
	case 0:
		close(sp[0]);
		msg_self(PROC_STORE);
		if ((b = event_base_new()) == NULL)
			errx(1, "event_base_new");
		store_serve(b, sp[1], open_db());
		event_base_dispatch(b);
		_exit(1);
	}
	close(sp[1]);
	if ((base = event_base_new()) == NULL)
		errx(1, "event_base_new");
	store = msglink_new(base, sp[0], PROC_STORE, rules,
	    sizeof(rules) / sizeof(rules[0]), store_closed, NULL);
	msg_put(store, MSG_CONF_END, NULL, 0);
	event_base_dispatch(base);
	return (pid);
}

static double
grants(uint32_t in_flight)
{
	int64_t begin, took;
	int status;
	pid_t pid;

	sent = done = 0;
	window = in_flight;
	pid = store_start();
	begin = now_ms();
	end = begin + duration;
	feed();
	event_base_dispatch(base);
	took = now_ms() - begin;
	msglink_free(store);
	event_base_free(base);
	if (waitpid(pid, &status, 0) == -1 || status != 0)
		errx(1, "the store ended with status %d", status);
	return ((double)done * 1000 / (double)took);
}

/*
 * The peers
 */
static double
each_transaction(uint32_t unused)
{
	struct lease_rec r;
	struct db *db = open_db();
	int64_t begin = now_ms(), took;
	uint64_t n = 0;

	(void)unused;
	while ((took = now_ms() - begin) < duration) {
		fill(&r);
		if (db_begin(db) == -1 || db_put_lease(db, &r) == -1 ||
		    db_commit(db) == -1)
			errx(1, "%s", db_error(db));
		if (db_log_pages(db) >= DB_LOG_PAGES && db_checkpoint(db) == -1)
			errx(1, "%s", db_error(db));
		n++;
	}
	db_close(db);
	return ((double)n * 1000 / (double)took);
}

static double
each_append(uint32_t unused)
{
	struct lease_rec r;
	int64_t begin, took;
	uint64_t n = 0;
	int fd;

	(void)unused;
	fd = open(raw_path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
	if (fd == -1)
		err(1, "%s", raw_path);
	begin = now_ms();
	while ((took = now_ms() - begin) < duration) {
		fill(&r);
		if (write(fd, &r, sizeof(r)) != (ssize_t)sizeof(r) ||
		    fdatasync(fd) == -1)
			err(1, "%s", raw_path);
		n++;
	}
	close(fd);
	return ((double)n * 1000 / (double)took);
}

/*
 * Rounds: each measures all, so that what disturbs one disturbs the others;
 * the median of the rounds counts.
 */
static struct figure {
	const char	*what;
	double		(*measure)(uint32_t);
	uint32_t	 arg;
	double		 rate[ROUNDS_MAX];
} figures[] = {
	{ "append + fdatasync for each record", each_append, 0, { 0 } },
	{ "one transaction for each record", each_transaction, 0, { 0 } },
	{ "store process, 1 under way", grants, 1, { 0 } },
	{ "store process, 16 under way", grants, 16, { 0 } },
	{ "store process, 256 under way", grants, 256, { 0 } },
	{ "store process, 4096 under way", grants, 4096, { 0 } },
};
#define NFIGURES	(sizeof(figures) / sizeof(figures[0]))

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x < y ? -1 : x > y);
}

static void
report(int rounds)
{
	size_t i;

	printf("Durable grants per second (median of %d rounds of %lld ms)\n",
	    rounds, (long long)duration);
	printf("%-36s %12s %12s %12s\n", "", "per second", "x append",
	    "x transact.");
	for (i = 0; i < NFIGURES; i++)
		qsort(figures[i].rate, (size_t)rounds, sizeof(double),
		    compare);
	for (i = 0; i < NFIGURES; i++)
		printf("%-36s %12.0f %12.2f %12.2f\n", figures[i].what,
		    figures[i].rate[rounds / 2], figures[i].rate[rounds / 2] /
		    figures[0].rate[rounds / 2], figures[i].rate[rounds / 2] /
		    figures[1].rate[rounds / 2]);
}

static void
remove_files(void)
{
	unlink(db_path);
	unlink(raw_path);
	rmdir(dir);
}

static long long
number(const char *text, long long most)
{
	const char *errstr;
	long long n;

	n = strtonum(text, 1, most, &errstr);
	if (errstr != NULL)
		errx(2, "%s is %s", text, errstr);
	return (n);
}

int
main(int argc, char *argv[])
{
	const char *parent = "/var/tmp";
	int ch, r, rounds = 5;
	size_t i;

	while ((ch = getopt(argc, argv, "d:r:t:")) != -1)
		switch (ch) {
		case 'd':
			parent = optarg;
			break;
		case 'r':
			rounds = (int)number(optarg, ROUNDS_MAX);
			break;
		case 't':
			duration = number(optarg, 60000);
			break;
		default:
			errx(2, "usage: grants [-d directory] [-r rounds] "
			    "[-t milliseconds]");
		}
	log_init("grants", LOG_TO_STDERR, 0);
	signal(SIGPIPE, SIG_IGN);
	snprintf(dir, sizeof(dir), "%s/dstmd-bench.XXXXXX", parent);
	if (mkdtemp(dir) == NULL)
		err(1, "%s", dir);
	snprintf(db_path, sizeof(db_path), "%s/dstmd.db", dir);
	snprintf(raw_path, sizeof(raw_path), "%s/raw", dir);
	db_init();
	for (r = 0; r < rounds; r++)
		for (i = 0; i < NFIGURES; i++)
			figures[i].rate[r] =
			    figures[i].measure(figures[i].arg);
	remove_files();
	report(rounds);
	return (0);
}
