/*
 * SASL: both ends of an exchange through the real libraries, with somebody
 * between them. Bytes alone do not get behind the first message, so an input
 * says for each step whether it is the peer's own, a changed one or one of the
 * fuzzer's. Nonces are the same each time: a finding replays (but for what
 * Kerberos draws). Kerberos has no KDC here: we know the service's key, and
 * make the tickets ourselves.
 */
/* COVERS: auth/sasl.c auth/gss.c */
/* LINK: auth/sasl.o auth/secrets.o auth/calls.o auth/gss.o auth/keytab.o libdstmd.a */
/* LIBS: -lsasl2 -lgssapi_krb5 -lkrb5 -lcrypto -Wl,--wrap=arc4random_buf */
#include <gssapi/gssapi.h>
#include <gssapi/gssapi_ext.h>
#include <gssapi/gssapi_krb5.h>
#include <krb5.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "auth/auth.h"
#include "fuzz/fuzz.h"

#define STEPS	8

/* Of a step's octet. */
enum { OWN, CHANGED, CUT, GROWN, FOREIGN, NONE, NSTEP };

/* Of the octet that says who calls; for GSSAPI the first two: which ticket. */
#define WHO_TICKET(w)	((w) & 3)
#define WHO_ELSEWHERE	0x04	/* to another end */
#define WHO_ALONE	0x08	/* GSSAPI: not mutual */
#define WHO_FOR(w)	((w) >> 4 & 3)	/* acts for nobody, himself, another */
#define WHO_CLIENT	0x40	/* GSSAPI: there is one */

/* Our own client of GSSAPI. */
struct caller {
	uint32_t	 who;
	gss_ctx_id_t	 ctx;
	int		 open;		/* the context is there */
};

struct side {
	struct exchange	*x;
	struct caller	*caller;	/* instead */
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

/* Who has a ticket: the third's name is none of ours, the last key is weak. */
static const struct { const char *name; krb5_enctype type; } tickets[] = {
	{ "user@R", ENCTYPE_AES128_CTS_HMAC_SHA1_96 },
	{ "user@S", ENCTYPE_AES128_CTS_HMAC_SHA1_96 },
	{ "us er@R", ENCTYPE_AES128_CTS_HMAC_SHA1_96 },
	{ "user@R", ENCTYPE_ARCFOUR_HMAC },
};
#define NTICKET	(sizeof(tickets) / sizeof(tickets[0]))
#define YEAR	31536000
static gss_cred_id_t	 creds[NTICKET];
static gss_name_t	 service;

/* Of libkrb5, in no header of its. */
krb5_error_code	 krb5_encrypt_tkt_part(krb5_context, const krb5_keyblock *,
		    krb5_ticket *);
krb5_error_code	 encode_krb5_ticket(const krb5_ticket *, krb5_data **);

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

static krb5_principal
principal(krb5_context krb, const char *name)
{
	krb5_principal p;

	if (krb5_parse_name(krb, name, &p) != 0)
		abort();
	return (p);
}

/* What a KDC would have sent, encoded. */
static krb5_data *
ticket_of(krb5_context krb, const krb5_creds *c)
{
	static uint8_t octets[] = "kkkkkkkkkkkkkkkk";
	const krb5_keyblock key = { .enctype =
	    ENCTYPE_AES128_CTS_HMAC_SHA1_96, .length = 16, .contents = octets };
	krb5_enc_tkt_part part;
	krb5_ticket ticket;
	krb5_keyblock session = c->keyblock;
	krb5_data *data;

	memset(&part, 0, sizeof(part));
	part.session = &session;
	part.client = c->client;
	part.times = c->times;
	memset(&ticket, 0, sizeof(ticket));
	ticket.server = c->server;
	ticket.enc_part2 = &part;
	if (krb5_encrypt_tkt_part(krb, &key, &ticket) != 0)
		abort();
	ticket.enc_part.kvno = 1;
	if (encode_krb5_ticket(&ticket, &data) != 0)
		abort();
	return (data);
}

static void
forge(krb5_context krb, size_t i)
{
	static uint8_t octets[] = "ssssssssssssssss";
	char name[32];
	gss_key_value_element_desc where = { "ccache", name };
	gss_key_value_set_desc store = { 1, &where };
	gss_OID_set_desc mech = { 1, (gss_OID)(uintptr_t)gss_mech_krb5 };
	krb5_ccache cc;
	krb5_creds c;
	OM_uint32 minor;

	memset(&c, 0, sizeof(c));
	c.client = principal(krb, tickets[i].name);
	c.server = principal(krb, "tsp/a@R");
	c.keyblock.enctype = tickets[i].type;
	c.keyblock.length = 16;
	c.keyblock.contents = octets;
	c.times.authtime = c.times.starttime = (krb5_timestamp)time(NULL);
	c.times.endtime = c.times.authtime + YEAR;
	c.ticket = *ticket_of(krb, &c);
	snprintf(name, sizeof(name), "MEMORY:fuzz%zu", i);
	if (krb5_cc_resolve(krb, name, &cc) != 0 ||
	    krb5_cc_initialize(krb, cc, c.client) != 0 ||
	    krb5_cc_store_cred(krb, cc, &c) != 0 ||
	    gss_acquire_cred_from(&minor, GSS_C_NO_NAME, GSS_C_INDEFINITE,
	    &mech, GSS_C_INITIATE, &store, &creds[i], NULL, NULL) !=
	    GSS_S_COMPLETE)
		abort();
}

static void
forge_all(void)
{
	char text[] = "tsp/a@R";
	gss_buffer_desc name = { sizeof(text) - 1, text };
	krb5_context krb;
	OM_uint32 minor;
	size_t i;

	if (krb5_init_context(&krb) != 0 || gss_import_name(&minor, &name,
	    GSS_KRB5_NT_PRINCIPAL_NAME, &service) != GSS_S_COMPLETE)
		abort();
	for (i = 0; i < NTICKET; i++)
		forge(krb, i);
}

void
fuzz_init(void)
{
	sasl_setup();
	sasl_allow(MECH_STORED | MECH_ANONYMOUS | MECH_GSSAPI | MECH_CALL);
	sasl_secrets(secrets_parse(keys, sizeof(keys) - 1));
	if (gss_keytab(keytab, sizeof(keytab) - 1) != 1)
		abort();
	forge_all();
}

/* RFC 4752, 3.1: no layer, and perhaps for whom. */
static OM_uint32
choose(struct caller *c, gss_buffer_t in, gss_buffer_t out)
{
	static const char *const whom[] = { "", "user", "other", "user2" };
	char text[16] = "\1\0\0\0";
	gss_buffer_desc offer, plain = { 4, text };
	OM_uint32 major, minor;

	major = gss_unwrap(&minor, c->ctx, in, &offer, NULL, NULL);
	if (major != GSS_S_COMPLETE)
		return (major);
	(void)gss_release_buffer(&minor, &offer);
	strlcpy(text + 4, whom[WHO_FOR(c->who)], sizeof(text) - 4);
	plain.length += strlen(text + 4);
	return (gss_wrap(&minor, c->ctx, 0, GSS_C_QOP_DEFAULT, &plain, NULL,
	    out));
}

static uint32_t
caller_step(struct caller *c, const uint8_t *p, size_t n, uint8_t *out,
    size_t *len)
{
	gss_buffer_desc in = { n, (void *)(uintptr_t)p };
	gss_buffer_desc token = GSS_C_EMPTY_BUFFER;
	OM_uint32 flags = GSS_C_INTEG_FLAG, major, minor;

	if ((c->who & WHO_ALONE) == 0)
		flags |= GSS_C_MUTUAL_FLAG;
	if (c->open)
		major = choose(c, &in, &token);
	else
		major = gss_init_sec_context(&minor, creds[WHO_TICKET(c->who)],
		    &c->ctx, service, (gss_OID)(uintptr_t)gss_mech_krb5, flags,
		    0, NULL, &in, NULL, &token, NULL, NULL);
	if (major == GSS_S_COMPLETE)
		c->open = 1;
	*len = token.length <= SASL_BLOB_MAX ? token.length : 0;
	if (*len > 0)
		memcpy(out, token.value, *len);
	(void)gss_release_buffer(&minor, &token);
	return (GSS_ERROR(major) ? AUTH_FAILED : AUTH_MORE);
}

/* One step of one side; what it says is kept for the other. */
static void
step(struct side *s, const uint8_t *p, size_t n)
{
	int over = s->result != AUTH_MORE;

	if (s->caller != NULL) {
		s->result = over ? AUTH_FAILED :
		    caller_step(s->caller, p, n, s->out, &s->n);
		return;
	}
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
	struct caller caller = { .ctx = GSS_C_NO_CONTEXT };
	OM_uint32 minor;
	uint32_t mech, who, how;
	int i;

	counter = 0;
	memset(&ends, 1, sizeof(ends));
	memset(&server, 0, sizeof(server));
	memset(&client, 0, sizeof(client));
	mech = mechs[input_number(&in, 1) % NMECH];
	caller.who = who = input_number(&in, 1);
	if (who & WHO_ELSEWHERE)
		ends.to.s6_addr[0] = 9;
	server.x = sasl_serve(mech, &ends);
	MUST(server.x != NULL);
	ends.to.s6_addr[0] = 1;
	if (mech == MECH_GSSAPI && (who & WHO_CLIENT) != 0)
		client.caller = &caller;
	client.x = mech == MECH_GSSAPI ? NULL : client_of(mech, &ends, who);
	server.result = client.result = AUTH_MORE;
	if (client.x != NULL || client.caller != NULL)
		step(&client, NULL, 0);
	for (i = 0; in.n > 0 && i < STEPS; i++) {
		how = input_number(&in, 1);
		if ((how & 0x80) != 0 &&
		    (client.x != NULL || client.caller != NULL))
			pass(&in, &client, &server, how % NSTEP);
		else
			pass(&in, &server, &client, how % NSTEP);
		if (server.result == AUTH_OK)
			believed(&server, mech);
		/* nobody is believed by a wrong password, or at another end */
		if (server.result == AUTH_OK && mech == MECH_CALL)
			MUST((who & 7) == 0);
		/* nor one of elsewhere, without proof of us, for another */
		if (server.result == AUTH_OK && mech == MECH_GSSAPI)
			MUST(WHO_TICKET(who) % 3 == 0 && WHO_FOR(who) < 2 &&
			    (who & WHO_ALONE) == 0);
	}
	(void)gss_delete_sec_context(&minor, &caller.ctx, GSS_C_NO_BUFFER);
	sasl_end(client.x);
	sasl_end(server.x);
}
