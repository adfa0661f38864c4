/* Which data plane carries the packets; before the sandbox. */
#include <sys/types.h>

#ifdef HAVE_BPF
#include <linux/ipv6_route.h>
#endif

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "priv/netlink.h"
#include "priv/priv.h"

/* Whatever plane it is now: what a killed one of plane kernel left goes on. */
static void
clean_kernel(const char *ifname)
{
	int r;

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
			clean_kernel(conf->teps[i].ifname);
	if (conf->roles & ROLE_NODE)
		clean_kernel(conf->node.ifname);
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
#define FAST_MAX	131072	/* leases of a TEP: 64 octets each, and a hash */
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
lo_forwards(void)
{
	static const char path[] = "/proc/sys/net/ipv6/conf/lo/forwarding";
	char is = '0';
	int fd;

	if ((fd = open(path, O_RDWR | O_CLOEXEC)) == -1 ||
	    read(fd, &is, 1) != 1) {
		log_warn("%s", path);
	} else if (is == '0' && has_ra_router()) {
		log_warnx("plane bpf needs net.ipv6.conf.lo.forwarding=1, and "
		    "to set it now would take this host's IPv6 default route "
		    "away: set it in sysctl.conf, before the network is up");
	} else if (is == '0' && pwrite(fd, "1\n", 2, 0) != 2) {
		log_warn("%s", path);
	} else if (is == '0') {
		log_info("sysctl net.ipv6.conf.lo.forwarding=1, for plane "
		    "bpf; it stays so");
		is = '1';
	}
	if (fd != -1)
		close(fd);
	return (is == '0' ? -1 : 0);
}

const struct plane *
plane_choose(const struct conf *conf)
{
	uint32_t i;
	int ok;

	clean(conf);
	if (conf->plane == PLANE_KERNEL)
		return (choose_kernel(conf));
	if (conf->plane == PLANE_TUN) {
		log_info("data plane: tun");
		return (&plane_tun);
	}
	ok = lo_forwards() == 0;
	for (i = 0; ok && i < conf->nteps && i < NODE_DEV; i++)
		if (conf->teps[i].local)
			ok = plane_bpf_prepare(i, FAST_MAX) == 0;
	if (ok && (conf->roles & ROLE_NODE))
		ok = plane_bpf_prepare(NODE_DEV, 4) == 0;
	if (ok) {
		log_info("data plane: bpf");
		return (&plane_bpf);
	}
	log_warnx("data plane: tun, as plane bpf is not to be had here (its "
	    "kernel, container or sysctl; -v says more)");
	return (&plane_tun);
}
#else
const struct plane *
plane_choose(const struct conf *conf)
{
	clean(conf);
	if (conf->plane == PLANE_KERNEL)
		return (choose_kernel(conf));
	if (conf->plane == PLANE_BPF)
		log_warnx("data plane: tun, as this dstmd was built without "
		    "bpf");
	else
		log_info("data plane: tun");
	return (&plane_tun);
}
#endif
