/*
 * The node: gets a lease and keeps it. Servers are tried in order; who
 * granted the lease is the one to be asked about it until it is over, since
 * another would know nothing of it. The connection is kept, so that a
 * delete reaches us; where it is lost it is made again, and the lease
 * renewed on it. One request at a time.
 *
 * A server that has nothing for us may name others (1306, 1530): the first
 * of them that is configured here is asked next. One that is not is nobody.
 */
#include <sys/types.h>

#include <stdio.h>
#include <string.h>

#include "session/session-int.h"

#define BACKOFF_MIN	500		/* ms */
#define BACKOFF_MAX	30000
#define REDIRECTS	8		/* in a row */

static struct {
	struct msg_node_conf	 conf;
	int			 used;
	int			 wanted;	/* the parent wants a lease */
	int			 stopping;	/* it is being given back */
	uint32_t		 server;	/* whose turn it is */
	struct conn_ref		 conn;
	int			 up;
	enum tsp_action		 asked;		/* and not answered yet */
	uint32_t		 refusal;	/* its list is being parsed */
	uint32_t		 redirects;	/* followed since the last lease */
	int			 redirected;	/* to the server */
	uint32_t		 target;	/* of this number */
	uint32_t		 seq;
	int			 has_v4;	/* held, or held before */
	struct in_addr		 v4;
	int			 held;
	struct in6_addr		 v6;		/* of the lease held */
	int64_t			 until;		/* ms */
	int64_t			 backoff;
	int			 leaving;	/* we have said why already */
	int64_t			 next;		/* of the timer, ms; 0: none */
	struct event		*timer;
} node;

static const struct client_ops	 node_ops;

static void
node_wake(int64_t ms)
{
	node.next = now_ms() + ms;
	timer_set(node.timer, ms);
}

/* For dstmctl show node; NULL: it goes well. */
static void
node_note(const char *why)
{
	struct msg_node_note m;
	int64_t left = node.next - now_ms();

	memset(&m, 0, sizeof(m));
	m.server = node.server;
	m.next_ms = left > 0 ? left : -1;
	if (why != NULL)
		strlcpy(m.text, why, sizeof(m.text));
	msg_put(session.priv, MSG_NODE_NOTE, &m, sizeof(m));
}

static void
node_later(void)
{
	node_wake(jitter(node.backoff));
	if ((node.backoff *= 2) > BACKOFF_MAX)
		node.backoff = BACKOFF_MAX;
}

static const char *
server_name(void)
{
	static char name[16];

	snprintf(name, sizeof(name), "server %u", node.server + 1);
	return (name);
}

static void
node_stopped(void)
{
	node.stopping = node.wanted = node.held = node.has_v4 = 0;
	evtimer_del(node.timer);
	msg_put(session.priv, MSG_NODE_STOPPED, NULL, 0);
}

/* The address is not ours any more: the host must not use it. */
static void
node_lost(const struct conn *c)
{
	struct msg_node_delete m;

	if (node.held) {
		memset(&m, 0, sizeof(m));
		m.conn = c->ref;
		m.v4 = node.v4;
		msg_put(session.priv, MSG_NODE_DELETE, &m, sizeof(m));
	}
	node.held = node.has_v4 = 0;
	node.backoff = BACKOFF_MIN;
}

/*
 * Requests: the server knows us by this connection's address.
 */
static void
node_send(struct conn *c, enum tsp_action action)
{
	struct tsp_tunnel t;
	char buf[1024];
	int n;

	memset(&t, 0, sizeof(t));
	t.action = action;
	t.client.flags = EP_PRESENT | EP_V6;
	/* Of a lease to be given back, who has moved is elsewhere now. */
	t.client.v6 = action == ACTION_DELETE ? node.v6 : c->local;
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
	if (action != ACTION_INFO) {
		node.asked = action;
		conn_timer(c, (int64_t)session.conf.request_timeout * 2000);
	}
	conn_write(c, buf, (size_t)n);
}

/* An offer: no answer comes. */
static void
node_refuse(struct conn *c, struct in_addr v4)
{
	struct tsp_tunnel t;
	char buf[1024];
	int n;

	memset(&t, 0, sizeof(t));
	t.action = ACTION_REJECT;
	t.client.flags = EP_PRESENT | EP_V4 | EP_V6;
	t.client.v4 = v4;
	t.client.v4_length = 32;
	t.client.v6 = c->local;
	if ((n = emit_tunnel(buf, sizeof(buf), 0, c->dialect, &t)) == -1)
		fatalx("a reject does not fit");
	conn_write(c, buf, (size_t)n);
}

static void
node_dial(void)
{
	struct conn *c;

	c = dial(CONN_TO_SERVER, node.server, node.conf.cred + node.server,
	    node.conf.mech, &node_ops);
	if (c == NULL)
		node_later();
	else
		node.conn = c->ref;
}

/*
 * A lease is one of its outer address. The one that this host had before is
 * of no use here, and given back: the server takes that from a user to whom
 * it allows both addresses (prefix); for another it will run out.
 */
static void
node_moved(struct conn *c)
{
	log_info("this host has moved from %s to %s: it asks for another "
	    "lease", log_in6(&node.v6), log_in6(&c->local));
	node_send(c, ACTION_DELETE);
	node_lost(c);
}

/* What is to be done now, if anything, on the connection or without it. */
static void
node_next(void)
{
	struct conn *c = conn_find(node.conn);

	if (node.asked != ACTION_NONE)
		return;		/* its answer leads here again */
	if (node.stopping && !node.held)
		node_stopped();
	else if (!node.wanted)
		return;
	else if (c == NULL)
		node_dial();
	else if (!node.up || c->state != ST_CLIENT)
		return;
	else if (node.held && !IN6_ARE_ADDR_EQUAL(&c->local, &node.v6))
		node_moved(c);
	else
		node_send(c, node.stopping ? ACTION_DELETE : ACTION_CREATE);
}

static void
node_up(struct conn *c)
{
	log_debug("%s: authenticated, at %s", server_name(),
	    log_in6(&c->peer));
	node.up = 1;
	node_next();
}

/* Who is asked next, and when. */
static void
node_elsewhere(void)
{
	if (node.redirected) {
		node.redirected = 0;
		node.server = node.target;
		node_wake(jitter(BACKOFF_MIN));
	} else if (!node.held && ++node.server < node.conf.nservers)
		node_wake(jitter(BACKOFF_MIN));
	else {
		/* They all had their turn, or the one that counts. */
		if (!node.held)
			node.server = 0;
		node_later();
	}
}

static void
node_down(struct conn *c, const char *why)
{
	char text[NODE_TEXT];
	int said = node.leaving;

	(void)c;
	log_info("%s: %s", server_name(), why);
	snprintf(text, sizeof(text), "%s: %s", server_name(), why);
	node.up = node.leaving = 0;
	node.asked = ACTION_NONE;
	node.refusal = 0;
	node.conn.gen = 0;
	if (node.stopping)
		node_stopped();
	if (!node.wanted)
		return;
	node_elsewhere();
	node_note(said ? NULL : text);
}

/*
 * Answers
 */
/* What is wrong has been said. */
static void
node_leave(struct conn *c, const char *why)
{
	node.leaving = 1;
	dial_fail(c, why);
}

static void
node_refused(struct conn *c, int code)
{
	enum tsp_action asked = node.asked;
	char text[NODE_TEXT];

	node.asked = ACTION_NONE;
	conn_timer(c, -1);
	snprintf(text, sizeof(text), "%s refuses: %d %s", server_name(), code,
	    tsp_status_text((enum tsp_status)code, DIALECT_DRAFT));
	log_info("%s", text);
	node_note(text);
	if (asked == ACTION_DELETE) {
		/* It is over either way. */
		node.held = 0;
		node_next();
	} else if ((code == STATUS_UNAVAILABLE || code == STATUS_IPV4) &&
	    node.has_v4) {
		/* Not this one, then any other. */
		node_lost(c);
		node_next();
	} else if (node.stopping)
		node_next();
	else if (node.conf.nservers > 1 && !node.held)
		node_leave(c, "the next server is asked");
	else {
		node_later();
		node_note(NULL);
	}
}

/*
 * Elsewhere is where we go without a lease; with one it is used to its end.
 */
static void
node_redirected(struct conn *c, const struct tsp_tunnel *t)
{
	int code = (int)(node.refusal - STATUS_REDIRECT);
	uint32_t i, j;

	node.refusal = 0;
	for (i = 0; i < t->nbrokers && !node.held && !node.stopping; i++)
		for (j = 0; j < node.conf.nservers; j++) {
			if ((t->brokers[i].flags & EP_V6) == 0 ||
			    j == node.server || !IN6_ARE_ADDR_EQUAL(
			    &t->brokers[i].v6, &node.conf.servers[j]))
				continue;
			if (++node.redirects > REDIRECTS)
				break;
			log_info("%s sends us to server %u, %s",
			    server_name(), j + 1,
			    log_in6(&node.conf.servers[j]));
			node.target = j;
			node.redirected = 1;
			node_leave(c, "redirected");
			return;
		}
	if (node.redirects > REDIRECTS)
		log_info("redirected %d times: not any more", REDIRECTS);
	else if (!node.held && !node.stopping)
		log_info("%s sends us to nobody who is configured here",
		    server_name());
	node.redirects = 0;
	node_refused(c, code);
}

static void
node_frame(struct conn *c, const uint8_t *body, size_t len)
{
	const uint8_t *xml = body;
	size_t n = len;
	int code = STATUS_OK;

	if (tsp_reply(body, len, &code, &xml, &n) == -1 ||
	    (code == STATUS_OK && n > 0))
		dial_parse(c, ++node.seq, xml, n);
	else if (code > STATUS_REDIRECT && n > 0 &&
	    node.asked == ACTION_CREATE) {
		node.refusal = (uint32_t)code;
		dial_parse(c, ++node.seq, xml, n);
	} else if (node.asked == ACTION_NONE)
		dial_fail(c, code == STATUS_OK ? "an answer to no question" :
		    tsp_status_text((enum tsp_status)code, DIALECT_DRAFT));
	else
		node_refused(c, code == STATUS_OK ? STATUS_FORMAT :
		    code > STATUS_REDIRECT ? code - STATUS_REDIRECT : code);
}

static void
node_granted(struct conn *c, const struct tsp_tunnel *t)
{
	uint32_t need = EP_V4 | EP_V6;
	struct msg_node_lease m;

	if ((t->client.flags & need) != need ||
	    (t->server.flags & need) != need || t->lifetime == 0) {
		dial_fail(c, "a lease without all of its addresses");
		return;
	}
	/* The parent looks again, and better. */
	if (!in_usable(t->client.v4) || !in_usable(t->server.v4) ||
	    !in6_usable(&t->server.v6) ||
	    t->client.v4.s_addr == t->server.v4.s_addr ||
	    !IN6_ARE_ADDR_EQUAL(&t->client.v6, &c->local) ||
	    IN6_ARE_ADDR_EQUAL(&t->server.v6, &c->local)) {
		log_warnx("%s grants a lease that can not be: %s for %s by "
		    "TEP %s, %s", server_name(), log_in(t->client.v4),
		    log_in6(&t->client.v6), log_in(t->server.v4),
		    log_in6(&t->server.v6));
		dial_fail(c, "a lease that can not be");
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
	node.v6 = m.v6;
	node.until = now_ms() + (int64_t)m.lifetime * 1000;
	node.backoff = BACKOFF_MIN;
	node.redirects = 0;
	/* half of the lifetime is left for retries */
	node_wake(jitter((int64_t)m.lifetime * 1000 / 2));
	node_note(NULL);
}

static void
node_info(struct conn *c, const struct tsp_tunnel *t)
{
	enum tsp_action asked = node.asked;

	node.asked = ACTION_NONE;
	conn_timer(c, -1);
	if (asked == ACTION_CREATE && !node.stopping)
		node_granted(c, t);
	else if (asked == ACTION_CREATE) {
		/* granted while we were told to stop: given back as well */
		if (t->client.flags & EP_V4) {
			node.v4 = t->client.v4;
			node.v6 = c->local;
			node.held = node.has_v4 = 1;
		}
		node_next();
	} else if (asked == ACTION_DELETE) {
		node.held = node.has_v4 = 0;
		node_next();
	} else
		dial_fail(c, "an answer to no question");
}

/* The draft's 4.3: the server takes it back. Obeyed, and acknowledged. */
static void
node_deleted(struct conn *c, const struct tsp_tunnel *t)
{
	if ((t->client.flags & EP_V4) == 0 || !node.held ||
	    t->client.v4.s_addr != node.v4.s_addr) {
		log_peer("%s deletes what is not ours", server_name());
		return;
	}
	node_send(c, ACTION_INFO);
	node_lost(c);
	if (node.asked != ACTION_NONE)
		return;
	if (node.stopping)
		node_next();
	else
		node_later();
}

/*
 * Unsolicited allocation (draft 2), while there is no lease: the parent
 * decides. Who takes it asks for it; who does not says so (RFC 5572).
 */
static void
node_offered(struct conn *c, const struct tsp_tunnel *t)
{
	struct msg_node_delete m;

	if ((t->client.flags & EP_V4) == 0) {
		dial_fail(c, "an offer of nothing");
		return;
	}
	memset(&m, 0, sizeof(m));
	m.conn = c->ref;
	m.v4 = t->client.v4;
	if (node.conf.offers && !node.held && !node.stopping &&
	    node.asked == ACTION_NONE)
		msg_put(session.priv, MSG_NODE_OFFER, &m, sizeof(m));
	else
		node_refuse(c, m.v4);
}

static void
node_parsed(struct conn *c, const struct msg_parsed *mp)
{
	const struct tsp_tunnel *t = &mp->tunnel;

	if (node.refusal != 0 && t->type == TYPE_BROKER &&
	    t->action == ACTION_LIST)
		node_redirected(c, t);
	else if (node.refusal != 0)
		dial_fail(c, "a redirect without a list");
	else if (t->type != TYPE_V4V6)
		dial_fail(c, "a tunnel that is not v4v6");
	else if (t->action == ACTION_DELETE)
		node_deleted(c, t);
	else if (t->action == ACTION_INFO)
		node_info(c, t);
	else if (t->action == ACTION_CREATE)
		node_offered(c, t);
	else
		dial_fail(c, "an action that is not for a node");
}

static const struct client_ops	 node_ops = {
	node_up, node_down, node_frame, node_parsed, 1
};

/*
 * Time, and what the parent says
 */
static void
node_timer(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = conn_find(node.conn);

	(void)fd;
	(void)what;
	(void)arg;
	if (node.stopping) {
		/* The server has had its time: what it grants now is lost. */
		if (c != NULL)
			dial_fail(c, "no answer in time");
		else
			node_stopped();
		return;
	}
	if (node.held && now_ms() >= node.until)
		node.held = 0;
	/* Until the answer comes: again, later and later. */
	if (node.held)
		node_later();
	node_next();
}

/*
 * Nobody knows what became of the connection meanwhile; the lease is asked
 * about by another one, if there is one left.
 */
static void
node_resumed(void)
{
	struct conn *c = conn_find(node.conn);

	if (node.held && now_ms() >= node.until)
		node.held = 0;
	if (c != NULL)
		dial_fail(c, "this host was suspended");
	else
		node_next();
}

void
node_conf(struct msglink *l, struct msg *m)
{
	(void)l;
	memcpy(&node.conf, m->data, sizeof(node.conf));
	if (node.used || node.conf.nservers == 0 ||
	    node.conf.nservers > SERVER_MAX)
		fatalx("%u servers", node.conf.nservers);
	node.used = 1;
	node.backoff = BACKOFF_MIN;
	node.timer = evtimer_new(session.base, node_timer, NULL);
	if (node.timer == NULL)
		fatalx("evtimer_new");
	suspend_watch(session.base, session.suspend_ms, node_resumed);
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
	node_next();
}

/* The server has called, and the parent has obeyed. */
void
node_taken(struct msglink *l, struct msg *m)
{
	struct msg_node_delete md;

	(void)l;
	memcpy(&md, m->data, sizeof(md));
	if (!node.held || node.v4.s_addr != md.v4.s_addr)
		return;
	node.held = node.has_v4 = 0;
	node.backoff = BACKOFF_MIN;
	if (node.asked == ACTION_NONE && !node.stopping)
		node_later();
}

void
node_reject(struct msglink *l, struct msg *m)
{
	struct msg_node_delete md;
	struct conn *c;

	(void)l;
	memcpy(&md, m->data, sizeof(md));
	if ((c = conn_find(md.conn)) != NULL && c->state == ST_CLIENT)
		node_refuse(c, md.v4);
}

void
node_stop(struct msglink *l, struct msg *m)
{
	(void)l;
	(void)m;
	if (!node.used)
		fatalx("no node, but stopped");
	node.stopping = 1;
	node_wake(session.stop_ms);
	node_next();
}
