/* Keytabs of MIT Kerberos. */
/* COVERS: auth/keytab.c */
/* LINK: auth/keytab.o */
#include <stdlib.h>
#include <string.h>

#include "auth/auth.h"
#include "fuzz/fuzz.h"

void
fuzz_init(void)
{
}

void
fuzz_one(const uint8_t *buf, size_t len)
{
	struct keytab_entry e;
	size_t off = 0, before;
	int r;

	if (len > KEYTAB_MAX)
		return;
	do {
		before = off;
		r = keytab_next(buf, len, &off, &e);
		MUST(off <= len || r == -1);
		if (r != 1)
			break;
		MUST(off > before);
		MUST(memchr(e.principal, '\0', sizeof(e.principal)) != NULL);
		MUST(strncmp(e.principal, TSP_SERVICE "/", 4) == 0);
		MUST(strspn(e.principal, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
		    "abcdefghijklmnopqrstuvwxyz0123456789._-:/@") ==
		    strlen(e.principal));
		MUST(e.key_len >= 1 && e.key_len <= sizeof(e.key));
	} while (1);
}
