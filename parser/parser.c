/* The parser process: XML in, a fixed struct out. Nothing else. */
#include <sys/types.h>

#include <event2/event.h>

#include <string.h>

#include "dstmd/msg.h"
#include "parser/parser.h"

static struct event_base	*base;
static struct xml_ctx		*xml;
static struct msglink		*priv_link, *session_link;

static void
parser_parse(struct msglink *l, struct msg *m)
{
	struct msg_parse mp;
	struct msg_parsed reply;

	memcpy(&mp, m->data, sizeof(mp));
	memset(&reply, 0, sizeof(reply));
	reply.conn = mp.conn;
	reply.seq = mp.seq;
	reply.ok = xml_parse(xml, m->tail, m->tail_len, &reply.tunnel,
	    reply.text, sizeof(reply.text)) == 0;
	msg_put(l, MSG_PARSED, &reply, sizeof(reply));
}

static const struct msg_rule	 session_rules[] = {
	{ MSG_PARSE, MSG_FROM(PROC_SESSION), sizeof(struct msg_parse),
	    TSP_BODY_MAX, 0, parser_parse },
};

/* Session has died, or has a new link for us: the parent will tell. */
static void
session_closed(struct msglink *l, const char *reason)
{
	if (reason != NULL)
		log_warnx("session: %s", reason);
	if (l == session_link)
		session_link = NULL;
	msglink_free(l);
}

static void
parser_link(struct msglink *l, struct msg *m)
{
	struct msg_link_to ml;

	(void)l;
	memcpy(&ml, m->data, sizeof(ml));
	if (ml.peer != PROC_SESSION)
		fatalx("link to %s", proc_name(ml.peer));
	msglink_free(session_link);
	session_link = msglink_new(base, m->fd, PROC_SESSION, session_rules,
	    sizeof(session_rules) / sizeof(session_rules[0]), session_closed,
	    NULL);
	m->fd = -1;
}

static void
parser_ready(struct msglink *l, struct msg *m)
{
	(void)m;
	msg_put(l, MSG_READY, NULL, 0);
}

static const struct msg_rule	 priv_rules[] = {
	{ MSG_LINK, MSG_FROM(PROC_PRIV), sizeof(struct msg_link_to), 0,
	    MSG_F_FD, parser_link },
	{ MSG_VERBOSE, MSG_FROM(PROC_PRIV), sizeof(struct msg_verbose), 0, 0,
	    proc_verbose },
	{ MSG_CONF_END, MSG_FROM(PROC_PRIV), 0, 0, 0, parser_ready },
};

/* All that libxml2 loads or allocates once, it does before the sandbox. */
static void
warm_up(void)
{
	static const char text[] = "<tunnel action=\"create\" type=\"v4v6\">"
	    "<client><address type=\"ipv6\">2001:db8::1</address></client>"
	    "</tunnel>\r\n", bad[] = "<tunnel action=\"";
	struct tsp_tunnel t;
	char err[96];

	xml = xml_new();
	if (xml_parse(xml, (const uint8_t *)text, sizeof(text) - 1, &t, err,
	    sizeof(err)) == -1)
		fatalx("cannot parse: %s", err);
	(void)xml_parse(xml, (const uint8_t *)bad, sizeof(bad) - 1, &t, err,
	    sizeof(err));
}

int
main(int argc, char *argv[])
{
	warm_up();
	proc_child(PROC_PARSER, argc, argv);
	if ((base = event_base_new()) == NULL)
		fatalx("event_base_new");
	priv_link = msglink_new(base, PROC_FD_PRIV, PROC_PRIV, priv_rules,
	    sizeof(priv_rules) / sizeof(priv_rules[0]), proc_closed, NULL);
	event_base_dispatch(base);
	return (0);
}
