/*
 * GSSAPI (RFC 4752), Kerberos, as server. Here on the GSS-API itself: the
 * plugin of libsasl2 wants krb5.conf at each login, of which there is none
 * in the sandbox, and can not be told to insist on mutual authentication.
 *
 * No replay cache, as it would be a file: who replays a login fails because
 * the context has a key of our own choice, fresh each time, which mutual
 * authentication with AES keys gives; other contexts are refused.
 */
#include <sys/types.h>

#include <gssapi/gssapi.h>
#include <gssapi/gssapi_ext.h>
#include <gssapi/gssapi_krb5.h>
#include <krb5.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/auth.h"

#define NO_LAYER	1	/* RFC 4752, 3.3 */

struct gss {
	enum { GSS_ACCEPT, GSS_OFFER, GSS_CHOICE, GSS_DONE } state;
	gss_ctx_id_t	 ctx;
	gss_name_t	 peer;
	char		 name[NAME_SIZE];
};

static krb5_context	 krb;
static krb5_keytab	 keytab;	/* in memory */
static gss_cred_id_t	 cred = GSS_C_NO_CREDENTIAL;

/* Why, for who debugs: peers can make any number of these. */
static void
log_gss(const char *what, OM_uint32 major, OM_uint32 minor)
{
	gss_buffer_desc text;
	OM_uint32 m, more = 0;
	int code = GSS_C_GSS_CODE;

	/* the mechanism knows more where the error is its own */
	if (GSS_ROUTINE_ERROR(major) == GSS_S_FAILURE)
		code = GSS_C_MECH_CODE;
	if (gss_display_status(&m, code == GSS_C_MECH_CODE ? minor : major,
	    code, gss_mech_krb5, &more, &text) != GSS_S_COMPLETE)
		return;
	log_debug("GSSAPI: %s: %.*s", what, (int)text.length,
	    (const char *)text.value);
	(void)gss_release_buffer(&m, &text);
}

/*
 * The keytab
 */
static int
add_entry(krb5_keytab kt, const struct keytab_entry *e)
{
	krb5_keytab_entry entry;
	int r;

	memset(&entry, 0, sizeof(entry));
	if (krb5_parse_name(krb, e->principal, &entry.principal) != 0)
		return (-1);
	entry.vno = e->vno;
	entry.key.enctype = (krb5_enctype)e->enctype;
	entry.key.length = (unsigned)e->key_len;
	entry.key.contents = (krb5_octet *)(uintptr_t)e->key;
	r = krb5_kt_add_entry(krb, kt, &entry) == 0 ? 0 : -1;
	krb5_free_principal(krb, entry.principal);
	return (r);
}

/* The keys of our service into a keytab in memory: how many, or -1. */
static int
fill_keytab(krb5_keytab kt, const uint8_t *buf, size_t len)
{
	struct keytab_entry e;
	size_t off = 0;
	int r, n = 0;

	while ((r = keytab_next(buf, len, &off, &e)) == 1)
		if (add_entry(kt, &e) == 0)
			n++;
	explicit_bzero(&e, sizeof(e));
	return (r == -1 ? -1 : n);
}

static int
acquire(const char *name, gss_cred_id_t *new)
{
	gss_key_value_element_desc elements[] = {
		{ "keytab", name }, { "rcache", "none:" }
	};
	gss_key_value_set_desc store = { 2, elements };
	gss_OID_set_desc mechs = { 1, (gss_OID)(uintptr_t)gss_mech_krb5 };
	OM_uint32 major, minor;

	major = gss_acquire_cred_from(&minor, GSS_C_NO_NAME, GSS_C_INDEFINITE,
	    &mechs, GSS_C_ACCEPT, &store, new, NULL, NULL);
	if (major != GSS_S_COMPLETE)
		log_gss("the keytab", major, minor);
	return (major == GSS_S_COMPLETE ? 0 : -1);
}

int
gss_keytab(const uint8_t *buf, size_t len)
{
	static unsigned int generation;
	gss_cred_id_t new;
	krb5_keytab kt;
	OM_uint32 minor;
	char name[32];
	int n;

	snprintf(name, sizeof(name), "MEMORY:%u", generation++);
	if (krb5_kt_resolve(krb, name, &kt) != 0)
		fatalx("Kerberos: no keytab in memory");
	if ((n = fill_keytab(kt, buf, len)) <= 0 || acquire(name, &new) == -1) {
		krb5_kt_close(krb, kt);
		return (n == -1 ? -1 : 0);
	}
	if (cred != GSS_C_NO_CREDENTIAL) {
		(void)gss_release_cred(&minor, &cred);
		krb5_kt_close(krb, keytab);
	}
	cred = new;
	keytab = kt;
	return (n);
}

/*
 * Exchanges
 */
struct gss *
gss_serve(void)
{
	struct gss *g;

	if (cred == GSS_C_NO_CREDENTIAL)
		return (NULL);
	if ((g = calloc(1, sizeof(*g))) == NULL)
		fatal(NULL);
	g->ctx = GSS_C_NO_CONTEXT;
	g->peer = GSS_C_NO_NAME;
	return (g);
}

void
gss_end(struct gss *g)
{
	OM_uint32 minor;

	(void)gss_delete_sec_context(&minor, &g->ctx, GSS_C_NO_BUFFER);
	(void)gss_release_name(&minor, &g->peer);
	freezero(g, sizeof(*g));
}

/* Is the context's key one of AES? The last octet of an OID says so. */
static int
key_is_aes(gss_ctx_id_t ctx)
{
	gss_buffer_set_t set = GSS_C_NO_BUFFER_SET;
	OM_uint32 minor;
	int type = 0;

	if (gss_inquire_sec_context_by_oid(&minor, ctx,
	    GSS_C_INQ_SSPI_SESSION_KEY, &set) != GSS_S_COMPLETE)
		return (0);
	if (set->count == 2 && set->elements[1].length > 0)
		type = ((const uint8_t *)set->elements[1].value)
		    [set->elements[1].length - 1];
	(void)gss_release_buffer_set(&minor, &set);
	return (type == ENCTYPE_AES128_CTS_HMAC_SHA1_96 ||
	    type == ENCTYPE_AES256_CTS_HMAC_SHA1_96 ||
	    type == ENCTYPE_AES128_CTS_HMAC_SHA256_128 ||
	    type == ENCTYPE_AES256_CTS_HMAC_SHA384_192);
}

static int
display(gss_name_t name, char *buf, size_t size)
{
	gss_buffer_desc text;
	OM_uint32 minor;
	int r = -1;

	if (gss_display_name(&minor, name, &text, NULL) != GSS_S_COMPLETE)
		return (-1);
	if (text.length < size && memchr(text.value, '\0', text.length) ==
	    NULL) {
		memcpy(buf, text.value, text.length);
		buf[text.length] = '\0';
		r = 0;
	}
	(void)gss_release_buffer(&minor, &text);
	return (r);
}

/* "alice@REALM" is alice, where REALM is our own; others are nobody. */
static int
map_name(struct gss *g)
{
	char peer[KEYTAB_PRINCIPAL], own[KEYTAB_PRINCIPAL], *at, *realm;
	gss_name_t target = GSS_C_NO_NAME;
	OM_uint32 minor;
	int r = -1;

	if (gss_inquire_context(&minor, g->ctx, NULL, &target, NULL, NULL,
	    NULL, NULL, NULL) != GSS_S_COMPLETE)
		return (-1);
	if (display(g->peer, peer, sizeof(peer)) == 0 &&
	    display(target, own, sizeof(own)) == 0 &&
	    (at = strchr(peer, '@')) != NULL &&
	    (realm = strrchr(own, '@')) != NULL && strcmp(at, realm) == 0) {
		*at = '\0';
		if (name_valid(peer)) {
			strlcpy(g->name, peer, sizeof(g->name));
			r = 0;
		}
	}
	if (r == -1)
		log_debug("GSSAPI: a principal that is no user's name in our "
		    "realm");
	(void)gss_release_name(&minor, &target);
	return (r);
}

static int
copy_out(gss_buffer_t token, uint8_t *out, size_t *n)
{
	OM_uint32 minor;
	int r = token->length <= SASL_BLOB_MAX ? 0 : -1;

	if (r == 0 && token->length > 0)
		memcpy(out, token->value, token->length);
	*n = r == 0 ? token->length : 0;
	(void)gss_release_buffer(&minor, token);
	return (r);
}

/* RFC 4752, 3.1: no security layer, messages of no size. */
static uint32_t
offer(struct gss *g, uint8_t *out, size_t *n)
{
	uint8_t layers[4] = { NO_LAYER, 0, 0, 0 };
	gss_buffer_desc plain = { sizeof(layers), layers }, wrapped;
	OM_uint32 major, minor;

	major = gss_wrap(&minor, g->ctx, 0, GSS_C_QOP_DEFAULT, &plain, NULL,
	    &wrapped);
	if (major != GSS_S_COMPLETE || copy_out(&wrapped, out, n) == -1)
		return (AUTH_FAILED);
	g->state = GSS_CHOICE;
	return (AUTH_MORE);
}

static uint32_t
accept_token(struct gss *g, gss_buffer_t in, uint8_t *out, size_t *n)
{
	const OM_uint32 want = GSS_C_MUTUAL_FLAG | GSS_C_INTEG_FLAG;
	gss_buffer_desc token = GSS_C_EMPTY_BUFFER;
	OM_uint32 major, minor, flags = 0;

	(void)gss_release_name(&minor, &g->peer);
	major = gss_accept_sec_context(&minor, &g->ctx, cred, in,
	    GSS_C_NO_CHANNEL_BINDINGS, &g->peer, NULL, &token, &flags, NULL,
	    NULL);
	/* a token beside an error would be of use to nobody in TSP */
	if (GSS_ERROR(major))
		log_gss("login", major, minor);
	if (copy_out(&token, out, n) == -1 || GSS_ERROR(major))
		return (AUTH_FAILED);
	if (major & GSS_S_CONTINUE_NEEDED)
		return (AUTH_MORE);
	if ((flags & want) != want || !key_is_aes(g->ctx)) {
		log_debug("GSSAPI: not mutual, or not by AES");
		return (AUTH_FAILED);
	}
	if (map_name(g) == -1)
		return (AUTH_FAILED);
	g->state = GSS_OFFER;
	return (*n > 0 ? AUTH_MORE : offer(g, out, n));
}

/* What the client chose, and for whom it acts: nobody but himself. */
static uint32_t
choice(struct gss *g, gss_buffer_t in)
{
	static const uint8_t none[4] = { NO_LAYER, 0, 0, 0 };
	gss_buffer_desc plain;
	OM_uint32 major, minor;
	size_t len = strlen(g->name);
	int ok;

	major = gss_unwrap(&minor, g->ctx, in, &plain, NULL, NULL);
	if (major != GSS_S_COMPLETE) {
		log_gss("last step", major, minor);
		return (AUTH_FAILED);
	}
	ok = plain.length >= 4 && memcmp(plain.value, none, 4) == 0 &&
	    (plain.length == 4 || (plain.length == 4 + len &&
	    memcmp((const uint8_t *)plain.value + 4, g->name, len) == 0));
	(void)gss_release_buffer(&minor, &plain);
	g->state = GSS_DONE;
	return (ok ? AUTH_OK : AUTH_FAILED);
}

uint32_t
gss_step(struct gss *g, const uint8_t *in, size_t len, uint8_t *out,
    size_t *n, int *has_out)
{
	gss_buffer_desc token = { len, (void *)(uintptr_t)in };
	uint32_t r = AUTH_FAILED;

	*n = 0;
	if (g->state == GSS_ACCEPT)
		r = accept_token(g, &token, out, n);
	else if (g->state == GSS_OFFER && len == 0)
		r = offer(g, out, n);
	else if (g->state == GSS_CHOICE)
		r = choice(g, &token);
	*has_out = r == AUTH_MORE;
	if (r == AUTH_FAILED) {
		*n = 0;
		g->state = GSS_DONE;
	}
	return (r);
}

const char *
gss_name(const struct gss *g)
{
	return (g->name);
}

/*
 * Before the sandbox, what the library loads at its first use: a login by a
 * key that nobody has, which must fail.
 */
static void
gss_warm_up(void)
{
	struct keytab_entry e = { .principal = TSP_SERVICE "/warm@UP",
	    .vno = 1, .enctype = ENCTYPE_AES256_CTS_HMAC_SHA1_96,
	    .key_len = 32 };
	uint8_t garbage[] = "\x60\x0f\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02"
	    "\x02\x01\x00\x6e", out[SASL_BLOB_MAX];
	krb5_keytab kt;
	OM_uint32 minor;
	struct gss *g;
	size_t n;
	int has;

	if (krb5_kt_resolve(krb, "MEMORY:warm", &kt) != 0 ||
	    add_entry(kt, &e) == -1 || acquire("MEMORY:warm", &cred) == -1)
		fatalx("Kerberos: a keytab in memory fails");
	g = gss_serve();
	if (gss_step(g, garbage, sizeof(garbage) - 1, out, &n, &has) !=
	    AUTH_FAILED)
		fatalx("Kerberos: takes anything");
	gss_end(g);
	(void)gss_release_cred(&minor, &cred);
	krb5_kt_close(krb, kt);
}

void
gss_setup(void)
{
	/* What the host's file says is not for us, nor there later. */
	if (setenv("KRB5_CONFIG", "/nonexistent", 1) == -1)
		fatal("setenv");
	if (krb5_init_context(&krb) != 0)
		fatalx("Kerberos: cannot start");
	gss_warm_up();
}
