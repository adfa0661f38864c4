/* Owners of leases, see owner.h. */
#include <arpa/inet.h>

#include <string.h>

#include "regress/unit/owner.h"

struct lease_owner
owner_of(const char *name, uint32_t host)
{
	struct lease_owner o;

	memset(&o, 0, sizeof(o));
	o.mech = MECH_SCRAM_SHA_256;
	strlcpy(o.name, name, sizeof(o.name));
	inet_pton(AF_INET6, "2001:db8:1::", &o.v6);
	host = htonl(host);
	memcpy(&o.v6.s6_addr[12], &host, sizeof(host));
	return (o);
}
