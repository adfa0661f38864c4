/*
 * TSP connections as the kernel and the auth process know them. The session
 * process gives their numbers; who the peer is comes from the socket itself
 * and from auth's verdict, never from session.
 */
#include <sys/types.h>
#include <sys/socket.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "priv/netlink.h"
#include "priv/priv.h"

static struct pconn	*conns[CONN_MAX];
/*
 * The latest generation of each slot. Each life of session has generations of
 * its own: what was meant for a connection of an earlier life never meets
 * another one, and what a life has said leaves nothing to the next.
 */
static uint32_t		 gens[CONN_MAX], life;

static void
conn_free(struct pconn *c)
{
	conns[c->ref.id] = NULL;
	server_conn_gone(c);
	free(c);
}

struct pconn *
conn_find(struct conn_ref ref)
{
	struct pconn *c;

	if (ref.id >= CONN_MAX || (c = conns[ref.id]) == NULL ||
	    c->ref.gen != ref.gen)
		return (NULL);
	return (c);
}

struct pconn *
conn_next(uint32_t id)
{
	for (; id < CONN_MAX; id++)
		if (conns[id] != NULL)
			return (conns[id]);
	return (NULL);
}

void
conn_drop_all(void)
{
	uint32_t id;

	for (id = 0; id < CONN_MAX; id++)
		if (conns[id] != NULL)
			conn_free(conns[id]);
	life += CONN_GENS;
	for (id = 0; id < CONN_MAX; id++)
		gens[id] = life;
}

uint32_t
conn_last_gen(void)
{
	return (life);
}

/* A new connection in the slot of ref; NULL: ref can not be. */
static struct pconn *
conn_new(struct conn_ref ref, enum conn_kind kind, uint32_t index)
{
	struct pconn *c;

	if (ref.id >= CONN_MAX || ref.gen <= gens[ref.id] ||
	    ref.gen - life >= CONN_GENS)
		return (NULL);
	gens[ref.id] = ref.gen;
	if (conns[ref.id] != NULL)
		conn_free(conns[ref.id]);
	if ((c = calloc(1, sizeof(*c))) == NULL)
		fatal(NULL);
	c->ref = ref;
	c->kind = kind;
	c->index = index;
	c->since_ms = now_ms();
	conns[ref.id] = c;
	return (c);
}

static int
conn_addresses(struct pconn *c, int fd)
{
	struct sockaddr_in6 local, peer;
	socklen_t len;

	len = sizeof(local);
	if (getsockname(fd, (struct sockaddr *)&local, &len) == -1 ||
	    len != sizeof(local) || local.sin6_family != AF_INET6)
		return (-1);
	c->local = local.sin6_addr;
	if (c->kind != CONN_ACCEPTED)
		return (0);
	len = sizeof(peer);
	if (getpeername(fd, (struct sockaddr *)&peer, &len) == -1 ||
	    len != sizeof(peer) || peer.sin6_family != AF_INET6)
		return (-1);
	c->peer = peer.sin6_addr;
	c->port = ntohs(peer.sin6_port);
	c->index = (uint32_t)listen_match(&local);
	return (c->index < priv.conf->nlisten ? 0 : -1);
}

void
conn_open(struct msglink *l, struct msg *m)
{
	struct msg_conn_open mo;
	struct msg_conn reply;
	struct pconn *c;

	memcpy(&mo, m->data, sizeof(mo));
	memset(&reply, 0, sizeof(reply));
	reply.conn = mo.conn;
	if ((c = conn_new(mo.conn, CONN_ACCEPTED, 0)) == NULL)
		log_doubt(PROC_SESSION, "session: connection %u.%u can not be",
		    mo.conn.id, mo.conn.gen);
	else if (conn_addresses(c, m->fd) == -1) {
		if (m->fd == -1)
			log_doubt(PROC_PRIV, "connections are refused, as the "
			    "parent may have no more descriptors: raise its "
			    "limit");
		/* The peer may have gone already, which is no fault. */
		log_debug("connection %u.%u has no peer", mo.conn.id,
		    mo.conn.gen);
		conn_free(c);
	} else
		reply.ok = 1;
	msg_put(l, MSG_CONN_READY, &reply, sizeof(reply));
}

void
conn_close(struct msglink *l, struct msg *m)
{
	struct msg_conn mc;
	struct pconn *c;

	(void)l;
	memcpy(&mc, m->data, sizeof(mc));
	if ((c = conn_find(mc.conn)) != NULL)
		conn_free(c);
}

static int
dial_target(const struct msg_dial *md, struct sockaddr_in6 *to)
{
	const struct conf *conf = priv.conf;
	const struct lease_owner *node;

	memset(to, 0, sizeof(*to));
	to->sin6_family = AF_INET6;
	if (md->kind == CONN_TO_TEP && md->index < conf->nteps &&
	    !conf->teps[md->index].local) {
		to->sin6_addr = conf->teps[md->index].connect;
		to->sin6_port = htons(conf->teps[md->index].port);
		return (0);
	}
	if (md->kind == CONN_TO_SERVER && (conf->roles & ROLE_NODE) &&
	    md->index < conf->node.nservers) {
		to->sin6_addr = conf->node.servers[md->index].addr;
		to->sin6_port = htons(conf->node.servers[md->index].port);
		return (0);
	}
	if (md->kind == CONN_TO_NODE &&
	    (node = call_target(md->index)) != NULL) {
		to->sin6_addr = node->v6;
		to->sin6_port = htons(TSP_PORT);
		return (0);
	}
	return (-1);
}

/*
 * Where we call from: a node where it is told to, a server where its nodes
 * know it, the first address that it listens on. ::, anywhere.
 */
static struct in6_addr
dial_source(const struct pconn *c)
{
	const struct conf *conf = priv.conf;
	uint32_t i;

	if (c->kind == CONN_TO_SERVER)
		return (conf->node.addr);
	for (i = 0; c->kind == CONN_TO_NODE && i < conf->nlisten; i++)
		if (conf->listen[i].role & ROLE_SERVER)
			return (conf->listen[i].addr);
	return (in6addr_any);
}

/* A socket that connects: to what is configured, nowhere else. */
static int
dial_socket(struct pconn *c, const struct sockaddr_in6 *to)
{
	struct sockaddr_in6 from;
	int fd;

	fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return (-1);
	memset(&from, 0, sizeof(from));
	from.sin6_family = AF_INET6;
	from.sin6_addr = dial_source(c);
	if (!IN6_IS_ADDR_UNSPECIFIED(&from.sin6_addr) &&
	    bind(fd, (struct sockaddr *)&from, sizeof(from)) == -1)
		goto fail;
	if (connect(fd, (const struct sockaddr *)to, sizeof(*to)) == -1 &&
	    errno != EINPROGRESS)
		goto fail;
	if (conn_addresses(c, fd) == -1) {
		errno = EADDRNOTAVAIL;
		goto fail;
	}
	/* Without a global address the kernel takes a link-local one. */
	if (c->kind == CONN_TO_SERVER && !in6_usable(&c->local)) {
		errno = EADDRNOTAVAIL;
		goto fail;
	}
	return (fd);
 fail:
	close(fd);
	return (-1);
}

void
conn_dial(struct msglink *l, struct msg *m)
{
	struct msg_dial md;
	struct msg_dialled reply;
	struct sockaddr_in6 to;
	struct pconn *c;
	int fd = -1;

	memcpy(&md, m->data, sizeof(md));
	memset(&reply, 0, sizeof(reply));
	reply.conn = md.conn;
	reply.error = EINVAL;
	if (dial_target(&md, &to) == -1 || (c = conn_new(md.conn,
	    (enum conn_kind)md.kind, md.index)) == NULL)
		log_doubt(PROC_SESSION, "session: dials what is not "
		    "configured");
	else if ((fd = dial_socket(c, &to)) == -1) {
		reply.error = (uint32_t)errno;
		conn_free(c);
	} else {
		reply.error = 0;
		c->peer = to.sin6_addr;
		c->port = ntohs(to.sin6_port);
		if (c->kind == CONN_TO_SERVER)
			(void)netlink_linklocal(&c->local, &reply.linklocal);
	}
	msg_send(l, MSG_DIALLED, fd, &reply, sizeof(reply), NULL, 0);
}

/* The user of a node; NULL: none, or with no pool for his mechanism. */
static const struct conf_user *
node_user(const struct msg_auth_verdict *mv)
{
	const struct conf_user *u = conf_user(priv.conf, mv->mech, mv->name);
	struct lease_policy policy;

	if (u == NULL)
		return (NULL);
	conf_policy(priv.conf, mv->mech, u, NULL, &policy);
	return (policy.npools + policy.nfixed > 0 ? u : NULL);
}

/* Was it for this very connection that the call was proved? */
static int
ends_match(const struct in6_addr *from, const struct in6_addr *to,
    const struct call_ends *ends)
{
	return (IN6_ARE_ADDR_EQUAL(from, &ends->from) &&
	    IN6_ARE_ADDR_EQUAL(to, &ends->to));
}

/* One of our node's servers calls it: by its name, and from its address. */
static int
verdict_called(struct pconn *c, const struct msg_auth_verdict *mv)
{
	const struct conf_node *n = &priv.conf->node;
	uint32_t i;

	for (i = 0; i < n->nservers; i++)
		if (IN6_ARE_ADDR_EQUAL(&n->servers[i].addr, &c->peer))
			c->caller = 1;
	if (c->caller && mv->mech == MECH_CALL && mv->mutual &&
	    strcmp(mv->name, n->caller) == 0 &&
	    ends_match(&c->peer, &c->local, &mv->ends))
		return (0);
	log_doubt(PROC_AUTH, "%s from %s may not call this node", mv->name,
	    log_in6(&c->peer));
	return (-1);
}

/* A peer that came to us: is it somebody whom this listener serves? */
static int
verdict_accepted(struct pconn *c, const struct msg_auth_verdict *mv)
{
	const struct conf_listen *listener = &priv.conf->listen[c->index];

	if (mv->side != AUTH_SERVER || mech_name(mv->mech) == NULL ||
	    (mv->mech & mech_set(listener->mechs)) == 0)
		return (-1);
	if (mv->mech == MECH_ANONYMOUS ? strcmp(mv->name, "anonymous") != 0 :
	    !name_valid(mv->name))
		return (-1);
	if (listener->role & ROLE_NODE)
		return (verdict_called(c, mv));
	/* What a listener of both offers is for the one or for the other. */
	if ((listener->role & ROLE_TEP) && mv->mutual &&
	    mv->mech == MECH_SCRAM_SHA_256)
		c->server = conf_peer(priv.conf, mv->name, &c->tep);
	if (c->server == NULL && (listener->role & ROLE_SERVER) &&
	    (mv->mech & mech_set(priv.conf->server_mechs)))
		c->user = node_user(mv);
	if (c->server == NULL && c->user == NULL) {
		log_peer("%s (%s) from %s authenticated, but has no place in "
		    "the configuration", mv->name, mech_name(mv->mech),
		    log_in6(&c->peer));
		return (-1);
	}
	return (0);
}

/* The node of the user whose password it was, by this connection? */
static int
verdict_node(const struct pconn *c, const struct msg_auth_verdict *mv)
{
	const struct lease_owner *node = call_target(c->index);

	return (node != NULL && strcmp(node->name, mv->name) == 0 &&
	    IN6_ARE_ADDR_EQUAL(&node->v6, &c->peer) &&
	    ends_match(&c->local, &c->peer, &mv->ends) ? 0 : -1);
}

/* A peer that we called: it must be the one that this login is for. */
static int
verdict_dialled(const struct pconn *c, const struct msg_auth_verdict *mv)
{
	uint32_t cred, mech = MECH_SCRAM_SHA_256;

	if (c->kind == CONN_TO_TEP)
		cred = CRED_TEP(c->index);
	else if (c->kind == CONN_TO_NODE) {
		cred = CRED_CALL;
		mech = MECH_CALL;
		if (verdict_node(c, mv) == -1)
			return (-1);
	} else {
		cred = CRED_SERVER(c->index);
		mech = priv.conf->node.mech;
	}
	if (mv->side != AUTH_CLIENT || mv->cred != cred || mv->mech != mech ||
	    ((mech & MECH_MUTUAL) && !mv->mutual))
		return (-1);
	return (0);
}

/*
 * A server has one connection to each of our TEPs, the latest: what an
 * earlier one still has under way must not undo what the new one says.
 */
static void
end_earlier(const struct pconn *c)
{
	struct msg_conn m;
	struct pconn *o;
	uint32_t id;

	for (id = 0; (o = conn_next(id)) != NULL; id++) {
		id = o->ref.id;
		if (o == c || o->server != c->server || o->tep != c->tep)
			continue;
		log_info("server %s has connected again: its connection from "
		    "%s is ended", c->name, log_in6(&o->peer));
		memset(&m, 0, sizeof(m));
		m.conn = o->ref;
		msg_put(child_link(PROC_SESSION), MSG_CONN_CLOSE, &m,
		    sizeof(m));
		conn_free(o);
	}
}

void
conn_verdict(struct msglink *l, struct msg *m)
{
	struct msg_auth_verdict mv;
	struct msg_auth_done done;
	struct pconn *c;
	int ok;

	(void)l;
	memcpy(&mv, m->data, sizeof(mv));
	if (memchr(mv.name, '\0', sizeof(mv.name)) == NULL) {
		log_doubt(PROC_AUTH, "auth: verdict with a name without end");
		return;
	}
	if ((c = conn_find(mv.conn)) == NULL)
		return;		/* closed meanwhile */
	if (c->authenticated) {
		log_doubt(PROC_AUTH, "auth: second verdict on connection "
		    "%u.%u", c->ref.id, c->ref.gen);
		return;
	}
	ok = (c->kind == CONN_ACCEPTED ? verdict_accepted(c, &mv) :
	    verdict_dialled(c, &mv)) == 0;
	memset(&done, 0, sizeof(done));
	done.conn = c->ref;
	if (ok) {
		c->authenticated = 1;
		c->mech = mv.mech;
		strlcpy(c->name, mv.name, sizeof(c->name));
		strlcpy(done.name, mv.name, sizeof(done.name));
		done.ok = 1;
		done.role = c->server != NULL ? ROLE_TEP : c->caller ?
		    ROLE_NODE : ROLE_SERVER;
		if (c->server != NULL)
			end_earlier(c);
	}
	msg_put(child_link(PROC_SESSION), MSG_AUTH_DONE, &done, sizeof(done));
}
