/*
 * The grammar of dstmd.conf(5). The lexer is lex.c; what concerns the whole
 * configuration rather than one line of it is checked by conf_check.
 */
%{
#include <sys/types.h>
#include <sys/queue.h>

#include <netinet/in.h>

#include <err.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dstmd/dstmd.h"
#include "priv/conf.h"
#include "priv/lex.h"
#include "priv/value.h"

#define DEPTH_MAX	3		/* blocks within blocks, and the top */
#define KEEPALIVE_FLOOR	5		/* s */
#define KEEPALIVE_CEIL	3600
#define MTU_MIN		576		/* octets, inner */
#define MTU_MAX		(65535 - 40)

/*
 * A syntax error costs its line, not the rest of the block. At the end of
 * the file the parser stays in its state of error, which says no more.
 */
#define RECOVER(depth) do {				\
	if (lex_recover(pc.lex, (depth)))		\
		yyclearin;				\
	if (lex_last(pc.lex) != LEX_EOF)		\
		yyerrok;				\
} while (0)

/* A pool that a user may use, by its name until all pools are known. */
struct want {
	TAILQ_ENTRY(want)	 entry;
	uint32_t		 user;
	const struct tok	*pool;
};

static struct parse {
	struct lex		*lex;
	struct conf		*conf;
	/* the block that is being read; spare where there is no room */
	struct conf_pool	*pool;
	struct conf_tep		*tep;
	struct conf_peer	*peer;
	struct conf_user	*user;
	struct conf_pool	 spare_pool;
	struct conf_tep		 spare_tep;
	struct conf_peer	 spare_peer;
	struct conf_user	 spare_user;
	uint32_t		 mechs[MECH_MAX];	/* of a list */
	uint32_t		 users_room;
	uint64_t		 seen[DEPTH_MAX]; /* keywords of the block */
	TAILQ_HEAD(, want)	 wants;
} pc;

int		 yyparse(void);
static int	 yylex(void);
static void	 yyerror(const char *);

static void	 fail(const struct tok *, const char *, ...)
		    __attribute__((__format__ (printf, 2, 3)));
static void	 once(uint32_t, const struct tok *);
static uint32_t	 number(const struct tok *, const struct tok *, long long,
		    long long);
static void	 set_name(char *, const char *, const struct tok *);
static void	 set_path(char *, const struct tok *, const struct tok *);
static void	 set_secrets(const struct tok *, const struct tok *);
static void	 set_ifname(char *, const struct tok *);
static void	 set_login(struct conf_login *, const struct tok *,
		    const struct tok *, const struct tok *);
static int	 get_addr6(const struct tok *, struct in6_addr *);
static uint32_t	 get_mech(const struct tok *);
static void	 add_mech(uint32_t);
static void	 set_lifetime(void);
static void	 add_listen(const struct tok *, uint32_t, uint32_t);
static void	 pool_begin(const struct tok *);
static void	 pool_add(const struct tok *, const struct tok *, int);
static void	 add_redirect(const struct tok *);
static void	 user_begin(const struct tok *, const char *, uint32_t);
static void	 add_prefix6(const struct tok *, struct conf_prefix6 *,
		    uint32_t *, const char *);
static void	 user_address(const struct tok *);
static void	 user_pool(const struct tok *);
static void	 tep_begin(const struct tok *);
static void	 tep_address(const struct tok *, const struct tok *);
static void	 tep_rate(const struct tok *);
static void	 peer_begin(const struct tok *);
static void	 peer_allow(const struct tok *);
static void	 server_begin(const struct tok *);
static void	 node_begin(const struct tok *);
static void	 node_server(const struct tok *, uint32_t);
static void	 node_table(const struct tok *, const struct tok *);
%}

%union {
	struct tok	*tok;
	uint32_t	 number;
}

%token	<tok> STRING
%token	<tok> ACCEPT ADDRESS ALLOW ANONYMOUS AUTH AUTHFAILURES AUTHTIMEOUT AUTO
%token	<tok> BPF CALL
%token	<tok> CONNECT CONNECTIONS CONTROL DEFAULT DEMAND EVENT EXCLUDE FROM HANDSHAKES
%token	<tok> IDLE IDLETIMEOUT INCLUDE INTERFACE KEEPALIVE KERNEL KEYTAB
%token	<tok> LEASES LIFETIME LIMITS LISTEN LOGIN MAXIMUM METRIC MINIMUM MTU NO NODE
%token	<tok> OFFERS ON PASSWORD PASSWORDS PERSOURCE PLANE POOL PORT PREFIX QUARANTINE
%token	<tok> RATE
%token	<tok> REDIRECT REQUESTRATE REQUESTTIMEOUT ROUTE SECRETS SERVER
%token	<tok> SOURCEPREFIX SOURCERATE STORE
%token	<tok> SUCCESSPAUSE
%token	<tok> TABLE TEP TO TUN USER WEIGHT
%token	INVALID
%type	<number> plane port mtu mech idle

%%

grammar		: /* empty */
		| grammar '\n'
		| grammar INCLUDE STRING '\n'	{ lex_include(pc.lex, $3); }
		| grammar STRING '=' STRING '\n' {
			lex_macro(pc.lex, $2, $4);
		}
		| grammar global '\n'
		| grammar server '\n'
		| grammar tep '\n'
		| grammar node '\n'
		| grammar error		{ RECOVER(0); }
		;

global		: CONTROL STRING {
			once(0, $1);
			set_path(pc.conf->control, $1, $2);
		}
		| STORE STRING {
			once(0, $1);
			set_path(pc.conf->store, $1, $2);
		}
		| SECRETS STRING		{ set_secrets($1, $2); }
		| PLANE plane {
			once(0, $1);
			pc.conf->plane = $2;
		}
		| PLANE plane INTERFACE {
			once(0, $1);
			pc.conf->plane = $2;
			pc.conf->plane_interface = 1;
			if ($2 == PLANE_KERNEL || $2 == PLANE_TUN)
				fail($3, "interface is for plane auto and bpf: "
				    "with kernel and tun all packets pass the "
				    "tunnel interface");
		}
		| LIMITS '{' {
			once(0, $1);
			pc.seen[1] = 0;
		} limits '}'
		;

plane		: AUTO				{ $$ = PLANE_AUTO; }
		| BPF				{ $$ = PLANE_BPF; }
		| KERNEL			{ $$ = PLANE_KERNEL; }
		| TUN				{ $$ = PLANE_TUN; }
		;

limits		: /* empty */
		| limits '\n'
		| limits limit
		| limits error		{ RECOVER(1); }
		;

limit		: CONNECTIONS STRING {
			once(1, $1);
			pc.conf->max_conns = number($1, $2, 1, CONN_MAX);
		}
		| HANDSHAKES STRING {
			once(1, $1);
			pc.conf->handshakes = number($1, $2, 1, CONN_MAX);
		}
		| PERSOURCE STRING {
			once(1, $1);
			pc.conf->max_source = number($1, $2, 1, CONN_MAX);
		}
		| SOURCEPREFIX STRING {
			once(1, $1);
			pc.conf->source_prefix = number($1, $2, 16, 128);
		}
		| SOURCERATE STRING {
			once(1, $1);
			pc.conf->source_rate = number($1, $2, 1, 1000);
		}
		| AUTHFAILURES STRING {
			once(1, $1);
			pc.conf->auth_failures = number($1, $2, 1, 60000);
		}
		| REQUESTRATE STRING {
			once(1, $1);
			pc.conf->request_rate = number($1, $2, 1, 1000000);
		}
		| AUTHTIMEOUT STRING {
			once(1, $1);
			pc.conf->auth_timeout = number($1, $2, 1, 3600);
		}
		| IDLETIMEOUT STRING {
			once(1, $1);
			pc.conf->idle_timeout = number($1, $2, 1, 86400);
		}
		| REQUESTTIMEOUT STRING {
			once(1, $1);
			pc.conf->request_timeout = number($1, $2, 1, 3600);
		}
		| SUCCESSPAUSE STRING {
			once(1, $1);
			pc.conf->success_pause = number($1, $2, 0, 2000);
		}
		;

port		: /* empty */			{ $$ = TSP_PORT; }
		| PORT STRING {
			$$ = number($1, $2, 1, 65535);
		}
		;

mtu		: /* empty */			{ $$ = 0; }
		| MTU STRING {
			$$ = number($1, $2, MTU_MIN, MTU_MAX);
		}
		;

mech		: STRING			{ $$ = get_mech($1); }
		| ANONYMOUS			{ $$ = MECH_ANONYMOUS; }
		;

mechs		: mech {
			memset(pc.mechs, 0, sizeof(pc.mechs));
			add_mech($1);
		}
		| mechs ',' mech		{ add_mech($3); }
		;

server		: SERVER '{'			{ server_begin($1); }
		    serveropts '}'
		;

serveropts	: /* empty */
		| serveropts '\n'
		| serveropts serveropt
		| serveropts error		{ RECOVER(1); }
		;

serveropt	: LISTEN ON STRING port {
			add_listen($3, $4, ROLE_SERVER);
		}
		| AUTH mechs {
			once(1, $1);
			memcpy(pc.conf->server_mechs, pc.mechs,
			    sizeof(pc.mechs));
		}
		| KEYTAB STRING {
			once(1, $1);
			set_path(pc.conf->keytab, $1, $2);
		}
		| SECRETS STRING		{ set_secrets($1, $2); }
		| LIFETIME STRING {
			once(1, $1);
			pc.conf->limits.lifetime = number($1, $2,
			    LIFETIME_FLOOR, LIFETIME_CEIL);
		} lifemin lifemax
		| QUARANTINE STRING {
			once(1, $1);
			pc.conf->limits.quarantine = number($1, $2, 0,
			    QUARANTINE_CEIL);
		}
		| REDIRECT TO STRING		{ add_redirect($3); }
		| CALL LOGIN STRING PASSWORDS STRING {
			once(1, $1);
			set_login(&pc.conf->call, $3, $4, $5);
		}
		| POOL STRING '{'		{ pool_begin($2); }
		    poolopts '}'
		| USER STRING '{'		{ user_begin($2, NULL, 0); }
		    useropts '}'
		| USER DEFAULT '{'		{ user_begin($2, "", 0); }
		    useropts '}'
		| ANONYMOUS '{' {
			user_begin($1, "anonymous", MECH_ANONYMOUS);
		} useropts '}'
		;

lifemin		: /* empty */
		| MINIMUM STRING {
			pc.conf->limits.lifetime_min = number($1, $2,
			    LIFETIME_FLOOR, LIFETIME_CEIL);
		}
		;

lifemax		: /* empty */
		| MAXIMUM STRING {
			pc.conf->limits.lifetime_max = number($1, $2,
			    LIFETIME_FLOOR, LIFETIME_CEIL);
		}
		;

poolopts	: /* empty */
		| poolopts '\n'
		| poolopts poolopt
		| poolopts error		{ RECOVER(2); }
		;

poolopt		: STRING			{ pool_add($1, NULL, 0); }
		| STRING '-' STRING		{ pool_add($1, $3, 0); }
		| EXCLUDE STRING		{ pool_add($2, NULL, 1); }
		| EXCLUDE STRING '-' STRING	{ pool_add($2, $4, 1); }
		| TEP STRING {
			once(2, $1);
			set_name(pc.pool->tep_name, "tep", $2);
		}
		| WEIGHT STRING {
			once(2, $1);
			pc.pool->weight = number($1, $2, 1, 1000);
		}
		| AUTH mechs {
			once(2, $1);
			pc.pool->mechs = mech_set(pc.mechs);
		}
		;

useropts	: /* empty */
		| useropts '\n'
		| useropts useropt
		| useropts error		{ RECOVER(2); }
		;

useropt		: POOL STRING			{ user_pool($2); }
		| LEASES STRING {
			once(2, $1);
			pc.user->policy.max_leases = number($1, $2, 0,
			    UINT32_MAX);
		}
		| PREFIX STRING {
			add_prefix6($2, pc.user->prefixes,
			    &pc.user->nprefixes, "user");
		}
		| ADDRESS STRING		{ user_address($2); }
		| CALL {
			once(2, $1);
			pc.user->call = 1;
		}
		;

tep		: TEP STRING '{'		{ tep_begin($2); }
		    tepopts '}'
		;

tepopts		: /* empty */
		| tepopts '\n'
		| tepopts tepopt
		| tepopts error		{ RECOVER(1); }
		;

tepopt		: ADDRESS STRING STRING {
			once(1, $1);
			tep_address($2, $3);
		}
		| INTERFACE STRING mtu {
			once(1, $1);
			pc.tep->local = 1;
			set_ifname(pc.tep->ifname, $2);
			pc.tep->mtu = $3;
		}
		| LISTEN ON STRING port {
			pc.tep->local = 1;
			add_listen($3, $4, ROLE_TEP);
		}
		| RATE STRING {
			once(1, $1);
			tep_rate($2);
		}
		| ACCEPT FROM STRING {
			add_prefix6($3, pc.tep->outers, &pc.tep->nouters,
			    "tep");
		}
		| SECRETS STRING		{ set_secrets($1, $2); }
		| SERVER STRING			{ peer_begin($2); }
		    peer
		| CONNECT TO STRING port {
			once(1, $1);
			if (get_addr6($3, &pc.tep->connect) == 0)
				pc.tep->port = (uint16_t)$4;
		}
		| LOGIN STRING PASSWORD STRING {
			once(1, $1);
			set_login(&pc.tep->login, $2, $3, $4);
		}
		;

peer		: /* empty */
		| '{' peeropts '}'
		;

peeropts	: /* empty */
		| peeropts '\n'
		| peeropts ALLOW STRING		{ peer_allow($3); }
		| peeropts error		{ RECOVER(2); }
		;

node		: NODE '{'			{ node_begin($1); }
		    nodeopts '}'
		;

nodeopts	: /* empty */
		| nodeopts '\n'
		| nodeopts nodeopt
		| nodeopts error		{ RECOVER(1); }
		;

nodeopt		: SERVER STRING port		{ node_server($2, $3); }
		| AUTH mech {
			once(1, $1);
			pc.conf->node.mech = $2;
		}
		| LOGIN STRING PASSWORD STRING {
			once(1, $1);
			set_login(&pc.conf->node.login, $2, $3, $4);
		}
		| INTERFACE STRING mtu {
			once(1, $1);
			set_ifname(pc.conf->node.ifname, $2);
			pc.conf->node.mtu = $3;
		}
		| ADDRESS STRING {
			once(1, $1);
			(void)get_addr6($2, &pc.conf->node.addr);
		}
		| LIFETIME STRING {
			once(1, $1);
			pc.conf->node.lifetime = number($1, $2,
			    LIFETIME_FLOOR, LIFETIME_CEIL);
		}
		| ROUTE METRIC STRING {
			once(1, $1);
			pc.conf->node.metric = number($2, $3, 0, UINT32_MAX);
		}
		| ROUTE TABLE STRING {
			once(1, $1);
			node_table($2, $3);
		}
		| NO ROUTE {
			once(1, $2);
			pc.conf->node.route = 0;
			pc.conf->node.metric = 0;
		}
		| ON DEMAND idle {
			once(1, $2);
			pc.conf->node.idle = $3;
		}
		| KEEPALIVE STRING {
			once(1, $1);
			pc.conf->node.keepalive = number($1, $2,
			    KEEPALIVE_FLOOR, KEEPALIVE_CEIL);
		}
		| NO KEEPALIVE {
			once(1, $2);
			pc.conf->node.keepalive = 0;
		}
		| EVENT STRING {
			once(1, $1);
			set_path(pc.conf->node.event, $1, $2);
		}
		| LISTEN ON STRING port {
			add_listen($3, $4, ROLE_NODE);
		}
		| SECRETS STRING		{ set_secrets($1, $2); }
		| CALL FROM STRING {
			once(1, $1);
			set_name(pc.conf->node.caller, "server", $3);
		}
		| ACCEPT OFFERS {
			once(1, $1);
			pc.conf->node.offers = 1;
		}
		;

idle		: /* empty */			{ $$ = IDLE_DEFAULT; }
		| IDLE STRING {
			$$ = number($1, $2, LIFETIME_FLOOR, IDLE_CEIL);
		}
		;

%%

static const struct keyword {
	const char	*name;
	int		 token;
} keywords[] = {	/* sorted; up to 64 (once) */
	{ "accept",		ACCEPT },
	{ "address",		ADDRESS },
	{ "allow",		ALLOW },
	{ "anonymous",		ANONYMOUS },
	{ "auth",		AUTH },
	{ "auth-failures",	AUTHFAILURES },
	{ "auth-timeout",	AUTHTIMEOUT },
	{ "auto",		AUTO },
	{ "bpf",		BPF },
	{ "call",		CALL },
	{ "connect",		CONNECT },
	{ "connections",	CONNECTIONS },
	{ "control",		CONTROL },
	{ "default",		DEFAULT },
	{ "demand",		DEMAND },
	{ "event",		EVENT },
	{ "exclude",		EXCLUDE },
	{ "from",		FROM },
	{ "handshakes",	HANDSHAKES },
	{ "idle",		IDLE },
	{ "idle-timeout",	IDLETIMEOUT },
	{ "include",		INCLUDE },
	{ "interface",		INTERFACE },
	{ "keepalive",		KEEPALIVE },
	{ "kernel",		KERNEL },
	{ "keytab",		KEYTAB },
	{ "leases",		LEASES },
	{ "lifetime",		LIFETIME },
	{ "limits",		LIMITS },
	{ "listen",		LISTEN },
	{ "login",		LOGIN },
	{ "max",		MAXIMUM },
	{ "metric",		METRIC },
	{ "min",		MINIMUM },
	{ "mtu",		MTU },
	{ "no",			NO },
	{ "node",		NODE },
	{ "offers",		OFFERS },
	{ "on",			ON },
	{ "password",		PASSWORD },
	{ "passwords",		PASSWORDS },
	{ "per-source",		PERSOURCE },
	{ "plane",		PLANE },
	{ "pool",		POOL },
	{ "port",		PORT },
	{ "prefix",		PREFIX },
	{ "quarantine",		QUARANTINE },
	{ "rate",		RATE },
	{ "redirect",		REDIRECT },
	{ "request-rate",	REQUESTRATE },
	{ "request-timeout",	REQUESTTIMEOUT },
	{ "route",		ROUTE },
	{ "secrets",		SECRETS },
	{ "server",		SERVER },
	{ "source-prefix",	SOURCEPREFIX },
	{ "source-rate",	SOURCERATE },
	{ "store",		STORE },
	{ "success-pause",	SUCCESSPAUSE },
	{ "table",		TABLE },
	{ "tep",		TEP },
	{ "to",			TO },
	{ "tun",		TUN },
	{ "user",		USER },
	{ "weight",		WEIGHT },
};
#define NKEYWORDS	(sizeof(keywords) / sizeof(keywords[0]))
_Static_assert(NKEYWORDS <= 64, "a bit of `seen' for each");

static int
keyword_cmp(const void *key, const void *elem)
{
	return (strcmp(key, ((const struct keyword *)elem)->name));
}

static int
yylex(void)
{
	const struct keyword *k;
	int kind;

	kind = lex_next(pc.lex, &yylval.tok);
	switch (kind) {
	case LEX_BAD:
		return (INVALID);
	case LEX_STRING:
		return (STRING);
	case LEX_WORD:
		if (strcmp(yylval.tok->text, "-") == 0)
			return ('-');
		k = bsearch(yylval.tok->text, keywords, NKEYWORDS,
		    sizeof(*k), keyword_cmp);
		if (k == NULL)
			return (STRING);
		yylval.tok->keyword = (int)(k - keywords);
		return (k->token);
	}
	return (kind);
}

static void
yyerror(const char *msg)
{
	char near[LEX_TOKEN_MAX + 64];

	if (lex_last(pc.lex) == LEX_BAD)
		return;		/* the lexer has said it */
	lex_describe(pc.lex, near, sizeof(near));
	lex_error(pc.lex, NULL, "%s %s", msg, near);
}

static void
fail(const struct tok *t, const char *fmt, ...)
{
	char msg[LEX_TOKEN_MAX + 512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	lex_error(pc.lex, &t->at, "%s", msg);
}

/* What a block may say once: twice is a mistake, not a preference. */
static void
once(uint32_t depth, const struct tok *keyword)
{
	uint64_t bit = UINT64_C(1) << keyword->keyword;

	if (pc.seen[depth] & bit)
		fail(keyword, "%s is given twice", keyword->text);
	pc.seen[depth] |= bit;
}

static uint32_t
number(const struct tok *what, const struct tok *t, long long min,
    long long max)
{
	const char *errstr;
	long long n;

	n = strtonum(t->text, min, max, &errstr);
	if (errstr != NULL) {
		fail(t, "%s %s is %s (%lld to %lld)", what->text, t->text,
		    errstr, min, max);
		return ((uint32_t)min);
	}
	return ((uint32_t)n);
}

static void
set_name(char *dst, const char *what, const struct tok *t)
{
	if (!name_valid(t->text))
		fail(t, "%s \"%s\": a name is 1 to %d of A-Z a-z 0-9 . _ - "
		    "and not \"anonymous\"", what, t->text, NAME_MAX_LEN);
	else
		strlcpy(dst, t->text, NAME_SIZE);
}

static void
set_path(char *dst, const struct tok *what, const struct tok *t)
{
	if (t->text[0] != '/')
		fail(t, "%s \"%s\": not an absolute path", what->text,
		    t->text);
	else if (strlcpy(dst, t->text, CONF_PATH_SIZE) >= CONF_PATH_SIZE)
		fail(t, "%s: path too long (%d octets at most)", what->text,
		    CONF_PATH_SIZE - 1);
}

/* One file for the daemon, whichever block says it. */
static void
set_secrets(const struct tok *what, const struct tok *t)
{
	char path[CONF_PATH_SIZE] = "";

	set_path(path, what, t);
	if (pc.conf->secrets[0] == '\0')
		strlcpy(pc.conf->secrets, path, sizeof(pc.conf->secrets));
	else if (path[0] != '\0' && strcmp(pc.conf->secrets, path) != 0)
		fail(t, "secrets \"%s\": the daemon has one such file, and it "
		    "is \"%s\" already", path, pc.conf->secrets);
}

static void
set_ifname(char *dst, const struct tok *t)
{
	char why[VALUE_WHY];

	if (value_ifname(t->text, dst, why) == -1)
		fail(t, "%s", why);
}

static void
set_login(struct conf_login *l, const struct tok *name,
    const struct tok *what, const struct tok *path)
{
	set_name(l->name, "login", name);
	set_path(l->password, what, path);
}

static int
get_addr6(const struct tok *t, struct in6_addr *addr)
{
	char why[VALUE_WHY];

	if (value_addr6(t->text, addr, why) == 0)
		return (0);
	fail(t, "%s", why);
	return (-1);
}

static uint32_t
get_mech(const struct tok *t)
{
	uint32_t mech = mech_bit(t->text);

	if (mech_word(mech) != NULL)
		return (mech);
	fail(t, "auth \"%s\": not a mechanism of ours "
	    "(scram-sha-256, digest-md5, plain, gssapi, anonymous)", t->text);
	return (0);
}

/* 0: one that was refused already. */
static void
add_mech(uint32_t mech)
{
	if (mech_set(pc.mechs) & mech)
		lex_error(pc.lex, NULL, "auth: %s is given twice",
		    mech_word(mech));
	mech_add(pc.mechs, mech);
}

/* Bounds that were not written yield to the lifetime that was. */
static void
set_lifetime(void)
{
	struct lease_limits *l = &pc.conf->limits;

	if (l->lifetime_min == 0)
		l->lifetime_min = l->lifetime < LIFETIME_MIN_DEFAULT ?
		    l->lifetime : LIFETIME_MIN_DEFAULT;
	if (l->lifetime_max == 0)
		l->lifetime_max = l->lifetime > LIFETIME_MAX_DEFAULT ?
		    l->lifetime : LIFETIME_MAX_DEFAULT;
}

/*
 * Server and TEP may share a listener; two servers can not, and nobody shares
 * a node's: who comes there is a server that calls it, and no one else.
 */
static void
add_listen(const struct tok *t, uint32_t port, uint32_t role)
{
	struct conf *conf = pc.conf;
	struct conf_listen *l;
	struct in6_addr addr;
	uint32_t i;

	if (get_addr6(t, &addr) == -1)
		return;
	for (i = 0; i < conf->nlisten; i++) {
		l = &conf->listen[i];
		if (l->port != port || !IN6_ARE_ADDR_EQUAL(&l->addr, &addr))
			continue;
		if ((l->role ^ role) & ROLE_NODE)
			fail(t, "listen on %s port %u: the node's calls need "
			    "an address or a port of their own", t->text, port);
		else if (role != ROLE_TEP && (l->role & role))
			fail(t, "listen on %s port %u is given twice", t->text,
			    port);
		l->role |= role;
		return;
	}
	if (conf->nlisten == LISTEN_MAX) {
		fail(t, "too many addresses to listen on (%d)", LISTEN_MAX);
		return;
	}
	l = &conf->listen[conf->nlisten++];
	l->addr = addr;
	l->port = (uint16_t)port;
	l->role = role;
	l->at = t->at;
}

static void
server_begin(const struct tok *keyword)
{
	if (pc.conf->roles & ROLE_SERVER)
		fail(keyword, "a second server");
	pc.conf->roles |= ROLE_SERVER;
	pc.conf->server_at = keyword->at;
	pc.seen[1] = 0;
}

static void
pool_begin(const struct tok *t)
{
	struct conf *conf = pc.conf;
	uint32_t i;

	pc.seen[2] = 0;
	for (i = 0; i < conf->npools; i++)
		if (strcmp(conf->pools[i].name, t->text) == 0)
			fail(t, "a second pool \"%s\"", t->text);
	if (conf->npools == POOL_MAX) {
		fail(t, "too many pools (%d)", POOL_MAX);
		memset(&pc.spare_pool, 0, sizeof(pc.spare_pool));
		pc.pool = &pc.spare_pool;
	} else
		pc.pool = &conf->pools[conf->npools++];
	set_name(pc.pool->name, "pool", t);
	pc.pool->at = t->at;
}

static void
pool_add(const struct tok *t, const struct tok *hi, int exclude)
{
	struct conf_pool *p = pc.pool;
	struct conf_written w;
	char why[VALUE_WHY];

	memset(&w, 0, sizeof(w));
	w.exclude = exclude;
	w.at = t->at;
	if (value_range(t->text, hi != NULL ? hi->text : NULL, &w.r, &w.plen,
	    why) == -1)
		fail(t, "%s", why);
	else if (p->nwritten == CONF_RANGE_MAX)
		fail(t, "too many ranges in a pool (%d)", CONF_RANGE_MAX);
	else
		p->written[p->nwritten++] = w;
}

/* name NULL: the token's; else the class of that name. */
static void
user_begin(const struct tok *t, const char *name, uint32_t mech)
{
	struct conf *conf = pc.conf;
	struct conf_user *p;

	pc.seen[2] = 0;
	memset(&pc.spare_user, 0, sizeof(pc.spare_user));
	pc.user = &pc.spare_user;
	if (conf->nusers == CONF_USER_MAX)
		fail(t, "too many users (%d)", CONF_USER_MAX);
	else {
		if (conf->nusers == pc.users_room) {
			pc.users_room = pc.users_room == 0 ? 16 :
			    pc.users_room * 2;
			p = reallocarray(conf->users, pc.users_room,
			    sizeof(*p));
			if (p == NULL)
				err(1, "configuration");
			conf->users = p;
		}
		pc.user = &conf->users[conf->nusers++];
		memset(pc.user, 0, sizeof(*pc.user));
	}
	if (name == NULL)
		set_name(pc.user->name, "user", t);
	else
		strlcpy(pc.user->name, name, sizeof(pc.user->name));
	pc.user->mech = mech;
	/* Named users share a scarce thing; the nameless share one name. */
	pc.user->policy.max_leases = mech == MECH_ANONYMOUS ? 0 : 1;
	pc.user->at = t->at;
}

static void
user_pool(const struct tok *t)
{
	struct want *w;

	if (pc.user == &pc.spare_user)
		return;
	if ((w = calloc(1, sizeof(*w))) == NULL)
		err(1, "configuration");
	w->user = pc.conf->nusers - 1;
	w->pool = t;
	TAILQ_INSERT_TAIL(&pc.wants, w, entry);
}

/* Another of up to CONF_PREFIX_MAX prefixes of a user or a TEP. */
static void
add_prefix6(const struct tok *t, struct conf_prefix6 *list, uint32_t *n,
    const char *whose)
{
	struct conf_prefix6 p;
	char why[VALUE_WHY];

	memset(&p, 0, sizeof(p));
	if (value_prefix6(t->text, &p, why) == -1)
		fail(t, "%s", why);
	else if (*n == CONF_PREFIX_MAX)
		fail(t, "too many prefixes of one %s (%d)", whose,
		    CONF_PREFIX_MAX);
	else
		list[(*n)++] = p;
}

static void
user_address(const struct tok *t)
{
	struct lease_policy *p = &pc.user->policy;
	struct in_addr v4;
	char why[VALUE_WHY];

	if (value_addr4(t->text, &v4, why) == -1)
		fail(t, "%s", why);
	else if (p->nfixed == LEASE_FIXED_MAX)
		fail(t, "too many addresses of one user (%d)",
		    LEASE_FIXED_MAX);
	else
		p->fixed[p->nfixed++] = v4;
}

static void
tep_begin(const struct tok *t)
{
	struct conf *conf = pc.conf;
	uint32_t i;

	pc.seen[1] = 0;
	for (i = 0; i < conf->nteps; i++)
		if (strcmp(conf->teps[i].name, t->text) == 0)
			fail(t, "a second tep \"%s\"", t->text);
	if (conf->nteps == TEP_MAX) {
		fail(t, "too many teps (%d)", TEP_MAX);
		memset(&pc.spare_tep, 0, sizeof(pc.spare_tep));
		pc.tep = &pc.spare_tep;
	} else
		pc.tep = &conf->teps[conf->nteps++];
	set_name(pc.tep->name, "tep", t);
	pc.tep->at = t->at;
}

/* The outer and the inner one, in either order. */
static void
tep_address(const struct tok *a, const struct tok *b)
{
	const struct tok *six = strchr(a->text, ':') != NULL ? a : b;
	const struct tok *four = six == a ? b : a;
	char why[VALUE_WHY];

	pc.tep->local = 1;
	(void)get_addr6(six, &pc.tep->addr6);
	if (value_addr4(four->text, &pc.tep->addr4, why) == -1)
		fail(four, "%s", why);
}

static void
tep_rate(const struct tok *t)
{
	char why[VALUE_WHY];

	if (value_rate(t->text, &pc.tep->rate, why) == -1)
		fail(t, "%s", why);
}

static void
peer_begin(const struct tok *t)
{
	struct conf_tep *tep = pc.tep;

	pc.seen[2] = 0;
	tep->local = 1;
	if (tep->npeers == CONF_PEER_MAX) {
		fail(t, "too many servers of one tep (%d)", CONF_PEER_MAX);
		memset(&pc.spare_peer, 0, sizeof(pc.spare_peer));
		pc.peer = &pc.spare_peer;
	} else
		pc.peer = &tep->peers[tep->npeers++];
	set_name(pc.peer->name, "server", t);
	pc.peer->at = t->at;
}

static void
peer_allow(const struct tok *t)
{
	struct conf_peer *peer = pc.peer;
	struct conf_prefix4 p;
	char why[VALUE_WHY];

	memset(&p, 0, sizeof(p));
	if (value_prefix4(t->text, &p, why) == -1)
		fail(t, "%s", why);
	else if (peer->nprefixes == CONF_PREFIX_MAX)
		fail(t, "too many prefixes of one server (%d)",
		    CONF_PREFIX_MAX);
	else
		peer->prefixes[peer->nprefixes++] = p;
}

static void
node_begin(const struct tok *keyword)
{
	if (pc.conf->roles & ROLE_NODE)
		fail(keyword, "a second node");
	pc.conf->roles |= ROLE_NODE;
	pc.conf->node.at = keyword->at;
	pc.seen[1] = 0;
}

static void
node_server(const struct tok *t, uint32_t port)
{
	struct conf_node *n = &pc.conf->node;
	struct in6_addr addr;
	uint32_t i;

	if (get_addr6(t, &addr) == -1)
		return;
	for (i = 0; i < n->nservers; i++)
		if (n->servers[i].port == port &&
		    IN6_ARE_ADDR_EQUAL(&n->servers[i].addr, &addr))
			fail(t, "server %s port %u is given twice", t->text,
			    port);
	if (n->nservers == SERVER_MAX) {
		fail(t, "too many servers of the node (%d)", SERVER_MAX);
		return;
	}
	n->servers[n->nservers].addr = addr;
	n->servers[n->nservers++].port = (uint16_t)port;
}

/* Where clients are sent that can not be served here. */
static void
add_redirect(const struct tok *t)
{
	struct conf *conf = pc.conf;
	struct in6_addr addr;
	uint32_t i;

	if (get_addr6(t, &addr) == -1)
		return;
	for (i = 0; i < conf->nredirects; i++)
		if (IN6_ARE_ADDR_EQUAL(&conf->redirects[i], &addr))
			fail(t, "redirect to %s is given twice", t->text);
	if (conf->nredirects == REDIRECT_MAX) {
		fail(t, "too many servers to redirect to (%d)", REDIRECT_MAX);
		return;
	}
	conf->redirects[conf->nredirects++] = addr;
}

static void
node_table(const struct tok *what, const struct tok *t)
{
	struct conf_node *n = &pc.conf->node;

	n->metric = 0;
	n->table = number(what, t, 1, UINT32_MAX);
	/* rtnetlink(7): RT_TABLE_DEFAULT, _MAIN and _LOCAL */
	if (n->table >= 253 && n->table <= 255)
		fail(t, "table %u is the system's; for the main table write "
		    "\"route metric\"", n->table);
}

/* Names become indices once all is known. */
static void
resolve_pools(void)
{
	struct conf *conf = pc.conf;
	struct lease_policy *p;
	struct want *w;
	uint32_t i, j;

	TAILQ_FOREACH(w, &pc.wants, entry) {
		p = &conf->users[w->user].policy;
		for (i = 0; i < conf->npools; i++)
			if (strcmp(conf->pools[i].name, w->pool->text) == 0)
				break;
		for (j = 0; j < p->npools; j++)
			if (p->pools[j] == i)
				break;
		if (i == conf->npools)
			fail(w->pool, "no such pool: \"%s\"", w->pool->text);
		else if (j < p->npools)
			fail(w->pool, "pool \"%s\" is given twice",
			    w->pool->text);
		else
			p->pools[p->npools++] = (uint8_t)i;
	}
	/* Who named but unknown ones is not to hear of "no pool" as well. */
	TAILQ_FOREACH(w, &pc.wants, entry) {
		p = &conf->users[w->user].policy;
		if (p->npools == 0)
			p->npools = 1;
	}
}

/*
 * Errors of the text come first; only when there are none does it make
 * sense to judge the whole.
 */
static struct conf *
parse(struct lex *lex, const char *name)
{
	struct conf *conf;
	struct want *w;
	int broken, failed;

	if (lex == NULL)
		return (NULL);
	memset(&pc, 0, sizeof(pc));
	TAILQ_INIT(&pc.wants);
	pc.lex = lex;
	pc.conf = conf = conf_new();
	conf->limits.lifetime_min = conf->limits.lifetime_max = 0;
	broken = yyparse() != 0 || lex_nerrors(lex) > 0;
	set_lifetime();
	if (!broken)
		resolve_pools();
	failed = broken || lex_nerrors(lex) > 0;
	conf->files = lex_files(lex, &conf->nfiles);
	while ((w = TAILQ_FIRST(&pc.wants)) != NULL) {
		TAILQ_REMOVE(&pc.wants, w, entry);
		free(w);
	}
	lex_free(lex);
	memset(&pc, 0, sizeof(pc));
	if (!broken && conf_check(conf, name) > 0)
		failed = 1;
	if (failed) {
		conf_free(conf);
		return (NULL);
	}
	return (conf);
}

struct conf *
conf_parse(const char *name)
{
	return (parse(lex_open_file(name), name));
}

struct conf *
conf_parse_text(const char *name, const char *buf, size_t len)
{
	return (parse(lex_open_text(name, buf, len), name));
}
