/* Stored keys, and whole exchanges through the real library. */
/* LINK: auth/sasl.o auth/secrets.o auth/calls.o auth/gss.o auth/keytab.o libdstmd.a */
/* LIBS: -lsasl2 -lgssapi_krb5 -lkrb5 -lcrypto */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>

#include <openssl/evp.h>

#include "auth/auth.h"

#define KEYS	"$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:" \
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
#define PENCIL	"SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==" KEYS
/* MD5 of "user:hexos:pencil" */
#define HA1	"DIGEST-MD5$9839d0bfe75b71bc9295b4571f1fdb06"
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
	    "AAAA$BBBB:CCCC\nanonymous:" PENCIL "\ny:plain\nlast:" PENCIL
	    "\nmore:SCRAM-SHA-256$8192:W22ZaJ0SNY7soEsUEjb6gQ==" KEYS
	    "\nshort:SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsU" KEYS;
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
	assert_string_equal(secrets_realm(s), "");
	assert_int_equal(secrets_check(s, "user", "pencil"), 1);
	assert_int_equal(secrets_check(s, "user", "Pencil"), 0);
	assert_int_equal(secrets_check(s, "nobody", "pencil"), 0);
	secrets_free(s);
}

static void
test_digest_secrets(void **state)
{
	static const char text[] = SEED "a:" HA1 "\nuser:" HA1 "\nuser:" PENCIL
	    "\nuser:" HA1 "\nb:DIGEST-MD5$zz\nc:DIGEST-MD5$\n!realm:hexos\n";
	static const char bad[] = SEED "!realm:Up per\nuser:" HA1 "\n";
	struct secrets *s = secrets_parse(text, sizeof(text) - 1);
	uint8_t a[HA1_SIZE], b[HA1_SIZE];

	(void)state;
	assert_int_equal(secrets_count(s), 2);
	assert_string_equal(secrets_realm(s), "hexos");
	assert_int_equal(secrets_check(s, "user", "pencil"), 1);
	secrets_ha1(s, "user", a);
	assert_int_equal(ha1_make("user", "hexos", "pencil", b), 0);
	assert_memory_equal(a, b, HA1_SIZE);
	secrets_ha1(s, "nobody", a);
	secrets_ha1(s, "nobody", b);
	assert_memory_equal(a, b, HA1_SIZE);
	secrets_ha1(s, "somebody", b);
	assert_memory_not_equal(a, b, HA1_SIZE);
	secrets_free(s);
	s = secrets_parse(bad, sizeof(bad) - 1);
	assert_int_equal(secrets_count(s), 0);
	assert_string_equal(secrets_realm(s), "");
	secrets_free(s);
}

struct run {
	uint32_t	 client, server;	/* last results */
	int		 steps;
	size_t		 lengths[8];
};

/* tamper: of the so many-th message, the server's, an octet is another. */
static struct run
exchange(uint32_t mech, const char *name, const char *password, int tamper)
{
	uint8_t a[SASL_BLOB_MAX], b[SASL_BLOB_MAX];
	struct exchange *c, *s;
	struct run r;
	size_t n, m;
	int has;

	memset(&r, 0, sizeof(r));
	c = sasl_call(mech, name, password, "[2001:db8::1]:3653", NULL);
	s = sasl_serve(mech, NULL);
	r.server = AUTH_MORE;
	r.client = sasl_step(c, NULL, 0, a, &n, &has);
	if (mech == MECH_DIGEST_MD5) {
		assert_int_equal(has, 0);
		r.server = sasl_step(s, NULL, 0, b, &m, &has);
		r.lengths[r.steps++] = m;
		r.client = sasl_step(c, b, m, a, &n, &has);
	}
	while (r.client != AUTH_FAILED && r.server == AUTH_MORE) {
		r.lengths[r.steps++] = n;
		r.server = sasl_step(s, a, n, b, &m, &has);
		if (r.server == AUTH_FAILED)
			break;
		if (r.client == AUTH_OK)	/* PLAIN has no more */
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
	static const uint32_t mechs[] = { MECH_SCRAM_SHA_256, MECH_DIGEST_MD5,
	    MECH_PLAIN };
	static const char text[] = SEED "!realm:hexos\nuser:" PENCIL "\n"
	    "user:" HA1 "\n";
	struct run good, wrong, nobody, forged;
	size_t i;
	int j;

	(void)state;
	sasl_secrets(secrets_parse(text, sizeof(text) - 1));
	for (i = 0; i < 3; i++) {
		/* twice: DIGEST-MD5's client remembers the first */
		for (j = 0; j < 2; j++) {
			good = exchange(mechs[i], "user", "pencil", 0);
			assert_int_equal(good.client, AUTH_OK);
			assert_int_equal(good.server, AUTH_OK);
		}
		wrong = exchange(mechs[i], "user", "Pencil", 0);
		assert_int_equal(wrong.server, AUTH_FAILED);
		assert_true(wrong.client != AUTH_OK || mechs[i] == MECH_PLAIN);
		/* an unknown user: the same steps, of the same lengths */
		nobody = exchange(mechs[i], "none", "Pencil", 0);
		assert_int_equal(nobody.server, AUTH_FAILED);
		assert_int_equal(nobody.steps, wrong.steps);
		for (j = 0; j < nobody.steps; j++)
			assert_int_equal(nobody.lengths[j], wrong.lengths[j]);
		if (mechs[i] == MECH_PLAIN)
			continue;
		/* a server that does not know the key proves nothing */
		forged = exchange(mechs[i], "user", "pencil", good.steps);
		assert_int_equal(forged.client, AUTH_FAILED);
	}
}

static void
hex(const uint8_t *in, char *out)
{
	int i;

	for (i = 0; i < HA1_SIZE; i++)
		snprintf(out + 2 * i, 3, "%02x", in[i]);
}

/* MD5 of up to three parts with colons between them, as hex digits. */
static void
md5_hex(char *out, const char *a, const char *b, const char *c)
{
	uint8_t digest[HA1_SIZE];
	char text[512];
	int n;

	n = snprintf(text, sizeof(text), "%s:%s%s%s", a, b, c ? ":" : "",
	    c ? c : "");
	assert_int_equal(EVP_Digest(text, (size_t)n, digest, NULL, EVP_md5(),
	    NULL), 1);
	hex(digest, out);
}

/*
 * RFC 5572, figure 12: what its client and server say follows from what we
 * store (RFC 2831, 2.1.2.1).
 */
static void
test_figure_12(void **state)
{
	static const char nonces[] = "1113908968:1113923311";
	uint8_t a1[HA1_SIZE + sizeof(nonces)], digest[HA1_SIZE];
	char ha1[33], a2[33], answer[33];

	(void)state;
	assert_int_equal(ha1_make("username1", "hexos", "password", a1), 0);
	a1[HA1_SIZE] = ':';
	memcpy(a1 + HA1_SIZE + 1, nonces, sizeof(nonces) - 1);
	assert_int_equal(EVP_Digest(a1, sizeof(a1), digest, NULL, EVP_md5(),
	    NULL), 1);
	hex(digest, ha1);
	md5_hex(a2, "AUTHENTICATE", "tsp/hexos", NULL);
	md5_hex(answer, ha1, "1113908968:00000001:1113923311:auth", a2);
	assert_string_equal(answer, "f8e42b3c50c59771853f6274fcffd1ca");
	md5_hex(a2, "", "tsp/hexos", NULL);
	md5_hex(answer, ha1, "1113908968:00000001:1113923311:auth", a2);
	assert_string_equal(answer, "70d5cabc9235568be380ba2c907381fe");
}

/* libsasl2 loses what a client says twice, which auth counts. */
const char	*__lsan_default_suppressions(void);
const char *
__lsan_default_suppressions(void)
{
	return ("leak:libdigestmd5");
}

/* A client's message is hostile: an end, not a crash. */
static void
test_digest_garbage(void **state)
{
	static const char *const texts[] = { "", "x", "username", "=,=,=",
	    "username=\"user\"", "username=\"user\",realm=\"hexos\"",
	    "username=\"user\",realm=\"other\",nonce=\"1\",cnonce=\"2\","
	    "nc=00000001,qop=auth,digest-uri=\"tsp/x\",response=0",
	    "username=\"us er\",nonce=\"1\",nonce=\"1\"",
	    "username=\"user", "nc=ffffffffff,qop=auth-conf,maxbuf=0" };
	uint8_t out[SASL_BLOB_MAX];
	struct exchange *s;
	size_t i, n, memory = sasl_memory();
	int has;

	(void)state;
	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		s = sasl_serve(MECH_DIGEST_MD5, NULL);
		assert_int_equal(sasl_step(s, NULL, 0, out, &n, &has),
		    AUTH_MORE);
		/* what the field client needs, without a space */
		out[n] = '\0';
		assert_non_null(strstr((char *)out, "realm=\"hexos\""));
		assert_non_null(strstr((char *)out, "nonce=\""));
		assert_non_null(strstr((char *)out, "qop=\"auth\""));
		assert_non_null(strstr((char *)out, "charset=utf-8"));
		assert_null(strchr((char *)out, ' '));
		assert_int_equal(sasl_step(s, (const uint8_t *)texts[i],
		    strlen(texts[i]), out, &n, &has), AUTH_FAILED);
		sasl_end(s);
	}
	assert_in_range(sasl_memory(), memory, memory + 100);
}

static void
test_plain_garbage(void **state)
{
	static const struct { const char *text; size_t len; } in[] = {
		{ "", 0 }, { "\0", 1 }, { "\0\0", 2 }, { "\0user", 5 },
		{ "\0user\0", 6 }, { "user\0pencil", 11 },
		{ "\0user\0pencil\0", 13 }, { "\0user\0pencil\0x", 14 },
		{ "other\0user\0pencil", 17 }, { "\0us er\0pencil", 13 },
		{ "\0user@hexos\0pencil", 18 }, { "\0anonymous\0x", 12 },
	};
	uint8_t out[SASL_BLOB_MAX];
	struct exchange *s;
	size_t i, n;
	int has;

	(void)state;
	for (i = 0; i < sizeof(in) / sizeof(in[0]); i++) {
		s = sasl_serve(MECH_PLAIN, NULL);
		assert_int_equal(sasl_step(s, (const uint8_t *)in[i].text,
		    in[i].len, out, &n, &has), AUTH_FAILED);
		sasl_end(s);
	}
	s = sasl_serve(MECH_PLAIN, NULL);
	assert_int_equal(sasl_step(s, (const uint8_t *)"user\0user\0pencil", 16,
	    out, &n, &has), AUTH_OK);
	sasl_end(s);
}

/* What is not configured does not start. */
static void
test_allowed(void **state)
{
	static const uint32_t all[] = { MECH_SCRAM_SHA_256, MECH_DIGEST_MD5,
	    MECH_PLAIN, MECH_ANONYMOUS };
	static const char text[] = SEED "user:" PENCIL "\n";
	struct exchange *s;
	size_t i, j;

	(void)state;
	for (i = 0; i < 4; i++) {
		sasl_allow(all[i]);
		for (j = 0; j < 4; j++) {
			s = sasl_serve(all[j], NULL);
			if (i == j)
				assert_non_null(s);
			else
				assert_null(s);
			sasl_end(s);
		}
	}
	sasl_allow(MECH_STORED | MECH_ANONYMOUS | MECH_GSSAPI);
	assert_null(sasl_serve(MECH_GSSAPI, NULL));	/* no keytab */
	sasl_secrets(secrets_parse(text, sizeof(text) - 1));
	assert_null(sasl_serve(MECH_DIGEST_MD5, NULL));	/* no realm */
}

/* Two keys of two services, with a hole between them. */
static void
test_keytab(void **state)
{
	static const uint8_t tab[] =
	    "\x05\x02" "\0\0\0\x2b" "\0\x02" "\0\x01R" "\0\x04host" "\0\x01h"
	    "\0\0\0\x01" "\0\0\0\0" "\x01" "\0\x11"
	    "\0\x10" "0123456789abcdef" "\xff\xff\xff\xfe" "xx"
	    "\0\0\0\x30" "\0\x02" "\0\x01R" "\0\x03tsp" "\0\x03h.x"
	    "\0\0\0\x01" "\0\0\0\0" "\x01" "\0\x11"
	    "\0\x10" "0123456789abcdef" "\0\0\x01\x02";
	struct keytab_entry e;
	uint8_t copy[sizeof(tab)];
	size_t off = 0, i, len = sizeof(tab) - 1;
	int r;

	(void)state;
	assert_int_equal(keytab_next(tab, len, &off, &e), 1);
	assert_string_equal(e.principal, "tsp/h.x@R");
	assert_int_equal(e.vno, 258);
	assert_int_equal(e.enctype, 17);
	assert_int_equal(e.key_len, 16);
	assert_memory_equal(e.key, "0123456789abcdef", 16);
	assert_int_equal(keytab_next(tab, len, &off, &e), 0);
	/* cut off anywhere, any octet another: an end */
	for (i = 0; i < len; i++) {
		off = 0;
		while (keytab_next(tab, i, &off, &e) == 1)
			;
		memcpy(copy, tab, sizeof(tab));
		copy[i] ^= 0xff;
		off = 0;
		while ((r = keytab_next(copy, len, &off, &e)) == 1)
			;
		assert_true(r == 0 || r == -1);
	}
	assert_int_equal(gss_keytab(tab, len), 1);
	assert_int_equal(gss_keytab(tab, 2), 0);
	assert_int_equal(gss_keytab(tab, 20), -1);
	assert_int_equal(gss_keytab((const uint8_t *)"x", 1), -1);
}

static void
test_gss_garbage(void **state)
{
	uint8_t in[256], out[SASL_BLOB_MAX];
	struct exchange *s;
	size_t n;
	int has, i;

	(void)state;
	for (i = 0; i < 1000; i++) {
		arc4random_buf(in, sizeof(in));
		if (i % 2)
			memcpy(in, "\x60\x81\xfd\x06\x09\x2a\x86\x48\x86\xf7"
			    "\x12\x01\x02\x02\x01\x00\x6e", 17);
		assert_non_null(s = sasl_serve(MECH_GSSAPI, NULL));
		assert_int_equal(sasl_step(s, in, i < 2 ? 0 : sizeof(in), out,
		    &n, &has), AUTH_FAILED);
		assert_int_equal(has, 0);
		assert_int_equal(sasl_step(s, in, 0, out, &n, &has),
		    AUTH_FAILED);
		sasl_end(s);
	}
}

/*
 * A server calls its node: a client and a server of these mechanisms, each
 * with its own view of the connection.
 */
static struct run
call(uint32_t from, const struct call_ends *c_ends, uint32_t to,
    const struct call_ends *s_ends)
{
	uint8_t a[SASL_BLOB_MAX], b[SASL_BLOB_MAX];
	struct exchange *c, *s;
	struct run r;
	size_t n, m;
	int has;

	memset(&r, 0, sizeof(r));
	assert_non_null(c = sasl_call(from, "user", "pencil", "h", c_ends));
	assert_non_null(s = sasl_serve(to, s_ends));
	r.client = sasl_step(c, NULL, 0, a, &n, &has);
	r.server = sasl_step(s, a, n, b, &m, &has);
	if (r.server == AUTH_MORE)
		r.client = sasl_step(c, b, m, a, &n, &has);
	if (r.client == AUTH_MORE && r.server == AUTH_MORE)
		r.server = sasl_step(s, a, n, b, &m, &has);
	if (r.server == AUTH_OK) {
		r.client = sasl_step(c, b, m, a, &n, &has);
		assert_string_equal(sasl_name(s), "user");
	}
	sasl_end(c);
	sasl_end(s);
	return (r);
}

static void
test_call(void **state)
{
	static const char text[] = SEED "user:" PENCIL "\n";
	struct call_ends ends, back, relay;
	struct run r;

	(void)state;
	assert_int_equal(inet_pton(AF_INET6, "2001:db8::1", &ends.from), 1);
	assert_int_equal(inet_pton(AF_INET6, "2001:db8::5", &ends.to), 1);
	back.from = ends.to;
	back.to = ends.from;
	relay = ends;
	assert_int_equal(inet_pton(AF_INET6, "2001:db8::6", &relay.to), 1);
	sasl_secrets(secrets_parse(text, sizeof(text) - 1));
	sasl_allow(MECH_CALL);
	assert_null(sasl_serve(MECH_SCRAM_SHA_256, NULL));
	r = call(MECH_CALL, &ends, MECH_CALL, &ends);
	sasl_allow(MECH_STORED | MECH_CALL);
	assert_int_equal(r.client, AUTH_OK);
	assert_int_equal(r.server, AUTH_OK);
	/* piped on to another node, or back to where it came from */
	r = call(MECH_CALL, &ends, MECH_CALL, &relay);
	assert_int_equal(r.server, AUTH_FAILED);
	assert_int_not_equal(r.client, AUTH_OK);
	r = call(MECH_CALL, &ends, MECH_CALL, &back);
	assert_int_equal(r.server, AUTH_FAILED);
	/* a login made a call of, and a call a login */
	r = call(MECH_SCRAM_SHA_256, NULL, MECH_CALL, &ends);
	assert_int_equal(r.server, AUTH_FAILED);
	r = call(MECH_CALL, &ends, MECH_SCRAM_SHA_256, NULL);
	assert_int_equal(r.server, AUTH_FAILED);
	/* nobody is called who does not offer it */
	sasl_allow(MECH_STORED);
	assert_null(sasl_serve(MECH_CALL, &ends));
}

static void
test_calls(void **state)
{
	static const char text[] = "# nodes\nbob:se:cret\nalice:pencil\r\n\n"
	    "nobody\n:none\nempty:\nanonymous:x\ntwice:a\ntwice:b\n"
	    "bad name:x\nlast:one";
	struct calls *c = calls_parse(text, sizeof(text) - 1);

	(void)state;
	assert_int_equal(calls_count(c), 3);
	assert_string_equal(calls_get(c, "alice"), "pencil");
	assert_string_equal(calls_get(c, "bob"), "se:cret");
	assert_string_equal(calls_get(c, "last"), "one");
	assert_null(calls_get(c, "twice"));
	assert_null(calls_get(c, "nobody"));
	assert_null(calls_get(NULL, "alice"));
	calls_free(c);
	calls_free(NULL);
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
		c = sasl_call(MECH_SCRAM_SHA_256, "user", "pencil", "h",
		    NULL);
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
	struct exchange *s = sasl_serve(MECH_ANONYMOUS, NULL);
	size_t n;
	int has;

	(void)state;
	assert_int_equal(sasl_step(s, (const uint8_t *)"", 0, out, &n, &has),
	    AUTH_OK);
	assert_string_equal(sasl_name(s), "anonymous");
	sasl_end(s);
	assert_null(sasl_serve(0x8000, NULL));
	assert_null(sasl_serve(MECH_STORED | MECH_ANONYMOUS, NULL));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scram), cmocka_unit_test(test_secrets),
		cmocka_unit_test(test_digest_secrets),
		cmocka_unit_test(test_exchange),
		cmocka_unit_test(test_iterations),
		cmocka_unit_test(test_anonymous),
		cmocka_unit_test(test_figure_12),
		cmocka_unit_test(test_digest_garbage),
		cmocka_unit_test(test_plain_garbage),
		cmocka_unit_test(test_allowed), cmocka_unit_test(test_keytab),
		cmocka_unit_test(test_gss_garbage),
		cmocka_unit_test(test_call), cmocka_unit_test(test_calls),
	};

	sasl_setup();
	sasl_allow(MECH_STORED | MECH_ANONYMOUS);
	return (cmocka_run_group_tests_name("sasl", tests, NULL, NULL));
}
