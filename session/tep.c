/*
 * As server: a kept, mutually authenticated connection to each TEP on
 * another host. Requests are pipelined, so many at a time; the TEP answers
 * in their order. The parent has one job for a lease at most, which bounds
 * what waits here.
 */
#include <sys/types.h>

#include <stdlib.h>
#include <string.h>

#include "session/session-int.h"

#define BACKOFF_MIN	200		/* ms */
#define BACKOFF_MAX	10000

struct job {
	TAILQ_ENTRY(job)	 entry;
	struct msg_tep_request	 request;
	uint32_t		 seq;
	int64_t			 since;		/* ms: sent */
};
TAILQ_HEAD(jobs, job);

struct teplink {
	int			 used;
	struct msg_tep_conf	 conf;
	struct conn_ref		 conn;
	int			 up;
	int64_t			 backoff;
	struct event		*timer;
	struct jobs		 waiting;	/* not sent */
	struct jobs		 sent;		/* no frame came yet */
	struct jobs		 parsing;	/* the parser has its answer */
	uint32_t		 nsent;		/* in both of these */
	uint32_t		 seq;
};

static struct teplink	 teps[TEP_MAX];

static void	 tep_dial(struct teplink *);

static void
drop_jobs(struct jobs *q)
{
	struct job *j;

	while ((j = TAILQ_FIRST(q)) != NULL) {
		TAILQ_REMOVE(q, j, entry);
		free(j);
	}
}

static void
tell_state(struct teplink *t, uint32_t type)
{
	struct msg_tep_state m;

	memset(&m, 0, sizeof(m));
	m.tep = t->conf.tep;
	m.conn = t->conn;
	msg_put(session.priv, type, &m, sizeof(m));
}

static void
tep_up(struct conn *c)
{
	struct teplink *t = &teps[c->index];

	t->up = 1;
	t->backoff = BACKOFF_MIN;
	log_info("TEP %s: authenticated, at %s", t->conf.name,
	    log_in6(&c->peer));
	tell_state(t, MSG_TEP_UP);
}

static void
tep_down(struct conn *c, const char *why)
{
	struct teplink *t = &teps[c->index];

	log_warnx("TEP %s: %s", t->conf.name, why);
	if (t->up)
		tell_state(t, MSG_TEP_DOWN);
	t->up = 0;
	t->conn.gen = 0;
	drop_jobs(&t->waiting);
	drop_jobs(&t->sent);
	drop_jobs(&t->parsing);
	t->nsent = 0;
	timer_set(t->timer, jitter(t->backoff));
	if ((t->backoff *= 2) > BACKOFF_MAX)
		t->backoff = BACKOFF_MAX;
}

/*
 * Requests
 */

/* The oldest request has so long to be answered. */
static void
wait_more(struct conn *c, const struct teplink *t)
{
	const struct job *j = TAILQ_FIRST(&t->parsing);

	if (j == NULL)
		j = TAILQ_FIRST(&t->sent);
	/* Less than a node's request has: it is to be told of the TEP. */
	conn_deadline(c, j == NULL ? -1 : j->since +
	    (int64_t)session.conf.request_timeout * 750);
}

static void
send_job(struct conn *c, struct job *j)
{
	const struct msg_tep_request *mr = &j->request;
	struct tsp_tunnel tunnel;
	char buf[1024];
	int n;

	memset(&tunnel, 0, sizeof(tunnel));
	tunnel.action = mr->op == OP_CREATE ? ACTION_CREATE :
	    mr->op == OP_DELETE ? ACTION_DELETE : ACTION_LIST;
	tunnel.has_lifetime = mr->op == OP_CREATE;
	tunnel.lifetime = mr->lifetime;
	if (mr->op != OP_SYNC)
		tunnel.client.flags = EP_PRESENT | EP_V4 | EP_V6;
	tunnel.client.v4 = mr->v4;
	tunnel.client.v4_length = 32;
	tunnel.client.v6 = mr->v6;
	if ((n = emit_tunnel(buf, sizeof(buf), 0, c->dialect, &tunnel)) == -1)
		fatalx("a request for a TEP does not fit");
	j->since = now_ms();
	conn_write(c, buf, (size_t)n);
}

static void
push(struct conn *c, struct teplink *t)
{
	struct job *j;

	while (c->state == ST_CLIENT && t->nsent < OUTSTANDING_PEER &&
	    (j = TAILQ_FIRST(&t->waiting)) != NULL) {
		TAILQ_REMOVE(&t->waiting, j, entry);
		TAILQ_INSERT_TAIL(&t->sent, j, entry);
		t->nsent++;
		send_job(c, j);
	}
	if (c->state == ST_CLIENT)
		wait_more(c, t);
}

void
tep_request(struct msglink *l, struct msg *m)
{
	struct msg_tep_request mr;
	struct teplink *t;
	struct conn *c;
	struct job *j;

	(void)l;
	memcpy(&mr, m->data, sizeof(mr));
	if (mr.tep >= TEP_MAX || !teps[mr.tep].used)
		fatalx("request for TEP %u", mr.tep);
	t = &teps[mr.tep];
	if (!t->up || (c = conn_find(t->conn)) == NULL)
		return;		/* the parent has MSG_TEP_DOWN */
	if ((j = calloc(1, sizeof(*j))) == NULL)
		fatal(NULL);
	j->request = mr;
	j->seq = ++t->seq;
	TAILQ_INSERT_TAIL(&t->waiting, j, entry);
	push(c, t);
}

/*
 * Answers
 */
static void
job_done(struct teplink *t, struct jobs *q, struct job *j, uint32_t status,
    const struct tsp_endpoint *tep)
{
	struct msg_tep_reply m;

	memset(&m, 0, sizeof(m));
	m.tep = t->conf.tep;
	m.job = j->request.job;
	m.status = status;
	if (tep != NULL) {
		m.tep4 = tep->v4;
		m.tep6 = tep->v6;
	}
	TAILQ_REMOVE(q, j, entry);
	t->nsent--;
	free(j);
	msg_put(session.priv, MSG_TEP_REPLY, &m, sizeof(m));
}

/*
 * Its parser died of the request, or for a moment it has too much to do: that
 * is nothing about the lease, and no reason to end it.
 */
static int
is_passing(const struct job *j, int code)
{
	return (j->request.op != OP_SYNC &&
	    (code == STATUS_FORMAT || code == STATUS_BUSY));
}

static void
tep_frame(struct conn *c, const uint8_t *body, size_t len)
{
	struct teplink *t = &teps[c->index];
	struct job *j = TAILQ_FIRST(&t->sent);
	const uint8_t *xml;
	size_t n;
	int code;

	if (tsp_reply(body, len, &code, &xml, &n) == -1) {
		dial_fail(c, "a message that is no answer");
		return;
	}
	if (j == NULL || is_passing(j, code)) {
		dial_fail(c, code == STATUS_OK ? "an answer to no question" :
		    tsp_status_text((enum tsp_status)code, DIALECT_DRAFT));
		return;
	}
	if (code != STATUS_OK)
		job_done(t, &t->sent, j, (uint32_t)code, NULL);
	else if (n == 0 || j->request.op == OP_SYNC)
		job_done(t, &t->sent, j, j->request.op == OP_SYNC ?
		    STATUS_OK : STATUS_FORMAT, NULL);
	else {
		TAILQ_REMOVE(&t->sent, j, entry);
		TAILQ_INSERT_TAIL(&t->parsing, j, entry);
		dial_parse(c, j->seq, xml, n);
		return;
	}
	push(c, t);
}

/* Is the answer about what was asked? One that is not is out of step. */
static int
is_answer(const struct job *j, const struct tsp_tunnel *tunnel)
{
	const struct tsp_endpoint *client = &tunnel->client;

	return (tunnel->action == ACTION_INFO && tunnel->type == TYPE_V4V6 &&
	    ((client->flags & EP_V4) == 0 ||
	    client->v4.s_addr == j->request.v4.s_addr) &&
	    ((client->flags & EP_V6) == 0 ||
	    IN6_ARE_ADDR_EQUAL(&client->v6, &j->request.v6)));
}

static void
tep_parsed(struct conn *c, const struct msg_parsed *mp)
{
	struct teplink *t = &teps[c->index];
	const struct tsp_tunnel *tunnel = &mp->tunnel;
	struct job *j = TAILQ_FIRST(&t->parsing);
	uint32_t need = EP_V4 | EP_V6;

	if (j == NULL || j->seq != mp->seq || !is_answer(j, tunnel)) {
		dial_fail(c, "an answer to another question");
		return;
	}
	if ((tunnel->server.flags & need) == need)
		job_done(t, &t->parsing, j, STATUS_OK, &tunnel->server);
	else
		job_done(t, &t->parsing, j, STATUS_FORMAT, NULL);
	push(c, t);
}

static const struct client_ops	 tep_ops = {
	tep_up, tep_down, tep_frame, tep_parsed, OUTSTANDING_PEER
};

/*
 * The connection
 */
static void
tep_dial(struct teplink *t)
{
	struct conn *c;

	c = dial(CONN_TO_TEP, t->conf.tep, t->conf.cred, t->conf.mech,
	    &tep_ops);
	if (c == NULL) {
		timer_set(t->timer, BACKOFF_MAX);
		return;
	}
	t->conn = c->ref;
}

static void
tep_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	tep_dial(arg);
}

void
tep_conf(struct msglink *l, struct msg *m)
{
	struct msg_tep_conf mc;
	struct teplink *t;

	(void)l;
	memcpy(&mc, m->data, sizeof(mc));
	if (mc.tep >= TEP_MAX || teps[mc.tep].used)
		fatalx("TEP %u", mc.tep);
	t = &teps[mc.tep];
	t->used = 1;
	t->conf = mc;
	t->conf.name[NAME_MAX_LEN] = '\0';
	t->backoff = BACKOFF_MIN;
	TAILQ_INIT(&t->waiting);
	TAILQ_INIT(&t->sent);
	TAILQ_INIT(&t->parsing);
	t->timer = evtimer_new(session.base, tep_timer, t);
	if (t->timer == NULL)
		fatalx("evtimer_new");
}

void
tep_start(void)
{
	size_t i;

	for (i = 0; i < TEP_MAX; i++)
		if (teps[i].used)
			tep_dial(&teps[i]);
}
