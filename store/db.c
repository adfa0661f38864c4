#include <sys/types.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "store/store.h"

#define APPLICATION_ID	0x6453544d	/* "dSTM" */
#define STR_(x)		#x
#define STR(x)		STR_(x)

/*
 * WAL with synchronous=FULL: a commit is one append and one fdatasync.
 * EXCLUSIVE locking needs no shared memory and keeps a second daemon out.
 */
static const char	 setup[] =
    "PRAGMA locking_mode = EXCLUSIVE;"
    "PRAGMA journal_mode = WAL;"
    "PRAGMA synchronous = FULL;"
    "PRAGMA temp_store = MEMORY;"
    "PRAGMA trusted_schema = OFF;";

static const char	 schema[] =
    "PRAGMA application_id = " STR(APPLICATION_ID) ";"
    "PRAGMA user_version = " STR(DB_VERSION) ";"
    "CREATE TABLE leases ("
    "  v4 INTEGER PRIMARY KEY CHECK (v4 BETWEEN 1 AND 4294967295),"
    "  v6 BLOB NOT NULL CHECK (length(v6) = 16),"
    "  mech INTEGER NOT NULL, state INTEGER NOT NULL,"
    "  since INTEGER NOT NULL, until INTEGER NOT NULL,"
    "  tep4 INTEGER NOT NULL,"
    "  tep6 BLOB NOT NULL CHECK (length(tep6) = 16),"
    "  name TEXT NOT NULL, tep TEXT NOT NULL) STRICT;"
    "CREATE TABLE node ("
    "  id INTEGER PRIMARY KEY CHECK (id = 1), v4 INTEGER NOT NULL,"
    "  until INTEGER NOT NULL) STRICT;";

struct db {
	sqlite3		*sql;
	sqlite3_stmt	*begin, *commit, *rollback;
	sqlite3_stmt	*put, *load, *put_node, *del_node, *get_node;
	char		 error[160];
};

static int
fail(struct db *db, const char *what)
{
	snprintf(db->error, sizeof(db->error), "%s: %s", what,
	    sqlite3_errmsg(db->sql));
	return (-1);
}

static int
prepare(struct db *db, sqlite3_stmt **st, const char *text)
{
	if (sqlite3_prepare_v3(db->sql, text, -1, SQLITE_PREPARE_PERSISTENT,
	    st, NULL) != SQLITE_OK)
		return (fail(db, "prepare"));
	return (0);
}

static int
prepare_all(struct db *db)
{
	return (prepare(db, &db->begin, "BEGIN IMMEDIATE") == -1 ||
	    prepare(db, &db->commit, "COMMIT") == -1 ||
	    prepare(db, &db->rollback, "ROLLBACK") == -1 ||
	    prepare(db, &db->put, "INSERT OR REPLACE INTO leases (v4, v6, "
	    "mech, state, since, until, tep4, tep6, name, tep) "
	    "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)") == -1 ||
	    prepare(db, &db->load, "SELECT v4, v6, mech, state, since, until, "
	    "tep4, tep6, name, tep FROM leases") == -1 ||
	    prepare(db, &db->put_node, "INSERT OR REPLACE INTO node "
	    "(id, v4, until) VALUES (1, ?1, ?2)") == -1 ||
	    prepare(db, &db->del_node, "DELETE FROM node") == -1 ||
	    prepare(db, &db->get_node, "SELECT v4, until FROM node") == -1 ?
	    -1 : 0);
}

/* An integer that a pragma gives; -1 on error. */
static int64_t
pragma(struct db *db, const char *text)
{
	sqlite3_stmt *st;
	int64_t v = -1;

	if (sqlite3_prepare_v2(db->sql, text, -1, &st, NULL) != SQLITE_OK) {
		(void)fail(db, text);
		return (-1);
	}
	if (sqlite3_step(st) == SQLITE_ROW)
		v = sqlite3_column_int64(st, 0);
	else
		(void)fail(db, text);
	sqlite3_finalize(st);
	return (v);
}

static int
run(struct db *db, const char *text, const char *what)
{
	if (sqlite3_exec(db->sql, text, NULL, NULL, NULL) != SQLITE_OK)
		return (fail(db, what));
	return (0);
}

/* 0 ours, made where it was empty; -1 not ours, or damaged. */
static int
check_schema(struct db *db)
{
	int64_t version, app;
	sqlite3_stmt *st;
	int ok;

	if ((version = pragma(db, "PRAGMA user_version")) == -1 ||
	    (app = pragma(db, "PRAGMA application_id")) == -1)
		return (-1);
	if (version == 0 && app == 0 &&
	    pragma(db, "SELECT count(*) FROM sqlite_schema") == 0)
		return (run(db, "BEGIN EXCLUSIVE", "new database") == -1 ||
		    run(db, schema, "new database") == -1 ||
		    run(db, "COMMIT", "new database") == -1 ? -1 : 0);
	if (app != APPLICATION_ID || version < 1) {
		strlcpy(db->error, "not a database of dstmd",
		    sizeof(db->error));
		return (-1);
	}
	if (version > DB_VERSION) {
		snprintf(db->error, sizeof(db->error), "made by a newer dstmd "
		    "(version %lld, this one knows %d)", (long long)version,
		    DB_VERSION);
		return (-1);
	}
	if (sqlite3_prepare_v2(db->sql, "PRAGMA quick_check(1)", -1, &st,
	    NULL) != SQLITE_OK)
		return (fail(db, "check"));
	ok = sqlite3_step(st) == SQLITE_ROW && strcmp(
	    (const char *)sqlite3_column_text(st, 0), "ok") == 0;
	if (!ok)
		strlcpy(db->error, "corrupt", sizeof(db->error));
	sqlite3_finalize(st);
	return (ok ? 0 : -1);
}

struct db *
db_open(const char *path, char *err, size_t errlen)
{
	struct db *db;

	if ((db = calloc(1, sizeof(*db))) == NULL)
		fatal(NULL);
	if (sqlite3_open_v2(path, &db->sql, SQLITE_OPEN_READWRITE |
	    SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW,
	    NULL) != SQLITE_OK)
		(void)fail(db, "open");
	else {
		sqlite3_extended_result_codes(db->sql, 1);
		sqlite3_db_config(db->sql, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
		if (run(db, setup, "open") == 0 && check_schema(db) == 0 &&
		    prepare_all(db) == 0)
			return (db);
	}
	if (sqlite3_errcode(db->sql) == SQLITE_BUSY)
		strlcpy(err, "another dstmd uses it", errlen);
	else
		strlcpy(err, db->error, errlen);
	db_close(db);
	return (NULL);
}

void
db_close(struct db *db)
{
	if (db == NULL)
		return;
	sqlite3_finalize(db->begin);
	sqlite3_finalize(db->commit);
	sqlite3_finalize(db->rollback);
	sqlite3_finalize(db->put);
	sqlite3_finalize(db->load);
	sqlite3_finalize(db->put_node);
	sqlite3_finalize(db->del_node);
	sqlite3_finalize(db->get_node);
	sqlite3_close(db->sql);
	free(db);
}

const char *
db_error(struct db *db)
{
	return (db->error);
}

int
db_errno(struct db *db)
{
	switch (sqlite3_errcode(db->sql) & 0xff) {
	case SQLITE_FULL:
		return (ENOSPC);
	case SQLITE_READONLY:
	case SQLITE_PERM:
		return (EROFS);
	case SQLITE_NOMEM:
		return (ENOMEM);
	default:
		return (EIO);
	}
}

static int
step(struct db *db, sqlite3_stmt *st, const char *what)
{
	int r, e;

	r = sqlite3_step(st);
	e = r == SQLITE_DONE ? 0 : fail(db, what);
	sqlite3_reset(st);
	return (e);
}

int
db_begin(struct db *db)
{
	return (step(db, db->begin, "begin"));
}

int
db_commit(struct db *db)
{
	return (step(db, db->commit, "commit"));
}

void
db_rollback(struct db *db)
{
	char why[sizeof(db->error)];

	strlcpy(why, db->error, sizeof(why));
	if (!sqlite3_get_autocommit(db->sql))
		(void)step(db, db->rollback, "rollback");
	strlcpy(db->error, why, sizeof(db->error));
}

int
db_put_lease(struct db *db, const struct lease_rec *r)
{
	sqlite3_stmt *st = db->put;

	sqlite3_bind_int64(st, 1, ntohl(r->v4.s_addr));
	sqlite3_bind_blob(st, 2, &r->v6, sizeof(r->v6), SQLITE_STATIC);
	sqlite3_bind_int64(st, 3, r->mech);
	sqlite3_bind_int64(st, 4, r->state);
	sqlite3_bind_int64(st, 5, r->since);
	sqlite3_bind_int64(st, 6, r->until);
	sqlite3_bind_int64(st, 7, ntohl(r->tep4.s_addr));
	sqlite3_bind_blob(st, 8, &r->tep6, sizeof(r->tep6), SQLITE_STATIC);
	sqlite3_bind_text(st, 9, r->name, -1, SQLITE_STATIC);
	sqlite3_bind_text(st, 10, r->tep, -1, SQLITE_STATIC);
	return (step(db, st, "write"));
}

int
db_put_node(struct db *db, const struct node_rec *r)
{
	if (!r->valid)
		return (step(db, db->del_node, "write"));
	sqlite3_bind_int64(db->put_node, 1, ntohl(r->v4.s_addr));
	sqlite3_bind_int64(db->put_node, 2, r->until);
	return (step(db, db->put_node, "write"));
}

int
db_load(struct db *db)
{
	return (sqlite3_reset(db->load) == SQLITE_OK ? 0 : -1);
}

static int
get_text(sqlite3_stmt *st, int column, char *buf, size_t size)
{
	const char *text = (const char *)sqlite3_column_text(st, column);
	int len = sqlite3_column_bytes(st, column);

	if (text == NULL || len < 0 || (size_t)len >= size ||
	    strlen(text) != (size_t)len)
		return (-1);
	memcpy(buf, text, (size_t)len + 1);
	return (0);
}

static int
get_v6(sqlite3_stmt *st, int column, struct in6_addr *v6)
{
	if (sqlite3_column_bytes(st, column) != (int)sizeof(*v6))
		return (-1);
	memcpy(v6, sqlite3_column_blob(st, column), sizeof(*v6));
	return (0);
}

int
db_next(struct db *db, struct lease_rec *r)
{
	sqlite3_stmt *st = db->load;

	switch (sqlite3_step(st)) {
	case SQLITE_ROW:
		break;
	case SQLITE_DONE:
		sqlite3_reset(st);
		return (0);
	default:
		return (fail(db, "load"));
	}
	memset(r, 0, sizeof(*r));
	r->v4.s_addr = htonl((uint32_t)sqlite3_column_int64(st, 0));
	r->mech = (uint32_t)sqlite3_column_int64(st, 2);
	r->state = (uint32_t)sqlite3_column_int64(st, 3);
	r->since = sqlite3_column_int64(st, 4);
	r->until = sqlite3_column_int64(st, 5);
	r->tep4.s_addr = htonl((uint32_t)sqlite3_column_int64(st, 6));
	if (get_v6(st, 1, &r->v6) == -1 || get_v6(st, 7, &r->tep6) == -1 ||
	    get_text(st, 8, r->name, sizeof(r->name)) == -1 ||
	    get_text(st, 9, r->tep, sizeof(r->tep)) == -1 ||
	    mech_name(r->mech) == NULL || r->state < REC_BOUND ||
	    r->state > REC_CLOSED) {
		snprintf(db->error, sizeof(db->error), "the lease of %s is "
		    "damaged", log_in(r->v4));
		return (-1);
	}
	return (1);
}

int
db_node(struct db *db, struct node_rec *r)
{
	int found = 0;

	memset(r, 0, sizeof(*r));
	if (sqlite3_step(db->get_node) == SQLITE_ROW) {
		r->valid = 1;
		r->v4.s_addr =
		    htonl((uint32_t)sqlite3_column_int64(db->get_node, 0));
		r->until = sqlite3_column_int64(db->get_node, 1);
		found = 1;
	}
	sqlite3_reset(db->get_node);
	return (found);
}
