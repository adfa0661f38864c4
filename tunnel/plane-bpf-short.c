/*
 * The shortcut of plane bpf: packets of the tunnel come and go by the outer
 * interface, and do not pass the tunnel's. Which interfaces have its programs;
 * the routes are netlink-short.c's.
 */
#include <sys/types.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "dstmd/dstmd.h"
#include "priv/netlink.h"
#include "tunnel/plane-bpf.h"
#include "tunnel/tunnel.h"

#define TCX_INGRESS	46		/* enum bpf_attach_type, Linux 6.6 */
#define TCX_EGRESS	47

static int		 by_interface;	/* no shortcut */

/*
 * The same programs once more, before the others and for less time a packet,
 * while this daemon lives. What they leave goes on to those.
 */
static void
links_make(struct bpfdev *b)
{
	b->first_in = bpf_link_create(b->in_ether, b->outer.ifindex,
	    TCX_INGRESS, NULL);
	b->first_out = bpf_link_create(b->out_ether, b->outer.ifindex,
	    TCX_EGRESS, NULL);
	if (b->first_in < 0 || b->first_out < 0)
		log_debug("%s: no links (Linux 6.6 has them): %s",
		    b->conf.ifname, strerror(errno));
}

static void
links_end(struct bpfdev *b)
{
	if (b->first_in >= 0)
		close(b->first_in);
	if (b->first_out >= 0)
		close(b->first_out);
	b->first_in = b->first_out = -1;
}

/*
 * Other interfaces, of a TEP: what comes by them to a lease goes on to the
 * outer one from there (bpf/onward.h). By links alone: when this daemon ends
 * the host forwards these packets.
 */
static int
is_among(int ifindex, const int *of, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (of[i] == ifindex)
			return (1);
	return (0);
}

/* Links are at those, and at no others. */
static void
others_set(struct bpfdev *b, const int *want, size_t n)
{
	struct bpf_other *o;
	size_t i, j;

	for (i = 0; i < b->nothers;) {
		o = &b->others[i];
		if (is_among(o->ifindex, want, n)) {
			i++;
			continue;
		}
		if (o->link >= 0)
			close(o->link);
		*o = b->others[--b->nothers];
	}
	for (i = 0; i < n && b->nothers < BPF_OTHERS_MAX; i++) {
		for (j = 0; j < b->nothers; j++)
			if (b->others[j].ifindex == want[i])
				break;
		if (j < b->nothers)
			continue;
		o = &b->others[b->nothers++];
		o->ifindex = want[i];
		o->link = bpf_link_create(b->in_other, want[i], TCX_INGRESS,
		    NULL);
		log_debug("%s: packets of interface %d are %s", b->conf.ifname,
		    want[i], o->link >= 0 ? "handed on to the outer one" :
		    strerror(errno));
	}
}

static void
others_look(struct bpfdev *b)
{
	int want[BPF_OTHERS_MAX];
	ssize_t n;

	if (b->in_other < 0 || b->conf.is_node)
		return;
	if ((n = netlink_short_others(b->outer.ifindex, want,
	    BPF_OTHERS_MAX)) == -1)
		log_debug("%s: interfaces: %s", b->conf.ifname,
		    strerror(errno));
	else
		others_set(b, want, (size_t)n);
}

/*
 * Routes lead there last, and away first; while they do packets may come in by
 * it, as the kernel may ask for the way back.
 */
void
plane_bpf_short_off(struct bpfdev *b)
{
	b->state->flags &= ~(uint32_t)BPF_STATE_SHORT;
	others_set(b, NULL, 0);
	if (netlink_short_del(&b->outer) == -1)
		log_warn("%s: routes of its shortcut", b->conf.ifname);
	if (b->is_short)
		links_end(b);
	if (netlink_bpf_attach_short(&b->outer, -1) == -1)
		log_warn("%s: the shortcut's program can not be removed",
		    b->conf.ifname);
	b->is_short = 0;
}

static int
short_on(struct bpfdev *b)
{
	if (!b->is_short) {
		if (netlink_bpf_attach_short(&b->outer, b->out_ether) == -1)
			return (-1);
		links_make(b);
		b->is_short = 1;
	}
	if (netlink_short_set((int)b->state->device, b->outer.ifindex,
	    b->conf.mtu) == -1)
		return (-1);
	b->state->flags |= BPF_STATE_SHORT;
	others_look(b);
	return (0);
}

static const char *
short_why_not(const struct bpfdev *b)
{
	if (by_interface)
		return ("no shortcut is wanted");
	/* Routes would outlive what they lead to. */
	if (!b->pinned)
		return ("it does not outlive this daemon");
	return (netlink_short_why_not((int)b->state->device, &b->outer,
	    b->conf.is_node));
}

void
plane_bpf_short(struct bpfdev *b)
{
	const char *why;
	int was_short = b->is_short;

	if (!b->open || b->waits || b->outer.ifindex == 0)
		return;
	/* While it is down it has no routes, and comes back. */
	if ((why = short_why_not(b)) == NULL && short_on(b) == -1 &&
	    errno != ENETDOWN) {
		log_warn("%s: routes of its shortcut", b->conf.ifname);
		why = "it can not be made";
	}
	if (why != NULL)
		plane_bpf_short_off(b);
	if (why == NULL && !was_short)
		log_info("%s: packets come and go by the outer interface "
		    "alone%s", b->conf.ifname, b->nothers > 0 ? ", and are "
		    "handed on by programs while no firewall asks" : "");
	else if (why != NULL && (b->why_not == NULL ||
	    strcmp(why, b->why_not) != 0))
		log_info("%s: packets come and go by this interface too: %s",
		    b->conf.ifname, why);
	b->why_not = why;
}

void
plane_bpf_by_interface(void)
{
	by_interface = 1;
}
