/* LINK: priv/parse.o priv/lex.o priv/value.o priv/conf.o priv/conf-print.o dstmd/addr.o dstmd/mech.o */
#include <sys/types.h>
#include <sys/stat.h>

#include <arpa/inet.h>

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "dstmd/dstmd.h"
#include "priv/conf.h"
#include "priv/value.h"

#define BOTH	(MECH_SCRAM_SHA_256 | MECH_ANONYMOUS)

static char	 said[65536];	/* on standard error, by the last parse */

static int
capture(void)
{
	FILE *f;
	int saved;

	assert_non_null(f = tmpfile());
	fflush(stderr);
	assert_true((saved = dup(STDERR_FILENO)) != -1);
	assert_int_equal(dup2(fileno(f), STDERR_FILENO), STDERR_FILENO);
	fclose(f);
	return (saved);
}

static void
release(int saved)
{
	ssize_t n;

	fflush(stderr);
	n = pread(STDERR_FILENO, said, sizeof(said) - 1, 0);
	assert_true(n >= 0);
	said[n] = '\0';
	assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
	close(saved);
}

static struct conf *
text_n(const char *text, size_t len)
{
	struct conf *conf;
	int saved = capture();

	conf = conf_parse_text("t", text, len);
	release(saved);
	return (conf);
}

static struct conf *
text(const char *s)
{
	return (text_n(s, strlen(s)));
}

/* Accepted, and silently. */
static struct conf *
good(const char *s)
{
	struct conf *conf = text(s);

	assert_string_equal(said, "");
	assert_non_null(conf);
	return (conf);
}

/* Refused, with just these lines. */
static void
refused(const char *s, const char *lines)
{
	struct conf *conf = text(s);

	assert_string_equal(said, lines);
	assert_null(conf);
}

static char *
print(const struct conf *conf)
{
	FILE *f;
	char *buf;
	size_t size;

	assert_non_null(f = open_memstream(&buf, &size));
	conf_print(conf, f);
	assert_int_equal(fclose(f), 0);
	return (buf);
}

/* Everything but where it was written. */
static void
assert_conf_equal(struct conf *a, struct conf *b)
{
	struct conf *c[2] = { a, b };
	uint32_t i, j, k;

	for (i = 0; i < 2; i++) {
		for (j = 0; j < c[i]->nlisten; j++)
			memset(&c[i]->listen[j].at, 0, sizeof(struct conf_at));
		for (j = 0; j < c[i]->npools; j++) {
			memset(&c[i]->pools[j].at, 0, sizeof(struct conf_at));
			for (k = 0; k < CONF_RANGE_MAX; k++)
				memset(&c[i]->pools[j].written[k].at, 0,
				    sizeof(struct conf_at));
		}
		for (j = 0; j < c[i]->nteps; j++) {
			memset(&c[i]->teps[j].at, 0, sizeof(struct conf_at));
			for (k = 0; k < CONF_PEER_MAX; k++)
				memset(&c[i]->teps[j].peers[k].at, 0,
				    sizeof(struct conf_at));
		}
		for (j = 0; j < c[i]->nusers; j++)
			memset(&c[i]->users[j].at, 0, sizeof(struct conf_at));
		memset(&c[i]->node.at, 0, sizeof(struct conf_at));
		memset(&c[i]->server_at, 0, sizeof(struct conf_at));
	}
	assert_int_equal(a->nusers, b->nusers);
	if (a->nusers > 0)
		assert_memory_equal(a->users, b->users,
		    a->nusers * sizeof(*a->users));
	/* users and files are pointers: compare up to the one, then on. */
	assert_memory_equal(a, b, offsetof(struct conf, users));
	assert_memory_equal(&a->node, &b->node, sizeof(a->node));
}

/* Parse, print, parse, print. */
static void
round_trip(const char *s)
{
	struct conf *a, *b;
	char *pa, *pb;

	a = good(s);
	pa = print(a);
	b = good(pa);
	pb = print(b);
	assert_string_equal(pa, pb);
	assert_conf_equal(a, b);
	free(pa);
	free(pb);
	conf_free(a);
	conf_free(b);
}

/* An accepted server, in parts that a test can change. */
#define TEP	"tep \"l\" { address 2001:db8::2 198.51.100.1 " \
		"interface \"dstm0\" }\n"
#define SECRETS	"secrets \"/s\"\n"
#define SERVER(pool) SECRETS TEP "server {\nlisten on 2001:db8::1\n" pool \
		"user default { pool p }\n}\n"
#define POOL	"pool p { 198.51.100.0/24 exclude 198.51.100.1 tep l }\n"
#define NODE	"node { server 2001:db8::1 login a password \"/p\" " \
		"interface dstm1 }\n"

static const char full[] =
    "# every statement there is\n"
    "dir = \"/etc/dstmd\"\n"
    "lab = \"198.51.100.0/24 exclude 198.51.100.0/28\"\n"
    "addr=2001:db8::1\n"
    "control \"/run/x/control\"\n"
    "store \"/var/x \\\"y\\\\\"\n"
    "secrets \"/etc/dstmd/secrets\"\n"
    "limits { connections 100 handshakes 50 per-source 5 source-prefix 64\n"
    " source-rate 9 auth-failures 10 request-rate 11\n"
    " auth-timeout 6 idle-timeout 7\n"
    "\trequest-timeout 8 }\n"
    "server {\n"
    "\tlisten on $addr port 3654\n"
    "\tlisten on \\\n\t    2001:db8::11\n"
    "\tauth scram-sha-256, ANONYMOUS\n"
    "\tsecrets '/etc/dstmd/secrets'\n"
    "\tlifetime 600 min 5 max 7200 quarantine 30\n"
    "\tpool \"lab\" { $lab tep \"far\" }\n"
    "\tpool b {\n\t\t203.0.113.20 - 203.0.113.40\n"
    "\t\t203.0.113.50-203.0.113.60 exclude 203.0.113.55\n"
    "\t\texclude 203.0.113.30 - 203.0.113.39\n\t\ttep local\n\t}\n"
    "\tuser \"zoe\" { pool b pool lab leases 2 prefix 2001:db8:5::/48\n"
    "\t\tprefix 2001:db8:6::6 }\n"
    "\tuser alice { pool b address 203.0.113.52 address 198.51.100.20 }\n"
    "\tuser default { pool lab leases 0 }\n"
    "\tanonymous { pool b }\n"
    "}\n"
    "tep far { connect to 2001:db8:2::2 port 99 login me "
    "password \"/etc/far\" }\n"
    "tep \"local\" { address 198.51.100.1 2001:db8::2 interface dstm0 "
    "mtu 1460\n"
    "\tlisten on 2001:db8::1 port 3654\n"
    "\tserver \"dstm1\" { allow 192.0.2.0/25 allow 192.0.2.130 } }\n"
    "node {\n"
    "\tserver 2001:db8:9::1 server 2001:db8:9::1 port 3655\n"
    "\tauth scram-sha-256 login \"host\" password \"/etc/dstmd/password\"\n"
    "\tinterface \"dstm1\" mtu 1400 address 2001:db8:9::5 lifetime 600\n"
    "\troute table 100\n"
    "}";			/* no newline at the end */

static struct in_addr
ip4(const char *s)
{
	struct in_addr a;

	assert_int_equal(inet_pton(AF_INET, s, &a), 1);
	return (a);
}

static struct in6_addr
ip6(const char *s)
{
	struct in6_addr a;

	assert_int_equal(inet_pton(AF_INET6, s, &a), 1);
	return (a);
}

static void
assert_range(const struct conf_pool *p, uint32_t i, const char *lo,
    const char *hi)
{
	assert_true(i < p->nranges);
	assert_string_equal(log_in(p->ranges[i].lo), lo);
	assert_string_equal(log_in(p->ranges[i].hi), hi);
}

static void
test_full_global(void **state)
{
	struct conf *c = good(full);

	(void)state;
	assert_int_equal(c->roles, ROLE_SERVER | ROLE_TEP | ROLE_NODE);
	assert_string_equal(c->control, "/run/x/control");
	assert_string_equal(c->store, "/var/x \"y\\");
	assert_string_equal(c->secrets, "/etc/dstmd/secrets");
	assert_int_equal(c->max_conns, 100);
	assert_int_equal(c->handshakes, 50);
	assert_int_equal(c->max_source, 5);
	assert_int_equal(c->source_prefix, 64);
	assert_int_equal(c->source_rate, 9);
	assert_int_equal(c->auth_failures, 10);
	assert_int_equal(c->request_rate, 11);
	assert_int_equal(c->auth_timeout, 6);
	assert_int_equal(c->idle_timeout, 7);
	assert_int_equal(c->request_timeout, 8);
	assert_int_equal(c->limits.lifetime, 600);
	assert_int_equal(c->limits.lifetime_min, 5);
	assert_int_equal(c->limits.lifetime_max, 7200);
	assert_int_equal(c->limits.quarantine, 30);
	assert_int_equal(mech_set(c->server_mechs), BOTH);
	assert_int_equal(c->nlisten, 2);	/* one is shared */
	assert_string_equal(log_in6(&c->listen[0].addr), "2001:db8::1");
	assert_int_equal(c->listen[0].port, 3654);
	assert_int_equal(c->listen[0].role, ROLE_SERVER | ROLE_TEP);
	assert_int_equal(mech_set(c->listen[0].mechs), BOTH);
	assert_int_equal(c->listen[1].port, 3653);
	assert_int_equal(c->listen[1].role, ROLE_SERVER);
	conf_free(c);
}

static void
test_full_server(void **state)
{
	struct conf *c = good(full);
	const struct conf_user *u;

	(void)state;
	assert_int_equal(c->npools, 2);
	assert_string_equal(c->pools[0].name, "lab");
	assert_int_equal(c->pools[0].tep, 1);	/* local teps come first */
	assert_int_equal(c->pools[0].nranges, 1);
	assert_range(&c->pools[0], 0, "198.51.100.16", "198.51.100.254");
	assert_int_equal(c->pools[1].tep, 0);
	assert_int_equal(c->pools[1].nranges, 4);
	assert_range(&c->pools[1], 0, "203.0.113.20", "203.0.113.29");
	assert_range(&c->pools[1], 1, "203.0.113.40", "203.0.113.40");
	assert_range(&c->pools[1], 2, "203.0.113.50", "203.0.113.54");
	assert_range(&c->pools[1], 3, "203.0.113.56", "203.0.113.60");

	assert_int_equal(c->nusers, 4);
	u = conf_user(c, MECH_SCRAM_SHA_256, "zoe");
	assert_non_null(u);
	assert_string_equal(u->name, "zoe");
	assert_int_equal(u->policy.npools, 2);
	assert_int_equal(u->policy.pools[0], 1);
	assert_int_equal(u->policy.pools[1], 0);
	assert_int_equal(u->policy.max_leases, 2);
	assert_int_equal(u->nprefixes, 2);
	assert_int_equal(u->prefixes[0].len, 48);
	assert_string_equal(log_in6(&u->prefixes[1].addr), "2001:db8:6::6");
	assert_int_equal(u->prefixes[1].len, 128);
	u = conf_user(c, MECH_SCRAM_SHA_256, "alice");
	assert_non_null(u);
	assert_int_equal(u->policy.nfixed, 2);
	assert_string_equal(log_in(u->policy.fixed[0]), "203.0.113.52");
	assert_string_equal(log_in(u->policy.fixed[1]), "198.51.100.20");
	conf_free(c);
}

static void
test_full_teps_node(void **state)
{
	struct conf *c = good(full);
	const struct conf_tep *t;

	(void)state;
	assert_int_equal(c->nteps, 2);
	t = &c->teps[0];
	assert_string_equal(t->name, "local");
	assert_int_equal(t->local, 1);
	assert_string_equal(log_in6(&t->addr6), "2001:db8::2");
	assert_string_equal(log_in(t->addr4), "198.51.100.1");
	assert_string_equal(t->ifname, "dstm0");
	assert_int_equal(t->mtu, 1460);
	assert_int_equal(t->npeers, 1);
	assert_string_equal(t->peers[0].name, "dstm1");
	assert_int_equal(t->peers[0].nprefixes, 2);
	assert_int_equal(t->peers[0].prefixes[0].len, 25);
	assert_int_equal(t->peers[0].prefixes[1].len, 32);
	t = &c->teps[1];
	assert_string_equal(t->name, "far");
	assert_int_equal(t->local, 0);
	assert_string_equal(log_in6(&t->connect), "2001:db8:2::2");
	assert_int_equal(t->port, 99);
	assert_string_equal(t->login.name, "me");
	assert_string_equal(t->login.password, "/etc/far");
	assert_int_equal(c->node.nservers, 2);
	assert_int_equal(c->node.servers[0].port, 3653);
	assert_int_equal(c->node.servers[1].port, 3655);
	assert_int_equal(c->node.mech, MECH_SCRAM_SHA_256);
	assert_string_equal(c->node.login.name, "host");
	assert_string_equal(c->node.login.password, "/etc/dstmd/password");
	assert_string_equal(c->node.ifname, "dstm1");
	assert_int_equal(c->node.mtu, 1400);
	assert_string_equal(log_in6(&c->node.addr), "2001:db8:9::5");
	assert_int_equal(c->node.lifetime, 600);
	assert_int_equal(c->node.route, 1);
	assert_int_equal(c->node.table, 100);
	conf_free(c);
}

static void
test_defaults(void **state)
{
	struct conf *c = good(SERVER(POOL) NODE);
	const struct conf_user *u;

	(void)state;
	assert_string_equal(c->control, RUNDIR "/control");
	assert_string_equal(c->store, STATEDIR);
	assert_int_equal(c->max_conns, 4096);
	assert_int_equal(c->handshakes, 2048);
	assert_int_equal(c->max_source, 64);
	assert_int_equal(c->source_prefix, 128);
	assert_int_equal(c->source_rate, 50);
	assert_int_equal(c->auth_failures, 20);
	assert_int_equal(c->request_rate, 100);
	assert_int_equal(c->auth_timeout, 30);
	assert_int_equal(c->idle_timeout, 300);
	assert_int_equal(c->request_timeout, 10);
	assert_int_equal(c->limits.lifetime, 3600);
	assert_int_equal(c->limits.lifetime_min, 60);
	assert_int_equal(c->limits.lifetime_max, 86400);
	assert_int_equal(c->limits.quarantine, 300);
	assert_int_equal(c->listen[0].port, TSP_PORT);
	assert_int_equal(mech_set(c->listen[0].mechs), MECH_SCRAM_SHA_256);
	assert_non_null(u = conf_user(c, MECH_SCRAM_SHA_256, "who"));
	assert_int_equal(u->policy.max_leases, 1);
	assert_int_equal(c->teps[0].mtu, 0);
	assert_int_equal(c->node.route, 1);
	assert_int_equal(c->node.metric, 512);
	assert_int_equal(c->node.table, 0);
	assert_int_equal(c->node.lifetime, 0);
	assert_true(IN6_IS_ADDR_UNSPECIFIED(&c->node.addr));
	conf_free(c);
}

/* The shortcut of plane bpf is taken unless the configuration forbids it. */
static void
test_plane(void **state)
{
	static const struct {
		const char	*said;
		enum conf_plane	 plane;
		int		 interface;
	} t[] = {
		{ "",				PLANE_AUTO,	0 },
		{ "plane auto\n",		PLANE_AUTO,	0 },
		{ "plane auto interface\n",	PLANE_AUTO,	1 },
		{ "plane bpf\n",		PLANE_BPF,	0 },
		{ "plane bpf interface\n",	PLANE_BPF,	1 },
		{ "plane kernel\n",		PLANE_KERNEL,	0 },
		{ "plane tun\n",		PLANE_TUN,	0 },
	};
	struct conf *c;
	char buf[512];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		snprintf(buf, sizeof(buf), "%s" NODE, t[i].said);
		c = good(buf);
		assert_int_equal(c->plane, t[i].plane);
		assert_int_equal(c->plane_interface, t[i].interface);
		conf_free(c);
		round_trip(buf);
	}
	refused("plane tun interface\n" NODE, "t:1: interface is for plane "
	    "auto and bpf: with kernel and tun all packets pass the tunnel "
	    "interface\n");
	refused("plane kernel interface\n" NODE, "t:1: interface is for plane "
	    "auto and bpf: with kernel and tun all packets pass the tunnel "
	    "interface\n");
	refused("plane bpf\nplane bpf interface\n" NODE,
	    "t:2: plane is given twice\n");
	refused("plane interface\n" NODE,
	    "t:1: syntax error near \"interface\"\n");
}

/* Bounds that are not written follow the lifetime. */
static void
test_lifetime(void **state)
{
	struct conf *c;

	(void)state;
	c = good(SERVER("lifetime 5\n" POOL));
	assert_int_equal(c->limits.lifetime, 5);
	assert_int_equal(c->limits.lifetime_min, 5);
	assert_int_equal(c->limits.lifetime_max, 86400);
	conf_free(c);
	c = good(SERVER("lifetime 604800\n" POOL));
	assert_int_equal(c->limits.lifetime_min, 60);
	assert_int_equal(c->limits.lifetime_max, 604800);
	conf_free(c);
	refused(SERVER("lifetime 100 min 101\n" POOL),
	    "t:3: server: lifetime 100 must be between min 101 and max "
	    "86400\n");
	refused(SERVER("lifetime 100 max 99\n" POOL),
	    "t:3: server: lifetime 100 must be between min 60 and max 99\n");
	refused(SERVER("lifetime 1\n" POOL),
	    "t:5: lifetime 1 is too small (2 to 2678400)\n");
	refused(SERVER("lifetime 2678401\n" POOL),
	    "t:5: lifetime 2678401 is too large (2 to 2678400)\n");
	refused(SERVER("lifetime 60 min 1 max x\n" POOL),
	    "t:5: min 1 is too small (2 to 2678400)\n"
	    "t:5: max x is invalid (2 to 2678400)\n");
	c = good(SERVER("quarantine 0\n" POOL));
	assert_int_equal(c->limits.quarantine, 0);
	conf_free(c);
	refused(SERVER("quarantine 604801\n" POOL),
	    "t:5: quarantine 604801 is too large (0 to 604800)\n");
}

/* A prefix's first and last address are no host's; ranges are literal. */
static void
test_pool_edges(void **state)
{
	static const struct {
		const char *addresses;
		const char *lo, *hi;
	} t[] = {
		{ "203.0.113.0/24",	"203.0.113.1",	"203.0.113.254" },
		{ "203.0.113.128/25",	"203.0.113.129", "203.0.113.254" },
		{ "203.0.113.4/30",	"203.0.113.5",	"203.0.113.6" },
		{ "203.0.113.4/31",	"203.0.113.4",	"203.0.113.5" },
		{ "203.0.113.4/32",	"203.0.113.4",	"203.0.113.4" },
		{ "203.0.113.255",	"203.0.113.255", "203.0.113.255" },
		{ "203.0.113.0 - 203.0.113.255", "203.0.113.0",
		    "203.0.113.255" },
		{ "203.0.113.0-203.0.113.255", "203.0.113.0",
		    "203.0.113.255" },
		{ "203.0.113.0/24 exclude 203.0.113.0", "203.0.113.1",
		    "203.0.113.254" },
		{ "203.0.113.0/24 exclude 203.0.113.255", "203.0.113.1",
		    "203.0.113.254" },
		{ "203.0.113.0/24 exclude 203.0.113.128/25", "203.0.113.1",
		    "203.0.113.127" },
		{ "exclude 203.0.113.0/25 203.0.113.0/24", "203.0.113.128",
		    "203.0.113.254" },
		{ "203.0.113.1-203.0.113.9 exclude 203.0.113.1-203.0.113.8",
		    "203.0.113.9", "203.0.113.9" },
		{ "10.0.0.0/8",		"10.0.0.1",	"10.255.255.254" },
		{ "223.255.255.254/31",	"223.255.255.254", "223.255.255.255" },
		{ "1.0.0.0-126.255.255.255", "1.0.0.0", "126.255.255.255" },
	};
	struct conf *c;
	char buf[512];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		snprintf(buf, sizeof(buf), SECRETS "tep l { address "
		    "2001:db8::2 192.0.2.1 interface d }\n"
		    "server { listen on 2001:db8::1 user default { pool p }\n"
		    "pool p { %s tep l } }\n", t[i].addresses);
		c = good(buf);
		assert_int_equal(c->pools[0].nranges, 1);
		assert_range(&c->pools[0], 0, t[i].lo, t[i].hi);
		conf_free(c);
		round_trip(buf);
	}
}

/* Many exclusions: what remains is what arithmetic says. */
static void
test_pool_ranges(void **state)
{
	struct conf *c;
	struct conf_pool *p;
	char buf[8192];
	uint32_t i, sum = 0;
	int n;

	(void)state;
	n = snprintf(buf, sizeof(buf), SECRETS "tep l { address 2001:db8::2 "
	    "192.0.2.1 interface d }\nserver { listen on 2001:db8::1\n"
	    "user default { pool p }\npool p { tep l 10.0.0.0/16\n");
	for (i = 1; i < CONF_RANGE_MAX; i++)
		n += snprintf(buf + n, sizeof(buf) - (size_t)n,
		    "exclude 10.0.%u.8/29\n", i);
	snprintf(buf + n, sizeof(buf) - (size_t)n, "} }\n");
	c = good(buf);
	p = &c->pools[0];
	assert_int_equal(p->nranges, CONF_RANGE_MAX);
	for (i = 0; i < p->nranges; i++) {
		sum += ntohl(p->ranges[i].hi.s_addr) -
		    ntohl(p->ranges[i].lo.s_addr) + 1;
		assert_true(i == 0 || ntohl(p->ranges[i - 1].hi.s_addr) <
		    ntohl(p->ranges[i].lo.s_addr));
	}
	assert_int_equal(sum, 65534 - 8 * (CONF_RANGE_MAX - 1));
	conf_free(c);
	round_trip(buf);
	snprintf(buf + n, sizeof(buf) - (size_t)n, "exclude 10.0.99.0/29 } }");
	refused(buf, "t:69: too many ranges in a pool (64)\n");
}

static void
test_pool_errors(void **state)
{
	(void)state;
	refused(SERVER("pool p { 198.51.100.7/24 tep l }\n"),
	    "t:5: 198.51.100.7/24: bits are set behind the prefix: the network "
	    "is 198.51.100.0/24, the one address 198.51.100.7\n");
	refused(SERVER("pool p { 198.51.100.0/33 10.0.0.0/0 10.0.0.0/x "
	    "10.0.0/8 tep l }\n"),
	    "t:5: 198.51.100.0/33: prefix length is too large (1 to 32)\n"
	    "t:5: 10.0.0.0/0: prefix length is too small (1 to 32)\n"
	    "t:5: 10.0.0.0/x: prefix length is invalid (1 to 32)\n"
	    "t:5: \"10.0.0/8\" is not an IPv4 prefix\n");
	refused(SERVER("pool p { 127.0.0.1 224.0.0.0/8 0.0.0.0/1 128.0.0.0/1 "
	    "126.0.0.0 - 128.0.0.0 255.255.255.255\n"
	    "10.0.0.9 - 10.0.0.8 10.0.0.9-x 2001:db8::1 - - tep l }\n"),
	    "t:5: 127.0.0.1 is not unicast IPv4 that may be used\n"
	    "t:5: 224.0.0.0/8 is not unicast IPv4 that may be used\n"
	    "t:5: 0.0.0.0/1 is not unicast IPv4 that may be used\n"
	    "t:5: 128.0.0.0/1 is not unicast IPv4 that may be used\n"
	    "t:5: 126.0.0.0 - 128.0.0.0 is not unicast IPv4 that may be used\n"
	    "t:5: 255.255.255.255 is not unicast IPv4 that may be used\n"
	    "t:6: 10.0.0.9 - 10.0.0.8: the first address is above the last\n"
	    "t:6: \"x\" is not an IPv4 address\n"
	    "t:6: syntax error near \"-\"\n");
	refused(SERVER("pool p { 198.51.100.0/24 exclude 198.51.100.0/24\n"
	    "tep l }\n"), "t:5: pool \"p\": nothing is left of its "
	    "addresses\n");
	refused(SERVER("pool p { tep l }\n"),
	    "t:5: pool \"p\": no addresses\n");
	refused(SERVER("pool p { 203.0.113.0/24\n203.0.113.9 tep l }\n"),
	    "t:6: pool \"p\": 203.0.113.9 overlaps 203.0.113.0/24\n");
	refused(SERVER("pool p { 203.0.113.0/24\n"
	    "exclude 203.0.112.0/24 tep l }\n"), "t:6: pool \"p\": "
	    "203.0.112.0/24 is not in it, there is nothing to exclude\n");
	refused(SERVER(POOL "pool q { 198.51.100.90 - 198.51.101.3 tep l }\n"
	    "pool r { 198.51.101.3-198.51.101.4 tep l }\n"),
	    "t:6: pool \"q\" overlaps pool \"p\": 198.51.100.90 - "
	    "198.51.100.254\n"
	    "t:7: pool \"r\" overlaps pool \"q\": 198.51.101.3\n");
	refused(SERVER("pool p { 203.0.113.0/24 }\n"),
	    "t:5: pool \"p\": no tep\n"
	    "t:2: tep \"l\": neither a pool nor a server uses it\n");
	refused(SERVER("pool p { 203.0.113.0/24 tep m }\n" POOL),
	    "t:6: a second pool \"p\"\n");
	refused(SERVER("pool p { 203.0.113.0/24 tep m }\n"),
	    "t:5: pool \"p\": no such tep: \"m\"\n"
	    "t:2: tep \"l\": neither a pool nor a server uses it\n");
	refused(SERVER("pool p { 203.0.113.0/24 tep l tep l }\n"),
	    "t:5: tep is given twice\n");
}

/* The TEP's own address must have no second owner. */
static void
test_tep_in_pool(void **state)
{
	struct conf *c;

	(void)state;
	refused(SERVER("pool p { 198.51.100.0/24 tep l }\n"),
	    "t:2: tep \"l\": its address 198.51.100.1 is in pool \"p\": "
	    "exclude it there\n");
	c = good(SERVER("pool p { 198.51.100.0/24 exclude 198.51.100.0/30 "
	    "tep l }\n"));
	conf_free(c);
}

static void
test_users(void **state)
{
	struct conf *c = good(full);
	const struct conf_user *u;

	(void)state;
	assert_string_equal(conf_user(c, MECH_SCRAM_SHA_256, "alice")->name,
	    "alice");
	u = conf_user(c, MECH_SCRAM_SHA_256, "Alice");	/* another one */
	assert_string_equal(u->name, "");
	assert_int_equal(u->policy.max_leases, 0);
	u = conf_user(c, MECH_ANONYMOUS, "anonymous");
	assert_int_equal(u->mech, MECH_ANONYMOUS);
	assert_int_equal(u->policy.max_leases, 0);
	assert_ptr_equal(conf_user(c, MECH_ANONYMOUS, "alice"), u);
	/* A server is no user, a forged mechanism nobody. */
	assert_null(conf_user(c, MECH_SCRAM_SHA_256, "dstm1"));
	assert_null(conf_user(c, MECH_SCRAM_SHA_256, "anonymous"));
	assert_null(conf_user(c, MECH_SCRAM_SHA_256, ""));
	assert_null(conf_user(c, 0, "alice"));
	assert_null(conf_user(c, BOTH, "alice"));
	assert_null(conf_user(c, 0x80000000U, "alice"));
	conf_free(c);

	c = good(SECRETS TEP "server { listen on 2001:db8::1\n" POOL
	    "user alice { pool p } }\n");
	assert_non_null(conf_user(c, MECH_SCRAM_SHA_256, "alice"));
	assert_null(conf_user(c, MECH_SCRAM_SHA_256, "bob"));
	assert_null(conf_user(c, MECH_ANONYMOUS, "anonymous"));
	conf_free(c);
}

static void
test_user_errors(void **state)
{
	(void)state;
	refused(SERVER(POOL "user a { pool p }\nuser b { pool p }\n"
	    "user a { pool p }\nuser default { pool p }\n"),
	    "t:10: a second user default\nt:8: a second user \"a\"\n");
	refused(SERVER(POOL "user a { leases 1 }\nuser default { }\n"),
	    "t:7: user default: no pool\nt:8: a second user default\n"
	    "t:6: user \"a\": no pool\n");
	refused(SERVER(POOL "user a { pool q pool p pool p leases -1 }\n"),
	    "t:6: leases -1 is too small (0 to 4294967295)\n");
	refused(SERVER(POOL "user a { pool q pool p\npool p }\n"),
	    "t:6: no such pool: \"q\"\nt:7: pool \"p\" is given twice\n");
	refused(SERVER(POOL "user a { pool p leases 1 leases 2 }\n"),
	    "t:6: leases is given twice\n");
	refused(SERVER(POOL "user \"a b\" { pool p }\n"
	    "user \"Anonymous\" { pool p }\nuser \"\" { pool p }\n"),
	    "t:6: user \"a b\": a name is 1 to 64 of A-Z a-z 0-9 . _ - and "
	    "not \"anonymous\"\n"
	    "t:7: user \"Anonymous\": a name is 1 to 64 of A-Z a-z 0-9 . _ - "
	    "and not \"anonymous\"\n"
	    "t:8: user \"\": a name is 1 to 64 of A-Z a-z 0-9 . _ - and not "
	    "\"anonymous\"\n");
	refused(SERVER(POOL "user a { pool p prefix 2001:db8::1/64 "
	    "prefix ::/1 prefix 2001:db8::/129\nprefix ::1 prefix 10.0.0.1 "
	    "prefix fe80::/10 }\n"),
	    "t:6: 2001:db8::1/64: bits are set behind the prefix: the network "
	    "is 2001:db8::/64, the one address 2001:db8::1\n"
	    "t:6: ::/1 is not global unicast IPv6\n"
	    "t:6: 2001:db8::/129: prefix length is too large (1 to 128)\n"
	    "t:7: ::1 is not global unicast IPv6\n"
	    "t:7: \"10.0.0.1\" is not an IPv6 address\n"
	    "t:7: fe80::/10 is not global unicast IPv6\n");
	refused(SERVER("auth scram-sha-256, anonymous\n" POOL
	    "anonymous { pool p prefix 2001:db8::/64 }\n"),
	    "t:7: anonymous: no prefix may be claimed by who is not known\n");
}

static void
test_mechs(void **state)
{
	struct conf *c;

	(void)state;
	refused(SERVER("auth scram-sha-256, anonymous\n" POOL),
	    "t:3: server: auth offers anonymous, but there is no "
	    "anonymous { } to say what it gets\n");
	refused(SERVER(POOL "anonymous { pool p }\n"),
	    "t:3: server: anonymous { } is there, but auth does not offer "
	    "it\n");
	refused(SERVER("auth anonymous\n" POOL "anonymous { pool p }\n"),
	    "t:3: server: there are users, but auth offers anonymous "
	    "alone\n");
	refused(SERVER("auth plain, gssapi, plain\n" POOL),
	    "t:5: auth: plain is given twice\n");
	refused(SERVER("auth gssapi\n" POOL), "t:3: server: auth offers "
	    "gssapi, but there is no keytab\n");
	refused(SERVER("keytab \"/k\"\n" POOL), "t:3: server: a keytab, but "
	    "auth does not offer gssapi\n");
	refused(SERVER("auth plain pool q { 192.0.2.77 tep l auth plain, "
	    "scram-sha-256 }\n" POOL), "t:5: pool \"q\": is for those who "
	    "log in by scram-sha-256, which the server does not offer\n");
	refused(SERVER("auth cram-md5\n" POOL), "t:5: auth \"cram-md5\": not a "
	    "mechanism of ours (scram-sha-256, digest-md5, plain, gssapi, "
	    "anonymous)\n");
	refused(SERVER("auth anonymous auth anonymous\n" POOL),
	    "t:5: auth is given twice\n");
	refused(TEP "server { listen on 2001:db8::1\n" POOL
	    "auth anonymous, scram-sha-256 anonymous { pool p } }\n",
	    "t:2: server: auth offers scram-sha-256, but there is no user\n"
	    "t:2: server: auth offers scram-sha-256, but there is no secrets "
	    "file\n");
	/* Nobody needs the secrets then. */
	c = good(TEP "server { listen on 2001:db8::1\n" POOL
	    "auth anonymous\nanonymous { pool p leases 3 } }\n");
	assert_int_equal(mech_set(c->listen[0].mechs), MECH_ANONYMOUS);
	assert_int_equal(conf_user(c, MECH_ANONYMOUS,
	    "anonymous")->policy.max_leases, 3);
	assert_null(conf_user(c, MECH_SCRAM_SHA_256, "a"));
	conf_free(c);
}

#define PEERTEP(n, addrs, rest)	"tep " n " { address " addrs " " rest "}\n"

/* The order is the server's; some pools are for some mechanisms. */
static void
test_mech_lists(void **state)
{
	struct conf *c;
	struct lease_policy p;
	const struct conf_user *u;

	(void)state;
	c = good(SECRETS TEP "server { listen on 2001:db8::1\n" POOL
	    "auth plain, digest-md5, scram-sha-256\n"
	    "pool q { 192.0.2.77 tep l auth scram-sha-256, digest-md5 }\n"
	    "user u { pool q pool p leases 3 } user v { pool q } }\n");
	assert_int_equal(c->listen[0].mechs[0], MECH_PLAIN);
	assert_int_equal(c->listen[0].mechs[1], MECH_DIGEST_MD5);
	assert_int_equal(c->listen[0].mechs[2], MECH_SCRAM_SHA_256);
	assert_int_equal(c->listen[0].mechs[3], 0);
	assert_non_null(u = conf_user(c, MECH_PLAIN, "u"));
	conf_policy(c, MECH_DIGEST_MD5, u, NULL, &p);
	assert_int_equal(p.npools, 2);
	assert_memory_equal(p.pools, u->policy.pools, 2);
	assert_int_equal(p.max_leases, 3);
	conf_policy(c, MECH_PLAIN, u, NULL, &p);
	assert_int_equal(p.npools, 1);
	assert_string_equal(c->pools[p.pools[0]].name, "p");
	assert_non_null(u = conf_user(c, MECH_PLAIN, "v"));
	conf_policy(c, MECH_PLAIN, u, NULL, &p);
	assert_int_equal(p.npools, 0);
	conf_free(c);
}

/* A pool is for the nodes that its TEP takes. */
static void
test_outer(void **state)
{
	struct conf *c;
	struct lease_policy p;
	const struct conf_user *u;
	struct in6_addr in, out;

	(void)state;
	assert_int_equal(inet_pton(AF_INET6, "2001:db8:5:6::7", &in), 1);
	assert_int_equal(inet_pton(AF_INET6, "2001:db8:6::7", &out), 1);
	c = good(SECRETS "tep l { address 2001:db8::2 198.51.100.1 "
	    "interface d\naccept from 2001:db8:5::/48 accept from 2001:db8:7::7 }\n"
	    "tep r { connect to 2001:db8::3 login s password \"/p\" }\n"
	    "server { listen on 2001:db8::1\n" POOL
	    "pool q { 192.0.2.77 - 192.0.2.78 tep r }\n"
	    "pool s { 192.0.2.79 - 192.0.2.80 tep l }\n"
	    "user u { pool p pool q address 192.0.2.79 address 192.0.2.78 }\n"
	    "user v { pool p address 192.0.2.80 } }\n");
	assert_int_equal(c->teps[0].nouters, 2);
	assert_int_equal(c->teps[0].outers[1].len, 128);
	assert_true(conf_outer(&c->teps[0], &in));
	assert_false(conf_outer(&c->teps[0], &out));
	assert_true(conf_outer(&c->teps[1], &out));
	assert_non_null(u = conf_user(c, MECH_SCRAM_SHA_256, "u"));
	conf_policy(c, MECH_SCRAM_SHA_256, u, &in, &p);
	assert_int_equal(p.npools, 2);
	assert_int_equal(p.nfixed, 2);
	conf_policy(c, MECH_SCRAM_SHA_256, u, &out, &p);
	assert_int_equal(p.npools, 1);
	assert_string_equal(c->pools[p.pools[0]].name, "q");
	assert_int_equal(p.nfixed, 1);
	assert_string_equal(log_in(p.fixed[0]), "192.0.2.78");
	assert_non_null(u = conf_user(c, MECH_SCRAM_SHA_256, "v"));
	conf_policy(c, MECH_SCRAM_SHA_256, u, &out, &p);
	assert_int_equal(p.npools + p.nfixed, 0);
	conf_policy(c, MECH_SCRAM_SHA_256, u, NULL, &p);
	assert_int_equal(p.npools + p.nfixed, 2);
	conf_free(c);
}

static void
test_peers(void **state)
{
	struct conf *c;
	const struct conf_peer *s;
	uint32_t tep = 99;

	(void)state;
	c = good(SECRETS
	    PEERTEP("a", "2001:db8::2 192.0.2.1", "interface d0 "
	    "listen on 2001:db8::2 server s1 { allow 10.0.0.0/24 }")
	    PEERTEP("b", "2001:db8::3 192.0.2.2", "interface d1 "
	    "server s2 { allow 10.0.1.0/24 } server s3 { allow 10.0.1.0/24 }"));
	assert_int_equal(c->roles, ROLE_TEP);
	assert_int_equal(c->listen[0].role, ROLE_TEP);
	assert_int_equal(mech_set(c->listen[0].mechs), MECH_SCRAM_SHA_256);
	assert_non_null(s = conf_peer(c, "s3", &tep));
	assert_int_equal(tep, 1);
	assert_string_equal(s->name, "s3");
	assert_non_null(conf_peer(c, "s1", NULL));
	tep = 99;
	assert_null(conf_peer(c, "s4", &tep));
	assert_null(conf_peer(c, "", &tep));
	assert_int_equal(tep, 99);
	assert_null(conf_user(c, MECH_SCRAM_SHA_256, "s1"));
	conf_free(c);
}

static void
test_peer_errors(void **state)
{
	(void)state;
	refused(PEERTEP("a", "2001:db8::2 192.0.2.1", "interface d0 "
	    "server s1\n"),
	    "t:1: server \"s1\": no allow: it may map nothing here\n"
	    "t:1: tep \"a\": it obeys servers, but listens on no address\n"
	    "t:1: tep \"a\": it obeys servers, but there is no secrets file "
	    "to know them by\n");
	refused(SECRETS PEERTEP("a", "2001:db8::2 192.0.2.1", "interface d0 "
	    "listen on 2001:db8::2 server s1 { allow 10.0.0.0/24 }\n"
	    "server s1 { allow 10.0.0.1/24 allow ::1 }"),
	    "t:3: 10.0.0.1/24: bits are set behind the prefix: the network is "
	    "10.0.0.0/24, the one address 10.0.0.1\n"
	    "t:3: \"::1\" is not an IPv4 address\n");
	refused(SECRETS PEERTEP("a", "2001:db8::2 192.0.2.1", "interface d0 "
	    "listen on 2001:db8::2 server s1 { allow 10.0.0.0/24 }\n"
	    "server s1 { allow 10.0.0.0/24 }")
	    PEERTEP("b", "2001:db8::3 192.0.2.2", "interface d1 "
	    "server s1 { allow 10.0.0.128 }\n"),
	    "t:3: server \"s1\": tep \"a\" obeys it already\n"
	    "t:4: server \"s1\": tep \"a\" obeys it already\n"
	    "t:4: server \"s1\": allow 10.0.0.128 overlaps that of server "
	    "\"s1\" at tep \"a\"\n"
	    "t:4: server \"s1\": allow 10.0.0.128 overlaps that of server "
	    "\"s1\" at tep \"a\"\n");
	refused(SERVER(POOL "user s1 { pool p }\n")
	    PEERTEP("b", "2001:db8::3 192.0.2.2", "interface d1\n"
	    "listen on 2001:db8::1 server s1 { allow 198.51.100.64/26 }"),
	    "t:10: server \"s1\": there is a user of that name\n"
	    "t:10: server \"s1\": allow 198.51.100.64/26 overlaps pool "
	    "\"p\"\n");
}

static void
test_tep_errors(void **state)
{
	(void)state;
	refused(SERVER(POOL) "tep m { }\n", "t:8: tep \"m\": needs address and "
	    "interface, or connect to\n");
	refused(SERVER(POOL) "tep m { connect to 2001:db8::5 }\n",
	    "t:8: tep \"m\": no login\n");
	refused(SERVER(POOL) "tep m { connect to 2001:db8::5 login x password "
	    "\"p\" interface d }\n",
	    "t:8: password \"p\": not an absolute path\n");
	refused(SERVER(POOL) "tep m { connect to 2001:db8::5 login x password "
	    "\"/p\" interface d }\n",
	    "t:8: tep \"m\": it is either here (address, interface, listen, "
	    "server) or elsewhere (connect, login)\n"
	    "t:8: tep \"m\": no address\n"
	    "t:8: tep \"m\": neither a pool nor a server uses it\n");
	refused("tep m { connect to 2001:db8::5 login x password \"/p\" }\n"
	    NODE, "t:1: tep \"m\": on another host, but there is no server "
	    "here to use it\n");
	refused(SERVER(POOL "pool q { 10.0.0.1 tep m }\n")
	    "tep m { address 2001:db8::2 198.51.100.1\ninterface dstm0 }\n",
	    "t:9: tep \"m\": interface \"dstm0\" is tep \"l\"'s\n"
	    "t:9: tep \"m\": address 2001:db8::2 is tep \"l\"'s\n"
	    "t:9: tep \"m\": address 198.51.100.1 is tep \"l\"'s\n");
	refused(SERVER(POOL) TEP, "t:8: a second tep \"l\"\n");
	refused(SERVER(POOL) "tep m { address ::1 127.0.0.1 }\n"
	    "tep n { address 10.0.0.1 10.0.0.2 }\n"
	    "tep o { address 2001:db8::5 ::1 interface d/d mtu 575 "
	    "mtu 65496 }\ntep p { interface d mtu 65496 }\n",
	    "t:8: ::1 is not a global unicast IPv6 address\n"
	    "t:8: 127.0.0.1 is not a unicast IPv4 address that may be used\n"
	    "t:9: \"10.0.0.2\" is not an IPv6 address\n"
	    "t:10: \"::1\" is not an IPv4 address\n"
	    "t:10: mtu 575 is too small (576 to 65495)\n"
	    "t:10: interface \"d/d\": a name is 1 to 15 octets, without space "
	    "or any of / : % \" ' \\\n"
	    "t:10: syntax error near \"mtu\"\n"
	    "t:11: mtu 65496 is too large (576 to 65495)\n");
	refused(SERVER(POOL) "tep m { address 2001:db8::5 10.0.0.1\n"
	    "interface d listen on 2001:db8::5 }\n",
	    "t:8: tep \"m\": neither a pool nor a server uses it\n"
	    "t:9: a tep listens, but obeys no server\n");
}

static void
test_ifname(void **state)
{
	static const char *bad[] = { "", ".", "..", "sixteen-octets-x",
	    "a b", "a/b", "a:b", "dstm%d", "a\tb", "a\"b", "a'b", "a\\b",
	    "\xc3\xa4", "a\x7f" };
	static const char *fine[] = { "a", "fifteen-octets-", "dstm0.1",
	    "eth0@x", "..." };
	char name[IFNAME_SIZE], why[VALUE_WHY];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(value_ifname(bad[i], name, why), -1);
	for (i = 0; i < sizeof(fine) / sizeof(fine[0]); i++) {
		assert_int_equal(value_ifname(fine[i], name, why), 0);
		assert_string_equal(name, fine[i]);
	}
}

static void
test_node(void **state)
{
	struct conf *c;

	(void)state;
	c = good("node { server 2001:db8::1 auth anonymous interface d\n"
	    "no route }");
	assert_int_equal(c->roles, ROLE_NODE);
	assert_int_equal(c->node.mech, MECH_ANONYMOUS);
	assert_int_equal(c->node.route, 0);
	conf_free(c);
	c = good("node { server 2001:db8::1 auth anonymous interface d\n"
	    "route metric 0 }");
	assert_int_equal(c->node.route, 1);
	assert_int_equal(c->node.metric, 0);
	assert_int_equal(c->node.table, 0);
	conf_free(c);
	c = good("node { server 2001:db8::1 auth anonymous interface d\n"
	    "on demand }");
	assert_int_equal(c->node.idle, 600);
	conf_free(c);
	c = good("node { server 2001:db8::1 auth anonymous interface d\n"
	    "no route on demand idle 2 }");
	assert_int_equal(c->node.idle, 2);
	conf_free(c);
	refused("node { }", "t:1: node: no server\nt:1: node: no interface\n"
	    "t:1: node: no login\n");
	refused("node { server 2001:db8::1 interface d auth anonymous\n"
	    "login a password \"/p\" }",
	    "t:1: node: a login, but auth is anonymous\n");
	refused("node { server 2001:db8::1 port 0 server ::1\n"
	    "server 2001:db8::3\nserver 2001:db8::3 port 3653\n"
	    "route table 254 lifetime 0 address x }",
	    "t:1: port 0 is too small (1 to 65535)\n"
	    "t:1: ::1 is not a global unicast IPv6 address\n"
	    "t:3: server 2001:db8::3 port 3653 is given twice\n"
	    "t:4: table 254 is the system's; for the main table write "
	    "\"route metric\"\n"
	    "t:4: lifetime 0 is too small (2 to 2678400)\n"
	    "t:4: \"x\" is not an IPv6 address\n");
	refused("node { no route\nroute metric 1\nroute table 0 }",
	    "t:2: route is given twice\nt:3: route is given twice\n"
	    "t:3: table 0 is too small (1 to 4294967295)\n");
	refused("node { auth scram-sha-256, anonymous }",
	    "t:1: syntax error near \",\"\n");
	refused(SERVER(POOL) "node { server 2001:db8::1 auth anonymous\n"
	    "interface dstm0 address 2001:db8::2 }",
	    "t:8: node: interface \"dstm0\" is tep \"l\"'s\n"
	    "t:8: node: address 2001:db8::2 is tep \"l\"'s\n");
	refused(NODE NODE, "t:2: a second node\n"
	    "t:2: server 2001:db8::1 port 3653 is given twice\n");
}

static void
test_global_errors(void **state)
{
	char buf[1024], want[1024], path[512];

	(void)state;
	refused("", "t: nothing to do: no server, no tep with a server, no "
	    "node\n");
	refused("# nothing\n\n", "t: nothing to do: no server, no tep with a "
	    "server, no node\n");
	refused("server { }\nserver { }\n", "t:2: a second server\n");
	refused("server { }", "t:1: server: listens on no address\n"
	    "t:1: server: no pool\n"
	    "t:1: server: auth offers scram-sha-256, but there is no user\n"
	    "t:1: server: auth offers scram-sha-256, but there is no secrets "
	    "file\n");
	refused("secrets \"/a\"\nserver { secrets \"/a\" }\n"
	    "tep x { secrets \"/b\" }\n" NODE,
	    "t:3: secrets \"/b\": the daemon has one such file, and it is "
	    "\"/a\" already\n");
	refused("control \"c\"\nstore s\nsecrets \"\"\n" NODE,
	    "t:1: control \"c\": not an absolute path\n"
	    "t:2: store \"s\": not an absolute path\n"
	    "t:3: secrets \"\": not an absolute path\n");
	refused("store \"/a\"\nstore \"/a\"\n" NODE,
	    "t:2: store is given twice\n");
	refused("limits { connections 0 per-source 65537 auth-timeout 3601\n"
	    "idle-timeout 0 request-timeout 1.5 connections 1 }\n" NODE,
	    "t:1: connections 0 is too small (1 to 65536)\n"
	    "t:1: per-source 65537 is too large (1 to 65536)\n"
	    "t:1: auth-timeout 3601 is too large (1 to 3600)\n"
	    "t:2: idle-timeout 0 is too small (1 to 86400)\n"
	    "t:2: request-timeout 1.5 is invalid (1 to 3600)\n"
	    "t:2: connections is given twice\n");
	refused("limits { handshakes 0 source-prefix 129\n"
	    "source-prefix 16 auth-failures 0 request-rate 1000001 }\n" NODE,
	    "t:1: handshakes 0 is too small (1 to 65536)\n"
	    "t:1: source-prefix 129 is too large (16 to 128)\n"
	    "t:2: source-prefix is given twice\n"
	    "t:2: auth-failures 0 is too small (1 to 60000)\n"
	    "t:2: request-rate 1000001 is too large (1 to 1000000)\n");
	refused("limits { connections 99999999999999999999999 }\n" NODE,
	    "t:1: connections 99999999999999999999999 is too large (1 to "
	    "65536)\n");
	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[CONF_PATH_SIZE] = '\0';
	snprintf(buf, sizeof(buf), "store \"%s\"\n" NODE, path);
	refused(buf, "t:1: store: path too long (255 octets at most)\n");
	path[CONF_PATH_SIZE - 1] = '\0';
	snprintf(buf, sizeof(buf), "store \"%s\"\n" NODE, path);
	round_trip(buf);
	path[108] = '\0';
	snprintf(buf, sizeof(buf), "control \"%s\"\n" NODE, path);
	snprintf(want, sizeof(want), "t: control \"%s\": path too long (107 "
	    "octets at most)\n", path);
	refused(buf, want);
}

static void
test_listen_errors(void **state)
{
	(void)state;
	refused(SERVER("listen on 2001:db8::1 port 3653\n" POOL),
	    "t:5: listen on 2001:db8::1 port 3653 is given twice\n");
	refused(SERVER("listen on ::\nlisten on fe80::1\nlisten on 10.0.0.1\n"
	    "listen on ::ffff:10.0.0.1\nlisten on 2001:db8::1%eth0\n"
	    "listen on 2001:db8::1 port 65536\n" POOL),
	    "t:5: :: is not a global unicast IPv6 address\n"
	    "t:6: fe80::1 is not a global unicast IPv6 address\n"
	    "t:7: \"10.0.0.1\" is not an IPv6 address\n"
	    "t:8: ::ffff:10.0.0.1 is not a global unicast IPv6 address\n"
	    "t:9: \"2001:db8::1%eth0\" is not an IPv6 address\n"
	    "t:10: port 65536 is too large (1 to 65535)\n");
}

/* One more than fits: said, and nothing is written behind the array. */
static void
test_static_limits(void **state)
{
	FILE *f;
	char *buf;
	size_t size;
	int i;

	(void)state;
	assert_non_null(f = open_memstream(&buf, &size));
	for (i = 0; i < TEP_MAX + 2; i++)
		fprintf(f, "tep t%d { connect to 2001:db8::1 login a "
		    "password \"/p\" }\n", i);
	fprintf(f, "tep l { interface x server s { allow 10.0.0.0/24 } }\n");
	fprintf(f, "server {\n");
	for (i = 0; i < POOL_MAX + 1; i++)
		fprintf(f, "pool p%d { 10.0.%d.0/24 tep t0 }\n", i, i);
	for (i = 0; i < LISTEN_MAX + 1; i++)
		fprintf(f, "listen on 2001:db8::1 port %d\n", i + 1);
	fprintf(f, "user u { pool p0\n");
	for (i = 0; i < CONF_PREFIX_MAX + 1; i++)
		fprintf(f, "prefix 2001:db8:%d::/48\n", i);
	for (i = 0; i < LEASE_FIXED_MAX + 1; i++)
		fprintf(f, "address 10.0.0.%d\n", i + 1);
	fprintf(f, "} }\nnode {\n");
	for (i = 0; i < SERVER_MAX + 1; i++)
		fprintf(f, "server 2001:db8::1 port %d\n", i + 1);
	fprintf(f, "}\n");
	fclose(f);
	refused(buf, "t:65: too many teps (64)\nt:66: too many teps (64)\n"
	    "t:67: too many teps (64)\n"
	    "t:133: too many pools (64)\n"
	    "t:150: too many addresses to listen on (16)\n"
	    "t:168: too many prefixes of one user (16)\n"
	    "t:185: too many addresses of one user (16)\n"
	    "t:196: too many servers of the node (8)\n");
	free(buf);
}

static void
test_peer_limits(void **state)
{
	FILE *f;
	char *buf;
	size_t size;
	int i;

	(void)state;
	assert_non_null(f = open_memstream(&buf, &size));
	fprintf(f, "tep t {\n");
	for (i = 0; i < CONF_PEER_MAX + 1; i++)
		fprintf(f, "server s%d {\nallow 10.0.0.0/24 }\n", i);
	for (i = 0; i < CONF_PREFIX_MAX; i++)
		fprintf(f, "server s0 { allow 10.0.0.0/24 }\n");
	fprintf(f, "}\ntep u { server x {\n");
	for (i = 0; i < CONF_PREFIX_MAX + 1; i++)
		fprintf(f, "allow 10.0.%d.0/24\n", i);
	fprintf(f, "} }\n");
	fclose(f);
	assert_null(text(buf));
	assert_non_null(strstr(said, "t:34: too many servers of one tep (16)"
	    "\n"));
	assert_non_null(strstr(said, "t:70: too many prefixes of one server "
	    "(16)\n"));
	free(buf);

	/* The last device is the node's. */
	assert_non_null(f = open_memstream(&buf, &size));
	fprintf(f, SECRETS);
	for (i = 0; i < TUNNEL_DEV_MAX; i++)
		fprintf(f, "tep t%d { address 2001:db8::%x 192.0.2.%d "
		    "interface d%d listen on 2001:db8::99\n"
		    "server s%d { allow 10.0.%d.0/24 } }\n", i, i + 1, i + 1,
		    i, i, i);
	fclose(f);
	refused(buf, "t:32: too many teps on this host (15)\n");
	free(buf);
}

static void
test_many_users(void **state)
{
	struct conf *c;
	const struct conf_user *u;
	FILE *f;
	char *buf, name[16];
	size_t size;
	int i;

	(void)state;
	assert_non_null(f = open_memstream(&buf, &size));
	fprintf(f, "%s", SECRETS TEP "server { listen on 2001:db8::1\n" POOL);
	for (i = 0; i < 20000; i++)
		fprintf(f, "user u%d { pool p leases %d }\n",
		    (i * 7919) % 20000, (i * 7919) % 20000);
	fprintf(f, "}\n");
	fclose(f);
	c = good(buf);
	assert_int_equal(c->nusers, 20000);
	for (i = 0; i < 20000; i++) {
		snprintf(name, sizeof(name), "u%d", i);
		assert_non_null(u = conf_user(c, MECH_SCRAM_SHA_256, name));
		assert_string_equal(u->name, name);
		assert_int_equal(u->policy.max_leases, i);
	}
	assert_null(conf_user(c, MECH_SCRAM_SHA_256, "u20000"));
	conf_free(c);
	free(buf);
}

static void
test_syntax(void **state)
{
	(void)state;
	refused("bogus\n" NODE, "t:1: syntax error at the end of the line\n");
	refused("bogus", "t:1: syntax error at the end of the line\n");
	refused("server", "t:1: syntax error at the end of the line\n");
	refused("}\n" NODE, "t:1: syntax error near \"}\"\n");
	refused("node { }\n}\n", "t:2: syntax error near \"}\"\n");
	refused("node { } node { }\n", "t:1: syntax error near \"node\"\n");
	refused("\n\nnode {\n\n", "t:3: \"{\" is never closed\n");
	refused("server {\npool p {\n", "t:2: \"{\" is never closed\n");
	refused("{{{{{{{{{{", "t:1: syntax error near \"{\"\n"
	    "t:1: \"{\" is never closed\n");
	/* After an error all goes on where the line ends, or the block. */
	refused("server {\n\tauth auth nonsense { } {\n\t} x\n\tlifetime x\n"
	    "\tpool p { nonsense 10.0.0.0/24 tep tep } lifetime y\n"
	    "\tuser u { pool\n\tleases x }\n}\ncontrol x\n",
	    "t:2: syntax error near \"auth\"\n"
	    "t:4: lifetime x is invalid (2 to 2678400)\n"
	    "t:5: \"nonsense\" is not an IPv4 address\n"
	    "t:5: syntax error near \"tep\"\n"
	    "t:5: lifetime is given twice\n"
	    "t:5: lifetime y is invalid (2 to 2678400)\n"
	    "t:6: syntax error at the end of the line\n"
	    "t:7: leases x is invalid (0 to 4294967295)\n"
	    "t:9: control \"x\": not an absolute path\n");
	refused("serv er {\n\tauth nonsense\n\tpool x { }\n}\nstore x\n",
	    "t:1: syntax error near \"er\"\n"
	    "t:5: store \"x\": not an absolute path\n");
}

static void
test_lexer(void **state)
{
	struct conf *c;
	char *buf;

	(void)state;
	/* A comment does not go on behind its line, whatever ends it. */
	c = good("# x \\\n" NODE "#");
	conf_free(c);
	c = good("\r\nnode\t{\r\nserver 2001:db8::1 login a\\\n password "
	    "\"/p\\\n"
	    "q\" interface dstm1}\r\n");
	assert_string_equal(c->node.login.password, "/pq");
	conf_free(c);
	refused("store \"abc\n" NODE, "t:1: string without end\n");
	refused("store 'abc\"\n" NODE, "t:1: string without end\n");
	refused("store \"abc", "t:1: string without end\n");
	refused("store \"a\\nb\" x\n" NODE, "t:1: backslash in a string: only "
	    "\\\\, \\\" and \\' are known\n");
	refused("store \"a\\", "t:1: backslash in a string: only "
	    "\\\\, \\\" and \\' are known\n");
	refused("store \"/a\033[2J\"\n" NODE,
	    "t:1: control character in a string\n");
	refused("store /a\033\n;\n\\x\n\\",
	    "t:1: unexpected character: \\x1b\n"
	    "t:2: unexpected character: \";\"\n"
	    "t:3: unexpected character: \"\\\"\n"
	    "t:4: unexpected character: \"\\\"\n");
	refused("\xff\xfe\n", "t:1: unexpected character: \\xff\n");
	assert_null(text_n("node\0x", 6));
	assert_string_equal(said, "t:1: unexpected character: \\x00\n");
	assert_null(text_n("store \"/\0\"\n", 11));
	assert_string_equal(said, "t:1: control character in a string\n");
	assert_non_null(buf = malloc(100001));
	memset(buf, 'x', 100000);
	buf[100000] = '\0';
	refused(buf, "t:1: word too long\n");
	buf[0] = '"';
	refused(buf, "t:1: string too long\n");
	buf[0] = '$';
	assert_null(text(buf));
	free(buf);
	refused("include \"x\"\n" NODE, "t:1: include: not possible here\n");
}

static void
test_macros(void **state)
{
	struct conf *c;

	(void)state;
	c = good("a = 2001:db8::1\nb = $a\nc = \"login a password\"\n"
	    "a = 2001:db8::2\n"		/* the last one counts */
	    "node { server $a server $b $c \"/$a\" interface d }\n");
	assert_string_equal(log_in6(&c->node.servers[0].addr), "2001:db8::2");
	assert_string_equal(log_in6(&c->node.servers[1].addr), "2001:db8::1");
	assert_string_equal(c->node.login.password, "/$a");
	conf_free(c);
	refused("store $x\n$\n" NODE, "t:1: no such macro: $x\n"
	    "t:2: $ without the name of a macro\n");
	refused("a = \"$a\"\nstore $a\n", "t:2: a macro's value must not hold "
	    "a macro: $a\n");
	refused("a = \"\\\"x\"\nstore $a\n", "t:2: string without end\n");
	refused("a.b = 1\n" NODE, "t:1: macro \"a.b\": names are of A-Z a-z "
	    "0-9 _\n");
	refused("a = \"}\"\nnode {\nx y z $a\nno no\n}\n",
	    "t:3: syntax error near \"x\"\n"
	    "t:4: syntax error near \"no\"\n"
	    "t:5: syntax error near \"}\"\n");
}

static void
write_file(const char *name, const char *s, mode_t mode)
{
	int fd;

	fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd != -1);
	assert_int_equal(write(fd, s, strlen(s)), strlen(s));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static struct conf *
file(const char *name)
{
	struct conf *conf;
	int saved = capture();

	conf = conf_parse(name);
	release(saved);
	return (conf);
}

static void
test_files(void **state)
{
	struct conf *c;
	char dir[] = "/tmp/dstmd-conf-XXXXXX";

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chdir(dir), 0);
	assert_int_equal(mkdir("d", 0700), 0);

	write_file("a", "s = 2001:db8::1\ninclude \"d/b\"\n", 0644);
	write_file("d/b", "include \"c\"\nserver { }", 0600);
	write_file("d/c", "node { server $s auth anonymous interface d }",
	    0600);
	assert_null(c = file("a"));
	assert_string_equal(said, "d/b:2: server: listens on no address\n"
	    "d/b:2: server: no pool\n"
	    "d/b:2: server: auth offers scram-sha-256, but there is no user\n"
	    "d/b:2: server: auth offers scram-sha-256, but there is no "
	    "secrets file\n");
	write_file("d/b", "include \"c\"\n# end", 0600);
	assert_non_null(c = file("a"));
	assert_int_equal(c->nfiles, 3);
	conf_free(c);

	write_file("d/b", "x\ninclude \"nosuch\"\ninclude \"../d\"\n", 0600);
	assert_null(file("a"));
	assert_string_equal(said, "d/b:1: syntax error at the end of the "
	    "line\nd/b:2: include \"nosuch\": No such file or directory\n"
	    "d/b:3: include \"../d\": Is a directory\n");
	write_file("d/b", "node {", 0600);
	write_file("a", "include \"d/b\"\n}\n", 0600);
	assert_null(file("a"));
	assert_string_equal(said, "d/b:1: \"{\" is never closed\n");
	write_file("a", "include \"a\"\n", 0600);
	assert_null(file("a"));
	assert_string_equal(said, "a:1: include \"a\": files include each "
	    "other too deeply (16)\n");

	write_file("a", NODE, 0620);
	assert_null(file("a"));
	assert_string_equal(said, "a: others may write to it (mode 0620): "
	    "chmod go-w it\n");
	write_file("a", NODE, 0602);
	assert_null(file("a"));
	write_file("a", "include \"d/b\"", 0600);
	write_file("d/b", NODE, 0666);
	assert_null(file("a"));
	assert_string_equal(said, "a:1: include \"d/b\": others may write to "
	    "it (mode 0666): chmod go-w it\n");
	if (getuid() == 0) {
		write_file("a", NODE, 0600);
		assert_int_equal(chown("a", 12345, 0), 0);
		assert_null(file("a"));
		assert_string_equal(said, "a: owned by uid 12345, must be "
		    "root's\n");
	}
	assert_null(file("nosuch"));
	assert_string_equal(said, "nosuch: No such file or directory\n");
	assert_null(file("d"));
	assert_string_equal(said, "d: Is a directory\n");

	assert_int_equal(unlink("a") | unlink("d/b") | unlink("d/c") |
	    rmdir("d"), 0);
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(rmdir(dir), 0);
}

static void
test_round_trip(void **state)
{
	(void)state;
	round_trip(full);
	round_trip(SERVER(POOL));
	round_trip(NODE);
	round_trip("node { server 2001:db8::1 auth anonymous interface d\n"
	    "no route }");
	round_trip("node { server 2001:db8::1 auth anonymous interface d\n"
	    "route metric 4294967295 }");
	round_trip(TEP "server { listen on 2001:db8::1\n" POOL
	    "auth anonymous\nanonymous { pool p leases 3 } }\n");
	/* TEPs before and behind the server, listeners shared or not */
	round_trip(SECRETS
	    PEERTEP("a", "2001:db8::2 192.0.2.1", "interface d0 "
	    "listen on 2001:db8::9 server s1 { allow 10.0.0.0/24 }")
	    "server { user default { pool x } listen on 2001:db8::9\n"
	    "listen on 2001:db8::3 pool x { 192.0.2.8 tep b } }\n"
	    PEERTEP("b", "2001:db8::3 192.0.2.2", "interface d1 "
	    "server s2 { allow 10.0.1.0/24 } listen on 2001:db8::1 port 1"));
}

/* The hole table of ranges must be the one of in_usable. */
static void
test_usable_agree(void **state)
{
	struct conf_range r;
	uint32_t a;

	(void)state;
	for (a = 0; a < 1 << 16; a++) {
		r.lo.s_addr = r.hi.s_addr = htonl(a << 16);
		assert_int_equal(value_range_usable(&r), in_usable(r.lo));
		r.lo.s_addr = r.hi.s_addr = htonl(a << 16 | 0xffff);
		assert_int_equal(value_range_usable(&r), in_usable(r.lo));
	}
	r.lo = ip4("1.0.0.0");
	r.hi = ip4("223.255.255.255");
	assert_int_equal(value_range_usable(&r), 0);
	r.lo = ip4("10.0.0.2");
	r.hi = ip4("10.0.0.1");
	assert_int_equal(value_range_usable(&r), 0);
}

/* Hostile text: no crash, no leak, no silence about a refusal. */
static void
test_damaged(void **state)
{
	static const char octets[] = "{}\"\n\\$#=-, 0x\xff";
	struct conf *c;
	char *buf;
	size_t i, j, len = strlen(full);

	(void)state;
	assert_non_null(buf = malloc(len));
	for (i = 0; i < len; i++) {
		c = text_n(full, i);
		assert_true((c == NULL) == (said[0] != '\0'));
		conf_free(c);
	}
	for (i = 0; i < len; i++) {
		memcpy(buf, full, len);
		for (j = 0; j < sizeof(octets); j++) {
			buf[i] = octets[j];
			c = text_n(buf, len);
			assert_true((c == NULL) == (said[0] != '\0'));
			conf_free(c);
		}
		/* and one octet less */
		memcpy(buf, full, i);
		memcpy(buf + i, full + i + 1, len - i - 1);
		c = text_n(buf, len - 1);
		assert_true((c == NULL) == (said[0] != '\0'));
		conf_free(c);
	}
	free(buf);
}

/* A configuration that no file made: conf_check stands on its own. */
static void
test_check_alone(void **state)
{
	struct conf *c = conf_new();
	int saved;

	(void)state;
	c->roles = ROLE_NODE;
	c->node.nservers = 1;
	c->node.servers[0].addr = ip6("2001:db8::1");
	strlcpy(c->node.ifname, "d", sizeof(c->node.ifname));
	saved = capture();
	assert_int_equal(conf_check(c, "made"), 1);
	release(saved);
	assert_string_equal(said, "made: node: no login\n");
	c->node.mech = MECH_ANONYMOUS;
	assert_int_equal(conf_check(c, "made"), 0);
	conf_free(c);
	conf_free(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_full_global),
		cmocka_unit_test(test_full_server),
		cmocka_unit_test(test_full_teps_node),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_plane),
		cmocka_unit_test(test_lifetime),
		cmocka_unit_test(test_pool_edges),
		cmocka_unit_test(test_pool_ranges),
		cmocka_unit_test(test_pool_errors),
		cmocka_unit_test(test_tep_in_pool),
		cmocka_unit_test(test_users),
		cmocka_unit_test(test_user_errors),
		cmocka_unit_test(test_mechs),
		cmocka_unit_test(test_mech_lists),
		cmocka_unit_test(test_outer),
		cmocka_unit_test(test_peers),
		cmocka_unit_test(test_peer_errors),
		cmocka_unit_test(test_tep_errors),
		cmocka_unit_test(test_ifname),
		cmocka_unit_test(test_node),
		cmocka_unit_test(test_global_errors),
		cmocka_unit_test(test_listen_errors),
		cmocka_unit_test(test_static_limits),
		cmocka_unit_test(test_peer_limits),
		cmocka_unit_test(test_many_users),
		cmocka_unit_test(test_syntax),
		cmocka_unit_test(test_lexer),
		cmocka_unit_test(test_macros),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_usable_agree),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_check_alone),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
