/* XML to struct: the draft's examples as they stand, and all that is bad. */
/* LINK: parser/xml.o session/emit.o session/tsp.o libdstmd.a */
/* LIBS: -lxml2 */
#include <arpa/inet.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "parser/parser.h"
#include "session/session.h"

static struct xml_ctx	*x;
static struct tsp_tunnel t;
static char		 err[96];

static int
parse(const char *text)
{
	return (xml_parse(x, (const uint8_t *)text, strlen(text), &t, err,
	    sizeof(err)));
}

static void
good(const char *text)
{
	if (parse(text) == -1)
		fail_msg("%s: %s", text, err);
}

static void
bad(const char *text, const char *why)
{
	assert_int_equal(parse(text), -1);
	if (strstr(err, why) == NULL)
		fail_msg("%s: \"%s\", not \"%s\"", text, err, why);
	/* and the next one is not touched by it */
	good("<tunnel action=\"info\" type=\"v4v6\"></tunnel>");
}

static int
is_v6(const struct in6_addr *v6, const char *text)
{
	struct in6_addr want;

	inet_pton(AF_INET6, text, &want);
	return (IN6_ARE_ADDR_EQUAL(v6, &want));
}

static void
test_draft(void **state)
{
	(void)state;
	/* 4.1, request */
	good("<tunnel action=\"create\" type=\"v4v6\">\r\n <client>\r\n"
	    " <address\r\ntype=\"ipv6\">fe80:0000:0000:0000:0000:0000:0000:"
	    "0001</address>\r\n <address\r\ntype=\"ipv6\">3ffe:0b00:0c18:ffff"
	    ":0000:0000:0000:0001</address>\r\n </client>\r\n </tunnel>\r\n");
	assert_int_equal(t.action, ACTION_CREATE);
	assert_int_equal(t.type, TYPE_V4V6);
	assert_int_equal(t.has_lifetime, 0);
	assert_int_equal(t.lifetime, 1440);
	assert_int_equal(t.client.flags, EP_PRESENT | EP_V6 | EP_V6LL);
	assert_int_equal(is_v6(&t.client.v6ll, "fe80::1"), 1);
	assert_int_equal(is_v6(&t.client.v6, "3ffe:b00:c18:ffff::1"), 1);
	/* 4.1, answer: a broken line in an address, and eight groups with :: */
	good("<tunnel action=\"info\" type=\"v4v6\" lifetime=\"1440\">\n"
	    " <server>\n <address type=\"ipv4\" length=\"30\">206.123.31.2"
	    "</address>\n <address type=\"ipv6\">3ffe:b00:c18:ffff:\n"
	    "0000:0000:0000:0002</address>\n </server>\n <client>\n"
	    " <address type=\"ipv4\" length=\"30\">206.123.31.1</address>\n"
	    " <address\ntype=\"ipv6\">3ffe:b00:c18:ffff::0000:0000:0000:0001"
	    "</address>\n </client>\n </tunnel>\n");
	assert_int_equal(t.has_lifetime, 1);
	assert_int_equal(t.client.flags, EP_PRESENT | EP_V4 | EP_V6);
	assert_int_equal(t.client.v4_length, 30);
	assert_int_equal(is_v6(&t.client.v6, "3ffe:b00:c18:ffff::1"), 1);
	assert_int_equal(is_v6(&t.server.v6, "3ffe:b00:c18:ffff::2"), 1);
	/* 4.3 */
	good("<tunnel action=\"delete\" type=\"v4v6\"><server><address "
	    "type=\"ipv6\"\nlength=\"64\">3ffe:b00:c18:ffff::2</address>"
	    "</server><client><address type=\"ipv4\">206.123.31.1</address>"
	    "</client></tunnel>");
	assert_int_equal(t.action, ACTION_DELETE);
}

static void
test_addresses(void **state)
{
	(void)state;
	good("<tunnel action=\"create\" type=\"v4v6\"><client>"
	    "<address type=\"ipv6\">nonsense</address>"
	    "<address type=\"ipv4\">1.2.3.256</address></client></tunnel>");
	assert_int_equal(t.client.flags, EP_PRESENT | EP_BAD_V4 | EP_BAD_V6);
	good("<tunnel action=\"create\" type=\"v4v6\"><client>"
	    "<address type=\"ipv6\">1:2:3:4::5:6:7:8:9</address>"
	    "</client></tunnel>");
	assert_int_equal(t.client.flags, EP_PRESENT | EP_BAD_V6);
	good("<tunnel action=\"create\" type=\"v4v6\"><client>"
	    "<address type=\"ipv6\">2001:db8::1</address>"
	    "<address type=\"ipv6\">2001:db8::2</address></client></tunnel>");
	assert_int_equal(t.client.flags, EP_PRESENT | EP_V6 | EP_DUP_V6);
	assert_int_equal(is_v6(&t.client.v6, "2001:db8::2"), 1);
}

/* What field clients send beyond the DTDs. */
static void
test_field(void **state)
{
	(void)state;
	good("<tunnel action=\"create\" type=\"v4v6\" proxy=\"no\"><client>"
	    "<address type=\"ipv6\">2001:db8::1</address>"
	    "<keepalive interval=\"30\"><address type=\"ipv6\">::</address>"
	    "</keepalive></client></tunnel>");
	assert_int_equal(t.client.keepalive, 30);
	good("<tunnel action=\"create\" type=\"v6v4\"><client><router>"
	    "<prefix length=\"48\">2001:db8::</prefix><dns_server><address "
	    "type=\"dn\">ns.example</address></dns_server></router></client>"
	    "</tunnel>");
	assert_int_equal(t.type, TYPE_OTHER);
	good("<tunnel action=\"list\" type=\"broker\"><broker><address "
	    "type=\"dn\">b.example</address></broker></tunnel>");
	assert_int_equal(t.nbrokers, 1);
	good("<tunnel action=\"accept\" type=\"v4v6\"/>");
	good("<tunnel action=\"reject\" type=\"v4v6\"/>");
}

static void
test_bad(void **state)
{
	(void)state;
	bad("<!DOCTYPE tunnel [<!ENTITY a \"b\">]><tunnel action=\"info\" "
	    "type=\"v4v6\">&a;</tunnel>", "DOCTYPE");
	bad("<tunnel action=\"info\" type=\"v4v6\">&lt;</tunnel>", "text");
	bad("<tunnel action=\"info\" type=\"v4v6\">&x;</tunnel>", "not");
	bad("<tunnel action=\"info\" type=\"v4v6\"><![CDATA[x]]></tunnel>",
	    "CDATA");
	bad("<tunnel action=\"info\" type=\"v4v6\"><?php x?></tunnel>",
	    "processing");
	bad("<tunnel type=\"v4v6\"/>", "action");
	bad("<tunnel action=\"destroy\" type=\"v4v6\"/>", "action");
	bad("<tunnel action=\"info\"/>", "type");
	bad("<tunnel action=\"info\" type=\"v4v6\" lifetime=\"-1\"/>",
	    "lifetime");
	bad("<tunnel action=\"info\" type=\"v4v6\" lifetime=\"4294967296\"/>",
	    "lifetime");
	bad("<client/>", "belong");
	bad("<tunnel action=\"info\" type=\"v4v6\"><tunnel action=\"info\" "
	    "type=\"v4v6\"/></tunnel>", "belong");
	bad("<tunnel action=\"info\" type=\"v4v6\"><client/><client/>"
	    "</tunnel>", "second");
	bad("<tunnel action=\"info\" type=\"v4v6\"><client><address>1"
	    "</address></client></tunnel>", "type");
	bad("<tunnel action=\"info\" type=\"v4v6\">", "well-formed");
	bad("<tunnel action=\"info\" type=\"v4v6\"/><tunnel/>", "");
	bad("hello", "well-formed");
	bad("", "empty");
	bad("\xfe\xff\0<", "UTF-16");
	bad("\x4c\x6f\xa7\x94\x93", "EBCDIC");
	bad("<tunnel action=\"info\" type=\"v4v6\">\xff\xfe</tunnel>", "");
	/* a foreign encoding is not obeyed: what follows is read as UTF-8 */
	good("<?xml version=\"1.0\" encoding=\"ISO-2022-KR\"?>"
	    "<tunnel action=\"info\" type=\"v4v6\"/>");
}

static void
test_bounds(void **state)
{
	char big[TSP_BODY_MAX + 2];
	int i, n;

	(void)state;
	n = snprintf(big, sizeof(big), "<tunnel action=\"info\" type=\"v4v6\"");
	for (i = 0; i < 200; i++)
		n += snprintf(big + n, sizeof(big) - (size_t)n, " a%d=\"\"", i);
	snprintf(big + n, sizeof(big) - (size_t)n, "/>");
	bad(big, "too many");
	n = snprintf(big, sizeof(big), "<tunnel action=\"info\" type=\"v4v6\">"
	    "<client><address type=\"ipv4\">");
	memset(big + n, '1', 400);
	strlcpy(big + n + 400, "</address></client></tunnel>", 64);
	bad(big, "octets");
	memset(big, ' ', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	bad(big, "too long");
}

static void
test_truncated(void **state)
{
	static const char text[] = "<tunnel action=\"create\" type=\"v4v6\">"
	    "<client><address type=\"ipv6\">2001:db8::1</address></client>"
	    "</tunnel>";
	char copy[sizeof(text)];
	size_t i;

	(void)state;
	for (i = 1; i < sizeof(text) - 1; i++) {
		strlcpy(copy, text, i + 1);
		assert_int_equal(parse(copy), -1);
	}
	good(text);
}

/* What we write, we read, and the length is its length. */
static void
test_emit(void **state)
{
	struct tsp_tunnel want;
	char buf[TSP_REPLY_MAX];
	const uint8_t *body, *xml;
	size_t len, n;
	int code, used, size;

	(void)state;
	memset(&want, 0, sizeof(want));
	want.action = ACTION_INFO;
	want.type = TYPE_V4V6;
	want.has_lifetime = 1;
	want.lifetime = 3600;
	want.server.flags = want.client.flags = EP_PRESENT | EP_V4 | EP_V6;
	want.server.v4_length = want.client.v4_length = 32;
	inet_pton(AF_INET, "198.51.100.1", &want.server.v4);
	inet_pton(AF_INET, "198.51.100.16", &want.client.v4);
	inet_pton(AF_INET6, "2001:db8::2", &want.server.v6);
	inet_pton(AF_INET6, "2001:db8::10", &want.client.v6);
	size = emit_tunnel(buf, sizeof(buf), 200, DIALECT_DRAFT, &want);
	assert_true(size > 0);
	used = tsp_frame((const uint8_t *)buf, (size_t)size, &body, &len);
	assert_int_equal(used, size);
	assert_int_equal(tsp_reply(body, len, &code, &xml, &n), 0);
	assert_int_equal(code, 200);
	assert_memory_equal(body, "200 OK\r\n<tunnel action=\"info\" "
	    "type=\"v4v6\" lifetime=\"3600\"><server><address type=\"ipv4\" "
	    "length=\"32\">198.51.100.1</address>", 100);
	assert_int_equal(xml_parse(x, xml, n, &t, err, sizeof(err)), 0);
	assert_memory_equal(&t, &want, sizeof(t));
	size = emit_status(buf, sizeof(buf), STATUS_EXHAUSTED, DIALECT_RFC);
	assert_string_equal(buf,
	    "Content-length: 28\r\n306 Address Pool Exhausted\r\n");
	assert_int_equal(size, 48);
}

/* No more than field clients can read, or nothing. */
static void
test_emit_max(void **state)
{
	struct in6_addr to[100];
	char buf[2 * TSP_REPLY_MAX];
	const uint8_t *body;
	size_t len;
	int size;

	(void)state;
	memset(to, 0xee, sizeof(to));
	size = emit_redirect(buf, sizeof(buf), STATUS_EXHAUSTED, DIALECT_RFC,
	    1, to, SERVER_MAX);
	assert_int_equal(tsp_frame((const uint8_t *)buf, (size_t)size, &body,
	    &len), size);
	assert_in_range(len, SERVER_MAX * INET6_ADDRSTRLEN, TSP_REPLY_MAX);
	assert_int_equal(emit_redirect(buf, sizeof(buf), STATUS_EXHAUSTED,
	    DIALECT_RFC, 1, to, 100), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_draft), cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_field), cmocka_unit_test(test_bad),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_truncated), cmocka_unit_test(test_emit),
		cmocka_unit_test(test_emit_max),
	};

	x = xml_new();
	return (cmocka_run_group_tests_name("xml", tests, NULL, NULL));
}
