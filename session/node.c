/*
 * The node: gets a lease and keeps it. Servers are tried in order. The
 * connection is kept, so that a delete reaches us; where it is lost it is
 * made again, and the lease renewed on it.
 */
#include <sys/types.h>

#include <string.h>

#include "session/session-int.h"

#define BACKOFF_MIN	500		/* ms */
#define BACKOFF_MAX	30000
#define RECONNECT	1500		/* a kept connection was lost */
#define STOP_MS		3000

static struct {
	struct msg_node_conf	 conf;
	int			 used;
	int			 wanted;
	int			 stopping;
	uint32_t		 server;	/* whose turn it is */
	struct conn_ref		 conn;
	int			 up;
	int			 asked;		/* a request is under way */
	int			 has_v4;
	struct in_addr		 v4;
	int			 held;
	int64_t			 until;
	int64_t			 backoff;
	struct event		*timer;
} node;

static void	 node_try(void);
static void	 node_send(struct conn *, uint32_t);

static void
node_later(void)
{
	timer_set(node.timer, jitter(node.backoff));
	if ((node.backoff *= 2) > BACKOFF_MAX)
		node.backoff = BACKOFF_MAX;
}

static void
node_stopped(void)
{
	if (!node.stopping)
		return;
	node.stopping = node.wanted = node.held = node.has_v4 = 0;
	evtimer_del(node.timer);
	msg_put(session.priv, MSG_NODE_STOPPED, NULL, 0);
}

static void
node_up(struct conn *c)
{
	node.up = 1;
	node_send(c, node.stopping ? ACTION_DELETE : ACTION_CREATE);
}

static void
node_down(struct conn *c, const char *why)
{
	(void)c;
	log_info("server %u: %s", node.server + 1, why);
	node.up = node.asked = 0;
	node.conn.gen = 0;
	if (node.stopping) {
		node_stopped();
		return;
	}
	if (!node.wanted)
		return;
	if (node.held && now_ms() < node.until &&
	    node.backoff == BACKOFF_MIN) {
		node.backoff *= 2;
		timer_set(node.timer, jitter(RECONNECT));
		return;
	}
	node.server = (node.server + 1) % node.conf.nservers;
	node_later();
}

/* Our create or delete; the server knows us by this connection's address. */
static void
node_send(struct conn *c, uint32_t action)
{
	struct tsp_tunnel t;
	char buf[1024];
	int n;

	memset(&t, 0, sizeof(t));
	t.action = action;
	t.client.flags = EP_PRESENT | EP_V6;
	t.client.v6 = c->local;
	/* draft 3.2: link-local and global */
	if (IN6_IS_ADDR_LINKLOCAL(&c->linklocal) && action == ACTION_CREATE) {
		t.client.flags |= EP_V6LL;
		t.client.v6ll = c->linklocal;
	}
	if (node.has_v4) {
		t.client.flags |= EP_V4;
		t.client.v4 = node.v4;
		t.client.v4_length = 32;
	}
	if (action == ACTION_CREATE && node.conf.lifetime != 0) {
		t.has_lifetime = 1;
		t.lifetime = node.conf.lifetime;
	}
	if ((n = emit_tunnel(buf, sizeof(buf), 0, c->dialect, &t)) == -1)
		fatalx("request does not fit");
	node.asked = 1;
	conn_write(c, buf, (size_t)n);
	conn_timer(c, (int64_t)session.conf.request_timeout * 2000);
}

static void
node_refused(struct conn *c, int code)
{
	node.asked = 0;
	conn_timer(c, -1);
	log_info("server %u refuses: %d %s", node.server + 1, code,
	    tsp_status_text((enum tsp_status)code, DIALECT_DRAFT));
	if (node.stopping) {
		node_stopped();
		return;
	}
	if ((code == STATUS_UNAVAILABLE || code == STATUS_IPV4) &&
	    node.has_v4) {
		/* not this one: any other */
		node.has_v4 = node.held = 0;
		node_send(c, ACTION_CREATE);
		return;
	}
	if (node.conf.nservers > 1 && !node.held)
		dial_fail(c, "the next server is asked");
	else
		node_later();
}

static void
node_frame(struct conn *c, const uint8_t *body, size_t len)
{
	const uint8_t *xml = body;
	size_t n = len;
	int code = STATUS_OK;

	if (tsp_reply(body, len, &code, &xml, &n) == 0 &&
	    (code != STATUS_OK || n == 0)) {
		if (!node.asked) {
			dial_fail(c, tsp_status_text((enum tsp_status)code,
			    DIALECT_DRAFT));
			return;
		}
		if (code == STATUS_OK && node.stopping)
			node_stopped();
		else
			node_refused(c, code);
		return;
	}
	parse_send(c, xml, n);
}

static void
node_granted(struct conn *c, const struct tsp_tunnel *t)
{
	struct msg_node_lease m;
	uint32_t need = EP_V4 | EP_V6;

	node.asked = 0;
	conn_timer(c, -1);
	if ((t->client.flags & need) != need ||
	    (t->server.flags & need) != need || t->lifetime == 0) {
		dial_fail(c, "a lease without all of its addresses");
		return;
	}
	memset(&m, 0, sizeof(m));
	m.conn = c->ref;
	m.lifetime = t->lifetime;
	m.v4 = t->client.v4;
	m.v6 = t->client.v6;
	m.tep4 = t->server.v4;
	m.tep6 = t->server.v6;
	msg_put(session.priv, MSG_NODE_LEASE, &m, sizeof(m));
	node.held = node.has_v4 = 1;
	node.v4 = m.v4;
	node.until = now_ms() + (int64_t)m.lifetime * 1000;
	node.backoff = BACKOFF_MIN;
	/* half of the lifetime is left for retries */
	timer_set(node.timer, jitter((int64_t)m.lifetime * 1000 / 2));
}

/* The draft's 4.3: the server takes it back. Obeyed, and acknowledged. */
static void
node_deleted(struct conn *c, const struct tsp_tunnel *t)
{
	struct msg_node_delete m;
	struct tsp_tunnel ack;
	char buf[1024];
	int n;

	if ((t->client.flags & EP_V4) == 0 || !node.held ||
	    t->client.v4.s_addr != node.v4.s_addr) {
		log_warnx("server %u deletes what is not ours",
		    node.server + 1);
		return;
	}
	memset(&m, 0, sizeof(m));
	m.conn = c->ref;
	m.v4 = node.v4;
	msg_put(session.priv, MSG_NODE_DELETE, &m, sizeof(m));
	memset(&ack, 0, sizeof(ack));
	ack.action = ACTION_INFO;
	ack.client.flags = EP_PRESENT | EP_V4 | EP_V6;
	ack.client.v4 = node.v4;
	ack.client.v4_length = 32;
	ack.client.v6 = c->local;
	if ((n = emit_tunnel(buf, sizeof(buf), 0, c->dialect, &ack)) > 0)
		conn_write(c, buf, (size_t)n);
	node.held = node.has_v4 = 0;
	if (node.wanted && !node.stopping)
		node_later();
}

static void
node_parsed(struct conn *c, const struct msg_parsed *mp)
{
	const struct tsp_tunnel *t = &mp->tunnel;

	if (t->type != TYPE_V4V6)
		dial_fail(c, "a tunnel that is not v4v6");
	else if (t->action == ACTION_DELETE)
		node_deleted(c, t);
	else if (t->action != ACTION_INFO || !node.asked)
		dial_fail(c, "an answer to no question");
	else if (node.stopping)
		node_stopped();
	else
		node_granted(c, t);
}

static const struct client_ops	 node_ops = {
	node_up, node_down, node_frame, node_parsed
};

static void
node_try(void)
{
	struct conn *c;

	if ((c = conn_find(node.conn)) != NULL) {
		if (node.up && !node.asked)
			node_send(c, node.stopping ? ACTION_DELETE :
			    ACTION_CREATE);
		return;
	}
	c = dial(CONN_TO_SERVER, node.server, node.conf.cred + node.server,
	    node.conf.mech, &node_ops);
	if (c == NULL) {
		node_later();
		return;
	}
	node.conn = c->ref;
}

static void
node_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	if (node.stopping) {
		node_stopped();
		return;
	}
	if (node.held && now_ms() >= node.until)
		node.held = 0;
	/* Until the answer comes: again, later and later. */
	if (node.held)
		node_later();
	node_try();
}

void
node_conf(struct msglink *l, struct msg *m)
{
	(void)l;
	memcpy(&node.conf, m->data, sizeof(node.conf));
	if (node.conf.nservers == 0 || node.conf.nservers > SERVER_MAX)
		fatalx("%u servers", node.conf.nservers);
	node.used = 1;
	node.backoff = BACKOFF_MIN;
	node.timer = evtimer_new(session.base, node_timer, NULL);
	if (node.timer == NULL)
		fatalx("evtimer_new");
}

void
node_start(struct msglink *l, struct msg *m)
{
	struct msg_node_start ms;

	(void)l;
	memcpy(&ms, m->data, sizeof(ms));
	if (!node.used)
		fatalx("no node, but started");
	node.wanted = 1;
	node.stopping = 0;
	if (!node.held) {
		node.has_v4 = ms.has_v4 != 0;
		node.v4 = ms.v4;
	}
	node_try();
}

void
node_stop(struct msglink *l, struct msg *m)
{
	(void)l;
	(void)m;
	if (!node.used)
		fatalx("no node, but stopped");
	node.stopping = 1;
	timer_set(node.timer, STOP_MS);
	if (!node.held)
		node_stopped();
	else if (!node.asked)
		node_try();
}
