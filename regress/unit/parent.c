/* What is around the parent, see parent.h. */
#include <sys/types.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <arpa/inet.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "priv/netlink.h"
#include "regress/unit/parent.h"

static const char	 config[] =
    "secrets \"/s\"\n"
    "server { listen on 2001:db8::1 auth scram-sha-256, anonymous\n"
    "	lifetime 20 min 2 max 40 quarantine 3\n"
    "	call login \"dstm1\" passwords \"/c\"\n"
    "	pool \"here\" { 10.9.0.0/27 tep \"here\" }\n"
    "	pool \"far\" { 10.9.1.0/28 tep \"far\" }\n"
    "	user \"alice\" { pool \"here\" pool \"far\" leases 3 call }\n"
    "	user \"bob\" { pool \"far\" pool \"here\" leases 2\n"
    "		address 10.9.0.9 prefix 2001:db8:1::7 }\n"
    "	anonymous { pool \"here\" leases 4 } }\n"
    "tep \"here\" { address 2001:db8::2 192.0.2.1 interface \"dstm0\"\n"
    "	accept from 2001:db8:1::/125 accept from 2001:db8:5::/48\n"
    "	listen on 2001:db8::2 server \"other\" { allow 203.0.113.0/28 } }\n"
    "tep \"far\" { connect to 2001:db8::3 login \"dstm1\" password \"/p\" }\n"
    "node { server 2001:db8:9::1 login \"x\" password \"/p\"\n"
    "	interface \"dstm1\" listen on 2001:db8::4 call from \"up\"\n"
    "	accept offers }\n";

struct priv		 priv;
struct parent_world	 pw;

static struct {
	struct in6_addr	 v6;
	int		 there;
	int		 loaded;	/* the store said whose: anybody's */
	uint64_t	 put;		/* store's seq since it is this one's */
	struct in6_addr	 put_v6;
} plane[512];

/* Its children's links are no more than addresses. */
static char		 links[PROC_NPROC];
static void		(*child_drained)(struct msglink *);
static int		 behind;	/* what it says was decided earlier */
static int		 loading;	/* it acts when the store has ended */

/*
 * What is around the parent. A second of its is a millisecond.
 */
int64_t
now_ms(void)
{
	struct timespec ts = { 100000, 0 };

	if (!pw.own_clock)
		clock_gettime(CLOCK_MONOTONIC, &ts);
	return ((int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000 + pw.passed);
}

int64_t
now_wall(void)
{
	return (now_ms() / 1000);
}

void
timer_set(struct event *ev, int64_t ms)
{
	struct timeval tv = { 0, 0 };

	if (ms > 0) {
		tv.tv_sec = ms / 1000000;
		tv.tv_usec = ms % 1000000;
	}
	assert_int_equal(evtimer_add(ev, &tv), 0);
}

void
suspend_watch(struct event_base *base, int64_t tick, void (*cb)(void))
{
	(void)base;
	(void)tick;
	pw.resumed = cb;
}

void
log_info(const char *fmt, ...)
{
	(void)fmt;
}

void
log_debug(const char *fmt, ...)
{
	(void)fmt;
}

void
log_warn(const char *fmt, ...)
{
	(void)fmt;
}

void
log_warnx(const char *fmt, ...)
{
	(void)fmt;
}

void
log_peer(const char *fmt, ...)
{
	(void)fmt;
}

void
log_doubt(enum proc_id about, const char *fmt, ...)
{
	(void)about;
	(void)fmt;
}

void
fatal(const char *fmt, ...)
{
	fail_msg("fatal: %s", fmt != NULL ? fmt : "memory");
	abort();
}

void
fatalx(const char *fmt, ...)
{
	fail_msg("fatalx: %s", fmt);
	abort();
}

struct msglink *
child_link(enum proc_id id)
{
	return ((struct msglink *)(void *)&links[id]);
}

int
child_is_up(enum proc_id id)
{
	return (id != PROC_STORE || !pw.store_down);
}

void
child_loaded(void)
{
}

void
child_kill(enum proc_id id)
{
	pw.store_killed |= id == PROC_STORE;
}

int
msglink_full(const struct msglink *l)
{
	(void)l;
	behind |= pw.full;
	return (pw.full);
}

void
msglink_on_drained(struct msglink *l, void (*cb)(struct msglink *))
{
	if (l == child_link(PROC_SESSION) || l == child_link(PROC_STORE))
		child_drained = cb;
	else
		pw.drained = cb;
}

void
parent_full(int full)
{
	pw.full = full;
	if (full)
		return;
	if (child_drained != NULL)
		child_drained(NULL);
	behind = 0;
}

void
child_replace(struct msglink *l, struct msg *m)
{
	(void)l;
	(void)m;
}

void
child_ready(struct msglink *l, struct msg *m)
{
	(void)l;
	(void)m;
}

void
plane_tun_entry(struct msglink *l, struct msg *m)
{
	child_ready(l, m);
}

void
plane_tun_stats(struct msglink *l, struct msg *m)
{
	child_ready(l, m);
}

int
listen_match(const struct sockaddr_in6 *local)
{
	uint32_t i;

	for (i = 0; i < priv.conf->nlisten; i++)
		if (IN6_ARE_ADDR_EQUAL(&local->sin6_addr,
		    &priv.conf->listen[i].addr))
			return ((int)i);
	return (-1);
}

static int
name_socket(const struct in6_addr *a, struct sockaddr *sa, socklen_t *len)
{
	struct sockaddr_in6 sin6;

	memset(&sin6, 0, sizeof(sin6));
	sin6.sin6_family = AF_INET6;
	sin6.sin6_addr = *a;
	memcpy(sa, &sin6, sizeof(sin6));
	*len = sizeof(sin6);
	return (0);
}

int
getpeername(int fd, struct sockaddr *sa, socklen_t *len)
{
	(void)fd;
	if (pw.unreachable) {
		errno = ENOTCONN;
		return (-1);
	}
	return (name_socket(&pw.sock_peer, sa, len));
}

int
getsockname(int fd, struct sockaddr *sa, socklen_t *len)
{
	(void)fd;
	if (pw.nameless) {
		errno = ENOBUFS;
		return (-1);
	}
	return (name_socket(&pw.sock_local, sa, len));
}

static int
network(void)
{
	errno = EADDRNOTAVAIL;
	return (pw.unreachable ? -1 : 0);
}

/* Of the network; the control socket's are real. */
int
connect(int fd, const struct sockaddr *sa, socklen_t len)
{
	return (sa->sa_family != AF_UNIX ? network() :
	    (int)syscall(SYS_connect, fd, sa, len));
}

int
bind(int fd, const struct sockaddr *sa, socklen_t len)
{
	return (sa->sa_family != AF_UNIX ? network() :
	    (int)syscall(SYS_bind, fd, sa, len));
}

int
netlink_has_addr6(const struct in6_addr *v6)
{
	(void)v6;
	return (1);
}

int
netlink_watch_addr6(void)
{
	return (-1);
}

void
netlink_watch_empty(int fd)
{
	(void)fd;
}

int
netlink_linklocal(const struct in6_addr *a, struct in6_addr *b)
{
	(void)a;
	(void)b;
	return (-1);
}

uint32_t
netlink_addr_mtu(const struct in6_addr *a)
{
	(void)a;
	return (1500);
}

int
netlink_addr_only(const char *name, struct in_addr a)
{
	(void)name;
	(void)a;
	return (0);
}

int
netlink_addr_add(const char *name, struct in_addr a, int plen)
{
	(void)name;
	(void)a;
	(void)plen;
	errno = EINVAL;
	return (pw.refuses ? -1 : 0);
}

int
netlink_route_add(const char *name, struct in_addr dst, int plen,
    struct in_addr src, uint32_t metric, uint32_t table)
{
	(void)src;
	(void)metric;
	(void)table;
	return (netlink_addr_add(name, dst, plen));
}

void
event_send(const struct msg_event *m)
{
	(void)m;
}

int64_t
host_init(void)
{
	return (0);
}

int
host_wait(void)
{
	return (pw.refuses ? -1 : 0);
}

int
host_configure(const struct msg_node_lease *l, int64_t until)
{
	(void)l;
	(void)until;
	return (pw.refuses ? -1 : 0);
}

void
host_renew(const struct msg_node_lease *l, int64_t until)
{
	(void)l;
	(void)until;
}

void
host_keepalive(const struct msg_node_lease *l, int answers)
{
	(void)l;
	(void)answers;
}

void
host_unconfigure(void)
{
}

void
host_close(void)
{
}

int
node_dev(struct plane_dev *dev)
{
	memset(dev, 0, sizeof(*dev));
	return (pw.gone);
}

/*
 * The data plane: 10.9.0.0/23 of our own leases
 */
static int
plane_slot(struct in_addr v4)
{
	uint32_t a = ntohl(v4.s_addr);

	return (a - POOL < COUNT(plane) ? (int)(a - POOL) : -1);
}

static int
p_open(const struct plane_dev *dev)
{
	(void)dev;
	return (0);
}

static void
p_add(uint32_t dev, struct in_addr v4, const struct in6_addr *v6,
    int64_t until)
{
	int i = plane_slot(v4);

	/* the one node that is outside of what the TEP accepts */
	assert_true(dev == NODE_DEV ||
	    !IN6_ARE_ADDR_EQUAL(v6, &pw.nodes[NADDR - 1]));
	/* every entry ends by itself */
	assert_true(until > now_ms() && until < INT64_MAX);
	/* another server's may be anything, but not ours */
	if (i == -1) {
		assert_int_equal(ntohl(v4.s_addr) >> 4, 0xcb007100U >> 4);
		return;
	}
	/* an entry that is another's must have been removed before */
	assert_true(!plane[i].there ||
	    IN6_ARE_ADDR_EQUAL(&plane[i].v6, v6));
	plane[i].there = 1;
	plane[i].v6 = *v6;
}

static void
p_del(uint32_t dev, struct in_addr v4)
{
	int i = plane_slot(v4);

	(void)dev;
	if (i != -1)
		plane[i].there = 0;
}

static int
p_exists(uint32_t dev)
{
	(void)dev;
	return (!pw.gone);
}

static int
p_reopen(uint32_t dev)
{
	(void)dev;
	return (pw.refuses ? -1 : 0);
}

/* Nothing was left by a daemon before: what is said of it, nobody hears. */
static void
p_sweep(uint32_t dev, int (*over)(uint32_t, struct in_addr))
{
	struct in_addr foreign = { htonl(0xcb007101U) };
	int i;

	(void)over(dev, foreign);
	for (i = 0; i < NRECENT; i++)
		(void)over(dev, pw.recent[i]);
}

static const struct plane	 fake_plane = {
	.name = "fake", .open = p_open, .reopen = p_reopen,
	.exists = p_exists, .add = p_add, .del = p_del, .sweep = p_sweep,
};

/*
 * What the parent says
 */
static void
check_reply(const struct msg_lease_reply *r)
{
	int i;

	if (r->status != STATUS_OK) {
		pw.refused++;
		return;
	}
	pw.recent[pw.granted++ % NRECENT] = r->v4;
	/* granted by a connection that was proved, to who is there */
	assert_true(r->conn.id < NSLOT);
	if (r->conn.gen != pw.said[r->conn.id].gen)
		return;		/* which is gone: nobody gets this */
	assert_true(pw.said[r->conn.id].proved);
	i = plane_slot(r->v4);
	if (r->op != OP_CREATE || i == -1) {
		pw.foreign += i == -1;
		return;
	}
	assert_true(IN6_ARE_ADDR_EQUAL(&pw.said[r->conn.id].peer, &r->v6) ||
	    strcmp(pw.said[r->conn.id].name, "bob") == 0);
	/* which may be over, when the link takes it: a delete is behind it */
	if (behind)
		return;
	assert_true(plane[i].put != 0 && plane[i].put <= pw.done_seq);
}

/* A connection that the parent believes in. */
static void
note_conn(const struct conn_ref *ref, const struct in6_addr *peer, int dialled)
{
	if (ref->id >= NSLOT)
		return;
	assert_true(ref->gen > pw.said[ref->id].gen);
	assert_true(ref->gen - conn_last_gen() < CONN_GENS);
	pw.said[ref->id].gen = ref->gen;
	pw.said[ref->id].verdict[0] = '\0';
	pw.said[ref->id].proved = 0;
	pw.said[ref->id].dialled = dialled;
	pw.said[ref->id].peer = *peer;
}

/* Who is logged in is who auth said, and once. */
static void
check_login(const struct msg_auth_done *m)
{
	struct slot *s;

	if (!m->ok)
		return;
	assert_true(m->conn.id < NSLOT);
	s = &pw.said[m->conn.id];
	assert_int_equal(s->gen, m->conn.gen);
	assert_false(s->proved);
	assert_string_equal(s->verdict, m->name);
	s->proved = 1;
	strlcpy(s->name, m->name, sizeof(s->name));
}

/* From which record on is the lease its owner's? */
static void
record(const struct lease_rec *r)
{
	int i = plane_slot(r->v4);

	if (i == -1)
		return;
	if (r->state != REC_BOUND)
		plane[i].put = 0;
	else if (plane[i].put == 0 ||
	    !IN6_ARE_ADDR_EQUAL(&plane[i].put_v6, &r->v6)) {
		plane[i].put = pw.put_seq;
		plane[i].put_v6 = r->v6;
	}
}

void
msg_send(struct msglink *l, uint32_t type, int fd, const void *data,
    size_t size, const void *tail, size_t tail_len)
{
	struct msg_store_lease sl;
	struct msg_tep_request tr;
	struct msg_lease_reply lr;
	struct msg_auth_done ad;
	struct msg_conn mc;
	struct msg_dialled md;

	(void)tail;
	assert_int_equal(tail_len, 0);
	if (pw.heard != NULL)
		pw.heard(l, type, data, size);
	if (fd != -1)
		close(fd);
	switch (type) {
	case MSG_STORE_LOAD:
		loading = 1;
		break;
	case MSG_STORE_PUT:
		memcpy(&sl, data, sizeof(sl));
		/* a store that starts anew gets some of them again */
		assert_in_range(sl.seq, 1, pw.put_seq + 1);
		if (sl.seq <= pw.put_seq)
			break;
		pw.put_seq = sl.seq;
		record(&sl.rec);
		break;
	case MSG_TEP_REQUEST:
		memcpy(&tr, data, sizeof(tr));
		pw.jobs[pw.njobs % NJOBS].tep = tr.tep;
		pw.jobs[pw.njobs++ % NJOBS].job = tr.job;
		break;
	case MSG_LEASE_REPLY:
		memcpy(&lr, data, sizeof(lr));
		check_reply(&lr);
		break;
	case MSG_CONN_READY:
		memcpy(&mc, data, sizeof(mc));
		if (mc.ok)
			note_conn(&mc.conn, &pw.sock_peer, 0);
		break;
	case MSG_DIALLED:
		memcpy(&md, data, sizeof(md));
		if (md.error == 0)
			note_conn(&md.conn, &in6addr_any, 1);
		break;
	case MSG_AUTH_DONE:
		memcpy(&ad, data, sizeof(ad));
		check_login(&ad);
		break;
	case MSG_CALL:
		pw.calls++;
		break;
	case MSG_LEASE_DELETE:
		pw.deletes++;
		break;
	}
}

void
msg_put(struct msglink *l, uint32_t type, const void *data, size_t size)
{
	msg_send(l, type, -1, data, size, NULL, 0);
}

/*
 * What the others say
 */

static void
note_verdict(const struct msg_auth_verdict *m)
{
	struct slot *s;

	if (m->conn.id >= NSLOT || m->conn.gen != pw.said[m->conn.id].gen)
		return;
	s = &pw.said[m->conn.id];
	memcpy(s->verdict, m->name, NAME_SIZE);
	s->verdict[NAME_MAX_LEN] = '\0';
}

/* Where that TEP was up by it the next login decides. */
static void
note_down(const struct msg_tep_state *m)
{
	struct slot *s;

	if (m->conn.id >= NSLOT)
		return;
	s = &pw.said[m->conn.id];
	if (s->dialled && s->gen == m->conn.gen)
		s->proved = 0;
}

static void
note_loaded(const struct msg_store_lease *m)
{
	int i = plane_slot(m->rec.v4);

	if (loading && i != -1)
		plane[i].loaded = 1;
}

static void
note(uint32_t type, const void *data)
{
	struct msg_auth_verdict mv;
	struct msg_store_lease sl;
	struct msg_tep_state ts;
	struct msg_store_done ms;
	struct conn_ref ref;

	switch (type) {
	case MSG_CONN_OPEN:
	case MSG_DIAL:
		memcpy(&ref, data, sizeof(ref));	/* begins both */
		if (ref.id < NSLOT && ref.gen > pw.said[ref.id].tried &&
		    ref.gen - conn_last_gen() < CONN_GENS)
			pw.said[ref.id].tried = ref.gen;
		break;
	case MSG_AUTH_VERDICT:
		memcpy(&mv, data, sizeof(mv));
		note_verdict(&mv);
		break;
	case MSG_TEP_DOWN:
		memcpy(&ts, data, sizeof(ts));
		note_down(&ts);
		break;
	case MSG_STORE_LEASE:
		memcpy(&sl, data, sizeof(sl));
		note_loaded(&sl);
		break;
	case MSG_STORE_LOADED:
		loading = 0;
		break;
	case MSG_STORE_DONE:
	case MSG_STORE_FAIL:
		if (pw.store_down)
			break;		/* it was given nothing */
		memcpy(&ms, data, sizeof(ms));
		if (type == MSG_STORE_FAIL && ms.seq > 0)
			ms.seq--;
		if (ms.seq > pw.put_seq)
			ms.seq = pw.put_seq;
		if (ms.seq > pw.done_seq)
			pw.done_seq = ms.seq;
		break;
	}
}

void
session_anew(void)
{
	int i;

	for (i = 0; i < NSLOT; i++)
		pw.said[i].tried = pw.said[i].gen = conn_last_gen();
}

void
say(enum proc_id from, uint32_t type, const void *data, int fd)
{
	const struct msg_rule *r;
	uint64_t buf[64];
	struct msg m;
	size_t i;

	for (i = 0; i < priv_nrules; i++) {
		r = &priv_rules[i];
		if (r->type != type || (r->from & MSG_FROM(from)) == 0)
			continue;
		assert_true(r->size <= sizeof(buf));
		note(type, data);
		memset(&m, 0, sizeof(m));
		if (r->size > 0)
			memcpy(buf, data, r->size);
		m.type = type;
		m.data = buf;
		m.fd = fd;
		r->handler(NULL, &m);
		return;
	}
	fail_msg("%s may not say %u", proc_name(from), type);
}

const char *
proc_name(uint32_t id)
{
	(void)id;
	return ("somebody");
}

/*
 * What must hold
 */
void
parent_check(void)
{
	struct in_addr after = { 0 };
	struct lease_info li;
	int i;

	lease_check(server_engine());
	while (lease_walk(server_engine(), now_ms(), after, &li)) {
		after = li.v4;
		assert_int_not_equal(i = plane_slot(li.v4), -1);
		if (li.tep != 0 || li.state != CTL_BOUND || loading)
			continue;
		assert_true(plane[i].there);
		assert_true(IN6_ARE_ADDR_EQUAL(&plane[i].v6, &li.owner.v6));
		assert_true(plane[i].loaded ||
		    strcmp(li.owner.name, "alice") == 0 ||
		    strcmp(li.owner.name, "bob") == 0 ||
		    strcmp(li.owner.name, "anonymous") == 0);
	}
}

void
parent_start(void)
{
	uint32_t i;
	char text[64];

	for (i = 0; i < NADDR; i++) {
		snprintf(text, sizeof(text), "2001:db8:1::%x", i + 1);
		assert_int_equal(inet_pton(AF_INET6, text, &pw.nodes[i]), 1);
	}
	assert_int_equal(inet_pton(AF_INET6, "2001:db8::1", &pw.here[0]), 1);
	assert_int_equal(inet_pton(AF_INET6, "2001:db8::2", &pw.here[1]), 1);
	assert_int_equal(inet_pton(AF_INET6, "2001:db8::4", &pw.here[2]), 1);
	assert_int_equal(inet_pton(AF_INET6, "2001:db8:9::1", &pw.here[3]), 1);
	assert_non_null(priv.conf = conf_parse_text("test", config,
	    sizeof(config) - 1));
	assert_non_null(priv.base = event_base_new());
	priv.plane = &fake_plane;
	tep_init();
	server_init();
	call_init();
	node_init();
}

void
parent_restart(void)
{
	lease_engine_free(server_engine());
	memset(plane, 0, sizeof(plane));
	memset(pw.recent, 0, sizeof(pw.recent));
	pw.put_seq = pw.done_seq = 0;
	server_init();
}
