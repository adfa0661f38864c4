/* LINK: store/db.o dstmd/log.o dstmd/clock.o dstmd/procname.o dstmd/mech.o dstmd/addr.o regress/unit/records.o regress/unit/disk.o */
/* LIBS: -lsqlite3 */
/* What the store has acknowledged, after the power failed at any moment. */
#include <sys/types.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "regress/unit/disk.h"
#include "regress/unit/records.h"

/* What may be in the database: at least .acked, at most .tried. */
static struct {
	uint32_t	 acked, tried;
} truth[NREC];

#define DISK_RECS	60

/* One transaction of the next versions of a few records. */
static int
random_commit(struct db *db)
{
	uint32_t i, n, picked[8], npicked = 1 + arc4random_uniform(8);
	struct lease_rec r;

	if (db_begin(db) == -1)
		return (-1);
	for (i = 0; i < npicked; i++) {
		picked[i] = n = arc4random_uniform(DISK_RECS);
		r = make(n, ++truth[n].tried);
		if (db_put_lease(db, &r) == -1)
			return (-1);
	}
	if (db_commit(db) == -1)
		return (-1);
	for (i = 0; i < npicked; i++)
		truth[picked[i]].acked = truth[picked[i]].tried;
	if (db_log_pages(db) > 20 && db_checkpoint(db) == -1)
		return (-1);
	return (0);
}

static void
check_truth(struct db *db)
{
	uint32_t versions[NREC], i;

	(void)load_all(db, versions);
	for (i = 0; i < DISK_RECS; i++) {
		if (versions[i] < truth[i].acked ||
		    versions[i] > truth[i].tried)
			fail_msg("record %u: version %u, acknowledged %u, "
			    "tried %u", i, versions[i], truth[i].acked,
			    truth[i].tried);
		/* What was read once may not vanish later. */
		truth[i].acked = truth[i].tried = versions[i];
	}
}

static void
test_power(void **state)
{
	struct db *db;
	char err[512];
	int cycle, commits = 0, opened = 0;

	(void)state;
	memset(truth, 0, sizeof(truth));
	for (cycle = 0; cycle < 1500; cycle++) {
		power = 1 + (long)arc4random_uniform(150);
		if ((db = db_open(path, err, sizeof(err))) != NULL) {
			opened++;
			check_truth(db);
			while (random_commit(db) == 0)
				commits++;
			if (power != 0)
				fail_msg("%s", db_error(db));
			db_close(db);
		} else if (power != 0)
			fail_msg("%s", err);
		disk_crash();
	}
	assert_true(opened > 500);
	assert_true(commits > 5000);
	db = must_open(path);
	check_truth(db);
	db_close(db);
}

/*
 * From the first write of a new database, through commits, a checkpoint and
 * the end: the power fails at every single one in turn, with what of the rest
 * of the cache by chance is on the disk, in sectors. Then at every one of the
 * start that follows.
 */
#define EVERY_COMMITS	12
#ifdef SANITIZER
#define EVERY_TIMES	2
#define EVERY_FIRST	10		/* of these, one cut again */
#else
#define EVERY_TIMES	8
#define EVERY_FIRST	1
#endif

static void
every_life(struct db *db)
{
	int i;

	for (i = 0; i < EVERY_COMMITS; i++)
		if (random_commit(db) == -1 || (i == EVERY_COMMITS / 2 &&
		    db_checkpoint(db) == -1))
			break;
	if (power != 0 && i < EVERY_COMMITS)
		fail_msg("%s", db_error(db));
	db_close(db);
}

/* 1 where the power did not fail: there are not so many writes. */
static int
every_cut(long first, long second)
{
	struct db *db;
	char err[512];
	int whole;

	(void)disk_teardown(NULL);
	(void)disk_setup(NULL);
	memset(truth, 0, sizeof(truth));
	power = first;
	if ((db = db_open(path, err, sizeof(err))) != NULL)
		every_life(db);
	else if (power != 0)
		fail_msg("cut at %ld: %s", first, err);
	whole = power != 0;
	disk_crash();
	if (second != 0) {
		power = second;
		if ((db = db_open(path, err, sizeof(err))) != NULL) {
			check_truth(db);
			db_close(db);
		} else if (power != 0)
			fail_msg("cuts at %ld, %ld: %s", first, second, err);
		whole = power != 0;
		disk_crash();
	}
	if ((db = db_open(path, err, sizeof(err))) == NULL)
		fail_msg("cuts at %ld, %ld: %s", first, second, err);
	check_truth(db);
	db_close(db);
	return (whole);
}

static void
test_every_write(void **state)
{
	long first, second, most = 0;
	int i, whole = 0;

	(void)state;
	for (first = 1; whole < EVERY_TIMES; first++)
		for (whole = i = 0; i < EVERY_TIMES; i++)
			whole += every_cut(first, 0);
	for (i = 1; i < first; i += EVERY_FIRST) {
		for (second = 1; !every_cut(i, second); second++)
			;
		if (second > most)
			most = second;
	}
	print_message("%ld writes and syncs, then at most %ld of a start\n",
	    first - 1, most);
	assert_true(first > 60 && most > 5);
}

/*
 * The process ends at a sync that fails, the next one goes on; then the
 * power fails.
 */
static void
test_bad_sync(void **state)
{
	struct db *db;
	char err[512];
	int cycle, lost = 0;

	(void)state;
	memset(truth, 0, sizeof(truth));
	db_close(must_open(path));
	for (cycle = 0; cycle < 1000; cycle++) {
		db = must_open(path);
		check_truth(db);
		bad_sync = 1 + (long)arc4random_uniform(30);
		while (random_commit(db) == 0)
			;
		assert_int_equal(bad_sync, 0);
		assert_true(db_lost(db));
		lost++;
		power = 0;		/* exit(2): not a single write */
		db_close(db);
		power = -1;
		/* The next process, perhaps with another bad sync. */
		if (arc4random_uniform(2) == 0) {
			bad_sync = 1;
			db = db_open(path, err, sizeof(err));
			assert_null(db);
			bad_sync = 0;
		}
		db = must_open(path);
		check_truth(db);
		power = 0;
		db_close(db);
		disk_crash();
	}
	assert_int_equal(lost, 1000);
	db = must_open(path);
	check_truth(db);
	db_close(db);
}

#define T(test)	cmocka_unit_test_setup_teardown(test, disk_setup,	\
	disk_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_power),
		T(test_every_write),
		T(test_bad_sync),
	};

	log_init("test_power", LOG_TO_STDERR, getenv("V") != NULL);
	db_init();
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
