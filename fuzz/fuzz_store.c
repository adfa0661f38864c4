/*
 * The database on load: a file that somebody else wrote. Either as it comes, or
 * a good one in which octets were changed, or good pages with rows that we
 * would not write.
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

enum { FILE_AS_IT_IS, PATCHED, ROWS, NMODE };

static char	 dir[64], path[96], log_path[128];
static uint8_t	*good;
static size_t	 good_len;

static void
clean(void)
{
	unlink(path);
	unlink(log_path);
	rmdir(dir);
}

static void
write_file(const uint8_t *p, size_t n)
{
	int fd;

	unlink(log_path);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd == -1 || write(fd, p, n) != (ssize_t)n)
		abort();
	close(fd);
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
	FILE *f;

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
	if ((f = fopen(path, "r")) == NULL ||
	    (good = malloc(1 << 20)) == NULL)
		abort();
	good_len = fread(good, 1, 1 << 20, f);
	fclose(f);
}

/* Offset and octets, many times. */
static void
patched(struct input *in)
{
	uint8_t *file, *piece;
	size_t n, at;

	if ((file = malloc(good_len)) == NULL)
		abort();
	memcpy(file, good, good_len);
	while (in->n > 0) {
		at = input_number(in, 2) % good_len;
		piece = input_piece(in, &n);
		memcpy(file + at, piece, n < good_len - at ? n : good_len - at);
		free(piece);
	}
	write_file(file, good_len);
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

void
fuzz_one(const uint8_t *buf, size_t len)
{
	struct input in = { buf, len };
	struct lease_rec r = record(200);
	char err[512];
	struct db *db;

	switch (input_number(&in, 1) % NMODE) {
	case FILE_AS_IT_IS:
		write_file(in.p, in.n);
		break;
	case PATCHED:
		patched(&in);
		break;
	case ROWS:
		rows(&in);
		break;
	}
	err[0] = '\0';
	if ((db = db_open(path, err, sizeof(err))) == NULL) {
		MUST(err[0] != '\0' && strchr(err, '\n') == NULL);
		return;
	}
	/* A file that was read whole can be written, and has it then. */
	if (load(db) >= 0) {
		if (db_begin(db) == 0 && db_put_lease(db, &r) == 0 &&
		    db_commit(db) == 0)
			MUST(has(db, 200));
		else
			db_rollback(db);
	}
	db_close(db);
}
