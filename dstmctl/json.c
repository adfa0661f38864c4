/*
 * One array of flat objects (one nested, of drops). The keys are a promise:
 * dstmctl(8) lists them.
 */
#include <inttypes.h>
#include <string.h>

#include "dstmctl/dstmctl.h"
#include "dstmd/msg.h"

static FILE	*out;
static int	 nrows, nkeys;
static uint32_t	 dev;			/* of the last heading */
static char	 dev_name[IFNAME_SIZE];

/* What word_name leaves is printable ASCII: two characters to escape. */
static void
put_string(const char *text)
{
	fputc('"', out);
	for (; *text != '\0'; text++) {
		if (*text == '"' || *text == '\\')
			fputc('\\', out);
		fputc(*text, out);
	}
	fputc('"', out);
}

static void
put_key(const char *key)
{
	fprintf(out, "%s\"%s\": ", nkeys++ > 0 ? ", " : "", key);
}

/* NULL: null, there is none. */
static void
put_text(const char *key, const char *text)
{
	put_key(key);
	if (text == NULL)
		fputs("null", out);
	else
		put_string(text);
}

static void
put_name(const char *key, const char *name, size_t size)
{
	put_text(key, word_name(name, size));
}

static void
put_unsigned(const char *key, uint64_t n)
{
	put_key(key);
	fprintf(out, "%" PRIu64, n);
}

static void
put_signed(const char *key, int64_t n)
{
	put_key(key);
	fprintf(out, "%" PRId64, n);
}

static void
row_lease(const void *data)
{
	struct msg_ctl_lease r;

	memcpy(&r, data, sizeof(r));
	put_text("address", log_in(r.v4));
	put_text("role", word_role(r.role));
	put_text("state", word_state(r.state));
	put_name("user", r.name, sizeof(r.name));
	put_text("mechanism", mech_name(r.mech));
	put_text("node", log_in6(&r.v6));
	put_name("pool", r.pool, sizeof(r.pool));
	put_name("tep", r.tep, sizeof(r.tep));
	put_text("tep_ipv4", log_in(r.tep4));
	put_text("tep_ipv6", log_in6(&r.tep6));
	put_signed("since", r.since);
	put_signed("remaining", r.remains);
	put_unsigned("renewals", r.renewals);
}

static void
row_pool(const void *data)
{
	struct msg_ctl_pool r;

	memcpy(&r, data, sizeof(r));
	put_name("pool", r.name, sizeof(r.name));
	put_name("tep", r.tep, sizeof(r.tep));
	put_unsigned("size", r.size);
	put_unsigned("free", r.free);
	put_unsigned("bound", r.bound);
	put_unsigned("reserved", r.reserved);
	put_unsigned("closing", r.closing);
	put_unsigned("quarantine", r.quarantine);
	put_unsigned("granted", r.granted);
	put_unsigned("exhausted", r.exhausted);
	put_text("drain", word_drain(r.drain));
}

static void
row_session(const void *data)
{
	struct msg_ctl_session r;
	char id[32];

	memcpy(&r, data, sizeof(r));
	snprintf(id, sizeof(id), "%u.%u", r.conn.id, r.conn.gen);
	put_text("id", id);
	put_text("kind", word_kind(r.kind));
	put_text("peer", log_in6(&r.peer));
	put_unsigned("port", r.port);
	if (r.mech == 0)		/* not authenticated */
		put_text("user", NULL);
	else
		put_name("user", r.name, sizeof(r.name));
	put_text("mechanism", mech_name(r.mech));
	put_signed("age", r.age);
	put_unsigned("leases", r.leases);
}

static void
row_dev(const void *data)
{
	struct msg_ctl_dev r;
	uint32_t i;

	memcpy(&r, data, sizeof(r));
	dev = r.dev;
	memcpy(dev_name, r.ifname, sizeof(dev_name));
	put_name("interface", r.ifname, sizeof(r.ifname));
	put_text("role", word_role(r.is_node ? ROLE_NODE : ROLE_TEP));
	put_name("tep", r.tep, sizeof(r.tep));
	put_name("plane", r.plane, sizeof(r.plane));
	put_text("outer", log_in6(&r.local));
	put_unsigned("mtu", r.mtu);
	put_unsigned("entries", r.entries);
	put_key("drops");
	fputc('{', out);
	for (i = nkeys = 0; i < DROP_NREASON; i++)
		put_unsigned(word_drop(i), r.drops[i]);
	fputc('}', out);
}

static void
row_tunnel(const void *data)
{
	struct msg_tunnel_entry r;

	memcpy(&r, data, sizeof(r));
	if (r.dev == dev)
		put_name("interface", dev_name, sizeof(dev_name));
	else
		put_text("interface", NULL);
	put_text("address", log_in(r.v4));
	put_text("outer", log_in6(&r.v6));
	put_unsigned("in_packets", r.in_packets);
	put_unsigned("in_octets", r.in_bytes);
	put_unsigned("out_packets", r.out_packets);
	put_unsigned("out_octets", r.out_bytes);
}

static void
row_process(const void *data)
{
	struct msg_ctl_process r;

	memcpy(&r, data, sizeof(r));
	put_text("name", proc_name(r.proc));
	put_unsigned("pid", r.pid);
	put_unsigned("uid", r.uid);
	put_signed("uptime", r.uptime);
	put_unsigned("restarts", r.restarts);
	put_unsigned("sent", r.sent);
	put_unsigned("received", r.received);
	put_unsigned("queued", r.queued);
}

static void
row_node(const void *data)
{
	struct msg_ctl_node r;
	int has;

	memcpy(&r, data, sizeof(r));
	has = r.v4.s_addr != 0;
	put_text("state", word_node_state(r.state));
	put_name("interface", r.ifname, sizeof(r.ifname));
	put_text("address", has ? log_in(r.v4) : NULL);
	put_text("outer", has ? log_in6(&r.v6) : NULL);
	put_text("tep_ipv4", has ? log_in(r.tep4) : NULL);
	put_text("tep_ipv6", has ? log_in6(&r.tep6) : NULL);
	put_text("tep", has ? word_life(r.life) : NULL);
	put_text("server", IN6_IS_ADDR_UNSPECIFIED(&r.server) ? NULL :
	    log_in6(&r.server));
	put_unsigned("mtu", r.mtu);
	put_signed("since", r.since);
	put_signed("remaining", r.remains);
	put_signed("next", r.next);
	put_unsigned("renewals", r.renewals);
	put_unsigned("idle", r.idle);
	put_signed("unused", r.unused);
	put_name("error", r.error, sizeof(r.error));
	put_signed("error_age", r.error_age);
}

static void
begin(FILE *f, uint32_t what)
{
	(void)what;
	out = f;
	nrows = 0;
	memset(dev_name, 0, sizeof(dev_name));
	fputc('[', out);
}

static void
row(uint32_t type, const void *data)
{
	static void (*const makers[MSG_NTYPE])(const void *) = {
		[MSG_CTL_LEASE] = row_lease,
		[MSG_CTL_POOL] = row_pool,
		[MSG_CTL_SESSION] = row_session,
		[MSG_CTL_DEV] = row_dev,
		[MSG_CTL_TUNNEL] = row_tunnel,
		[MSG_CTL_PROCESS] = row_process,
		[MSG_CTL_NODE] = row_node,
	};

	fprintf(out, "%s\n  {", nrows++ > 0 ? "," : "");
	nkeys = 0;
	makers[type](data);
	fputc('}', out);
}

static void
end(void)
{
	fprintf(out, "%s]\n", nrows > 0 ? "\n" : "");
}

const struct printer	 json_printer = { begin, row, end };
