/* What is stored in the place of a password; functions of their arguments. */
#ifndef DSTMD_STORED_H
#define DSTMD_STORED_H

#include <stddef.h>
#include <stdint.h>

#define HA1_SIZE	16	/* octets */

/*
 * "SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey" (RFC 5803) of a
 * password: 0, or -1 it does not fit. The password is printable ASCII, for
 * which SASLprep (RFC 4013) changes nothing.
 */
int	 scram_make(const char *, uint32_t, const uint8_t *, size_t, char *,
	    size_t);
/*
 * DIGEST-MD5's hash of name, realm and password, HA1_SIZE octets: 0, or -1
 * they are too long.
 */
int	 ha1_make(const char *, const char *, const char *, uint8_t *);

#endif /* DSTMD_STORED_H */
