/*
 * The fast path does with a packet what the tunnel process would: the program
 * at the outer interface, run by the kernel on packets of which many are
 * broken, beside the functions of encap.c. TAP.
 *
 * usage: same 4over6.o packets seed
 */
#include <sys/types.h>

#include <arpa/inet.h>

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "dstmd/dstmd.h"
#include "tunnel/bpf/layout.h"
#include "tunnel/tunnel.h"

#define ETH		14
#define OUTER		40
#define SIZE		512
#define SLOTS		8
#define CPUS_MAX	1024
#define TUN_INDEX	7
#define MTU		1400
#define PASS		(-1)	/* TC_ACT_UNSPEC, _SHOT, _REDIRECT */
#define DROPPED		2
#define CARRIED		7
#define NOBODYS		"198.51.100.9"
#define NADDRS		(sizeof(addrs) / sizeof(addrs[0]))
#define OVER		"198.51.100.3"	/* its lease is */

struct packet {
	uint8_t	 data[SIZE];
	size_t	 len;
};

struct wanted {
	int		 verdict;
	enum tunnel_drop reason;
	struct packet	 packet;	/* CARRIED */
};

struct world {
	int		 leases, slots, state, drops, prog;
	struct bpf_state st;
	uint64_t	 dropped[DROP_NREASON];
	uint64_t	 seen[3];
};

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

/* Nobody's is not in it. */
static int
lease_of(uint32_t addr)
{
	int i;

	for (i = 0; i < 3; i++)
		if (v4(addrs[i]) == addr)
			return (i);
	return (-1);
}

static void
world_init(struct world *w, const char *path)
{
	static struct bpf_slot slots[SLOTS];
	struct bpf_object *o;
	uint32_t i, addr;

	if ((o = bpf_object__open_file(path, NULL)) == NULL ||
	    bpf_map__set_max_entries(bpf_object__find_map_by_name(o, "leases"),
	    SLOTS) != 0 ||
	    bpf_map__set_max_entries(bpf_object__find_map_by_name(o, "slots"),
	    SLOTS) != 0 || bpf_object__load(o) != 0)
		err(1, "%s", path);
	w->leases = bpf_object__find_map_fd_by_name(o, "leases");
	w->slots = bpf_object__find_map_fd_by_name(o, "slots");
	w->state = bpf_object__find_map_fd_by_name(o, "state");
	w->drops = bpf_object__find_map_fd_by_name(o, "drops");
	w->prog = bpf_program__fd(bpf_object__find_program_by_name(o,
	    "dstmd_in_ether"));
	for (i = 0; i < 3; i++) {
		slots[i].v4 = addr = v4(addrs[i]);
		inet_pton(AF_INET6, end6[i], slots[i].v6);
		slots[i].expires = strcmp(addrs[i], OVER) == 0;
		if (bpf_map_update_elem(w->slots, &i, &slots[i], 0) != 0 ||
		    bpf_map_update_elem(w->leases, &addr, &i, 0) != 0)
			err(1, "a lease");
	}
	w->st.version = BPF_LAYOUT;
	w->st.ifindex = TUN_INDEX;
	w->st.mtu = MTU;
	inet_pton(AF_INET6, "2001:db8::77", w->st.local);
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

/* The inner packet: mostly a SYN, with options that mostly make sense. */
static size_t
inner(uint8_t *p)
{
	static const uint8_t protocols[] = { 6, 6, 6, 17, 1, 47 };
	size_t i, len, opts = rnd(11) * 4;

	len = 40 + opts + rnd(40);
	for (i = 0; i < len; i++)
		p[i] = (uint8_t)rnd(256);
	p[0] = 0x45;
	p[1] = (uint8_t)rnd(256);
	put16(p + 2, (uint16_t)len);
	put16(p + 6, rnd(8) == 0 ? (uint16_t)rnd(0x4000) : 0x4000);
	p[9] = protocols[rnd(sizeof(protocols))];
	memcpy(p + 12, &(uint32_t){ v4(addrs[rnd(NADDRS)]) }, 4);
	memcpy(p + 16, &(uint32_t){ v4(addrs[rnd(NADDRS)]) }, 4);
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

static void
packet_make(const struct world *w, struct packet *pk)
{
	uint8_t *p = pk->data;
	size_t len, i;

	memset(pk, 0, sizeof(*pk));
	put16(p + 12, 0x86dd);
	len = inner(p + ETH + OUTER);
	put32(p + ETH, 6U << 28 | rnd(1 << 28));
	put16(p + ETH + 4, (uint16_t)len);
	p[ETH + 6] = 4;
	p[ETH + 7] = 64;
	inet_pton(AF_INET6, end6[rnd(3)], p + ETH + 8);
	if (rnd(4) != 0 && (i = (size_t)lease_of(*(uint32_t *)(void *)(p +
	    ETH + OUTER + (w->st.flags & BPF_STATE_NODE ? 16 : 12)))) < 3)
		inet_pton(AF_INET6, end6[i], p + ETH + 8);
	memcpy(p + ETH + 24, w->st.local, 16);
	pk->len = ETH + OUTER + len;
	for (i = rnd(3) == 0 ? rnd(4) : 0; i > 0; i--)
		p[12 + rnd((uint32_t)pk->len - 12)] ^= (uint8_t)(1 << rnd(8));
	/* The kernel runs nothing on less than a header. */
	if (rnd(10) == 0)
		pk->len = ETH + OUTER + rnd((uint32_t)pk->len - ETH - OUTER +
		    8);
}

static void
drop(struct wanted *x, enum tunnel_drop reason)
{
	x->verdict = DROPPED;
	x->reason = reason;
}

/* As tunnel.c's packet_in, and 4over6.bpf.c's head says what passes on. */
static void
want(const struct world *w, const struct packet *pk, struct wanted *x)
{
	const uint8_t *o = pk->data + ETH;
	uint8_t *p = x->packet.data + ETH;
	struct in_addr src, dst;
	struct in6_addr end;
	size_t len = pk->len - ETH - OUTER;
	int node = (w->st.flags & BPF_STATE_NODE) != 0, i;

	x->verdict = PASS;
	if (pk->len < ETH + OUTER + 20 || get16(pk->data + 12) != 0x86dd ||
	    o[6] != 4 || memcmp(o + 24, w->st.local, 16) != 0 ||
	    get16(o + 4) != len || ipv4_check(o + OUTER, len) != len)
		return;
	memcpy(p, o + OUTER, len);
	memcpy(&src, p + 12, 4);
	memcpy(&dst, p + 16, 4);
	if ((i = lease_of(node ? dst.s_addr : src.s_addr)) == -1) {
		drop(x, node ? DROP_NO_LEASE : DROP_INNER_SOURCE);
		return;
	}
	inet_pton(AF_INET6, end6[i], &end);
	if (memcmp(o + 8, &end, 16) != 0)
		drop(x, DROP_OUTER_SOURCE);
	else if (strcmp(addrs[i], OVER) == 0)
		drop(x, DROP_EXPIRED);
	else if (!in_usable(src) || !in_usable(dst))
		drop(x, DROP_MARTIAN);
	else if (w->st.tep4 != 0 && src.s_addr == w->st.tep4 && p[9] == 1)
		return;
	else if (ecn_decap(p, len, (uint8_t)(get32(o) >> 20)) == -1)
		drop(x, DROP_ECN);
	else {
		ipv4_clamp_mss(p, len, w->st.mtu);
		x->verdict = CARRIED;
		x->packet.len = ETH + len;
	}
}

/* 1 the program has done what was wanted. */
static int
does(struct world *w, const struct packet *pk, const struct wanted *x)
{
	struct packet got;

	DECLARE_LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = pk->data,
	    .data_size_in = (uint32_t)pk->len, .data_out = got.data,
	    .data_size_out = sizeof(got.data));

	if (bpf_prog_test_run_opts(w->prog, &run) != 0)
		err(1, "a run of %zu octets", pk->len);
	w->seen[x->verdict == PASS ? 0 : x->verdict == DROPPED ? 1 : 2]++;
	if ((int)run.retval != x->verdict || !counted(w,
	    x->verdict == DROPPED ? (int)x->reason : -1))
		return (0);
	return (x->verdict != CARRIED || (run.data_size_out == x->packet.len &&
	    memcmp(got.data + ETH, x->packet.data + ETH,
	    x->packet.len - ETH) == 0));
}

static void
show(const struct packet *pk, const struct wanted *x, unsigned int begun)
{
	size_t i;

	printf("# seed %u, wanted %d (%d):", begun, x->verdict, x->reason);
	for (i = ETH; i < pk->len; i++)
		printf("%s%02x", i % 16 == ETH ? "\n# " : "", pk->data[i]);
	putchar('\n');
}

int
main(int argc, char *argv[])
{
	static struct world w;
	static struct wanted x;
	struct packet pk;
	uint32_t i, n, bad = 0, zero = 0;
	unsigned int begun;

	if (argc != 4)
		errx(2, "usage: same 4over6.o packets seed");
	n = (uint32_t)atoi(argv[2]);
	seed = (unsigned int)atoi(argv[3]);
	world_init(&w, argv[1]);
	for (i = 0; i < n && bad < 5; i++) {
		begun = seed;
		if (i % 1000 == 0) {
			w.st.flags = i / 1000 % 2 ? BPF_STATE_NODE : 0;
			w.st.tep4 = i / 2000 % 2 ? v4("198.51.100.254") : 0;
			w.st.mtu = MTU - rnd(1300);
			if (bpf_map_update_elem(w.state, &zero, &w.st, 0) != 0)
				err(1, "state");
		}
		packet_make(&w, &pk);
		want(&w, &pk, &x);
		if (!does(&w, &pk, &x)) {
			show(&pk, &x, begun);
			bad++;
		}
	}
	printf("# %ju passed on, %ju dropped, %ju carried\n",
	    (uintmax_t)w.seen[0], (uintmax_t)w.seen[1], (uintmax_t)w.seen[2]);
	printf("%sok 1 - the program does with %u packets what the process "
	    "would\n", bad == 0 ? "" : "not ", i);
	for (i = 0, n = 0; i < DROP_NREASON; i++)
		n += w.dropped[i] > 0;
	printf("%sok 2 - each verdict was there, and each reason that this "
	    "program has\n", n == 6 && w.seen[0] > 0 && w.seen[2] > 0 ? "" :
	    "not ");
	puts("1..2");
	return (0);
}
