#include <sys/types.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <netinet/in.h>

#include <err.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dstmd/dstmd.h"
#include "priv/conf.h"
#include "priv/value.h"

/* What one check needs to speak of errors. */
struct check {
	struct conf	*conf;
	const char	*name;		/* the file, where no line is known */
	int		 errors;
};

static void	 fail(struct check *, const struct conf_at *, const char *, ...)
		    __attribute__((__format__ (printf, 3, 4)));

struct conf *
conf_new(void)
{
	struct conf *conf;

	if ((conf = calloc(1, sizeof(*conf))) == NULL)
		err(1, "configuration");
	strlcpy(conf->control, RUNDIR "/control", sizeof(conf->control));
	strlcpy(conf->store, STATEDIR, sizeof(conf->store));
	conf->limits.lifetime = LIFETIME_DEFAULT;
	conf->limits.lifetime_min = LIFETIME_MIN_DEFAULT;
	conf->limits.lifetime_max = LIFETIME_MAX_DEFAULT;
	conf->limits.quarantine = 300;
	conf->server_mechs[0] = MECH_SCRAM_SHA_256;
	conf->max_conns = 4096;
	conf->handshakes = 2048;
	conf->max_source = 64;
	conf->source_prefix = 128;
	conf->source_rate = 50;
	conf->auth_failures = 20;
	conf->request_rate = 100;
	conf->auth_timeout = 30;
	conf->idle_timeout = 300;
	conf->request_timeout = 10;
	conf->success_pause = 200;
	conf->node.mech = MECH_SCRAM_SHA_256;
	conf->node.route = 1;
	conf->node.metric = 512;
	conf->node.keepalive = 30;
	return (conf);
}

void
conf_free(struct conf *conf)
{
	uint32_t i;

	if (conf == NULL)
		return;
	for (i = 0; i < conf->nfiles; i++)
		free(conf->files[i]);
	free(conf->files);
	free(conf->users);
	free(conf);
}

static int
user_cmp(const void *a, const void *b)
{
	const struct conf_user *ua = a, *ub = b;

	if (ua->mech != ub->mech)
		return (ua->mech < ub->mech ? -1 : 1);
	return (strcmp(ua->name, ub->name));
}

/* Of two with one name, the first written comes first. */
static int
user_order(const void *a, const void *b)
{
	const struct conf_user *ua = a, *ub = b;
	int r;

	if ((r = user_cmp(a, b)) != 0)
		return (r);
	if (ua->at.file != ub->at.file)
		return (ua->at.file < ub->at.file ? -1 : 1);
	return (ua->at.line < ub->at.line ? -1 : ua->at.line > ub->at.line);
}

static const struct conf_user *
user_find(const struct conf *conf, uint32_t mech, const char *name)
{
	struct conf_user key;

	if (conf->nusers == 0)
		return (NULL);
	memset(&key, 0, sizeof(key));
	key.mech = mech;
	strlcpy(key.name, name, sizeof(key.name));
	return (bsearch(&key, conf->users, conf->nusers, sizeof(key),
	    user_cmp));
}

const struct conf_user *
conf_user(const struct conf *conf, uint32_t mech, const char *name)
{
	const struct conf_user *u;

	if (mech == MECH_ANONYMOUS)
		return (user_find(conf, MECH_ANONYMOUS, "anonymous"));
	if (mech_name(mech) == NULL || !name_valid(name) ||
	    conf_peer(conf, name, NULL) != NULL)
		return (NULL);
	if ((u = user_find(conf, 0, name)) != NULL)
		return (u);
	return (user_find(conf, 0, ""));
}

int
conf_outer(const struct conf_tep *t, const struct in6_addr *v6)
{
	uint32_t i;

	for (i = 0; i < t->nouters; i++)
		if (in6_match(v6, &t->outers[i].addr, t->outers[i].len))
			return (1);
	return (t->nouters == 0);
}

/* May who logged in so, from there, use that pool? */
static int
pool_takes(const struct conf *conf, uint32_t pool, uint32_t mech,
    const struct in6_addr *v6)
{
	const struct conf_pool *p = &conf->pools[pool];

	if (p->mechs != 0 && (p->mechs & mech) == 0)
		return (0);
	return (v6 == NULL || conf_outer(&conf->teps[p->tep], v6));
}

void
conf_policy(const struct conf *conf, uint32_t mech,
    const struct conf_user *u, const struct in6_addr *v6,
    struct lease_policy *p)
{
	const struct lease_policy *all = &u->policy;
	uint32_t i;

	memset(p, 0, sizeof(*p));
	p->max_leases = all->max_leases;
	for (i = 0; i < all->npools; i++)
		if (pool_takes(conf, all->pools[i], mech, v6))
			p->pools[p->npools++] = all->pools[i];
	for (i = 0; i < all->nfixed; i++)
		if (pool_takes(conf, u->fixed_pools[i], mech, v6))
			p->fixed[p->nfixed++] = all->fixed[i];
}

const struct conf_peer *
conf_peer(const struct conf *conf, const char *name, uint32_t *tep)
{
	uint32_t i, j;

	for (i = 0; i < conf->nteps; i++) {
		for (j = 0; j < conf->teps[i].npeers; j++) {
			if (strcmp(conf->teps[i].peers[j].name, name) != 0)
				continue;
			if (tep != NULL)
				*tep = i;
			return (&conf->teps[i].peers[j]);
		}
	}
	return (NULL);
}

static void
fail(struct check *ck, const struct conf_at *at, const char *fmt, ...)
{
	char msg[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	if (at != NULL && at->line != 0 && at->file < ck->conf->nfiles)
		fprintf(stderr, "%s:%u: %s\n", ck->conf->files[at->file],
		    at->line, msg);
	else
		fprintf(stderr, "%s: %s\n", ck->name, msg);
	ck->errors++;
}

/*
 * Ranges of addresses
 */

static uint32_t
lo(const struct conf_range *r)
{
	return (ntohl(r->lo.s_addr));
}

static uint32_t
hi(const struct conf_range *r)
{
	return (ntohl(r->hi.s_addr));
}

static int
overlap(const struct conf_range *a, const struct conf_range *b)
{
	return (lo(a) <= hi(b) && lo(b) <= hi(a));
}

static int
range_cmp(const void *a, const void *b)
{
	uint32_t la = lo(a), lb = lo(b);

	return (la < lb ? -1 : la > lb);
}

/* As it was written, for a message. One of two static buffers. */
static const char *
range_text(const struct conf_range *r, int plen)
{
	static char bufs[2][64];
	static int next;
	char *buf = bufs[next ^= 1];

	if (plen == 32 || (plen == 0 && lo(r) == hi(r)))
		snprintf(buf, sizeof(bufs[0]), "%s", log_in(r->lo));
	else if (plen != 0)
		snprintf(buf, sizeof(bufs[0]), "%s/%d", log_in(r->lo), plen);
	else
		snprintf(buf, sizeof(bufs[0]), "%s - %s", log_in(r->lo),
		    log_in(r->hi));
	return (buf);
}

/*
 * Pools
 */

/* Takes x out of the pool's ranges. There is room: see pool_ranges. */
static void
range_cut(struct conf_pool *p, const struct conf_range *x)
{
	struct conf_range *r, rest;
	uint32_t i;

	for (i = 0; i < p->nranges; i++) {
		r = &p->ranges[i];
		if (!overlap(r, x))
			continue;
		rest = *r;
		if (lo(r) >= lo(x) && hi(r) <= hi(x))
			p->ranges[i--] = p->ranges[--p->nranges];
		else if (lo(r) >= lo(x))
			r->lo.s_addr = htonl(hi(x) + 1);
		else {
			r->hi.s_addr = htonl(lo(x) - 1);
			if (hi(&rest) <= hi(x))
				continue;
			rest.lo.s_addr = htonl(hi(x) + 1);
			p->ranges[p->nranges++] = rest;
		}
	}
}

/*
 * What the pool leases: its ranges less its exclusions, sorted. The written
 * ranges are disjoint, so each exclusion splits one of them at most, and
 * nwritten <= CONF_RANGE_MAX bounds the sum. The first and the last address
 * of a prefix are those of a network and its broadcast: too many hosts
 * and filters treat them so, even where they are only one more /32.
 */
static void
pool_ranges(struct conf_pool *p)
{
	const struct conf_written *w;
	struct conf_range *r;
	uint32_t i;

	p->nranges = 0;
	for (i = 0; i < p->nwritten; i++) {
		w = &p->written[i];
		if (w->exclude)
			continue;
		r = &p->ranges[p->nranges++];
		*r = w->r;
		if (w->plen != 0 && w->plen <= 30) {
			r->lo.s_addr = htonl(lo(r) + 1);
			r->hi.s_addr = htonl(hi(r) - 1);
		}
	}
	for (i = 0; i < p->nwritten; i++)
		if (p->written[i].exclude)
			range_cut(p, &p->written[i].r);
	qsort(p->ranges, p->nranges, sizeof(*p->ranges), range_cmp);
}

/* Ranges of a pool against each other: twice, or excluded from nothing. */
static void
check_written(struct check *ck, const struct conf_pool *p)
{
	const struct conf_written *a, *b;
	uint32_t i, j;
	int hit;

	for (i = 0; i < p->nwritten; i++) {
		a = &p->written[i];
		hit = 0;
		for (j = 0; j < (a->exclude ? p->nwritten : i); j++) {
			b = &p->written[j];
			if (b->exclude || !overlap(&a->r, &b->r))
				continue;
			hit = 1;
			if (!a->exclude)
				fail(ck, &a->at, "pool \"%s\": %s overlaps %s",
				    p->name, range_text(&a->r, a->plen),
				    range_text(&b->r, b->plen));
		}
		if (a->exclude && !hit)
			fail(ck, &a->at, "pool \"%s\": %s is not in it, there "
			    "is nothing to exclude", p->name,
			    range_text(&a->r, a->plen));
	}
}

static void
check_pool_tep(struct check *ck, struct conf_pool *p)
{
	const struct conf *conf = ck->conf;

	if (p->tep_name[0] == '\0') {
		fail(ck, &p->at, "pool \"%s\": no tep", p->name);
		return;
	}
	for (p->tep = 0; p->tep < conf->nteps; p->tep++)
		if (strcmp(conf->teps[p->tep].name, p->tep_name) == 0)
			return;
	p->tep = 0;
	fail(ck, &p->at, "pool \"%s\": no such tep: \"%s\"", p->name,
	    p->tep_name);
}

static int
pool_overlap(const struct conf_pool *p, const struct conf_range *r)
{
	uint32_t i;

	for (i = 0; i < p->nranges; i++)
		if (overlap(&p->ranges[i], r))
			return (1);
	return (0);
}

/* One message for a pair of pools that overlap. */
static void
check_pool_pair(struct check *ck, const struct conf_pool *a,
    const struct conf_pool *b)
{
	struct conf_range both;
	uint32_t i, j;

	for (i = 0; i < a->nranges; i++) {
		for (j = 0; j < b->nranges; j++) {
			if (!overlap(&a->ranges[i], &b->ranges[j]))
				continue;
			both.lo = lo(&a->ranges[i]) > lo(&b->ranges[j]) ?
			    a->ranges[i].lo : b->ranges[j].lo;
			both.hi = hi(&a->ranges[i]) < hi(&b->ranges[j]) ?
			    a->ranges[i].hi : b->ranges[j].hi;
			fail(ck, &a->at, "pool \"%s\" overlaps pool \"%s\": "
			    "%s", a->name, b->name, range_text(&both, 0));
			return;
		}
	}
}

static void
check_pools(struct check *ck)
{
	struct conf *conf = ck->conf;
	struct conf_pool *p;
	uint32_t i, j;
	int before;

	for (i = 0; i < conf->npools; i++) {
		p = &conf->pools[i];
		check_pool_tep(ck, p);
		before = ck->errors;
		check_written(ck, p);
		if (ck->errors != before)
			continue;	/* pool_ranges relies on it */
		pool_ranges(p);
		if (p->nwritten == 0)
			fail(ck, &p->at, "pool \"%s\": no addresses", p->name);
		else if (p->nranges == 0)
			fail(ck, &p->at, "pool \"%s\": nothing is left of its "
			    "addresses", p->name);
		for (j = 0; j < i; j++)
			check_pool_pair(ck, p, &conf->pools[j]);
	}
}

/*
 * TEPs
 */

/* Local ones first, else as written: a local one's index is its device's. */
static void
order_teps(struct conf *conf)
{
	struct conf_tep *teps;
	uint32_t i, n = 0;
	int local;

	if ((teps = calloc(TEP_MAX, sizeof(*teps))) == NULL)
		err(1, "configuration");
	for (local = 1; local >= 0; local--)
		for (i = 0; i < conf->nteps; i++)
			if (!conf->teps[i].local == !local)
				teps[n++] = conf->teps[i];
	memcpy(conf->teps, teps, conf->nteps * sizeof(*teps));
	free(teps);
}

static void
check_tep_remote(struct check *ck, const struct conf_tep *t)
{
	if (IN6_IS_ADDR_UNSPECIFIED(&t->connect))
		fail(ck, &t->at, "tep \"%s\": needs address and interface, or "
		    "connect to", t->name);
	else if (t->login.name[0] == '\0')
		fail(ck, &t->at, "tep \"%s\": no login", t->name);
	if ((ck->conf->roles & ROLE_SERVER) == 0)
		fail(ck, &t->at, "tep \"%s\": on another host, but there is "
		    "no server here to use it", t->name);
	if (t->rate != 0)
		fail(ck, &t->at, "tep \"%s\": its rate is for its own host to "
		    "say", t->name);
}

static int
tep_used(const struct conf *conf, const struct conf_tep *t)
{
	uint32_t i;

	for (i = 0; i < conf->npools; i++)
		if (strcmp(conf->pools[i].tep_name, t->name) == 0)
			return (1);
	return (t->npeers > 0);
}

static void
check_tep_local(struct check *ck, const struct conf_tep *t)
{
	const struct conf *conf = ck->conf;
	struct conf_range r;
	uint32_t i;

	if (!IN6_IS_ADDR_UNSPECIFIED(&t->connect) || t->login.name[0] != '\0')
		fail(ck, &t->at, "tep \"%s\": it is either here (address, "
		    "interface, listen, server) or elsewhere (connect, login)",
		    t->name);
	if (IN6_IS_ADDR_UNSPECIFIED(&t->addr6))
		fail(ck, &t->at, "tep \"%s\": no address", t->name);
	if (t->ifname[0] == '\0')
		fail(ck, &t->at, "tep \"%s\": no interface", t->name);
	if (t->rate != 0 && conf->plane == PLANE_KERNEL)
		fail(ck, &t->at, "tep \"%s\": plane kernel limits no rate: "
		    "choose plane tun or bpf", t->name);
	if (!tep_used(conf, t))
		fail(ck, &t->at, "tep \"%s\": neither a pool nor a server "
		    "uses it", t->name);
	r.lo = r.hi = t->addr4;
	for (i = 0; i < conf->npools; i++)
		if (pool_overlap(&conf->pools[i], &r))
			fail(ck, &t->at, "tep \"%s\": its address %s is in "
			    "pool \"%s\": exclude it there", t->name,
			    log_in(t->addr4), conf->pools[i].name);
}

static void
check_tep_pair(struct check *ck, const struct conf_tep *a,
    const struct conf_tep *b)
{
	if (a->ifname[0] != '\0' && strcmp(a->ifname, b->ifname) == 0)
		fail(ck, &a->at, "tep \"%s\": interface \"%s\" is tep "
		    "\"%s\"'s", a->name, a->ifname, b->name);
	if (IN6_IS_ADDR_UNSPECIFIED(&a->addr6))
		return;
	if (IN6_ARE_ADDR_EQUAL(&a->addr6, &b->addr6))
		fail(ck, &a->at, "tep \"%s\": address %s is tep \"%s\"'s",
		    a->name, log_in6(&a->addr6), b->name);
	if (a->addr4.s_addr == b->addr4.s_addr)
		fail(ck, &a->at, "tep \"%s\": address %s is tep \"%s\"'s",
		    a->name, log_in(a->addr4), b->name);
}

/* Servers that TEP i obeys: known by one name at one TEP, bounded. */
static void
check_peers(struct check *ck, uint32_t i)
{
	const struct conf *conf = ck->conf;
	const struct conf_peer *s;
	uint32_t j, tep = i;

	for (j = 0; j < conf->teps[i].npeers; j++) {
		s = &conf->teps[i].peers[j];
		if (conf_peer(conf, s->name, &tep) != s)
			fail(ck, &s->at, "server \"%s\": tep \"%s\" obeys it "
			    "already", s->name, conf->teps[tep].name);
		if (user_find(conf, 0, s->name) != NULL)
			fail(ck, &s->at, "server \"%s\": there is a user of "
			    "that name", s->name);
		if (s->nprefixes == 0)
			fail(ck, &s->at, "server \"%s\": no allow: it may map "
			    "nothing here", s->name);
	}
}

/*
 * Addresses that a server elsewhere may map at TEP i are none of our own
 * server's, nor another TEP's: each has one owner, and one route.
 */
static void
check_allow(struct check *ck, uint32_t i, const struct conf_peer *s,
    const struct conf_prefix4 *p)
{
	const struct conf *conf = ck->conf;
	const struct conf_peer *o;
	struct conf_range r, x;
	uint32_t j, k, n;

	value_prefix_range(p, &r);
	for (j = 0; j < conf->npools; j++)
		if (pool_overlap(&conf->pools[j], &r))
			fail(ck, &s->at, "server \"%s\": allow %s overlaps "
			    "pool \"%s\"", s->name, range_text(&r, p->len),
			    conf->pools[j].name);
	for (j = 0; j < i; j++) {
		for (k = 0; k < conf->teps[j].npeers; k++) {
			o = &conf->teps[j].peers[k];
			for (n = 0; n < o->nprefixes; n++) {
				value_prefix_range(&o->prefixes[n], &x);
				if (overlap(&r, &x))
					fail(ck, &s->at, "server \"%s\": "
					    "allow %s overlaps that of server "
					    "\"%s\" at tep \"%s\"", s->name,
					    range_text(&r, p->len), o->name,
					    conf->teps[j].name);
			}
		}
	}
}

static uint32_t
count_listen(const struct conf *conf, uint32_t role)
{
	uint32_t i, n = 0;

	for (i = 0; i < conf->nlisten; i++)
		n += (conf->listen[i].role & role) != 0;
	return (n);
}

static void
check_tep_listen(struct check *ck)
{
	const struct conf *conf = ck->conf;
	const struct conf_tep *first = NULL;
	uint32_t i;

	for (i = 0; i < conf->nteps && first == NULL; i++)
		if (conf->teps[i].npeers > 0)
			first = &conf->teps[i];
	if (first == NULL) {
		for (i = 0; i < conf->nlisten; i++)
			if (conf->listen[i].role & ROLE_TEP)
				fail(ck, &conf->listen[i].at, "a tep listens, "
				    "but obeys no server");
		return;
	}
	if (count_listen(conf, ROLE_TEP) == 0)
		fail(ck, &first->at, "tep \"%s\": it obeys servers, but "
		    "listens on no address", first->name);
	if (conf->secrets[0] == '\0')
		fail(ck, &first->at, "tep \"%s\": it obeys servers, but there "
		    "is no secrets file to know them by", first->name);
}

static void
check_teps(struct check *ck)
{
	struct conf *conf = ck->conf;
	const struct conf_tep *t;
	uint32_t i, j, k;

	for (i = 0; i < conf->nteps; i++) {
		t = &conf->teps[i];
		if (!t->local) {
			check_tep_remote(ck, t);
			continue;
		}
		conf->roles |= ROLE_TEP;
		/* The node's device has the last number. */
		if (i == TUNNEL_DEV_MAX - 1)
			fail(ck, &t->at, "too many teps on this host (%d)",
			    TUNNEL_DEV_MAX - 1);
		check_tep_local(ck, t);
		for (j = 0; j < i; j++)
			check_tep_pair(ck, t, &conf->teps[j]);
		check_peers(ck, i);
		for (j = 0; j < t->npeers; j++)
			for (k = 0; k < t->peers[j].nprefixes; k++)
				check_allow(ck, i, &t->peers[j],
				    &t->peers[j].prefixes[k]);
	}
	check_tep_listen(ck);
}

/*
 * Server, node, the rest
 */

static void
check_users(struct check *ck)
{
	const struct conf *conf = ck->conf;
	const struct conf_user *u;
	const char *what;
	char name[NAME_SIZE + 16];
	uint32_t i;

	for (i = 0; i < conf->nusers; i++) {
		u = &conf->users[i];
		snprintf(name, sizeof(name), "user \"%s\"", u->name);
		what = u->mech == MECH_ANONYMOUS ? "anonymous" :
		    u->name[0] == '\0' ? "user default" : name;
		if (i > 0 && user_cmp(u, u - 1) == 0)
			fail(ck, &u->at, "a second %s", what);
		if (u->policy.npools == 0 && u->policy.nfixed == 0)
			fail(ck, &u->at, "%s: no pool", what);
		if (u->policy.nfixed > 0 && (u->mech == MECH_ANONYMOUS ||
		    u->name[0] == '\0'))
			fail(ck, &u->at, "%s: an address is reserved for one "
			    "named user", what);
		if (u->call && u->mech == MECH_ANONYMOUS)
			fail(ck, &u->at, "%s: nodes are called that have a "
			    "name", what);
		else if (u->call && conf->call.name[0] == '\0')
			fail(ck, &u->at, "%s: its nodes are to be called, but "
			    "the server has no \"call login\"", what);
		if (u->mech == MECH_ANONYMOUS && u->nprefixes > 0)
			fail(ck, &u->at, "%s: no prefix may be claimed by "
			    "who is not known", what);
	}
}

struct fixed {
	struct in_addr		 v4;
	const struct conf_user	*user;
};

static int
fixed_cmp(const void *a, const void *b)
{
	const struct fixed *x = a, *y = b;
	uint32_t p = ntohl(x->v4.s_addr), q = ntohl(y->v4.s_addr);

	return (p < q ? -1 : p > q);
}

/* The pool of an address, or -1. */
static int
pool_of(const struct conf *conf, struct in_addr v4)
{
	const struct conf_range *r;
	uint32_t i, j, addr = ntohl(v4.s_addr);

	for (i = 0; i < conf->npools; i++)
		for (j = 0; j < conf->pools[i].nranges; j++) {
			r = &conf->pools[i].ranges[j];
			if (addr >= ntohl(r->lo.s_addr) &&
			    addr <= ntohl(r->hi.s_addr))
				return ((int)i);
		}
	return (-1);
}

/* A reserved address is a pool's, and one user's. */
static void
check_fixed(struct check *ck)
{
	struct conf *conf = ck->conf;
	struct conf_user *u;
	struct fixed *all;
	uint32_t i, j, n = 0;
	int pool;

	for (i = 0; i < conf->nusers; i++)
		n += conf->users[i].policy.nfixed;
	if (n == 0)
		return;
	if ((all = calloc(n, sizeof(*all))) == NULL)
		err(1, "configuration");
	n = 0;
	for (i = 0; i < conf->nusers; i++) {
		u = &conf->users[i];
		for (j = 0; j < u->policy.nfixed; j++) {
			all[n].v4 = u->policy.fixed[j];
			all[n++].user = u;
			if ((pool = pool_of(conf, u->policy.fixed[j])) != -1)
				u->fixed_pools[j] = (uint8_t)pool;
			else
				fail(ck, &u->at, "user \"%s\": %s is in no "
				    "pool", u->name,
				    log_in(u->policy.fixed[j]));
		}
	}
	qsort(all, n, sizeof(*all), fixed_cmp);
	for (i = 1; i < n; i++)
		if (all[i].v4.s_addr == all[i - 1].v4.s_addr)
			fail(ck, &all[i].user->at, "%s is reserved twice",
			    log_in(all[i].v4));
	free(all);
}

/* The word of the first of a list that is in that set; NULL: none is. */
static const char *
first_word(const uint32_t *list, uint32_t set)
{
	uint32_t i;

	for (i = 0; i < MECH_MAX; i++)
		if (list[i] & set)
			return (mech_word(list[i]));
	return (NULL);
}

static void
check_mechs(struct check *ck)
{
	const struct conf *conf = ck->conf;
	const struct conf_at *at = &conf->server_at;
	const uint32_t *list = conf->server_mechs;
	uint32_t set = mech_set(list);
	int anon, named;

	anon = user_find(conf, MECH_ANONYMOUS, "anonymous") != NULL;
	named = conf->nusers > 0 && conf->users[0].mech == 0;
	if ((set & MECH_ANONYMOUS) && !anon)
		fail(ck, at, "server: auth offers anonymous, but there "
		    "is no anonymous { } to say what it gets");
	if ((set & MECH_ANONYMOUS) == 0 && anon)
		fail(ck, at, "server: anonymous { } is there, but auth does "
		    "not offer it");
	if ((set & ~MECH_ANONYMOUS) && !named)
		fail(ck, at, "server: auth offers %s, but there is no user",
		    first_word(list, ~MECH_ANONYMOUS));
	if ((set & ~MECH_ANONYMOUS) == 0 && named)
		fail(ck, at, "server: there are users, but auth offers "
		    "anonymous alone");
	if ((set & MECH_STORED) && conf->secrets[0] == '\0')
		fail(ck, at, "server: auth offers %s, but there is no secrets "
		    "file", first_word(list, MECH_STORED));
	if ((set & MECH_GSSAPI) && conf->keytab[0] == '\0')
		fail(ck, at, "server: auth offers gssapi, but there is no "
		    "keytab");
	if ((set & MECH_GSSAPI) == 0 && conf->keytab[0] != '\0')
		fail(ck, at, "server: a keytab, but auth does not offer "
		    "gssapi");
}

static void
check_pool_mechs(struct check *ck)
{
	const struct conf *conf = ck->conf;
	const struct conf_pool *p;
	uint32_t i, missing, bit;

	for (i = 0; i < conf->npools; i++) {
		p = &conf->pools[i];
		missing = p->mechs & ~mech_set(conf->server_mechs);
		for (bit = 1; bit <= missing && bit != 0; bit <<= 1)
			if (missing & bit)
				fail(ck, &p->at, "pool \"%s\": is for those "
				    "who log in by %s, which the server does "
				    "not offer", p->name, mech_word(bit));
	}
}

static int
calls_anybody(const struct conf *conf)
{
	uint32_t i;

	for (i = 0; i < conf->nusers; i++)
		if (conf->users[i].call)
			return (1);
	return (0);
}

static void
check_server(struct check *ck)
{
	const struct conf *conf = ck->conf;
	const struct lease_limits *l = &conf->limits;
	const struct conf_at *at = &conf->server_at;

	if (count_listen(conf, ROLE_SERVER) == 0)
		fail(ck, at, "server: listens on no address");
	if (conf->npools == 0)
		fail(ck, at, "server: no pool");
	if (l->lifetime_min > l->lifetime || l->lifetime > l->lifetime_max)
		fail(ck, at, "server: lifetime %u must be between min %u and "
		    "max %u", l->lifetime, l->lifetime_min, l->lifetime_max);
	if (conf->call.name[0] != '\0' && !calls_anybody(conf))
		fail(ck, at, "server: a call login, but there is no user whose "
		    "nodes are called");
	check_fixed(ck);
	check_mechs(ck);
	check_pool_mechs(ck);
}

static void
check_node_calls(struct check *ck)
{
	const struct conf *conf = ck->conf;
	const struct conf_node *n = &conf->node;
	int listens = count_listen(conf, ROLE_NODE) > 0;

	if (listens && n->caller[0] == '\0')
		fail(ck, &n->at, "node: it listens, but there is no \"call "
		    "from\" to say to whom");
	if (!listens && n->caller[0] != '\0')
		fail(ck, &n->at, "node: calls from \"%s\", but it listens on "
		    "no address", n->caller);
	if (n->caller[0] != '\0' && conf->secrets[0] == '\0')
		fail(ck, &n->at, "node: calls from \"%s\", but there is no "
		    "secrets file to know it by", n->caller);
}

static void
check_node(struct check *ck)
{
	const struct conf *conf = ck->conf;
	const struct conf_node *n = &conf->node;
	uint32_t i;

	if (n->nservers == 0)
		fail(ck, &n->at, "node: no server");
	if (n->ifname[0] == '\0')
		fail(ck, &n->at, "node: no interface");
	if (n->mech == MECH_ANONYMOUS) {
		if (n->login.name[0] != '\0')
			fail(ck, &n->at, "node: a login, but auth is "
			    "anonymous");
	} else if (n->login.name[0] == '\0')
		fail(ck, &n->at, "node: no login");
	if (n->mech == MECH_GSSAPI)
		fail(ck, &n->at, "node: auth gssapi is for servers alone");
	check_node_calls(ck);
	if (n->idle != 0 && n->table != 0)
		fail(ck, &n->at, "node: on demand with a route table: nobody "
		    "can send from an address that is not there yet");
	for (i = 0; i < conf->nteps; i++) {
		if (n->ifname[0] != '\0' &&
		    strcmp(conf->teps[i].ifname, n->ifname) == 0)
			fail(ck, &n->at, "node: interface \"%s\" is tep "
			    "\"%s\"'s", n->ifname, conf->teps[i].name);
		if (!IN6_IS_ADDR_UNSPECIFIED(&n->addr) &&
		    IN6_ARE_ADDR_EQUAL(&conf->teps[i].addr6, &n->addr))
			fail(ck, &n->at, "node: address %s is tep \"%s\"'s",
			    log_in6(&n->addr), conf->teps[i].name);
	}
}

/* By address: the order is not the file's, so that -nv keeps it. */
static int
listen_cmp(const void *a, const void *b)
{
	const struct conf_listen *la = a, *lb = b;
	int r;

	if ((r = memcmp(&la->addr, &lb->addr, sizeof(la->addr))) != 0)
		return (r);
	return (la->port < lb->port ? -1 : la->port > lb->port);
}

static void
complete(struct conf *conf)
{
	struct conf_listen *l;
	uint32_t i, j;

	order_teps(conf);
	if (conf->nusers > 0)
		qsort(conf->users, conf->nusers, sizeof(*conf->users),
		    user_order);
	qsort(conf->listen, conf->nlisten, sizeof(*conf->listen), listen_cmp);
	for (i = 0; i < conf->nlisten; i++) {
		l = &conf->listen[i];
		memset(l->mechs, 0, sizeof(l->mechs));
		for (j = 0; (l->role & ROLE_SERVER) && j < MECH_MAX; j++)
			if (conf->server_mechs[j] != 0)
				mech_add(l->mechs, conf->server_mechs[j]);
		/* Servers and TEPs prove themselves to each other. */
		if (l->role & ROLE_TEP)
			mech_add(l->mechs, MECH_SCRAM_SHA_256);
		if (l->role & ROLE_NODE)
			mech_add(l->mechs, MECH_CALL);
	}
}

int
conf_check(struct conf *conf, const char *name)
{
	struct check ck = { conf, name, 0 };
	struct sockaddr_un sun;

	complete(conf);
	if (strlen(conf->control) >= sizeof(sun.sun_path))
		fail(&ck, NULL, "control \"%s\": path too long (%zu octets at "
		    "most)", conf->control, sizeof(sun.sun_path) - 1);
	check_pools(&ck);
	check_teps(&ck);
	check_users(&ck);
	if (conf->roles & ROLE_SERVER)
		check_server(&ck);
	if (conf->roles & ROLE_NODE)
		check_node(&ck);
	if (conf->roles == 0)
		fail(&ck, NULL, "nothing to do: no server, no tep with a "
		    "server, no node");
	return (ck.errors);
}
