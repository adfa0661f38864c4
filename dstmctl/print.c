#include <sys/types.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "dstmctl/dstmctl.h"

static int		 json, rows;

static const char *const	 states[] = {
	"?", "reserved", "bound", "closing", "quarantine"
};
static const char *const	 drops[DROP_NREASON] = {
	"inner_source", "outer_source", "no_lease", "malformed", "ecn", "queue"
};

/*
 * JSON: one array of flat objects; names and numbers only, so that escapes
 * are few, but a name from elsewhere is not trusted.
 */
static void
string(const char *key, const char *value)
{
	printf("\"%s\": \"", key);
	for (; *value != '\0'; value++) {
		if (*value == '"' || *value == '\\')
			printf("\\%c", *value);
		else if ((unsigned char)*value < ' ' ||
		    (unsigned char)*value > '~')
			printf("\\u%04x", (unsigned char)*value);
		else
			putchar(*value);
	}
	printf("\"");
}

static void
field(const char *key, const char *value)
{
	printf(", ");
	string(key, value);
}

static void
number(const char *key, uint64_t v)
{
	printf(", \"%s\": %" PRIu64, key, v);
}

static void
signed_number(const char *key, int64_t v)
{
	printf(", \"%s\": %" PRId64, key, v);
}

static const char *
name_end(char *buf, size_t size)
{
	buf[size - 1] = '\0';
	return (buf);
}

/* A duration for people: 59s, 12m03s, 5h07m, 3d04h. Eight buffers. */
static const char *
duration(int64_t s)
{
	static char bufs[8][24];
	static unsigned int next;
	char *b = bufs[next++ % 8];

	if (s < 0)
		s = 0;
	if (s < 60)
		snprintf(b, 24, "%" PRId64 "s", s);
	else if (s < 3600)
		snprintf(b, 24, "%" PRId64 "m%02" PRId64 "s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(b, 24, "%" PRId64 "h%02" PRId64 "m", s / 3600,
		    s / 60 % 60);
	else
		snprintf(b, 24, "%" PRId64 "d%02" PRId64 "h", s / 86400,
		    s / 3600 % 24);
	return (b);
}

static const char *
mech(uint32_t bit)
{
	const char *name = mech_name(bit);

	return (name != NULL ? name : "-");
}

static const char *
role(uint32_t r)
{
	return (r == ROLE_SERVER ? "server" : r == ROLE_TEP ? "tep" : "node");
}

static void
row_lease(const void *data)
{
	struct msg_ctl_lease r;

	memcpy(&r, data, sizeof(r));
	if (r.state > CTL_QUARANTINE)
		r.state = 0;
	name_end(r.name, sizeof(r.name));
	name_end(r.pool, sizeof(r.pool));
	name_end(r.tep, sizeof(r.tep));
	if (!json) {
		printf("%-15s %-12s %-22s %-10s %8s  %s\n", log_in(r.v4),
		    r.name, log_in6(&r.v6), states[r.state],
		    duration(r.remains), r.role == ROLE_SERVER ? r.pool :
		    role(r.role));
		return;
	}
	string("address", log_in(r.v4));
	field("user", r.name);
	field("mechanism", mech(r.mech));
	field("node", log_in6(&r.v6));
	field("state", states[r.state]);
	signed_number("remaining", r.remains);
	signed_number("since", r.since);
	number("renewals", r.renewals);
	field("pool", r.pool);
	field("tep", r.tep);
	field("tep_ipv4", log_in(r.tep4));
	field("tep_ipv6", log_in6(&r.tep6));
	field("role", role(r.role));
}

static void
row_pool(const void *data)
{
	struct msg_ctl_pool r;

	memcpy(&r, data, sizeof(r));
	name_end(r.name, sizeof(r.name));
	name_end(r.tep, sizeof(r.tep));
	if (!json) {
		printf("%-12s %-10s %8u %8u %6u %6u %6u %6u %7" PRIu64 "\n",
		    r.name, r.tep, r.size, r.free, r.bound, r.reserved,
		    r.closing, r.quarantine, r.exhausted);
		return;
	}
	string("pool", r.name);
	field("tep", r.tep);
	number("size", r.size);
	number("free", r.free);
	number("bound", r.bound);
	number("reserved", r.reserved);
	number("closing", r.closing);
	number("quarantine", r.quarantine);
	number("granted", r.granted);
	number("exhausted", r.exhausted);
}

static void
row_session(const void *data)
{
	static const char *const kinds[] = {
		"-", "client", "to-tep", "to-server"
	};
	struct msg_ctl_session r;

	memcpy(&r, data, sizeof(r));
	name_end(r.name, sizeof(r.name));
	if (r.kind > CONN_TO_SERVER)
		r.kind = 0;
	if (!json) {
		printf("%-26s %5u %-9s %-12s %-13s %7s %u\n",
		    log_in6(&r.peer), r.port, kinds[r.kind],
		    r.name[0] != '\0' ? r.name : "-", mech(r.mech),
		    duration(r.age), r.leases);
		return;
	}
	string("peer", log_in6(&r.peer));
	number("port", r.port);
	field("kind", kinds[r.kind]);
	field("user", r.name);
	field("mechanism", mech(r.mech));
	signed_number("age", r.age);
	number("leases", r.leases);
}

static void
row_dev(const void *data)
{
	struct msg_ctl_dev r;
	int i;

	memcpy(&r, data, sizeof(r));
	name_end(r.ifname, sizeof(r.ifname));
	name_end(r.tep, sizeof(r.tep));
	if (!json) {
		printf("%s: %s%s, outer %s, MTU %u, %u entries; dropped:",
		    r.ifname, r.is_node ? "node" : "TEP ", r.tep,
		    log_in6(&r.local), r.mtu, r.entries);
		for (i = 0; i < DROP_NREASON; i++)
			printf(" %s %" PRIu64, drops[i], r.drops[i]);
		printf("\n%-15s %-26s %9s %11s %9s %11s\n", "ADDRESS", "OUTER",
		    "IN", "OCTETS", "OUT", "OCTETS");
		return;
	}
	string("interface", r.ifname);
	field("tep", r.tep);
	field("outer", log_in6(&r.local));
	number("mtu", r.mtu);
	number("entries", r.entries);
	printf(", \"drops\": {");
	for (i = 0; i < DROP_NREASON; i++)
		printf("%s\"%s\": %" PRIu64, i > 0 ? ", " : "", drops[i],
		    r.drops[i]);
	printf("}");
}

static void
row_tunnel(const void *data)
{
	struct msg_tunnel_entry r;

	memcpy(&r, data, sizeof(r));
	if (!json) {
		printf("%-15s %-26s %9" PRIu64 " %11" PRIu64 " %9" PRIu64
		    " %11" PRIu64 "\n", log_in(r.v4), log_in6(&r.v6),
		    r.in_packets, r.in_bytes, r.out_packets, r.out_bytes);
		return;
	}
	string("address", log_in(r.v4));
	field("outer", log_in6(&r.v6));
	number("in_packets", r.in_packets);
	number("in_octets", r.in_bytes);
	number("out_packets", r.out_packets);
	number("out_octets", r.out_bytes);
}

static void
row_process(const void *data)
{
	struct msg_ctl_process r;

	memcpy(&r, data, sizeof(r));
	if (!json) {
		printf("%-8s %8u %6u %8s %8u %10" PRIu64 " %10" PRIu64
		    " %8" PRIu64 "\n", proc_name(r.proc), r.pid, r.uid,
		    duration(r.uptime), r.restarts, r.sent, r.received,
		    r.queued);
		return;
	}
	string("name", proc_name(r.proc));
	number("pid", r.pid);
	number("uid", r.uid);
	signed_number("uptime", r.uptime);
	number("restarts", r.restarts);
	number("sent", r.sent);
	number("received", r.received);
	number("queued", r.queued);
}

void
print_begin(uint32_t what, int as_json)
{
	json = as_json;
	rows = 0;
	if (json) {
		printf("[");
		return;
	}
	switch (what) {
	case SHOW_LEASES:
		printf("%-15s %-12s %-22s %-10s %8s  %s\n", "ADDRESS", "USER",
		    "NODE", "STATE", "REMAINS", "POOL");
		break;
	case SHOW_POOLS:
		printf("%-12s %-10s %8s %8s %6s %6s %6s %6s %7s\n", "POOL",
		    "TEP", "SIZE", "FREE", "BOUND", "RESVD", "CLOSNG",
		    "QUARAN", "EXHAUST");
		break;
	case SHOW_SESSIONS:
		printf("%-26s %5s %-9s %-12s %-13s %7s %s\n", "PEER", "PORT",
		    "KIND", "USER", "MECHANISM", "AGE", "LEASES");
		break;
	case SHOW_PROCESSES:
		printf("%-8s %8s %6s %8s %8s %10s %10s %8s\n", "PROCESS",
		    "PID", "UID", "UPTIME", "RESTARTS", "SENT", "RECEIVED",
		    "QUEUED");
		break;
	}
}

void
print_row(uint32_t type, const void *data)
{
	static void (*const printers[MSG_NTYPE])(const void *) = {
		[MSG_CTL_LEASE] = row_lease,
		[MSG_CTL_POOL] = row_pool,
		[MSG_CTL_SESSION] = row_session,
		[MSG_CTL_DEV] = row_dev,
		[MSG_CTL_TUNNEL] = row_tunnel,
		[MSG_CTL_PROCESS] = row_process,
	};

	if (json)
		printf("%s\n  {", rows > 0 ? "," : "");
	printers[type](data);
	if (json)
		printf("}");
	rows++;
}

void
print_end(void)
{
	if (json)
		printf("%s]\n", rows > 0 ? "\n" : "");
}
