/*
 * The session process: sockets, TSP lines and frames, the state machines of
 * the three roles. What is pure (bytes in, a result out) is in tsp.c and
 * emit.c, which unit tests and fuzzers link as they are.
 */
#ifndef SESSION_SESSION_H
#define SESSION_SESSION_H

#include <stddef.h>
#include <stdint.h>

#include "dstmd/dstmd.h"
#include "dstmd/tsp.h"

/* tsp.c */

/*
 * Reading. Each looks at the octets in buf[len] from the start (NUL octets
 * between messages are skipped by tsp_skip) and tells
 *	> 0	a whole element was there: so many octets to consume
 *	0	not whole yet
 *	-1	never will be: too long or malformed
 */
#define TSP_AGAIN	0
#define TSP_BAD		(-1)

size_t	 tsp_skip(const uint8_t *, size_t);	/* leading NULs */
/*
 * A line that ends in CRLF (a bare LF is accepted, a bare CR is not), up
 * to TSP_LINE_MAX. *start and *n: the line without its end, in buf.
 */
int	 tsp_line(const uint8_t *, size_t, const uint8_t **, size_t *);

enum tsp_dialect { DIALECT_NONE, DIALECT_DRAFT, DIALECT_RFC };
/* "VERSION=1.0", "VERSION=2.0.0" .. "2.0.2"; DIALECT_NONE: 302. */
enum tsp_dialect tsp_version(const uint8_t *, size_t);
/* "AUTHENTICATE mech": the mech bit; 0: none of ours; -1: not that line. */
int	 tsp_authenticate(const uint8_t *, size_t, uint32_t *mech);
/*
 * "CAPABILITY TUNNEL=V4V6 AUTH=..." (as client): the set of mechanisms in
 * *mechs, 1 where V4V6 is offered, 0 where not, -1: not that line.
 */
int	 tsp_capability(const uint8_t *, size_t, uint32_t *mechs);
/*
 * A status line "200 Success", "OK Authentication successful" (both 200),
 * "300 ...": the code 200..1999, or -1.
 */
int	 tsp_status_line(const uint8_t *, size_t);
/*
 * A frame "Content-length: N" CRLF and N octets, 1 <= N <= TSP_BODY_MAX. Any
 * case, any run of spaces up to a line of 64 octets. *body and *n in buf.
 */
int	 tsp_frame(const uint8_t *, size_t, const uint8_t **, size_t *);
/* Bytes that one base64 line holds, decoded (strict, RFC 4648): 0 or -1. */
int	 tsp_base64_decode(const uint8_t *, size_t, uint8_t *, size_t, size_t *);
/*
 * A client's SASL step, decoded: base64, or PLAIN's as field clients send it,
 * raw, with or without the NUL in front, which tsp_skip takes for one between
 * messages. 0 or -1.
 */
int	 tsp_sasl_decode(uint32_t mech, const uint8_t *, size_t, uint8_t *,
	    size_t, size_t *);
/* Encodes with CRLF at the end: the length, or -1 it does not fit. */
int	 tsp_base64_line(const uint8_t *, size_t, char *, size_t);
/*
 * Splits a reply's body into its status code and the XML behind the status
 * line (may be empty): 0 or -1.
 */
int	 tsp_reply(const uint8_t *, size_t, int *code, const uint8_t **,
	    size_t *);
/* The words that belong to a code: "Address Pool Exhausted". */
const char *tsp_status_text(enum tsp_status, enum tsp_dialect);

/* emit.c */

/*
 * Writing: whole messages, each with its Content-length, ready for one
 * write; the length, or -1 where it does not fit. Emits what the field
 * client can read: no prolog, double quotes, no white space in elements,
 * canonical addresses (RFC 5952), `length' only where >= 0.
 */
int	 emit_capability(char *, size_t, const uint32_t *mechs);
/* A bare line in the authentication phase, e.g. 300, 302, success. */
int	 emit_auth_status(char *, size_t, enum tsp_status, enum tsp_dialect);
/* A framed status: in the command phase. */
int	 emit_status(char *, size_t, enum tsp_status, enum tsp_dialect);
/*
 * STATUS_REDIRECT + code and the list of the servers to ask instead: framed,
 * or bare where the authentication phase needs it (1302).
 */
int	 emit_redirect(char *, size_t, enum tsp_status, enum tsp_dialect,
	    int framed, const struct in6_addr *, uint32_t);
/* A framed XML message: code 0 (a request of a client: no status line) or
 * a status line in front, as the draft's 4.1 and 4.3. */
int	 emit_tunnel(char *, size_t, int code, enum tsp_dialect,
	    const struct tsp_tunnel *);

#endif /* SESSION_SESSION_H */
