/* The file of passwords by which a server logs in at nodes. */
/* COVERS: auth/calls.c */
/* LINK: auth/calls.o libdstmd.a */
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
	struct calls *c;
	const char *password;
	char name[NAME_SIZE];
	size_t n, i, found = 0;

	if ((c = calls_parse((const char *)buf, len)) == NULL)
		return;
	for (i = 0; i < len; i = n + 1) {
		for (n = i; n < len && buf[n] != '\n' && buf[n] != ':'; n++)
			;
		if (n - i < sizeof(name)) {
			memcpy(name, buf + i, n - i);
			name[n - i] = '\0';
			password = calls_get(c, name);
			MUST(password == NULL || name_valid(name));
			MUST(password == NULL || (password[0] != '\0' &&
			    strlen(password) < PASSWORD_SIZE));
			found += password != NULL;
		}
		while (n < len && buf[n] != '\n')
			n++;
	}
	MUST(found >= calls_count(c));
	calls_free(c);
}
