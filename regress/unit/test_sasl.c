/* Stored keys, and whole exchanges through the real library. */
/* LINK: auth/sasl.o auth/secrets.o dstmctl/scram.o libdstmd.a */
/* LIBS: -lsasl2 -lcrypto */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "auth/auth.h"
#include "dstmctl/dstmctl.h"

#define PENCIL	"SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnk" \
    "di4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
#define SEED	"!seed:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"

/* RFC 7677, 3: its salt and password */
static void
test_scram(void **state)
{
	static const uint8_t salt[] = {
		0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e,
		0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81
	};
	char out[SECRET_SIZE];

	(void)state;
	assert_int_equal(scram_make("pencil", 4096, salt, sizeof(salt), out,
	    sizeof(out)), 0);
	assert_string_equal(out, PENCIL);
	assert_int_equal(scram_make("pencil", 4096, salt, sizeof(salt), out,
	    20), -1);
}

static void
test_secrets(void **state)
{
	static const char text[] = SEED "# a comment\n\nuser:" PENCIL "\n"
	    "user:" PENCIL "\nbad name:" PENCIL "\nnokey\nx:SCRAM-SHA-256$1:"
	    "AAAA$BBBB:CCCC\nanonymous:" PENCIL "\ny:plain\nlast:" PENCIL;
	struct secrets *s = secrets_parse(text, sizeof(text) - 1);
	char a[SECRET_SIZE], b[SECRET_SIZE];

	(void)state;
	assert_int_equal(secrets_count(s), 2);
	secrets_get(s, "user", a, sizeof(a));
	assert_string_equal(a, PENCIL);
	secrets_get(s, "last", a, sizeof(a));
	assert_string_equal(a, PENCIL);
	/* who does not exist has a key too, always the same, of one form */
	secrets_get(s, "nobody", a, sizeof(a));
	secrets_get(s, "nobody", b, sizeof(b));
	assert_string_equal(a, b);
	assert_int_equal(strlen(a), strlen(PENCIL));
	secrets_get(s, "somebody", b, sizeof(b));
	assert_string_not_equal(a, b);
	secrets_free(s);
}

struct run {
	uint32_t	 client, server;	/* last results */
	int		 steps;
	size_t		 lengths[8];
};

static struct run
exchange(const char *name, const char *password, int tamper)
{
	uint8_t a[SASL_BLOB_MAX], b[SASL_BLOB_MAX];
	struct exchange *c, *s;
	struct run r;
	size_t n, m;
	int has;

	memset(&r, 0, sizeof(r));
	c = sasl_call(MECH_SCRAM_SHA_256, name, password);
	s = sasl_serve(MECH_SCRAM_SHA_256);
	r.client = sasl_step(c, NULL, 0, a, &n, &has);
	while (r.client == AUTH_MORE) {
		r.lengths[r.steps++] = n;
		r.server = sasl_step(s, a, n, b, &m, &has);
		if (r.server == AUTH_FAILED)
			break;
		r.lengths[r.steps++] = m;
		if (r.steps == tamper)
			b[m - 5] ^= 1;
		r.client = sasl_step(c, b, m, a, &n, &has);
	}
	if (r.server == AUTH_OK)
		assert_string_equal(sasl_name(s), name);
	/* a step after the end is no success */
	if (r.server != AUTH_MORE)
		assert_int_equal(sasl_step(s, a, n, b, &m, &has),
		    AUTH_FAILED);
	sasl_end(c);
	sasl_end(s);
	return (r);
}

static void
test_exchange(void **state)
{
	static const char text[] = SEED "user:" PENCIL "\n";
	struct run good, wrong, nobody, forged;
	int i;

	(void)state;
	sasl_secrets(secrets_parse(text, sizeof(text) - 1));
	good = exchange("user", "pencil", 0);
	assert_int_equal(good.client, AUTH_OK);
	assert_int_equal(good.server, AUTH_OK);
	wrong = exchange("user", "Pencil", 0);
	assert_int_equal(wrong.server, AUTH_FAILED);
	assert_int_not_equal(wrong.client, AUTH_OK);
	/* an unknown user: the same steps, of the same lengths */
	nobody = exchange("none", "Pencil", 0);
	assert_int_equal(nobody.server, AUTH_FAILED);
	assert_int_equal(nobody.steps, wrong.steps);
	for (i = 0; i < nobody.steps; i++)
		assert_int_equal(nobody.lengths[i], wrong.lengths[i]);
	/* a server that does not know the key proves nothing */
	forged = exchange("user", "pencil", 4);
	assert_int_equal(forged.client, AUTH_FAILED);
}

static void
test_iterations(void **state)
{
	uint8_t out[SASL_BLOB_MAX];
	char first[128];
	struct exchange *c;
	const char *r;
	size_t n;
	int has, i;
	static const char *const counts[] = { "1", "4095", "20001", "x", "" };

	(void)state;
	for (i = 0; i < 5; i++) {
		c = sasl_call(MECH_SCRAM_SHA_256, "user", "pencil");
		assert_int_equal(sasl_step(c, NULL, 0, out, &n, &has),
		    AUTH_MORE);
		out[n] = '\0';
		r = strstr((char *)out, "r=");
		assert_non_null(r);
		snprintf(first, sizeof(first), "%sX,s=W22ZaJ0SNY7soEsUEjb6gQ=="
		    ",i=%s", r, counts[i]);
		assert_int_equal(sasl_step(c, (uint8_t *)first,
		    strlen(first), out, &n, &has), AUTH_FAILED);
		sasl_end(c);
	}
}

static void
test_anonymous(void **state)
{
	uint8_t out[SASL_BLOB_MAX];
	struct exchange *s = sasl_serve(MECH_ANONYMOUS);
	size_t n;
	int has;

	(void)state;
	assert_int_equal(sasl_step(s, (const uint8_t *)"", 0, out, &n, &has),
	    AUTH_OK);
	assert_string_equal(sasl_name(s), "anonymous");
	sasl_end(s);
	assert_null(sasl_serve(0x8000));
	assert_null(sasl_serve(MECH_ALL));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scram), cmocka_unit_test(test_secrets),
		cmocka_unit_test(test_exchange),
		cmocka_unit_test(test_iterations),
		cmocka_unit_test(test_anonymous),
	};

	sasl_setup();
	return (cmocka_run_group_tests_name("sasl", tests, NULL, NULL));
}
