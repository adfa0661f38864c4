/* The auth process: SASL and the stored keys, nothing else. */
#ifndef AUTH_AUTH_H
#define AUTH_AUTH_H

#include <stddef.h>
#include <stdint.h>

#include "dstmd/dstmd.h"
#include "dstmd/stored.h"

#define SECRET_SIZE	192	/* of a stored key, as text */
#define SECRETS_MAX	(16 * 1024 * 1024)	/* octets of the file */
#define SEED_SIZE	32
#define ITERATIONS	4096	/* RFC 7677 */
#define ITERATIONS_MAX	20000
#define PASSWORD_SIZE	256
#define TSP_SERVICE	"tsp"		/* RFC 5572's digest-uri; of tickets */
#define KEYTAB_MAX	65536	/* octets of the file */
#define KEYTAB_WORD	256
#define KEYTAB_PRINCIPAL (3 * KEYTAB_WORD)

/* secrets.c: stored keys by name */

struct secrets;

/*
 * Reads lines "name:SCRAM-SHA-256$i:salt$StoredKey:ServerKey" and
 * "name:DIGEST-MD5$hex", "#" comments, one "!seed:base64" and one
 * "!realm:name" from text of len octets. A line that is none is logged with
 * its number, and skipped. NULL: out of bounds.
 */
struct secrets	*secrets_parse(const char *, size_t);
void		 secrets_free(struct secrets *);
/*
 * The key of a name into buf; of an unknown one a fake, always the same, so
 * that nobody can tell who exists.
 */
void		 secrets_get(const struct secrets *, const char *, char *, size_t);
/* The same of DIGEST-MD5's, HA1_SIZE octets; its realm, "": none. */
void		 secrets_ha1(const struct secrets *, const char *, uint8_t *);
const char	*secrets_realm(const struct secrets *);
/* Is this the password of that name? 1 or 0. */
int		 secrets_check(const struct secrets *, const char *,
		    const char *);
size_t		 secrets_count(const struct secrets *);

/* calls.c: passwords by which a server logs in at the nodes that it calls */

struct calls;

/*
 * Reads lines "user:password", "#" comments, from text of len octets, each
 * user once. A line that is none is logged with its number, and skipped.
 * NULL: out of bounds.
 */
struct calls	*calls_parse(const char *, size_t);
void		 calls_free(struct calls *);	/* NULL is fine */
/* The password for a user's node, or NULL: none. */
const char	*calls_get(const struct calls *, const char *);
size_t		 calls_count(const struct calls *);

/* keytab.c: pure */

struct keytab_entry {
	char		 principal[KEYTAB_PRINCIPAL];	/* "tsp/host@REALM" */
	uint32_t	 vno, enctype;
	size_t		 key_len;
	uint8_t		 key[64];
};

/*
 * The next key of our service in a keytab of len octets, from *off on (0 at
 * first): 1, 0 no more, -1 malformed.
 */
int		 keytab_next(const uint8_t *, size_t, size_t *,
		    struct keytab_entry *);

/* gss.c: Kerberos, as server; used by sasl.c, as the steps of one exchange */

struct gss;

void		 gss_setup(void);	/* once, before the sandbox; or fatal */
/*
 * The keys that servers have from now on: how many. 0, or -1 where it is no
 * keytab: those of before stay.
 */
int		 gss_keytab(const uint8_t *, size_t);
struct gss	*gss_serve(void);	/* NULL: no keytab */
uint32_t	 gss_step(struct gss *, const uint8_t *, size_t, uint8_t *,
		    size_t *, int *);
const char	*gss_name(const struct gss *);
void		 gss_end(struct gss *);

/* sasl.c */

struct exchange;

/* Once, before the sandbox: plugins loaded, an exchange run. Or fatal. */
void		 sasl_setup(void);
/* The table that servers check against; the old one is freed. */
void		 sasl_secrets(struct secrets *);
/* The set of mechanisms that may be served, and no other; at first none. */
void		 sasl_allow(uint32_t);
/*
 * A server's or client's exchange; NULL: cannot be. The host, a name or an
 * address, is what the client takes the server for (DIGEST-MD5). The ends are
 * those of the connection: MECH_CALL binds itself to them, from the end that
 * opened it to the other one. Others ignore them.
 *
 * MECH_CALL is SCRAM-SHA-256-PLUS between our own ends: with a private channel
 * binding (RFC 5802, 6) and with NAME+reverse as the authorization identity.
 * Neither fits any other login, so that no relay makes one out of the other.
 */
struct exchange	*sasl_serve(uint32_t mech, const struct call_ends *);
struct exchange	*sasl_call(uint32_t mech, const char *name, const char *pass,
		    const char *host, const struct call_ends *);
/*
 * One step: in[len] (NULL: the client's first) gives AUTH_MORE, AUTH_OK or
 * AUTH_FAILED, and what to send in out (*n), *has_out.
 */
uint32_t	 sasl_step(struct exchange *, const uint8_t *, size_t,
		    uint8_t *, size_t *, int *);
/* After AUTH_OK as server: who it is. */
const char	*sasl_name(struct exchange *);
void		 sasl_end(struct exchange *);
/* Octets that the library holds; some that it has lost are among them. */
size_t		 sasl_memory(void);

#endif /* AUTH_AUTH_H */
