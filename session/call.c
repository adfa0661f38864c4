/*
 * As server: one connection for each call of a node, by which the parent has
 * one thing said (draft 2.3, and 2: unsolicited allocation), and the node's
 * answer. We are the client here, and both sides have proved themselves.
 */
#include <sys/types.h>

#include <string.h>

#include "session/session-int.h"

static struct call {
	int			 used;
	struct msg_call		 conf;
	uint32_t		 status;	/* the node's answer; 0: none yet */
} calls[CALL_MAX];

static void
call_done(uint32_t number, uint32_t status)
{
	struct msg_call_done m;

	memset(&m, 0, sizeof(m));
	m.call = number;
	m.status = status;
	calls[number].used = 0;
	msg_put(session.priv, MSG_CALL_DONE, &m, sizeof(m));
}

static void
call_up(struct conn *c)
{
	const struct msg_lease_reply *body = &calls[c->index].conf.body;
	struct tsp_tunnel t;
	char buf[1024];
	int n;

	memset(&t, 0, sizeof(t));
	t.action = body->op == OP_DELETE ? ACTION_DELETE : ACTION_CREATE;
	t.has_lifetime = body->op == OP_CREATE;
	t.lifetime = body->lifetime;
	put_addresses(&t, body);
	if ((n = emit_tunnel(buf, sizeof(buf), 0, c->dialect, &t)) == -1)
		fatalx("a request for a node does not fit");
	conn_timer(c, (int64_t)session.conf.request_timeout * 1000);
	conn_write(c, buf, (size_t)n);
}

static void
call_down(struct conn *c, const char *why)
{
	if (calls[c->index].status == 0)
		log_info("%s at %s, called: %s", c->name, log_in6(&c->peer),
		    why);
	call_done(c->index, calls[c->index].status);
}

/* Its status is the answer; what else it says of the lease is known here. */
static void
call_frame(struct conn *c, const uint8_t *body, size_t len)
{
	const uint8_t *xml;
	size_t n;
	int code;

	if (tsp_reply(body, len, &code, &xml, &n) == 0)
		calls[c->index].status = (uint32_t)code;
	dial_fail(c, "a message that is no answer");
}

static void
call_parsed(struct conn *c, const struct msg_parsed *mp)
{
	(void)mp;
	dial_fail(c, "an answer to no question");
}

static const struct client_ops	 call_ops = {
	call_up, call_down, call_frame, call_parsed, 1
};

void
call_node(struct msglink *l, struct msg *m)
{
	struct msg_call mc;
	struct conn *c;

	(void)l;
	memcpy(&mc, m->data, sizeof(mc));
	if (mc.call >= CALL_MAX || calls[mc.call].used)
		fatalx("call %u", mc.call);
	mc.name[NAME_MAX_LEN] = '\0';
	calls[mc.call].used = 1;
	calls[mc.call].conf = mc;
	calls[mc.call].status = 0;
	c = dial(CONN_TO_NODE, mc.call, CRED_CALL, MECH_CALL, &call_ops);
	if (c == NULL) {
		call_done(mc.call, 0);
		return;
	}
	strlcpy(c->name, mc.name, sizeof(c->name));
	c->peer = mc.body.v6;
}
