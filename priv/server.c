/*
 * The server role: nodes' requests go to the lease engine, and what the
 * engine decides is carried out: at our own TEPs, at other hosts' TEPs
 * (through session), in the store, in answers.
 */
#include <sys/types.h>

#include <stdlib.h>
#include <string.h>

#include "dstmd/tsp.h"
#include "priv/priv.h"

static struct lease_engine	*engine;
static struct event		*deadline;
static uint32_t			 drain;		/* enum drain */
/* The connection by which a remote TEP is up; gen 0: it is down. */
static struct conn_ref		 up_by[TEP_MAX];

static void
server_deadline(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	if (priv.quitting)
		return;
	lease_tick(engine, now_ms(), now_wall());
	server_pump();
}

struct lease_engine *
server_engine(void)
{
	return (engine);
}

void
server_init(void)
{
	const struct conf *conf = priv.conf;
	uint32_t i, j;

	if ((conf->roles & ROLE_SERVER) == 0)
		return;
	engine = lease_engine_new(&conf->limits);
	for (i = 0; i < conf->nteps; i++)
		lease_engine_add_tep(engine, i, conf->teps[i].local,
		    conf->teps[i].name, conf->teps[i].addr4,
		    &conf->teps[i].addr6);
	for (i = 0; i < conf->npools; i++) {
		lease_engine_add_pool(engine, i, conf->pools[i].tep,
		    conf->pools[i].weight);
		for (j = 0; j < conf->pools[i].nranges; j++)
			if (lease_engine_add_range(engine, i,
			    conf->pools[i].ranges[j].lo,
			    conf->pools[i].ranges[j].hi) == -1)
				fatalx("pool %s: ranges overlap",
				    conf->pools[i].name);
	}
	for (i = 0; i < conf->nusers; i++)
		for (j = 0; j < conf->users[i].policy.nfixed; j++)
			if (lease_engine_fix(engine,
			    conf->users[i].policy.fixed[j]) == -1)
				fatalx("user %s: %s can not be reserved",
				    conf->users[i].name,
				    log_in(conf->users[i].policy.fixed[j]));
	/* An engine that was forgotten leaves its timer to the next. */
	if (deadline == NULL && (deadline = evtimer_new(priv.base,
	    server_deadline, NULL)) == NULL)
		fatalx("evtimer_new");
}

/*
 * Where a lease was granted to the node before its TEP was given other
 * prefixes, it is over: no packet is to pass.
 */
static int
is_outside(const struct lease_rec *rec)
{
	const struct conf *conf = priv.conf;
	uint32_t i;

	for (i = 0; i < conf->nteps; i++)
		if (strcmp(conf->teps[i].name, rec->tep) == 0)
			return (!conf_outer(&conf->teps[i], &rec->v6));
	return (0);
}

void
server_load(const struct lease_rec *stored)
{
	struct lease_rec rec = *stored;

	if (engine == NULL) {
		log_doubt(PROC_STORE, "the store has a lease of %s, but this "
		    "daemon is no server", log_in(rec.v4));
		return;
	}
	if (rec.state == REC_BOUND && is_outside(&rec)) {
		log_info("the lease of %s by %s is over: TEP %s takes no node "
		    "at %s", log_in(rec.v4), rec.name, rec.tep,
		    log_in6(&rec.v6));
		rec.state = REC_ENDED;
	}
	if (lease_load(engine, now_ms(), now_wall(), &rec) == -1)
		log_doubt(PROC_STORE, "the lease of %s by %s in the store is "
		    "not one of this configuration: ignored", log_in(rec.v4),
		    rec.name);
}

void
server_forget(void)
{
	if (engine == NULL)
		return;
	lease_engine_free(engine);
	evtimer_del(deadline);
	server_init();
}

/*
 * Carrying out
 */
static void
do_tep(const struct lease_action *a, uint32_t op)
{
	const struct conf_tep *tep = &priv.conf->teps[a->tep];
	struct msg_tep_request m;

	if (tep->local) {
		if (op == OP_CREATE)
			priv.plane->add(a->tep, a->v4, &a->v6, now_ms() +
			    (int64_t)a->lifetime * 1000);
		else
			priv.plane->del(a->tep, a->v4);
		lease_tep_done(engine, now_ms(), now_wall(), a->tep, a->job,
		    STATUS_OK, tep->addr4, &tep->addr6);
		return;
	}
	memset(&m, 0, sizeof(m));
	m.tep = a->tep;
	m.op = op;	/* OP_SYNC: job 0, which is no lease's */
	m.job = a->job;
	m.lifetime = a->lifetime;
	m.v4 = a->v4;
	m.v6 = a->v6;
	msg_put(child_link(PROC_SESSION), MSG_TEP_REQUEST, &m, sizeof(m));
}

static void
do_store(const struct lease_action *a)
{
	struct msg_store_lease m;

	/* A store that is starting gets all of them, in order, when it is up. */
	if (!child_is_up(PROC_STORE))
		return;
	memset(&m, 0, sizeof(m));
	m.seq = a->seq;
	m.rec = a->rec;
	msg_put(child_link(PROC_STORE), MSG_STORE_PUT, &m, sizeof(m));
}

static void
log_reply(const struct msg_lease_reply *r)
{
	static const char *const ops[] = { "", "create", "info", "delete" };
	const struct pconn *c = conn_find(r->conn);
	const char *op = r->op <= OP_DELETE ? ops[r->op] : "";

	if (r->op == OP_SYNC || c->caller)
		return;		/* tep_sync, node_call have said it */
	/* Who had which address when: no line of that is left out. */
	if (r->status == STATUS_OK && r->op != OP_INFO)
		log_info("%s: %s %s, node %s, %u s", c->name, op,
		    log_in(r->v4), log_in6(&r->v6), r->lifetime);
	else if (r->status == STATUS_OK)
		log_peer("%s: %s %s, node %s, %u s", c->name, op,
		    log_in(r->v4), log_in6(&r->v6), r->lifetime);
	else
		log_peer("%s at %s: %s refused with %u", c->name,
		    log_in6(&c->peer), op, r->status);
}

static void
do_reply(const struct msg_lease_reply *r)
{
	if (r->conn.id == CONN_MAX) {
		offer_reply(r);
		return;
	}
	if (conn_find(r->conn) == NULL)
		return;		/* nobody waits any more */
	log_reply(r);
	msg_put(child_link(PROC_SESSION), MSG_LEASE_REPLY, r, sizeof(*r));
}

/* draft 2.3: on the connection that the node has kept, or in a call. */
static void
do_node_delete(const struct lease_action *a)
{
	struct msg_lease_reply r = a->reply;

	log_info("lease of %s, node %s, is over", log_in(r.v4),
	    log_in6(&r.v6));
	r.op = OP_DELETE;
	if (conn_find(r.conn) != NULL)
		msg_put(child_link(PROC_SESSION), MSG_LEASE_DELETE, &r,
		    sizeof(r));
	else
		call_node(&a->owner, &r);
}

static void
server_drained(struct msglink *l)
{
	(void)l;
	server_pump();
}

static int
is_full(enum lease_dest dest)
{
	struct msglink *l = NULL;

	/* The plane keeps what its process has not taken yet. */
	if (dest != LD_PLANE)
		l = child_link(dest == LD_STORE ? PROC_STORE : PROC_SESSION);
	if (l == NULL || !msglink_full(l))
		return (0);
	msglink_on_drained(l, server_drained);
	return (1);
}

static void
carry_out(const struct lease_action *a)
{
	switch (a->type) {
	case LA_REPLY:
		do_reply(&a->reply);
		break;
	case LA_TEP_ADD:
		do_tep(a, OP_CREATE);
		break;
	case LA_TEP_DEL:
		do_tep(a, OP_DELETE);
		break;
	case LA_TEP_SYNC:
		do_tep(a, OP_SYNC);
		break;
	case LA_STORE:
		do_store(a);
		break;
	case LA_NODE_DEL:
		do_node_delete(a);
		break;
	}
}

/*
 * Takes what the engine has decided, while the processes that carry it out
 * keep up; the rest waits in the engine, which has it in its leases. In this
 * order, as a local TEP's answer is a record to store.
 */
void
server_pump(void)
{
	static const enum lease_dest order[] = {
		LD_PLANE, LD_STORE, LD_SESSION
	};
	struct lease_action a;
	int64_t next;
	size_t i;

	if (engine == NULL || priv.quitting)
		return;
	for (i = 0; i < sizeof(order) / sizeof(order[0]); i++)
		while (!is_full(order[i]) && lease_action(engine, order[i], &a))
			carry_out(&a);
	if ((next = lease_deadline(engine)) != -1)
		timer_set(deadline, next - now_ms());
	else
		evtimer_del(deadline);
}

/*
 * Requests
 */
void
server_reply(const struct msg_lease_request *req, uint32_t status,
    const struct msg_lease_reply *body)
{
	struct msg_lease_reply r;

	memset(&r, 0, sizeof(r));
	if (body != NULL)
		r = *body;
	r.conn = req->conn;
	r.req = req->req;
	r.op = req->op;
	r.status = status;
	do_reply(&r);
}

/*
 * May this node claim that outer address? Its packets will be accepted
 * from there, so it must be where it speaks to us from, or a prefix that
 * its user was given (Hagino, "Possible abuse").
 */
static int
claim_allowed(const struct pconn *c, const struct in6_addr *v6)
{
	uint32_t i;

	if (!in6_usable(v6) || tep_is_own(v6))
		return (0);
	if (IN6_ARE_ADDR_EQUAL(v6, &c->peer))
		return (1);
	for (i = 0; i < c->user->nprefixes; i++)
		if (in6_match(v6, &c->user->prefixes[i].addr,
		    c->user->prefixes[i].len))
			return (1);
	return (0);
}

uint32_t
lease_identity(uint32_t mech)
{
	/* A user is one owner, by whichever mechanism he logs in. */
	return (mech == MECH_ANONYMOUS ? MECH_ANONYMOUS : MECH_SCRAM_SHA_256);
}

static void
node_request(struct pconn *c, const struct msg_lease_request *req)
{
	struct lease_policy policy;
	struct lease_ask ask;

	memset(&ask, 0, sizeof(ask));
	ask.conn = req->conn;
	ask.req = req->req;
	ask.op = req->op;
	ask.has_v4 = req->has_v4 != 0;
	ask.v4 = req->v4;
	ask.lifetime = req->lifetime;
	ask.owner.mech = lease_identity(c->mech);
	strlcpy(ask.owner.name, c->name, sizeof(ask.owner.name));
	ask.owner.v6 = req->v6;
	if (IN6_IS_ADDR_UNSPECIFIED(&req->v6) && req->op != OP_CREATE)
		ask.owner.v6 = c->peer;
	conf_policy(priv.conf, c->mech, c->user, &ask.owner.v6, &policy);
	ask.policy = &policy;
	if (!claim_allowed(c, &ask.owner.v6)) {
		server_reply(req, STATUS_IPV6, NULL);
		return;
	}
	/* Who logged in has a pool: it is the TEPs' prefixes that leave none. */
	if (req->op == OP_CREATE && policy.npools + policy.nfixed == 0) {
		log_peer("%s: no TEP of its pools takes a node at %s", c->name,
		    log_in6(&ask.owner.v6));
		server_reply(req, STATUS_IPV6, NULL);
		return;
	}
	if (req->op == OP_CREATE && (drain == DRAIN_ALL ||
	    (drain == DRAIN_NEW && !lease_is_held(engine, &ask.owner)))) {
		server_reply(req, STATUS_BUSY, NULL);
		return;
	}
	offer_seen(&ask.owner, req);
	lease_request(engine, now_ms(), now_wall(), &ask);
	server_pump();
}

void
server_drain(uint32_t how)
{
	static const char *const words[] = {
		[DRAIN_OFF] = "over: leases are granted again",
		[DRAIN_NEW] = "no new leases, those there are are renewed",
		[DRAIN_ALL] = "no new leases, and none is renewed",
	};

	drain = how;
	log_info("drain: %s", words[how]);
}

uint32_t
server_draining(void)
{
	return (drain);
}

void
server_request(struct msglink *l, struct msg *m)
{
	struct msg_lease_request req;
	struct pconn *c;

	(void)l;
	memcpy(&req, m->data, sizeof(req));
	if ((c = conn_find(req.conn)) == NULL)
		return;		/* closed meanwhile, or never opened */
	if (c->kind != CONN_ACCEPTED || !c->authenticated ||
	    req.op < OP_CREATE || req.op > (c->server != NULL ? OP_SYNC :
	    OP_DELETE)) {
		log_doubt(PROC_SESSION, "session: a request on connection "
		    "%u.%u that may make none", c->ref.id, c->ref.gen);
		server_reply(&req, STATUS_AUTH, NULL);
		return;
	}
	if (c->caller)
		node_call(c, &req);
	else if (c->server != NULL)
		tep_request(c, &req);
	else
		node_request(c, &req);
}

/* No word comes by its connection any more. */
static int
is_up_by(uint32_t tep, struct conn_ref conn)
{
	return (conn.gen != 0 && up_by[tep].gen == conn.gen &&
	    up_by[tep].id == conn.id);
}

static void
tep_lost(uint32_t tep)
{
	if (up_by[tep].gen == 0)
		return;
	up_by[tep].gen = 0;
	log_warnx("TEP %s is down", priv.conf->teps[tep].name);
	lease_tep_down(engine, now_ms(), now_wall(), tep);
}

void
server_conn_gone(const struct pconn *c)
{
	if (engine == NULL || priv.quitting)
		return;
	lease_conn_gone(engine, c->ref);
	offer_conn_gone(c->ref);
	if (c->kind == CONN_TO_TEP && is_up_by(c->index, c->ref))
		tep_lost(c->index);
	server_pump();
}

/*
 * TEPs on other hosts, as session tells of them
 */
static int
tep_is_remote(uint32_t tep)
{
	if (engine != NULL && tep < priv.conf->nteps &&
	    !priv.conf->teps[tep].local)
		return (1);
	log_doubt(PROC_SESSION, "session: speaks of TEP %u, which is not "
	    "remote", tep);
	return (0);
}

void
server_tep_up(struct msglink *l, struct msg *m)
{
	struct msg_tep_state ms;
	struct pconn *c;

	(void)l;
	memcpy(&ms, m->data, sizeof(ms));
	c = conn_find(ms.conn);
	if (!tep_is_remote(ms.tep) || c == NULL || c->kind != CONN_TO_TEP ||
	    c->index != ms.tep || !c->authenticated) {
		log_doubt(PROC_SESSION, "session: TEP %u is up by a connection "
		    "that did not prove it", ms.tep);
		return;
	}
	if (is_up_by(ms.tep, ms.conn))
		return;
	tep_lost(ms.tep);	/* its earlier connection, if it had one */
	up_by[ms.tep] = ms.conn;
	log_info("TEP %s is up", priv.conf->teps[ms.tep].name);
	lease_tep_up(engine, now_ms(), ms.tep);
	server_pump();
}

void
server_tep_down(struct msglink *l, struct msg *m)
{
	struct msg_tep_state ms;
	struct pconn *c;

	(void)l;
	memcpy(&ms, m->data, sizeof(ms));
	if (!tep_is_remote(ms.tep) || !is_up_by(ms.tep, ms.conn))
		return;
	tep_lost(ms.tep);
	/* It is up again by another login. */
	if ((c = conn_find(ms.conn)) != NULL)
		c->authenticated = 0;
	server_pump();
}

void
server_teps_lost(void)
{
	uint32_t i;

	if (engine == NULL)
		return;
	for (i = 0; i < priv.conf->nteps; i++)
		tep_lost(i);
	server_pump();
}

void
server_tep_reply(struct msglink *l, struct msg *m)
{
	struct msg_tep_reply mr;

	(void)l;
	memcpy(&mr, m->data, sizeof(mr));
	if (!tep_is_remote(mr.tep))
		return;
	if (mr.job == 0) {
		if (mr.status != STATUS_OK)
			log_doubt(PROC_SESSION, "TEP %s does not compare "
			    "notes: %u; what it has of an earlier life lives "
			    "to its end",
			    priv.conf->teps[mr.tep].name, mr.status);
		return;
	}
	if (mr.status == STATUS_OK && (!in_usable(mr.tep4) ||
	    !in6_usable(&mr.tep6) || lease_in_pools(engine, mr.tep4))) {
		log_doubt(PROC_SESSION, "TEP %s gives addresses that can not "
		    "be its own: %s %s", priv.conf->teps[mr.tep].name,
		    log_in(mr.tep4),
		    log_in6(&mr.tep6));
		mr.status = STATUS_TEP;
	} else if (mr.status != STATUS_OK)
		log_doubt(PROC_SESSION, "TEP %s refuses: %u",
		    priv.conf->teps[mr.tep].name, mr.status);
	lease_tep_done(engine, now_ms(), now_wall(), mr.tep, mr.job, mr.status,
	    mr.tep4, &mr.tep6);
	server_pump();
}

/*
 * Store
 */
/* One that is starting has been given nothing yet that it could speak of. */
static int
store_may_say(void)
{
	if (child_is_up(PROC_STORE))
		return (1);
	log_doubt(PROC_STORE, "store: speaks of records before it is ready");
	return (0);
}

void
server_store_done(struct msglink *l, struct msg *m)
{
	struct msg_store_done md;

	(void)l;
	memcpy(&md, m->data, sizeof(md));
	if (engine == NULL || !store_may_say())
		return;
	lease_store_done(engine, now_ms(), now_wall(), md.seq);
	server_pump();
}

void
server_store_fail(struct msglink *l, struct msg *m)
{
	struct msg_store_done md;

	(void)l;
	memcpy(&md, m->data, sizeof(md));
	if (engine == NULL || !store_may_say())
		return;
	log_doubt(PROC_STORE, "store: %llu records could not be written: %s",
	    (unsigned long long)(md.seq_last - md.seq + 1),
	    md.error != 0 ? strerror((int)md.error) : "see its log");
	lease_store_fail(engine, now_ms(), now_wall(), md.seq, md.seq_last);
	server_pump();
}

void
server_store_up(void)
{
	if (engine == NULL)
		return;
	lease_store_reset(engine);
	server_pump();
}
