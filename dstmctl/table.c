/*
 * Tables for people. A column is as wide as its widest cell among the next
 * PAGE rows; where there are more rows, the widths only grow.
 */
#include <ctype.h>
#include <err.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "dstmctl/dstmctl.h"
#include "dstmd/msg.h"

#define PAGE		1000
#define COLS_MAX	11
#define GAP		2

struct column {
	const char	*name;
	int		 right;		/* a number */
};

static const struct column	 lease_columns[] = {
	{ "ADDRESS", 0 }, { "USER", 0 }, { "NODE", 0 }, { "STATE", 0 },
	{ "REMAINS", 1 }, { "POOL", 0 }, { "TEP", 0 }, { NULL, 0 }
};
static const struct column	 pool_columns[] = {
	{ "POOL", 0 }, { "TEP", 0 }, { "SIZE", 1 }, { "FREE", 1 },
	{ "BOUND", 1 }, { "RESERV", 1 }, { "CLOSING", 1 }, { "QUARANT", 1 },
	{ "GRANTED", 1 }, { "EXHAUST", 1 }, { "DRAIN", 0 }, { NULL, 0 }
};
static const struct column	 session_columns[] = {
	{ "ID", 0 }, { "KIND", 0 }, { "PEER", 0 }, { "PORT", 1 },
	{ "USER", 0 }, { "AGE", 1 }, { "LEASES", 1 }, { NULL, 0 }
};
static const struct column	 tunnel_columns[] = {
	{ "ADDRESS", 0 }, { "OUTER", 0 }, { "IN", 1 }, { "OCTETS", 1 },
	{ "OUT", 1 }, { "OCTETS", 1 }, { NULL, 0 }
};
static const struct column	 process_columns[] = {
	{ "PROCESS", 0 }, { "PID", 1 }, { "UID", 1 }, { "UPTIME", 1 },
	{ "RESTARTS", 1 }, { "SENT", 1 }, { "RECEIVED", 1 }, { "QUEUED", 1 },
	{ NULL, 0 }
};

static FILE			*out;
static const struct column	*columns;	/* NULL: no table is open */
static int			 widths[COLS_MAX];
static char			*rows[PAGE];	/* cells, each with its NUL */
static size_t			 nrows;
static int			 headed, devices;

/*
 * The table
 */
static void
table_open(const struct column *c)
{
	size_t i;

	columns = c;
	headed = 0;
	for (i = 0; columns[i].name != NULL; i++)
		widths[i] = (int)strlen(columns[i].name);
}

static void
print_cell(size_t col, const char *text)
{
	fprintf(out, "%*s", col > 0 ? GAP : 0, "");
	if (columns[col].right)
		fprintf(out, "%*s", widths[col], text);
	else if (columns[col + 1].name != NULL)
		fprintf(out, "%-*s", widths[col], text);
	else
		fputs(text, out);
}

static void
table_flush(void)
{
	const char *cell;
	size_t r, i;

	if (columns == NULL)
		return;
	if (!headed) {
		for (i = 0; columns[i].name != NULL; i++)
			print_cell(i, columns[i].name);
		fputc('\n', out);
		headed = 1;
	}
	for (r = 0; r < nrows; r++) {
		cell = rows[r];
		for (i = 0; columns[i].name != NULL; i++) {
			print_cell(i, cell);
			cell += strlen(cell) + 1;
		}
		fputc('\n', out);
		free(rows[r]);
	}
	nrows = 0;
}

/* One text for each column. */
static void
table_row(const char *const *cells)
{
	size_t i, len, size = 0;
	char *p;

	for (i = 0; columns[i].name != NULL; i++)
		size += strlen(cells[i]) + 1;
	if ((rows[nrows] = p = malloc(size)) == NULL)
		err(1, NULL);
	for (i = 0; columns[i].name != NULL; i++) {
		len = strlen(cells[i]);
		memcpy(p, cells[i], len + 1);
		p += len + 1;
		if (widths[i] < (int)len)
			widths[i] = (int)len;
	}
	if (++nrows == PAGE)
		table_flush();
}

/*
 * Cells: texts in buffers that live as long as the row is made.
 */
#define CELL_SIZE	96

static const char *
cell_name(char *buf, const char *name, size_t size)
{
	const char *text = word_name(name, size);

	strlcpy(buf, text != NULL ? text : "-", CELL_SIZE);
	return (buf);
}

/* "alice (scram)", "(anonymous)": identities are of a mechanism. */
static const char *
cell_user(char *buf, uint32_t mech, const char *name, size_t size)
{
	const char *mname = mech_name(mech), *text = word_name(name, size);
	char family[MECH_SIZE];
	size_t i;

	if (text == NULL)
		strlcpy(buf, "-", CELL_SIZE);
	else if (mech == MECH_ANONYMOUS)
		snprintf(buf, CELL_SIZE, "(%s)", text);
	else if (mname == NULL)
		strlcpy(buf, text, CELL_SIZE);
	else {
		strlcpy(family, mname, sizeof(family));
		family[strcspn(family, "-")] = '\0';
		for (i = 0; family[i] != '\0'; i++)
			family[i] = (char)tolower((unsigned char)family[i]);
		snprintf(buf, CELL_SIZE, "%s (%s)", text, family);
	}
	return (buf);
}

static const char *
cell_number(char *buf, uint64_t n)
{
	snprintf(buf, SHORT_SIZE, "%" PRIu64, n);
	return (buf);
}

static void
row_lease(const void *data)
{
	char user[CELL_SIZE], pool[CELL_SIZE], tep[CELL_SIZE];
	char left[SHORT_SIZE];
	const char *cells[COLS_MAX];
	struct msg_ctl_lease r;

	memcpy(&r, data, sizeof(r));
	cells[0] = log_in(r.v4);
	cells[1] = cell_user(user, r.mech, r.name, sizeof(r.name));
	cells[2] = log_in6(&r.v6);
	cells[3] = word_state(r.state);
	cells[4] = short_time(left, r.remains);
	cells[5] = cell_name(pool, r.pool, sizeof(r.pool));
	if (r.role == ROLE_SERVER)
		cells[6] = cell_name(tep, r.tep, sizeof(r.tep));
	else {
		snprintf(tep, sizeof(tep), "(%s)", word_role(r.role));
		cells[6] = tep;
	}
	table_row(cells);
}

static void
row_pool(const void *data)
{
	char name[CELL_SIZE], tep[CELL_SIZE], n[8][SHORT_SIZE];
	const char *cells[COLS_MAX];
	struct msg_ctl_pool r;

	memcpy(&r, data, sizeof(r));
	cells[0] = cell_name(name, r.name, sizeof(r.name));
	cells[1] = cell_name(tep, r.tep, sizeof(r.tep));
	cells[2] = cell_number(n[0], r.size);
	cells[3] = cell_number(n[1], r.free);
	cells[4] = cell_number(n[2], r.bound);
	cells[5] = cell_number(n[3], r.reserved);
	cells[6] = cell_number(n[4], r.closing);
	cells[7] = cell_number(n[5], r.quarantine);
	cells[8] = cell_number(n[6], r.granted);
	cells[9] = cell_number(n[7], r.exhausted);
	cells[10] = word_drain(r.drain);
	table_row(cells);
}

static void
row_session(const void *data)
{
	char user[CELL_SIZE], id[32], port[SHORT_SIZE], age[SHORT_SIZE];
	char leases[SHORT_SIZE];
	const char *cells[COLS_MAX];
	struct msg_ctl_session r;

	memcpy(&r, data, sizeof(r));
	snprintf(id, sizeof(id), "%u.%u", r.conn.id, r.conn.gen);
	cells[0] = id;
	cells[1] = word_kind(r.kind);
	cells[2] = log_in6(&r.peer);
	cells[3] = cell_number(port, r.port);
	cells[4] = r.mech == 0 ? "-" :
	    cell_user(user, r.mech, r.name, sizeof(r.name));
	cells[5] = short_time(age, r.age);
	cells[6] = cell_number(leases, r.leases);
	table_row(cells);
}

static void
row_dev(const void *data)
{
	char ifname[CELL_SIZE], tep[CELL_SIZE], plane[CELL_SIZE];
	struct msg_ctl_dev r;
	uint32_t i;

	memcpy(&r, data, sizeof(r));
	table_flush();
	fprintf(out, "%s%s: ", devices++ > 0 ? "\n" : "",
	    cell_name(ifname, r.ifname, sizeof(r.ifname)));
	if (r.is_node)
		fputs("node", out);
	else
		fprintf(out, "TEP %s", cell_name(tep, r.tep, sizeof(r.tep)));
	fprintf(out, ", plane %s, outer %s, MTU %u, %u %s\n  dropped:",
	    cell_name(plane, r.plane, sizeof(r.plane)), log_in6(&r.local),
	    r.mtu, r.entries,
	    r.entries == 1 ? "entry" : "entries");
	for (i = 0; i < DROP_NREASON; i++)
		fprintf(out, "%s %s %" PRIu64, i > 0 ? "," : "", word_drop(i),
		    r.drops[i]);
	fputc('\n', out);
	if (r.entries > 0)
		table_open(tunnel_columns);
	else
		columns = NULL;
}

static void
row_tunnel(const void *data)
{
	char n[4][SHORT_SIZE];
	const char *cells[COLS_MAX];
	struct msg_tunnel_entry r;

	memcpy(&r, data, sizeof(r));
	if (columns == NULL)
		table_open(tunnel_columns);
	cells[0] = log_in(r.v4);
	cells[1] = log_in6(&r.v6);
	cells[2] = cell_number(n[0], r.in_packets);
	cells[3] = short_octets(n[1], r.in_bytes);
	cells[4] = cell_number(n[2], r.out_packets);
	cells[5] = short_octets(n[3], r.out_bytes);
	table_row(cells);
}

static void
row_process(const void *data)
{
	char pid[SHORT_SIZE], uid[SHORT_SIZE], uptime[SHORT_SIZE];
	char restarts[SHORT_SIZE], sent[SHORT_SIZE], received[SHORT_SIZE];
	char queued[SHORT_SIZE];
	const char *cells[COLS_MAX];
	struct msg_ctl_process r;

	memcpy(&r, data, sizeof(r));
	cells[0] = proc_name(r.proc);
	cells[1] = r.pid != 0 ? cell_number(pid, r.pid) : "-";
	cells[2] = cell_number(uid, r.uid);
	cells[3] = short_time(uptime, r.pid != 0 ? r.uptime : -1);
	cells[4] = cell_number(restarts, r.restarts);
	cells[5] = cell_number(sent, r.sent);
	cells[6] = cell_number(received, r.received);
	cells[7] = short_octets(queued, r.queued);
	table_row(cells);
}

static void
line(const char *label, const char *text)
{
	fprintf(out, "%-12s%s\n", label, text);
}

static const char *
tep_life(uint32_t life)
{
	switch (life) {
	case CTL_TEP_ANSWERS:
		return (", answers");
	case CTL_TEP_SILENT:
		return (", does not answer");
	case CTL_TEP_UNKNOWN:
		return (", has not answered yet");
	default:
		return ("");
	}
}

/* One node, so no table: a line for each thing. */
static void
row_node(const void *data)
{
	struct msg_ctl_node r;
	char t[2][SHORT_SIZE], name[CELL_SIZE];
	const char *error;

	memcpy(&r, data, sizeof(r));
	line("state", word_node_state(r.state));
	cell_name(name, r.ifname, sizeof(r.ifname));
	if (r.mtu != 0)
		fprintf(out, "%-12s%s, MTU %u\n", "interface", name, r.mtu);
	if (r.v4.s_addr != 0) {
		line("address", log_in(r.v4));
		line("outer", log_in6(&r.v6));
		fprintf(out, "%-12s%s, %s%s\n", "TEP", log_in6(&r.tep6),
		    log_in(r.tep4), tep_life(r.life));
	}
	if (!IN6_IS_ADDR_UNSPECIFIED(&r.server))
		line("server", log_in6(&r.server));
	if (r.v4.s_addr != 0)
		fprintf(out, "%-12s%s, renewed %u times\n", "ends in",
		    short_time(t[0], r.remains), r.renewals);
	if (r.next >= 0)
		line(r.v4.s_addr != 0 ? "renewal in" : "next try in",
		    short_time(t[0], r.next));
	if (r.idle != 0)
		fprintf(out, "%-12s%s of %s\n", "unused for",
		    short_time(t[0], r.unused), short_time(t[1], r.idle));
	if ((error = word_name(r.error, sizeof(r.error))) != NULL)
		fprintf(out, "%-12s%s ago: %s\n", "last error",
		    short_time(t[0], r.error_age), error);
}

static void
begin(FILE *f, uint32_t what)
{
	static const struct column *const all[] = {
		[SHOW_LEASES] = lease_columns,
		[SHOW_POOLS] = pool_columns,
		[SHOW_SESSIONS] = session_columns,
		[SHOW_PROCESSES] = process_columns,
	};

	out = f;
	columns = NULL;
	devices = 0;
	if (what != SHOW_TUNNELS && what != SHOW_NODE)
		table_open(all[what]);
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

	makers[type](data);
}

const struct printer	 table_printer = { begin, row, table_flush };
