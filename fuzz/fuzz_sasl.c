/*
 * SASL: both ends of an exchange through the real libraries, with somebody
 * between them. Bytes alone do not get behind the first message, so an input
 * says for each step whether it is the peer's own, a changed one or one of the
 * fuzzer's. Nonces are the same each time: a finding replays.
 */
/* COVERS: auth/sasl.c auth/gss.c */
/* LINK: auth/sasl.o auth/secrets.o auth/calls.o auth/gss.o auth/keytab.o libdstmd.a */
/* LIBS: -lsasl2 -lgssapi_krb5 -lkrb5 -lcrypto -Wl,--wrap=arc4random_buf */
#include <stdlib.h>
#include <string.h>

#include "auth/auth.h"
#include "fuzz/fuzz.h"

#define STEPS	8

/* Of a step's octet. */
enum { OWN, CHANGED, CUT, GROWN, FOREIGN, NONE, NSTEP };

struct side {
	struct exchange	*x;
	uint32_t	 result;
	uint8_t		 out[SASL_BLOB_MAX];
	size_t		 n;
	int		 has;
};

static const uint32_t	 mechs[] = { MECH_SCRAM_SHA_256, MECH_DIGEST_MD5,
    MECH_PLAIN, MECH_ANONYMOUS, MECH_GSSAPI, MECH_CALL };
#define NMECH	(sizeof(mechs) / sizeof(mechs[0]))

/* Of the user "user", whose password is "pencil". */
static const char	 keys[] =
    "!seed:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n!realm:hexos\n"
    "user:SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ=="
    "$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:"
    "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=\n"
    "user:DIGEST-MD5$9839d0bfe75b71bc9295b4571f1fdb06\n";
/* tsp/a@R, one key of aes128-cts */
static const uint8_t	 keytab[] = "\5\2\0\0\0\56\0\2\0\1R\0\3tsp\0\1a"
    "\0\0\0\1\0\0\0\0\1\0\21\0\20kkkkkkkkkkkkkkkk\0\0\0\1";

static uint8_t		 counter;

void	 __wrap_arc4random_buf(void *, size_t);

void
__wrap_arc4random_buf(void *buf, size_t n)
{
	memset(buf, ++counter, n);
}

/* libsasl2 loses what a client says twice, which auth counts. */
const char	*__asan_default_options(void);
const char *
__asan_default_options(void)
{
	return ("detect_leaks=0");
}

void
fuzz_init(void)
{
	sasl_setup();
	sasl_allow(MECH_STORED | MECH_ANONYMOUS | MECH_GSSAPI | MECH_CALL);
	sasl_secrets(secrets_parse(keys, sizeof(keys) - 1));
	if (gss_keytab(keytab, sizeof(keytab) - 1) != 1)
		abort();
}

/* One step of one side; what it says is kept for the other. */
static void
step(struct side *s, const uint8_t *p, size_t n)
{
	int over = s->result != AUTH_MORE;

	s->result = sasl_step(s->x, p, n, s->out, &s->n, &s->has);
	MUST(s->result >= AUTH_MORE && s->result <= AUTH_FAILED);
	MUST(s->n <= sizeof(s->out));
	/* what is over stays so */
	MUST(!over || s->result == AUTH_FAILED);
}

/* What comes to a side that the other one said, on its way. */
static void
pass(struct input *in, struct side *to, const struct side *from, uint32_t how)
{
	uint8_t *p, *piece;
	size_t n, at, m;

	if (how == NONE) {
		step(to, NULL, 0);
		return;
	}
	piece = how == OWN ? NULL : input_piece(in, &m);
	if (how == FOREIGN) {
		if (m <= SASL_BLOB_MAX)
			step(to, piece, m);
		free(piece);
		return;
	}
	n = from->n;
	if ((p = malloc(n + (piece != NULL ? m : 0) + 1)) == NULL)
		abort();
	memcpy(p, from->out, n);
	if (how != OWN) {
		at = n > 0 ? input_number(in, 2) % (n + 1) : 0;
		if (how == CUT)
			n = at;
		else if (how == CHANGED)
			memcpy(p + at, piece, m < n - at ? m : n - at);
		else {
			memmove(p + at + m, p + at, n - at);
			memcpy(p + at, piece, m);
			n += m;
		}
	}
	if (n <= SASL_BLOB_MAX)
		step(to, p, n);
	free(p);
	free(piece);
}

static struct exchange *
client_of(uint32_t mech, const struct call_ends *ends, uint32_t who)
{
	static const char *const names[] = { "user", "none" };
	static const char *const passwords[] = { "pencil", "wrong" };

	return (sasl_call(mech, names[who & 1], passwords[who >> 1 & 1],
	    "[2001:db8::1]:3653", ends));
}

/* Who has come in is whom we know, or nobody in particular. */
static void
believed(const struct side *s, uint32_t mech)
{
	const char *name = sasl_name(s->x);

	if (mech == MECH_ANONYMOUS)
		MUST(strcmp(name, "anonymous") == 0);
	else
		MUST(strcmp(name, "user") == 0);
}

void
fuzz_one(const uint8_t *buf, size_t len)
{
	struct input in = { buf, len };
	struct call_ends ends;
	struct side server, client;
	uint32_t mech, who, how;
	int i;

	counter = 0;
	memset(&ends, 1, sizeof(ends));
	memset(&server, 0, sizeof(server));
	memset(&client, 0, sizeof(client));
	mech = mechs[input_number(&in, 1) % NMECH];
	who = input_number(&in, 1);
	if (who & 4)
		ends.to.s6_addr[0] = 9;
	server.x = sasl_serve(mech, &ends);
	MUST(server.x != NULL);
	ends.to.s6_addr[0] = 1;
	/* the library's client of GSSAPI wants a KDC */
	client.x = mech == MECH_GSSAPI ? NULL : client_of(mech, &ends, who);
	server.result = client.result = AUTH_MORE;
	if (client.x != NULL)
		step(&client, NULL, 0);
	for (i = 0; in.n > 0 && i < STEPS; i++) {
		how = input_number(&in, 1);
		if ((how & 0x80) != 0 && client.x != NULL)
			pass(&in, &client, &server, how % NSTEP);
		else
			pass(&in, &server, &client, how % NSTEP);
		if (server.result == AUTH_OK)
			believed(&server, mech);
		/* nobody is believed by a wrong password, or at another end */
		if (server.result == AUTH_OK && mech == MECH_CALL)
			MUST((who & 7) == 0);
	}
	sasl_end(client.x);
	sasl_end(server.x);
}
