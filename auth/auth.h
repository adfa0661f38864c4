/* The auth process: SASL and the stored keys, nothing else. */
#ifndef AUTH_AUTH_H
#define AUTH_AUTH_H

#include <stddef.h>
#include <stdint.h>

#include "dstmd/dstmd.h"

#define SECRET_SIZE	192	/* of a stored key, as text */
#define SECRETS_MAX	(16 * 1024 * 1024)	/* octets of the file */
#define SEED_SIZE	32
#define ITERATIONS	4096	/* RFC 7677 */
#define ITERATIONS_MAX	20000
#define PASSWORD_SIZE	256

/* secrets.c: stored keys by name */

struct secrets;

/*
 * Reads lines "name:SCRAM-SHA-256$i:salt$StoredKey:ServerKey", "#" comments
 * and one "!seed:base64" from text of len octets. A line that is none is
 * logged with its number, and skipped. NULL: out of bounds.
 */
struct secrets	*secrets_parse(const char *, size_t);
/* The same of an open file. NULL: cannot be read. */
struct secrets	*secrets_read(int);
void		 secrets_free(struct secrets *);
/*
 * The key of a name into buf; of an unknown one a fake, always the same, so
 * that nobody can tell who exists.
 */
void		 secrets_get(const struct secrets *, const char *, char *, size_t);
size_t		 secrets_count(const struct secrets *);

/* sasl.c */

struct exchange;

/* Once, before the sandbox: plugins loaded, an exchange run. Or fatal. */
void		 sasl_setup(void);
/* The table that servers check against; the old one is freed. */
void		 sasl_secrets(struct secrets *);
/* A server's or client's exchange; NULL: cannot be. */
struct exchange	*sasl_serve(uint32_t mech);
struct exchange	*sasl_call(uint32_t mech, const char *name, const char *pass);
/*
 * One step: in[len] (NULL: the client's first) gives AUTH_MORE, AUTH_OK or
 * AUTH_FAILED, and what to send in out (*n), *has_out.
 */
uint32_t	 sasl_step(struct exchange *, const uint8_t *, size_t,
		    uint8_t *, size_t *, int *);
/* After AUTH_OK as server: who it is. */
const char	*sasl_name(struct exchange *);
void		 sasl_end(struct exchange *);

#endif /* AUTH_AUTH_H */
