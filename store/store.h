/*
 * What must survive: SQLite, one file, one writer. db.c is the file,
 * serve.c the process that speaks to the parent; the test and the benchmark
 * link the same objects.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stddef.h>

#include "dstmd/dstmd.h"

#define DB_FILE		"/dstmd.db"	/* in the store's root directory */
#define DB_VERSION	1		/* of the schema: PRAGMA user_version */
#define DB_LOG_PAGES	4096		/* of the write-ahead log, then it is
					 * time for db_checkpoint: 16 MB */
#define BATCH_MAX	1024		/* records of one transaction */

struct db;
struct event_base;

/* db.c */

/*
 * SQLite for this process: limits, and what it wants of the system before
 * it is in its sandbox (/dev/urandom). Once, before all else. fatalx.
 */
void		 db_init(void);
/*
 * Opens a database, or makes one where there is none. NULL, and why in err
 * (one line for the operator), where it can not be used: another daemon
 * has it, it is corrupt, of a newer dstmd, not ours, not writable. Such a
 * file is not touched. Never starts empty in the place of what it cannot
 * read. What it has opened is on the disk, whatever became of the writes of
 * the process before.
 */
struct db	*db_open(const char *, char *, size_t);
/* Brings the log into the file and lets go of both. NULL is no-op. */
void		 db_close(struct db *);

/*
 * A transaction: begin, any number of puts, then commit, which is the one
 * sync for all of them, or rollback. 0, or -1: db_error says why. After a
 * -1 of any of them comes db_rollback; nothing of the transaction is there
 * then, and the next one may succeed, unless db_lost.
 */
int		 db_begin(struct db *);
int		 db_put_lease(struct db *, const struct lease_rec *);
int		 db_put_node(struct db *, const struct node_rec *);
int		 db_commit(struct db *);
void		 db_rollback(struct db *);
/*
 * Of the last -1: a line for the log; an errno (ENOSPC, EIO, ...); and 1
 * where nobody knows what is on the disk now (a sync failed, the file is
 * damaged): end this process without db_close.
 */
const char	*db_error(const struct db *);
int		 db_errno(const struct db *);
int		 db_lost(const struct db *);

/*
 * The log grows with each commit: its size in pages, and moving its content
 * to the database (two syncs) so that it is used from its start again. 0 or
 * -1; but for db_lost a failure is harmless.
 */
int		 db_log_pages(const struct db *);
int		 db_checkpoint(struct db *);

/*
 * Why a record cannot be one of ours, or NULL. What passes here may be put,
 * and what was put passes at the load.
 */
const char	*db_check_lease(const struct lease_rec *);
const char	*db_check_node(const struct node_rec *);

/*
 * The load, by ascending address: db_load from the first lease above an
 * address, db_next 1 a record, 0 the end, -1 a row that is not to be
 * believed or cannot be read; db_load_end lets go, at any time. Not within a
 * transaction. db_node: the node's own lease: 1, 0 none, -1 as db_next.
 */
void		 db_load(struct db *, struct in_addr);
int		 db_next(struct db *, struct lease_rec *);
void		 db_load_end(struct db *);
int		 db_node(struct db *, struct node_rec *);

/* serve.c */

/*
 * Serves the parent on a descriptor: for a base without events yet. Owns
 * both from now on; the process ends with the link.
 */
void		 store_serve(struct event_base *, int, struct db *);

#endif /* STORE_STORE_H */
