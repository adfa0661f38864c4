/* Leases for tests of the store, and its file. */
#include <sys/types.h>

#include <arpa/inet.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "regress/unit/records.h"

char		 dir[64], path[128];
static pid_t	 test_pid;

struct lease_rec
make(uint32_t n, uint32_t v)
{
	struct lease_rec r;

	memset(&r, 0, sizeof(r));
	r.v4.s_addr = htonl(0xc6336400U + n);
	r.v6.s6_addr[0] = 0x20;
	memcpy(&r.v6.s6_addr[8], &n, sizeof(n));
	memcpy(&r.v6.s6_addr[12], &v, sizeof(v));
	r.mech = MECH_SCRAM_SHA_256;
	r.state = REC_BOUND + v % 3;
	r.since = 1000000 + n;
	r.until = 2000000 + (int64_t)v;
	r.tep4.s_addr = htonl(0xc6336301U);
	r.tep6.s6_addr[0] = 0x20;
	snprintf(r.name, sizeof(r.name), "user%u.%u", n, v);
	strlcpy(r.tep, "local", sizeof(r.tep));
	return (r);
}

uint32_t
number(const struct lease_rec *r)
{
	return (ntohl(r->v4.s_addr) - 0xc6336400U);
}

uint32_t
version(const struct lease_rec *r)
{
	return ((uint32_t)(r->until - 2000000));
}

struct db *
must_open(const char *p)
{
	struct db *db;
	char err[512];

	if ((db = db_open(p, err, sizeof(err))) == NULL)
		fail_msg("%s: %s", p, err);
	return (db);
}

int
put_one(struct db *db, uint32_t n, uint32_t v)
{
	struct lease_rec r = make(n, v);

	if (db_begin(db) == -1 || db_put_lease(db, &r) == -1 ||
	    db_commit(db) == -1) {
		db_rollback(db);
		return (-1);
	}
	return (0);
}

/* All records, each exact; versions[n], 0: none. Their count. */
int
load_all(struct db *db, uint32_t *versions)
{
	struct in_addr after = { 0 };
	struct lease_rec r, want;
	uint32_t last = 0;
	int count = 0, more;

	memset(versions, 0, NREC * sizeof(*versions));
	db_load(db, after);
	while ((more = db_next(db, &r)) == 1) {
		assert_true(number(&r) < NREC);
		assert_true(ntohl(r.v4.s_addr) > last);
		last = ntohl(r.v4.s_addr);
		want = make(number(&r), version(&r));
		assert_memory_equal(&r, &want, sizeof(r));
		versions[number(&r)] = version(&r);
		count++;
	}
	if (more == -1)
		fail_msg("%s", db_error(db));
	db_load_end(db);
	return (count);
}

int
setup(void **state)
{
	(void)state;
	test_pid = getpid();
	strlcpy(dir, "/tmp/dstmtest-db.XXXXXX", sizeof(dir));
	if (mkdtemp(dir) == NULL)
		return (-1);
	snprintf(path, sizeof(path), "%s/dstmd.db", dir);
	return (0);
}

int
teardown(void **state)
{
	static const char *const names[] = {
		"dstmd.db", "dstmd.db-wal", "dstmd.db-journal", "dstmd.db-shm"
	};
	char name[160];
	size_t i;

	(void)state;
	/* A child that failed must not go on with the tests. */
	if (getpid() != test_pid)
		_exit(9);
	chmod(dir, 0700);
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(name, sizeof(name), "%s/%s", dir, names[i]);
		unlink(name);
	}
	return (rmdir(dir));
}

