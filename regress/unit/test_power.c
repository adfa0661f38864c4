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
		T(test_bad_sync),
	};

	log_init("test_power", LOG_TO_STDERR, getenv("V") != NULL);
	db_init();
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
