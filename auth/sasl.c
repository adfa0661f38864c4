/*
 * libsasl2, both sides. What it gets wrong by itself is set right here: its
 * random numbers, its choice of mechanisms, its configuration files.
 */
#include <sys/types.h>

#include <sasl/sasl.h>
#include <sasl/saslplug.h>
#include <sasl/saslutil.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/auth.h"

/* MD5 of "warm-up:warm:pencil" */
#define WARM_HA1	"ac2cd4bb3490e273e62524099f8cb431"
#define HOST		"dstmd.invalid"	/* with a dot: it is not looked up */
#define REVERSE		"+reverse"	/* MECH_CALL: behind the name */
#define BINDING		"dstmd-call"	/* its channel binding */

struct exchange {
	sasl_conn_t		*conn;
	struct gss		*gss;	/* in its place */
	int			 server, started, done;
	uint32_t		 mech;
	char			 name[NAME_SIZE];
	char			 user[NAME_SIZE + sizeof(REVERSE)]; /* authzid */
	struct call_ends	 ends;
	sasl_channel_binding_t	 binding;
	sasl_secret_t		*secret;
	sasl_callback_t		 callbacks[5];
};

static struct secrets	*table;
static uint32_t		 allowed;	/* mechanisms, as server */
static char		 allowed_names[MECH_MAX * MECH_SIZE];
static unsigned long	 rand_calls;

/*
 * Its own nonces carry 32 bits, and without /dev/urandom fall back to the
 * pid and the time: these replace them, and sasl_setup proves it.
 */
struct sasl_rand_s;
void	 sasl_rand(struct sasl_rand_s *, char *, unsigned);
void	 sasl_churn(struct sasl_rand_s *, const char *, unsigned);

__attribute__((__visibility__("default"))) void
sasl_rand(struct sasl_rand_s *pool, char *buf, unsigned len)
{
	(void)pool;
	rand_calls++;
	arc4random_buf(buf, len);
}

__attribute__((__visibility__("default"))) void
sasl_churn(struct sasl_rand_s *pool, const char *data, unsigned len)
{
	(void)pool;
	(void)data;
	(void)len;
}

/*
 * The library asks for this host's name, and where that has no dot asks the
 * resolver for more: files, sockets. Neither is here, so this answers.
 */
int
gethostname(char *name, size_t len)
{
	strlcpy(name, HOST, len);
	return (0);
}

/*
 * Memory: lack of it ends the process, what is freed is cleared.
 */
struct chunk {
	size_t	 size;
	size_t	 pad;		/* keeps what follows 16-aligned */
};

static size_t	 mem_used;	/* octets that the library holds */

static void *
mem_alloc(size_t size)
{
	struct chunk *c;

	if (size > SIZE_MAX - sizeof(*c) ||
	    (c = calloc(1, sizeof(*c) + size)) == NULL)
		fatal(NULL);
	c->size = size;
	mem_used += sizeof(*c) + size;
	return (c + 1);
}

static void *
mem_calloc(size_t n, size_t size)
{
	if (size != 0 && n > SIZE_MAX / size)
		fatalx("allocation of %zu * %zu", n, size);
	return (mem_alloc(n * size));
}

static void
mem_free(void *p)
{
	struct chunk *c = p;

	if (p == NULL)
		return;
	c--;
	mem_used -= sizeof(*c) + c->size;
	freezero(c, sizeof(*c) + c->size);
}

static void *
mem_realloc(void *p, size_t size)
{
	void *new = mem_alloc(size);
	size_t old;

	if (p != NULL) {
		old = ((struct chunk *)p)[-1].size;
		memcpy(new, p, old < size ? old : size);
		mem_free(p);
	}
	return (new);
}

size_t
sasl_memory(void)
{
	return (mem_used);
}

/*
 * Callbacks
 */
typedef int (*sasl_proc)(void);
#define PROC(f)	((sasl_proc)(void (*)(void))(f))

static int
cb_getopt(void *context, const char *plugin, const char *option,
    const char **result, unsigned *len)
{
	static const struct { const char *name, *value; } options[] = {
		{ "mech_list", allowed_names },
		{ "auxprop_plugin", "dstmd" },
		{ "pwcheck_method", "auxprop" },
		{ "canon_user_plugin", "INTERNAL" },
		{ "log_level", "0" },
	};
	size_t i;

	(void)context;
	(void)plugin;
	for (i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (strcmp(option, options[i].name) == 0) {
			*result = options[i].value;
			if (len != NULL)
				*len = (unsigned)strlen(*result);
			return (SASL_OK);
		}
	return (SASL_FAIL);
}

/* The plugins that are loaded: these, of all that are installed. */
static int
cb_verifyfile(void *context, const char *file, sasl_verify_type_t type)
{
	static const char *const names[] = { "libanonymous.", "libdigestmd5.",
	    "libplain.", "libscram." };
	const char *base = strrchr(file, '/');
	size_t i;

	(void)context;
	base = base != NULL ? base + 1 : file;
	if (type != SASL_VRFY_PLUGIN)
		return (SASL_OK);
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strncmp(base, names[i], strlen(names[i])) == 0)
			return (SASL_OK);
	return (SASL_CONTINUE);
}

static int
cb_confpath(void *context, const char **path)
{
	static const char none[] = "/nonexistent";

	(void)context;
	*path = none;
	return (SASL_OK);
}

static int
cb_log(void *context, int level, const char *message)
{
	(void)context;
	(void)level;
	(void)message;
	return (SASL_OK);
}

/*
 * Nobody acts for another. A server that calls its node says so, and nobody
 * else may: what it says there is of no use elsewhere, nor the reverse.
 */
static int
cb_proxy(sasl_conn_t *conn, void *context, const char *user, unsigned ulen,
    const char *auth, unsigned alen, const char *realm, unsigned rlen,
    struct propctx *props)
{
	const struct exchange *x = context;
	size_t more = x->mech == MECH_CALL ? strlen(REVERSE) : 0;

	(void)conn;
	(void)realm;
	(void)rlen;
	(void)props;
	return (ulen == alen + more && memcmp(user, auth, alen) == 0 &&
	    memcmp(user + alen, REVERSE, more) == 0 ? SASL_OK : SASL_NOAUTHZ);
}

/* PLAIN, against the stored key. */
static int
cb_checkpass(sasl_conn_t *conn, void *context, const char *user,
    const char *pass, unsigned len, struct propctx *props)
{
	char password[PASSWORD_SIZE];
	int ok;

	(void)conn;
	(void)context;
	(void)props;
	if (table == NULL || !name_valid(user) || len >= sizeof(password) ||
	    memchr(pass, '\0', len) != NULL)
		return (SASL_BADAUTH);
	memcpy(password, pass, len);
	password[len] = '\0';
	ok = secrets_check(table, user, password);
	explicit_bzero(password, sizeof(password));
	return (ok ? SASL_OK : SASL_BADAUTH);
}

/* DIGEST-MD5: the server's only one */
static int
cb_realm(void *context, int id, const char **realms, const char **result)
{
	(void)context;
	(void)id;
	if (realms == NULL || realms[0] == NULL)
		return (SASL_FAIL);
	*result = realms[0];
	return (SASL_OK);
}

static int
cb_name(void *context, int id, const char **result, unsigned *len)
{
	struct exchange *x = context;

	*result = id == SASL_CB_AUTHNAME ? x->name : x->user;
	if (len != NULL)
		*len = (unsigned)strlen(*result);
	return (SASL_OK);
}

static int
cb_pass(sasl_conn_t *conn, void *context, int id, sasl_secret_t **secret)
{
	struct exchange *x = context;

	(void)conn;
	(void)id;
	*secret = x->secret;
	return (SASL_OK);
}

static const sasl_callback_t	 global[] = {
	{ SASL_CB_GETOPT, PROC(cb_getopt), NULL },
	{ SASL_CB_VERIFYFILE, PROC(cb_verifyfile), NULL },
	{ SASL_CB_GETCONFPATH, PROC(cb_confpath), NULL },
	{ SASL_CB_LOG, PROC(cb_log), NULL },
	{ SASL_CB_SERVER_USERDB_CHECKPASS, PROC(cb_checkpass), NULL },
	{ SASL_CB_LIST_END, NULL, NULL }
};

/*
 * Stored keys for the plugins of SCRAM and DIGEST-MD5, by the names that
 * they have for them. Both are made, whichever is asked for.
 */
static void
set_keys(sasl_server_params_t *sp, const char *name, unsigned flags)
{
	const struct propval *p;
	char key[SECRET_SIZE];
	uint8_t ha1[HA1_SIZE];
	const char *want;

	secrets_get(table, name, key, sizeof(key));
	secrets_ha1(table, name, ha1);
	for (p = sp->utils->prop_get(sp->propctx); p != NULL &&
	    p->name != NULL; p++) {
		want = p->name;
		if (want[0] == '*' && (flags & SASL_AUXPROP_AUTHZID))
			continue;
		if (want[0] == '*')
			want++;
		if (p->values != NULL)
			continue;
		if (strcmp(want, "authPassword") == 0)
			sp->utils->prop_set(sp->propctx, p->name, key,
			    (int)strlen(key));
		else if (strcmp(want, "cmusaslsecretDIGEST-MD5") == 0)
			sp->utils->prop_set(sp->propctx, p->name,
			    (const char *)ha1, sizeof(ha1));
	}
	explicit_bzero(key, sizeof(key));
	explicit_bzero(ha1, sizeof(ha1));
}

static int
lookup(void *context, sasl_server_params_t *sp, unsigned flags,
    const char *user, unsigned len)
{
	char name[NAME_SIZE];

	(void)context;
	/* cb_proxy is asked about it, and no login has such a name */
	if ((flags & SASL_AUXPROP_AUTHZID) && len > strlen(REVERSE) &&
	    memcmp(user + len - strlen(REVERSE), REVERSE, strlen(REVERSE)) ==
	    0)
		return (SASL_OK);
	if (len == 0 || len >= sizeof(name))
		return (SASL_NOUSER);
	memcpy(name, user, len);
	name[len] = '\0';
	if (strcmp(name, "anonymous") == 0)
		return (SASL_OK);	/* has no key, and needs none */
	if (!name_valid(name) || table == NULL)
		return (SASL_NOUSER);
	set_keys(sp, name, flags);
	return (SASL_OK);
}

static char			 plugin_name[] = "dstmd";
static sasl_auxprop_plug_t	 plugin = {
	.auxprop_lookup = lookup,
	.name = plugin_name,
};

static int
plugin_init(const sasl_utils_t *utils, int max, int *version,
    sasl_auxprop_plug_t **plug, const char *name)
{
	(void)utils;
	(void)name;
	if (max < SASL_AUXPROP_PLUG_VERSION)
		return (SASL_BADVERS);
	*version = SASL_AUXPROP_PLUG_VERSION;
	*plug = &plugin;
	return (SASL_OK);
}

/*
 * Exchanges
 */
static void
no_layers(sasl_conn_t *conn)
{
	sasl_security_properties_t props;

	memset(&props, 0, sizeof(props));
	(void)sasl_setprop(conn, SASL_SEC_PROPS, &props);
}

void
sasl_allow(uint32_t mechs)
{
	uint32_t bit;

	allowed = mechs;
	allowed_names[0] = '\0';
	/* The library knows a mechanism with a binding by the one without. */
	if (mechs & MECH_CALL)
		mechs |= MECH_SCRAM_SHA_256;
	for (bit = 1; bit <= mechs && bit != 0; bit <<= 1) {
		if ((mechs & bit) == 0 || mech_name(bit) == NULL ||
		    bit == MECH_CALL)
			continue;
		strlcat(allowed_names, mech_name(bit), sizeof(allowed_names));
		strlcat(allowed_names, " ", sizeof(allowed_names));
	}
}

/* The connection itself goes into the proof: another one has other ends. */
static int
bind_ends(struct exchange *x, const struct call_ends *ends)
{
	static const char name[] = BINDING;

	if (x->mech != MECH_CALL)
		return (0);
	x->ends = *ends;
	x->binding.name = name;
	x->binding.critical = 1;
	x->binding.len = sizeof(x->ends);
	x->binding.data = (const unsigned char *)&x->ends;
	return (sasl_setprop(x->conn, SASL_CHANNEL_BINDING, &x->binding) ==
	    SASL_OK ? 0 : -1);
}

/* The library takes a server's name for its realm. */
static const char *
server_name(uint32_t mech)
{
	if (mech != MECH_DIGEST_MD5)
		return (HOST);
	if (table == NULL || secrets_realm(table)[0] == '\0')
		return (NULL);
	return (secrets_realm(table));
}

struct exchange *
sasl_serve(uint32_t mech, const struct call_ends *ends)
{
	struct exchange *x;
	const char *host;

	if ((mech & allowed) == 0 || mech_name(mech) == NULL ||
	    (host = server_name(mech)) == NULL)
		return (NULL);
	if ((x = calloc(1, sizeof(*x))) == NULL)
		fatal(NULL);
	x->server = 1;
	x->mech = mech;
	if (mech == MECH_GSSAPI) {
		if ((x->gss = gss_serve()) != NULL)
			return (x);
		sasl_end(x);
		return (NULL);
	}
	x->callbacks[0] = (sasl_callback_t){ SASL_CB_PROXY_POLICY,
	    PROC(cb_proxy), x };
	x->callbacks[1] = (sasl_callback_t){ SASL_CB_LIST_END, NULL, NULL };
	if (sasl_server_new(TSP_SERVICE, host, NULL, NULL, NULL, x->callbacks,
	    SASL_SUCCESS_DATA, &x->conn) != SASL_OK ||
	    bind_ends(x, ends) == -1) {
		sasl_end(x);
		return (NULL);
	}
	no_layers(x->conn);
	return (x);
}

struct exchange *
sasl_call(uint32_t mech, const char *name, const char *pass, const char *host,
    const struct call_ends *ends)
{
	struct exchange *x;
	size_t len = strlen(pass);

	if ((mech & (MECH_STORED | MECH_CALL)) == 0 || mech_name(mech) == NULL)
		return (NULL);
	if ((x = calloc(1, sizeof(*x))) == NULL ||
	    (x->secret = calloc(1, sizeof(*x->secret) + len)) == NULL)
		fatal(NULL);
	x->mech = mech;
	strlcpy(x->name, name, sizeof(x->name));
	if (mech == MECH_CALL)
		snprintf(x->user, sizeof(x->user), "%s%s", name, REVERSE);
	x->secret->len = len;
	memcpy(x->secret->data, pass, len);
	x->callbacks[0] = (sasl_callback_t){ SASL_CB_AUTHNAME, PROC(cb_name),
	    x };
	x->callbacks[1] = (sasl_callback_t){ SASL_CB_USER, PROC(cb_name), x };
	x->callbacks[2] = (sasl_callback_t){ SASL_CB_PASS, PROC(cb_pass), x };
	x->callbacks[3] = (sasl_callback_t){ SASL_CB_GETREALM, PROC(cb_realm),
	    x };
	x->callbacks[4] = (sasl_callback_t){ SASL_CB_LIST_END, NULL, NULL };
	if (sasl_client_new(TSP_SERVICE, host, NULL, NULL, x->callbacks, 0,
	    &x->conn) != SASL_OK || bind_ends(x, ends) == -1) {
		sasl_end(x);
		return (NULL);
	}
	no_layers(x->conn);
	return (x);
}

/*
 * The library takes any iteration count, as 1, which would give our
 * password to whoever guesses at the proof.
 */
static int
iterations_bad(const uint8_t *in, size_t len)
{
	char text[SASL_BLOB_MAX + 1], *p, *end;
	long i;

	if (len > SASL_BLOB_MAX)
		return (1);
	memcpy(text, in, len);
	text[len] = '\0';
	if ((p = strstr(text, ",i=")) == NULL)
		return (1);
	i = strtol(p + 3, &end, 10);
	return ((*end != '\0' && *end != ',') || i < ITERATIONS ||
	    i > ITERATIONS_MAX);
}

static int
step_server(struct exchange *x, const uint8_t *in, size_t len,
    const char **out, unsigned *n)
{
	static const char empty[] = "";
	const char *data = in != NULL ? (const char *)in : empty;

	if (x->started++ == 0)
		return (sasl_server_start(x->conn, mech_name(x->mech), data,
		    (unsigned)len, out, n));
	return (sasl_server_step(x->conn, data, (unsigned)len, out, n));
}

static int
step_client(struct exchange *x, const uint8_t *in, size_t len,
    const char **out, unsigned *n)
{
	const char *chosen;
	int r;

	if (x->started++ == 0) {
		r = sasl_client_start(x->conn, mech_name(x->mech), NULL, out,
		    n, &chosen);
		/* the server speaks first; the library, once it has been
		 * there, tries a short cut that TSP has no place for */
		if (x->mech == MECH_DIGEST_MD5)
			*n = 0;
		/* a first message alone proves nothing: PLAIN is that weak */
		return (r == SASL_OK && x->mech != MECH_PLAIN ? SASL_FAIL : r);
	}
	if (in == NULL || ((x->mech & (MECH_SCRAM_SHA_256 | MECH_CALL)) &&
	    x->started == 2 && iterations_bad(in, len)))
		return (SASL_BADPROT);
	return (sasl_client_step(x->conn, (const char *)in, (unsigned)len,
	    NULL, out, n));
}

uint32_t
sasl_step(struct exchange *x, const uint8_t *in, size_t len, uint8_t *out,
    size_t *n, int *has_out)
{
	const char *data = NULL;
	unsigned int size = 0;
	int r;

	*n = 0;
	*has_out = 0;
	if (x->done)
		return (AUTH_FAILED);
	if (x->gss != NULL)
		return (gss_step(x->gss, in, len, out, n, has_out));
	r = x->server ? step_server(x, in, len, &data, &size) :
	    step_client(x, in, len, &data, &size);
	if ((r != SASL_OK && r != SASL_CONTINUE) || size > SASL_BLOB_MAX) {
		x->done = 1;
		return (AUTH_FAILED);
	}
	if (data != NULL && (size > 0 || (r == SASL_CONTINUE && x->server))) {
		memcpy(out, data, size);
		*n = size;
		*has_out = 1;
	}
	if (r == SASL_CONTINUE)
		return (AUTH_MORE);
	x->done = 1;
	return (AUTH_OK);
}

const char *
sasl_name(struct exchange *x)
{
	int what = x->mech == MECH_CALL ? SASL_AUTHUSER : SASL_USERNAME;
	const void *p = NULL;

	if (x->mech == MECH_ANONYMOUS)
		return ("anonymous");
	if (x->gss != NULL)
		return (gss_name(x->gss));
	if (sasl_getprop(x->conn, what, &p) != SASL_OK || p == NULL ||
	    !name_valid(p))
		return (NULL);
	return (p);
}

void
sasl_end(struct exchange *x)
{
	if (x == NULL)
		return;
	if (x->conn != NULL)
		sasl_dispose(&x->conn);
	if (x->gss != NULL)
		gss_end(x->gss);
	if (x->secret != NULL)
		freezero(x->secret, sizeof(*x->secret) + x->secret->len);
	freezero(x, sizeof(*x));
}

void
sasl_secrets(struct secrets *s)
{
	secrets_free(table);
	table = s;
}

/*
 * A whole exchange of each mechanism loads, before the sandbox, what the
 * library loads at its first use; and shows that the nonces are ours.
 */
static void
warm_up_one(uint32_t mech)
{
	uint8_t a[SASL_BLOB_MAX], b[SASL_BLOB_MAX];
	struct call_ends ends = { IN6ADDR_ANY_INIT, IN6ADDR_LOOPBACK_INIT };
	struct exchange *client, *server;
	uint32_t said = AUTH_MORE, answer = AUTH_MORE;
	size_t n, m = 0;
	int has;

	client = sasl_call(mech, "warm-up", "pencil", HOST, &ends);
	server = sasl_serve(mech, &ends);
	if (client == NULL || server == NULL)
		fatalx("SASL: no %s (libsasl2-modules?)", mech_name(mech));
	if (mech == MECH_DIGEST_MD5) {
		(void)sasl_step(client, NULL, 0, a, &n, &has);
		answer = sasl_step(server, NULL, 0, b, &m, &has);
		said = sasl_step(client, b, m, a, &n, &has);
	} else
		said = sasl_step(client, NULL, 0, a, &n, &has);
	while (said != AUTH_FAILED && answer == AUTH_MORE) {
		answer = sasl_step(server, a, n, b, &m, &has);
		if (said == AUTH_MORE && answer != AUTH_FAILED)
			said = sasl_step(client, b, m, a, &n, &has);
	}
	if (said != AUTH_OK || answer != AUTH_OK || sasl_name(server) == NULL)
		fatalx("SASL: %s with ourselves fails", mech_name(mech));
	sasl_end(client);
	sasl_end(server);
}

static void
warm_up(void)
{
	/* RFC 7677's example: its password is "pencil" */
	static const char keys[] = "warm-up:SCRAM-SHA-256$4096:"
	    "W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbs"
	    "T4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=\n"
	    "warm-up:DIGEST-MD5$" WARM_HA1 "\n!realm:warm\n"
	    "!seed:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
	uint8_t out[SASL_BLOB_MAX];
	struct exchange *server;
	size_t n;
	int has;

	sasl_allow(MECH_STORED | MECH_ANONYMOUS | MECH_CALL);
	sasl_secrets(secrets_parse(keys, sizeof(keys) - 1));
	warm_up_one(MECH_SCRAM_SHA_256);
	if (rand_calls < 2)
		fatalx("SASL: does not use our random numbers");
	warm_up_one(MECH_DIGEST_MD5);
	if (rand_calls < 4)
		fatalx("SASL: DIGEST-MD5 does not use our random numbers");
	warm_up_one(MECH_PLAIN);
	warm_up_one(MECH_CALL);
	if ((server = sasl_serve(MECH_ANONYMOUS, NULL)) == NULL ||
	    sasl_step(server, NULL, 0, out, &n, &has) != AUTH_OK)
		fatalx("SASL: no ANONYMOUS (libsasl2-modules?)");
	sasl_end(server);
	sasl_secrets(NULL);
	sasl_allow(0);
}

void
sasl_setup(void)
{
	sasl_set_alloc(mem_alloc, mem_calloc, mem_realloc, mem_free);
	if (sasl_server_init(global, "dstmd") != SASL_OK ||
	    sasl_client_init(global) != SASL_OK)
		fatalx("SASL: cannot start");
	if (sasl_auxprop_add_plugin("dstmd", plugin_init) != SASL_OK)
		fatalx("SASL: auxprop");
	warm_up();
	gss_setup();
}
