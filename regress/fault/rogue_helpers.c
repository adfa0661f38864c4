/* Parser, auth, store and tunnel processes that were taken over. */
#include <arpa/inet.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dstmd/tsp.h"
#include "regress/fault/rogue.h"

/*
 * parser: as far as the tests need it, it reads as the honest one does; of a
 * message whose lifetime is 600 and more it says a lie of that number.
 */
#define LIE	"lifetime=\"60"

enum lies { THEFT, NOISE, SILENCE, TWICE, GARBAGE, CONNECTION, GENERATION };

static void
address(const char *xml, const char *type, int family, void *to)
{
	char text[64];
	const char *p, *end;

	if ((p = strstr(xml, type)) == NULL || (p = strchr(p, '>')) == NULL ||
	    (end = strchr(++p, '<')) == NULL ||
	    (size_t)(end - p) >= sizeof(text))
		return;
	memcpy(text, p, (size_t)(end - p));
	text[end - p] = '\0';
	inet_pton(family, text, to);
}

static void
read_xml(const char *xml, struct msg_parsed *mp)
{
	struct tsp_tunnel *t = &mp->tunnel;

	mp->ok = 1;
	t->type = TYPE_V4V6;
	t->action = strstr(xml, "\"create\"") ? ACTION_CREATE :
	    strstr(xml, "\"delete\"") ? ACTION_DELETE : ACTION_INFO;
	t->client.flags = EP_PRESENT;
	if (strstr(xml, "ipv6") != NULL) {
		t->client.flags |= EP_V6;
		address(xml, "ipv6", AF_INET6, &t->client.v6);
	}
	if (strstr(xml, "ipv4") != NULL) {
		t->client.flags |= EP_V4;
		t->client.v4_length = 32;
		address(xml, "ipv4", AF_INET, &t->client.v4);
	}
}

static void
answer(struct msglink *l, const struct msg_parsed *mp)
{
	msg_put(l, MSG_PARSED, mp, sizeof(*mp));
}

static void
lie(struct msglink *l, struct msg_parsed *mp, int which)
{
	struct tsp_endpoint *client = &mp->tunnel.client;

	switch (which) {
	case THEFT:	/* plan[1], [2], a lease of somebody: give it back! */
		mp->tunnel.action = ACTION_DELETE;
		client->flags = EP_PRESENT | EP_V4 | EP_V6;
		client->v4_length = 32;
		inet_pton(AF_INET, rogue.plan[1], &client->v4);
		inet_pton(AF_INET6, rogue.plan[2], &client->v6);
		break;
	case NOISE:
		mp->ok = rnd(4);
		arc4random_buf(mp->text, sizeof(mp->text));
		if (rnd(2))
			arc4random_buf(&mp->tunnel, sizeof(mp->tunnel));
		mp->tunnel.type = rnd(4) ? TYPE_V4V6 : rnd(UINT32_MAX);
		mp->tunnel.action = rnd(2) ? rnd(8) : rnd(UINT32_MAX);
		break;
	case TWICE:
		answer(l, mp);
		break;
	case GARBAGE:
		msg_put(l, MSG_NTYPE + 1, mp, sizeof(*mp));
		return;
	case CONNECTION:
		mp->conn.id ^= 1;
		break;
	case GENERATION:
		mp->conn.gen++;
		break;
	default:
		return;
	}
	answer(l, mp);
}

static void
parser_message(struct msglink *l, struct msg *m)
{
	struct msg_parse head;
	struct msg_parsed mp;
	char xml[TSP_BODY_MAX + 1], *p;

	if (m->type != MSG_PARSE)
		return;
	memcpy(&head, m->data, sizeof(head));
	memcpy(xml, m->tail, m->tail_len);
	xml[m->tail_len] = '\0';
	memset(&mp, 0, sizeof(mp));
	mp.conn = head.conn;
	mp.seq = head.seq;
	read_xml(xml, &mp);
	if ((p = strstr(xml, LIE)) != NULL)
		lie(l, &mp, p[sizeof(LIE) - 1] - '0');
	else
		answer(l, &mp);
}

const struct role	 role_parser = { PROC_PARSER, NULL, parser_message };

/*
 * auth
 */
static void
verdict_one(uint64_t n)
{
	static const char *const names[] = {
		"alice", "bob", "anonymous", "nobody", "", "dstm1"
	};
	struct msg_auth_verdict mv;

	memset(&mv, 0, sizeof(mv));
	mv.conn.id = rnd(64);
	mv.conn.gen = 1 + rnd(64);
	mv.side = AUTH_SERVER;
	mv.mech = 1U << rnd(6);
	mv.mutual = rnd(2);
	strlcpy(mv.name, names[rnd(sizeof(names) / sizeof(names[0]))],
	    sizeof(mv.name));
	if (n % 2)
		noise(&mv, sizeof(mv));
	if (n % 7 == 0)
		memset(mv.name, 'a', sizeof(mv.name));
	msg_put(rogue.priv, MSG_AUTH_VERDICT, &mv, sizeof(mv));
}

/* Whoever comes is plan[1], twice, and more than that. */
static void
auth_message(struct msglink *l, struct msg *m)
{
	struct msg_auth_verdict mv;
	struct msg_auth_next next;

	if (m->type != MSG_AUTH_START || !planned("anybody"))
		return;
	memset(&mv, 0, sizeof(mv));
	memcpy(&mv.conn, m->data, sizeof(mv.conn));
	mv.side = AUTH_SERVER;
	mv.mech = MECH_SCRAM_SHA_256;
	mv.mutual = 1;
	strlcpy(mv.name, rogue.plan[1], sizeof(mv.name));
	msg_put(rogue.priv, MSG_AUTH_VERDICT, &mv, sizeof(mv));
	strlcpy(mv.name, "bob", sizeof(mv.name));
	msg_put(rogue.priv, MSG_AUTH_VERDICT, &mv, sizeof(mv));
	memset(&next, 0, sizeof(next));
	next.conn = mv.conn;
	next.result = AUTH_OK;
	msg_put(l, MSG_AUTH_NEXT, &next, sizeof(next));
}

static void
auth_configured(void)
{
	if (planned("flood"))
		flood(300000, verdict_one);
}

const struct role	 role_auth = {
	PROC_AUTH, auth_configured, auth_message
};

/*
 * store
 */
static uint64_t		 load_left;

static void
done(uint32_t type, uint64_t seq, uint64_t last)
{
	struct msg_store_done md;

	memset(&md, 0, sizeof(md));
	md.seq = seq;
	md.seq_last = last;
	md.error = rnd(200);
	msg_put(rogue.priv, type, &md, sizeof(md));
}

static void
fill_rec(struct lease_rec *r, const char *v4, const char *v6, const char *name)
{
	memset(r, 0, sizeof(*r));
	inet_pton(AF_INET, v4, &r->v4);
	inet_pton(AF_INET6, v6, &r->v6);
	r->mech = MECH_SCRAM_SHA_256;
	r->state = REC_BOUND;
	r->since = now_wall();
	r->until = r->since + 600;
	inet_pton(AF_INET, "198.51.100.1", &r->tep4);
	inet_pton(AF_INET6, "2001:db8:2::3", &r->tep6);
	strlcpy(r->name, name, sizeof(r->name));
	strlcpy(r->tep, "tep", sizeof(r->tep));
}

static void
load_one(uint64_t n)
{
	struct msg_store_lease ml;
	char v6[64], v4[32];

	memset(&ml, 0, sizeof(ml));
	snprintf(v4, sizeof(v4), "198.51.100.%u", rnd(256));
	snprintf(v6, sizeof(v6), "2001:db8:77::%x", 1 + rnd(65535));
	if (n == 0)		/* one address, two owners */
		fill_rec(&ml.rec, "198.51.100.20", "2001:db8:77::1", "alice");
	else if (n == 1)
		fill_rec(&ml.rec, "198.51.100.20", "2001:db8:77::2", "bob");
	else if (n == 2)	/* two addresses, one owner */
		fill_rec(&ml.rec, "198.51.100.21", "2001:db8:77::1", "alice");
	else {
		/* few of the pool, or none would be left to be leased */
		fill_rec(&ml.rec, n < 40 ? v4 : "203.0.113.9", v6, "alice");
		noise(&ml.rec, sizeof(ml.rec));
		if (n >= 40 && (ntohl(ml.rec.v4.s_addr) >> 8) == 0xc63364)
			ml.rec.v4.s_addr = 0;
	}
	msg_put(rogue.priv, MSG_STORE_LEASE, &ml, sizeof(ml));
	if (--load_left == 0) {
		struct msg_store_loaded end = { n + 1 };

		msg_put(rogue.priv, MSG_STORE_LOADED, &end, sizeof(end));
	}
}

static void
store_load(void)
{
	struct msg_store_loaded end = { 0 };

	if (planned("load")) {
		load_left = 200000;
		flood(load_left, load_one);
		return;
	}
	if (planned("count"))
		end.count = 1000;
	msg_put(rogue.priv, MSG_STORE_LOADED, &end, sizeof(end));
}

static void
unasked_one(uint64_t n)
{
	struct msg_store_lease ml;
	struct msg_store_loaded end = { n };
	struct msg_store_node mn;

	switch (n % 4) {
	case 0:
		fill_rec(&ml.rec, "198.51.100.30", "2001:db8:77::1", "alice");
		ml.seq = n;
		msg_put(rogue.priv, MSG_STORE_LEASE, &ml, sizeof(ml));
		break;
	case 1:
		msg_put(rogue.priv, MSG_STORE_LOADED, &end, sizeof(end));
		break;
	case 2:
		memset(&mn, 0, sizeof(mn));
		noise(&mn, sizeof(mn));
		msg_put(rogue.priv, MSG_STORE_NODE, &mn, sizeof(mn));
		break;
	default:
		done(rnd(2) ? MSG_STORE_DONE : MSG_STORE_FAIL,
		    rnd(2) ? UINT64_MAX - rnd(9) : rnd(99),
		    rnd(2) ? UINT64_MAX : rnd(99));
		break;
	}
}

static void
store_put(uint64_t seq)
{
	if (planned("early"))
		done(MSG_STORE_DONE, UINT64_MAX, 0);
	else if (planned("random") && rnd(12) == 0)
		done(MSG_STORE_DONE, seq - 1 - rnd(3), 0);
	else if (planned("random") && rnd(2) == 0)
		done(MSG_STORE_FAIL, seq - rnd(3), seq + rnd(5));
	else if (!planned("never"))
		done(MSG_STORE_DONE, seq + rnd(3), 0);
}

static void
store_message(struct msglink *l, struct msg *m)
{
	struct msg_store_lease ml;

	(void)l;
	if (m->type == MSG_STORE_LOAD)
		store_load();
	else if (m->type == MSG_STORE_PUT) {
		memcpy(&ml, m->data, sizeof(ml));
		store_put(ml.seq);
	}
}

static void
store_configured(void)
{
	if (planned("unasked"))
		flood(300000, unasked_one);
}

const struct role	 role_store = {
	PROC_STORE, store_configured, store_message
};

/*
 * tunnel
 */
static void
tunnel_one(uint64_t n)
{
	union {
		struct msg_tunnel_dev	 dev;
		struct msg_tunnel_entry	 entry;
		struct msg_tunnel_peer	 peer;
		struct msg_tunnel_stats	 stats;
	} m;
	static const struct { uint32_t type; size_t size; } kinds[] = {
		{ MSG_TUNNEL_GONE, sizeof(m.dev) },
		{ MSG_TUNNEL_USED, sizeof(m.dev) },
		{ MSG_TUNNEL_ENTRY, sizeof(m.entry) },
		{ MSG_TUNNEL_PEER, sizeof(m.peer) },
		{ MSG_TUNNEL_STATS, sizeof(m.stats) },
	};
	uint32_t kind = rnd(5);

	memset(&m, 0, sizeof(m));
	/* the TEP's device, the node's, one that is none */
	m.dev.dev = rnd(3) == 0 ? TUNNEL_DEV_MAX - 1 : rnd(2);
	if (kinds[kind].type == MSG_TUNNEL_STATS) {
		m.stats.dev = 0;
		m.stats.cookie = rnd(100);
		m.stats.next = rnd(1000);
	}
	if (n % 3 == 0)
		noise(&m, kinds[kind].size);
	msg_put(rogue.priv, kinds[kind].type, &m, kinds[kind].size);
}

static void
tunnel_configured(void)
{
	if (planned("flood"))
		flood(300000, tunnel_one);
}

/* Asked for a page it gives many entries, and pages without an end. */
static void
tunnel_message(struct msglink *l, struct msg *m)
{
	struct msg_tunnel_list ml;
	struct msg_tunnel_entry me;
	struct msg_tunnel_stats ms;
	uint32_t i;

	if (m->type != MSG_TUNNEL_LIST)
		return;
	memcpy(&ml, m->data, sizeof(ml));
	memset(&me, 0, sizeof(me));
	memset(&ms, 0, sizeof(ms));
	me.dev = ms.dev = ml.dev;
	me.cookie = ms.cookie = ml.cookie;
	for (i = 0; i < ml.max; i++) {
		me.v4.s_addr = htonl(0xc6336400 | rnd(256));
		me.in_packets = UINT64_MAX;
		msg_put(l, MSG_TUNNEL_ENTRY, &me, sizeof(me));
	}
	ms.next = ml.slot + 1;
	ms.entries = UINT32_MAX;
	msg_put(l, MSG_TUNNEL_STATS, &ms, sizeof(ms));
}

const struct role	 role_tunnel = {
	PROC_TUNNEL, tunnel_configured, tunnel_message
};
