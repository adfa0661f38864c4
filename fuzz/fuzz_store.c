/*
 * The database on load: a file that somebody else wrote. Either as it comes, or
 * a good one in which octets were changed, or good pages with rows that we
 * would not write, or a good file beside a log of which that is so.
 */
/* COVERS: store/db.c */
/* LINK: store/db.o libdstmd.a */
/* LIBS: -lsqlite3 */
#include <sys/types.h>
#include <sys/stat.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sqlite3.h>

#include "fuzz/fuzz.h"
#include "store/store.h"

#define RECORDS		40	/* of the good one: more than one page */

enum { FILE_AS_IT_IS, PATCHED, ROWS, LOG };

static char	 dir[64], path[96], log_path[128];
static uint8_t	*good, *good_log;
static size_t	 good_len, good_log_len;

static void
clean(void)
{
	unlink(path);
	unlink(log_path);
	rmdir(dir);
}

static void
write_to(const char *name, const uint8_t *p, size_t n)
{
	int fd;

	fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd == -1 || write(fd, p, n) != (ssize_t)n)
		abort();
	close(fd);
}

static void
write_file(const uint8_t *p, size_t n)
{
	unlink(log_path);
	write_to(path, p, n);
}

static uint8_t *
read_from(const char *name, size_t *n)
{
	uint8_t *p;
	FILE *f;

	if ((f = fopen(name, "r")) == NULL || (p = malloc(1 << 20)) == NULL)
		abort();
	*n = fread(p, 1, 1 << 20, f);
	fclose(f);
	return (p);
}

static struct lease_rec
record(uint32_t i)
{
	struct lease_rec r;

	memset(&r, 0, sizeof(r));
	r.v4.s_addr = htonl(0xc6336400U + i);
	r.v6.s6_addr[0] = 0x20;
	r.v6.s6_addr[15] = (uint8_t)i;
	r.mech = MECH_SCRAM_SHA_256;
	r.state = REC_BOUND + i % 3;
	r.since = 1000000;
	r.until = 2000000;
	r.tep6.s6_addr[0] = 0x20;
	snprintf(r.name, sizeof(r.name), "user%u", i);
	strlcpy(r.tep, "local", sizeof(r.tep));
	return (r);
}

static void
put(struct db *db, uint32_t from, uint32_t to)
{
	struct lease_rec r;

	MUST(db_begin(db) == 0);
	for (; from < to; from++) {
		r = record(from);
		MUST(db_put_lease(db, &r) == 0);
	}
	MUST(db_commit(db) == 0);
}

void
fuzz_init(void)
{
	const char *tmp = getenv("TMPDIR");
	struct db *db;
	char err[512];

	db_init();
	snprintf(dir, sizeof(dir), "%.40s/fuzz.XXXXXX",
	    tmp != NULL ? tmp : "/dev/shm");
	if (mkdtemp(dir) == NULL || atexit(clean) != 0)
		abort();
	snprintf(path, sizeof(path), "%s%s", dir, DB_FILE);
	snprintf(log_path, sizeof(log_path), "%s-wal", path);
	if ((db = db_open(path, err, sizeof(err))) == NULL)
		abort();
	put(db, 1, RECORDS);
	db_close(db);
	good = read_from(path, &good_len);
	if ((db = db_open(path, err, sizeof(err))) == NULL)
		abort();
	put(db, RECORDS, 2 * RECORDS);
	good_log = read_from(log_path, &good_log_len);
	db_close(db);
}

/* Offset and octets, many times. */
static void
patched(struct input *in, const char *name, const uint8_t *from, size_t len)
{
	uint8_t *file, *piece;
	size_t n, at;

	if ((file = malloc(len)) == NULL)
		abort();
	memcpy(file, from, len);
	while (in->n > 0) {
		at = input_number(in, 2) % len;
		piece = input_piece(in, &n);
		memcpy(file + at, piece, n < len - at ? n : len - at);
		free(piece);
	}
	write_to(name, file, len);
	free(file);
}

static void
bind_value(struct input *in, sqlite3_stmt *st, int i)
{
	uint8_t *piece;
	size_t n;

	switch (input_number(in, 1) % 4) {
	case 0:
		sqlite3_bind_int64(st, i, (int32_t)input_number(in, 4));
		break;
	case 1:
		sqlite3_bind_int64(st, i, (sqlite3_int64)((uint64_t)
		    input_number(in, 4) << 32 | input_number(in, 4)));
		break;
	case 2:
		piece = input_piece(in, &n);
		sqlite3_bind_blob(st, i, piece, (int)n, free);
		break;
	default:
		piece = input_piece(in, &n);
		sqlite3_bind_text(st, i, (char *)piece, (int)n, free);
		break;
	}
}

/* With SQLite alone, and without the checks of our schema. */
static void
rows(struct input *in)
{
	sqlite3_stmt *st;
	sqlite3 *sql;
	int i, lease;

	write_file(good, good_len);
	if (sqlite3_open(path, &sql) != SQLITE_OK)
		abort();
	sqlite3_exec(sql, "PRAGMA ignore_check_constraints = ON;"
	    "PRAGMA synchronous = OFF", NULL, NULL, NULL);
	while (in->n > 0) {
		lease = input_number(in, 1) % 4 != 0;
		if (sqlite3_prepare_v2(sql, lease ?
		    "REPLACE INTO leases VALUES (?,?,?,?,?,?,?,?,?,?)" :
		    "REPLACE INTO node VALUES (?,?,?)", -1, &st, NULL) !=
		    SQLITE_OK)
			abort();
		for (i = 1; i <= (lease ? 10 : 3); i++)
			bind_value(in, st, i);
		(void)sqlite3_step(st);
		sqlite3_finalize(st);
	}
	sqlite3_close(sql);
}

/* What it gives is what we would have written, each address once. */
static int
load(struct db *db)
{
	struct in_addr none = { 0 };
	struct lease_rec r;
	struct node_rec node;
	uint32_t last = 0;
	int got, n = 0;

	db_load(db, none);
	while ((got = db_next(db, &r)) == 1) {
		MUST(db_check_lease(&r) == NULL);
		MUST(ntohl(r.v4.s_addr) > last);
		last = ntohl(r.v4.s_addr);
		n++;
	}
	MUST(got != -1 || db_error(db)[0] != '\0');
	db_load_end(db);
	if (db_node(db, &node) == 1)
		MUST(db_check_node(&node) == NULL);
	return (got == -1 ? -1 : n);
}

/* Has it the record that was put last? */
static int
has(struct db *db, uint32_t i)
{
	struct lease_rec want = record(i), r;
	struct in_addr before = { htonl(ntohl(want.v4.s_addr) - 1) };
	int found;

	db_load(db, before);
	found = db_next(db, &r) == 1 && memcmp(&r, &want, sizeof(r)) == 0;
	db_load_end(db);
	return (found);
}

/* One that our schema refuses leaves nothing of its transaction behind. */
static void
refused(struct db *db)
{
	struct lease_rec r = record(201), bad = record(202);

	bad.state = REC_CLOSED + 1;
	if (db_begin(db) == 0 && db_put_lease(db, &r) == 0 &&
	    db_put_lease(db, &bad) == -1) {
		MUST(db_errno(db) != 0);
		db_rollback(db);
		MUST(db_lost(db) || !has(db, 201));
	} else
		db_rollback(db);
}

/* A file that was read whole can be written, and has it then. */
static void
written(struct db *db)
{
	struct lease_rec r = record(200);
	struct node_rec node = { 1, r.v4, 2000000 }, got;

	if (db_begin(db) == 0 && db_put_lease(db, &r) == 0 &&
	    db_put_node(db, &node) == 0 && db_commit(db) == 0) {
		MUST(has(db, 200));
		MUST(db_node(db, &got) != 1 ||
		    got.v4.s_addr == node.v4.s_addr);
		if (db_checkpoint(db) == 0)
			MUST(db_log_pages(db) == 0 && has(db, 200));
		node.valid = 0;
		if (db_begin(db) == 0 && db_put_node(db, &node) == 0 &&
		    db_commit(db) == 0)
			MUST(db_node(db, &got) != 1);
		return;
	}
	db_rollback(db);
}

void
fuzz_one(const uint8_t *buf, size_t len)
{
	struct input in = { buf, len };
	uint32_t mode;
	char err[512];
	struct db *db;

	mode = input_number(&in, 1);
	switch (mode >= 0xf0 ? LOG : mode % LOG) {
	case FILE_AS_IT_IS:
		write_file(in.p, in.n);
		break;
	case PATCHED:
		unlink(log_path);
		patched(&in, path, good, good_len);
		break;
	case ROWS:
		rows(&in);
		break;
	case LOG:
		write_file(good, input_number(&in, 1) != 0 ? 0 : good_len);
		patched(&in, log_path, good_log, good_log_len);
		break;
	}
	err[0] = '\0';
	if ((db = db_open(path, err, sizeof(err))) == NULL) {
		MUST(err[0] != '\0' && strchr(err, '\n') == NULL);
		return;
	}
	if (load(db) >= 0) {
		refused(db);
		if (!db_lost(db))
			written(db);
	}
	db_close(db);
}
