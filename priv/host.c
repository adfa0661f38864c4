/*
 * The host of a node: interface, address, MTU, default route, and all of it
 * undone. Where the whole daemon is killed the kernel removes the interface,
 * with its address and routes; or the plane leaves it, and it is taken over.
 * Policy rules (route table) outlive both, so they are marked, and removed at
 * the next start.
 *
 * On demand the interface and its route are there without a lease, as
 * packets must find a way to us; and so is an address, of the range that RFC
 * 7335 keeps for such ends: without any, getaddrinfo(3) hides what has IPv4
 * alone (AI_ADDRCONFIG), and packets have the source 0.0.0.0. The route
 * names no source, so that at every moment one of the two addresses serves.
 */
#include <sys/types.h>

#include <errno.h>
#include <string.h>

#include "priv/netlink.h"
#include "priv/priv.h"

#define MTU_LEAST	1240	/* 1280 - 40: what every IPv6 path carries */

static const struct in_addr	 any = { 0 };
static struct plane_dev		 dev;
static int			 is_open;
static struct in_addr		 leased;	/* on the interface; 0: none */

static const struct conf_node *
host_conf(void)
{
	return (&priv.conf->node);
}

/* The address without a lease: 192.0.0.6 */
static struct in_addr
nobody(void)
{
	struct in_addr a;

	a.s_addr = htonl(0xc0000006U);
	return (a);
}

static void
host_rules(void)
{
	const struct conf_node *conf = host_conf();

	if (conf->table != 0 && netlink_rule_clean(conf->table) == -1)
		log_warn("rules of table %u", conf->table);
}

static uint32_t
host_mtu(const struct in6_addr *local, const struct in6_addr *peer)
{
	uint32_t mtu = host_conf()->mtu;

	if (mtu == 0 && (mtu = netlink_path_mtu(local, peer)) != 0)
		mtu -= OUTER_OVERHEAD;
	return (mtu < MTU_LEAST ? MTU_LEAST : mtu);
}

int
node_dev(struct plane_dev *pd)
{
	*pd = dev;
	return (is_open);
}

static int
host_route(struct in_addr src)
{
	const struct conf_node *conf = host_conf();

	if (!conf->route)
		return (0);
	if (netlink_route_add(conf->ifname, any, 0, src, conf->metric,
	    conf->table) == -1) {
		if (errno == EEXIST)
			log_warnx("there is another IPv4 default route of "
			    "this metric, which is not ours to replace: "
			    "configure another metric, or a table");
		else
			log_warn("IPv4 default route by %s", conf->ifname);
		return (-1);
	}
	if (conf->table != 0 && netlink_rule_add(src, conf->table) == -1) {
		log_warn("rule: from %s table %u", log_in(src), conf->table);
		return (-1);
	}
	return (0);
}

static int
host_addr(struct in_addr v4)
{
	if (netlink_addr_add(dev.ifname, v4, 32) == 0 &&
	    netlink_addr_only(dev.ifname, v4) == 0)
		return (0);
	log_warn("address %s on %s", log_in(v4), dev.ifname);
	return (-1);
}

static void
host_dev(void)
{
	const struct conf_node *conf = host_conf();

	memset(&dev, 0, sizeof(dev));
	dev.dev = NODE_DEV;
	dev.is_node = 1;
	dev.demand = conf->idle != 0;
	strlcpy(dev.ifname, conf->ifname, sizeof(dev.ifname));
}

/* Opens the interface with the address that dev has, or none. */
static int
host_open(const struct in6_addr *local, const struct in6_addr *peer)
{
	host_dev();
	dev.mtu = host_mtu(local, peer);
	dev.local = *local;
	if (priv.plane->open(&dev) == -1)
		return (-1);
	is_open = 1;
	return (0);
}

void
host_close(void)
{
	if (!is_open) {
		/* What a daemon before left, and we could not take over. */
		plane_tun_remove_left(host_conf()->ifname);
		return;
	}
	host_rules();
	/* The interface takes its address and routes with it. */
	priv.plane->close(NODE_DEV);
	is_open = 0;
	leased = any;
}

/* On demand, without a lease. */
static int
host_dress(void)
{
	if (host_addr(nobody()) == 0 && host_route(any) == 0)
		return (0);
	host_close();
	return (-1);
}

int
host_wait(void)
{
	if (is_open || host_conf()->idle == 0)
		return (0);
	if (host_open(&in6addr_any, &host_conf()->servers[0].addr) == -1)
		return (-1);
	return (host_dress());
}

/* The open interface gets the outer end, or loses it. */
static int
host_move(const struct in6_addr *local, uint32_t mtu)
{
	struct plane_dev pd = dev;

	pd.local = *local;
	pd.mtu = mtu;
	if (mtu == dev.mtu && IN6_ARE_ADDR_EQUAL(local, &dev.local))
		return (0);
	if (priv.plane->move(&pd) == -1)
		return (-1);
	dev = pd;
	return (0);
}

void
host_renew(const struct msg_node_lease *l, int64_t until)
{
	priv.plane->add(NODE_DEV, l->v4, &l->tep6, until);
}

/* The lease's alone; where that fails, all is made anew. */
static int
host_strip(void)
{
	if (leased.s_addr == 0)
		return (0);
	priv.plane->keepalive(&(struct msg_tunnel_keepalive){
	    .dev = NODE_DEV });
	priv.plane->del(NODE_DEV, leased);
	if (host_addr(nobody()) == -1)
		return (-1);
	if (netlink_addr_del(dev.ifname, leased, 32) == -1 &&
	    errno != EADDRNOTAVAIL) {
		log_warn("address %s on %s", log_in(leased), dev.ifname);
		return (-1);
	}
	leased = any;
	return (host_move(&in6addr_any, dev.mtu));
}

/* Of addresses that the daemon before us had. */
static int
host_over(uint32_t number, struct in_addr v4)
{
	(void)number;
	return (v4.s_addr != leased.s_addr);
}

/* The plane has this lease, and no other of a daemon before us. */
static void
host_add(const struct msg_node_lease *l, int64_t until)
{
	host_renew(l, until);
	leased = l->v4;
	if (priv.plane->sweep != NULL)
		priv.plane->sweep(NODE_DEV, host_over);
}

static int
configure_demand(const struct msg_node_lease *l, int64_t until)
{
	if (leased.s_addr != 0 && leased.s_addr != l->v4.s_addr &&
	    host_strip() == -1)
		host_close();
	if (host_wait() == -1 ||
	    host_move(&l->v6, host_mtu(&l->v6, &l->tep6)) == -1)
		return (-1);
	host_add(l, until);
	if (host_addr(l->v4) == -1)
		return (-1);
	/* A TCP that waits with the old source looks for another. */
	if (netlink_addr_del(dev.ifname, nobody(), 32) == -1 &&
	    errno != EADDRNOTAVAIL) {
		log_warn("address %s on %s", log_in(nobody()), dev.ifname);
		return (-1);
	}
	return (0);
}

static int
configure_always(const struct msg_node_lease *l, int64_t until)
{
	if (leased.s_addr != l->v4.s_addr)
		host_close();
	if ((is_open ? host_move(&l->v6, host_mtu(&l->v6, &l->tep6)) :
	    host_open(&l->v6, &l->tep6)) == -1)
		return (-1);
	host_add(l, until);
	return (host_addr(l->v4) == 0 ? host_route(l->v4) : -1);
}

int
host_configure(const struct msg_node_lease *l, int64_t until)
{
	if ((host_conf()->idle != 0 ? configure_demand(l, until) :
	    configure_always(l, until)) == -1) {
		host_unconfigure();
		return (-1);
	}
	if (priv.plane->dressed != NULL)
		priv.plane->dressed(NODE_DEV);
	return (0);
}

void
host_unconfigure(void)
{
	if (is_open && (host_conf()->idle == 0 || host_strip() == -1))
		host_close();
}

int64_t
host_init(void)
{
	int64_t until = 0;

	host_dev();
	if (priv.plane->left == NULL || !priv.plane->left(&dev, &leased,
	    &until)) {
		host_rules();
		return (0);
	}
	/* Where its outer address is gone there is nothing to carry. */
	if (priv.plane->open(&dev) == -1) {
		until = 0;
		dev.local = in6addr_any;
		if (priv.plane->open(&dev) == -1)
			return (0);
	}
	is_open = 1;
	if (until > now_ms())
		return (until);
	host_rules();
	if (leased.s_addr != 0 || host_conf()->idle == 0)
		host_unconfigure();
	else
		(void)host_dress();
	return (0);
}

void
host_keepalive(const struct msg_node_lease *l, int answers)
{
	struct msg_tunnel_keepalive m;

	memset(&m, 0, sizeof(m));
	m.dev = NODE_DEV;
	m.interval = host_conf()->keepalive;
	m.answers = (uint32_t)answers;
	m.v4 = l->v4;
	m.tep4 = l->tep4;
	priv.plane->keepalive(&m);
}
