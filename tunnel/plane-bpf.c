/*
 * plane bpf: plane tun with an accelerator. tc programs (bpf/4over6.bpf.c) do
 * the common packet in the kernel; what they pass on, and all packets where
 * they can not be had, plane tun's process does as ever. So each call is plane
 * tun's first.
 *
 * Programs and maps are made before the sandbox (plane_bpf_prepare). Later the
 * parent changes one map, by bpf(2) on a descriptor, and memory that it shares
 * with the programs.
 *
 * All of it outlives a daemon that is killed: the filters hold the programs,
 * pins hold the maps, the TUN device is persistent. Nobody reads it then, so
 * that it has no carrier; its filter does not mind, as it comes before the
 * queue. The next daemon takes the maps over where their layout is its own,
 * and puts its programs in the place of the others. Else it leaves the old
 * programs and their maps to carry packets until the leases are in its own.
 */
#include <sys/types.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/tree.h>

#include <net/if.h>

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
#include "tunnel/plane-bpf.h"
#include "tunnel/tunnel.h"

#define CPUS_MAX	1024
#define PROBE_SIZE	(14 + OUTER_OVERHEAD + 60)
#define MS		1000000		/* ns */
#define STARTS_S	10		/* a daemon has its interface then */

/* The programs, and those of them that an older kernel can take too. */
extern const uint8_t	 plane_bpf_object[], plane_bpf_object_end[];
extern const uint8_t	 plane_bpf_plain[], plane_bpf_plain_end[];

/* A page that somebody waits for; the counters here are added. */
struct sum {
	uint32_t	 dev;
	plane_entry_cb	 on_entry;
	plane_page_cb	 on_page;
	void		*arg;
};

static struct bpfdev	 devs[TUNNEL_DEV_MAX];
static int		 leaving;	/* all packets to user space */
static uint32_t		 netns;		/* inode; 0: unknown */

static int	 attach(struct bpfdev *);
static int		 ncpus;

static const char *const maps[] = { "leases", "slots", "state", "drops" };
#define NMAPS		(sizeof(maps) / sizeof(maps[0]))

/* The programs count by these numbers. */
_Static_assert(DROP_INNER_SOURCE == 0 && DROP_OUTER_SOURCE == 1 &&
    DROP_NO_LEASE == 2 && DROP_MALFORMED == 3 && DROP_ECN == 4 &&
    DROP_QUEUE == 5 && DROP_EXPIRED == 6 && DROP_MARTIAN == 7 &&
    DROP_TOO_BIG == 8 && DROP_RATE == 9,
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

/* Do maps of a daemon before (fds) mean what ours would? */
static int
maps_fit(const struct bpfdev *b, const int *fds, uint32_t max, int ifindex)
{
	struct bpf_map_info is;
	struct bpf_state state;
	const struct bpf_map *want;
	uint32_t len, room[NMAPS], made[NMAPS], zero = 0;
	size_t i;

	for (i = 0; i < NMAPS; i++) {
		want = bpf_object__find_map_by_name(b->object, maps[i]);
		memset(&is, 0, sizeof(is));
		len = sizeof(is);
		if (fds[i] == -1 ||
		    bpf_obj_get_info_by_fd(fds[i], &is, &len) != 0 ||
		    is.type != bpf_map__type(want) ||
		    is.map_flags != bpf_map__map_flags(want) ||
		    is.key_size != bpf_map__key_size(want) ||
		    is.value_size != bpf_map__value_size(want))
			return (0);
		room[i] = is.max_entries;
		made[i] = bpf_map__max_entries(want);
	}
	return (room[0] >= max && room[0] == room[1] && room[3] == made[3] &&
	    bpf_map_lookup_elem(fds[2], &zero, &state) == 0 &&
	    state.version == BPF_LAYOUT && state.ifindex == (uint32_t)ifindex);
}

/* Before they are loaded, the maps of the interface become ours: 1 or 0. */
static int
take_maps(const struct bpfdev *b, uint32_t max, int ifindex)
{
	int fds[NMAPS], ok;
	size_t i;

	for (i = 0; i < NMAPS; i++)
		if ((fds[i] = bpf_pin_get(b->ifname, maps[i])) < 0)
			fds[i] = -1;
	ok = maps_fit(b, fds, max, ifindex);
	for (i = 0; i < NMAPS; i++) {
		if (ok && bpf_map__reuse_fd(bpf_object__find_map_by_name(
		    b->object, maps[i]), fds[i]) != 0)
			fatalx("plane bpf: map %s", maps[i]);
		if (fds[i] != -1)
			close(fds[i]);
	}
	return (ok);
}

static int
pin_maps(const struct bpfdev *b)
{
	size_t i;

	for (i = 0; i < NMAPS; i++)
		if (bpf_pin_set(b->ifname, maps[i], map_fd(b, maps[i])) == -1)
			return (0);
	return (1);
}

/* Does this kernel do what the programs ask of it? 1 or 0. */
static int
probe(const struct bpfdev *b)
{
	uint8_t packet[PROBE_SIZE] = { 0 };

	DECLARE_LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = packet,
	    .data_size_in = sizeof(packet));

	packet[12] = 0x86;		/* Ethernet, IPv6, IPv4, nothing */
	packet[13] = 0xdd;
	packet[14] = 6 << 4;
	packet[14 + 6] = IPPROTO_IPIP;
	packet[14 + OUTER_OVERHEAD] = 4 << 4 | 5;
	if (bpf_prog_test_run_opts(prog_fd(b, "dstmd_probe"), &run) != 0) {
		log_debug("plane bpf: a run of its probe: %s",
		    strerror(errno));
		return (0);
	}
	return (run.retval == 0);
}

/* One of the objects, with maps for so many entries. */
static int
load_object(struct bpfdev *b, const uint8_t *begin, const uint8_t *end,
    uint32_t max, int ifindex)
{
	struct bpf_map *leases, *slots;

	b->object = bpf_object__open_mem(begin,
	    (size_t)((uintptr_t)end - (uintptr_t)begin), NULL);
	if (b->object == NULL)
		return (-1);
	leases = bpf_object__find_map_by_name(b->object, "leases");
	slots = bpf_object__find_map_by_name(b->object, "slots");
	if (ifindex != -1)
		b->left = b->pinned && take_maps(b, max, ifindex) ?
		    LEFT_MAPS : LEFT_OTHERS;
	if (b->left != LEFT_MAPS && (bpf_map__set_max_entries(leases,
	    max) != 0 || bpf_map__set_max_entries(slots, max) != 0))
		return (-1);
	return (bpf_object__load(b->object) != 0 ? -1 : 0);
}

static int
load(struct bpfdev *b, uint32_t max)
{
	int ifindex = -1;

	if (b->ifname[0] != '\0')
		ifindex = netlink_bpf_attached(b->ifname);
	if (load_object(b, plane_bpf_object, plane_bpf_object_end, max,
	    ifindex) == -1) {
		/* No BTF in this kernel, or not of all that is asked. */
		log_debug("plane bpf: this host forwards what leaves the "
		    "tunnel: %s", strerror(errno));
		bpf_object__close(b->object);
		if (load_object(b, plane_bpf_plain, plane_bpf_plain_end, max,
		    ifindex) == -1)
			return (-1);
	}
	if (!probe(b)) {
		errno = EOPNOTSUPP;
		return (-1);
	}
	b->nslots = bpf_map__max_entries(bpf_object__find_map_by_name(
	    b->object, "slots"));
	b->out = prog_fd(b, "dstmd_out");
	b->in_ether = prog_fd(b, "dstmd_in_ether");
	b->out_ether = prog_fd(b, "dstmd_out_ether");
	b->in_other = prog_fd(b, "dstmd_in_other");
	b->leases_fd = map_fd(b, "leases");
	b->drops_fd = map_fd(b, "drops");
	b->slots = map_memory(b, "slots", b->nslots * sizeof(*b->slots));
	b->state = map_memory(b, "state", sizeof(*b->state));
	if (b->slots == NULL || b->state == NULL)
		return (-1);
	if (b->pinned && b->left != LEFT_MAPS)
		b->pinned = pin_maps(b);
	return (0);
}

static void
lease_insert(struct bpfdev *b, struct in_addr v4, uint32_t slot, int old)
{
	struct lease *l;

	if ((l = calloc(1, sizeof(*l))) == NULL)
		fatal(NULL);
	l->v4 = v4;
	l->slot = slot;
	l->old = old;
	RB_INSERT(bpf_leases, &b->leases, l);
}

/*
 * Which slots are in use. One that has an address and is not in the map was
 * to be put there, or taken out, when the daemon was killed.
 */
static void
read_slots(struct bpfdev *b)
{
	struct in_addr v4;
	uint32_t i, at;

	if ((b->unused = calloc(b->nslots, sizeof(*b->unused))) == NULL)
		fatal(NULL);
	RB_INIT(&b->leases);
	for (i = 0; i < b->nslots; i++) {
		v4.s_addr = b->slots[i].v4;
		if (v4.s_addr != 0 && bpf_map_lookup_elem(b->leases_fd, &v4,
		    &at) == 0 && at == i) {
			lease_insert(b, v4, i, 1);
			continue;
		}
		b->slots[i].v4 = 0;
		b->unused[b->nunused++] = i;
	}
}

int
plane_bpf_prepare(uint32_t dev, uint32_t max, const char *ifname,
    const char **why)
{
	struct bpfdev *b = &devs[dev];
	struct stat sb;

	libbpf_set_print(say);
	if (stat("/proc/self/ns/net", &sb) == 0)
		netns = (uint32_t)sb.st_ino;
	ncpus = libbpf_num_possible_cpus();
	if (ifname != NULL) {
		strlcpy(b->ifname, ifname, sizeof(b->ifname));
		b->pinned = bpf_pin_init(1) == 0;
	}
	if (ncpus <= 0 || ncpus > CPUS_MAX || load(b, max) == -1) {
		*why = errno == EPERM || errno == EACCES ?
		    "it is not allowed here (CAP_BPF, CAP_PERFMON)" :
		    errno == EOPNOTSUPP ? "this kernel lacks what its programs "
		    "need (Linux 6.3 has it)" :
		    "this kernel does not take its programs";
		bpf_object__close(b->object);
		b->object = NULL;
		return (-1);
	}
	read_slots(b);
	b->state->version = BPF_LAYOUT;
	b->ready = 1;
	return (0);
}

void
plane_bpf_forget(const char *ifname)
{
	size_t i;

	if (bpf_pin_init(0) == -1)
		return;
	for (i = 0; i < NMAPS; i++)
		bpf_pin_remove(ifname, maps[i]);
}

/* Does somebody read that interface? */
static int
is_read(const char *ifname)
{
	struct ifreq ifr;
	int fd, r;

	memset(&ifr, 0, sizeof(ifr));
	strlcpy(ifr.ifr_name, ifname, sizeof(ifr.ifr_name));
	if ((fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0)) == -1)
		return (1);
	r = ioctl(fd, SIOCGIFFLAGS, &ifr);
	close(fd);
	return (r == -1 || (ifr.ifr_flags & IFF_RUNNING) != 0);
}

static void
left_over(const char *ifname, time_t made)
{
	size_t i;

	for (i = 0; i < TUNNEL_DEV_MAX; i++)
		if (devs[i].ready && strcmp(devs[i].ifname, ifname) == 0)
			return;
	/* A daemon that starts beside us pins first. */
	if (if_nametoindex(ifname) == 0) {
		if (time(NULL) - made >= STARTS_S)
			plane_bpf_forget(ifname);
	} else if (netlink_bpf_attached(ifname) != -1 && !is_read(ifname))
		log_warnx("interface %s is of a dstmd before, and not in this "
		    "configuration: it carries packets until its leases end; "
		    "dstmd(8) says how it is removed", ifname);
}

void
plane_bpf_left_over(void)
{
	bpf_pin_each("state", left_over);
}

int
plane_bpf_stays(void)
{
	size_t i;

	for (i = 0; i < TUNNEL_DEV_MAX; i++)
		if (devs[i].open && !devs[i].pinned)
			return (0);
	return (1);
}

void
plane_bpf_end(void)
{
	size_t i, j;

	for (i = 0; i < TUNNEL_DEV_MAX; i++)
		for (j = 0; devs[i].pinned && j < NMAPS; j++)
			bpf_pin_remove(devs[i].ifname, maps[j]);
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
	if ((l = lease_find(b, v4)) != NULL)
		l->old = 0;
	if (l != NULL && memcmp(b->slots[l->slot].v6, v6, sizeof(*v6)) == 0) {
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
	if (l != NULL) {
		slot_give_back(b, l->slot);
		l->slot = slot;
	} else
		lease_insert(b, v4, slot, 0);
}

static void
bpf_del(uint32_t dev, struct in_addr v4)
{
	struct bpfdev *b = &devs[dev];
	struct lease *l;

	plane_tun.del(dev, v4);
	/* What others' programs carry can not be taken out. */
	if (b->waits)
		(void)attach(b);
	if (b->open && (l = lease_find(b, v4)) != NULL)
		lease_remove(b, l);
}

/*
 * Devices
 */

/* What the programs ask; where it is as it was they do not notice. */
static void
set_state(struct bpfdev *b, uint32_t ifindex)
{
	const struct plane_dev *pd = &b->conf;
	struct bpf_state *st = b->state;
	uint32_t flags = st->flags & (BPF_STATE_PASS_MISS | BPF_STATE_SHORT);

	if (leaving)
		flags |= BPF_STATE_LEAVE;
	if (pd->is_node)
		flags |= BPF_STATE_NODE;
	if (pd->demand)
		flags |= BPF_STATE_DEMAND;
	st->device = ifindex;
	st->netns = netns;
	if (st->ifindex == ifindex && st->flags == flags &&
	    st->mtu == pd->mtu && st->rate == pd->rate &&
	    memcmp(st->local, &pd->local, sizeof(st->local)) == 0)
		return;
	st->ifindex = 0;
	st->flags = flags;
	st->mtu = pd->mtu;
	st->rate = pd->rate;
	memcpy(st->local, &pd->local, sizeof(st->local));
	__atomic_store_n(&st->ifindex, ifindex, __ATOMIC_SEQ_CST);
}

static void
bpf_dressed(uint32_t dev)
{
	devs[dev].dressed = 1;
	plane_bpf_short(&devs[dev]);
}

/* Programs onto the interfaces: 0, or -1 logged, and packets move as in tun. */
static int
attach(struct bpfdev *b)
{
	const struct plane_dev *pd = &b->conf;
	int ifindex, others = b->waits;

	b->waits = 0;
	if ((ifindex = netlink_bpf_attach(pd->ifname, b->out)) == -1) {
		log_warn("no fast path for %s", pd->ifname);
		b->state->ifindex = 0;	/* nor one by maps taken over */
		return (-1);
	}
	set_state(b, (uint32_t)ifindex);
	if (!IN6_IS_ADDR_UNSPECIFIED(&pd->local) &&
	    netlink_bpf_attach_outer(&pd->local, ifindex, b->in_ether,
	    &b->outer) == -1)
		log_warn("no fast path into %s", pd->ifname);
	/* Theirs has maps that nobody changes any more. */
	if (others && b->outer.ifindex != 0)
		plane_bpf_short_off(b);
	if (b->dressed)
		plane_bpf_short(b);
	if (b->pinned && plane_tun_persist(pd->dev) == -1)
		log_warn("%s will not outlive this daemon", pd->ifname);
	return (0);
}

static void
detach(struct bpfdev *b)
{
	if (b->outer.ifindex != 0)
		plane_bpf_short_off(b);
	b->state->ifindex = 0;
	if (b->outer.ifindex != 0 && netlink_bpf_detach_outer(&b->outer) == -1)
		log_warn("the fast path's program at interface %d can not be "
		    "removed", b->outer.ifindex);
	memset(&b->outer, 0, sizeof(b->outer));
}

void
plane_bpf_leave(int leave)
{
	size_t i;

	leaving = leave;
	for (i = 0; i < TUNNEL_DEV_MAX; i++) {
		if (!devs[i].ready)
			continue;
		if (leave && devs[i].waits)
			(void)attach(&devs[i]);
		if (leave)
			devs[i].state->flags |= BPF_STATE_LEAVE;
		else
			devs[i].state->flags &= ~(uint32_t)BPF_STATE_LEAVE;
	}
}

/* User space gets what the maps have. */
static void
tell_old(struct bpfdev *b)
{
	const struct bpf_slot *s;
	struct in6_addr v6;
	struct lease *l;

	RB_FOREACH(l, bpf_leases, &b->leases) {
		s = &b->slots[l->slot];
		memcpy(&v6, s->v6, sizeof(v6));
		plane_tun.add(b->conf.dev, l->v4, &v6, s->expires == 0 ?
		    INT64_MAX : (int64_t)(s->expires / MS));
	}
}

static int
bpf_open(const struct plane_dev *pd)
{
	struct bpfdev *b = &devs[pd->dev];
	struct plane_dev own = *pd;
	enum left left = b->left;

	own.left = left != LEFT_NOTHING;
	if (plane_tun.open(&own) == -1)
		return (-1);
	b->left = LEFT_NOTHING;
	b->conf = *pd;
	if (!b->ready)
		return (0);
	if (left == LEFT_OTHERS && !leaving) {
		log_info("%s: another dstmd's programs carry packets until "
		    "the leases are known", pd->ifname);
		b->open = b->waits = 1;
	} else if (attach(b) == 0)
		b->open = 1;
	if (left == LEFT_MAPS) {
		tell_old(b);
		log_info("%s: taken over from the daemon before",
		    pd->ifname);
	}
	return (0);
}

static void
bpf_close(uint32_t dev)
{
	struct bpfdev *b = &devs[dev];
	struct lease *l;

	if (b->open) {
		if (b->waits)		/* ours can be removed */
			(void)attach(b);
		detach(b);
		while ((l = RB_ROOT(&b->leases)) != NULL)
			lease_remove(b, l);
		memset(b->state, 0, sizeof(*b->state));
		b->state->version = BPF_LAYOUT;
	}
	b->open = b->dressed = 0;
	plane_tun.close(dev);
}

static void
bpf_sweep(uint32_t dev, int (*over)(uint32_t, struct in_addr))
{
	struct bpfdev *b = &devs[dev];
	struct lease *l, *next;
	uint32_t n = 0;

	if (!b->open)
		return;
	if (b->waits)
		(void)attach(b);
	RB_FOREACH_SAFE(l, bpf_leases, &b->leases, next) {
		if (!l->old || !over(dev, l->v4))
			continue;
		plane_tun.del(dev, l->v4);
		lease_remove(b, l);
		n++;
	}
	if (n > 0)
		log_info("%s: %u entries of the daemon before were nobody's",
		    b->conf.ifname, n);
}

static int
bpf_left(struct plane_dev *pd, struct in_addr *v4, int64_t *until)
{
	const struct bpfdev *b = &devs[pd->dev];
	const struct lease *l;

	if (!b->ready || b->left != LEFT_MAPS)
		return (0);
	memcpy(&pd->local, b->state->local, sizeof(pd->local));
	pd->mtu = b->state->mtu;
	v4->s_addr = 0;
	*until = 0;
	if ((l = RB_ROOT(&b->leases)) != NULL) {
		*v4 = l->v4;
		*until = (int64_t)(b->slots[l->slot].expires / MS);
	}
	return (1);
}

static int
bpf_exists(uint32_t dev)
{
	return (plane_tun.exists(dev));
}

static void
again(struct bpfdev *b)
{
	if (b->waits)
		(void)attach(b);
	detach(b);
	(void)attach(b);
}

void
plane_bpf_look(void)
{
	struct bpfdev *b;
	size_t i;

	netlink_short_clean();
	for (i = 0; i < TUNNEL_DEV_MAX; i++) {
		b = &devs[i];
		if (!b->dressed)
			continue;
		if (!b->waits && netlink_outer_moved(&b->outer, &b->conf.local))
			again(b);
		else
			plane_bpf_short(b);
	}
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
	bpf_add, bpf_del, bpf_keepalive, bpf_list, bpf_sweep, bpf_left,
	bpf_dressed
};
