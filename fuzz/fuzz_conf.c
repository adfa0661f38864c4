/* The configuration: what is accepted prints as something that says the same. */
/* COVERS: priv/parse.y priv/lex.c priv/value.c priv/conf.c priv/conf-print.c */
/* LINK: priv/parse.o priv/lex.o priv/value.o priv/conf.o priv/conf-print.o libdstmd.a */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/fuzz.h"
#include "priv/conf.h"

void
fuzz_init(void)
{
}

static char *
print(const struct conf *conf, size_t *len)
{
	char *text = NULL;
	FILE *f;

	if ((f = open_memstream(&text, len)) == NULL)
		abort();
	conf_print(conf, f);
	if (fclose(f) == EOF)
		abort();
	return (text);
}

void
fuzz_one(const uint8_t *buf, size_t len)
{
	struct conf *conf, *again;
	char *text, *text2;
	size_t n, n2;

	if ((conf = conf_parse_text("t", (const char *)buf, len)) == NULL)
		return;
	text = print(conf, &n);
	again = conf_parse_text("t", text, n);
	MUST(again != NULL);
	text2 = print(again, &n2);
	MUST(n == n2 && memcmp(text, text2, n) == 0);
	free(text);
	free(text2);
	conf_free(conf);
	conf_free(again);
}
