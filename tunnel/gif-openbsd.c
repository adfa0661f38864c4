/*
 * The plane of OpenBSD: gif(4), one interface for each entry, in the kernel.
 * A node has one entry; a TEP of OpenBSD is limited by its interfaces, and
 * the kernel checks the outer source of each by itself.
 *
 * Written from the manual pages, compiled against stub headers by "make
 * lint". It has never run.
 */
#ifdef __OpenBSD__
#include <sys/types.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <net/if.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tunnel/tunnel.h"

extern const struct plane plane_gif;

static struct {
	int			 open;
	struct plane_dev	 conf;
	struct in_addr		 v4;
	struct in6_addr		 v6;
} devices[TUNNEL_DEV_MAX];

static int
gif_ioctl(int family, unsigned long request, void *arg)
{
	int fd, r, saved;

	if ((fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0)) == -1)
		return (-1);
	r = ioctl(fd, request, arg);
	saved = errno;
	close(fd);
	errno = saved;
	return (r);
}

static int
gif_open(const struct plane_dev *pd)
{
	struct ifreq ifr;

	if (pd->dev >= TUNNEL_DEV_MAX || devices[pd->dev].open)
		fatalx("device %u", pd->dev);
	if (strncmp(pd->ifname, "gif", 3) != 0) {
		log_warnx("interface %s: on OpenBSD it is gif and a number",
		    pd->ifname);
		return (-1);
	}
	if (pd->rate != 0) {
		log_warnx("interface %s: gif(4) limits no rate", pd->ifname);
		return (-1);
	}
	memset(&ifr, 0, sizeof(ifr));
	strlcpy(ifr.ifr_name, pd->ifname, sizeof(ifr.ifr_name));
	if (gif_ioctl(AF_INET, SIOCIFCREATE, &ifr) == -1) {
		log_warn("interface %s", pd->ifname);
		return (-1);
	}
	ifr.ifr_mtu = (int)pd->mtu;
	if (gif_ioctl(AF_INET, SIOCSIFMTU, &ifr) == -1) {
		log_warn("interface %s, MTU %u", pd->ifname, pd->mtu);
		return (-1);
	}
	devices[pd->dev].open = 1;
	devices[pd->dev].conf = *pd;
	return (0);
}

static void
gif_close(uint32_t dev)
{
	struct ifreq ifr;

	if (!devices[dev].open)
		return;
	memset(&ifr, 0, sizeof(ifr));
	strlcpy(ifr.ifr_name, devices[dev].conf.ifname, sizeof(ifr.ifr_name));
	if (gif_ioctl(AF_INET, SIOCIFDESTROY, &ifr) == -1)
		log_warn("interface %s", ifr.ifr_name);
	memset(&devices[dev], 0, sizeof(devices[dev]));
}

static void
set_sin6(struct sockaddr_storage *ss, const struct in6_addr *v6)
{
	struct sockaddr_in6 sin6;

	memset(&sin6, 0, sizeof(sin6));
	sin6.sin6_family = AF_INET6;
	sin6.sin6_addr = *v6;
	memcpy(ss, &sin6, sizeof(sin6));
}

static void
gif_add(uint32_t dev, struct in_addr v4, const struct in6_addr *v6,
    int64_t until)
{
	struct if_laddrreq req;
	struct ifreq ifr;

	(void)until;		/* the kernel knows no time: the parent does */
	if (!devices[dev].open || (devices[dev].v4.s_addr == v4.s_addr &&
	    v4.s_addr != 0 && IN6_ARE_ADDR_EQUAL(&devices[dev].v6, v6)))
		return;
	if (devices[dev].v4.s_addr != 0 &&
	    devices[dev].v4.s_addr != v4.s_addr) {
		log_warnx("interface %s has an entry: gif carries one",
		    devices[dev].conf.ifname);
		return;
	}
	memset(&req, 0, sizeof(req));
	strlcpy(req.iflr_name, devices[dev].conf.ifname,
	    sizeof(req.iflr_name));
	set_sin6(&req.addr, &devices[dev].conf.local);
	set_sin6(&req.dstaddr, v6);
	memset(&ifr, 0, sizeof(ifr));
	strlcpy(ifr.ifr_name, devices[dev].conf.ifname, sizeof(ifr.ifr_name));
	ifr.ifr_flags = IFF_UP;
	if (gif_ioctl(AF_INET6, SIOCSLIFPHYADDR, &req) == -1 ||
	    gif_ioctl(AF_INET, SIOCSIFFLAGS, &ifr) == -1) {
		log_warn("tunnel of %s", log_in(v4));
		return;
	}
	devices[dev].v4 = v4;
	devices[dev].v6 = *v6;
}

static void
gif_del(uint32_t dev, struct in_addr v4)
{
	struct ifreq ifr;

	if (!devices[dev].open || devices[dev].v4.s_addr != v4.s_addr)
		return;
	memset(&ifr, 0, sizeof(ifr));
	strlcpy(ifr.ifr_name, devices[dev].conf.ifname, sizeof(ifr.ifr_name));
	if (gif_ioctl(AF_INET, SIOCSIFFLAGS, &ifr) == -1)
		log_warn("interface %s", ifr.ifr_name);
	devices[dev].v4.s_addr = 0;
}

/* No tunnel process tells that it is gone. */
static int
gif_exists(uint32_t dev)
{
	return (devices[dev].open);
}

static int
gif_reopen(uint32_t dev)
{
	(void)dev;
	return (-1);
}

static int
gif_move(const struct plane_dev *pd)
{
	(void)pd;
	return (-1);
}

/* Nobody sees the packets here: the far end is never judged. */
static void
gif_keepalive(const struct msg_tunnel_keepalive *m)
{
	(void)m;
}

static void
gif_list(uint32_t dev, uint32_t slot, uint32_t max, plane_entry_cb on_entry,
    plane_page_cb on_page, void *arg)
{
	struct msg_tunnel_entry me;
	struct msg_tunnel_stats ms;

	memset(&ms, 0, sizeof(ms));
	ms.dev = dev;
	if (devices[dev].open && devices[dev].v4.s_addr != 0) {
		ms.entries = 1;
		memset(&me, 0, sizeof(me));
		me.dev = dev;
		me.v4 = devices[dev].v4;
		me.v6 = devices[dev].v6;
		if (slot == 0 && max > 0)
			on_entry(&me, arg);
	}
	on_page(&ms, arg);
}

const struct plane	 plane_gif = {
	"gif", gif_open, gif_close, gif_exists, gif_reopen, gif_move, gif_add,
	gif_del, gif_keepalive, gif_list, NULL, NULL, NULL
};
#endif /* __OpenBSD__ */
