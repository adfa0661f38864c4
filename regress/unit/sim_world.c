/*
 * The simulated world: TEPs, the store, the clocks, what crashes. It loses,
 * delays and repeats, but never lies.
 */
#include <arpa/inet.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dstmd/tsp.h"
#include "regress/unit/sim.h"

#define FIXED		8	/* addresses that are reserved, at most */
#define TEP_DEFAULT	1440	/* s: what a TEP makes of no lifetime */

struct sim sim;

static const struct {
	const char	*lo, *hi;
	int		 pool;
} ranges[] = {
	/* 198.51.100.18 and 203.0.113.4 are excluded */
	{ "198.51.100.16", "198.51.100.17", 0 },
	{ "198.51.100.19", "198.51.100.21", 0 },
	{ "198.51.100.32", "198.51.100.39", 1 },
	{ "203.0.113.1", "203.0.113.3", 2 },
	{ "203.0.113.5", "203.0.113.6", 2 },
	{ "192.0.2.1", "192.0.2.4", 3 },
};
#define NRANGES	((int)(sizeof(ranges) / sizeof(ranges[0])))

static const int	 pool_tep[NPOOLS] = { 0, 1, 2, 1 };

uint32_t
rnd(uint32_t n)
{
	uint64_t z = sim.rng += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return ((uint32_t)((z ^ z >> 31) >> 32) % n);
}

void
trace(const char *fmt, ...)
{
	va_list ap;

	if (!sim.loud)
		return;
	fprintf(stderr, "%5u %9lld: ", sim.step,
	    (long long)sim.now - 1000000);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\n");
}

int64_t
wall(void)
{
	return ((sim.now + sim.wall_off) / 1000);
}

int
tep_of(int addr)
{
	return (pool_tep[sim.a[addr].pool]);
}

static struct in_addr
v4(const char *text)
{
	struct in_addr a;

	if (inet_pton(AF_INET, text, &a) != 1)
		abort();
	return (a);
}

/* Any address that the engine names is one of the pools. */
int
addr_index(struct in_addr addr, const char *who)
{
	int i;

	for (i = 0; i < NADDRS; i++)
		if (sim.a[i].v4 == ntohl(addr.s_addr))
			return (i);
	broken("%s names %s, which is in no pool", who, inet_ntoa(addr));
}

/* Users 0 and 1 have the same name by different mechanisms. */
static void
owners_make(void)
{
	struct lease_owner *o;
	int i, user;

	for (i = 0; i < NOWNERS; i++) {
		o = &sim.owners[i];
		user = i / NHOSTS;
		o->mech = user == 1 ? MECH_ANONYMOUS : MECH_SCRAM_SHA_256;
		snprintf(o->name, sizeof(o->name), "user%d",
		    user == 1 ? 0 : user);
		inet_pton(AF_INET6, "2001:db8:1::", &o->v6);
		o->v6.s6_addr[15] = (uint8_t)(1 + i % NHOSTS);
	}
}

int
owner_index(uint32_t mech, const char *name, const struct in6_addr *v6)
{
	const struct lease_owner *o;
	int i;

	for (i = 0; i < NOWNERS; i++) {
		o = &sim.owners[i];
		if (memcmp(&o->v6, v6, sizeof(o->v6)) == 0 &&
		    o->mech == mech && strcmp(o->name, name) == 0)
			return (i);
	}
	broken("an owner that is none: %s", name);
}

static int
host_index(const struct in6_addr *v6)
{
	int host = v6->s6_addr[15] - 1;

	if (host < 0 || host >= NHOSTS ||
	    memcmp(v6, &sim.owners[host].v6, sizeof(*v6)) != 0)
		broken("an IPv6 address of nobody");
	return (host);
}

/*
 * Begin and end
 */
static void
reserve_address(struct sim_addr *a, int user)
{
	struct lease_policy *p = &sim.policy[user];

	if (a->fixed != -1 || p->nfixed == LEASE_FIXED_MAX)
		return;
	a->fixed = user;
	p->fixed[p->nfixed++].s_addr = htonl(a->v4);
}

void
policies(void)
{
	uint32_t i, j, k;
	uint8_t t;

	for (i = 0; i < NUSERS; i++) {
		for (j = 0; j < NPOOLS; j++)
			sim.policy[i].pools[j] = (uint8_t)j;
		for (j = NPOOLS - 1; j > 0; j--) {
			k = rnd(j + 1);
			t = sim.policy[i].pools[j];
			sim.policy[i].pools[j] = sim.policy[i].pools[k];
			sim.policy[i].pools[k] = t;
		}
		sim.policy[i].npools = 1 + rnd(NPOOLS);
		sim.policy[i].nfixed = 0;
		sim.policy[i].max_leases = rnd(5);
	}
	for (i = 0; i < NPOOLS; i++)
		sim.weights[i] = rnd(3) ? 0 : rnd(4);
	for (i = 0; i < NADDRS; i++)
		sim.a[i].fixed = -1;
	for (i = rnd(FIXED + 1); i > 0; i--)
		reserve_address(&sim.a[rnd(NADDRS)], (int)rnd(NUSERS));
}

static void
load_records(void)
{
	int order[NADDRS], i, j, t;

	for (i = 0; i < NADDRS; i++)
		order[i] = i;
	for (i = NADDRS - 1; i > 0; i--) {
		j = (int)rnd((uint32_t)i + 1);
		t = order[i];
		order[i] = order[j];
		order[j] = t;
	}
	for (i = 0; i < NADDRS; i++)
		if (sim.a[order[i]].has_rec && lease_load(sim.e, sim.now,
		    wall(), &sim.a[order[i]].rec) == -1)
			broken("its own record is not believed");
}

void
engine_start(void)
{
	char name[16];
	int i;

	sim.e = lease_engine_new(&sim.limits);
	for (i = 0; i < NTEPS; i++) {
		snprintf(name, sizeof(name), "tep%d", i);
		lease_engine_add_tep(sim.e, (uint32_t)i, i == 0, name,
		    sim.teps[i].v4, &sim.teps[i].v6);
		sim.teps[i].up = i == 0;
	}
	for (i = 0; i < NPOOLS; i++)
		lease_engine_add_pool(sim.e, (uint32_t)i,
		    (uint32_t)pool_tep[i], sim.weights[i]);
	for (i = 0; i < NRANGES; i++)
		if (lease_engine_add_range(sim.e, (uint32_t)ranges[i].pool,
		    v4(ranges[i].lo), v4(ranges[i].hi)) == -1)
			abort();
	for (i = 0; i < NADDRS; i++)
		if (sim.a[i].fixed != -1 && lease_engine_fix(sim.e,
		    (struct in_addr){ htonl(sim.a[i].v4) }) == -1)
			abort();
	sim.store.up = 1;
	sim.store.next = sim.store.due = 1;
	sim.store.seen = 0;
	load_records();
	model_loaded();
}

void
sim_new(uint64_t seed)
{
	static const uint32_t quarantines[] = { 0, 5, 30, 300 };
	uint32_t addr;
	int i, n = 0;

	memset(&sim, 0, sizeof(sim));
	sim.loud = getenv("DSTMD_TRACE") != NULL;
	sim.seed = sim.rng = seed;
	sim.now = 1000000 + rnd(1000);
	sim.wall_off = 1700000000LL * 1000 + rnd(1000);
	owners_make();
	sim.limits = (struct lease_limits){ 100, 10, 1000,
	    quarantines[rnd(4)] };
	for (i = 0; i < NTEPS; i++) {
		sim.teps[i].v4.s_addr = htonl(0xc6336401 + (uint32_t)i);
		inet_pton(AF_INET6, "2001:db8:2::1", &sim.teps[i].v6);
		sim.teps[i].v6.s6_addr[14] = (uint8_t)i;
	}
	for (i = 0; i < NRANGES; i++)
		for (addr = ntohl(v4(ranges[i].lo).s_addr);
		    addr <= ntohl(v4(ranges[i].hi).s_addr); addr++, n++) {
			sim.a[n].v4 = addr;
			sim.a[n].pool = ranges[i].pool;
			sim.a[n].owner = sim.a[n].last = sim.a[n].told = -1;
			sim.a[n].acked = sim.a[n].host = -1;
		}
	for (i = 0; i < NCONNS; i++)
		sim.gens[i] = 1;
	policies();
	engine_start();
}

void
sim_end(void)
{
	lease_engine_free(sim.e);
	sim.e = NULL;
}

/* However the test ends: how to see it again. */
void
sim_say_seed(void)
{
	if (sim.e != NULL)
		fprintf(stderr, "test_lease_sim: failed at step %u of the "
		    "world DSTMD_SEED=%llu\n", sim.step,
		    (unsigned long long)sim.seed);
}

/*
 * TEPs
 */
static void
job_put(struct sim_jobs *q, const struct sim_job *j)
{
	if (q->n == QUEUE)
		broken("more than %d messages under way", QUEUE);
	q->q[q->n++] = *j;
}

static struct sim_job
job_take(struct sim_jobs *q, int i)
{
	struct sim_job j = q->q[i];

	memmove(&q->q[i], &q->q[i + 1],
	    (size_t)(--q->n - i) * sizeof(q->q[0]));
	return (j);
}

static void
tep_does(int tep, const struct sim_job *j)
{
	struct sim_addr *a;
	int i;

	if (j->addr == -1) {
		trace("TEP %d compares notes", tep);
		for (i = 0; i < NADDRS; i++)
			if (tep_of(i) == tep && sim.a[i].named !=
			    sim.teps[tep].conn) {
				model_check_unnamed(i);
				sim.a[i].host = -1;
			}
		return;
	}
	a = &sim.a[j->addr];
	/* To delete another's entry names none: it goes when notes are. */
	if (j->add || a->host == j->host)
		a->named = sim.teps[tep].conn;
	a->revived = 0;
	if (j->add) {
		a->host = j->host;
		a->host_until = sim.now + 1000LL * (j->lifetime != 0 ?
		    j->lifetime : TEP_DEFAULT);
		a->lossy = 0;
		model_check_entry(j->addr);
	} else if (a->host == j->host)
		a->host = -1;
}

/* The next request; a TEP may refuse it, or never answer. */
void
tep_works(int tep)
{
	struct sim_tep *t = &sim.teps[tep];
	uint32_t luck = sim.quiet ? 99 : rnd(100);
	struct sim_job j;

	if (t->in.n == 0)
		return;
	j = job_take(&t->in, 0);
	j.status = STATUS_OK;
	if (j.addr == -1) {
		tep_does(tep, &j);
		return;		/* its answer is of no account */
	}
	if (luck < 5) {
		j.status = luck < 3 ? STATUS_TEP : STATUS_UNAVAILABLE;
		sim.a[j.addr].lossy |= j.add;
	} else if (luck < 7) {		/* lost before or after it was done */
		if (luck == 5)
			tep_does(tep, &j);
		sim.a[j.addr].lossy |= j.add;
		return;
	} else
		tep_does(tep, &j);
	job_put(&t->out, &j);
}

static void
tep_tell(int tep, const struct sim_job *j)
{
	struct sim_tep *t = &sim.teps[tep];
	struct sim_addr *a = &sim.a[j->addr];

	if (j->status != STATUS_OK && j->add)
		model_refused(j->addr);
	else if (j->status != STATUS_OK && a->state == CTL_CLOSING)
		a->stuck = 1;
	else if (j->status != STATUS_OK || j->adds != a->adds)
		;		/* of no account any more */
	else if (j->add)
		a->acked = j->host;
	else if (a->dirty) {
		a->dirty = 0;
		a->confirmed++;
		a->free_at = sim.now + 1000LL * sim.limits.quarantine;
	}
	trace("TEP %d says %u to %s %d", tep, j->status, j->add ? "add" :
	    "del", j->addr);
	lease_tep_done(sim.e, sim.now, wall(), (uint32_t)tep, j->job,
	    j->status, t->v4, &t->v6);
}

void
tep_answers(int tep)
{
	struct sim_tep *t = &sim.teps[tep];
	struct sim_job j;

	if (t->out.n == 0)
		return;
	j = job_take(&t->out, 0);
	if (!sim.quiet && rnd(50) == 0 && t->late.n < QUEUE / 2)
		job_put(&t->late, &j);
	if (sim.quiet || rnd(50) != 0)	/* else it comes late, or never */
		tep_tell(tep, &j);
}

void
tep_late(int tep)
{
	struct sim_jobs *q = &sim.teps[tep].late;
	struct sim_job j;

	if (q->n == 0)
		return;
	j = job_take(q, (int)rnd((uint32_t)q->n));
	tep_tell(tep, &j);
}

/* The connection is lost; what was on the way may have been done. */
static void
tep_cut(int tep, int restart)
{
	struct sim_tep *t = &sim.teps[tep];
	int i, n = (int)rnd((uint32_t)t->in.n + 1);

	for (i = 0; i < t->in.n; i++) {
		if (i < n)
			tep_does(tep, &t->in.q[i]);
		else if (t->in.q[i].addr != -1)
			sim.a[t->in.q[i].addr].lossy |= t->in.q[i].add;
	}
	t->in.n = 0;
	for (i = 0; i < t->out.n && t->late.n < QUEUE / 2; i++)
		job_put(&t->late, &t->out.q[i]);
	t->out.n = 0;
	for (i = 0; i < NADDRS && restart; i++)
		if (tep_of(i) == tep)
			sim.a[i].host = -1;
}

void
tep_breaks(int tep, int restart)
{
	if (tep == 0 || !sim.teps[tep].up)
		return;
	trace("TEP %d is down", tep);
	tep_cut(tep, restart);
	sim.teps[tep].up = 0;
	lease_tep_down(sim.e, sim.now, wall(), (uint32_t)tep);
}

void
tep_comes(int tep)
{
	int i;

	if (sim.teps[tep].up)
		return;
	trace("TEP %d is up", tep);
	sim.teps[tep].up = 1;
	sim.teps[tep].conn++;
	sim.teps[tep].since = sim.now;
	for (i = 0; i < NADDRS; i++)
		if (tep_of(i) == tep)
			sim.a[i].lossy = 0;	/* it is told all again */
	lease_tep_up(sim.e, sim.now, (uint32_t)tep);
}

/*
 * The store
 */
static void
store_commits(int n)
{
	struct sim_store *s = &sim.store;
	struct sim_addr *a;
	int i;

	for (i = 0; i < n; i++) {
		a = &sim.a[addr_index(s->in[i].rec.v4, "a record")];
		a->has_rec = 1;
		a->rec = s->in[i].rec;
	}
}

/* One transaction of n records: all of it, or nothing. */
void
store_works(int n)
{
	struct sim_store *s = &sim.store;
	struct sim_said *said;

	if (n > s->nin)
		n = s->nin;
	if (n == 0 || s->nout == QUEUE || s->nwritten + n > QUEUE)
		return;
	said = &s->out[s->nout++];
	said->first = s->in[0].seq;
	said->last = s->in[n - 1].seq;
	said->failed = !sim.quiet && rnd(20) == 0;
	if (!said->failed) {
		store_commits(n);
		memcpy(&s->written[s->nwritten], s->in,
		    (size_t)n * sizeof(s->in[0]));
		s->nwritten += n;
	}
	s->nin -= n;
	memmove(s->in, s->in + n, (size_t)s->nin * sizeof(s->in[0]));
}

void
store_answers(void)
{
	struct sim_store *s = &sim.store;
	struct sim_said said;
	int n = 0;

	if (s->nout == 0)
		return;
	said = s->out[0];
	memmove(s->out, s->out + 1, (size_t)--s->nout * sizeof(s->out[0]));
	while (n < s->nwritten && s->written[n].seq <= said.last)
		model_stored(&s->written[n++]);
	s->nwritten -= n;
	memmove(s->written, s->written + n,
	    (size_t)s->nwritten * sizeof(s->written[0]));
	s->next = said.last + 1;
	trace("store: %llu to %llu %s", (unsigned long long)said.first,
	    (unsigned long long)said.last, said.failed ? "failed" : "done");
	if (said.failed) {
		sim.failed_step = sim.step;
		lease_store_fail(sim.e, sim.now, wall(), said.first,
		    said.last);
	} else
		lease_store_done(sim.e, sim.now, wall(), said.last);
}

/* The process dies: what it had not committed is lost, or was its last. */
void
store_breaks(void)
{
	struct sim_store *s = &sim.store;

	if (rnd(2))
		store_commits((int)rnd((uint32_t)s->nin + 1));
	s->up = s->nin = s->nout = s->nwritten = 0;
}

void
store_comes(void)
{
	if (sim.store.up)
		return;
	sim.store.up = 1;
	sim.store.due = sim.store.next;
	lease_store_reset(sim.e);
}

static void
store_put(const struct lease_action *x)
{
	struct sim_store *s = &sim.store;

	if (x->seq > s->seen) {
		model_put(&x->rec);
		s->seen = x->seq;
	}
	if (!s->up)
		return;
	if (x->seq != s->due++)
		broken("record %llu where %llu was due",
		    (unsigned long long)x->seq,
		    (unsigned long long)s->due - 1);
	if (s->nin == QUEUE)
		broken("more than %d records under way", QUEUE);
	s->in[s->nin].seq = x->seq;
	s->in[s->nin++].rec = x->rec;
}

/*
 * Actions
 */
static void
tep_sync(const struct lease_action *x)
{
	struct sim_job j;

	if (x->tep == 0)
		broken("a local TEP has nothing to compare");
	memset(&j, 0, sizeof(j));
	j.addr = -1;
	if (sim.teps[x->tep].up)
		job_put(&sim.teps[x->tep].in, &j);
}

static void
tep_put(const struct lease_action *x)
{
	int i = addr_index(x->v4, "a TEP's job");
	struct sim_addr *a = &sim.a[i];
	struct sim_job j;

	if ((int)x->tep != tep_of(i))
		broken("a job for the wrong TEP");
	memset(&j, 0, sizeof(j));
	j.job = x->job;
	j.add = x->type == LA_TEP_ADD;
	j.addr = i;
	j.host = host_index(&x->v6);
	j.lifetime = x->lifetime;
	/* What was granted before the clock stepped back looks longer. */
	if (j.add && (x->lifetime == 0 || x->lifetime > (sim.epoch == 0 ?
	    sim.limits.lifetime_max + 60 : LIFETIME_CEIL)))
		broken("a TEP is told %u s", x->lifetime);
	a->dirty |= j.add;
	a->adds += (uint32_t)j.add;
	j.adds = a->adds;
	if (x->tep == 0) {
		j.status = STATUS_OK;
		tep_does(0, &j);
		tep_tell(0, &j);
	} else if (sim.teps[x->tep].up)
		job_put(&sim.teps[x->tep].in, &j);
}

void
pump(int n)
{
	struct lease_action x;
	uint32_t dest, tries;

	for (dest = rnd(LD_NDEST), tries = 0; n > 0 && tries < LD_NDEST;) {
		if (!lease_action(sim.e, (enum lease_dest)dest, &x)) {
			dest = (dest + 1) % LD_NDEST;
			tries++;
			continue;
		}
		n--;
		dest = rnd(LD_NDEST);
		tries = 0;
		switch (x.type) {
		case LA_REPLY:
			model_reply(&x.reply);
			break;
		case LA_TEP_ADD:
		case LA_TEP_DEL:
			tep_put(&x);
			model_look();
			break;
		case LA_TEP_SYNC:
			tep_sync(&x);
			break;
		case LA_STORE:
			store_put(&x);
			break;
		case LA_NODE_DEL:
			model_node_del(&x.reply);
			break;
		}
	}
}

/*
 * Time, and the end of the world
 */
void
clock_runs(int64_t ms)
{
	sim.now += ms;
	if (sim.quiet || rnd(8) != 0)	/* else the timer is late */
		lease_tick(sim.e, sim.now, wall());
}

void
crash(void)
{
	int i;

	trace("crash");
	lease_engine_free(sim.e);
	if (rnd(2))
		store_commits((int)rnd((uint32_t)sim.store.nin + 1));
	sim.store.nin = sim.store.nout = sim.store.nwritten = 0;
	for (i = 1; i < NTEPS; i++) {
		tep_cut(i, rnd(5) == 0);
		sim.teps[i].late.n = 0;
	}
	for (i = 0; i < NADDRS; i++)
		if (tep_of(i) == 0)
			sim.a[i].host = -1;
	for (i = 0; i < NCONNS; i++)
		sim.gens[i]++;
	for (; sim.oldest < sim.nreqs; sim.oldest++)
		sim.reqs[sim.oldest].answered = 1;
	sim.now += rnd(4) ? rnd(3000) : rnd(400000);
	if (rnd(5) == 0) {
		sim.epoch++;
		sim.wall_off += (int64_t)rnd(600000) - 300000;
	}
	if (rnd(4) == 0)
		policies();
	engine_start();
}
