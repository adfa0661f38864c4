/* The links of the session process, and what comes on them. */
#include <sys/types.h>

#include <string.h>

#include "session/session-int.h"

#define LINGER_MS	2000
#define PARTIAL_MS	30000
#define STOP_MS		3000
#define PARSE_MAX	2048
#define NRULES(r)	(sizeof(r) / sizeof((r)[0]))

struct session		 session;

static void
drained(struct msglink *l)
{
	(void)l;
	serve_resume();
}

/*
 * auth
 */
static void
auth_next(struct msglink *l, struct msg *m)
{
	struct msg_auth_next mn;
	struct conn *c;

	(void)l;
	memcpy(&mn, m->data, sizeof(mn));
	ask_answered(mn.conn);
	if ((c = conn_find(mn.conn)) == NULL)
		return;
	if (c->kind == CONN_ACCEPTED)
		serve_auth_next(c, &mn, m->tail, m->tail_len);
	else
		dial_auth_next(c, &mn, m->tail, m->tail_len);
}

static const struct msg_rule	 auth_rules[] = {
	{ MSG_AUTH_NEXT, MSG_FROM(PROC_AUTH), sizeof(struct msg_auth_next),
	    SASL_BLOB_MAX, 0, auth_next },
};

static void
auth_lost(struct conn *c)
{
	if (c->kind == CONN_ACCEPTED)
		serve_auth_lost(c);
	else
		dial_auth_lost(c);
}

/* If it has not ended, it is no good: the parent starts another one. */
static void
replace(enum proc_id peer, uint32_t life)
{
	struct msg_link_to m;

	memset(&m, 0, sizeof(m));
	m.peer = peer;
	m.life = life;
	msg_put(session.priv, MSG_REPLACE, &m, sizeof(m));
}

void
auth_closed(struct msglink *l, const char *reason)
{
	if (reason != NULL)
		log_warnx("auth: %s", reason);
	msglink_free(l);
	if (l != session.auth)
		return;
	session.auth = NULL;
	ask_forget();
	replace(PROC_AUTH, session.auth_life);
	conn_each(auth_lost);
}

/*
 * parser
 */
static const struct msg_rule	 parser_rules[] = {
	{ MSG_PARSED, MSG_FROM(PROC_PARSER), sizeof(struct msg_parsed), 0, 0,
	    parse_result },
};

void
parser_closed(struct msglink *l, const char *reason)
{
	if (reason != NULL)
		log_warnx("parser: %s", reason);
	msglink_free(l);
	if (l != session.parser)
		return;
	session.parser = NULL;
	replace(PROC_PARSER, session.parser_life);
	parse_lost();
}

/*
 * priv
 */
static void
session_link(struct msglink *l, struct msg *m)
{
	struct msg_link_to ml;

	(void)l;
	memcpy(&ml, m->data, sizeof(ml));
	if (ml.peer == PROC_AUTH) {
		if (session.auth != NULL)
			auth_closed(session.auth, NULL);
		session.auth = msglink_new(session.base, m->fd, PROC_AUTH,
		    auth_rules, NRULES(auth_rules), auth_closed, NULL);
		session.auth_life = ml.life;
		msglink_on_drained(session.auth, drained);
	} else if (ml.peer == PROC_PARSER) {
		if (session.parser != NULL)
			parser_closed(session.parser, NULL);
		session.parser = msglink_new(session.base, m->fd, PROC_PARSER,
		    parser_rules, NRULES(parser_rules), parser_closed, NULL);
		session.parser_life = ml.life;
		parse_resume();
	} else
		fatalx("link to %s", proc_name(ml.peer));
	m->fd = -1;
}

static void
session_conf(struct msglink *l, struct msg *m)
{
	(void)l;
	memcpy(&session.conf, m->data, sizeof(session.conf));
}

static void
session_listen(struct msglink *l, struct msg *m)
{
	struct msg_listen ml;

	(void)l;
	memcpy(&ml, m->data, sizeof(ml));
	listen_add(ml.listener, m->fd, ml.mechs);
	m->fd = -1;
}

static void
session_start(struct msglink *l, struct msg *m)
{
	(void)m;
	if (session.ready)
		fatalx("started twice");
	session.ready = 1;
	listen_start();
	msg_put(l, MSG_READY, NULL, 0);
	tep_start();
}

static void
conn_ready(struct msglink *l, struct msg *m)
{
	struct msg_conn mc;
	struct conn *c;

	(void)l;
	memcpy(&mc, m->data, sizeof(mc));
	if ((c = conn_find(mc.conn)) != NULL && c->kind == CONN_ACCEPTED)
		serve_ready(c, mc.ok != 0);
}

static void
conn_end(struct msglink *l, struct msg *m)
{
	struct msg_conn mc;
	struct conn *c;

	(void)l;
	memcpy(&mc, m->data, sizeof(mc));
	if ((c = conn_find(mc.conn)) == NULL)
		return;
	if (c->kind == CONN_ACCEPTED)
		serve_end(c);
	else
		dial_fail(c, "ended by the parent");
}

static void
auth_done(struct msglink *l, struct msg *m)
{
	struct msg_auth_done md;
	struct conn *c;

	(void)l;
	memcpy(&md, m->data, sizeof(md));
	md.name[NAME_MAX_LEN] = '\0';
	if ((c = conn_find(md.conn)) == NULL)
		return;
	if (c->kind == CONN_ACCEPTED)
		serve_auth_done(c, &md);
	else
		dial_auth_done(c, &md);
}

static void
lease_reply(struct msglink *l, struct msg *m)
{
	struct msg_lease_reply mr;
	struct conn *c;

	(void)l;
	memcpy(&mr, m->data, sizeof(mr));
	if ((c = conn_find(mr.conn)) != NULL && c->kind == CONN_ACCEPTED)
		request_reply(c, &mr);
}

static void
lease_order(struct msglink *l, struct msg *m)
{
	struct msg_lease_reply mr;
	struct conn *c;

	(void)l;
	memcpy(&mr, m->data, sizeof(mr));
	if ((c = conn_find(mr.conn)) != NULL && c->kind == CONN_ACCEPTED)
		request_order(c, &mr, m->type == MSG_LEASE_OFFER ?
		    ACTION_CREATE : ACTION_DELETE);
}

#define PRIV	MSG_FROM(PROC_PRIV)

static const struct msg_rule	 priv_rules[] = {
	{ MSG_LINK, PRIV, sizeof(struct msg_link_to), 0, MSG_F_FD,
	    session_link },
	{ MSG_VERBOSE, PRIV, sizeof(struct msg_verbose), 0, 0,
	    proc_verbose },
	{ MSG_SESSION_CONF, PRIV, sizeof(struct msg_session_conf), 0, 0,
	    session_conf },
	{ MSG_LISTEN, PRIV, sizeof(struct msg_listen), 0, MSG_F_FD,
	    session_listen },
	{ MSG_CONF_END, PRIV, 0, 0, 0, session_start },
	{ MSG_CONN_READY, PRIV, sizeof(struct msg_conn), 0, 0, conn_ready },
	{ MSG_CONN_CLOSE, PRIV, sizeof(struct msg_conn), 0, 0, conn_end },
	{ MSG_DIALLED, PRIV, sizeof(struct msg_dialled), 0, MSG_F_FD_OPT,
	    dial_done },
	{ MSG_AUTH_DONE, PRIV, sizeof(struct msg_auth_done), 0, 0, auth_done },
	{ MSG_LEASE_REPLY, PRIV, sizeof(struct msg_lease_reply), 0, 0,
	    lease_reply },
	{ MSG_LEASE_DELETE, PRIV, sizeof(struct msg_lease_reply), 0, 0,
	    lease_order },
	{ MSG_LEASE_OFFER, PRIV, sizeof(struct msg_lease_reply), 0, 0,
	    lease_order },
	{ MSG_CALL, PRIV, sizeof(struct msg_call), 0, 0, call_node },
	{ MSG_TEP_CONF, PRIV, sizeof(struct msg_tep_conf), 0, 0, tep_conf },
	{ MSG_TEP_REQUEST, PRIV, sizeof(struct msg_tep_request), 0, 0,
	    tep_request },
	{ MSG_NODE_CONF, PRIV, sizeof(struct msg_node_conf), 0, 0, node_conf },
	{ MSG_NODE_START, PRIV, sizeof(struct msg_node_start), 0, 0,
	    node_start },
	{ MSG_NODE_STOP, PRIV, 0, 0, 0, node_stop },
	{ MSG_NODE_TAKEN, PRIV, sizeof(struct msg_node_delete), 0, 0,
	    node_taken },
	{ MSG_NODE_REJECT, PRIV, sizeof(struct msg_node_delete), 0, 0,
	    node_reject },
};

void
session_init(struct event_base *base, int fd)
{
	session.base = base;
	session.linger_ms = LINGER_MS;
	session.partial_ms = PARTIAL_MS;
	session.suspend_ms = SUSPEND_TICK;
	session.stop_ms = STOP_MS;
	session.parse_max = PARSE_MAX;
	session.priv = msglink_new(base, fd, PROC_PRIV, priv_rules,
	    NRULES(priv_rules), proc_closed, NULL);
	msglink_on_drained(session.priv, drained);
}
