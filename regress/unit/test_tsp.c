/*
 * TSP on the wire: lines, frames, status codes, SASL steps, however TCP
 * cuts them. What is read lies at the end of a heap block of its own size,
 * so that AddressSanitizer sees who looks behind it.
 */
/* LINK: session/tsp.o session/emit.o libdstmd.a */
#include <arpa/inet.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "session/session.h"

#define BYTES(s)	((const uint8_t *)(s)), sizeof(s) - 1

static uint8_t *
copy(const void *p, size_t len)
{
	uint8_t *d = malloc(len > 0 ? len : 1);

	assert_non_null(d);
	memcpy(d, p, len);
	return (d);
}

static int
frame_of(const void *p, size_t len, size_t *n)
{
	const uint8_t *body = NULL;
	uint8_t *d = copy(p, len);
	int used;

	*n = 0;
	used = tsp_frame(d, len, &body, n);
	if (used > 0)
		assert_ptr_equal(body + *n, d + used);
	free(d);
	return (used);
}

/*
 * Whole at its last octet, not before, and what follows makes no
 * difference: the same by whatever pieces it comes.
 */
static void
frame_ok(const void *p, size_t len, size_t want)
{
	char buf[TSP_BODY_MAX + 512];
	size_t i, n;

	for (i = 0; i < len; i++)
		assert_int_equal(frame_of(p, i, &n), TSP_AGAIN);
	assert_int_equal(frame_of(p, len, &n), len);
	assert_int_equal(n, want);
	assert_in_range(len + 40, 0, sizeof(buf));
	memcpy(buf, p, len);
	memset(buf + len, '\n', 40);
	for (i = 1; i <= 40; i++) {
		assert_int_equal(frame_of(buf, len + i, &n), len);
		assert_int_equal(n, want);
	}
}

/* Never whole; refused at its end at the latest, and from then on. */
static void
frame_bad(const void *p, size_t len)
{
	size_t i, n;
	int used, bad = 0;

	for (i = 0; i <= len; i++) {
		used = frame_of(p, i, &n);
		assert_in_range(-used, 0, 1);
		assert_true(used == TSP_BAD || !bad);
		bad = used == TSP_BAD;
	}
	assert_true(bad);
}

static void
test_frame(void **state)
{
	(void)state;
	frame_ok(BYTES("Content-length: 5\r\nhello"), 5);
	frame_ok(BYTES("Content-length:5\r\nhello"), 5);
	frame_ok(BYTES("Content-length:       5   \r\nhello"), 5);
	frame_ok(BYTES("CONTENT-LENGTH: 5\r\nhello"), 5);
	frame_ok(BYTES("content-Length: 5\nhello"), 5);
	frame_ok(BYTES("Content-length: 000005\r\nhello"), 5);
	/* any octets, also those that frames are made of */
	frame_ok(BYTES("Content-length: 1\r\n\0"), 1);
	frame_ok(BYTES("Content-length: 19\r\nContent-length: 5\r\n"), 19);
}

static void
test_frame_bad(void **state)
{
	static const char *const bad[] = {
		"\r\n", "hello\r\n", "Content-length: \r\n",
		"Content-length 5\r\n", "Content-length : 5\r\n",
		" Content-length: 5\r\n", "Content-length:\t5\r\n",
		"Content-length: 0\r\n", "Content-length: 000000\r\n",
		"Content-length: -1\r\n", "Content-length: -5\r\nhello",
		"Content-length: +5\r\nhello", "Content-length: 5 5\r\nhello",
		"Content-length: 5x\r\nhello", "Content-length: 0x5\r\nhello",
		"Content-length: 5.0\r\nhello", "Content-length: 5\r\r\nhello",
		"Content-length: 5,5\r\nhello", "Content-lengt: 5\r\nhello",
		"Content-length: 0000005\r\nhello", "Content-length: 8193\r\n",
		"Content-length: 99999\r\n", "Content-length: 100005\r\n",
		"Content-length: 1000005\r\n",
		/* 2^16 + 5, 2^32 + 5, 2^64 + 5, 10^6 * 2^32 + 5 */
		"Content-length: 65541\r\nhello",
		"Content-length: 4294967301\r\nhello",
		"Content-length: 18446744073709551621\r\nhello",
		"Content-length: 4294967296000005\r\nhello",
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		frame_bad(bad[i], strlen(bad[i]));
	frame_bad(BYTES("Content-length: 5\0\r\nhello"));
	frame_bad(BYTES("Content-length: \0" "5\r\nhello"));
}

/* The longest message, and one that is longer; the header has a bound too. */
static void
test_frame_max(void **state)
{
	char buf[TSP_BODY_MAX + 256], head[256];
	size_t n, i;
	int len, used;

	(void)state;
	memset(buf, 'x', sizeof(buf));
	len = snprintf(head, sizeof(head), "Content-length: %d\r\n",
	    TSP_BODY_MAX);
	memcpy(buf, head, (size_t)len);
	assert_int_equal(frame_of(buf, (size_t)len + TSP_BODY_MAX - 1, &n),
	    TSP_AGAIN);
	assert_int_equal(frame_of(buf, (size_t)len + TSP_BODY_MAX, &n),
	    len + TSP_BODY_MAX);
	assert_int_equal(n, TSP_BODY_MAX);
	/* who never ends his header is not waited for */
	memset(buf, ' ', sizeof(buf));
	memcpy(buf, "Content-length:", 15);
	assert_int_equal(frame_of(buf, 63, &n), TSP_AGAIN);
	assert_int_equal(frame_of(buf, 64, &n), TSP_BAD);
	/* one that is too long is so in one piece and in two */
	for (i = 20; i < 200; i++) {
		memset(buf, ' ', i);
		memcpy(buf, "Content-length:", 15);
		memcpy(buf + i, "5\r\nhello", 8);
		used = frame_of(buf, i + 8, &n);
		if (used > 0)
			frame_ok(buf, i + 8, 5);
		else
			frame_bad(buf, i + 3);
		assert_int_equal(used > 0, i + 3 <= 64);
	}
}

static const char	 wire[] = "\0Content-length: 3\r\none\0\0\0"
    "Content-length: 3\r\ntwoContent-length: 5\r\nthree\0";

/* All messages of wire up to end; *got counts them. Where it stopped. */
static size_t
read_wire(size_t off, size_t end, size_t *got)
{
	static const char *const want[] = { "one", "two", "three" };
	const uint8_t *body;
	uint8_t *d;
	size_t n;
	int used;

	do {
		d = copy(wire + off, end - off);
		n = tsp_skip(d, end - off);
		off += n;
		used = tsp_frame(d + n, end - off, &body, &n);
		assert_int_not_equal(used, TSP_BAD);
		if (used > 0) {
			assert_in_range(*got, 0, 2);
			assert_int_equal(n, strlen(want[*got]));
			assert_memory_equal(body, want[(*got)++], n);
			off += (size_t)used;
		}
		free(d);
	} while (used > 0);
	return (off);
}

/* Messages of a segment, NULs in front of and between them, cut anywhere. */
static void
test_stream(void **state)
{
	size_t cut, off, got, end = sizeof(wire) - 1;

	(void)state;
	for (cut = 0; cut <= end; cut++) {
		got = 0;
		off = read_wire(0, cut, &got);
		assert_int_equal(read_wire(off, end, &got), end);
		assert_int_equal(got, 3);
	}
	for (off = got = 0, cut = 1; cut <= end; cut++)
		off = read_wire(off, cut, &got);
	assert_int_equal(off, end);
	assert_int_equal(got, 3);
}

static int
line_of(const void *p, size_t len, size_t *n)
{
	const uint8_t *start = NULL;
	uint8_t *d = copy(p, len);
	int used = tsp_line(d, len, &start, n);

	if (used > 0)
		assert_ptr_equal(start, d);
	free(d);
	return (used);
}

static void
test_line(void **state)
{
	static char buf[TSP_LINE_MAX + 16];
	size_t n, i;

	(void)state;
	for (i = 0; i < 13; i++)
		assert_int_equal(line_of("VERSION=1.0\r\n", i, &n),
		    TSP_AGAIN);
	assert_int_equal(line_of("VERSION=1.0\r\nmore\n", 18, &n), 13);
	assert_int_equal(n, 11);
	assert_int_equal(line_of("VERSION=1.0\n", 12, &n), 12);
	assert_int_equal(n, 11);
	assert_int_equal(line_of("\r\n", 2, &n), 2);
	assert_int_equal(n, 0);
	assert_int_equal(line_of("\n", 1, &n), 1);
	assert_int_equal(n, 0);
	assert_int_equal(line_of("a\rb\r\n", 5, &n), TSP_BAD);
	assert_int_equal(line_of("a\r\r\n", 4, &n), TSP_BAD);
	/* the bound is that of the line with its end */
	memset(buf, 'x', sizeof(buf));
	buf[TSP_LINE_MAX - 1] = '\n';
	assert_int_equal(line_of(buf, TSP_LINE_MAX - 1, &n), TSP_AGAIN);
	assert_int_equal(line_of(buf, TSP_LINE_MAX, &n), TSP_LINE_MAX);
	assert_int_equal(n, TSP_LINE_MAX - 1);
	buf[TSP_LINE_MAX - 1] = 'x';
	buf[TSP_LINE_MAX] = '\n';
	assert_int_equal(line_of(buf, TSP_LINE_MAX, &n), TSP_BAD);
	assert_int_equal(line_of(buf, TSP_LINE_MAX + 1, &n), TSP_BAD);
	assert_int_equal(line_of(buf, sizeof(buf), &n), TSP_BAD);
}

static void
test_skip(void **state)
{
	(void)state;
	assert_int_equal(tsp_skip(BYTES("")), 0);
	assert_int_equal(tsp_skip(BYTES("\0\0\0")), 3);
	assert_int_equal(tsp_skip(BYTES("\0\0x\0")), 2);
	assert_int_equal(tsp_skip(BYTES("x\0")), 0);
}

static void
test_version(void **state)
{
	static const struct {
		const char		*line;
		enum tsp_dialect	 dialect;
	} t[] = {
		{ "VERSION=1.0", DIALECT_DRAFT },
		{ "version=1.0  ", DIALECT_DRAFT },
		{ "VERSION=2.0.0", DIALECT_RFC },
		{ "VERSION=2.0.1", DIALECT_RFC },
		{ "VERSION=2.0.2", DIALECT_RFC },
		{ "VERSION=2.0.3", DIALECT_NONE },
		{ "VERSION=2.0", DIALECT_NONE },
		{ "VERSION=1.0.0", DIALECT_NONE },
		{ "VERSION=1.00", DIALECT_NONE },
		{ "VERSION=1", DIALECT_NONE },
		{ "VERSION= 1.0", DIALECT_NONE },
		{ "VERSION=", DIALECT_NONE },
		{ "VERSION", DIALECT_NONE },
		{ " VERSION=1.0", DIALECT_NONE },
		{ "", DIALECT_NONE },
	};
	size_t i;
	uint8_t *d;

	(void)state;
	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		d = copy(t[i].line, strlen(t[i].line));
		assert_int_equal(tsp_version(d, strlen(t[i].line)),
		    t[i].dialect);
		free(d);
	}
	assert_int_equal(tsp_version(BYTES("VERSION=1.0\0")), DIALECT_NONE);
}

static int
authenticate(const void *line, size_t len, uint32_t *mech)
{
	uint8_t *d = copy(line, len);
	int r = tsp_authenticate(d, len, mech);

	free(d);
	return (r);
}

static void
test_authenticate(void **state)
{
	uint32_t m = 1234;

	(void)state;
	assert_int_equal(authenticate("AUTHENTICATE ANONYMOUS", 22, &m), 0);
	assert_int_equal(m, MECH_ANONYMOUS);
	assert_int_equal(authenticate("authenticate  digest-md5 ", 25, &m), 0);
	assert_int_equal(m, MECH_DIGEST_MD5);
	/* others, and what the library would take for one of ours */
	assert_int_equal(authenticate("AUTHENTICATE PLAIN-PLUS", 23, &m), 0);
	assert_int_equal(m, 0);
	assert_int_equal(authenticate("AUTHENTICATE PLAIN\0", 19, &m), 0);
	assert_int_equal(m, 0);
	assert_int_equal(authenticate("AUTHENTICATE 01234567890123456789"
	    "01234567890123456789", 53, &m), 0);
	assert_int_equal(m, 0);
	assert_int_equal(authenticate("AUTHENTICATE PLAIN AAAA", 23, &m), -1);
	assert_int_equal(authenticate("AUTHENTICATE ", 13, &m), -1);
	assert_int_equal(authenticate("AUTHENTICATE", 12, &m), -1);
	assert_int_equal(authenticate("AUTHENTICATEX PLAIN", 19, &m), -1);
	assert_int_equal(authenticate("", 0, &m), -1);
}

static void
test_capability(void **state)
{
	uint32_t m;

	(void)state;
	assert_int_equal(tsp_capability(BYTES("CAPABILITY TUNNEL=V4V6 "
	    "AUTH=SCRAM-SHA-256 AUTH=anonymous AUTH= AUTH=OTHER X=Y"), &m), 1);
	assert_int_equal(m, MECH_SCRAM_SHA_256 | MECH_ANONYMOUS);
	assert_int_equal(tsp_capability(BYTES("CAPABILITY TUNNEL=V6V4 "
	    "AUTH=PLAIN"), &m), 0);
	assert_int_equal(m, MECH_PLAIN);
	assert_int_equal(tsp_capability(BYTES("CAPABILITY TUNNEL=V4V6X"), &m),
	    0);
	assert_int_equal(tsp_capability(BYTES("CAPABILITY "), &m), 0);
	assert_int_equal(tsp_capability(BYTES("CAPABILITY"), &m), -1);
	assert_int_equal(tsp_capability(BYTES("302 Unsupported"), &m), -1);
	assert_int_equal(m, 0);
}

static void
test_status(void **state)
{
	static const struct {
		const char	*line;
		int		 code;
	} t[] = {
		{ "200 Success", 200 }, { "200 OK", 200 }, { "200", 200 },
		{ "OK Authentication successful", 200 }, { "OK", 200 },
		{ "ok x", 200 }, { "300 Authentication failed", 300 },
		{ "1306 Address Pool Exhausted", 1306 }, { "1999 x", 1999 },
		{ "2000 x", -1 }, { "199 x", -1 }, { "20 x", -1 },
		{ "20000 x", -1 }, { "200x", -1 }, { "OKx", -1 },
		{ "200\tx", -1 }, { " 200 x", -1 }, { "-200 x", -1 },
		{ "", -1 }, { "<tunnel>", -1 },
	};
	const uint8_t *xml;
	uint8_t *d;
	size_t i, n;
	int code;

	(void)state;
	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		d = copy(t[i].line, strlen(t[i].line));
		assert_int_equal(tsp_status_line(d, strlen(t[i].line)),
		    t[i].code);
		free(d);
	}
	assert_int_equal(tsp_reply(BYTES("200 OK\r\n<a/>\r\n"), &code, &xml,
	    &n), 0);
	assert_int_equal(code, 200);
	assert_int_equal(n, 6);
	assert_memory_equal(xml, "<a/>\r\n", 6);
	assert_int_equal(tsp_reply(BYTES("306 x\r\n"), &code, &xml, &n), 0);
	assert_int_equal(code, 306);
	assert_int_equal(n, 0);
	assert_int_equal(tsp_reply(BYTES("200 OK"), &code, &xml, &n), -1);
	assert_int_equal(tsp_reply(BYTES("<a/>\r\n"), &code, &xml, &n), -1);
}

static int
decode(uint32_t mech, const void *in, size_t len, uint8_t *out, size_t size)
{
	uint8_t *d = copy(in, len), *o = copy(out, size);
	size_t n;
	int r;

	r = tsp_sasl_decode(mech, d, len, o, size, &n);
	memcpy(out, o, size);
	free(d);
	free(o);
	return (r == -1 ? -1 : (int)n);
}

#define SCRAM(s, out, size) \
	decode(MECH_SCRAM_SHA_256, s, sizeof(s) - 1, out, size)

/* RFC 4648, 10, and 3.5: one text alone for each sequence of octets. */
static void
test_base64(void **state)
{
	uint8_t in[256], out[256];
	char line[512];
	size_t i;
	int n;

	(void)state;
	memset(out, 0, sizeof(out));
	assert_int_equal(SCRAM("", out, 1), 0);
	assert_int_equal(SCRAM("Zg==", out, 1), 1);
	assert_int_equal(SCRAM("Zm8=", out, 2), 2);
	assert_int_equal(SCRAM("Zm9vYmFy", out, 6), 6);
	assert_memory_equal(out, "foobar", 6);
	assert_int_equal(SCRAM("Zm9vYmFy", out, 5), -1);
	assert_int_equal(SCRAM("Zh==", out, 8), -1);
	assert_int_equal(SCRAM("Zm9=", out, 8), -1);
	assert_int_equal(SCRAM("Zg=", out, 8), -1);
	assert_int_equal(SCRAM("Zg", out, 8), -1);
	assert_int_equal(SCRAM("Z===", out, 8), -1);
	assert_int_equal(SCRAM("====", out, 8), -1);
	assert_int_equal(SCRAM("=m9v", out, 8), -1);
	assert_int_equal(SCRAM("Zg==Zg==", out, 8), -1);
	assert_int_equal(SCRAM("Zm9v\0\0\0\0", out, 8), -1);
	assert_int_equal(SCRAM("Zm 9", out, 8), -1);
	assert_int_equal(SCRAM("Zm-_", out, 8), -1);
	for (i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)(i * 7 + 1);
	for (i = 0; i < sizeof(in); i++) {
		n = tsp_base64_line(in, i, line, sizeof(line));
		assert_int_equal(n, (i + 2) / 3 * 4 + 2);
		assert_string_equal(line + n - 2, "\r\n");
		assert_int_equal(decode(MECH_SCRAM_SHA_256, line,
		    (size_t)n - 2, out, i), i);
		assert_memory_equal(out, in, i);
		assert_int_equal(tsp_base64_line(in, i, line, (size_t)n), -1);
		assert_int_equal(tsp_base64_line(in, i, line, (size_t)n + 1),
		    n);
	}
}

/* PLAIN as field clients send it; their first NUL may have been skipped. */
static void
test_plain(void **state)
{
	uint8_t out[64];

	(void)state;
	memset(out, 'x', sizeof(out));
	assert_int_equal(decode(MECH_PLAIN, "\0u\0pw", 5, out, 5), 5);
	assert_memory_equal(out, "\0u\0pw", 5);
	assert_int_equal(decode(MECH_PLAIN, "u\0pw", 4, out, 5), 5);
	assert_memory_equal(out, "\0u\0pw", 5);
	assert_int_equal(decode(MECH_PLAIN, "z\0u\0pw", 6, out, 6), 6);
	assert_memory_equal(out, "z\0u\0pw", 6);
	assert_int_equal(decode(MECH_PLAIN, "AHUAcHc=", 8, out, 5), 5);
	assert_memory_equal(out, "\0u\0pw", 5);
	/* with the NUL in front that is missing it does not fit */
	assert_int_equal(decode(MECH_PLAIN, "u\0pw", 4, out, 4), -1);
	assert_int_equal(decode(MECH_PLAIN, "z\0u\0pw", 6, out, 5), -1);
	/* raw for PLAIN alone */
	assert_int_equal(decode(MECH_SCRAM_SHA_256, "u\0pw", 4, out, 64), -1);
}

/* What is emitted is read back whole, by its own length. */
static void
reads_back(const char *buf, int len, size_t *n)
{
	assert_in_range(len, 1, TSP_REPLY_MAX + 64);
	assert_int_equal(strlen(buf), len);
	assert_int_equal(frame_of(buf, (size_t)len, n), len);
}

static void
test_emit_status(void **state)
{
	static const enum tsp_status all[] = {
		STATUS_OK, STATUS_AUTH, STATUS_NO_TUNNELS, STATUS_VERSION,
		STATUS_TYPE, STATUS_EXHAUSTED, STATUS_TEP, STATUS_UNAVAILABLE,
		STATUS_IPV6, STATUS_IPV4, STATUS_FORMAT, STATUS_PROGRESS,
		STATUS_BUSY
	};
	static const enum tsp_dialect both[] = { DIALECT_DRAFT, DIALECT_RFC };
	char buf[256];
	size_t i, d, n;
	int len;

	(void)state;
	for (d = 0; d < 2; d++)
		for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
			len = emit_status(buf, sizeof(buf), all[i], both[d]);
			reads_back(buf, len, &n);
			assert_int_equal(tsp_status_line((uint8_t *)buf + len -
			    n, n - 2), all[i]);
			assert_null(strstr(buf, "Error\r"));
			assert_int_equal(emit_status(buf, (size_t)len, all[i],
			    both[d]), -1);
			len = emit_auth_status(buf, sizeof(buf), all[i],
			    both[d]);
			assert_int_equal(tsp_status_line((uint8_t *)buf,
			    (size_t)len - 2), all[i]);
		}
	/* PROTOCOL: what each dialect's client must read, to the octet */
	emit_status(buf, sizeof(buf), STATUS_EXHAUSTED, DIALECT_RFC);
	assert_string_equal(buf, "Content-length: 28\r\n"
	    "306 Address Pool Exhausted\r\n");
	emit_auth_status(buf, sizeof(buf), STATUS_OK, DIALECT_DRAFT);
	assert_string_equal(buf, "OK Authentication successful\r\n");
	emit_auth_status(buf, sizeof(buf), STATUS_OK, DIALECT_RFC);
	assert_string_equal(buf, "200 Success\r\n");
	emit_status(buf, sizeof(buf), STATUS_OK, DIALECT_DRAFT);
	assert_string_equal(buf, "Content-length: 8\r\n200 OK\r\n");
	emit_status(buf, sizeof(buf), STATUS_OK, DIALECT_RFC);
	assert_string_equal(buf, "Content-length: 13\r\n200 Success\r\n");
}

/* The list, framed and bare; one that field clients could not read: none. */
static void
test_emit_redirect(void **state)
{
	struct in6_addr to[REDIRECT_MAX];
	char buf[TSP_REPLY_MAX + 64], bare[TSP_REPLY_MAX + 64];
	size_t i, n;
	int len;

	(void)state;
	for (i = 0; i < REDIRECT_MAX; i++) {
		inet_pton(AF_INET6, "2001:db8:1111:2222:3333:4444:5555:6660",
		    &to[i]);
		to[i].s6_addr[15] = (uint8_t)i;
	}
	len = emit_redirect(buf, sizeof(buf), STATUS_BUSY, DIALECT_RFC, 1, to,
	    REDIRECT_MAX);
	reads_back(buf, len, &n);
	assert_int_equal(emit_redirect(bare, sizeof(bare), STATUS_BUSY,
	    DIALECT_RFC, 0, to, REDIRECT_MAX), n);
	assert_string_equal(bare, buf + len - n);
	assert_int_equal(tsp_status_line((uint8_t *)bare, strcspn(bare, "\r")),
	    STATUS_REDIRECT + STATUS_BUSY);
	for (i = 0, n = 0; (len = (int)strcspn(bare + n, "\n")) > 0 &&
	    bare[n + (size_t)len] != '\0'; i++)
		n += (size_t)len + 1;
	assert_int_equal(i, 2);		/* a status line and one of XML */
	assert_int_equal(emit_redirect(buf, 100, STATUS_BUSY, DIALECT_RFC, 1,
	    to, REDIRECT_MAX), -1);
	assert_int_equal(emit_redirect(buf, 100, STATUS_BUSY, DIALECT_RFC, 0,
	    to, REDIRECT_MAX), -1);
}

static void
test_emit_tunnel(void **state)
{
	static const char want[] = "<tunnel action=\"info\" type=\"v4v6\" "
	    "lifetime=\"1440\"><server><address type=\"ipv4\" length=\"32\">"
	    "192.0.2.1</address><address type=\"ipv6\">2001:db8::1</address>"
	    "</server></tunnel>\r\n";
	struct tsp_tunnel t;
	char buf[TSP_REPLY_MAX + 64];
	size_t n;
	int len;

	(void)state;
	memset(&t, 0, sizeof(t));
	t.action = ACTION_INFO;
	t.has_lifetime = 1;
	t.lifetime = 1440;
	t.server.flags = EP_PRESENT | EP_V4 | EP_V6;
	t.server.v4_length = 32;
	inet_pton(AF_INET, "192.0.2.1", &t.server.v4);
	inet_pton(AF_INET6, "2001:db8::1", &t.server.v6);
	len = emit_tunnel(buf, sizeof(buf), STATUS_OK, DIALECT_DRAFT, &t);
	reads_back(buf, len, &n);
	assert_memory_equal(buf + len - n, "200 OK\r\n", 8);
	assert_string_equal(buf + len - n + 8, want);
	assert_int_equal(emit_tunnel(buf, (size_t)len, STATUS_OK,
	    DIALECT_DRAFT, &t), -1);
	/* a request has no status line, and its IPv4 last */
	len = emit_tunnel(buf, sizeof(buf), 0, DIALECT_DRAFT, &t);
	reads_back(buf, len, &n);
	assert_memory_equal(buf + len - n, "<tunnel ", 8);
	assert_true(strstr(buf, "ipv6") < strstr(buf, "ipv4"));
	t.action = ACTION_NONE;
	assert_int_equal(emit_tunnel(buf, sizeof(buf), 0, DIALECT_DRAFT, &t),
	    -1);
	t.action = ACTION_REJECT + 1;
	assert_int_equal(emit_tunnel(buf, sizeof(buf), 0, DIALECT_DRAFT, &t),
	    -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frame),
		cmocka_unit_test(test_frame_bad),
		cmocka_unit_test(test_frame_max),
		cmocka_unit_test(test_stream),
		cmocka_unit_test(test_line),
		cmocka_unit_test(test_skip),
		cmocka_unit_test(test_version),
		cmocka_unit_test(test_authenticate),
		cmocka_unit_test(test_capability),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_base64),
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_emit_status),
		cmocka_unit_test(test_emit_redirect),
		cmocka_unit_test(test_emit_tunnel),
	};

	return (cmocka_run_group_tests_name("tsp", tests, NULL, NULL));
}
