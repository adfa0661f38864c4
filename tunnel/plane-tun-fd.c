/*
 * Interfaces and raw sockets of plane tun, a descriptor of each for every
 * queue. The parent opens them, and keeps them.
 */
#include <sys/types.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <net/if.h>
#include <linux/if_tun.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "priv/netlink.h"
#include "tunnel/plane-tun.h"
#include "tunnel/tunnel.h"

#ifndef TUN_F_USO4		/* Linux 6.2; it takes both or none */
#define TUN_F_USO4	0x20
#define TUN_F_USO6	0x40
#endif

#define SOCK_BUFFER	(4 * 1024 * 1024)
#define BUSY_TRIES	25		/* of BUSY_MS each */
#define BUSY_MS		20

static enum queue_by
spread_by(const struct plane_dev *pd)
{
	return (pd->rate != 0 ? QUEUE_BY_LEASE : QUEUE_BY_FLOW);
}

void
tun_fds_close(int *fds, uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++) {
		if (fds[i] != -1)
			close(fds[i]);
		fds[i] = -1;
	}
}

/*
 * A daemon that was killed leaves the interface to its tunnel processes, which
 * end in a moment: a restart at once waits for that.
 */
static int
set_iff(int fd, struct ifreq *ifr)
{
	const struct timespec pause = { 0, BUSY_MS * 1000000L };
	int i;

	for (i = 0; i < BUSY_TRIES; i++) {
		if (ioctl(fd, TUNSETIFF, ifr) == 0)
			return (0);
		if (errno != EBUSY)
			break;
		nanosleep(&pause, NULL);
	}
	return (-1);
}

/*
 * What the tunnel process does of a network card's work, so that the host's
 * kernel gives it packets of many segments. Older kernels know fewer. With
 * none it sends what it always did, behind an offload header that is 0.
 */
static void
set_offload(int fd)
{
	static const unsigned int offers[] = {
		TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO_ECN | TUN_F_USO4 |
		    TUN_F_USO6,
		TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO_ECN,
	};
	size_t i;

	for (i = 0; i < sizeof(offers) / sizeof(offers[0]); i++)
		if (ioctl(fd, TUNSETOFFLOAD, offers[i]) == 0)
			return;
}

/* A queue of an interface: its descriptor, or -1 and errno. */
static int
open_queue(const char *ifname, int flags)
{
	struct ifreq ifr;
	int fd, error;

	fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd == -1)
		return (-1);
	memset(&ifr, 0, sizeof(ifr));
	strlcpy(ifr.ifr_name, ifname, sizeof(ifr.ifr_name));
	ifr.ifr_flags = (short)(IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | flags);
	if (set_iff(fd, &ifr) == 0)
		return (fd);
	error = errno;
	close(fd);
	errno = error;
	return (-1);
}

/* All queues of a new interface: 0, or -1 and errno, and it is not there. */
static int
open_queues(const struct plane_dev *pd, uint32_t n, int *fds)
{
	uint32_t i;
	int error;

	for (i = 0; i < n; i++) {
		fds[i] = open_queue(pd->ifname, IFF_MULTI_QUEUE |
		    (i == 0 ? IFF_TUN_EXCL : 0));
		if (fds[i] == -1)
			break;
	}
	if (i == n && queue_steer(fds[0], spread_by(pd)) == 0)
		return (0);
	error = errno;
	tun_fds_close(fds, i);
	errno = error;
	return (-1);
}

/* As tun_link_open. */
static int
make_link(const struct plane_dev *pd, uint32_t n, int *fds)
{
	if (n > 1 && open_queues(pd, n, fds) == 0)
		return ((int)n);
	if (n > 1 && errno != EBUSY) {
		log_warn("interface %s with %u queues: it gets one",
		    pd->ifname, n);
		n = 1;
	}
	if (n == 1 && (fds[0] = open_queue(pd->ifname,
	    pd->left ? 0 : IFF_TUN_EXCL)) != -1)
		return (1);
	if (errno == EBUSY)
		log_warnx("interface %s is there already: remove it, or "
		    "configure another name", pd->ifname);
	else
		log_warn("cannot make the interface %s by /dev/net/tun",
		    pd->ifname);
	return (-1);
}

/*
 * What plane bpf left, and this plane has no use for; one that has a daemon
 * can not be opened. It has one queue, as all that plane bpf makes.
 */
void
plane_tun_remove_left(const char *ifname)
{
	int fd;

	if (netlink_bpf_attached(ifname) == -1)
		return;
	if ((fd = open_queue(ifname, 0)) == -1) {
		log_warn("interface %s, of a daemon before", ifname);
		return;
	}
	if (netlink_link_del(ifname) == 0)
		log_info("interface %s of a daemon before is removed", ifname);
	close(fd);
}

int
tun_link_open(const struct plane_dev *pd, uint32_t n, int *fds)
{
	int made;

	if (!pd->left)
		plane_tun_remove_left(pd->ifname);
	if ((made = make_link(pd, n, fds)) == -1)
		return (-1);
	set_offload(fds[0]);
	if (netlink_link_up(pd->ifname, pd->mtu) == 0)
		return (made);
	log_warn("interface %s, MTU %u", pd->ifname, pd->mtu);
	tun_fds_close(fds, (uint32_t)made);
	return (-1);
}

static int
bind_local(int fd, const struct in6_addr *local)
{
	struct sockaddr_in6 sin6;

	memset(&sin6, 0, sizeof(sin6));
	sin6.sin6_family = AF_INET6;
	sin6.sin6_addr = *local;
	if (bind(fd, (struct sockaddr *)&sin6, sizeof(sin6)) == 0)
		return (0);
	if (errno == EADDRNOTAVAIL)
		log_warnx("outer address %s is not on this host (or its "
		    "duplicate address detection has not ended)",
		    log_in6(local));
	else
		log_warn("outer address %s", log_in6(local));
	return (-1);
}

/*
 * RECVERR: see drain_errors in tunnel.c; each queue's socket gets all errors.
 * PMTUDISC_WANT: the kernel cuts an outer packet that the path does not take
 * (RFC 2473, 7).
 */
static int
set_sock(int fd)
{
	int on = 1, pmtu = IPV6_PMTUDISC_WANT, size = SOCK_BUFFER;

	if (setsockopt(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, &on,
	    sizeof(on)) == -1 ||
	    setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &on,
	    sizeof(on)) == -1 ||
	    setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &pmtu,
	    sizeof(pmtu)) == -1) {
		log_warn("raw socket");
		return (-1);
	}
	/* Best effort: without it bursts are lost earlier. */
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	return (0);
}

/* The outer socket of queue i of n, or -1 logged. */
static int
open_sock(const struct plane_dev *pd, uint32_t i, uint32_t n)
{
	int fd;

	fd = socket(AF_INET6, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC,
	    IPPROTO_IPIP);
	if (fd == -1) {
		log_warn("raw socket");
		return (-1);
	}
	if (bind_local(fd, &pd->local) == 0 && set_sock(fd) == 0) {
		if (n == 1 || queue_filter(fd, spread_by(pd), i, n) == 0)
			return (fd);
		log_warn("raw socket: its filter");
	}
	close(fd);
	return (-1);
}

int
tun_socks_open(const struct plane_dev *pd, uint32_t n, int *fds)
{
	uint32_t i;

	for (i = 0; i < n; i++)
		fds[i] = -1;
	if (IN6_IS_ADDR_UNSPECIFIED(&pd->local))
		return (0);
	for (i = 0; i < n; i++)
		if ((fds[i] = open_sock(pd, i, n)) == -1) {
			tun_fds_close(fds, n);
			return (-1);
		}
	return (0);
}
