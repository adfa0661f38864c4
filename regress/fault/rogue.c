/*
 * Stands in the place of a child: see rogue.h. LIBEXECDIR, where the real
 * parent starts it, has the programs that it replaces in "honest", and in
 * "plan" lines "role what arguments". A role that the plan does not name is
 * played by the honest program. Run by rogue.t.
 */
#include <sys/types.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dstmd/tsp.h"
#include "regress/fault/rogue.h"

struct rogue		 rogue;

static const struct role *role;
static uint64_t		 said, to_say;
static void		(*say_one)(uint64_t);

uint32_t
rnd(uint32_t n)
{
	return (arc4random_uniform(n));
}

void
noise(void *p, size_t len)
{
	uint8_t *b = p;
	uint32_t i, n = rnd(8);

	if (rnd(16) == 0)
		arc4random_buf(b, len);
	for (i = 0; i < n; i++)
		b[rnd((uint32_t)len)] = (uint8_t)rnd(256);
}

int
planned(const char *what)
{
	return (strcmp(rogue.plan[0], what) == 0);
}

static void
flood_more(struct msglink *l)
{
	while (said < to_say && !msglink_full(l))
		say_one(said++);
	if (to_say != 0 && said == to_say) {
		to_say = 0;
		log_info("rogue: %llu messages are said",
		    (unsigned long long)said);
	}
}

void
flood(uint64_t n, void (*one)(uint64_t))
{
	say_one = one;
	said = 0;
	to_say = n;
	msglink_on_drained(rogue.priv, flood_more);
	flood_more(rogue.priv);
}

/*
 * Octets that are no message, and messages that may not be
 */
struct raw {
	uint32_t	 len, type, flags, zero;
	uint8_t		 data[20000];
};

static void
raw_send(const struct raw *r, size_t len, int nfds)
{
	union {
		struct cmsghdr	 align;
		uint8_t		 buf[CMSG_SPACE(8 * sizeof(int))];
	} control;
	struct msghdr mh;
	struct iovec iov;
	struct cmsghdr *c;
	int i;

	memset(&mh, 0, sizeof(mh));
	memset(&control, 0, sizeof(control));
	iov.iov_base = (void *)(uintptr_t)r;
	iov.iov_len = len;
	mh.msg_iov = &iov;
	mh.msg_iovlen = 1;
	if (nfds > 0) {
		mh.msg_control = &control;
		mh.msg_controllen = CMSG_SPACE((size_t)nfds * sizeof(int));
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN((size_t)nfds * sizeof(int));
		for (i = 0; i < nfds; i++)
			memcpy(CMSG_DATA(c) + (size_t)i * sizeof(int),
			    &(int){ STDIN_FILENO }, sizeof(int));
	}
	if (sendmsg(PROC_FD_PRIV, &mh, MSG_NOSIGNAL) == -1)
		log_warn("rogue: sendmsg");
}

#define OPEN	(16 + sizeof(struct msg_conn_open))

/* MSG_READY is what every child may say; it has no data. */
static const struct malformed {
	const char	*name;
	uint32_t	 len, type, flags, zero;
	size_t		 octets;
	int		 fds;
} malformed[] = {
	{ "type",	16, MSG_NTYPE + 7,	0, 0, 16, 0 },
	{ "control",	24, MSG_CTL_RELEASE,	0, 0, 24, 0 },
	{ "foreign",	24, MSG_STORE_PUT,	0, 0, 24, 0 },
	{ "size",	40, MSG_READY,		0, 0, 40, 0 },
	{ "huge",	UINT32_MAX, MSG_READY,	0, 0, 20000, 0 },
	{ "empty",	0, MSG_READY,		0, 0, 16, 0 },
	{ "flags",	16, MSG_READY,		0x80, 0, 16, 0 },
	{ "zero",	16, MSG_READY,		0, 1, 16, 0 },
	{ "stray",	16, MSG_READY,		1, 0, 16, 1 },
	{ "hidden",	16, MSG_READY,		0, 0, 16, 1 },
	/* session's alone */
	{ "missing",	OPEN, MSG_CONN_OPEN,	1, 0, OPEN, 0 },
	{ "many",	16, MSG_READY,		1, 0, 16, 8 },
	{ "half",	16, MSG_READY,		0, 0, 9, 0 },
};

static void
say_malformed(void)
{
	static struct raw r;
	const struct malformed *m;
	size_t i;

	for (i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++) {
		m = &malformed[i];
		if (strcmp(m->name, rogue.plan[1]) != 0)
			continue;
		r.len = m->len;
		r.type = m->type;
		r.flags = m->flags;
		r.zero = m->zero;
		raw_send(&r, m->octets, m->fds);
	}
}

/* A question that has an answer, again and again; none is ever read. */
static void
dial(uint64_t n)
{
	struct msg_dial md;

	memset(&md, 0, sizeof(md));
	md.conn.id = (uint32_t)n % CONN_MAX;
	md.kind = 99;
	msg_put(rogue.priv, MSG_DIAL, &md, sizeof(md));
}

/*
 * What comes
 */
static void
on_message(struct msglink *l, struct msg *m)
{
	if (role->message != NULL)
		role->message(l, m);
}

static void
peer_closed(struct msglink *l, const char *reason)
{
	if (reason != NULL)
		log_warnx("rogue: %s", reason);
	if (l == rogue.session)
		rogue.session = NULL;
	if (l == rogue.auth)
		rogue.auth = NULL;
	msglink_free(l);
}

#define SESSION	MSG_FROM(PROC_SESSION)
#define AUTH	MSG_FROM(PROC_AUTH)

static const struct msg_rule peer_rules[] = {
	{ MSG_AUTH_NEXT, AUTH, sizeof(struct msg_auth_next), SASL_BLOB_MAX, 0,
	    on_message },
	{ MSG_AUTH_START, SESSION, sizeof(struct msg_auth_start),
	    SASL_BLOB_MAX, 0, on_message },
	{ MSG_AUTH_STEP, SESSION, sizeof(struct msg_auth_step), SASL_BLOB_MAX,
	    0, on_message },
	{ MSG_AUTH_ABORT, SESSION, sizeof(struct msg_conn), 0, 0,
	    on_message },
	{ MSG_PARSE, SESSION, sizeof(struct msg_parse), TSP_BODY_MAX, 0,
	    on_message },
};
#define NRULES(r)	(sizeof(r) / sizeof((r)[0]))

static void
on_link(struct msglink *l, struct msg *m)
{
	struct msg_link_to to;
	struct msglink **link;

	(void)l;
	memcpy(&to, m->data, sizeof(to));
	if (to.peer == PROC_SESSION)
		link = &rogue.session;
	else if (to.peer == PROC_AUTH)
		link = &rogue.auth;
	else
		return;
	msglink_free(*link);
	*link = msglink_new(rogue.base, m->fd, to.peer, peer_rules,
	    NRULES(peer_rules), peer_closed, NULL);
	m->fd = -1;
}

static void
on_configured(struct msglink *l, struct msg *m)
{
	(void)m;
	log_info("rogue: %s %s", rogue.plan[0], rogue.plan[1]);
	if (planned("malformed")) {
		say_malformed();
		return;
	}
	msg_put(l, MSG_READY, NULL, 0);
	if (planned("deaf")) {
		msglink_pause(l);
		flood(1000000, dial);
	} else if (role->configured != NULL)
		role->configured();
}

#define PRIV	MSG_FROM(PROC_PRIV)
#define PLAIN(type, of)	{ type, PRIV, sizeof(struct of), 0, MSG_F_FD_OPT, \
    on_message }

static const struct msg_rule priv_rules[] = {
	{ MSG_LINK, PRIV, sizeof(struct msg_link_to), 0, MSG_F_FD, on_link },
	{ MSG_VERBOSE, PRIV, sizeof(struct msg_verbose), 0, 0, proc_verbose },
	{ MSG_CONF_END, PRIV, 0, 0, 0, on_configured },
	{ MSG_AUTH_SECRETS, PRIV, 0, 0, MSG_F_FD, on_message },
	{ MSG_AUTH_CALLS, PRIV, 0, 0, MSG_F_FD, on_message },
	{ MSG_AUTH_KEYTAB, PRIV, 0, 0, MSG_F_FD, on_message },
	{ MSG_NODE_STOP, PRIV, 0, 0, 0, on_message },
	{ MSG_STORE_LOAD, PRIV, 0, 0, 0, on_message },
	PLAIN(MSG_SESSION_CONF, msg_session_conf),
	PLAIN(MSG_LISTEN, msg_listen),
	PLAIN(MSG_CONN_READY, msg_conn),
	PLAIN(MSG_CONN_CLOSE, msg_conn),
	PLAIN(MSG_DIALLED, msg_dialled),
	PLAIN(MSG_AUTH_CONF, msg_auth_conf),
	PLAIN(MSG_AUTH_CRED, msg_auth_cred),
	PLAIN(MSG_AUTH_DONE, msg_auth_done),
	PLAIN(MSG_LEASE_REPLY, msg_lease_reply),
	PLAIN(MSG_LEASE_DELETE, msg_lease_reply),
	PLAIN(MSG_LEASE_OFFER, msg_lease_reply),
	PLAIN(MSG_CALL, msg_call),
	PLAIN(MSG_TEP_CONF, msg_tep_conf),
	PLAIN(MSG_TEP_REQUEST, msg_tep_request),
	PLAIN(MSG_NODE_CONF, msg_node_conf),
	PLAIN(MSG_NODE_START, msg_node_start),
	PLAIN(MSG_NODE_TAKEN, msg_node_delete),
	PLAIN(MSG_NODE_REJECT, msg_node_delete),
	PLAIN(MSG_STORE_PUT, msg_store_lease),
	PLAIN(MSG_STORE_NODE, msg_store_node),
	PLAIN(MSG_TUNNEL_DEV, msg_tunnel_dev),
	PLAIN(MSG_TUNNEL_SOCK, msg_tunnel_dev),
	PLAIN(MSG_TUNNEL_CLOSE, msg_tunnel_dev),
	PLAIN(MSG_TUNNEL_ADD, msg_tunnel_lease),
	PLAIN(MSG_TUNNEL_DEL, msg_tunnel_lease),
	PLAIN(MSG_TUNNEL_LIST, msg_tunnel_list),
	PLAIN(MSG_TUNNEL_KEEPALIVE, msg_tunnel_keepalive),
};

/*
 * Start
 */
static const struct role *const roles[] = {
	&role_session, &role_parser, &role_auth, &role_store, &role_tunnel
};

/* With all of the parent's privileges still. */
static void
be_honest(char *argv[])
{
	char path[512], *envp[] = { NULL };
	int fd;

	/* of several processes of one program the number is no part */
	snprintf(path, sizeof(path), "%s/honest/%.*s", LIBEXECDIR,
	    (int)strcspn(argv[0], "0123456789"), argv[0]);
	if ((fd = open(path, O_PATH | O_CLOEXEC)) == -1)
		err(1, "%s", path);
	fexecve(fd, argv, envp);
	err(1, "%s", path);
}

static int
is_planned(const char *line, const char *name)
{
	char whose[16];

	memset(rogue.plan, 0, sizeof(rogue.plan));
	return (sscanf(line, "%15s %63s %63s %63s %63s", whose, rogue.plan[0],
	    rogue.plan[1], rogue.plan[2], rogue.plan[3]) >= 2 &&
	    strcmp(whose, name) == 0);
}

/* The role that the plan has for us, or NULL. */
static const struct role *
read_plan(const char *name)
{
	char line[256];
	int found = 0;
	size_t i;
	FILE *f;

	if ((f = fopen(LIBEXECDIR "/plan", "re")) == NULL)
		return (NULL);
	while (!found && fgets(line, sizeof(line), f) != NULL)
		found = is_planned(line, name);
	fclose(f);
	for (i = 0; found && i < sizeof(roles) / sizeof(roles[0]); i++)
		if (strcmp(proc_name(roles[i]->id), name) == 0)
			return (roles[i]);
	return (NULL);
}

int
main(int argc, char *argv[])
{
	if (argc < 1 || (role = read_plan(argv[0])) == NULL)
		be_honest(argv);
	rogue.self = role->id;
	proc_child(role->id, argc, argv);
	if ((rogue.base = event_base_new()) == NULL)
		fatalx("event_base_new");
	rogue.priv = msglink_new(rogue.base, PROC_FD_PRIV, PROC_PRIV,
	    priv_rules, NRULES(priv_rules), proc_closed, NULL);
	event_base_dispatch(rogue.base);
	fatalx("the loop ended");
}
