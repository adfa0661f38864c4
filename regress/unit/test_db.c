/* LINK: store/db.o dstmd/log.o dstmd/clock.o dstmd/procname.o dstmd/mech.o dstmd/addr.o regress/unit/records.o */
/* LIBS: -lsqlite3 */
/* The database of the store, on real files. */
#include <sys/types.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <arpa/inet.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "regress/unit/records.h"

static void
must_refuse(const char *p, const char *why)
{
	struct db *db;
	char err[512];

	if ((db = db_open(p, err, sizeof(err))) != NULL) {
		db_close(db);
		fail_msg("opened, though: %s", why);
	}
	if (strstr(err, why) == NULL)
		fail_msg("refused with \"%s\", not \"%s\"", err, why);
	assert_null(strchr(err, '\n'));
}

/* A statement on the file, past our own code. */
static void
sql(const char *text)
{
	sqlite3 *s;
	char *err = NULL;

	assert_int_equal(sqlite3_open(path, &s), SQLITE_OK);
	if (sqlite3_exec(s, text, NULL, NULL, &err) != SQLITE_OK)
		fail_msg("%s: %s", text, err);
	sqlite3_close(s);
}

static void
scribble(const char *p, long offset, const char *text)
{
	int fd;

	assert_return_code(fd = open(p, O_WRONLY | O_CREAT, 0600), errno);
	assert_int_equal(pwrite(fd, text, strlen(text), offset), strlen(text));
	close(fd);
}

static off_t
file_size(const char *p)
{
	struct stat st;

	return (lstat(p, &st) == -1 ? -1 : st.st_size);
}

/*
 * The database
 */
static void
test_put_load(void **state)
{
	uint32_t versions[NREC], i;
	struct lease_rec r;
	struct db *db;

	(void)state;
	db = must_open(path);
	assert_int_equal(load_all(db, versions), 0);
	assert_return_code(db_begin(db), 0);
	for (i = 0; i < NREC; i++) {
		r = make(NREC - 1 - i, 1);
		assert_return_code(db_put_lease(db, &r), 0);
	}
	assert_string_equal(db_commit(db) == -1 ? db_error(db) : "", "");
	assert_int_equal(load_all(db, versions), NREC);
	for (i = 0; i < 10; i++)
		assert_return_code(put_one(db, i, 7), 0);
	assert_int_equal(load_all(db, versions), NREC);
	assert_int_equal(versions[9], 7);
	assert_int_equal(versions[10], 1);
	db_close(db);

	db = must_open(path);
	assert_int_equal(load_all(db, versions), NREC);
	assert_int_equal(versions[9], 7);
	assert_int_equal(versions[10], 1);
	db_close(db);
	assert_int_equal(file_size("dstmd.db-wal"), -1);
}

static void
test_load_from(void **state)
{
	struct lease_rec r;
	struct db *db;
	uint32_t i;

	(void)state;
	db = must_open(path);
	for (i = 0; i < 5; i++)
		assert_return_code(put_one(db, i, 1), 0);
	r = make(2, 1);
	db_load(db, r.v4);
	assert_int_equal(db_next(db, &r), 1);
	assert_int_equal(number(&r), 3);
	db_load_end(db);
	/* No cursor is left: these would wait for it. */
	assert_return_code(put_one(db, 3, 2), 0);
	assert_return_code(db_checkpoint(db), 0);
	assert_int_equal(db_log_pages(db), 0);
	r = make(4, 1);
	db_load(db, r.v4);
	assert_int_equal(db_next(db, &r), 0);
	db_load_end(db);
	db_close(db);
}

static void
test_extremes(void **state)
{
	struct in_addr none = { 0 };
	struct lease_rec r, back;
	struct db *db;

	(void)state;
	db = must_open(path);
	memset(&r, 0, sizeof(r));
	r.v4.s_addr = htonl(0xdfffffffU);
	memset(&r.v6, 0x3f, sizeof(r.v6));
	r.mech = MECH_ANONYMOUS;
	r.state = REC_CLOSED;
	r.since = 0;
	r.until = (int64_t)1 << 40;
	r.tep4.s_addr = 0xffffffffU;
	memset(&r.tep6, 0xff, sizeof(r.tep6));
	strlcpy(r.name, "anonymous", sizeof(r.name));
	memset(r.tep, 'x', NAME_MAX_LEN);
	assert_null(db_check_lease(&r));
	assert_return_code(db_begin(db), 0);
	assert_return_code(db_put_lease(db, &r), 0);
	assert_string_equal(db_commit(db) == -1 ? db_error(db) : "", "");
	db_load(db, none);
	assert_int_equal(db_next(db, &back), 1);
	assert_memory_equal(&r, &back, sizeof(r));
	assert_int_equal(db_next(db, &back), 0);
	db_close(db);
}

static void
test_check(void **state)
{
	struct lease_rec good = make(1, 1), r;
	struct node_rec n;

	(void)state;
#define BAD(change) do {						\
		r = good;						\
		change;							\
		assert_non_null(db_check_lease(&r));			\
	} while (0)
	assert_null(db_check_lease(&good));
	BAD(r.v4.s_addr = 0);
	BAD(r.v4.s_addr = htonl(0xe0000001U));
	BAD(memset(&r.v6, 0, sizeof(r.v6)));
	BAD(r.v6.s6_addr[0] = 0xff);
	BAD(r.mech = 0);
	BAD(r.mech = MECH_SCRAM_SHA_256 | MECH_ANONYMOUS);
	BAD(r.mech = MECH_ANONYMOUS);
	BAD(r.state = 0);
	BAD(r.state = REC_CLOSED + 1);
	BAD(r.since = -1);
	BAD(r.until = -1);
	BAD(r.until = INT64_MAX);
	BAD(r.name[0] = '\0');
	BAD(strlcpy(r.name, "a b", sizeof(r.name)));
	BAD(strlcpy(r.name, "anonymous", sizeof(r.name)));
	BAD(memset(r.name, 'a', sizeof(r.name)));
	BAD(memset(r.tep, 'a', sizeof(r.tep)));
	BAD(r.tep[0] = '\0');
	BAD(r.tep[0] = '\n');
#undef BAD
	memset(&n, 0, sizeof(n));
	assert_null(db_check_node(&n));
	n.valid = 1;
	assert_non_null(db_check_node(&n));
	n.v4.s_addr = htonl(0xc6336401U);
	assert_null(db_check_node(&n));
	n.until = -1;
	assert_non_null(db_check_node(&n));
}

static void
test_node(void **state)
{
	struct node_rec r, back;
	struct db *db;
	int i;

	(void)state;
	db = must_open(path);
	assert_int_equal(db_node(db, &back), 0);
	memset(&r, 0, sizeof(r));
	r.valid = 1;
	for (i = 1; i <= 3; i++) {
		r.v4.s_addr = htonl(0xc6336400U + (uint32_t)i);
		r.until = 100 * i;
		assert_return_code(db_begin(db), 0);
		assert_return_code(db_put_node(db, &r), 0);
		assert_string_equal(db_commit(db) == -1 ? db_error(db) : "", "");
	}
	db_close(db);
	db = must_open(path);
	assert_int_equal(db_node(db, &back), 1);
	assert_memory_equal(&r, &back, sizeof(r));
	r.valid = 0;
	assert_return_code(db_begin(db), 0);
	assert_return_code(db_put_node(db, &r), 0);
	assert_string_equal(db_commit(db) == -1 ? db_error(db) : "", "");
	assert_int_equal(db_node(db, &back), 0);
	assert_int_equal(back.valid, 0);
	db_close(db);
}

static void
test_rollback(void **state)
{
	uint32_t versions[NREC];
	struct lease_rec r;
	struct db *db;

	(void)state;
	db = must_open(path);
	assert_return_code(put_one(db, 1, 1), 0);
	assert_return_code(db_begin(db), 0);
	r = make(1, 2);
	assert_return_code(db_put_lease(db, &r), 0);
	r = make(2, 1);
	assert_return_code(db_put_lease(db, &r), 0);
	db_rollback(db);
	db_rollback(db);
	assert_false(db_lost(db));
	assert_int_equal(load_all(db, versions), 1);
	assert_int_equal(versions[1], 1);
	/* What the schema does not take fails alone, and is known. */
	assert_return_code(db_begin(db), 0);
	r.state = 9;
	assert_int_equal(db_put_lease(db, &r), -1);
	assert_int_equal(db_errno(db), EINVAL);
	assert_false(db_lost(db));
	db_rollback(db);
	assert_return_code(put_one(db, 2, 5), 0);
	assert_int_equal(load_all(db, versions), 2);
	db_close(db);
}

/* The log is used again from its start: it does not grow for ever. */
static void
test_log_bound(void **state)
{
	char log[160];
	struct db *db;
	uint32_t i;
	off_t size = 0;

	(void)state;
	snprintf(log, sizeof(log), "%s-wal", path);
	db = must_open(path);
	for (i = 0; i < 400; i++) {
		assert_return_code(put_one(db, i % NREC, 1), 0);
		if (db_log_pages(db) >= 50) {
			assert_return_code(db_checkpoint(db), 0);
			assert_int_equal(db_log_pages(db), 0);
			if (size == 0)
				size = file_size(log);
		}
	}
	assert_true(size > 0);
	assert_int_equal(file_size(log), size);
	db_close(db);
}

static void
test_mode(void **state)
{
	struct stat st;
	mode_t old;

	(void)state;
	old = umask(077);
	db_close(must_open(path));
	umask(old);
	assert_return_code(stat(path, &st), errno);
	assert_int_equal(st.st_mode & 07777, 0600);
}

/*
 * Files that are not to be used
 */
static void
test_not_ours(void **state)
{
	char before[64], after[64];
	int fd;

	(void)state;
	scribble(path, 0, "This is a letter, and it stays one.\n");
	must_refuse(path, "not a database");
	assert_return_code(fd = open(path, O_RDONLY), errno);
	assert_int_equal(read(fd, before, sizeof(before)), 36);
	close(fd);
	assert_memory_equal(before, "This is a letter, and it stays one.\n", 36);
	unlink(path);

	/* Another program's database keeps its journal mode, too. */
	sql("CREATE TABLE t (a)");
	assert_return_code(fd = open(path, O_RDONLY), errno);
	assert_int_equal(read(fd, before, sizeof(before)), sizeof(before));
	close(fd);
	must_refuse(path, "not a database of dstmd");
	assert_return_code(fd = open(path, O_RDONLY), errno);
	assert_int_equal(read(fd, after, sizeof(after)), sizeof(after));
	close(fd);
	assert_memory_equal(before, after, sizeof(after));
	unlink(path);

	assert_return_code(mkdir(path, 0700), errno);
	must_refuse(path, "not a regular file");
	rmdir(path);
	assert_return_code(symlink("/dev/null", path), errno);
	must_refuse(path, "not a regular file");
}

static void
test_newer(void **state)
{
	uint32_t versions[NREC];
	struct db *db;

	(void)state;
	db = must_open(path);
	assert_return_code(put_one(db, 1, 1), 0);
	db_close(db);
	sql("PRAGMA user_version = 2");
	must_refuse(path, "a newer dstmd has made it (version 2");
	sql("PRAGMA user_version = 0");
	must_refuse(path, "not a database of dstmd");
	sql("PRAGMA user_version = 1");
	db = must_open(path);
	assert_int_equal(load_all(db, versions), 1);
	db_close(db);
}

static void
test_tables(void **state)
{
	(void)state;
	db_close(must_open(path));
	sql("CREATE TRIGGER t AFTER INSERT ON leases BEGIN "
	    "DELETE FROM leases; END");
	must_refuse(path, "tables of dstmd");
	sql("DROP TRIGGER t; CREATE VIEW v AS SELECT 1");
	must_refuse(path, "tables of dstmd");
	sql("DROP VIEW v; DROP TABLE node");
	must_refuse(path, "tables of dstmd");
}

/* Every page in turn, and the file cut off at every page. */
static void
test_corrupt(void **state)
{
	static const char noise[] = "\1\2\3\4\5\6\7\10 this is damage \377\376";
	uint32_t versions[NREC], i;
	char saved[64 * 4096];
	struct lease_rec r;
	struct db *db;
	ssize_t size;
	off_t page;
	int fd;

	(void)state;
	db = must_open(path);
	assert_return_code(db_begin(db), 0);
	for (i = 0; i < 500; i++) {
		r = make(i, 1);
		assert_return_code(db_put_lease(db, &r), 0);
	}
	assert_string_equal(db_commit(db) == -1 ? db_error(db) : "", "");
	db_close(db);
	assert_return_code(fd = open(path, O_RDWR), errno);
	size = read(fd, saved, sizeof(saved));
	assert_true(size > 5 * 4096 && size < (ssize_t)sizeof(saved));
	for (page = 0; page < size; page += 4096) {
		assert_return_code(pwrite(fd, noise, sizeof(noise),
		    page == 0 ? 100 : page), errno);
		must_refuse(path, page == 0 ? "" : "damaged");
		assert_int_equal(pwrite(fd, saved, (size_t)size, 0), size);
	}
	for (page = 4096; page < size; page += 4096) {
		assert_return_code(ftruncate(fd, page), errno);
		must_refuse(path, "");
		assert_int_equal(pwrite(fd, saved, (size_t)size, 0), size);
	}
	close(fd);
	db = must_open(path);
	assert_int_equal(load_all(db, versions), 500);
	db_close(db);
}

/* Never empty in the place of what is gone. */
static void
test_lost_file(void **state)
{
	char log[160];
	pid_t pid;
	int status;

	(void)state;
	snprintf(log, sizeof(log), "%s-wal", path);
	if ((pid = fork()) == 0) {
		struct db *db = must_open(path);

		if (put_one(db, 1, 1) == -1)
			_exit(1);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_true(file_size(log) > 0);
	assert_return_code(unlink(path), errno);
	must_refuse(path, "its log (-wal) is there");
	assert_return_code(close(open(path, O_CREAT | O_WRONLY, 0600)), errno);
	must_refuse(path, "its log (-wal) is there");
	assert_return_code(unlink(log), errno);
	db_close(must_open(path));
}

static void
test_bad_rows(void **state)
{
	static const char *const changes[] = {
		"UPDATE leases SET name = 'a b' WHERE v4 & 255 = 3",
		"UPDATE leases SET name = 'anonymous' WHERE v4 & 255 = 3",
		"UPDATE leases SET name = CAST(x'410042' AS TEXT) "
		    "WHERE v4 & 255 = 3",
		"UPDATE leases SET tep = '-' || char(10) WHERE v4 & 255 = 3",
		"UPDATE leases SET mech = 3 WHERE v4 & 255 = 3",
		"UPDATE leases SET mech = 4294967297 WHERE v4 & 255 = 3",
		"UPDATE leases SET until = -5 WHERE v4 & 255 = 3",
		"UPDATE leases SET v6 = zeroblob(16) WHERE v4 & 255 = 3",
		"PRAGMA ignore_check_constraints = 1;"
		    "UPDATE leases SET state = 4 WHERE v4 & 255 = 3",
	};
	struct in_addr none = { 0 };
	struct lease_rec r;
	struct db *db;
	size_t i;
	char err[512];
	int more;

	(void)state;
	for (i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		db = must_open(path);
		assert_return_code(put_one(db, 2, 1), 0);
		assert_return_code(put_one(db, 3, 1), 0);
		db_close(db);
		sql(changes[i]);
		if ((db = db_open(path, err, sizeof(err))) == NULL) {
			/* the CHECK found it */
			assert_non_null(strstr(err, "damaged"));
			sql("DELETE FROM leases");
			continue;
		}
		db_load(db, none);
		while ((more = db_next(db, &r)) == 1)
			;
		if (more != -1)
			fail_msg("believed: %s", changes[i]);
		if (strstr(db_error(db), "198.51.100.3") == NULL)
			fail_msg("%s: %s", changes[i], db_error(db));
		db_load_end(db);
		db_close(db);
	}
}

static void
test_bad_node(void **state)
{
	struct node_rec r;
	struct db *db;

	(void)state;
	db_close(must_open(path));
	sql("INSERT INTO node VALUES (1, 1, 5)");
	db = must_open(path);
	assert_int_equal(db_node(db, &r), -1);
	assert_non_null(strstr(db_error(db), "the node"));
	db_close(db);
}

/* Runs it in a process of its own, without root's power over files. */
static void
unprivileged(void (*what)(void))
{
	int status;
	pid_t pid;

	if ((pid = fork()) == 0) {
		if (geteuid() == 0 && (setgid(65534) == -1 ||
		    setuid(65534) == -1))
			_exit(1);
		what();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void
refuse_dir(void)
{
	must_refuse(path, "its directory: Permission denied");
}

static void
refuse_file(void)
{
	must_refuse(path, "Permission denied");
}

static void
test_read_only(void **state)
{
	(void)state;
	assert_return_code(chmod(dir, 0555), errno);
	unprivileged(refuse_dir);
	assert_return_code(chmod(dir, 0700), errno);
	db_close(must_open(path));
	assert_return_code(chmod(path, 0444), errno);
	assert_return_code(chmod(dir, 0555), errno);
	unprivileged(refuse_dir);
	assert_return_code(chmod(dir, 0777), errno);
	unprivileged(refuse_file);
}

static void
test_second(void **state)
{
	uint32_t versions[NREC];
	char byte = 0;
	struct db *db;
	int status, sp[2];
	pid_t pid;

	(void)state;
	assert_return_code(socketpair(AF_UNIX, SOCK_STREAM, 0, sp), errno);
	if ((pid = fork()) == 0) {
		db = must_open(path);
		if (put_one(db, 1, 1) == -1)
			_exit(1);
		(void)!write(sp[1], &byte, 1);
		(void)!read(sp[1], &byte, 1);
		if (put_one(db, 2, 1) == -1)
			_exit(1);
		db_close(db);
		_exit(0);
	}
	assert_int_equal(read(sp[0], &byte, 1), 1);
	must_refuse(path, "another dstmd uses it");
	assert_int_equal(write(sp[0], &byte, 1), 1);
	/* It ends within the time that an opener waits. */
	db = must_open(path);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(load_all(db, versions), 2);
	db_close(db);
	close(sp[0]);
	close(sp[1]);
}

/*
 * No room: known to be not written, and all is well when there is room.
 */
static void
fill(struct db *db, uint32_t *n, int *no)
{
	*no = 0;
	for (; *n < NREC; (*n)++)
		if (put_one(db, *n, 1) == -1) {
			*no = db_errno(db);
			break;
		}
	if (*n == 0 || *n == NREC || db_lost(db))
		fail_msg("%u: %s", *n, db_error(db));
}

static void
test_file_limit(void **state)
{
	struct rlimit old, low;
	uint32_t versions[NREC], n = 0, i;
	struct db *db;
	int no;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	assert_return_code(getrlimit(RLIMIT_FSIZE, &old), errno);
	db = must_open(path);
	low = old;
	low.rlim_cur = 200 * 1024;
	assert_return_code(setrlimit(RLIMIT_FSIZE, &low), errno);
	fill(db, &n, &no);
	assert_int_equal(no, EFBIG);
	for (i = 0; i < 5; i++)
		assert_int_equal(put_one(db, n, 1), -1);
	assert_false(db_lost(db));
	assert_int_equal(load_all(db, versions), (int)n);
	assert_return_code(setrlimit(RLIMIT_FSIZE, &old), errno);
	assert_return_code(put_one(db, n, 1), 0);
	assert_int_equal(load_all(db, versions), (int)n + 1);
	db_close(db);
	db = must_open(path);
	assert_int_equal(load_all(db, versions), (int)n + 1);
	db_close(db);
}

static void
on_tmpfs(void)
{
	uint32_t versions[NREC], n = 0;
	char big[160];
	struct db *db;
	int fd, no;

	if (unshare(CLONE_NEWNS) == -1 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == -1 ||
	    mount("tmpfs", dir, "tmpfs", 0, "size=512k") == -1)
		_exit(77);
	snprintf(big, sizeof(big), "%s/big", dir);
	db = must_open(path);
	if ((fd = open(big, O_WRONLY | O_CREAT, 0600)) == -1 ||
	    posix_fallocate(fd, 0, 200 * 1024) != 0)
		_exit(1);
	fill(db, &n, &no);
	assert_int_equal(no, ENOSPC);
	assert_int_equal(put_one(db, n, 1), -1);
	assert_int_equal(load_all(db, versions), (int)n);
	close(fd);
	unlink(big);
	assert_return_code(put_one(db, n, 1), 0);
	assert_int_equal(load_all(db, versions), (int)n + 1);
	assert_return_code(db_checkpoint(db), 0);
	db_close(db);
	db = must_open(path);
	assert_int_equal(load_all(db, versions), (int)n + 1);
	db_close(db);
}

static void
test_full_disk(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	if (geteuid() != 0)
		skip();
	if ((pid = fork()) == 0) {
		on_tmpfs();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (status == 77 << 8)
		skip();
	assert_int_equal(status, 0);
}

#define T(test)		cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_put_load),
		T(test_load_from),
		T(test_extremes),
		cmocka_unit_test(test_check),
		T(test_node),
		T(test_rollback),
		T(test_log_bound),
		T(test_mode),
		T(test_not_ours),
		T(test_newer),
		T(test_tables),
		T(test_corrupt),
		T(test_lost_file),
		T(test_bad_rows),
		T(test_bad_node),
		T(test_read_only),
		T(test_second),
		T(test_file_limit),
		T(test_full_disk),
	};

	log_init("test_db", LOG_TO_STDERR, getenv("V") != NULL);
	db_init();
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
