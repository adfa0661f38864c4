/*
 * plane kernel: the kernel's own ip6_tunnel, for hosts that have it and shall
 * run no program of ours on their packets. The parent alone configures it
 * (priv/netlink-tunnel.c); the tunnel process has nothing to read.
 *
 * Where it does less than plane tun:
 * - The kernel knows no lifetimes. A lease ends when the parent says so: what
 *   ends while no dstmd runs, or while it hangs, is carried until it runs
 *   again. What a killed daemon left is removed at the next start, all of it.
 * - A false source is one counter (inner_source), whichever address is false.
 * - Of the inner TOS a TEP copies ECN, and not DSCP, to the outside.
 * - MSS is not clamped; too long a packet is answered by ICMP as on any route.
 * - Nobody sees packets here: no leases on demand, no watch of the TEP, no
 *   notice that somebody has removed the interface.
 * - One TEP of a host: there is but one device of its kind.
 */
#include <sys/types.h>
#include <sys/tree.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "priv/netlink.h"
#include "tunnel/tunnel.h"

struct klease {
	RB_ENTRY(klease)	 by_v4;
	uint32_t		 v4;		/* host order */
	struct in6_addr		 v6;
	int			 works;		/* the kernel has it */
};
RB_HEAD(kleases, klease);

struct kdev {
	int			 open;
	int			 ifindex;
	struct plane_dev	 conf;
	struct kleases		 leases;
	uint32_t		 count;
};

static struct kdev	 devs[TUNNEL_DEV_MAX];

static int
klease_cmp(const struct klease *a, const struct klease *b)
{
	return (a->v4 < b->v4 ? -1 : a->v4 > b->v4);
}

RB_PROTOTYPE(kleases, klease, by_v4, klease_cmp)
RB_GENERATE(kleases, klease, by_v4, klease_cmp)

static struct kdev *
device_of(uint32_t dev)
{
	if (dev >= TUNNEL_DEV_MAX)
		fatalx("tunnel device %u", dev);
	return (&devs[dev]);
}

static void
fill(const struct kdev *d, const struct klease *e, struct netlink_lease *l)
{
	memset(l, 0, sizeof(*l));
	l->ifindex = d->ifindex;
	l->is_node = d->conf.is_node != 0;
	l->v4.s_addr = htonl(e->v4);
	l->local = d->conf.local;
	l->peer = e->v6;
}

/*
 * Devices
 */

int
plane_kernel_prepare(void)
{
	if (netlink_tunnel_probe() == 0)
		return (0);
	if (errno == EOPNOTSUPP)
		log_warnx("plane kernel: this kernel has no ip6_tunnel, and "
		    "none can be loaded (modprobe ip6_tunnel): plane tun "
		    "needs none");
	else if (errno == ENOENT)
		log_warnx("plane kernel: this kernel has no flower classifier "
		    "(modprobe cls_flower sch_ingress act_gact), which checks "
		    "the sources: plane tun needs none");
	else
		log_warn("plane kernel: a tunnel of the kernel's can not be "
		    "made");
	return (-1);
}

static void
say_failed(const struct plane_dev *pd)
{
	if (errno == EEXIST)
		log_warnx("interface %s is there already, or somebody else "
		    "has the tunnel that it would be (ip -6 -d link show type "
		    "ip6tnl): remove that, or choose plane tun", pd->ifname);
	else
		log_warn("cannot make the interface %s", pd->ifname);
}

/* The interface of a device, shut: its index or -1. */
static int
open_link(const struct plane_dev *pd)
{
	int i;

	if (!netlink_has_addr6(&pd->local)) {
		log_warnx("outer address %s is not on this host",
		    log_in6(&pd->local));
		return (-1);
	}
	/* A node's gets its peer with its lease. */
	if ((i = netlink_tunnel_add(pd->ifname, &pd->local,
	    pd->is_node ? &in6addr_any : NULL)) == -1) {
		say_failed(pd);
		return (-1);
	}
	if (netlink_link_up(pd->ifname, pd->mtu) == 0)
		return (i);
	log_warn("interface %s, MTU %u", pd->ifname, pd->mtu);
	(void)netlink_tunnel_del(i);
	return (-1);
}

static int
kernel_open(const struct plane_dev *pd)
{
	struct kdev *d = device_of(pd->dev);

	if (d->open)
		fatalx("tunnel device %u is open", pd->dev);
	memset(d, 0, sizeof(*d));
	RB_INIT(&d->leases);
	d->conf = *pd;
	if ((d->ifindex = open_link(pd)) == -1)
		return (-1);
	d->open = 1;
	return (0);
}

static void
kernel_close(uint32_t dev)
{
	struct kdev *d = device_of(dev);
	struct klease *e;

	if (!d->open)
		return;
	if (netlink_tunnel_del(d->ifindex) == -1)
		log_warn("interface %s can not be removed", d->conf.ifname);
	while ((e = RB_ROOT(&d->leases)) != NULL) {
		RB_REMOVE(kleases, &d->leases, e);
		free(e);
	}
	memset(d, 0, sizeof(*d));
}

static int
kernel_exists(uint32_t dev)
{
	const struct kdev *d = device_of(dev);

	return (d->open && netlink_tunnel_exists(d->ifindex));
}

/* A node's device takes its peer, then the lease's packets pass. */
static void
install(const struct kdev *d, struct klease *e)
{
	struct netlink_lease l;

	fill(d, e, &l);
	e->works = (!l.is_node || netlink_tunnel_peer(d->ifindex,
	    &d->conf.local, &e->v6) == 0) && netlink_lease_add(&l) == 0;
	if (e->works)
		return;
	if (errno == EEXIST)
		log_warnx("%s is not carried by %s: there is another route "
		    "of it, or another tunnel to %s", log_in(l.v4),
		    d->conf.ifname, log_in6(&e->v6));
	else
		log_warn("%s is not carried by %s", log_in(l.v4),
		    d->conf.ifname);
}

static int
kernel_reopen(uint32_t dev)
{
	struct kdev *d = device_of(dev);
	struct klease *e;
	int i;

	if (!d->open || (i = open_link(&d->conf)) == -1)
		return (-1);
	d->ifindex = i;
	RB_FOREACH(e, kleases, &d->leases)
		install(d, e);
	return (0);
}

/* On demand alone, which this plane does not do. */
static int
kernel_move(const struct plane_dev *pd)
{
	log_warnx("interface %s keeps its outer address: plane kernel",
	    pd->ifname);
	return (-1);
}

/*
 * Leases
 */

static struct klease *
klease_find(struct kdev *d, struct in_addr v4)
{
	struct klease key;

	key.v4 = ntohl(v4.s_addr);
	return (RB_FIND(kleases, &d->leases, &key));
}

static void
uninstall(const struct kdev *d, struct klease *e)
{
	struct netlink_lease l;

	fill(d, e, &l);
	if (e->works && netlink_lease_del(&l) == -1)
		log_warn("%s can not be taken from %s", log_in(l.v4),
		    d->conf.ifname);
	e->works = 0;
}

static void
kernel_add(uint32_t dev, struct in_addr v4, const struct in6_addr *v6,
    int64_t until)
{
	struct kdev *d = device_of(dev);
	struct klease *e;

	(void)until;		/* the kernel knows no time: the parent does */
	if (!d->open || v4.s_addr == 0)
		return;
	if ((e = klease_find(d, v4)) == NULL) {
		if ((e = calloc(1, sizeof(*e))) == NULL)
			fatal(NULL);
		e->v4 = ntohl(v4.s_addr);
		RB_INSERT(kleases, &d->leases, e);
		d->count++;
	} else if (e->works && IN6_ARE_ADDR_EQUAL(&e->v6, v6))
		return;
	uninstall(d, e);
	e->v6 = *v6;
	install(d, e);
}

static void
kernel_del(uint32_t dev, struct in_addr v4)
{
	struct kdev *d = device_of(dev);
	struct klease *e;

	if (!d->open || (e = klease_find(d, v4)) == NULL)
		return;
	uninstall(d, e);
	RB_REMOVE(kleases, &d->leases, e);
	d->count--;
	free(e);
}

/* Nobody sees the packets here: the far end is never judged. */
static void
kernel_keepalive(const struct msg_tunnel_keepalive *m)
{
	static int said;

	if (m->interval == 0 || said)
		return;
	log_info("plane kernel does not see whether the TEP answers: no "
	    "keepalive");
	said = 1;
}

/*
 * Counters
 */

/* A node's packets in are to its lease, and out from it: a TEP's reverse. */
static int
fill_drops(const struct kdev *d, struct msg_tunnel_stats *ms)
{
	uint64_t in, out, rest;

	if (netlink_tunnel_drops(d->ifindex, &in, &out, &rest) == -1) {
		log_warn("interface %s: no counters", d->conf.ifname);
		return (-1);
	}
	ms->drops[DROP_INNER_SOURCE] = d->conf.is_node ? out : in;
	ms->drops[DROP_NO_LEASE] = d->conf.is_node ? in : out;
	ms->drops[DROP_MALFORMED] = rest;
	return (0);
}

static void
fill_entry(const struct kdev *d, const struct klease *e,
    struct msg_tunnel_entry *me)
{
	struct netlink_count in, out;
	struct netlink_lease l;

	fill(d, e, &l);
	memset(me, 0, sizeof(*me));
	me->dev = d->conf.dev;
	me->v4 = l.v4;
	me->v6 = l.peer;
	if (!e->works || netlink_lease_count(&l, &in, &out) == -1)
		return;
	me->in_packets = in.packets;
	me->in_bytes = in.bytes;
	me->out_packets = out.packets;
	me->out_bytes = out.bytes;
}

/* A slot is the address of its entry, as a number. */
static void
kernel_list(uint32_t dev, uint32_t slot, uint32_t max, plane_entry_cb on_entry,
    plane_page_cb on_page, void *arg)
{
	struct kdev *d = device_of(dev);
	struct msg_tunnel_entry me;
	struct msg_tunnel_stats ms;
	struct klease *e, key;

	memset(&ms, 0, sizeof(ms));
	ms.dev = dev;
	if (!d->open || fill_drops(d, &ms) == -1) {
		on_page(NULL, arg);
		return;
	}
	ms.entries = d->count;
	key.v4 = slot;
	e = RB_NFIND(kleases, &d->leases, &key);
	for (; e != NULL && max > 0; max--) {
		fill_entry(d, e, &me);
		e = RB_NEXT(kleases, &d->leases, e);
		on_entry(&me, arg);
	}
	ms.next = e != NULL ? e->v4 : 0;
	on_page(&ms, arg);
}

const struct plane	 plane_kernel = {
	"kernel", kernel_open, kernel_close, kernel_exists, kernel_reopen,
	kernel_move, kernel_add, kernel_del, kernel_keepalive, kernel_list,
	NULL, NULL, NULL
};
