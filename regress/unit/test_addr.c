/* LINK: dstmd/addr.o dstmd/mech.o dstmd/procname.o dstmd/clock.o dstmd/log.o */
#include <sys/socket.h>

#include <arpa/inet.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "dstmd/dstmd.h"

static struct in6_addr
v6(const char *text)
{
	struct in6_addr a;

	if (inet_pton(AF_INET6, text, &a) != 1)
		fail_msg("%s is no IPv6 address", text);
	return (a);
}

static struct in_addr
v4(const char *text)
{
	struct in_addr a;

	if (inet_pton(AF_INET, text, &a) != 1)
		fail_msg("%s is no IPv4 address", text);
	return (a);
}

static void
test_in6_usable(void **state)
{
	static const char *const yes[] = {
		"2001:db8::1", "2000::", "fd00::1", "fc00::1", "3ffe:b00::1",
		"::1:0:0", "0:0:0:0:0:1::", "fe7f:ffff::1",
		"64:ff9a::1", "64:ff9c::1", "2001:1::1", "2003::1",
		"::fffe:192.0.2.1"
	};
	static const char *const no[] = {
		"::", "::1", "::2", "::192.0.2.1", "::ffff:192.0.2.1",
		"::ffff:0.0.0.0", "fe80::1", "febf:ffff::1", "fec0::1",
		"feff:ffff::1", "ff00::", "ff02::1",
		"64:ff9b::c000:201", "64:ff9b:1::1", "2001::1",
		"2001:0:ffff::1", "2002::1", "2002:c000:201::1",
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
	};
	struct in6_addr a;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
		a = v6(yes[i]);
		if (!in6_usable(&a))
			fail_msg("%s must be usable", yes[i]);
	}
	for (i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
		a = v6(no[i]);
		if (in6_usable(&a))
			fail_msg("%s must not be usable", no[i]);
	}
}

static void
test_in_usable(void **state)
{
	static const char *const yes[] = {
		"1.0.0.0", "126.255.255.255", "128.0.0.0", "10.0.0.1",
		"169.253.255.255", "169.255.0.0", "192.0.2.1",
		"223.255.255.255", "198.51.100.255"
	};
	static const char *const no[] = {
		"0.0.0.0", "0.255.255.255", "127.0.0.1", "127.255.255.255",
		"169.254.0.0", "169.254.255.255", "224.0.0.0", "240.0.0.1",
		"255.255.255.255"
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
		if (!in_usable(v4(yes[i])))
			fail_msg("%s must be usable", yes[i]);
	for (i = 0; i < sizeof(no) / sizeof(no[0]); i++)
		if (in_usable(v4(no[i])))
			fail_msg("%s must not be usable", no[i]);
}

/* Every prefix length, against the first address that is out. */
static void
test_in6_match(void **state)
{
	struct in6_addr p = v6("2001:db8:a5a5:5a5a:a5a5:5a5a:a5a5:5a5a");
	struct in6_addr a;
	int bit, len;

	(void)state;
	for (len = 0; len <= 128; len++)
		for (bit = 0; bit < 128; bit++) {
			a = p;
			a.s6_addr[bit / 8] ^= (uint8_t)(0x80 >> (bit % 8));
			assert_int_equal(in6_match(&a, &p, len), bit >= len);
		}
	assert_int_equal(in6_match(&p, &p, 128), 1);
	assert_int_equal(in6_match(&p, &p, 0), 1);
	assert_int_equal(in6_match(&p, &p, 129), 0);
	assert_int_equal(in6_match(&p, &p, -1), 0);
}

static void
test_text(void **state)
{
	struct in6_addr a = v6("2001:DB8:0:0:0:0:0:1");
	const char *t[8];
	char want[INET_ADDRSTRLEN];
	struct in_addr b;
	int i;

	(void)state;
	assert_string_equal(log_in6(&a), "2001:db8::1");
	a = v6("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255");
	assert_string_equal(log_in6(&a),
	    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
	/* eight in one call */
	for (i = 0; i < 8; i++) {
		b.s_addr = htonl(0xc0000200U + (uint32_t)i);
		t[i] = log_in(b);
	}
	for (i = 0; i < 8; i++) {
		b.s_addr = htonl(0xc0000200U + (uint32_t)i);
		inet_ntop(AF_INET, &b, want, sizeof(want));
		assert_string_equal(t[i], want);
	}
}

static void
test_mech(void **state)
{
	const uint32_t all = ((1U << MECH_MAX) - 1) | MECH_CALL;
	uint32_t bit;

	(void)state;
	for (bit = 1; bit != 0; bit <<= 1) {
		if (!(bit & all)) {
			assert_null(mech_name(bit));
			continue;
		}
		assert_non_null(mech_name(bit));
		assert_int_equal(mech_bit(mech_name(bit)), bit);
	}
	assert_null(mech_name(0));
	assert_null(mech_name(all));
	assert_int_equal(mech_bit("scram-sha-256"), MECH_SCRAM_SHA_256);
	assert_int_equal(mech_bit("Anonymous"), MECH_ANONYMOUS);
	/* not a word of the configuration */
	assert_int_equal(mech_bit("SCRAM-SHA-256-PLUS"), MECH_CALL);
	assert_null(mech_word(MECH_CALL));
	assert_int_equal(mech_bit("SCRAM-SHA-25"), 0);
	assert_int_equal(mech_bit(" ANONYMOUS"), 0);
	assert_int_equal(mech_bit("PLAIN-PLUS"), 0);
	assert_int_equal(mech_bit(""), 0);
}

static void
test_names(void **state)
{
	char name[NAME_SIZE + 1];
	int c;

	(void)state;
	assert_true(name_valid("alice"));
	assert_true(name_valid("A.b_c-9"));
	assert_true(name_valid("anonymous2"));
	assert_false(name_valid(""));
	assert_false(name_valid("anonymous"));
	assert_false(name_valid("ANONymous"));
	memset(name, 'x', sizeof(name));
	name[NAME_MAX_LEN] = '\0';
	assert_true(name_valid(name));
	name[NAME_MAX_LEN] = 'x';
	name[NAME_MAX_LEN + 1] = '\0';
	assert_false(name_valid(name));
	for (c = 1; c < 256; c++) {
		name[0] = 'a';
		name[1] = (char)c;
		name[2] = '\0';
		assert_int_equal(name_valid(name), (c >= 'a' && c <= 'z') ||
		    (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		    c == '.' || c == '_' || c == '-');
	}
}

static void
test_proc_names(void **state)
{
	uint32_t i;

	(void)state;
	for (i = 0; i < PROC_NPROC; i++)
		assert_string_not_equal(proc_name(i), "?");
	assert_string_equal(proc_name(PROC_SESSION), "session");
	for (i = 0; i < PROC_NPROC; i++)
		assert_int_equal(proc_kind((enum proc_id)i),
		    i > PROC_TUNNEL && i < PROC_CONTROL ? PROC_TUNNEL : i);
	assert_int_equal(PROC_CONTROL, PROC_TUNNEL + TUNNEL_QUEUE_MAX);
	assert_string_equal(proc_name(PROC_NPROC), "?");
	assert_string_equal(proc_name(UINT32_MAX), "?");
}

static void
test_clock(void **state)
{
	struct timespec ts = { 0, 20 * 1000 * 1000 };
	int64_t a, b;

	(void)state;
	a = now_ms();
	nanosleep(&ts, NULL);
	b = now_ms();
	assert_true(b - a >= 19 && b - a < 10000);
	assert_true(now_wall() >= time(NULL) - 1);
	assert_true(now_wall() <= time(NULL) + 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_in6_usable),
		cmocka_unit_test(test_in_usable),
		cmocka_unit_test(test_in6_match),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_mech),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_proc_names),
		cmocka_unit_test(test_clock),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
