/*
 * As server: a kept, mutually authenticated connection to each TEP on
 * another host. Requests are pipelined; answers come in their order.
 */
#include <sys/types.h>

#include <stdlib.h>
#include <string.h>

#include "session/session-int.h"

#define BACKOFF_MIN	200		/* ms */
#define BACKOFF_MAX	10000

struct job {
	TAILQ_ENTRY(job)	 entry;
	uint64_t		 job;
	uint32_t		 op;
};
TAILQ_HEAD(jobs, job);

struct teplink {
	int			 used;
	struct msg_tep_conf	 conf;
	struct conn_ref		 conn;
	int			 up;
	int64_t			 backoff;
	struct event		*timer;
	struct jobs		 sent;		/* no frame came yet */
	struct jobs		 parsing;	/* the parser has its answer */
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
	drop_jobs(&t->sent);
	drop_jobs(&t->parsing);
	timer_set(t->timer, jitter(t->backoff));
	if ((t->backoff *= 2) > BACKOFF_MAX)
		t->backoff = BACKOFF_MAX;
}

static void
job_done(struct teplink *t, struct jobs *q, uint32_t status,
    const struct tsp_tunnel *tunnel)
{
	struct job *j = TAILQ_FIRST(q);
	struct msg_tep_reply m;

	memset(&m, 0, sizeof(m));
	m.tep = t->conf.tep;
	m.job = j->job;
	m.status = status;
	if (tunnel != NULL) {
		m.tep4 = tunnel->server.v4;
		m.tep6 = tunnel->server.v6;
	}
	TAILQ_REMOVE(q, j, entry);
	free(j);
	msg_put(session.priv, MSG_TEP_REPLY, &m, sizeof(m));
}

static void
wait_more(struct conn *c, const struct teplink *t)
{
	conn_timer(c, TAILQ_EMPTY(&t->sent) && TAILQ_EMPTY(&t->parsing) ? -1 :
	    (int64_t)session.conf.request_timeout * 1000);
}

static void
tep_frame(struct conn *c, const uint8_t *body, size_t len)
{
	struct teplink *t = &teps[c->index];
	struct job *j = TAILQ_FIRST(&t->sent);
	const uint8_t *xml;
	size_t n;
	int code;

	if (j == NULL || tsp_reply(body, len, &code, &xml, &n) == -1) {
		dial_fail(c, "an answer to no question");
		return;
	}
	TAILQ_REMOVE(&t->sent, j, entry);
	TAILQ_INSERT_TAIL(&t->parsing, j, entry);
	if (code == STATUS_OK && n > 0)
		parse_send(c, xml, n);
	else if (TAILQ_FIRST(&t->parsing) == j)
		job_done(t, &t->parsing, code == STATUS_OK ? STATUS_FORMAT :
		    (uint32_t)code, NULL);
	else {
		/* One before it is with the parser: an error can wait. */
		parse_send(c, (const uint8_t *)"<tunnel action=\"list\" "
		    "type=\"v4v6\"/>", 37);
		j->op = 0;
	}
	wait_more(c, t);
}

static void
tep_parsed(struct conn *c, const struct msg_parsed *mp)
{
	struct teplink *t = &teps[c->index];
	const struct tsp_tunnel *tunnel = &mp->tunnel;
	struct job *j = TAILQ_FIRST(&t->parsing);
	uint32_t need = EP_V4 | EP_V6;

	if (j == NULL) {
		dial_fail(c, "an answer to no question");
		return;
	}
	if (j->op == 0)
		job_done(t, &t->parsing, STATUS_TEP, NULL);
	else if (tunnel->action != ACTION_INFO || tunnel->type != TYPE_V4V6 ||
	    (tunnel->server.flags & need) != need)
		job_done(t, &t->parsing, STATUS_FORMAT, NULL);
	else
		job_done(t, &t->parsing, STATUS_OK, tunnel);
	wait_more(c, t);
}

static const struct client_ops	 tep_ops = {
	tep_up, tep_down, tep_frame, tep_parsed
};

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
	if (mc.tep >= TEP_MAX || session.ready)
		fatalx("configuration of TEP %u", mc.tep);
	t = &teps[mc.tep];
	t->used = 1;
	t->conf = mc;
	t->conf.name[NAME_MAX_LEN] = '\0';
	t->backoff = BACKOFF_MIN;
	TAILQ_INIT(&t->sent);
	TAILQ_INIT(&t->parsing);
	if ((t->timer = evtimer_new(session.base, tep_timer, t)) == NULL)
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

void
tep_request(struct msglink *l, struct msg *m)
{
	struct msg_tep_request mr;
	struct tsp_tunnel tunnel;
	struct teplink *t;
	struct conn *c;
	struct job *j;
	char buf[1024];
	int n;

	(void)l;
	memcpy(&mr, m->data, sizeof(mr));
	if (mr.tep >= TEP_MAX || !teps[mr.tep].used)
		fatalx("request for TEP %u", mr.tep);
	t = &teps[mr.tep];
	if (!t->up || (c = conn_find(t->conn)) == NULL)
		return;		/* the parent has MSG_TEP_DOWN */
	memset(&tunnel, 0, sizeof(tunnel));
	tunnel.action = mr.op == OP_CREATE ? ACTION_CREATE : ACTION_DELETE;
	tunnel.has_lifetime = mr.op == OP_CREATE;
	tunnel.lifetime = mr.lifetime;
	tunnel.client.flags = EP_PRESENT | EP_V4 | EP_V6;
	tunnel.client.v4 = mr.v4;
	tunnel.client.v4_length = 32;
	tunnel.client.v6 = mr.v6;
	if ((n = emit_tunnel(buf, sizeof(buf), 0, c->dialect, &tunnel)) == -1)
		fatalx("request for TEP %s does not fit", t->conf.name);
	if ((j = calloc(1, sizeof(*j))) == NULL)
		fatal(NULL);
	j->job = mr.job;
	j->op = mr.op;
	TAILQ_INSERT_TAIL(&t->sent, j, entry);
	conn_write(c, buf, (size_t)n);
	if (c->state == ST_LINGER)
		dial_fail(c, "the TEP does not read");
	else
		wait_more(c, t);
}
