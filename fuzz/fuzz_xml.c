/* XML to struct, and the struct to XML. */
/* COVERS: parser/xml.c */
/* LINK: parser/xml.o session/emit.o session/tsp.o libdstmd.a */
/* LIBS: -lxml2 */
#include <stdlib.h>
#include <string.h>

#include "fuzz/fuzz.h"
#include "parser/parser.h"
#include "session/session.h"

static struct xml_ctx	*x;

void
fuzz_init(void)
{
	if ((x = xml_new()) == NULL)
		abort();
}

static void
printable(const char *text, size_t size)
{
	const char *end = memchr(text, '\0', size);

	MUST(end != NULL && end != text);
	for (; *text != '\0'; text++)
		MUST(*text >= ' ' && *text <= '~');
}

static int
parse(const uint8_t *p, size_t n, struct tsp_tunnel *t)
{
	char err[96];

	memset(err, 1, sizeof(err));
	if (xml_parse(x, p, n, t, err, sizeof(err)) == -1) {
		printable(err, sizeof(err));
		return (-1);
	}
	MUST(t->nbrokers <= TSP_BROKERS);
	MUST(memchr(t->client.dn, '\0', TSP_DN_SIZE) != NULL);
	MUST(memchr(t->server.dn, '\0', TSP_DN_SIZE) != NULL);
	return (0);
}

/*
 * What we write is a frame that we can read, and says the same: written again
 * it is the same octets.
 */
static void
emitted(const struct tsp_tunnel *t, enum tsp_dialect dialect)
{
	char first[TSP_BODY_MAX + 64], second[sizeof(first)];
	struct tsp_tunnel again;
	const uint8_t *body;
	size_t len;
	int n;

	n = emit_tunnel(first, sizeof(first), 0, dialect, t);
	if (n == -1)
		return;
	MUST(tsp_frame((uint8_t *)first, (size_t)n, &body, &len) == n);
	MUST(parse(body, len, &again) == 0);
	MUST(emit_tunnel(second, sizeof(second), 0, dialect, &again) == n);
	MUST(memcmp(first, second, (size_t)n) == 0);
}

void
fuzz_one(const uint8_t *buf, size_t len)
{
	static const char good[] = "<tunnel action=\"info\" type=\"v4v6\"/>";
	struct tsp_tunnel t;

	if (len == 0 || len > TSP_BODY_MAX)
		return;
	if (parse(buf, len, &t) == 0) {
		emitted(&t, DIALECT_DRAFT);
		emitted(&t, DIALECT_RFC);
	}
	/* and the next one is not touched by it */
	MUST(parse((const uint8_t *)good, sizeof(good) - 1, &t) == 0);
	MUST(t.action == ACTION_INFO && t.client.flags == 0);
}
