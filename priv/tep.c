/*
 * The TEP role: our devices, and the entries that other hosts' servers have
 * in them. (The leases of our own server are the engine's.) An entry dies
 * with its lifetime, whether its server ever returns or not.
 */
#include <sys/types.h>
#include <sys/tree.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dstmd/tsp.h"
#include "priv/netlink.h"
#include "priv/priv.h"

#define TEP_LIFETIME	1440		/* s, where absent: the draft's DTD */
#define TEP_ENTRY_MAX	(1 << 20)
#define REOPEN_MS	1000		/* after an interface was removed */
#define REOPEN_AGAIN	10000
#define METRIC_LAST	UINT32_MAX

struct tep_entry {
	RB_ENTRY(tep_entry)	 by_v4;
	RB_ENTRY(tep_entry)	 by_time;
	uint32_t		 tep;
	uint32_t		 v4;		/* host order */
	struct in6_addr		 v6;
	const struct conf_peer	*server;
	struct conn_ref		 conn;
	uint32_t		 renewals;
	int64_t			 since;		/* wall clock */
	int64_t			 until;		/* now_ms */
};
RB_HEAD(entries, tep_entry);
RB_HEAD(timers, tep_entry);

static int
entry_cmp(const struct tep_entry *a, const struct tep_entry *b)
{
	return (a->v4 < b->v4 ? -1 : a->v4 > b->v4);
}

static int
timer_cmp(const struct tep_entry *a, const struct tep_entry *b)
{
	if (a->until != b->until)
		return (a->until < b->until ? -1 : 1);
	return (entry_cmp(a, b));
}

static struct entries	 entries = RB_INITIALIZER(&entries);
static struct timers	 timers = RB_INITIALIZER(&timers);
static uint32_t		 nentries;
static struct event	*expiry;
static struct plane_dev	 devs[TEP_MAX];	/* by TEP; ifname "": remote */
static uint8_t		 gone[TEP_MAX];	/* its interface was removed */
static struct event	*reopening;
static int		 loaded;	/* our own server's leases */
static uint8_t		 synced[TEP_MAX][CONF_PEER_MAX];

RB_PROTOTYPE(entries, tep_entry, by_v4, entry_cmp)
RB_PROTOTYPE(timers, tep_entry, by_time, timer_cmp)
RB_GENERATE(entries, tep_entry, by_v4, entry_cmp)
RB_GENERATE(timers, tep_entry, by_time, timer_cmp)

static void
tep_arm(void)
{
	const struct tep_entry *e = RB_MIN(timers, &timers);

	if (e != NULL)
		timer_set(expiry, e->until - now_ms());
	else
		evtimer_del(expiry);
}

static void
entry_remove(struct tep_entry *e)
{
	struct in_addr v4;

	v4.s_addr = htonl(e->v4);
	priv.plane->del(e->tep, v4);
	RB_REMOVE(entries, &entries, e);
	RB_REMOVE(timers, &timers, e);
	nentries--;
	free(e);
}

static void
tep_expire(evutil_socket_t fd, short what, void *arg)
{
	struct tep_entry *e;
	struct in_addr v4;

	(void)fd;
	(void)what;
	(void)arg;
	if (priv.quitting)
		return;
	while ((e = RB_MIN(timers, &timers)) != NULL && e->until <= now_ms()) {
		v4.s_addr = htonl(e->v4);
		log_info("entry of %s for server %s expired", log_in(v4),
		    e->server->name);
		entry_remove(e);
	}
	tep_arm();
}

static uint32_t
tep_mtu(const struct conf_tep *tep)
{
	uint32_t mtu;

	if (tep->mtu != 0)
		return (tep->mtu);
	if ((mtu = netlink_addr_mtu(&tep->addr6)) == 0)
		fatalx("TEP %s: no interface has the address %s", tep->name,
		    log_in6(&tep->addr6));
	return (mtu - OUTER_OVERHEAD);
}

/*
 * Plane kernel has a route of each lease, of any metric, which is to come
 * before that of a range of one address.
 */
static int
route_into(const struct conf_tep *tep, struct in_addr dst, int plen)
{
	struct in_addr none = { 0 };
	uint32_t metric = 0;

	if (plen == 32 && strcmp(priv.plane->name, "kernel") == 0)
		metric = METRIC_LAST;
	if (netlink_route_add(tep->ifname, dst, plen, none, metric, 0) == 0)
		return (0);
	if (errno == EEXIST)
		log_warnx("TEP %s: there is another route of %s/%d, which is "
		    "not ours to replace", tep->name, log_in(dst), plen);
	else
		log_warn("TEP %s: route of %s/%d to %s", tep->name,
		    log_in(dst), plen, tep->ifname);
	return (-1);
}

/* A range is a few aligned blocks: a route for each. */
static int
route_range(const struct conf_tep *tep, const struct conf_range *range)
{
	uint64_t lo = ntohl(range->lo.s_addr), hi = ntohl(range->hi.s_addr);
	struct in_addr dst;
	uint64_t size;
	int plen;

	while (lo <= hi) {
		plen = 32;
		size = 1;
		while (plen > 1 && (lo & (2 * size - 1)) == 0 &&
		    lo + 2 * size - 1 <= hi) {
			size *= 2;
			plen--;
		}
		dst.s_addr = htonl((uint32_t)lo);
		if (route_into(tep, dst, plen) == -1)
			return (-1);
		lo += size;
	}
	return (0);
}

/* Routes of what this TEP's nodes may hold lead into its device. */
static int
tep_routes(uint32_t i)
{
	const struct conf *conf = priv.conf;
	const struct conf_tep *tep = &conf->teps[i];
	uint32_t j, k;

	for (j = 0; j < conf->npools; j++)
		for (k = 0; conf->pools[j].tep == i &&
		    k < conf->pools[j].nranges; k++)
			if (route_range(tep, &conf->pools[j].ranges[k]) == -1)
				return (-1);
	for (j = 0; j < tep->npeers; j++)
		for (k = 0; k < tep->peers[j].nprefixes; k++)
			if (route_into(tep, tep->peers[j].prefixes[k].addr,
			    tep->peers[j].prefixes[k].len) == -1)
				return (-1);
	return (0);
}

/* What its interface has beside its entries. */
static int
tep_dress(uint32_t i)
{
	const struct conf_tep *tep = &priv.conf->teps[i];

	if (netlink_addr_add(tep->ifname, tep->addr4, 32) == -1) {
		log_warn("TEP %s: address %s on %s", tep->name,
		    log_in(tep->addr4), tep->ifname);
		return (-1);
	}
	/* Of a daemon before, with another configuration: a lease's by now. */
	if (netlink_addr_only(tep->ifname, tep->addr4) == -1) {
		log_warn("TEP %s: other addresses on %s", tep->name,
		    tep->ifname);
		return (-1);
	}
	if (tep_routes(i) == -1)
		return (-1);
	if (priv.plane->dressed != NULL)
		priv.plane->dressed(i);
	return (0);
}

static void
tep_open(uint32_t i)
{
	const struct conf_tep *tep = &priv.conf->teps[i];
	struct plane_dev *dev = &devs[i];

	if (i >= NODE_DEV)
		fatalx("TEP %s: more than %d TEPs before it", tep->name,
		    NODE_DEV);
	dev->dev = i;
	dev->mtu = tep_mtu(tep);
	dev->rate = tep->rate;
	dev->local = tep->addr6;
	strlcpy(dev->ifname, tep->ifname, sizeof(dev->ifname));
	if (priv.plane->open(dev) == -1)
		fatalx("TEP %s: cannot open its tunnel", tep->name);
	if (tep_dress(i) == -1)
		fatalx("TEP %s: cannot set up %s", tep->name, tep->ifname);
	log_info("TEP %s: %s and %s, interface %s, inner MTU %u", tep->name,
	    log_in6(&tep->addr6), log_in(tep->addr4), tep->ifname, dev->mtu);
}

/*
 * Somebody removed an interface of ours: it is made again, after a moment,
 * and again until that works.
 */
static void
tep_reopen(evutil_socket_t fd, short what, void *arg)
{
	uint32_t i;
	int again = 0;

	(void)fd;
	(void)what;
	(void)arg;
	if (priv.quitting)
		return;
	for (i = 0; i < TEP_MAX; i++) {
		if (!gone[i])
			continue;
		if ((!priv.plane->exists(i) &&
		    priv.plane->reopen(i) == -1) || tep_dress(i) == -1) {
			again = 1;
			continue;
		}
		gone[i] = 0;
		log_info("TEP %s: interface %s is there again",
		    priv.conf->teps[i].name, devs[i].ifname);
	}
	if (again)
		timer_set(reopening, REOPEN_AGAIN);
}

void
tep_gone(struct msglink *l, struct msg *m)
{
	struct msg_tunnel_dev md;
	struct plane_dev pd;

	(void)l;
	memcpy(&md, m->data, sizeof(md));
	if (md.dev == NODE_DEV) {
		node_gone();
		return;
	}
	/* It may have been taken over: the kernel knows. */
	if (priv.quitting || !tep_dev(md.dev, &pd) || gone[md.dev] ||
	    priv.plane->exists(md.dev))
		return;
	log_warnx("TEP %s: somebody has removed its interface %s",
	    priv.conf->teps[md.dev].name, pd.ifname);
	gone[md.dev] = 1;
	timer_set(reopening, REOPEN_MS);
}

void
tep_init(void)
{
	uint32_t i;

	if ((reopening = evtimer_new(priv.base, tep_reopen, NULL)) == NULL)
		fatalx("evtimer_new");
	if ((expiry = evtimer_new(priv.base, tep_expire, NULL)) == NULL)
		fatalx("evtimer_new");
	for (i = 0; i < priv.conf->nteps; i++)
		if (priv.conf->teps[i].local)
			tep_open(i);
}

void
tep_end(void)
{
	uint32_t i;

	for (i = 0; i < priv.conf->nteps; i++)
		if (priv.conf->teps[i].local)
			priv.plane->close(i);
}

int
tep_dev(uint32_t i, struct plane_dev *dev)
{
	if (i >= TEP_MAX || devs[i].ifname[0] == '\0')
		return (0);
	*dev = devs[i];
	return (1);
}

int
tep_is_own(const struct in6_addr *v6)
{
	const struct conf *conf = priv.conf;
	uint32_t i;

	for (i = 0; i < conf->nlisten; i++)
		if (IN6_ARE_ADDR_EQUAL(v6, &conf->listen[i].addr))
			return (1);
	for (i = 0; i < conf->nteps; i++)
		if (IN6_ARE_ADDR_EQUAL(v6, conf->teps[i].local ?
		    &conf->teps[i].addr6 : &conf->teps[i].connect))
			return (1);
	return (0);
}

/* Only what this server was given to map, and nothing that is ours. */
static int
peer_may_map(uint32_t tep, const struct conf_peer *s, struct in_addr v4)
{
	uint32_t i, mask;

	if (!in_usable(v4) || v4.s_addr == priv.conf->teps[tep].addr4.s_addr)
		return (0);
	if (server_engine() != NULL && lease_in_pools(server_engine(), v4))
		return (0);
	for (i = 0; i < s->nprefixes; i++) {
		mask = s->prefixes[i].len == 0 ? 0 :
		    htonl(0xffffffffU << (32 - s->prefixes[i].len));
		if ((v4.s_addr & mask) == (s->prefixes[i].addr.s_addr & mask))
			return (1);
	}
	return (s->nprefixes == 0);
}

static void
tep_create(struct pconn *c, const struct msg_lease_request *req,
    struct tep_entry *e, struct msg_lease_reply *r)
{
	uint32_t lifetime = req->lifetime;

	if (lifetime == 0)
		lifetime = TEP_LIFETIME;
	if (lifetime > LIFETIME_CEIL)
		lifetime = LIFETIME_CEIL;
	if (e == NULL) {
		if ((e = calloc(1, sizeof(*e))) == NULL)
			fatal(NULL);
		e->tep = c->tep;
		e->v4 = ntohl(req->v4.s_addr);
		e->server = c->server;
		e->since = now_wall();
		RB_INSERT(entries, &entries, e);
		nentries++;
	} else {
		RB_REMOVE(timers, &timers, e);
		e->renewals++;
	}
	e->v6 = req->v6;
	e->conn = c->ref;
	e->until = now_ms() + (int64_t)lifetime * 1000;
	RB_INSERT(timers, &timers, e);
	priv.plane->add(e->tep, req->v4, &e->v6, e->until);
	r->lifetime = lifetime;
}

/* Whoever may have that entry has said what it has. */
static int
tep_over(uint32_t i, struct in_addr v4)
{
	const struct conf_tep *tep = &priv.conf->teps[i];
	uint32_t j;

	if (server_engine() != NULL && lease_in_pools(server_engine(), v4))
		return (loaded);
	for (j = 0; j < tep->npeers; j++)
		if (!synced[i][j] && peer_may_map(i, &tep->peers[j], v4))
			return (0);
	return (1);
}

/* Of what a daemon before left in the plane. */
static void
tep_sweep(uint32_t i)
{
	if (priv.plane->sweep != NULL)
		priv.plane->sweep(i, tep_over);
}

void
tep_loaded(void)
{
	uint32_t i;

	loaded = 1;
	for (i = 0; i < priv.conf->nteps; i++)
		if (priv.conf->teps[i].local &&
		    (priv.conf->roles & ROLE_SERVER))
			tep_sweep(i);
}

/*
 * A server has told us of all its leases by this connection. What it told
 * us by an earlier one alone was never answered, or is over.
 */
static void
tep_sync(const struct pconn *c, const struct msg_lease_request *req)
{
	struct tep_entry *e, *next;
	uint32_t n = 0;

	for (e = RB_MIN(entries, &entries); e != NULL; e = next) {
		next = RB_NEXT(entries, &entries, e);
		if (e->server != c->server || e->tep != c->tep ||
		    (e->conn.id == c->ref.id && e->conn.gen == c->ref.gen))
			continue;
		entry_remove(e);
		n++;
	}
	log_info("notes compared with server %s: %u entries of %u were "
	    "nobody's", c->name, n, nentries + n);
	synced[c->tep][c->server - priv.conf->teps[c->tep].peers] = 1;
	tep_sweep(c->tep);
	server_reply(req, STATUS_OK, NULL);
}

/*
 * A server's request to our TEP (the draft's 2.1 to 2.3). The address of
 * another server's entry is refused: it has an owner.
 */
void
tep_request(struct pconn *c, const struct msg_lease_request *req)
{
	const struct conf_tep *tep = &priv.conf->teps[c->tep];
	struct msg_lease_reply r;
	struct tep_entry *e, key;

	if (req->op == OP_SYNC) {
		tep_sync(c, req);
		tep_arm();
		return;
	}
	key.v4 = ntohl(req->v4.s_addr);
	e = req->has_v4 ? RB_FIND(entries, &entries, &key) : NULL;
	memset(&r, 0, sizeof(r));
	r.v4 = req->v4;
	r.v6 = req->v6;
	r.tep4 = tep->addr4;
	r.tep6 = tep->addr6;
	if (req->op == OP_DELETE && req->has_v4 && e == NULL) {
		/* It is not here; a daemon before may have left it. */
		if (peer_may_map(c->tep, c->server, req->v4))
			priv.plane->del(c->tep, req->v4);
		server_reply(req, STATUS_OK, &r);
	} else if (!req->has_v4 || !peer_may_map(c->tep, c->server, req->v4)) {
		log_peer("server %s may not map %s here", c->name,
		    log_in(req->v4));
		server_reply(req, STATUS_IPV4, NULL);
	} else if (!in6_usable(&req->v6) || tep_is_own(&req->v6) ||
	    !conf_outer(tep, &req->v6)) {
		log_peer("server %s: no node of this TEP may be at %s",
		    c->name, log_in6(&req->v6));
		server_reply(req, STATUS_IPV6, NULL);
	} else if (e != NULL && (e->server != c->server || e->tep != c->tep))
		server_reply(req, STATUS_UNAVAILABLE, NULL);
	else if (req->op == OP_INFO && e == NULL)
		server_reply(req, STATUS_UNAVAILABLE, NULL);
	else if (req->op == OP_CREATE && e == NULL && nentries >= TEP_ENTRY_MAX)
		server_reply(req, STATUS_TEP, NULL);
	else {
		if (req->op == OP_CREATE)
			tep_create(c, req, e, &r);
		else if (req->op == OP_INFO)
			r.lifetime = (uint32_t)((e->until - now_ms()) / 1000);
		else if (IN6_ARE_ADDR_EQUAL(&e->v6, &req->v6))
			entry_remove(e);
		server_reply(req, STATUS_OK, &r);
	}
	tep_arm();
}

int
tep_walk(struct in_addr after, struct msg_ctl_lease *row)
{
	struct tep_entry *e, key;

	memset(&key, 0, sizeof(key));
	key.v4 = ntohl(after.s_addr) + 1;
	if (key.v4 == 0 || (e = RB_NFIND(entries, &entries, &key)) == NULL)
		return (0);
	memset(row, 0, sizeof(*row));
	row->v4.s_addr = htonl(e->v4);
	row->v6 = e->v6;
	row->tep4 = priv.conf->teps[e->tep].addr4;
	row->tep6 = priv.conf->teps[e->tep].addr6;
	row->state = CTL_BOUND;
	row->role = ROLE_TEP;
	row->mech = MECH_SCRAM_SHA_256;
	row->renewals = e->renewals;
	row->since = e->since;
	row->remains = (e->until - now_ms()) / 1000;
	strlcpy(row->name, e->server->name, sizeof(row->name));
	strlcpy(row->tep, priv.conf->teps[e->tep].name, sizeof(row->tep));
	return (1);
}
