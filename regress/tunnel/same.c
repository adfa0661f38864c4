/*
 * The fast path does with a packet what the tunnel process would: the programs
 * at the outer interface, run by the kernel on packets of which many are
 * broken, beside the functions of encap.c. TAP. The interface is same-bpf.t's.
 *
 * usage: same 4over6.o interface packets seed
 */
#include <sys/mman.h>
#include <sys/types.h>

#include <arpa/inet.h>
#include <net/if.h>

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "regress/tunnel/same.h"

#define SLOTS		8
#define CPUS_MAX	1024
#define ROUND		500	/* packets, of one state */
#define TUN_INDEX	7
#define LO		1
#define MTU		1400
#define RATE		(1ULL << 60)
#define LABEL		0xfffff
#define NOBODYS		"198.51.100.9"
#define NADDRS		(sizeof(addrs) / sizeof(addrs[0]))
#define OVER		"198.51.100.3"	/* its lease is */

const uint8_t			 ours[] = { 2, 0, 0, 0, 0, 0x77 };
static const char *const	 end6[] = { "2001:db8::1", "2001:db8::2",
				    "2001:db8::3" };
static const char *const	 addrs[] = { "198.51.100.1", "198.51.100.2",
				    OVER, NOBODYS, "192.0.2.80", "127.0.0.1",
				    "169.254.3.4", "0.0.0.1", "224.0.0.5",
				    "198.51.100.254" };
static unsigned int		 seed;

static uint32_t
rnd(uint32_t n)
{
	return ((uint32_t)rand_r(&seed) % n);
}

static uint32_t
v4(const char *s)
{
	struct in_addr in;

	if (inet_pton(AF_INET, s, &in) != 1)
		errx(1, "%s", s);
	return (in.s_addr);
}

static uint32_t
any(void)
{
	return (v4(addrs[rnd(rnd(2) ? LEASES : NADDRS)]));
}

/* Nobody's is not in it. */
static int
lease_of(uint32_t addr)
{
	int i;

	for (i = 0; i < LEASES; i++)
		if (v4(addrs[i]) == addr)
			return (i);
	return (-1);
}

static uint64_t
boot_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return ((uint64_t)ts.tv_sec * SECOND + (uint64_t)ts.tv_nsec);
}

static void *
memory_of(struct bpf_object *o, const char *name, size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED,
	    bpf_object__find_map_fd_by_name(o, name), 0);

	if (p == MAP_FAILED)
		err(1, "%s", name);
	return (p);
}

static void
world_init(struct world *w, const char *path, const char *ifname)
{
	struct bpf_object *o;
	uint32_t i, addr;
	int leases;

	if ((w->ifindex = if_nametoindex(ifname)) == 0)
		err(1, "%s", ifname);
	if ((o = w->object = bpf_object__open_file(path, NULL)) == NULL ||
	    bpf_map__set_max_entries(bpf_object__find_map_by_name(o, "leases"),
	    SLOTS) != 0 ||
	    bpf_map__set_max_entries(bpf_object__find_map_by_name(o, "slots"),
	    SLOTS) != 0 || bpf_object__load(o) != 0)
		err(1, "%s", path);
	leases = bpf_object__find_map_fd_by_name(o, "leases");
	w->drops = bpf_object__find_map_fd_by_name(o, "drops");
	w->slots = memory_of(o, "slots", SLOTS * sizeof(*w->slots));
	w->st = memory_of(o, "state", sizeof(*w->st));
	w->progs[IN] = bpf_program__fd(bpf_object__find_program_by_name(o,
	    "dstmd_in_ether"));
	w->progs[OUT] = bpf_program__fd(bpf_object__find_program_by_name(o,
	    "dstmd_out_ether"));
	for (i = 0; i < LEASES; i++) {
		w->slots[i].v4 = addr = v4(addrs[i]);
		inet_pton(AF_INET6, end6[i], w->slots[i].v6);
		w->slots[i].expires = strcmp(addrs[i], OVER) == 0;
		if (bpf_map_update_elem(leases, &addr, &i, 0) != 0)
			err(1, "a lease");
	}
	w->st->version = BPF_LAYOUT;
}

/* What holds for a round. */
static void
state_make(struct bpf_state *st)
{
	st->flags = rnd(32);
	if (rnd(4) != 0)
		st->flags &= ~(uint32_t)(BPF_STATE_LEAVE |
		    BPF_STATE_PASS_MISS);
	st->ifindex = rnd(16) != 0 ? TUN_INDEX : 0;
	st->device = rnd(16) != 0 ? TUN_INDEX : 0;
	st->mtu = MTU - rnd(1300);
	st->tep4 = rnd(2) ? v4("198.51.100.254") : 0;
	st->rate = rnd(2) ? RATE : 0;
	inet_pton(AF_INET6, rnd(16) != 0 ? "2001:db8::77" : "::", st->local);
}

/* And for a packet. */
static void
moment_make(struct world *w)
{
	int i;

	w->st->used = rnd(2) ? boot_ns() : 0;
	for (i = 0; i < LEASES; i++) {
		w->slots[i].in_busy = w->slots[i].out_busy =
		    rnd(4) == 0 ? LATE : 0;
		if (rnd(64) == 0)
			w->slots[i].asked_out = 0;
	}
}

/* What is dropped is counted once, and as what: 1 or 0. */
static int
counted(struct world *w, int reason)
{
	static uint64_t cpus[CPUS_MAX];
	uint32_t i;
	uint64_t n;
	int j, ok = 1, ncpus = libbpf_num_possible_cpus();

	for (i = 0; i < DROP_NREASON; i++) {
		if (bpf_map_lookup_elem(w->drops, &i, cpus) != 0)
			err(1, "drops");
		for (n = 0, j = 0; j < ncpus; j++)
			n += cpus[j];
		if (n != w->dropped[i] + ((int)i == reason))
			ok = 0;
		w->dropped[i] = n;
	}
	return (ok);
}

/* What is carried is counted once too, as its lease's: 1 or 0. */
static int
accounted(struct world *w, enum way way, const struct wanted *x, size_t len)
{
	struct bpf_slot *b;
	int i, ok = 1;

	if (x->lease != -1) {
		b = &w->books[x->lease];
		*(way == IN ? &b->in_packets : &b->out_packets) += 1;
		*(way == IN ? &b->in_bytes : &b->out_bytes) += len;
	}
	for (i = 0; i < LEASES; i++) {
		b = &w->slots[i];
		if (memcmp(&b->in_packets, &w->books[i].in_packets,
		    4 * sizeof(b->in_packets)) != 0)
			ok = 0;
		w->books[i] = *b;
	}
	return (ok);
}

/*
 * The inner packet: mostly a SYN, with options that mostly make sense; few are
 * about as big as the path takes.
 */
static size_t
inner(uint8_t *p)
{
	static const uint8_t protocols[] = { 6, 6, 6, 17, 1, 47 };
	size_t i, len, opts = rnd(11) * 4;

	len = 40 + opts + rnd(40) + (rnd(8) == 0 ? PATH - 120 : 0);
	for (i = 0; i < len; i++)
		p[i] = (uint8_t)rnd(256);
	p[0] = 0x45;
	p[1] = (uint8_t)rnd(256);
	put16(p + 2, (uint16_t)len);
	put16(p + 6, rnd(8) == 0 ? (uint16_t)rnd(0x4000) : 0x4000);
	p[9] = protocols[rnd(sizeof(protocols))];
	memcpy(p + 12, &(uint32_t){ any() }, 4);
	memcpy(p + 16, &(uint32_t){ any() }, 4);
	sum_ipv4(p);
	p[32] = (uint8_t)((5 + opts / 4) << 4);
	if (rnd(4) != 0)
		p[33] = 2;
	for (i = 40; i < 40 + opts;) {
		switch (rnd(4)) {
		case 0:
			p[i++] = 1;
			break;
		case 1:
			p[i] = 2;
			p[i + 1] = 4;
			i += 4;
			break;
		default:
			p[i] = (uint8_t)(3 + rnd(6));
			p[i + 1] = (uint8_t)(2 + rnd(8));
			i += p[i + 1];
		}
	}
	return (len);
}

int
whose(const struct world *w, enum way way, const uint8_t *p)
{
	uint32_t key;
	int node = (w->st->flags & BPF_STATE_NODE) != 0;

	memcpy(&key, p + (node == (way == IN) ? 16 : 12), 4);
	return (lease_of(key));
}

static void
outer(const struct world *w, uint8_t *p, size_t len)
{
	int i;

	put32(p, 6U << 28 | rnd(1 << 28));
	put16(p + 4, (uint16_t)len);
	p[6] = 4;
	p[7] = 64;
	inet_pton(AF_INET6, end6[rnd(LEASES)], p + 8);
	if (rnd(4) != 0 && (i = whose(w, IN, p + OUTER)) != -1)
		inet_pton(AF_INET6, end6[i], p + 8);
	memcpy(p + 24, w->st->local, 16);
}

static void
packet_make(const struct world *w, enum way way, struct packet *pk)
{
	uint8_t *p = pk->data;
	int native = way == OUT || rnd(8) == 0;
	size_t header = ETH + (native ? 20 : OUTER), len, i;

	memset(pk, 0, sizeof(*pk));
	pk->ifindex = way == OUT && rnd(16) == 0 ? LO : w->ifindex;
	memcpy(p, ours, sizeof(ours));
	memcpy(p + 6, ours, sizeof(ours));
	if (rnd(8) == 0)
		p[rnd(6)] ^= (uint8_t)(1 << rnd(8));
	put16(p + 12, native ? IP4 : IP6);
	len = inner(p + ETH + (native ? 0 : OUTER));
	if (!native)
		outer(w, p + ETH, len);
	pk->len = ETH + (native ? 0 : OUTER) + len;
	for (i = rnd(3) == 0 ? rnd(4) : 0; i > 0; i--)
		p[12 + rnd((uint32_t)pk->len - 12)] ^= (uint8_t)(1 << rnd(8));
	/* The kernel runs nothing on less than a header. */
	if (rnd(10) == 0)
		pk->len = header + rnd((uint32_t)(pk->len - header) + 8);
}

/* Once a second a lease's packet goes the long way, though it need not. */
static int
has_asked(struct world *w, int lease, uint32_t before)
{
	uint16_t asked = w->slots[lease].asked_out;

	if (asked == before || (uint16_t)((boot_ns() >> 30) - asked) > 1)
		return (0);
	w->asked++;
	return (1);
}

/* 1 the program has done what was wanted. */
static int
does(struct world *w, enum way way, const struct packet *pk, struct wanted *x)
{
	struct __sk_buff skb = { .ifindex = pk->ifindex };
	struct packet got;
	uint64_t used = w->st->used;
	uint32_t asked;
	int ok;

	DECLARE_LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = pk->data,
	    .data_size_in = (uint32_t)pk->len, .data_out = got.data,
	    .data_size_out = sizeof(got.data), .ctx_in = &skb,
	    .ctx_size_in = sizeof(skb));

	(way == IN ? want_in : want_out)(w, pk, x);
	asked = x->lease == -1 ? 0 : w->slots[x->lease].asked_out;
	if (bpf_prog_test_run_opts(w->progs[way], &run) != 0)
		err(1, "a run of %zu octets", pk->len);
	if (way == OUT && x->lease != -1) {
		if (has_asked(w, x->lease, asked))
			want_long_way(pk, x);
		else {
			x->label = get32(got.data + ETH) & LABEL;
			w->labels |= x->label;
			put32(x->packet.data + ETH, get32(x->packet.data +
			    ETH) | x->label);
		}
	}
	w->seen[way][x->verdict + 1]++;
	ok = counted(w, x->verdict == DROPPED ? (int)x->reason : -1);
	ok &= accounted(w, way, x, way == IN ? x->packet.len - ETH :
	    pk->len - ETH);
	return (ok && (int)run.retval == x->verdict && w->st->used == used &&
	    (x->verdict == DROPPED || (run.data_size_out == x->packet.len &&
	    memcmp(got.data, x->packet.data, x->packet.len) == 0)));
}

/* The next packet of a flow that one was carried of has its label. */
static int
does_next(struct world *w, struct packet *pk, struct wanted *x)
{
	uint32_t label = x->label;

	pk->data[ETH + 4] ^= 1;		/* the ID */
	if (!does(w, OUT, pk, x))
		return (0);
	if (x->lease == -1)
		return (1);
	w->same_flow++;
	return (x->label == label);
}

static void
show(enum way way, const struct packet *pk, const struct wanted *x,
    unsigned int begun)
{
	size_t i;

	printf("# seed %u, %s, wanted %d (%d):", begun, way == IN ? "in" :
	    "out", x->verdict, x->reason);
	for (i = 0; i < pk->len; i++)
		printf("%s%02x", i % 16 == ETH || i == 0 ? "\n# " : "",
		    pk->data[i]);
	putchar('\n');
}

/* 1 nothing that the programs may do has been missed. */
static int
saw_all(const struct world *w)
{
	static const char *const names[] = { "in", "out" };
	const uint64_t *seen;
	uint32_t i, n = 0;
	int ok = 1;

	for (i = IN; i <= OUT; i++) {
		seen = w->seen[i];
		printf("# %s: %ju passed on, %ju gone, %ju dropped, %ju "
		    "redirected\n", names[i], (uintmax_t)seen[PASS + 1],
		    (uintmax_t)seen[GOES + 1], (uintmax_t)seen[DROPPED + 1],
		    (uintmax_t)seen[REDIRECTED + 1]);
		if (seen[PASS + 1] == 0 || seen[GOES + 1] == 0 ||
		    seen[REDIRECTED + 1] == 0)
			ok = 0;
	}
	for (i = 0; i < DROP_NREASON; i++)
		n += w->dropped[i] > 0;
	printf("# %u reasons, %ju asked for the hop, %ju more of a flow, "
	    "labels' bits %x\n", n, (uintmax_t)w->asked,
	    (uintmax_t)w->same_flow, w->labels);
	return (ok && n == 7 && w->asked > 0 && w->same_flow > 0 &&
	    w->labels == LABEL);
}

int
main(int argc, char *argv[])
{
	static struct world w;
	static struct wanted x;
	static struct packet pk;
	enum way way;
	uint32_t i, n, bad = 0;
	unsigned int begun = 0;
	int ok;

	if (argc != 5)
		errx(2, "usage: same 4over6.o interface packets seed");
	n = (uint32_t)atoi(argv[3]);
	seed = (unsigned int)atoi(argv[4]);
	world_init(&w, argv[1], argv[2]);
	for (i = 0; i < n && bad < 5; i++) {
		if (i % ROUND == 0) {
			begun = seed;
			state_make(w.st);
		}
		way = i % 2 == 0 ? IN : OUT;
		moment_make(&w);
		packet_make(&w, way, &pk);
		ok = does(&w, way, &pk, &x);
		if (ok && way == OUT && x.lease != -1)
			ok = does_next(&w, &pk, &x);
		if (!ok) {
			show(way, &pk, &x, begun);
			bad++;
		}
	}
	printf("%sok 1 - the programs do with %u packets what the process "
	    "would\n", bad == 0 ? "" : "not ", i);
	printf("%sok 2 - each verdict was there, and each reason that they "
	    "have\n", saw_all(&w) ? "" : "not ");
	puts("1..2");
	return (0);
}
