/*
 * The node role: what the server granted becomes the host's IPv4: interface,
 * address, MTU, default route; and all of it is undone at the end. The
 * interface is not persistent: where the whole daemon is killed the kernel
 * removes it, with its address and routes. Policy rules (route table)
 * outlive it, so they are marked and removed at the next start.
 */
#include <sys/types.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "priv/netlink.h"
#include "priv/priv.h"

#define RETRY_MS	30000	/* after the host refused the configuration */
#define GONE_MS		1000	/* after somebody removed the interface */
#define STOP_MS		5000	/* for the server's answer to our delete */
#define MTU_MIN		1240	/* 1280 - 40: what every IPv6 path carries */

enum node_state {
	NODE_OFF,		/* not a node, or given back */
	NODE_WANTED,		/* session asks for a lease */
	NODE_UP,		/* the lease is configured */
	NODE_RELEASING		/* session gives it back */
};

static enum node_state	 state;
static struct msg_node_lease held;	/* NODE_UP, NODE_RELEASING */
static uint32_t		 held_mtu, renewals;
static int64_t		 until_ms, since;
static int		 has_hint;	/* address of an earlier life */
static struct in_addr	 hint;
static struct event	*timer;

static void	 node_timer(evutil_socket_t, short, void *);

static const struct conf_node *
node_conf(void)
{
	return (&priv.conf->node);
}

void
node_init(void)
{
	const struct conf_node *conf = node_conf();

	if ((priv.conf->roles & ROLE_NODE) == 0)
		return;
	if ((timer = evtimer_new(priv.base, node_timer, NULL)) == NULL)
		fatalx("evtimer_new");
	if (conf->table != 0 && netlink_rule_clean(conf->table) == -1)
		log_warn("old rules of table %u", conf->table);
	state = NODE_WANTED;
}

void
node_restore(const struct node_rec *rec)
{
	if (state != NODE_WANTED || !rec->valid || !in_usable(rec->v4))
		return;
	/* Even past its end: the server keeps it for us while it can. */
	has_hint = 1;
	hint = rec->v4;
	log_info("asking for %s again", log_in(hint));
}

static void
node_start(void)
{
	struct msg_node_start m;

	memset(&m, 0, sizeof(m));
	m.has_v4 = (uint32_t)has_hint;
	m.v4 = hint;
	msg_put(child_link(PROC_SESSION), MSG_NODE_START, &m, sizeof(m));
}

void
node_session_up(void)
{
	if (state == NODE_RELEASING)
		node_stopped(NULL, NULL);
	else if (state != NODE_OFF)
		node_start();
}

/* What the next start asks for. Nobody waits for it to be durable. */
static void
node_store(int valid)
{
	struct msg_store_node m;

	memset(&m, 0, sizeof(m));
	m.rec.valid = (uint32_t)valid;
	m.rec.v4 = held.v4;
	m.rec.until = now_wall() + (until_ms - now_ms()) / 1000;
	msg_put(child_link(PROC_STORE), MSG_STORE_NODE, &m, sizeof(m));
}

void
node_store_up(void)
{
	if (state == NODE_UP)
		node_store(1);
}

/*
 * The host
 */
static void
host_undo(void)
{
	const struct conf_node *conf = node_conf();

	if (conf->table != 0 && netlink_rule_clean(conf->table) == -1)
		log_warn("rule of table %u", conf->table);
	/* The interface takes its address and routes with it. */
	priv.plane->close(NODE_DEV);
}

static uint32_t
node_mtu(const struct msg_node_lease *l)
{
	uint32_t mtu = node_conf()->mtu;

	if (mtu == 0 && (mtu = netlink_path_mtu(&l->v6, &l->tep6)) != 0)
		mtu -= OUTER_OVERHEAD;
	return (mtu < MTU_MIN ? MTU_MIN : mtu);
}

int
node_dev(struct plane_dev *dev)
{
	if (state != NODE_UP && state != NODE_RELEASING)
		return (0);
	memset(dev, 0, sizeof(*dev));
	dev->dev = NODE_DEV;
	dev->is_node = 1;
	dev->mtu = held_mtu;
	dev->local = held.v6;
	strlcpy(dev->ifname, node_conf()->ifname, sizeof(dev->ifname));
	return (1);
}

static int
host_route(const struct conf_node *conf, struct in_addr v4)
{
	struct in_addr any = { 0 };

	if (!conf->route)
		return (0);
	if (netlink_route_add(conf->ifname, any, 0, v4, conf->metric,
	    conf->table) == -1) {
		if (errno == EEXIST)
			log_warnx("there is another IPv4 default route of "
			    "this metric, which is not ours to replace: "
			    "configure another metric, or a table");
		else
			log_warn("IPv4 default route by %s", conf->ifname);
		return (-1);
	}
	if (conf->table != 0 && netlink_rule_add(v4, conf->table) == -1) {
		log_warn("rule: from %s table %u", log_in(v4), conf->table);
		return (-1);
	}
	return (0);
}

static int
host_configure(const struct msg_node_lease *l)
{
	const struct conf_node *conf = node_conf();
	struct plane_dev dev;

	held = *l;
	held_mtu = node_mtu(l);
	state = NODE_UP;
	(void)node_dev(&dev);
	if (priv.plane->open(&dev) == -1)
		goto fail;
	priv.plane->add(NODE_DEV, l->v4, &l->tep6);
	if (netlink_addr_add(conf->ifname, l->v4, 32) == -1) {
		log_warn("address %s on %s", log_in(l->v4), conf->ifname);
		goto fail;
	}
	if (host_route(conf, l->v4) == -1)
		goto fail;
	return (0);
 fail:
	host_undo();
	state = NODE_WANTED;
	return (-1);
}

static void
node_unconfigure(const char *why)
{
	if (state != NODE_UP && state != NODE_RELEASING)
		return;
	log_info("IPv4 %s is gone from %s: %s", log_in(held.v4),
	    node_conf()->ifname, why);
	host_undo();
	evtimer_del(timer);
	state = NODE_WANTED;
}

static void
node_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	switch (state) {
	case NODE_UP:
		node_unconfigure("the lease ran out without a renewal");
		break;
	case NODE_RELEASING:
		log_warnx("the server does not answer: its lease of %s will "
		    "run out by itself", log_in(held.v4));
		node_stopped(NULL, NULL);
		break;
	case NODE_WANTED:
		node_start();
		break;
	case NODE_OFF:
		break;
	}
}

/*
 * What session says
 */

/* From the server that this connection was proved to be, and sane? */
static int
lease_believable(const struct msg_node_lease *l)
{
	const struct pconn *c = conn_find(l->conn);

	return (c != NULL && c->kind == CONN_TO_SERVER && c->authenticated &&
	    IN6_ARE_ADDR_EQUAL(&c->local, &l->v6) && l->lifetime > 0 &&
	    in_usable(l->v4) && in_usable(l->tep4) && in6_usable(&l->tep6) &&
	    !IN6_ARE_ADDR_EQUAL(&l->v6, &l->tep6) &&
	    l->v4.s_addr != l->tep4.s_addr);
}

void
node_lease(struct msglink *l, struct msg *m)
{
	struct msg_node_lease ml;

	memcpy(&ml, m->data, sizeof(ml));
	if (state != NODE_WANTED && state != NODE_UP)
		return;
	if (!lease_believable(&ml)) {
		log_warnx("session: a lease that can not be: %s by TEP %s",
		    log_in(ml.v4), log_in6(&ml.tep6));
		return;
	}
	if (state == NODE_UP && (held.v4.s_addr != ml.v4.s_addr ||
	    !IN6_ARE_ADDR_EQUAL(&held.v6, &ml.v6) ||
	    !IN6_ARE_ADDR_EQUAL(&held.tep6, &ml.tep6)))
		node_unconfigure("the server gave another lease");
	if (state == NODE_UP) {
		renewals++;
		log_info("IPv4 %s renewed for %u s", log_in(ml.v4),
		    ml.lifetime);
	} else if (host_configure(&ml) == -1) {
		msg_put(l, MSG_NODE_STOP, NULL, 0);
		timer_set(timer, RETRY_MS);
		return;
	} else {
		renewals = 0;
		since = now_wall();
		log_info("IPv4 %s on %s for %u s, TEP %s, MTU %u",
		    log_in(ml.v4), node_conf()->ifname, ml.lifetime,
		    log_in6(&ml.tep6), held_mtu);
	}
	held = ml;
	has_hint = 1;
	hint = ml.v4;
	until_ms = now_ms() + (int64_t)ml.lifetime * 1000;
	timer_set(timer, until_ms - now_ms());
	node_store(1);
}

void
node_delete(struct msglink *l, struct msg *m)
{
	struct msg_node_delete md;
	const struct pconn *c;

	(void)l;
	memcpy(&md, m->data, sizeof(md));
	c = conn_find(md.conn);
	if (c == NULL || c->kind != CONN_TO_SERVER || !c->authenticated ||
	    state != NODE_UP || md.v4.s_addr != held.v4.s_addr)
		return;
	node_unconfigure("the server took it back");
}

void
node_stopped(struct msglink *l, struct msg *m)
{
	(void)l;
	(void)m;
	if (state != NODE_RELEASING)
		return;
	node_store(0);
	node_unconfigure("given back");
	state = NODE_OFF;
	has_hint = 0;
}

const char *
node_release(void)
{
	if ((priv.conf->roles & ROLE_NODE) == 0)
		return ("this daemon is no node: name the address to revoke");
	if (state != NODE_UP)
		return ("no lease is held");
	state = NODE_RELEASING;
	msg_put(child_link(PROC_SESSION), MSG_NODE_STOP, NULL, 0);
	timer_set(timer, STOP_MS);
	return (NULL);
}

/* The end of the daemon: the lease stays ours at the server, for a restart. */
void
node_down(void)
{
	node_unconfigure("dstmd ends");
	state = NODE_OFF;
}

void
node_gone(void)
{
	/* The tunnel process may have been taken over: the kernel knows. */
	if (state != NODE_UP || netlink_link_exists(node_conf()->ifname))
		return;
	log_warnx("somebody has removed the interface %s",
	    node_conf()->ifname);
	node_unconfigure("its interface is gone");
	timer_set(timer, GONE_MS);
}

int
node_row(struct msg_ctl_lease *row)
{
	if (state != NODE_UP && state != NODE_RELEASING)
		return (0);
	memset(row, 0, sizeof(*row));
	row->v4 = held.v4;
	row->v6 = held.v6;
	row->tep4 = held.tep4;
	row->tep6 = held.tep6;
	row->state = state == NODE_UP ? CTL_BOUND : CTL_CLOSING;
	row->role = ROLE_NODE;
	row->mech = node_conf()->mech;
	row->renewals = renewals;
	row->since = since;
	row->remains = (until_ms - now_ms()) / 1000;
	strlcpy(row->name, row->mech == MECH_ANONYMOUS ? "anonymous" :
	    node_conf()->login.name, sizeof(row->name));
	return (1);
}
