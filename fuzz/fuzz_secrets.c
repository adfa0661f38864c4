/* The file of stored keys. */
/* COVERS: auth/secrets.c */
/* LINK: auth/secrets.o libdstmd.a */
/* LIBS: -lcrypto */
#include <stdlib.h>
#include <string.h>

#include "auth/auth.h"
#include "fuzz/fuzz.h"

void
fuzz_init(void)
{
}

/* A key of the one form, whoever it is of. */
static void
key_of(const struct secrets *s, const char *name)
{
	char key[SECRET_SIZE], fake[SECRET_SIZE];
	uint8_t ha1[HA1_SIZE];

	secrets_get(s, name, key, sizeof(key));
	secrets_get(s, "no one", fake, sizeof(fake));
	MUST(strncmp(key, "SCRAM-SHA-256$", 14) == 0);
	MUST(strlen(key) == strlen(fake));
	secrets_ha1(s, name, ha1);
	/* this one takes milliseconds, so for a few inputs only */
	if (strcmp(name, "check") == 0)
		MUST(!secrets_check(s, name, "pencil") || secrets_count(s) > 0);
}

void
fuzz_one(const uint8_t *buf, size_t len)
{
	struct secrets *s;
	char name[NAME_SIZE];
	size_t n, i;

	if ((s = secrets_parse((const char *)buf, len)) == NULL)
		return;
	MUST(secrets_realm(s)[0] == '\0' || realm_valid(secrets_realm(s)));
	/* the names in it, and one that is not */
	for (i = 0; i < len; i = n + 1) {
		for (n = i; n < len && buf[n] != '\n' && buf[n] != ':'; n++)
			;
		if (n - i < sizeof(name)) {
			memcpy(name, buf + i, n - i);
			name[n - i] = '\0';
			key_of(s, name);
		}
		while (n < len && buf[n] != '\n')
			n++;
	}
	MUST(secrets_count(s) <= len);
	secrets_free(s);
}
