/*
 * XML to struct. xml.c is pure: bytes in, a struct or an error out; the
 * parser process, the unit test and the fuzzer link the same object.
 */
#ifndef PARSER_PARSER_H
#define PARSER_PARSER_H

#include <stddef.h>
#include <stdint.h>

#include "dstmd/tsp.h"

struct xml_ctx;

/*
 * A parser, used for one message after the other. Sets libxml2 up at the
 * first call: nothing is loaded later. fatal on lack of memory.
 */
struct xml_ctx	*xml_new(void);
void		 xml_free(struct xml_ctx *);
/*
 * Parses one tunnel element (the draft's appendix A, RFC 5572, and what
 * field clients send: the union of them), len 1 .. TSP_BODY_MAX octets of
 * UTF-8. 0, or -1 and why in err: printable ASCII. An address that is none
 * is no error here: EP_BAD_V4, EP_BAD_V6.
 */
int		 xml_parse(struct xml_ctx *, const uint8_t *, size_t,
		    struct tsp_tunnel *, char *, size_t);

#endif /* PARSER_PARSER_H */
