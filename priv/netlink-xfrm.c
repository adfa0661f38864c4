/*
 * IPsec policies of this host (xfrm). Programs on interfaces pass them by, so
 * plane bpf must know of them, also when a key daemon comes later.
 */
#include <sys/types.h>
#include <sys/socket.h>

#include <linux/netlink.h>
#include <linux/xfrm.h>

#include <string.h>
#include <unistd.h>

#include "priv/netlink.h"
#include "priv/netlink-int.h"

static struct mnl_socket	*xfrm;

int
netlink_watch_policies(void)
{
	int fd;

	if ((fd = netlink_watch(NETLINK_XFRM, XFRMGRP_POLICY)) == -1)
		return (-1);
	if ((xfrm = netlink_socket(NETLINK_XFRM)) == NULL) {
		close(fd);
		return (-1);
	}
	return (fd);
}

/* Those of sockets are not among them. */
static int
count_cb(const struct nlmsghdr *nh, void *arg)
{
	const struct xfrmu_spdinfo *si;
	const struct nlattr *a;

	if (nh->nlmsg_type != XFRM_MSG_NEWSPDINFO ||
	    mnl_nlmsg_get_payload_len(nh) < sizeof(uint32_t))
		return (MNL_CB_OK);
	mnl_attr_for_each(a, nh, sizeof(uint32_t)) {
		if (mnl_attr_get_type(a) != XFRMA_SPD_INFO ||
		    mnl_attr_get_payload_len(a) < sizeof(*si))
			continue;
		si = mnl_attr_get_payload(a);
		*(int *)arg = si->incnt != 0 || si->outcnt != 0;
	}
	return (MNL_CB_OK);
}

int
netlink_has_policies(void)
{
	struct nlmsghdr *nh;
	uint32_t all = ~0U;
	int has = -1;

	nh = netlink_request(XFRM_MSG_GETSPDINFO, 0);
	memcpy(mnl_nlmsg_put_extra_header(nh, sizeof(all)), &all, sizeof(all));
	if (netlink_ask(xfrm, nh, count_cb, &has) == -1)
		return (-1);
	return (has);
}
