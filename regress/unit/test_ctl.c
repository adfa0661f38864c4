/* LINK: dstmctl/table.o dstmctl/json.o dstmctl/words.o dstmd/msg.o dstmd/log.o dstmd/clock.o dstmd/addr.o dstmd/mech.o dstmd/procname.o sbin/dstmctl */
/*
 * What dstmctl prints, whatever it is told; and the program itself beside a
 * daemon that the test plays.
 */
#include <sys/types.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <arpa/inet.h>

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "dstmctl/dstmctl.h"
#include "dstmd/dstmd.h"
#include "dstmd/msg.h"

static char	*text;		/* what was printed */
static size_t	 text_len;
static FILE	*mem;

static void
begin(const struct printer *p, uint32_t what)
{
	free(text);
	text = NULL;
	assert_non_null(mem = open_memstream(&text, &text_len));
	p->begin(mem, what);
}

static void
end(const struct printer *p)
{
	p->end();
	assert_return_code(fclose(mem), errno);
}

static struct in_addr
v4(const char *a)
{
	struct in_addr r;

	assert_int_equal(inet_pton(AF_INET, a, &r), 1);
	return (r);
}

static struct in6_addr
v6(const char *a)
{
	struct in6_addr r;

	assert_int_equal(inet_pton(AF_INET6, a, &r), 1);
	return (r);
}

static struct msg_ctl_lease
lease(const char *addr, const char *user)
{
	struct msg_ctl_lease r;

	memset(&r, 0, sizeof(r));
	r.v4 = v4(addr);
	r.v6 = v6("2001:db8:1::10");
	r.tep4 = v4("198.51.100.1");
	r.tep6 = v6("2001:db8::2");
	r.state = CTL_BOUND;
	r.role = ROLE_SERVER;
	r.mech = MECH_SCRAM_SHA_256;
	r.renewals = 3;
	r.since = 1700000000;
	r.remains = 3598;
	strlcpy(r.name, user, sizeof(r.name));
	strlcpy(r.pool, "lab", sizeof(r.pool));
	strlcpy(r.tep, "local", sizeof(r.tep));
	return (r);
}

/*
 * Words
 */
static void
test_times(void **state)
{
	static const struct {
		int64_t		 s;
		const char	*want;
	} cases[] = {
		{ -1, "-" }, { INT64_MIN, "-" }, { 0, "0s" }, { 59, "59s" },
		{ 60, "1m00s" }, { 3599, "59m59s" }, { 3600, "1h00m" },
		{ 3720, "1h02m" }, { 86399, "23h59m" }, { 86400, "1d00h" },
		{ 1000 * 86400, "1000d00h" },
		{ INT64_MAX, "106751991167300d15h" },
	};
	char buf[SHORT_SIZE];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(short_time(buf, cases[i].s),
		    cases[i].want);
}

static void
test_octets(void **state)
{
	static const struct {
		uint64_t	 n;
		const char	*want;
	} cases[] = {
		{ 0, "0" }, { 1023, "1023" }, { 1024, "1.0K" },
		{ 1535, "1.4K" }, { 1536, "1.5K" }, { 10239, "9.9K" },
		{ 10240, "10K" }, { 1048575, "1023K" }, { 1048576, "1.0M" },
		{ UINT64_C(5) << 30, "5.0G" }, { UINT64_C(1) << 60, "1.0E" },
		{ UINT64_MAX, "15E" },
	};
	char buf[SHORT_SIZE];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(short_octets(buf, cases[i].n),
		    cases[i].want);
}

static void
test_words(void **state)
{
	char name[WORD_SIZE + 10];

	(void)state;
	assert_string_equal(word_state(0), "unknown");
	assert_string_equal(word_state(CTL_QUARANTINE), "quarantine");
	assert_string_equal(word_state(UINT32_MAX), "unknown");
	assert_string_equal(word_role(ROLE_NODE), "node");
	assert_string_equal(word_role(3), "unknown");
	assert_string_equal(word_role(5), "unknown");
	assert_string_equal(word_kind(CONN_NONE), "unknown");
	assert_string_equal(word_kind(CONN_TO_TEP), "to-tep");
	assert_string_equal(word_drop(DROP_NREASON - 1), "rate");
	assert_string_equal(word_drop(DROP_NREASON), "unknown");
	assert_null(word_name("", 1));
	assert_string_equal(word_name("a\n\033b\377c\177", 8), "a??b?c?");
	memset(name, 'x', sizeof(name));
	assert_int_equal(strlen(word_name(name, NAME_SIZE)), NAME_MAX_LEN);
	assert_int_equal(strlen(word_name(name, sizeof(name))), WORD_SIZE - 1);
	assert_int_equal(strlen(word_name(name, 16)), 15);
}

/*
 * Tables
 */
static void
test_table_leases(void **state)
{
	struct msg_ctl_lease r;

	(void)state;
	begin(&table_printer, SHOW_LEASES);
	r = lease("198.51.100.16", "alice");
	table_printer.row(MSG_CTL_LEASE, &r);
	r = lease("198.51.100.200", "anonymous");
	r.mech = MECH_ANONYMOUS;
	r.state = CTL_QUARANTINE;
	r.remains = 5;
	table_printer.row(MSG_CTL_LEASE, &r);
	r = lease("198.51.100.2", "dstm1");
	r.role = ROLE_TEP;
	r.pool[0] = r.tep[0] = '\0';
	r.remains = -1;
	table_printer.row(MSG_CTL_LEASE, &r);
	end(&table_printer);
	assert_string_equal(text,
"ADDRESS         USER           NODE            STATE       REMAINS  POOL  TEP\n"
"198.51.100.16   alice (scram)  2001:db8:1::10  bound        59m58s  lab   local\n"
"198.51.100.200  (anonymous)    2001:db8:1::10  quarantine       5s  lab   local\n"
"198.51.100.2    dstm1 (scram)  2001:db8:1::10  bound             -  -     (tep)\n");
	assert_true(strcspn(text, "\n") <= 80);
}

static void
test_table_empty(void **state)
{
	(void)state;
	begin(&table_printer, SHOW_LEASES);
	end(&table_printer);
	assert_string_equal(text,
	    "ADDRESS  USER  NODE  STATE  REMAINS  POOL  TEP\n");
	begin(&table_printer, SHOW_TUNNELS);
	end(&table_printer);
	assert_string_equal(text, "");
}

static void
test_table_pools(void **state)
{
	struct msg_ctl_pool r;

	(void)state;
	memset(&r, 0, sizeof(r));
	strlcpy(r.name, "lab", sizeof(r.name));
	strlcpy(r.tep, "local", sizeof(r.tep));
	r.size = 65536;
	r.free = 65530;
	r.bound = 6;
	r.granted = 12345;
	r.drain = DRAIN_ALL;
	begin(&table_printer, SHOW_POOLS);
	table_printer.row(MSG_CTL_POOL, &r);
	end(&table_printer);
	assert_string_equal(text,
"POOL  TEP     SIZE   FREE  BOUND  RESERV  CLOSING  QUARANT  GRANTED  EXHAUST  DRAIN\n"
"lab   local  65536  65530      6       0        0        0    12345        0  all\n");
}

static void
test_table_sessions(void **state)
{
	struct msg_ctl_session r;

	(void)state;
	memset(&r, 0, sizeof(r));
	r.conn.id = 3;
	r.conn.gen = 17;
	r.kind = CONN_ACCEPTED;
	r.mech = MECH_SCRAM_SHA_256;
	r.age = 3720;
	r.peer = v6("2001:db8:1::10");
	r.port = 49152;
	r.leases = 1;
	strlcpy(r.name, "alice", sizeof(r.name));
	begin(&table_printer, SHOW_SESSIONS);
	table_printer.row(MSG_CTL_SESSION, &r);
	r.kind = CONN_TO_SERVER;
	r.mech = 0;		/* a name alone proves nothing */
	table_printer.row(MSG_CTL_SESSION, &r);
	end(&table_printer);
	assert_string_equal(text,
"ID    KIND       PEER             PORT  USER             AGE  LEASES\n"
"3.17  client     2001:db8:1::10  49152  alice (scram)  1h02m       1\n"
"3.17  to-server  2001:db8:1::10  49152  -              1h02m       1\n");
}

static struct msg_ctl_dev
device(uint32_t dev, uint32_t entries)
{
	struct msg_ctl_dev r;

	memset(&r, 0, sizeof(r));
	r.dev = dev;
	r.mtu = 1460;
	r.entries = entries;
	r.local = v6("2001:db8::2");
	r.drops[DROP_OUTER_SOURCE] = 5;
	snprintf(r.ifname, sizeof(r.ifname), "dstm%u", dev);
	strlcpy(r.tep, "local", sizeof(r.tep));
	strlcpy(r.plane, "bpf", sizeof(r.plane));
	return (r);
}

static struct msg_tunnel_entry
entry(uint32_t dev, const char *addr)
{
	struct msg_tunnel_entry r;

	memset(&r, 0, sizeof(r));
	r.dev = dev;
	r.v4 = v4(addr);
	r.v6 = v6("2001:db8:1::10");
	r.in_packets = 12;
	r.in_bytes = 1536;
	r.out_packets = UINT64_MAX;
	return (r);
}

static void
test_table_tunnels(void **state)
{
	struct msg_tunnel_entry e;
	struct msg_ctl_dev d;

	(void)state;
	begin(&table_printer, SHOW_TUNNELS);
	d = device(0, 1);
	table_printer.row(MSG_CTL_DEV, &d);
	e = entry(0, "198.51.100.16");
	table_printer.row(MSG_CTL_TUNNEL, &e);
	d = device(1, 0);
	d.is_node = 1;
	table_printer.row(MSG_CTL_DEV, &d);
	end(&table_printer);
	assert_string_equal(text,
"dstm0: TEP local, plane bpf, outer 2001:db8::2, MTU 1460, 1 entry\n"
"  dropped: inner_source 0, outer_source 5, no_lease 0, malformed 0, ecn 0, "
"queue 0, expired 0, martian 0, too_big 0, rate 0\n"
"ADDRESS        OUTER           IN  OCTETS                   OUT  OCTETS\n"
"198.51.100.16  2001:db8:1::10  12    1.5K  18446744073709551615       0\n"
"\n"
"dstm1: node, plane bpf, outer 2001:db8::2, MTU 1460, 0 entries\n"
"  dropped: inner_source 0, outer_source 5, no_lease 0, malformed 0, ecn 0, "
"queue 0, expired 0, martian 0, too_big 0, rate 0\n");
}

static void
test_table_processes(void **state)
{
	struct msg_ctl_process r;

	(void)state;
	memset(&r, 0, sizeof(r));
	r.proc = PROC_SESSION;
	r.pid = 4242;
	r.uid = 996;
	r.restarts = 1;
	r.uptime = 90;
	r.sent = 100;
	r.received = 2000;
	r.queued = 4096;
	begin(&table_printer, SHOW_PROCESSES);
	table_printer.row(MSG_CTL_PROCESS, &r);
	r.proc = PROC_STORE;
	r.pid = 0;
	table_printer.row(MSG_CTL_PROCESS, &r);
	end(&table_printer);
	assert_string_equal(text,
"PROCESS   PID  UID  UPTIME  RESTARTS  SENT  RECEIVED  QUEUED\n"
"session  4242  996   1m30s         1   100      2000    4.0K\n"
"store       -  996       -         1   100      2000    4.0K\n");
}

/* More rows than a page: none is lost, each line is aligned to its header. */
static void
test_table_long(void **state)
{
	struct msg_ctl_lease r;
	char addr[INET_ADDRSTRLEN];
	const char *p;
	int i, lines = 0;

	(void)state;
	begin(&table_printer, SHOW_LEASES);
	for (i = 0; i < 2500; i++) {
		snprintf(addr, sizeof(addr), "10.%d.%d.1", i >> 8, i & 255);
		r = lease(addr, i == 2400 ? "someone-with-a-long-name" : "a");
		table_printer.row(MSG_CTL_LEASE, &r);
	}
	end(&table_printer);
	for (p = text; *p != '\0'; p = strchr(p, '\n') + 1)
		lines++;
	assert_int_equal(lines, 2501);
}

/*
 * JSON
 */

/* A strict reader of one value: where it ends, or NULL. */
static const char	*value(const char *);

static const char *
skip_space(const char *p)
{
	return (p + strspn(p, " \n"));
}

static const char *
read_string(const char *p)
{
	if (*p++ != '"')
		return (NULL);
	for (; *p != '"'; p++) {
		if ((unsigned char)*p < ' ' || (unsigned char)*p > '~')
			return (NULL);
		if (*p == '\\' && (*++p == '\0' || strchr("\"\\", *p) == NULL))
			return (NULL);
	}
	return (p + 1);
}

static const char *
members(const char *p, char close, int keys)
{
	p = skip_space(p);
	if (*p == close)
		return (p + 1);
	for (;;) {
		if (keys && ((p = read_string(p)) == NULL || *p++ != ':'))
			return (NULL);
		if ((p = value(skip_space(p))) == NULL)
			return (NULL);
		p = skip_space(p);
		if (*p == close)
			return (p + 1);
		if (*p++ != ',')
			return (NULL);
		p = skip_space(p);
	}
}

static const char *
value(const char *p)
{
	size_t n;

	if (*p == '[')
		return (members(p + 1, ']', 0));
	if (*p == '{')
		return (members(p + 1, '}', 1));
	if (*p == '"')
		return (read_string(p));
	if (strncmp(p, "null", 4) == 0)
		return (p + 4);
	if (*p == '-')
		p++;
	n = strspn(p, "0123456789");
	return (n == 0 || (n > 1 && *p == '0') ? NULL : p + n);
}

static void
must_be_json(void)
{
	const char *p = value(text);

	if (p == NULL || strcmp(p, "\n") != 0)
		fail_msg("not JSON: %s", text);
}

static void
test_json_leases(void **state)
{
	struct msg_ctl_lease r;

	(void)state;
	begin(&json_printer, SHOW_LEASES);
	end(&json_printer);
	assert_string_equal(text, "[]\n");
	begin(&json_printer, SHOW_LEASES);
	r = lease("198.51.100.16", "alice");
	json_printer.row(MSG_CTL_LEASE, &r);
	r.role = ROLE_TEP;
	r.pool[0] = '\0';
	json_printer.row(MSG_CTL_LEASE, &r);
	end(&json_printer);
	assert_string_equal(text, "[\n"
	    "  {\"address\": \"198.51.100.16\", \"role\": \"server\", "
	    "\"state\": \"bound\", \"user\": \"alice\", "
	    "\"mechanism\": \"SCRAM-SHA-256\", \"node\": \"2001:db8:1::10\", "
	    "\"pool\": \"lab\", \"tep\": \"local\", "
	    "\"tep_ipv4\": \"198.51.100.1\", \"tep_ipv6\": \"2001:db8::2\", "
	    "\"since\": 1700000000, \"remaining\": 3598, \"renewals\": 3},\n"
	    "  {\"address\": \"198.51.100.16\", \"role\": \"tep\", "
	    "\"state\": \"bound\", \"user\": \"alice\", "
	    "\"mechanism\": \"SCRAM-SHA-256\", \"node\": \"2001:db8:1::10\", "
	    "\"pool\": null, \"tep\": \"local\", "
	    "\"tep_ipv4\": \"198.51.100.1\", \"tep_ipv6\": \"2001:db8::2\", "
	    "\"since\": 1700000000, \"remaining\": 3598, \"renewals\": 3}\n"
	    "]\n");
	must_be_json();
}

static void
test_json_tunnels(void **state)
{
	struct msg_tunnel_entry e;
	struct msg_ctl_dev d;

	(void)state;
	begin(&json_printer, SHOW_TUNNELS);
	d = device(0, 1);
	json_printer.row(MSG_CTL_DEV, &d);
	e = entry(0, "198.51.100.16");
	json_printer.row(MSG_CTL_TUNNEL, &e);
	end(&json_printer);
	assert_string_equal(text, "[\n"
	    "  {\"interface\": \"dstm0\", \"role\": \"tep\", "
	    "\"tep\": \"local\", \"plane\": \"bpf\", "
	    "\"outer\": \"2001:db8::2\", \"mtu\": 1460, "
	    "\"entries\": 1, \"drops\": {\"inner_source\": 0, "
	    "\"outer_source\": 5, \"no_lease\": 0, \"malformed\": 0, "
	    "\"ecn\": 0, \"queue\": 0, \"expired\": 0, "
	    "\"martian\": 0, \"too_big\": 0, \"rate\": 0}},\n"
	    "  {\"interface\": \"dstm0\", \"address\": \"198.51.100.16\", "
	    "\"outer\": \"2001:db8:1::10\", \"in_packets\": 12, "
	    "\"in_octets\": 1536, \"out_packets\": 18446744073709551615, "
	    "\"out_octets\": 0}\n"
	    "]\n");
	must_be_json();
}

static void
test_json_others(void **state)
{
	struct msg_ctl_session s;
	struct msg_ctl_process p;
	struct msg_ctl_pool o;

	(void)state;
	memset(&s, 0, sizeof(s));
	s.kind = CONN_ACCEPTED;
	s.peer = v6("2001:db8::9");
	s.age = -1;
	begin(&json_printer, SHOW_SESSIONS);
	json_printer.row(MSG_CTL_SESSION, &s);
	end(&json_printer);
	assert_string_equal(text, "[\n"
	    "  {\"id\": \"0.0\", \"kind\": \"client\", "
	    "\"peer\": \"2001:db8::9\", \"port\": 0, \"user\": null, "
	    "\"mechanism\": null, \"age\": -1, \"leases\": 0}\n]\n");
	must_be_json();
	memset(&p, 0, sizeof(p));
	p.proc = PROC_PARSER;
	begin(&json_printer, SHOW_PROCESSES);
	json_printer.row(MSG_CTL_PROCESS, &p);
	end(&json_printer);
	assert_string_equal(text, "[\n"
	    "  {\"name\": \"parser\", \"pid\": 0, \"uid\": 0, \"uptime\": 0, "
	    "\"restarts\": 0, \"sent\": 0, \"received\": 0, \"queued\": 0}\n"
	    "]\n");
	must_be_json();
	memset(&o, 0, sizeof(o));
	strlcpy(o.name, "a\"b\\c\n", sizeof(o.name));
	begin(&json_printer, SHOW_POOLS);
	json_printer.row(MSG_CTL_POOL, &o);
	end(&json_printer);
	assert_non_null(strstr(text, "\"drain\": \"no\""));
	assert_non_null(strstr(text, "\"pool\": \"a\\\"b\\\\c?\", "
	    "\"tep\": null, \"size\": 0"));
	must_be_json();
}

static struct msg_ctl_node
node_bound(void)
{
	struct msg_ctl_node r;

	memset(&r, 0, sizeof(r));
	r.state = CTL_NODE_BOUND;
	r.life = CTL_TEP_ANSWERS;
	r.idle = 600;
	r.mtu = 1460;
	r.renewals = 3;
	r.v4 = v4("198.51.100.16");
	r.v6 = v6("2001:db8:1::10");
	r.tep4 = v4("198.51.100.1");
	r.tep6 = v6("2001:db8::2");
	r.server = v6("2001:db8::1");
	r.since = 1700000000;
	r.remains = 59;
	r.next = 29;
	r.unused = 2;
	r.error_age = 723;
	strlcpy(r.ifname, "dstm0", sizeof(r.ifname));
	strlcpy(r.error, "server 1: Connection refused", sizeof(r.error));
	return (r);
}

static void
test_node(void **state)
{
	struct msg_ctl_node r = node_bound();

	(void)state;
	begin(&table_printer, SHOW_NODE);
	table_printer.row(MSG_CTL_NODE, &r);
	end(&table_printer);
	assert_string_equal(text,
	    "state       bound\n"
	    "interface   dstm0, MTU 1460\n"
	    "address     198.51.100.16\n"
	    "outer       2001:db8:1::10\n"
	    "TEP         2001:db8::2, 198.51.100.1, answers\n"
	    "server      2001:db8::1\n"
	    "ends in     59s, renewed 3 times\n"
	    "renewal in  29s\n"
	    "unused for  2s of 10m00s\n"
	    "last error  12m03s ago: server 1: Connection refused\n");
	begin(&json_printer, SHOW_NODE);
	json_printer.row(MSG_CTL_NODE, &r);
	end(&json_printer);
	assert_string_equal(text, "[\n"
	    "  {\"state\": \"bound\", \"interface\": \"dstm0\", "
	    "\"address\": \"198.51.100.16\", "
	    "\"outer\": \"2001:db8:1::10\", "
	    "\"tep_ipv4\": \"198.51.100.1\", \"tep_ipv6\": \"2001:db8::2\", "
	    "\"tep\": \"answers\", "
	    "\"server\": \"2001:db8::1\", \"mtu\": 1460, "
	    "\"since\": 1700000000, \"remaining\": 59, \"next\": 29, "
	    "\"renewals\": 3, \"idle\": 600, \"unused\": 2, "
	    "\"error\": \"server 1: Connection refused\", "
	    "\"error_age\": 723}\n]\n");
	must_be_json();
	memset(&r, 0, sizeof(r));
	r.state = CTL_NODE_DOWN;
	r.remains = r.next = r.unused = r.error_age = -1;
	strlcpy(r.ifname, "dstm0", sizeof(r.ifname));
	begin(&table_printer, SHOW_NODE);
	table_printer.row(MSG_CTL_NODE, &r);
	end(&table_printer);
	assert_string_equal(text, "state       down\n");
	begin(&json_printer, SHOW_NODE);
	json_printer.row(MSG_CTL_NODE, &r);
	end(&json_printer);
	assert_non_null(strstr(text, "\"address\": null"));
	assert_non_null(strstr(text, "\"server\": null"));
	assert_non_null(strstr(text, "\"error\": null, \"error_age\": -1"));
	must_be_json();
}

/* Whatever the rows hold: JSON is JSON, a table is lines of ASCII. */
static void
test_hostile(void **state)
{
	static const struct {
		uint32_t	 what, type;
		size_t		 size;
	} kinds[] = {
		{ SHOW_LEASES, MSG_CTL_LEASE, sizeof(struct msg_ctl_lease) },
		{ SHOW_POOLS, MSG_CTL_POOL, sizeof(struct msg_ctl_pool) },
		{ SHOW_SESSIONS, MSG_CTL_SESSION,
		    sizeof(struct msg_ctl_session) },
		{ SHOW_TUNNELS, MSG_CTL_DEV, sizeof(struct msg_ctl_dev) },
		{ SHOW_TUNNELS, MSG_CTL_TUNNEL,
		    sizeof(struct msg_tunnel_entry) },
		{ SHOW_PROCESSES, MSG_CTL_PROCESS,
		    sizeof(struct msg_ctl_process) },
		{ SHOW_NODE, MSG_CTL_NODE, sizeof(struct msg_ctl_node) },
	};
	uint8_t data[1024];
	size_t i, n, j;

	(void)state;
	for (n = 0; n < 300; n++)
		for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
			arc4random_buf(data, kinds[i].size);
			for (j = 0; n % 3 == 0 && j < kinds[i].size; j++)
				data[j] = "\"\\\n\0"[data[j] & 3];
			begin(&json_printer, kinds[i].what);
			json_printer.row(kinds[i].type, data);
			json_printer.row(kinds[i].type, data);
			end(&json_printer);
			must_be_json();
			begin(&table_printer, kinds[i].what);
			table_printer.row(kinds[i].type, data);
			end(&table_printer);
			for (j = 0; j < text_len; j++)
				assert_true(text[j] == '\n' ||
				    (text[j] >= ' ' && text[j] <= '~'));
		}
}

/*
 * The program, and a daemon
 */
static char		 dir[64], path[96], program[256];
static struct event_base *base;
static struct msglink	*client;
static int		 listener = -1, gone;
static uint32_t		 asked, what, rows, row_type = MSG_CTL_POOL;
static const char	*refusal;	/* NULL: ok; "": closes the link */
static struct in_addr	 released;

static void
reply(void)
{
	struct msg_ctl_end me;
	struct msg_ctl_pool mp;
	uint32_t i;

	if (refusal != NULL && refusal[0] == '\0') {
		msglink_free(client);
		client = NULL;
		return;
	}
	memset(&mp, 0, sizeof(mp));
	strlcpy(mp.name, "lab", sizeof(mp.name));
	for (i = 0; i < rows; i++) {
		mp.size = i;
		msg_put(client, row_type, &mp, sizeof(mp));
	}
	memset(&me, 0, sizeof(me));
	me.ok = refusal == NULL;
	if (refusal != NULL)
		strlcpy(me.text, refusal, sizeof(me.text));
	msg_put(client, MSG_CTL_END, &me, sizeof(me));
}

static void
on_show(struct msglink *l, struct msg *m)
{
	struct msg_ctl_show ms;

	(void)l;
	memcpy(&ms, m->data, sizeof(ms));
	asked = m->type;
	what = ms.what;
	reply();
}

static void
on_release(struct msglink *l, struct msg *m)
{
	struct msg_ctl_release mr;

	(void)l;
	memcpy(&mr, m->data, sizeof(mr));
	asked = m->type;
	released = mr.v4;
	reply();
}

static void
on_verbose(struct msglink *l, struct msg *m)
{
	struct msg_verbose mv;

	(void)l;
	memcpy(&mv, m->data, sizeof(mv));
	asked = m->type;
	what = mv.verbose;
	reply();
}

static void
on_drain(struct msglink *l, struct msg *m)
{
	struct msg_ctl_drain md;

	(void)l;
	memcpy(&md, m->data, sizeof(md));
	asked = m->type;
	what = md.drain;
	reply();
}

static void
on_closed(struct msglink *l, const char *reason)
{
	(void)reason;
	msglink_free(l);
	client = NULL;
	gone = 1;
}

static void
on_order(struct msglink *l, struct msg *m)
{
	struct msg_ctl_order mo;

	(void)l;
	memcpy(&mo, m->data, sizeof(mo));
	asked = m->type;
	what = mo.order;
	reply();
}

static const struct msg_rule	 rules[] = {
	{ MSG_CTL_SHOW, MSG_FROM(PROC_CONTROL), sizeof(struct msg_ctl_show),
	    0, 0, on_show },
	{ MSG_CTL_RELEASE, MSG_FROM(PROC_CONTROL),
	    sizeof(struct msg_ctl_release), 0, 0, on_release },
	{ MSG_CTL_VERBOSE, MSG_FROM(PROC_CONTROL), sizeof(struct msg_verbose),
	    0, 0, on_verbose },
	{ MSG_CTL_DRAIN, MSG_FROM(PROC_CONTROL), sizeof(struct msg_ctl_drain),
	    0, 0, on_drain },
	{ MSG_CTL_ORDER, MSG_FROM(PROC_CONTROL), sizeof(struct msg_ctl_order),
	    0, 0, on_order },
};

static void
on_accept(evutil_socket_t fd, short ev, void *arg)
{
	int s;

	(void)ev;
	(void)arg;
	assert_return_code(s = accept((int)fd, NULL, NULL), errno);
	client = msglink_new(base, s, PROC_CONTROL, rules,
	    sizeof(rules) / sizeof(rules[0]), on_closed, NULL);
}

static int
daemon_setup(void **state)
{
	struct sockaddr_un sun;

	(void)state;
	strlcpy(dir, "/tmp/dstmtest-ctl.XXXXXX", sizeof(dir));
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/control", dir);
	memset(&sun, 0, sizeof(sun));
	sun.sun_family = AF_UNIX;
	strlcpy(sun.sun_path, path, sizeof(sun.sun_path));
	assert_return_code(listener = socket(AF_UNIX, SOCK_STREAM |
	    SOCK_CLOEXEC, 0), errno);
	assert_return_code(bind(listener, (struct sockaddr *)&sun,
	    sizeof(sun)), errno);
	assert_return_code(listen(listener, 4), errno);
	assert_non_null(base = event_base_new());
	refusal = NULL;
	rows = asked = what = 0;
	row_type = MSG_CTL_POOL;
	memset(&released, 0xff, sizeof(released));
	return (0);
}

static int
daemon_teardown(void **state)
{
	char name[160];

	(void)state;
	msglink_free(client);
	client = NULL;
	event_base_free(base);
	close(listener);
	unlink(path);
	snprintf(name, sizeof(name), "%s/out", dir);
	unlink(name);
	return (rmdir(dir));
}

/* Runs dstmctl, its output to a file or device; the text; its status. */
static int
run(const char *to, const char *const *args)
{
	const char *argv[12] = { "dstmctl", "-s", path };
	char out[160], buf[4096];
	struct event *ev;
	struct timeval tv = { 0, 10000 };
	int i, fd, status;
	ssize_t n;
	pid_t pid;
	FILE *f;

	snprintf(out, sizeof(out), "%s/out", dir);
	for (i = 0; args[i] != NULL; i++)
		argv[3 + i] = args[i];
	argv[3 + i] = NULL;
	if ((pid = fork()) == 0) {
		fd = open(to != NULL ? to : out,
		    O_WRONLY | O_CREAT | O_TRUNC, 0600);
		if (fd == -1 || dup2(fd, STDOUT_FILENO) == -1)
			_exit(126);
		/* what it says is in the file, too */
		if (to == NULL)
			dup2(fd, STDERR_FILENO);
		else if ((fd = open("/dev/null", O_WRONLY)) != -1)
			dup2(fd, STDERR_FILENO);
		execv(program, (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	assert_non_null(ev = event_new(base, listener, EV_READ | EV_PERSIST,
	    on_accept, NULL));
	event_add(ev, NULL);
	while (waitpid(pid, &status, WNOHANG) == 0) {
		event_base_loopexit(base, &tv);
		event_base_loop(base, EVLOOP_ONCE);
	}
	event_free(ev);
	free(text);
	assert_non_null(mem = open_memstream(&text, &text_len));
	if (to == NULL && (f = fopen(out, "r")) != NULL) {
		while ((n = (ssize_t)fread(buf, 1, sizeof(buf), f)) > 0)
			fwrite(buf, 1, (size_t)n, mem);
		fclose(f);
	}
	fclose(mem);
	return (WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

#define RUN(...)	run(NULL, (const char *const[]){ __VA_ARGS__, NULL })
#define RUN_TO(to, ...)	run(to, (const char *const[]){ __VA_ARGS__, NULL })

static void
test_show(void **state)
{
	(void)state;
	rows = 2;
	assert_int_equal(RUN("sh", "po"), 0);
	assert_int_equal(asked, MSG_CTL_SHOW);
	assert_int_equal(what, SHOW_POOLS);
	assert_memory_equal(text, "POOL  TEP  SIZE", 15);
	assert_int_equal(RUN("-j", "show", "pools"), 0);
	must_be_json();
	assert_non_null(strstr(text, "\"pool\": \"lab\""));
	rows = 0;
	assert_int_equal(RUN("-j", "show", "leases"), 0);
	assert_int_equal(what, SHOW_LEASES);
	assert_string_equal(text, "[]\n");
	assert_int_equal(RUN("show", "processes"), 0);
	assert_int_equal(what, SHOW_PROCESSES);
}

/* Far more rows than a link may hold. */
static void
test_many(void **state)
{
	const char *p;
	int lines = 0;

	(void)state;
	rows = 10000;
	assert_int_equal(RUN("show", "pools"), 0);
	for (p = text; (p = strchr(p, '\n')) != NULL; p++)
		lines++;
	assert_int_equal(lines, 10001);
}

static void
test_requests(void **state)
{
	(void)state;
	assert_int_equal(RUN("release", "198.51.100.16"), 0);
	assert_int_equal(asked, MSG_CTL_RELEASE);
	assert_int_equal(released.s_addr, v4("198.51.100.16").s_addr);
	assert_string_equal(text, "");
	assert_int_equal(RUN("rel"), 0);
	assert_int_equal(released.s_addr, 0);
	assert_int_equal(RUN("log", "verbose"), 0);
	assert_int_equal(asked, MSG_CTL_VERBOSE);
	assert_int_equal(what, 1);
	assert_int_equal(RUN("l", "b"), 0);
	assert_int_equal(what, 0);
	assert_int_equal(RUN("drain"), 0);
	assert_int_equal(asked, MSG_CTL_DRAIN);
	assert_int_equal(what, DRAIN_NEW);
	assert_int_equal(RUN("drain", "all"), 0);
	assert_int_equal(what, DRAIN_ALL);
	assert_int_equal(RUN("dr", "off"), 0);
	assert_int_equal(what, DRAIN_OFF);
	assert_int_equal(RUN("up"), 0);
	assert_int_equal(asked, MSG_CTL_ORDER);
	assert_int_equal(what, ORDER_UP);
	assert_int_equal(RUN("do"), 0);
	assert_int_equal(what, ORDER_DOWN);
	assert_int_equal(RUN("ren"), 0);
	assert_int_equal(what, ORDER_RENEW);
}

static void
test_refused(void **state)
{
	(void)state;
	refusal = "nobody holds that address";
	assert_int_equal(RUN("release", "198.51.100.16"), 1);
	assert_string_equal(text, "dstmctl: nobody holds that address\n");
	rows = 2;
	assert_int_equal(RUN("-j", "show", "pools"), 1);
	/* what is not whole is no JSON */
	assert_null(value(text));
	refusal = "";
	assert_int_equal(RUN("show", "pools"), 1);
	assert_non_null(strstr(text, "no answer from dstmd"));
}

static void
test_strange_answers(void **state)
{
	(void)state;
	rows = 1;
	assert_int_equal(RUN("show", "leases"), 1);
	assert_non_null(strstr(text, "what was not asked"));
	assert_int_equal(RUN("release"), 1);
	assert_non_null(strstr(text, "what was not asked"));
	row_type = MSG_CTL_LEASE;		/* of the wrong size */
	assert_int_equal(RUN("show", "leases"), 1);
	row_type = MSG_STORE_DONE;
	assert_int_equal(RUN("show", "leases"), 1);
	assert_non_null(strstr(text, "no answer from dstmd"));
}

static void
test_output_errors(void **state)
{
	(void)state;
	rows = 10;
	assert_int_equal(RUN_TO("/dev/full", "show", "pools"), 1);
	assert_int_equal(RUN_TO("/dev/full", "-j", "show", "pools"), 1);
	assert_int_equal(RUN_TO("/dev/null", "show", "pools"), 0);
}

static void
test_usage(void **state)
{
	(void)state;
	assert_int_equal(RUN("x"), 2);
	assert_non_null(strstr(text, "usage: dstmctl"));
	assert_int_equal(RUN(""), 2);
	assert_int_equal(RUN("show"), 2);
	assert_int_equal(RUN("show", "p"), 2);
	assert_non_null(strstr(text, "p: ambiguous"));
	assert_int_equal(RUN("show", "leases", "x"), 2);
	assert_int_equal(RUN("show", "leasesx"), 2);
	assert_int_equal(RUN("release", "1.2.3"), 2);
	assert_int_equal(RUN("release", "0.0.0.0"), 2);
	assert_int_equal(RUN("release", "1.2.3.4", "x"), 2);
	assert_int_equal(RUN("up", "x"), 2);
	assert_int_equal(RUN("d"), 2);
	assert_non_null(strstr(text, "d: ambiguous"));
	assert_int_equal(RUN("log"), 2);
	assert_int_equal(RUN("log", "loud"), 2);
	assert_int_equal(RUN("-x"), 2);
	assert_int_equal(RUN("-h"), 0);
	assert_int_equal(RUN("help"), 0);
	assert_int_equal(RUN("-V"), 0);
	assert_string_equal(text, "dstmctl " DSTMD_VERSION "\n");
	assert_int_equal(asked, 0);
}

static void
test_no_daemon(void **state)
{
	(void)state;
	assert_int_equal(RUN("-s", "/dev/null", "show", "pools"), 1);
	assert_non_null(strstr(text, "is dstmd running?"));
	assert_int_equal(RUN("-s", "/nowhere", "show", "pools"), 1);
	assert_non_null(strstr(text, "/nowhere: No such file or directory "
	    "(is dstmd running?)"));
	assert_int_equal(RUN("-s", "/0123456789012345678901234567890123456789"
	    "0123456789012345678901234567890123456789012345678901234567890123"
	    "456789", "show", "pools"), 1);
	assert_non_null(strstr(text, "too long"));
}

#define T(test)	cmocka_unit_test_setup_teardown(test, daemon_setup,	\
	daemon_teardown)

int
main(int argc, char *argv[])
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_octets),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_table_leases),
		cmocka_unit_test(test_table_empty),
		cmocka_unit_test(test_table_pools),
		cmocka_unit_test(test_table_sessions),
		cmocka_unit_test(test_table_tunnels),
		cmocka_unit_test(test_table_processes),
		cmocka_unit_test(test_table_long),
		cmocka_unit_test(test_json_leases),
		cmocka_unit_test(test_json_tunnels),
		cmocka_unit_test(test_json_others),
		cmocka_unit_test(test_node),
		cmocka_unit_test(test_hostile),
		T(test_show),
		T(test_many),
		T(test_requests),
		T(test_refused),
		T(test_strange_answers),
		T(test_output_errors),
		T(test_usage),
		T(test_no_daemon),
	};
	char self[200];
	int r;

	(void)argc;
	/* It is built beside this test: BUILD/regress/unit, BUILD/sbin. */
	strlcpy(self, argv[0], sizeof(self));
	snprintf(program, sizeof(program), "%s/../../sbin/dstmctl",
	    dirname(self));
	log_init("test_ctl", LOG_TO_STDERR, 0);
	signal(SIGPIPE, SIG_IGN);
	r = cmocka_run_group_tests(tests, NULL, NULL);
	free(text);
	return (r);
}
