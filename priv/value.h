/*
 * Values of dstmd.conf from their text: pure functions. Each gives 0, or -1
 * with the reason in why, which names the value; then the result is left
 * alone.
 */
#ifndef PRIV_VALUE_H
#define PRIV_VALUE_H

#include "priv/conf.h"

#define VALUE_WHY	1280	/* octets: a token and what is said of it */

/* An address that is usable (in_usable, in6_usable). */
int	 value_addr4(const char *, struct in_addr *, char *why);
int	 value_addr6(const char *, struct in6_addr *, char *why);
/* ADDRESS/LEN, or ADDRESS alone; no bits behind LEN; usable in whole. */
int	 value_prefix4(const char *, struct conf_prefix4 *, char *why);
int	 value_prefix6(const char *, struct conf_prefix6 *, char *why);
/*
 * Addresses of a pool: "A-B", "A" and "B" as two texts, or a prefix, whose
 * length goes to *plen (else 0). All that they span.
 */
int	 value_range(const char *, const char *, struct conf_range *,
	    int *plen, char *why);
/* Bits a second, with k, m or g at the end: 64k to 100g. */
int	 value_rate(const char *, uint64_t *, char *why);
/* A network interface's name, into IFNAME_SIZE octets. */
int	 value_ifname(const char *, char *, char *why);

/* The addresses of a prefix, all of them. */
void	 value_prefix_range(const struct conf_prefix4 *, struct conf_range *);
/* Are all of them unicast (in_usable), lo <= hi: 1 or 0. */
int	 value_range_usable(const struct conf_range *);

#endif /* PRIV_VALUE_H */
