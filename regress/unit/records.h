/* Leases for tests of the store, and its file. */
#ifndef REGRESS_RECORDS_H
#define REGRESS_RECORDS_H

#include "store/store.h"

#define NREC	2000		/* addresses that the tests use */

/* A directory for each test, and the database in it. */
extern char	 dir[64], path[128];
int		 setup(void **);
int		 teardown(void **);

/* The n-th address in its v-th version; and back. */
struct lease_rec make(uint32_t, uint32_t);
uint32_t	 number(const struct lease_rec *);
uint32_t	 version(const struct lease_rec *);

struct db	*must_open(const char *);
/* One record in one transaction: 0, or -1 and rolled back. */
int		 put_one(struct db *, uint32_t, uint32_t);
/* Loads all records, checks each; versions[NREC], 0: none. Their count. */
int		 load_all(struct db *, uint32_t *);

#endif /* REGRESS_RECORDS_H */
