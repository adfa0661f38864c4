/*
 * The database. The journal is a write-ahead log with synchronous=FULL: a
 * commit is one append to it and one fdatasync(2), where a rollback journal
 * needs four. locking_mode=EXCLUSIVE keeps the log's index in our own memory
 * (no file is mapped) and every other daemon out.
 */
#include <sys/types.h>
#include <sys/stat.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sqlite3.h>

#include "store/store.h"

#define APPLICATION_ID	0x6453544d	/* "dSTM" */
#define HEAP_MAX	(128 * 1024 * 1024)
#define BUSY_MS		1000		/* our own last process may be ending */
#define TIME_MAX	((int64_t)1 << 40)
#define STR_(x)		#x
#define STR(x)		STR_(x)

/* The cache holds all of 65,536 leases. */
static const char	 settings[] =
    "PRAGMA locking_mode = EXCLUSIVE;"
    "PRAGMA temp_store = MEMORY;"
    "PRAGMA mmap_size = 0;"
    "PRAGMA cache_size = -32768;"
    "PRAGMA cell_size_check = ON;"
    "PRAGMA trusted_schema = OFF;";

static const char	 schema[] =
    "PRAGMA application_id = " STR(APPLICATION_ID) ";"
    "PRAGMA user_version = " STR(DB_VERSION) ";"
    "CREATE TABLE leases ("
    "  v4 INTEGER PRIMARY KEY CHECK (v4 BETWEEN 1 AND 4294967295),"
    "  v6 BLOB NOT NULL CHECK (length(v6) = 16),"
    "  mech INTEGER NOT NULL,"
    "  state INTEGER NOT NULL CHECK (state BETWEEN 1 AND 3),"
    "  since INTEGER NOT NULL,"
    "  until INTEGER NOT NULL,"
    "  tep4 INTEGER NOT NULL CHECK (tep4 BETWEEN 0 AND 4294967295),"
    "  tep6 BLOB NOT NULL CHECK (length(tep6) = 16),"
    "  name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 64),"
    "  tep TEXT NOT NULL CHECK (length(tep) BETWEEN 1 AND 64)"
    ") STRICT;"
    "CREATE TABLE node ("
    "  id INTEGER PRIMARY KEY CHECK (id = 1),"
    "  v4 INTEGER NOT NULL CHECK (v4 BETWEEN 1 AND 4294967295),"
    "  until INTEGER NOT NULL"
    ") STRICT;";

/* What the file holds beside its data: our two tables and nothing more. */
static const char	 objects[] =
    "SELECT count(*) FILTER (WHERE type = 'table' AND"
    " name IN ('leases', 'node')) * 1000 + count(*) FROM sqlite_schema";
#define OBJECTS		2002

enum { BEGIN, COMMIT, ROLLBACK, PUT, LOAD, PUT_NODE, DEL_NODE, GET_NODE, NSTMT };

static const char *const statements[NSTMT] = {
	[BEGIN]		= "BEGIN IMMEDIATE",
	[COMMIT]	= "COMMIT",
	[ROLLBACK]	= "ROLLBACK",
	[PUT]		= "INSERT OR REPLACE INTO leases (v4, v6, mech, state, "
	    "since, until, tep4, tep6, name, tep) "
	    "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
	[LOAD]		= "SELECT v4, v6, mech, state, since, until, tep4, "
	    "tep6, name, tep FROM leases WHERE v4 > ?1 ORDER BY v4",
	[PUT_NODE]	= "INSERT OR REPLACE INTO node (id, v4, until) "
	    "VALUES (1, ?1, ?2)",
	[DEL_NODE]	= "DELETE FROM node",
	[GET_NODE]	= "SELECT v4, until FROM node",
};

struct db {
	sqlite3		*sql;
	sqlite3_stmt	*st[NSTMT];
	int		 log_pages;
	int		 error_no, lost;
	char		 error[512];
};

/*
 * Errors
 */

/*
 * After these the transaction is surely not there, and the file is as it
 * was before it. A write that failed for want of room never wrote the
 * record that makes a transaction complete.
 */
static int
is_known(int code, int error_no)
{
	switch (code & 0xff) {
	case SQLITE_FULL:
	case SQLITE_READONLY:
	case SQLITE_NOMEM:
	case SQLITE_BUSY:
	case SQLITE_CONSTRAINT:
		return (1);
	case SQLITE_IOERR:
		return (code == SQLITE_IOERR_NOMEM ||
		    (code == SQLITE_IOERR_WRITE && (error_no == ENOSPC ||
		    error_no == EDQUOT || error_no == EFBIG ||
		    error_no == EROFS)));
	default:
		return (0);
	}
}

static int
code_errno(int code)
{
	switch (code & 0xff) {
	case SQLITE_FULL:
		return (ENOSPC);
	case SQLITE_READONLY:
		return (EROFS);
	case SQLITE_NOMEM:
		return (ENOMEM);
	case SQLITE_BUSY:
		return (EBUSY);
	case SQLITE_CONSTRAINT:
		return (EINVAL);
	default:
		return (EIO);
	}
}

/*
 * The errno of the last failed call on the log, or on the database.
 * sqlite3_system_errno does not have it after a commit.
 */
static int
file_errno(struct db *db)
{
	sqlite3_file *log = NULL;
	int no = 0;

	if (sqlite3_file_control(db->sql, "main",
	    SQLITE_FCNTL_JOURNAL_POINTER, &log) == SQLITE_OK && log != NULL &&
	    log->pMethods != NULL)
		(void)log->pMethods->xFileControl(log,
		    SQLITE_FCNTL_LAST_ERRNO, &no);
	if (no == 0)
		(void)sqlite3_file_control(db->sql, "main",
		    SQLITE_FCNTL_LAST_ERRNO, &no);
	return (no);
}

/* An error may cite the file, which anything may be in. */
static void
one_line(char *p)
{
	for (; *p != '\0'; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = ' ';
}

static int
fail(struct db *db, const char *what)
{
	int code = sqlite3_extended_errcode(db->sql), sys = 0;

	if ((code & 0xff) == SQLITE_IOERR)
		sys = file_errno(db);
	db->error_no = sys != 0 ? sys : code_errno(code);
	if (!is_known(code, sys))
		db->lost = 1;
	snprintf(db->error, sizeof(db->error), "%s: %s%s%s", what,
	    sqlite3_errmsg(db->sql), sys != 0 ? ": " : "",
	    sys != 0 ? strerror(sys) : "");
	one_line(db->error);
	return (-1);
}

static int
failx(struct db *db, const char *text)
{
	db->error_no = EINVAL;
	db->lost = 1;
	strlcpy(db->error, text, sizeof(db->error));
	one_line(db->error);
	return (-1);
}

const char *
db_error(const struct db *db)
{
	return (db->error);
}

int
db_errno(const struct db *db)
{
	return (db->error_no);
}

int
db_lost(const struct db *db)
{
	return (db->lost);
}

/*
 * Opening
 */
static void
sqlite_log(void *arg, int code, const char *text)
{
	(void)arg;
	log_debug("SQLite (%d): %s", code, text);
}

void
db_init(void)
{
	char seed[8];

	if (sqlite3_config(SQLITE_CONFIG_SINGLETHREAD) != SQLITE_OK ||
	    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 1) != SQLITE_OK ||
	    sqlite3_config(SQLITE_CONFIG_LOG, sqlite_log, NULL) != SQLITE_OK ||
	    sqlite3_initialize() != SQLITE_OK)
		fatalx("cannot set SQLite up");
	sqlite3_hard_heap_limit64(HEAP_MAX);
	/* It seeds itself once; without /dev/urandom by the time. */
	sqlite3_randomness(sizeof(seed), seed);
}

/* What no statement of ours needs, no file may make us do. */
static void
restrict_sql(sqlite3 *sql)
{
	static const int limits[][2] = {
		{ SQLITE_LIMIT_LENGTH, 16384 },
		{ SQLITE_LIMIT_SQL_LENGTH, 4096 },
		{ SQLITE_LIMIT_COLUMN, 32 },
		{ SQLITE_LIMIT_EXPR_DEPTH, 64 },
		{ SQLITE_LIMIT_COMPOUND_SELECT, 4 },
		{ SQLITE_LIMIT_FUNCTION_ARG, 8 },
		{ SQLITE_LIMIT_ATTACHED, 0 },
		{ SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 64 },
		{ SQLITE_LIMIT_VARIABLE_NUMBER, 16 },
		{ SQLITE_LIMIT_TRIGGER_DEPTH, 1 },
		{ SQLITE_LIMIT_WORKER_THREADS, 0 },
	};
	static const int switches[][2] = {
		{ SQLITE_DBCONFIG_DEFENSIVE, 1 },
		{ SQLITE_DBCONFIG_ENABLE_TRIGGER, 0 },
		{ SQLITE_DBCONFIG_ENABLE_VIEW, 0 },
		{ SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0 },
		{ SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0 },
		{ SQLITE_DBCONFIG_DQS_DML, 0 },
		{ SQLITE_DBCONFIG_DQS_DDL, 0 },
		/* Until we know that it is ours: refused is untouched. */
		{ SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1 },
	};
	size_t i;

	for (i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
		sqlite3_limit(sql, limits[i][0], limits[i][1]);
	for (i = 0; i < sizeof(switches) / sizeof(switches[0]); i++)
		if (sqlite3_db_config(sql, switches[i][0], switches[i][1],
		    NULL) != SQLITE_OK)
			fatalx("SQLite does not know switch %d",
			    switches[i][0]);
}

static int
run(struct db *db, const char *text, const char *what)
{
	if (sqlite3_exec(db->sql, text, NULL, NULL, NULL) != SQLITE_OK)
		return (fail(db, what));
	return (0);
}

/* The first column of the first row, as text; no row or NULL is "". */
static int
query(struct db *db, const char *sql, char *buf, size_t size)
{
	const unsigned char *text = NULL;
	sqlite3_stmt *st;
	int r;

	if (sqlite3_prepare_v2(db->sql, sql, -1, &st, NULL) != SQLITE_OK)
		return (fail(db, "cannot read it"));
	if ((r = sqlite3_step(st)) == SQLITE_ROW)
		text = sqlite3_column_text(st, 0);
	else if (r != SQLITE_DONE) {
		(void)fail(db, "cannot read it");
		sqlite3_finalize(st);
		return (-1);
	}
	strlcpy(buf, text != NULL ? (const char *)text : "", size);
	sqlite3_finalize(st);
	return (0);
}

static int
query_int(struct db *db, const char *sql, long long *v)
{
	char text[32];

	if (query(db, sql, text, sizeof(text)) == -1)
		return (-1);
	*v = strtoll(text, NULL, 10);
	return (0);
}

/* The log is a file beside it. */
static int
check_directory(struct db *db, const char *path)
{
	char directory[PATH_MAX], why[128];
	char *slash;

	strlcpy(directory, path, sizeof(directory));
	if ((slash = strrchr(directory, '/')) == NULL)
		return (failx(db, "not a path"));
	slash[slash == directory ? 1 : 0] = '\0';
	if (access(directory, R_OK | W_OK | X_OK) == 0)
		return (0);
	snprintf(why, sizeof(why), "its directory: %s", strerror(errno));
	return (failx(db, why));
}

/*
 * SQLite makes an empty database of no file, or of one without octets, and
 * removes its log. But where there is a log, leases were: the file has
 * been removed or cut off.
 */
static int
check_files(struct db *db, const char *path)
{
	char log[PATH_MAX];
	struct stat st;

	if (check_directory(db, path) == -1)
		return (-1);
	if (lstat(path, &st) == 0) {
		if (!S_ISREG(st.st_mode))
			return (failx(db, "not a regular file"));
		if (access(path, R_OK | W_OK) == -1)
			return (failx(db, strerror(errno)));
		if (st.st_size > 0)
			return (0);
	} else if (errno != ENOENT)
		return (failx(db, strerror(errno)));
	snprintf(log, sizeof(log), "%s-wal", path);
	if (lstat(log, &st) == 0 && st.st_size > 0)
		return (failx(db, "it is gone, but its log (-wal) is there: "
		    "bring it back, or remove the log to start without leases"));
	return (0);
}

/* 1 it is empty, 0 it is ours, -1 it is not to be used. */
static int
identify(struct db *db)
{
	long long version, app, count;

	if (query_int(db, "PRAGMA user_version", &version) == -1 ||
	    query_int(db, "PRAGMA application_id", &app) == -1 ||
	    query_int(db, "SELECT count(*) FROM sqlite_schema", &count) == -1)
		return (-1);
	if (version == 0 && app == 0 && count == 0)
		return (1);
	if (app != APPLICATION_ID || version < 1)
		return (failx(db, "it is not a database of dstmd"));
	if (version > DB_VERSION) {
		(void)failx(db, "");
		snprintf(db->error, sizeof(db->error), "a newer dstmd has "
		    "made it (version %lld, this one knows %d)", version,
		    DB_VERSION);
		return (-1);
	}
	return (0);
}

static int
check_content(struct db *db)
{
	char text[256], why[300];
	long long count;

	if (query_int(db, objects, &count) == -1)
		return (-1);
	if (count != OBJECTS)
		return (failx(db, "it has not the tables of dstmd, or more"));
	/* 60,000 leases: 40 ms */
	if (query(db, "PRAGMA quick_check(1)", text, sizeof(text)) == -1)
		return (-1);
	if (strcmp(text, "ok") != 0) {
		snprintf(why, sizeof(why), "it is damaged (%s): bring back a "
		    "copy", text);
		return (failx(db, why));
	}
	return (0);
}

/*
 * The log of a process that ended badly may hold what the kernel has but
 * the disk has not (a sync failed: see serve.c). All of it is written
 * again, to the database, and synced, before any of it is believed. Then a
 * commit, which changes nothing, starts a new log: should the power fail, the
 * parts of the old one that are on the disk are not played again.
 */
static int
settle(struct db *db)
{
	int left = -1, done = -1;

	if (sqlite3_wal_checkpoint_v2(db->sql, NULL,
	    SQLITE_CHECKPOINT_TRUNCATE, &left, &done) != SQLITE_OK)
		return (fail(db, "cannot write"));
	if (left != 0)
		return (failx(db, "its log cannot be emptied"));
	return (run(db, "PRAGMA user_version = " STR(DB_VERSION),
	    "cannot write"));
}

static int
log_hook(void *arg, sqlite3 *sql, const char *name, int pages)
{
	struct db *db = arg;

	(void)sql;
	(void)name;
	db->log_pages = pages;
	return (SQLITE_OK);
}

static int
prepare(struct db *db)
{
	int i;

	for (i = 0; i < NSTMT; i++)
		if (sqlite3_prepare_v3(db->sql, statements[i], -1,
		    SQLITE_PREPARE_PERSISTENT, &db->st[i], NULL) != SQLITE_OK)
			return (fail(db, "prepare"));
	return (0);
}

static int
open_log(struct db *db)
{
	char mode[16];

	if (query(db, "PRAGMA journal_mode = WAL", mode, sizeof(mode)) == -1)
		return (-1);
	if (strcmp(mode, "wal") != 0)
		return (failx(db, "it cannot have a write-ahead log"));
	/* Instead of SQLite's checkpoint: we want to know how it went. */
	sqlite3_wal_hook(db->sql, log_hook, db);
	return (run(db, "PRAGMA synchronous = FULL", "synchronous"));
}

static int
make_schema(struct db *db)
{
	if (run(db, "BEGIN EXCLUSIVE", "cannot make it") == -1 ||
	    run(db, schema, "cannot make it") == -1 ||
	    run(db, "COMMIT", "cannot make it") == -1)
		return (-1);
	return (0);
}

static int
open_checked(struct db *db, const char *path)
{
	int is_new;

	if (check_files(db, path) == -1)
		return (-1);
	if (sqlite3_open_v2(path, &db->sql, SQLITE_OPEN_READWRITE |
	    SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW |
	    SQLITE_OPEN_EXRESCODE, NULL) != SQLITE_OK)
		return (db->sql != NULL ? fail(db, "cannot open it") :
		    failx(db, "out of memory"));
	restrict_sql(db->sql);
	sqlite3_busy_timeout(db->sql, BUSY_MS);
	if (run(db, settings, "cannot open it") == -1 ||
	    (is_new = identify(db)) == -1)
		return (-1);
	if (sqlite3_db_readonly(db->sql, "main") == 1)
		return (failx(db, "it is read-only for this user"));
	if (open_log(db) == -1 || (is_new && make_schema(db) == -1) ||
	    check_content(db) == -1 || settle(db) == -1 || prepare(db) == -1)
		return (-1);
	sqlite3_db_config(db->sql, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
	return (0);
}

struct db *
db_open(const char *path, char *err, size_t errlen)
{
	struct db *db;

	if ((db = calloc(1, sizeof(*db))) == NULL)
		fatal(NULL);
	if (open_checked(db, path) == 0)
		return (db);
	if (db->error_no == EBUSY)
		strlcpy(err, "another dstmd uses it", errlen);
	else
		strlcpy(err, db->error, errlen);
	db_close(db);
	return (NULL);
}

void
db_close(struct db *db)
{
	int i;

	if (db == NULL)
		return;
	for (i = 0; i < NSTMT; i++)
		sqlite3_finalize(db->st[i]);
	if (sqlite3_close(db->sql) != SQLITE_OK)
		fatalx("sqlite3_close: %s", sqlite3_errmsg(db->sql));
	free(db);
}

/*
 * Transactions
 */
static int
step(struct db *db, int which, const char *what)
{
	int r = 0;

	if (sqlite3_step(db->st[which]) != SQLITE_DONE)
		r = fail(db, what);
	sqlite3_reset(db->st[which]);
	return (r);
}

int
db_begin(struct db *db)
{
	return (step(db, BEGIN, "cannot begin"));
}

int
db_commit(struct db *db)
{
	if (step(db, COMMIT, "cannot write") == 0)
		return (0);
	/* Memory may run out after the record that makes it complete. */
	if (db->error_no == ENOMEM)
		db->lost = 1;
	return (-1);
}

/* SQLite itself has done it after most errors. */
void
db_rollback(struct db *db)
{
	if (sqlite3_get_autocommit(db->sql))
		return;
	if (sqlite3_step(db->st[ROLLBACK]) != SQLITE_DONE ||
	    !sqlite3_get_autocommit(db->sql))
		db->lost = 1;
	sqlite3_reset(db->st[ROLLBACK]);
}

int
db_put_lease(struct db *db, const struct lease_rec *r)
{
	sqlite3_stmt *st = db->st[PUT];

	if (sqlite3_bind_int64(st, 1, ntohl(r->v4.s_addr)) != SQLITE_OK ||
	    sqlite3_bind_blob(st, 2, &r->v6, sizeof(r->v6),
	    SQLITE_STATIC) != SQLITE_OK ||
	    sqlite3_bind_int64(st, 3, r->mech) != SQLITE_OK ||
	    sqlite3_bind_int64(st, 4, r->state) != SQLITE_OK ||
	    sqlite3_bind_int64(st, 5, r->since) != SQLITE_OK ||
	    sqlite3_bind_int64(st, 6, r->until) != SQLITE_OK ||
	    sqlite3_bind_int64(st, 7, ntohl(r->tep4.s_addr)) != SQLITE_OK ||
	    sqlite3_bind_blob(st, 8, &r->tep6, sizeof(r->tep6),
	    SQLITE_STATIC) != SQLITE_OK ||
	    sqlite3_bind_text(st, 9, r->name, -1, SQLITE_STATIC) !=
	    SQLITE_OK ||
	    sqlite3_bind_text(st, 10, r->tep, -1, SQLITE_STATIC) != SQLITE_OK)
		return (fail(db, "bind"));
	return (step(db, PUT, "cannot write"));
}

int
db_put_node(struct db *db, const struct node_rec *r)
{
	sqlite3_stmt *st = db->st[PUT_NODE];

	if (!r->valid)
		return (step(db, DEL_NODE, "cannot write"));
	if (sqlite3_bind_int64(st, 1, ntohl(r->v4.s_addr)) != SQLITE_OK ||
	    sqlite3_bind_int64(st, 2, r->until) != SQLITE_OK)
		return (fail(db, "bind"));
	return (step(db, PUT_NODE, "cannot write"));
}

int
db_log_pages(const struct db *db)
{
	return (db->log_pages);
}

int
db_checkpoint(struct db *db)
{
	int pages, done;

	if (sqlite3_wal_checkpoint_v2(db->sql, NULL,
	    SQLITE_CHECKPOINT_PASSIVE, &pages, &done) != SQLITE_OK)
		return (fail(db, "cannot move the log to the database"));
	if (pages == done)
		db->log_pages = 0;
	return (0);
}

/*
 * What is believed
 */
static int
is_text(const char *text)
{
	return (memchr(text, '\0', NAME_SIZE) != NULL);
}

const char *
db_check_lease(const struct lease_rec *r)
{
	if (!in_usable(r->v4))
		return ("its IPv4 address is not unicast");
	if (!in6_usable(&r->v6))
		return ("its IPv6 address is not unicast");
	if (mech_name(r->mech) == NULL)
		return ("its mechanism is unknown");
	if (r->state < REC_BOUND || r->state > REC_CLOSED)
		return ("its state is unknown");
	if (r->since < 0 || r->since > TIME_MAX || r->until < 0 ||
	    r->until > TIME_MAX)
		return ("its time is impossible");
	if (!is_text(r->name) || (r->mech == MECH_ANONYMOUS ?
	    strcmp(r->name, "anonymous") != 0 : !name_valid(r->name)))
		return ("its user's name is impossible");
	if (!is_text(r->tep) || !name_valid(r->tep))
		return ("its TEP's name is impossible");
	return (NULL);
}

const char *
db_check_node(const struct node_rec *r)
{
	if (!r->valid)
		return (NULL);
	if (!in_usable(r->v4))
		return ("its IPv4 address is not unicast");
	if (r->until < 0 || r->until > TIME_MAX)
		return ("its time is impossible");
	return (NULL);
}

/*
 * The load
 */
static int
get_u32(sqlite3_stmt *st, int column, uint32_t *v)
{
	sqlite3_int64 n = sqlite3_column_int64(st, column);

	if (n < 0 || n > UINT32_MAX)
		return (-1);
	*v = (uint32_t)n;
	return (0);
}

static int
get_v4(sqlite3_stmt *st, int column, struct in_addr *v4)
{
	uint32_t n;

	if (get_u32(st, column, &n) == -1)
		return (-1);
	v4->s_addr = htonl(n);
	return (0);
}

static int
get_v6(sqlite3_stmt *st, int column, struct in6_addr *v6)
{
	const void *blob = sqlite3_column_blob(st, column);

	if (blob == NULL ||
	    sqlite3_column_bytes(st, column) != (int)sizeof(*v6))
		return (-1);
	memcpy(v6, blob, sizeof(*v6));
	return (0);
}

static int
get_name(sqlite3_stmt *st, int column, char *name)
{
	const unsigned char *text = sqlite3_column_text(st, column);
	int len = sqlite3_column_bytes(st, column);

	if (text == NULL || len < 0 || len > NAME_MAX_LEN ||
	    strlen((const char *)text) != (size_t)len)
		return (-1);
	memcpy(name, text, (size_t)len + 1);
	return (0);
}

void
db_load(struct db *db, struct in_addr after)
{
	sqlite3_reset(db->st[LOAD]);
	sqlite3_bind_int64(db->st[LOAD], 1, ntohl(after.s_addr));
}

void
db_load_end(struct db *db)
{
	sqlite3_reset(db->st[LOAD]);
}

static int
bad_row(struct db *db, const char *row, const char *why)
{
	char text[200];

	snprintf(text, sizeof(text), "the record of %s is damaged: %s; bring "
	    "back a copy, or correct it with sqlite3(1)", row, why);
	return (failx(db, text));
}

int
db_next(struct db *db, struct lease_rec *r)
{
	sqlite3_stmt *st = db->st[LOAD];
	const char *why;
	int code;

	if ((code = sqlite3_step(st)) == SQLITE_DONE)
		return (0);
	if (code != SQLITE_ROW)
		return (fail(db, "cannot load"));
	memset(r, 0, sizeof(*r));
	if (get_v4(st, 0, &r->v4) == -1 || get_v6(st, 1, &r->v6) == -1 ||
	    get_u32(st, 2, &r->mech) == -1 || get_u32(st, 3, &r->state) == -1 ||
	    get_v4(st, 6, &r->tep4) == -1 || get_v6(st, 7, &r->tep6) == -1 ||
	    get_name(st, 8, r->name) == -1 || get_name(st, 9, r->tep) == -1)
		return (bad_row(db, log_in(r->v4), "its form"));
	r->since = sqlite3_column_int64(st, 4);
	r->until = sqlite3_column_int64(st, 5);
	if ((why = db_check_lease(r)) != NULL)
		return (bad_row(db, log_in(r->v4), why));
	return (1);
}

int
db_node(struct db *db, struct node_rec *r)
{
	sqlite3_stmt *st = db->st[GET_NODE];
	const char *why = NULL;
	int code;

	memset(r, 0, sizeof(*r));
	if ((code = sqlite3_step(st)) == SQLITE_ROW) {
		r->valid = 1;
		r->until = sqlite3_column_int64(st, 1);
		why = get_v4(st, 0, &r->v4) == -1 ? "its form" :
		    db_check_node(r);
	} else if (code != SQLITE_DONE)
		return (fail(db, "cannot load"));
	sqlite3_reset(st);
	if (why != NULL)
		return (bad_row(db, "the node", why));
	return ((int)r->valid);
}
