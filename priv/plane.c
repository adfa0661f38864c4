/* Which data plane carries the packets; before the sandbox. */
#include <sys/types.h>

#ifdef HAVE_BPF
#include <linux/ipv6_route.h>
#endif

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "priv/netlink.h"
#include "priv/priv.h"

static uint32_t	 queues = 1;

/* Whatever plane it is now: what a killed daemon of another left goes on. */
static void
clean_one(const struct conf *conf, const char *ifname)
{
	int r;

	if (conf->plane == PLANE_KERNEL)
		plane_tun_remove_left(ifname);
#ifdef HAVE_BPF
	if (conf->plane == PLANE_KERNEL || conf->plane == PLANE_TUN)
		plane_bpf_forget(ifname);
#endif
	if ((r = netlink_tunnel_clean(ifname)) == -1)
		log_warn("interface %s, of an earlier dstmd, can not be "
		    "removed", ifname);
	else if (r == 1)
		log_info("interface %s, of an earlier dstmd that was killed, "
		    "is removed", ifname);
}

static void
clean(const struct conf *conf)
{
	uint32_t i;

	for (i = 0; i < conf->nteps; i++)
		if (conf->teps[i].local)
			clean_one(conf, conf->teps[i].ifname);
	if (conf->roles & ROLE_NODE)
		clean_one(conf, conf->node.ifname);
	netlink_short_clean();
}

/*
 * Asked for by name, it is had or nothing is: another plane would carry other
 * packets at another speed.
 */
static const struct plane *
choose_kernel(const struct conf *conf)
{
	uint32_t i, n = 0;

	for (i = 0; i < conf->nteps; i++)
		n += conf->teps[i].local != 0;
	if (n > 1)
		fatalx("plane kernel carries one TEP of a host, and %u are "
		    "configured: choose plane tun or bpf", n);
	if ((conf->roles & ROLE_NODE) && conf->node.idle != 0)
		fatalx("plane kernel does not see the packets that ask for a "
		    "lease on demand: choose plane tun or bpf");
	if (plane_kernel_prepare() == -1)
		fatalx("plane kernel is not to be had on this host: choose "
		    "plane tun or bpf");
	log_info("data plane: kernel");
	return (&plane_kernel);
}

#ifdef HAVE_BPF
#define FAST_MAX	(1U << 20)	/* leases of a TEP, 170 octets each */
#define SPARE		64		/* slots that are not used again at once */
#define NODE_ROOM	4
#define LOOK_MS		20		/* after interfaces have changed */
#define LOOK_AGAIN_MS	10000		/* and if others meddle with routes */
#define LOOK_MAX_MS	60000
#define LOOK_SHARE	100		/* of our time one goes there */
#define FLAGS_AT	132	/* of a route, in /proc/net/ipv6_route */

/* Does this host know a router by its advertisements? 1 or 0. */
static int
has_ra_router(void)
{
	char line[256];
	int found = 0;
	FILE *f;

	if ((f = fopen("/proc/net/ipv6_route", "r")) == NULL)
		return (0);
	while (!found && fgets(line, sizeof(line), f) != NULL) {
		if (strlen(line) < FLAGS_AT + 8)
			continue;
		found = (strtoul(line + FLAGS_AT, NULL, 16) &
		    RTF_DEFAULT) != 0;
	}
	fclose(f);
	return (found);
}

/*
 * bpf_fib_lookup asks for it; of lo it means nothing else. But the kernel, told
 * so of any interface, forgets all routers that it knows by advertisements:
 * this is not ours to do to a running host. We leave it set, as others may
 * have come to need it.
 */
static int
lo_forwards(const char **why)
{
	static const char path[] = "/proc/sys/net/ipv6/conf/lo/forwarding";
	char is = '0';
	int fd;

	*why = "this host's net.ipv6.conf.lo.forwarding can not be set to 1, "
	    "which it needs";
	if ((fd = open(path, O_RDWR | O_CLOEXEC)) == -1)
		fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd == -1 || read(fd, &is, 1) != 1) {
		log_debug("%s: %s", path, strerror(errno));
	} else if (is == '0' && has_ra_router()) {
		*why = "it needs net.ipv6.conf.lo.forwarding=1, and to set it "
		    "now would take this host's IPv6 default route away: set "
		    "it in sysctl.conf, before the network is up";
	} else if (is == '0' && pwrite(fd, "1\n", 2, 0) != 2) {
		log_debug("%s: %s", path, strerror(errno));
	} else if (is == '0') {
		log_info("sysctl net.ipv6.conf.lo.forwarding=1, for plane "
		    "bpf; it stays so");
		is = '1';
	}
	if (fd != -1)
		close(fd);
	return (is == '0' ? -1 : 0);
}

/* How many leases a TEP can have: what its pools and its servers hold. */
static uint32_t
room(const struct conf *conf, uint32_t tep)
{
	const struct conf_tep *t = &conf->teps[tep];
	const struct conf_range *r;
	uint64_t n = 0;
	uint32_t i, j;

	for (i = 0; i < conf->npools; i++)
		for (j = 0; conf->pools[i].tep == tep &&
		    j < conf->pools[i].nranges; j++) {
			r = &conf->pools[i].ranges[j];
			n += (uint64_t)ntohl(r->hi.s_addr) -
			    ntohl(r->lo.s_addr) + 1;
		}
	for (i = 0; i < t->npeers; i++)
		for (j = 0; j < t->peers[i].nprefixes; j++)
			n += UINT64_C(1) << (32 - t->peers[i].prefixes[j].len);
	n += SPARE;
	return (n > FAST_MAX ? FAST_MAX : (uint32_t)n);
}

/* Programs pass IPsec policies by, and must not where there are any. */
static void
policies(void)
{
	static int had;
	int has;

	if ((has = netlink_has_policies()) == -1)
		log_warn("IPsec policies of this host");
	plane_bpf_leave(has != 0);
	if ((has != 0) != had)
		log_info(has != 0 ? "this host has IPsec policies: packets "
		    "are carried in user space, which heeds them" : "this host "
		    "has no IPsec policies any more: packets are carried by "
		    "plane bpf");
	had = has != 0;
}

static void
policies_read(evutil_socket_t fd, short what, void *arg)
{
	(void)what;
	(void)arg;
	netlink_watch_empty((int)fd);
	policies();
}

static int
watch_policies(const char **why)
{
	struct event *ev;
	int fd;

	if ((fd = netlink_watch_policies()) == -1) {
		if (errno == EPROTONOSUPPORT)
			return (0);
		*why = "it can not see this host's IPsec policies";
		return (-1);
	}
	if ((ev = event_new(priv.base, fd, EV_READ | EV_PERSIST,
	    policies_read, NULL)) == NULL || event_add(ev, NULL) == -1)
		fatalx("event_new");
	policies();
	return (0);
}

/* Of the interfaces of the shortcut. */
static struct event	*looking;
static int		 soon;

static void
interfaces_look(evutil_socket_t fd, short what, void *arg)
{
	int64_t begin, next;

	(void)fd;
	(void)what;
	(void)arg;
	if (priv.quitting)
		return;
	begin = now_ms();
	plane_bpf_look();
	soon = 0;
	/* The kernel walks all of its routes, which may be the Internet's. */
	next = (now_ms() - begin) * LOOK_SHARE;
	if (next < LOOK_AGAIN_MS)
		next = LOOK_AGAIN_MS;
	timer_set(looking, next > LOOK_MAX_MS ? LOOK_MAX_MS : next);
}

static void
interfaces_read(evutil_socket_t fd, short what, void *arg)
{
	(void)what;
	(void)arg;
	netlink_watch_empty((int)fd);
	if (!soon)
		timer_set(looking, LOOK_MS);
	soon = 1;
}

static void
watch_interfaces(const struct conf *conf)
{
	struct event *ev;
	int fd;

	if (conf->plane_interface) {
		plane_bpf_by_interface();
		return;
	}
	if ((fd = netlink_short_watch()) == -1) {
		log_warn("changes of interfaces are not seen");
		plane_bpf_by_interface();
		return;
	}
	if ((looking = evtimer_new(priv.base, interfaces_look,
	    NULL)) == NULL || (ev = event_new(priv.base, fd,
	    EV_READ | EV_PERSIST, interfaces_read, NULL)) == NULL ||
	    event_add(ev, NULL) == -1)
		fatalx("event_new");
	timer_set(looking, LOOK_AGAIN_MS);
}

static int
try_bpf(const struct conf *conf, const char **why)
{
	uint32_t i;

	if (lo_forwards(why) == -1)
		return (-1);
	for (i = 0; i < conf->nteps && i < NODE_DEV; i++)
		if (conf->teps[i].local && plane_bpf_prepare(i,
		    room(conf, i), conf->teps[i].ifname, why) == -1)
			return (-1);
	if ((conf->roles & ROLE_NODE) && plane_bpf_prepare(NODE_DEV,
	    NODE_ROOM, conf->node.ifname, why) == -1)
		return (-1);
	plane_bpf_left_over();
	watch_interfaces(conf);
	return (watch_policies(why));
}

int
plane_stays(void)
{
	return (priv.plane == &plane_bpf && plane_bpf_stays());
}

void
plane_end(void)
{
	if (priv.plane == &plane_bpf)
		plane_bpf_end();
}
#else
static int
try_bpf(const struct conf *conf, const char **why)
{
	(void)conf;
	*why = "this dstmd was built without it";
	return (-1);
}

int
plane_stays(void)
{
	return (0);
}

void
plane_end(void)
{
}
#endif

/*
 * As many queues of a TEP's interface as there are processors that we may use.
 * A node has one, see plane-tun.c.
 */
static const struct plane *
choose_tun(const struct conf *conf)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);
	cpu_set_t ours;
	uint32_t i, local = 0;

	if (sched_getaffinity(0, sizeof(ours), &ours) == 0)
		n = CPU_COUNT(&ours);
	for (i = 0; i < conf->nteps; i++)
		local += conf->teps[i].local != 0;
	if (local > 0 && n > 1)
		queues = plane_tun_prepare(n > TUNNEL_QUEUE_MAX ?
		    TUNNEL_QUEUE_MAX : (uint32_t)n);
	if (queues > 1)
		log_info("data plane: tun, with %u processes", queues);
	else
		log_info("data plane: tun");
	return (&plane_tun);
}

uint32_t
plane_queues(void)
{
	return (queues);
}

/* The best that works, unless the configuration says which. */
const struct plane *
plane_choose(const struct conf *conf)
{
	const char *why = "";

	if (netlink_short_open() == -1)
		log_debug("routes can not be filtered: %s", strerror(errno));
	clean(conf);
	if (conf->plane == PLANE_KERNEL)
		return (choose_kernel(conf));
	if (conf->plane == PLANE_TUN)
		return (choose_tun(conf));
#ifdef HAVE_BPF
	if (try_bpf(conf, &why) == 0) {
		log_info("data plane: bpf");
		return (&plane_bpf);
	}
	plane_bpf_end();
#else
	(void)try_bpf(conf, &why);
#endif
	if (conf->plane == PLANE_BPF)
		log_warnx("plane bpf: %s; using tun", why);
	else
		log_info("plane bpf: %s; using tun", why);
	return (choose_tun(conf));
}
