/*
 * plane bpf: plane tun with an accelerator. tc programs (bpf/4over6.bpf.c) do
 * the common packet in the kernel; what they pass on, and all packets where
 * they can not be had, plane tun's process does as ever. So each call is plane
 * tun's first.
 *
 * Programs and maps are made before the sandbox (plane_bpf_prepare). Later the
 * parent changes one map, by bpf(2) on a descriptor, and memory that it shares
 * with the programs.
 */
#include <sys/types.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <sys/tree.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "dstmd/dstmd.h"
#include "priv/netlink.h"
#include "tunnel/bpf/layout.h"
#include "tunnel/tunnel.h"

#define CPUS_MAX	1024
#define MS		1000000		/* ns */

extern const uint8_t	 plane_bpf_object[], plane_bpf_object_end[];

struct lease {
	RB_ENTRY(lease)	 by_v4;
	struct in_addr	 v4;
	uint32_t	 slot;
};
RB_HEAD(bpf_leases, lease);

struct bpfdev {
	int			 ready;		/* programs and maps are there */
	int			 open;
	struct plane_dev	 conf;		/* while it is open */
	struct bpf_object	*object;
	int			 out, in_ether;	/* programs */
	int			 leases_fd, drops_fd;
	struct bpf_slot		*slots;
	struct bpf_state	*state;
	struct netlink_outer	 outer;		/* where in_ether is */
	uint32_t		 nslots;
	uint32_t		*unused;	/* a ring: the longest unused first */
	uint32_t		 first, nunused;
	struct bpf_leases	 leases;
};

/* A page that somebody waits for; the counters here are added. */
struct sum {
	uint32_t	 dev;
	plane_entry_cb	 on_entry;
	plane_page_cb	 on_page;
	void		*arg;
};

static struct bpfdev	 devs[TUNNEL_DEV_MAX];
static int		 ncpus;

/* The programs count by these numbers. */
_Static_assert(DROP_INNER_SOURCE == 0 && DROP_OUTER_SOURCE == 1 &&
    DROP_NO_LEASE == 2 && DROP_MALFORMED == 3 && DROP_ECN == 4 &&
    DROP_QUEUE == 5 && DROP_EXPIRED == 6 && DROP_MARTIAN == 7,
    "4over6.bpf.c");

static int
lease_cmp(const struct lease *a, const struct lease *b)
{
	return (a->v4.s_addr < b->v4.s_addr ? -1 :
	    a->v4.s_addr > b->v4.s_addr);
}

RB_PROTOTYPE(bpf_leases, lease, by_v4, lease_cmp)
RB_GENERATE(bpf_leases, lease, by_v4, lease_cmp)

static int
say(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	char line[512];

	if (level == LIBBPF_DEBUG)
		return (0);
	vsnprintf(line, sizeof(line), fmt, ap);
	line[strcspn(line, "\n")] = '\0';
	log_debug("%s", line);
	return (0);
}

static int
map_fd(const struct bpfdev *b, const char *name)
{
	return (bpf_object__find_map_fd_by_name(b->object, name));
}

static int
prog_fd(const struct bpfdev *b, const char *name)
{
	struct bpf_program *p;

	p = bpf_object__find_program_by_name(b->object, name);
	return (p == NULL ? -1 : bpf_program__fd(p));
}

static void *
map_memory(const struct bpfdev *b, const char *name, size_t size)
{
	void *p;

	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED,
	    map_fd(b, name), 0);
	return (p == MAP_FAILED ? NULL : p);
}

static int
load(struct bpfdev *b, uint32_t max)
{
	b->object = bpf_object__open_mem(plane_bpf_object,
	    (size_t)((uintptr_t)plane_bpf_object_end -
	    (uintptr_t)plane_bpf_object), NULL);
	if (b->object == NULL)
		return (-1);
	if (bpf_map__set_max_entries(bpf_object__find_map_by_name(b->object,
	    "leases"), max) != 0 ||
	    bpf_map__set_max_entries(bpf_object__find_map_by_name(b->object,
	    "slots"), max) != 0 || bpf_object__load(b->object) != 0)
		return (-1);
	b->out = prog_fd(b, "dstmd_out");
	b->in_ether = prog_fd(b, "dstmd_in_ether");
	b->leases_fd = map_fd(b, "leases");
	b->drops_fd = map_fd(b, "drops");
	b->slots = map_memory(b, "slots", (size_t)max * sizeof(*b->slots));
	b->state = map_memory(b, "state", sizeof(*b->state));
	return (b->slots == NULL || b->state == NULL ? -1 : 0);
}

int
plane_bpf_prepare(uint32_t dev, uint32_t max)
{
	struct bpfdev *b = &devs[dev];
	uint32_t i;

	libbpf_set_print(say);
	ncpus = libbpf_num_possible_cpus();
	if (ncpus <= 0 || ncpus > CPUS_MAX || load(b, max) == -1) {
		bpf_object__close(b->object);
		b->object = NULL;
		return (-1);
	}
	if ((b->unused = calloc(max, sizeof(*b->unused))) == NULL)
		fatal(NULL);
	for (i = 0; i < max; i++)
		b->unused[i] = i;
	b->nslots = b->nunused = max;
	RB_INIT(&b->leases);
	b->ready = 1;
	return (0);
}

/*
 * Slots. The order of the stores is what the programs rely on.
 */

static void
slot_give_back(struct bpfdev *b, uint32_t i)
{
	__atomic_store_n(&b->slots[i].v4, 0, __ATOMIC_SEQ_CST);
	b->unused[(b->first + b->nunused++) % b->nslots] = i;
}

static uint32_t
slot_take(struct bpfdev *b, struct in_addr v4, const struct in6_addr *v6,
    uint64_t expires)
{
	uint32_t i = b->unused[b->first];
	struct bpf_slot *s = &b->slots[i];

	b->first = (b->first + 1) % b->nslots;
	b->nunused--;
	memset(s, 0, sizeof(*s));
	memcpy(s->v6, v6, sizeof(s->v6));
	s->expires = expires;
	__atomic_store_n(&s->v4, v4.s_addr, __ATOMIC_SEQ_CST);
	return (i);
}

static struct lease *
lease_find(struct bpfdev *b, struct in_addr v4)
{
	struct lease key;

	key.v4 = v4;
	return (RB_FIND(bpf_leases, &b->leases, &key));
}

static void
lease_remove(struct bpfdev *b, struct lease *l)
{
	(void)bpf_map_delete_elem(b->leases_fd, &l->v4);
	slot_give_back(b, l->slot);
	RB_REMOVE(bpf_leases, &b->leases, l);
	free(l);
}

/* From now on a packet without a lease may have one in user space. */
static void
overflow(struct bpfdev *b)
{
	if ((b->state->flags & BPF_STATE_PASS_MISS) == 0)
		log_warnx("more leases than the fast path has room for (%u): "
		    "the others are carried in user space", b->nslots);
	b->state->flags |= BPF_STATE_PASS_MISS;
}

/* As in the slot; now_ms() is of the same clock. */
static uint64_t
expires_at(int64_t until)
{
	if (until >= INT64_MAX / MS)
		return (0);
	return (until <= 0 ? 1 : (uint64_t)(until * MS));
}

static void
bpf_add(uint32_t dev, struct in_addr v4, const struct in6_addr *v6,
    int64_t until)
{
	struct bpfdev *b = &devs[dev];
	struct lease *l;
	uint32_t slot;

	plane_tun.add(dev, v4, v6, until);
	if (!b->open || v4.s_addr == 0)
		return;
	if ((l = lease_find(b, v4)) != NULL &&
	    memcmp(b->slots[l->slot].v6, v6, sizeof(*v6)) == 0) {
		__atomic_store_n(&b->slots[l->slot].expires,
		    expires_at(until), __ATOMIC_SEQ_CST);
		return;
	}
	if (b->nunused == 0) {
		if (l != NULL)
			lease_remove(b, l);
		overflow(b);
		return;
	}
	slot = slot_take(b, v4, v6, expires_at(until));
	if (bpf_map_update_elem(b->leases_fd, &v4, &slot, BPF_ANY) != 0) {
		slot_give_back(b, slot);
		if (l != NULL)
			lease_remove(b, l);
		overflow(b);
		return;
	}
	if (l != NULL)
		slot_give_back(b, l->slot);
	else {
		if ((l = calloc(1, sizeof(*l))) == NULL)
			fatal(NULL);
		l->v4 = v4;
		RB_INSERT(bpf_leases, &b->leases, l);
	}
	l->slot = slot;
}

static void
bpf_del(uint32_t dev, struct in_addr v4)
{
	struct bpfdev *b = &devs[dev];
	struct lease *l;

	plane_tun.del(dev, v4);
	if (b->open && (l = lease_find(b, v4)) != NULL)
		lease_remove(b, l);
}

/*
 * Devices
 */

/* Programs onto the interfaces: 0, or -1 logged, and packets move as in tun. */
static int
attach(struct bpfdev *b)
{
	const struct plane_dev *pd = &b->conf;
	uint32_t flags = b->state->flags & BPF_STATE_PASS_MISS;
	int ifindex;

	if ((ifindex = netlink_bpf_attach(pd->ifname, b->out)) == -1) {
		log_warn("no fast path for %s", pd->ifname);
		return (-1);
	}
	if (pd->is_node)
		flags |= BPF_STATE_NODE;
	if (pd->demand)
		flags |= BPF_STATE_DEMAND;
	b->state->ifindex = 0;
	b->state->flags = flags;
	b->state->mtu = pd->mtu;
	memcpy(b->state->local, &pd->local, sizeof(b->state->local));
	__atomic_store_n(&b->state->ifindex, (uint32_t)ifindex,
	    __ATOMIC_SEQ_CST);
	if (!IN6_IS_ADDR_UNSPECIFIED(&pd->local) &&
	    netlink_bpf_attach_outer(&pd->local, ifindex, b->in_ether,
	    &b->outer) == -1)
		log_warn("no fast path into %s", pd->ifname);
	return (0);
}

static void
detach(struct bpfdev *b)
{
	b->state->ifindex = 0;
	if (b->outer.ifindex != 0 && netlink_bpf_detach_outer(&b->outer) == -1)
		log_warn("the fast path's program at interface %d can not be "
		    "removed", b->outer.ifindex);
	memset(&b->outer, 0, sizeof(b->outer));
}

static int
bpf_open(const struct plane_dev *pd)
{
	struct bpfdev *b = &devs[pd->dev];

	if (plane_tun.open(pd) == -1)
		return (-1);
	b->conf = *pd;
	if (b->ready && attach(b) == 0)
		b->open = 1;
	return (0);
}

static void
bpf_close(uint32_t dev)
{
	struct bpfdev *b = &devs[dev];
	struct lease *l;

	if (b->open) {
		detach(b);
		while ((l = RB_ROOT(&b->leases)) != NULL)
			lease_remove(b, l);
		memset(b->state, 0, sizeof(*b->state));
	}
	b->open = 0;
	plane_tun.close(dev);
}

static int
bpf_exists(uint32_t dev)
{
	return (plane_tun.exists(dev));
}

static void
again(struct bpfdev *b)
{
	detach(b);
	(void)attach(b);
}

static int
bpf_reopen(uint32_t dev)
{
	if (plane_tun.reopen(dev) == -1)
		return (-1);
	if (devs[dev].open)
		again(&devs[dev]);
	return (0);
}

static int
bpf_move(const struct plane_dev *pd)
{
	if (plane_tun.move(pd) == -1)
		return (-1);
	devs[pd->dev].conf = *pd;
	if (devs[pd->dev].open)
		again(&devs[pd->dev]);
	return (0);
}

static void
bpf_keepalive(const struct msg_tunnel_keepalive *m)
{
	struct bpfdev *b = &devs[m->dev];

	plane_tun.keepalive(m);
	if (b->open)
		b->state->tep4 = m->interval != 0 ? m->tep4.s_addr : 0;
}

/*
 * Counters
 */

static void
sum_entry(const struct msg_tunnel_entry *m, void *arg)
{
	const struct sum *sum = arg;
	struct bpfdev *b = &devs[sum->dev];
	struct msg_tunnel_entry e = *m;
	const struct bpf_slot *s;
	struct lease *l;

	if (b->open && (l = lease_find(b, e.v4)) != NULL) {
		s = &b->slots[l->slot];
		e.in_packets += s->in_packets;
		e.in_bytes += s->in_bytes;
		e.out_packets += s->out_packets;
		e.out_bytes += s->out_bytes;
	}
	sum->on_entry(&e, sum->arg);
}

static void
sum_page(const struct msg_tunnel_stats *m, void *arg)
{
	static uint64_t cpus[CPUS_MAX];
	struct sum sum = *(struct sum *)arg;
	struct bpfdev *b = &devs[sum.dev];
	struct msg_tunnel_stats st;
	uint32_t i;
	int j;

	free(arg);
	if (m == NULL) {
		sum.on_page(NULL, sum.arg);
		return;
	}
	st = *m;
	for (i = 0; b->open && i < DROP_NREASON; i++)
		if (bpf_map_lookup_elem(b->drops_fd, &i, cpus) == 0)
			for (j = 0; j < ncpus; j++)
				st.drops[i] += cpus[j];
	sum.on_page(&st, sum.arg);
}

static void
bpf_list(uint32_t dev, uint32_t slot, uint32_t max, plane_entry_cb on_entry,
    plane_page_cb on_page, void *arg)
{
	struct sum *sum;

	if ((sum = calloc(1, sizeof(*sum))) == NULL)
		fatal(NULL);
	sum->dev = dev;
	sum->on_entry = on_entry;
	sum->on_page = on_page;
	sum->arg = arg;
	plane_tun.list(dev, slot, max, sum_entry, sum_page, sum);
}

const struct plane	 plane_bpf = {
	"bpf", bpf_open, bpf_close, bpf_exists, bpf_reopen, bpf_move,
	bpf_add, bpf_del, bpf_keepalive, bpf_list
};
