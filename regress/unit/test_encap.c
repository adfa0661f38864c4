/* Packets of the data plane, its map, and whether the TEP answers. */
/* LINK: tunnel/encap.o tunnel/sum.o tunnel/map.o tunnel/keepalive.o libdstmd.a */
#include <arpa/inet.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "regress/unit/slow_sum.h"
#include "tunnel/tunnel.h"

/* An IPv4 TCP SYN with these options; its length. */
static size_t
syn(uint8_t *p, uint8_t tos, const uint8_t *opt, size_t n)
{
	size_t len = 40 + n;
	uint16_t s;

	memset(p, 0, len);
	p[0] = 0x45;
	p[1] = tos;
	p[2] = (uint8_t)(len >> 8);
	p[3] = (uint8_t)len;
	p[8] = 64;
	p[9] = 6;
	memcpy(p + 12, "\xc6\x33\x64\x10\xc0\x00\x02\x50", 8);
	s = (uint16_t)~slow_sum(p, 20, 0);
	p[10] = (uint8_t)(s >> 8);
	p[11] = (uint8_t)s;
	p[32] = (uint8_t)((20 + n) / 4 << 4);
	p[33] = 2;
	memcpy(p + 40, opt, n);
	s = (uint16_t)~slow_sum(p + 20, len - 20, slow_sum(p + 12, 8,
	    (uint32_t)(6 + len - 20)));
	p[36] = (uint8_t)(s >> 8);
	p[37] = (uint8_t)s;
	return (len);
}

static void
sums_hold(const uint8_t *p, size_t len)
{
	assert_int_equal(slow_sum(p, 20, 0), 0xffff);
	assert_int_equal(slow_sum(p + 20, len - 20, slow_sum(p + 12, 8,
	    (uint32_t)(6 + len - 20))), 0xffff);
}

static void
test_check(void **state)
{
	uint8_t p[64];
	size_t len = syn(p, 0, (const uint8_t *)"\2\4\5\xb4", 4), i;

	(void)state;
	assert_int_equal(ipv4_check(p, len), len);
	assert_int_equal(ipv4_check(p, len + 10), len);
	for (i = 0; i < len; i++)
		assert_int_equal(ipv4_check(p, i), 0);
	p[0] = 0x44;
	assert_int_equal(ipv4_check(p, len), 0);
	p[0] = 0x65;
	assert_int_equal(ipv4_check(p, len), 0);
	p[0] = 0x45;
	p[2] = 0;
	p[3] = 19;
	assert_int_equal(ipv4_check(p, len), 0);
}

/* What asks for a lease, or keeps it. */
static void
test_demand(void **state)
{
	static const uint8_t answers[] = { 0, 3, 4, 5, 11, 12 };
	uint8_t p[64], all[256];
	size_t len = syn(p, 0, (const uint8_t *)"\2\4\5\xb4", 4), i;

	(void)state;
	assert_int_equal(ipv4_is_demand(p, len), 1);
	p[33] = 0x14;			/* RST, ACK */
	assert_int_equal(ipv4_is_demand(p, len), 0);
	assert_int_equal(ipv4_is_demand(p, 34), 0);
	assert_int_equal(ipv4_is_demand(p, 33), 1);
	p[7] = 1;			/* a later fragment has no header */
	assert_int_equal(ipv4_is_demand(p, len), 0);
	p[6] = 0x20;			/* the first has */
	p[7] = 0;
	assert_int_equal(ipv4_is_demand(p, len), 0);
	p[33] = 0x10;
	assert_int_equal(ipv4_is_demand(p, len), 1);
	assert_int_equal(ipv4_is_demand(p, 30), 1);
	p[9] = 17;
	assert_int_equal(ipv4_is_demand(p, len), 1);
	p[16] = 224;
	assert_int_equal(ipv4_is_demand(p, len), 0);
	p[16] = 255;
	assert_int_equal(ipv4_is_demand(p, len), 0);
	p[16] = 192;
	p[9] = 1;
	memset(all, 1, sizeof(all));
	for (i = 0; i < sizeof(answers); i++)
		all[answers[i]] = 0;
	for (i = 0; i < sizeof(all); i++) {
		p[20] = (uint8_t)i;
		assert_int_equal(ipv4_is_demand(p, len), all[i]);
	}
	assert_int_equal(ipv4_is_demand(p, 20), 1);
}

static void
test_mss(void **state)
{
	static const uint8_t even[] = { 2, 4, 0x05, 0xb4 };
	static const uint8_t odd[] = { 1, 2, 4, 0x05, 0xb4, 0, 0, 0 };
	static const uint8_t small[] = { 2, 4, 0x02, 0x00 };
	static const uint8_t bad[] = { 2, 9, 0x05, 0xb4 };
	static const uint8_t zero[] = { 5, 0, 2, 4 };
	uint8_t p[64], q[64];
	size_t len;

	(void)state;
	len = syn(p, 0, even, sizeof(even));
	ipv4_clamp_mss(p, len, 1460);
	assert_int_equal(p[42] << 8 | p[43], 1420);
	sums_hold(p, len);
	len = syn(p, 0, odd, sizeof(odd));
	ipv4_clamp_mss(p, len, 1460);
	assert_int_equal(p[43] << 8 | p[44], 1420);
	sums_hold(p, len);
	len = syn(p, 0, small, sizeof(small));
	memcpy(q, p, len);
	ipv4_clamp_mss(p, len, 1460);
	assert_memory_equal(p, q, len);
	len = syn(p, 0, bad, sizeof(bad));
	memcpy(q, p, len);
	ipv4_clamp_mss(p, len, 1460);
	assert_memory_equal(p, q, len);
	len = syn(p, 0, zero, sizeof(zero));
	ipv4_clamp_mss(p, len, 1460);
	/* a fragment's payload is no TCP header */
	len = syn(p, 0, even, sizeof(even));
	p[7] = 1;
	memcpy(q, p, len);
	ipv4_clamp_mss(p, len, 1460);
	assert_memory_equal(p, q, len);
}

/* RFC 6040, figure 4 */
static void
test_ecn(void **state)
{
	/* inner, outer, result; -1: dropped */
	static const int table[16][3] = {
		{ 0, 0, 0 }, { 0, 2, 0 }, { 0, 1, 0 }, { 0, 3, -1 },
		{ 2, 0, 2 }, { 2, 2, 2 }, { 2, 1, 1 }, { 2, 3, 3 },
		{ 1, 0, 1 }, { 1, 2, 1 }, { 1, 1, 1 }, { 1, 3, 3 },
		{ 3, 0, 3 }, { 3, 2, 3 }, { 3, 1, 3 }, { 3, 3, 3 },
	};
	uint8_t p[64];
	size_t i, len;
	int r;

	(void)state;
	for (i = 0; i < 16; i++) {
		len = syn(p, (uint8_t)(0xb8 | table[i][0]),
		    (const uint8_t *)"\2\4\5\xb4", 4);
		r = ecn_decap(p, len, (uint8_t)(0x20 | table[i][1]));
		assert_int_equal(r, table[i][2] == -1 ? -1 : 0);
		if (r == 0) {
			assert_int_equal(p[1], 0xb8 | table[i][2]);
			sums_hold(p, len);
		}
		assert_int_equal(ecn_encap(p[1]), p[1]);
	}
}

/* Against a plain array: adds, deletes and finds in any order. */
static void
test_map(void **state)
{
	struct tunnel_map *m = tunnel_map_new();
	struct tunnel_entry page[7];
	static uint8_t there[5000];
	struct in6_addr v6;
	struct in_addr v4;
	uint32_t i, k, n, slot, count = 0, seen = 0;

	(void)state;
	srandom(1);
	memset(&v6, 0, sizeof(v6));
	for (i = 0; i < 40000; i++) {
		k = (uint32_t)random() % 5000;
		v4.s_addr = htonl(0xc6336400U + k);
		v6.s6_addr[15] = (uint8_t)k;
		v6.s6_addr[14] = (uint8_t)(k >> 8);
		if (random() % 2) {
			tunnel_map_add(m, v4, &v6, INT64_MAX);
			count += !there[k];
			there[k] = 1;
		} else {
			assert_int_equal(tunnel_map_del(m, v4),
			    there[k] ? 0 : -1);
			count -= there[k];
			there[k] = 0;
		}
		assert_int_equal(tunnel_map_count(m), count);
	}
	for (k = 0; k < 5000; k++) {
		v4.s_addr = htonl(0xc6336400U + k);
		assert_int_equal(tunnel_map_find(m, v4) != NULL, there[k]);
		if (there[k])
			assert_int_equal(tunnel_map_find(m, v4)->v6.s6_addr[15],
			    k & 0xff);
	}
	for (slot = 0;;) {
		slot = tunnel_map_page(m, slot, page, 7, &n);
		for (i = 0; i < n; i++) {
			k = ntohl(page[i].v4.s_addr) - 0xc6336400U;
			assert_int_equal(there[k], 1);
			there[k] = 2;
			seen++;
		}
		if (slot == 0)
			break;
	}
	assert_int_equal(seen, count);
	v4.s_addr = 0;
	assert_null(tunnel_map_find(m, v4));
	tunnel_map_free(m);
}

/* What a TEP makes of an echo request. */
static void
echo(uint8_t *p)
{
	uint8_t a[4];

	memcpy(a, p + 12, 4);
	memcpy(p + 12, p + 16, 4);
	memcpy(p + 16, a, 4);
	p[20] = 0;
}

static void
keepalive(struct keepalive *k, uint32_t answers)
{
	struct msg_tunnel_keepalive m;

	memset(&m, 0, sizeof(m));
	m.interval = 30;
	m.answers = answers;
	inet_pton(AF_INET, "198.51.100.16", &m.v4);
	inet_pton(AF_INET, "198.51.100.1", &m.tep4);
	keepalive_start(k, &m);
}

static void
test_keepalive_packet(void **state)
{
	uint8_t p[KEEPALIVE_SIZE], q[KEEPALIVE_SIZE];
	struct keepalive k, other;
	size_t i;

	(void)state;
	memset(&k, 0, sizeof(k));
	keepalive(&k, 0);
	keepalive(&other, 0);
	assert_int_equal(keepalive_packet(&k, p), sizeof(p));
	assert_int_equal(ipv4_check(p, sizeof(p)), sizeof(p));
	assert_int_equal(slow_sum(p, 20, 0), 0xffff);
	assert_int_equal(slow_sum(p + 20, sizeof(p) - 20, 0), 0xffff);
	assert_int_equal(p[20], 8);
	(void)keepalive_packet(&k, q);
	assert_memory_not_equal(p, q, sizeof(p));
	assert_false(keepalive_is_answer(&k, p, sizeof(p)));
	echo(p);
	assert_true(keepalive_is_answer(&k, p, sizeof(p)));
	assert_false(keepalive_is_answer(&other, p, sizeof(p)));
	assert_false(keepalive_is_answer(&k, p, sizeof(p) - 1));
	/* What the host itself has asked for is not ours to swallow. */
	for (i = 24; i < sizeof(p); i++) {
		if (i == 26 || i == 27)		/* sequence: any of ours */
			continue;
		p[i] ^= 1;
		assert_false(keepalive_is_answer(&k, p, sizeof(p)));
		p[i] ^= 1;
	}
	memset(&k, 0, sizeof(k));
	assert_false(keepalive_is_answer(&k, p, sizeof(p)));
}

static void
test_keepalive(void **state)
{
	struct keepalive k;
	int64_t ms;
	int i, send, died;

	(void)state;
	/* One that never answers is asked, and not judged. */
	keepalive(&k, 0);
	for (i = 0; i < 10; i++) {
		assert_int_equal(keepalive_tick(&k, &send, &died), 30000);
		assert_true(send);
		assert_false(died);
		assert_int_equal(keepalive_heard(&k, 0), 0);
	}
	/* Its first answer is news; then traffic is life as well. */
	assert_int_equal(keepalive_heard(&k, 1), 1);
	for (i = 0; i < 10; i++) {
		assert_int_equal(keepalive_tick(&k, &send, &died), 30000);
		assert_false(send);
		assert_int_equal(keepalive_heard(&k, i % 2), 0);
	}
	/* A lost answer is not the end. */
	(void)keepalive_tick(&k, &send, &died);
	for (i = 0; i < 3; i++) {
		assert_int_equal(keepalive_tick(&k, &send, &died), 10000);
		assert_true(send);
		assert_false(died);
	}
	(void)keepalive_heard(&k, 0);
	/* Silence: an interval, and three requests in another. */
	(void)keepalive_tick(&k, &send, &died);
	for (ms = 30000, i = 0; !died && i < 10; i++)
		ms += keepalive_tick(&k, &send, &died);
	assert_int_equal(i, 4);
	assert_int_equal(ms, 30000 + 3 * 10000 + 30000);
	assert_true(send);
	/* That is said once, and it is still asked. */
	for (i = 0; i < 10; i++) {
		assert_int_equal(keepalive_tick(&k, &send, &died), 30000);
		assert_true(send);
		assert_false(died);
	}
	assert_int_equal(keepalive_heard(&k, 0), 1);
	/* One that is known to answer is judged from the start. */
	keepalive(&k, 1);
	for (i = 0; i < 3; i++) {
		(void)keepalive_tick(&k, &send, &died);
		assert_false(died);
	}
	(void)keepalive_tick(&k, &send, &died);
	assert_true(died);
	/* and lives by whatever comes, which is said once */
	keepalive(&k, 1);
	assert_int_equal(keepalive_heard(&k, 0), 1);
	assert_int_equal(keepalive_heard(&k, 1), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_check), cmocka_unit_test(test_mss),
		cmocka_unit_test(test_demand),
		cmocka_unit_test(test_ecn), cmocka_unit_test(test_map),
		cmocka_unit_test(test_keepalive_packet),
		cmocka_unit_test(test_keepalive),
	};

	return (cmocka_run_group_tests_name("encap", tests, NULL, NULL));
}
