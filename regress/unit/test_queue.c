/*
 * Which queue has a packet: the classic filters, at a socket that has packets
 * of IPv4 as a raw one has, and the programs that do the same for what the
 * host sends, where this kernel lets us load and run them.
 */
/* LINK: tunnel/plane-queue.o libdstmd.a */
#include <sys/types.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <arpa/inet.h>
#include <linux/bpf.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tunnel/plane-tun.h"
#include "tunnel/tunnel.h"

#define FLOWS	4000
#define ETHER	14		/* octets, for BPF_PROG_TEST_RUN */

static const uint32_t	 numbers[] = { 2, 3, 4 };

static int	 in[TUNNEL_QUEUE_MAX], out[TUNNEL_QUEUE_MAX];

static void
set_filters(enum queue_by by, uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++)
		assert_int_equal(queue_filter(out[i], by, i, n), 0);
}

/* The one queue of n that gets it. */
static uint32_t
queue_of(const uint8_t *p, size_t len, uint32_t n)
{
	uint32_t i, got = 0, which = UINT32_MAX;
	uint8_t back[256];
	ssize_t r;

	for (i = 0; i < n; i++) {
		(void)send(in[i], p, len, MSG_DONTWAIT);
		r = recv(out[i], back, sizeof(back), MSG_DONTWAIT);
		if (r == -1)
			continue;
		assert_int_equal(r, len);
		assert_memory_equal(back, p, len);
		which = i;
		got++;
	}
	assert_int_equal(got, 1);
	return (which);
}

static size_t
packet(uint8_t *p, uint32_t src, uint32_t dst, int proto, uint16_t sport,
    uint16_t dport)
{
	size_t hlen = 20 + (size_t)(random() % 3) * 4;

	memset(p, 0, 64);
	p[0] = (uint8_t)(4 << 4 | hlen / 4);
	p[9] = (uint8_t)proto;
	put32(p + 12, src);
	put32(p + 16, dst);
	put16(p + hlen, sport);
	put16(p + hlen + 2, dport);
	return (hlen + 8);
}

/* As BPF_PROG_TEST_RUN says, what the interface's program returns; or -1. */
static int
run(enum queue_by by, const uint8_t *p, size_t len, uint32_t *hash)
{
	uint8_t frame[ETHER + 64] = { 0 };
	union bpf_attr attr;

	frame[12] = 0x08;
	memcpy(frame + ETHER, p, len);
	memset(&attr, 0, sizeof(attr));
	attr.test.prog_fd = (uint32_t)queue_program(by);
	attr.test.data_in = (uintptr_t)frame;
	attr.test.data_size_in = (uint32_t)(ETHER + len);
	if (syscall(SYS_bpf, BPF_PROG_TEST_RUN, &attr, sizeof(attr)) == -1)
		return (-1);
	*hash = attr.test.retval;
	return (0);
}

/* Both ways of each flow are one queue's; flows are spread evenly. */
static void
test_flows(void **state)
{
	static const int protos[] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP };
	uint32_t i, k, n, q, src, dst, counts[TUNNEL_QUEUE_MAX];
	uint16_t sport, dport;
	uint8_t p[64];
	int proto;

	(void)state;
	for (k = 0; k < 3; k++) {
		n = numbers[k];
		set_filters(QUEUE_BY_FLOW, n);
		memset(counts, 0, sizeof(counts));
		for (i = 0; i < FLOWS; i++) {
			/* a run of leases, whose ports count up with them */
			src = 0xc6336400 + i % 200;
			dst = 0xcb007101;
			sport = (uint16_t)(40000 + i % 200 + i / 200);
			dport = 443;
			proto = protos[i % 2];
			q = queue_of(p, packet(p, src, dst, proto, sport,
			    dport), n);
			assert_int_equal(q, queue_of(p, packet(p, dst, src,
			    proto, dport, sport), n));
			counts[q]++;
		}
		for (q = 0; q < n; q++)
			assert_in_range(counts[q], FLOWS / n * 8 / 10,
			    FLOWS / n * 12 / 10);
	}
	/* one host, one peer, many ports; and one of each, other hosts */
	n = numbers[2];
	memset(counts, 0, sizeof(counts));
	for (i = 0; i < FLOWS; i++)
		counts[queue_of(p, packet(p, 0xc6336414, 0xcb007101,
		    protos[i % 2], (uint16_t)(32768 + i), 443), n)]++;
	for (i = 0; i < FLOWS; i++)
		counts[queue_of(p, packet(p, 0x0a000000 + i, 0xcb007101,
		    protos[i % 3], 5060, 5060), n)]++;
	for (q = 0; q < n; q++)
		assert_in_range(counts[q], FLOWS / n * 16 / 10,
		    FLOWS / n * 24 / 10);
}

/* All fragments of two hosts are one queue's, whatever looks like a port. */
static void
test_fragments(void **state)
{
	uint8_t p[64];
	uint32_t q;
	size_t len;
	int i;

	(void)state;
	set_filters(QUEUE_BY_FLOW, 4);
	q = queue_of(p, packet(p, 1, 2, IPPROTO_ICMP, 0, 0), 4);
	for (i = 0; i < 100; i++) {
		len = packet(p, 2, 1, i % 2 ? IPPROTO_UDP : IPPROTO_TCP,
		    (uint16_t)random(), (uint16_t)random());
		put16(p + 6, i % 3 == 0 ? 0x2000 : (uint16_t)(i % 3 == 1 ?
		    0x2000 + i : i + 1));
		assert_int_equal(queue_of(p, len, 4), q);
	}
}

/* What is no packet: by one queue as well, which counts it. */
static void
test_short(void **state)
{
	static const enum queue_by bys[] = { QUEUE_BY_FLOW, QUEUE_BY_LEASE };
	uint8_t p[64];
	uint32_t hash;
	size_t len, b, i;

	(void)state;
	for (b = 0; b < 2; b++) {
		set_filters(bys[b], 4);
		for (i = 1; i < 20; i++) {
			memset(p, (int)i * 7, sizeof(p));
			assert_int_equal(queue_of(p, i, 4), 0);
		}
		for (i = 0; i < 1000; i++) {
			len = 20 + (size_t)random() % 44;
			arc4random_buf(p, len);
			if (i % 2)
				p[9] = IPPROTO_TCP;
			if (i % 4)
				p[6] = p[7] = 0;
			hash = queue_of(p, len, 4);
			assert_in_range(hash, 0, 3);
		}
	}
}

/* A lease's flows are one queue's. */
static void
test_leases(void **state)
{
	uint32_t i, n = 4, q, counts[TUNNEL_QUEUE_MAX] = { 0 };
	uint8_t p[64];

	(void)state;
	set_filters(QUEUE_BY_LEASE, n);
	for (i = 0; i < FLOWS; i++) {
		q = queue_of(p, packet(p, 0x0a090000 + i, (uint32_t)random(),
		    IPPROTO_UDP, (uint16_t)random(), (uint16_t)random()), n);
		assert_int_equal(q, queue_of(p, packet(p, 0x0a090000 + i,
		    (uint32_t)random(), IPPROTO_TCP, (uint16_t)random(),
		    (uint16_t)random()), n));
		counts[q]++;
	}
	for (q = 0; q < n; q++)
		assert_in_range(counts[q], FLOWS / n * 8 / 10,
		    FLOWS / n * 12 / 10);
}

/* The interface's program says the same of what goes the other way. */
static void
test_programs(void **state)
{
	uint32_t i, k, n, hash, src, dst;
	uint16_t sport, dport;
	uint8_t p[64], back[64];
	size_t len, back_len;
	int proto;

	(void)state;
	if (queue_prepare() == -1) {
		print_message("# this kernel, or user, loads no program\n");
		skip();
	}
	for (k = 0; k < 3; k++) {
		n = numbers[k];
		for (i = 0; i < FLOWS; i++) {
			src = (uint32_t)random();
			dst = (uint32_t)random();
			sport = (uint16_t)random();
			dport = (uint16_t)random();
			proto = i % 3 == 0 ? IPPROTO_TCP : i % 3 == 1 ?
			    IPPROTO_UDP : (int)(random() % 256);
			len = packet(p, src, dst, proto, sport, dport);
			back_len = packet(back, dst, src, proto, dport, sport);
			if (i % 5 == 0) {
				put16(p + 6, (uint16_t)(1 + i % 0x3fff));
				put16(back + 6, 0x2000);
			}
			set_filters(QUEUE_BY_FLOW, i == 0 ? n : 0);
			if (run(QUEUE_BY_FLOW, back, back_len, &hash) == -1)
				skip();
			assert_int_equal(queue_of(p, len, n), hash % n);
		}
		set_filters(QUEUE_BY_LEASE, n);
		for (i = 0; i < FLOWS; i++) {
			src = (uint32_t)random();
			len = packet(p, src, (uint32_t)random(), 6, 1, 2);
			back_len = packet(back, (uint32_t)random(), src, 17, 3,
			    4);
			assert_int_equal(run(QUEUE_BY_LEASE, back, back_len,
			    &hash), 0);
			assert_int_equal(queue_of(p, len, n), hash % n);
		}
	}
	/* cut short */
	for (i = 0; i < 1000; i++) {
		len = 20 + (size_t)random() % 30;
		arc4random_buf(p, sizeof(p));
		p[6] = p[7] = 0;
		p[9] = IPPROTO_TCP;
		set_filters(QUEUE_BY_FLOW, i == 0 ? 4 : 0);
		assert_int_equal(run(QUEUE_BY_FLOW, p, len, &hash), 0);
		assert_int_equal(queue_of(p, len, 4), hash % 4);
	}
}

/* What came before the filter did is nobody's: it may be two queues'. */
static void
test_before(void **state)
{
	uint8_t p[64], c;
	size_t len = packet(p, 1, 2, IPPROTO_UDP, 3, 4);

	(void)state;
	set_filters(QUEUE_BY_FLOW, 1);
	assert_int_equal(send(in[0], p, len, MSG_DONTWAIT), len);
	set_filters(QUEUE_BY_FLOW, 1);
	assert_int_equal(recv(out[0], &c, 1, MSG_DONTWAIT), -1);
	assert_int_equal(queue_of(p, len, 1), 0);
}

static int
setup(void **state)
{
	int i, sp[2];

	(void)state;
	for (i = 0; i < TUNNEL_QUEUE_MAX; i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, sp), 0);
		in[i] = sp[0];
		out[i] = sp[1];
	}
	return (0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flows),
		cmocka_unit_test(test_fragments),
		cmocka_unit_test(test_short),
		cmocka_unit_test(test_leases),
		cmocka_unit_test(test_programs),
		cmocka_unit_test(test_before),
	};

	return (cmocka_run_group_tests_name("queue", tests, setup, NULL));
}
