/* Owners of leases, for tests of the engine. */
#ifndef REGRESS_OWNER_H
#define REGRESS_OWNER_H

#include "priv/lease.h"

/* Who logged in by SCRAM-SHA-256 under that name, from 2001:db8:1::host. */
struct lease_owner	 owner_of(const char *name, uint32_t host);

#endif /* REGRESS_OWNER_H */
