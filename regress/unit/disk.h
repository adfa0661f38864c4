/*
 * A disk of the tests' own, in memory, for SQLite. When its power fails, it
 * keeps what was synced; of what was written since then it keeps some, cut
 * at any sector. A sync that fails loses what it was to write, yet reads
 * still see it, and the next sync is content: as Linux does it.
 */
#ifndef REGRESS_DISK_H
#define REGRESS_DISK_H

extern long	 power;		/* writes and syncs that succeed yet; -1: all */
extern long	 bad_sync;	/* syncs until one fails; 0: none does */

/* Instead of real files, for `path'. */
int		 disk_setup(void **);
int		 disk_teardown(void **);
/* The power fails, and comes back. */
void		 disk_crash(void);

#endif /* REGRESS_DISK_H */
