/*
 * The node role: what the server granted becomes the host's IPv4 (host.c).
 * On demand there is a lease while the host sends packets: the first one
 * asks for it, and is lost; after some time without any it is given back.
 */
#include <sys/types.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dstmd/tsp.h"
#include "priv/netlink.h"
#include "priv/priv.h"

#define RETRY_MS	30000	/* after the host refused the configuration */
#define GONE_MS		1000	/* after somebody removed the interface */
#define STOP_MS		5000	/* for the server's answer to our delete */
#define ADDR_MS		500	/* addresses often change together */
#define PAUSE_MIN	30000	/* before another lease, after a dead TEP */
#define PAUSE_MAX	900000

enum node_state {
	NODE_OFF,		/* not a node, or told to be down */
	NODE_IDLE,		/* on demand: nobody has sent a packet */
	NODE_WANTED,		/* session asks for a lease */
	NODE_UP,		/* the lease is configured */
	NODE_RELEASING		/* session gives it back */
};

/* Of the TEP: it is silent, then the server is asked, then it is given up. */
enum tep_life {
	TEP_UNKNOWN,		/* it has not answered yet: not judged */
	TEP_ANSWERS,
	TEP_SILENT,		/* the server is asked */
	TEP_RENEWED		/* which says that it is right */
};

static enum node_state	 state;
static enum node_state	 after;		/* NODE_RELEASING: what is next */
static struct msg_node_lease held;	/* NODE_UP, and on while releasing */
static int		 holding;
static uint32_t		 renewals;
static int64_t		 until_ms, since, used_ms;
static int		 has_hint;	/* address of an earlier life */
static struct in_addr	 hint;
static struct event	*timer, *idle_timer, *addr_timer, *addr_event;
static struct event	*left_timer;	/* what a daemon before left ends */
static struct msg_node_note note;	/* what session said last, */
static int64_t		 note_ms;	/* and when; 0: nothing yet */
static enum tep_life	 life;
static struct in6_addr	 answered;	/* this TEP did, once */
static int		 deserted;	/* by its TEP: it is given back */
static int64_t		 pause_ms;	/* what the next one waits */
static char		 error[NODE_TEXT];
static int64_t		 error_ms;
static int64_t		 silent_ms;	/* the last time that the TEP was said
					 * to be silent; 0: never */
static int64_t		 paid_ms;	/* changes of the interface are, until then */

static void	 node_timer(evutil_socket_t, short, void *);
static void	 node_idle(evutil_socket_t, short, void *);
static void	 node_resumed(void);
static void	 watch_addrs(void);

static const struct conf_node *
node_conf(void)
{
	return (&priv.conf->node);
}

/* For dstmctl show node. */
static void
node_error(const char *text)
{
	strlcpy(error, text, sizeof(error));
	error_ms = now_ms();
}

/* On demand the interface is there at once, or as soon as it can be. */
static void
node_wait(void)
{
	if (host_wait() == -1) {
		node_error("this host refused the interface: see the log");
		timer_set(timer, RETRY_MS);
	}
}

/* No server has renewed what a daemon before us left. */
static void
node_left(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	if (priv.quitting || holding)
		return;
	log_info("the lease of the daemon before ran out");
	host_unconfigure();
	if (state == NODE_WANTED || state == NODE_IDLE)
		node_wait();
}

void
node_init(void)
{
	int64_t left;

	if ((priv.conf->roles & ROLE_NODE) == 0)
		return;
	timer = evtimer_new(priv.base, node_timer, NULL);
	idle_timer = evtimer_new(priv.base, node_idle, NULL);
	left_timer = evtimer_new(priv.base, node_left, NULL);
	if (timer == NULL || idle_timer == NULL || left_timer == NULL)
		fatalx("evtimer_new");
	paid_ms = silent_ms = 0;
	watch_addrs();
	suspend_watch(priv.base, SUSPEND_TICK, node_resumed);
	left = host_init();
	state = node_conf()->idle != 0 ? NODE_IDLE : NODE_WANTED;
	if (left > now_ms()) {
		state = NODE_WANTED;
		used_ms = now_ms();
		if (node_conf()->idle != 0)
			timer_set(idle_timer,
			    (int64_t)node_conf()->idle * 1000);
		timer_set(left_timer, left - now_ms());
	}
	node_wait();
}

void
node_restore(const struct node_rec *rec)
{
	if (state == NODE_OFF || !rec->valid || !in_usable(rec->v4))
		return;
	/* Even past its end: the server keeps it for us while it can. */
	has_hint = 1;
	hint = rec->v4;
	log_info("asking for %s again", log_in(hint));
}

/* Asks for a lease; where one is held, for its renewal. */
static void
node_start(void)
{
	struct msg_node_start m;

	memset(&m, 0, sizeof(m));
	m.has_v4 = (uint32_t)has_hint;
	m.v4 = hint;
	msg_put(child_link(PROC_SESSION), MSG_NODE_START, &m, sizeof(m));
}

static void
node_want(int64_t in_ms)
{
	state = NODE_WANTED;
	used_ms = now_ms();
	if (node_conf()->idle != 0)
		timer_set(idle_timer, (int64_t)node_conf()->idle * 1000);
	if (in_ms == 0)
		node_start();
	else
		timer_set(timer, in_ms);
}

static void
node_give_back(enum node_state next)
{
	state = NODE_RELEASING;
	after = next;
	evtimer_del(idle_timer);
	msg_put(child_link(PROC_SESSION), MSG_NODE_STOP, NULL, 0);
	timer_set(timer, STOP_MS);
}

void
node_session_up(void)
{
	if (state == NODE_RELEASING)
		node_stopped(NULL, NULL);
	else if (state == NODE_WANTED || state == NODE_UP)
		node_start();
}

/*
 * What the next start asks for: a hint, which nobody waits for, and which is
 * left out while the store has much to do.
 */
static void
node_store(int valid)
{
	struct msglink *l = child_link(PROC_STORE);
	struct msg_store_node m;

	if (l != NULL && msglink_full(l))
		return;
	memset(&m, 0, sizeof(m));
	m.rec.valid = (uint32_t)valid;
	m.rec.v4 = held.v4;
	m.rec.until = now_wall() + (until_ms - now_ms()) / 1000;
	msg_put(l, MSG_STORE_NODE, &m, sizeof(m));
}

void
node_store_up(void)
{
	if (state == NODE_UP)
		node_store(1);
}

static void
node_event(uint32_t kind, const char *why)
{
	struct plane_dev dev;
	struct msg_event m;

	(void)node_dev(&dev);
	memset(&m, 0, sizeof(m));
	m.event = kind;
	m.mtu = dev.mtu;
	m.lifetime = held.lifetime;
	m.v4 = held.v4;
	m.v6 = held.v6;
	m.tep4 = held.tep4;
	m.tep6 = held.tep6;
	strlcpy(m.ifname, node_conf()->ifname, sizeof(m.ifname));
	strlcpy(m.why, why, sizeof(m.why));
	event_send(&m);
}

/* The lease is over: the host must not use its address. */
static void
node_unconfigure(uint32_t kind, const char *why)
{
	evtimer_del(timer);
	if (!holding)
		return;
	log_info("IPv4 %s is gone from %s: %s", log_in(held.v4),
	    node_conf()->ifname, why);
	holding = 0;
	node_event(kind, why);
	host_unconfigure();
	state = NODE_WANTED;
	node_wait();
}

static void
node_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	switch (state) {
	case NODE_UP:
		node_unconfigure(EVENT_LOST, "the lease ran out without a renewal");
		break;
	case NODE_RELEASING:
		if (holding)
			log_warnx("the server does not answer: its lease of "
			    "%s will run out by itself", log_in(held.v4));
		node_stopped(NULL, NULL);
		break;
	case NODE_WANTED:
		node_wait();
		node_start();
		break;
	case NODE_IDLE:
		node_wait();
		break;
	case NODE_OFF:
		break;
	}
}

/* Timers slept as well, but the lease ran on. */
static void
node_resumed(void)
{
	if (state == NODE_UP)
		timer_set(timer, until_ms - now_ms());
	if (evtimer_pending(idle_timer, NULL))
		timer_set(idle_timer, 0);
}

/*
 * The outer address. The connection from one that is gone would hang for
 * minutes; and when one comes, it is the time to call.
 */
static void
addr_changed(evutil_socket_t fd, short what, void *arg)
{
	const struct pconn *c = NULL;
	struct msg_conn m;
	uint32_t id = 0;

	(void)fd;
	(void)what;
	(void)arg;
	if (state != NODE_WANTED && state != NODE_UP)
		return;
	while ((c = conn_next(id)) != NULL && c->kind != CONN_TO_SERVER)
		id = c->ref.id + 1;
	if (c != NULL && netlink_has_addr6(&c->local))
		return;
	if (c != NULL) {
		log_info("%s is not on this host any more: the server is "
		    "called anew", log_in6(&c->local));
		memset(&m, 0, sizeof(m));
		m.conn = c->ref;
		msg_put(child_link(PROC_SESSION), MSG_CONN_CLOSE, &m,
		    sizeof(m));
	}
	node_start();
}

static void
addr_read(evutil_socket_t fd, short what, void *arg)
{
	(void)what;
	(void)arg;
	netlink_watch_empty((int)fd);
	if (!evtimer_pending(addr_timer, NULL))
		timer_set(addr_timer, ADDR_MS);
}

static void
watch_addrs(void)
{
	int fd;

	if ((fd = netlink_watch_addr6()) == -1) {
		log_warn("changes of this host's addresses are not seen");
		return;
	}
	addr_timer = evtimer_new(priv.base, addr_changed, NULL);
	addr_event = event_new(priv.base, fd, EV_READ | EV_PERSIST, addr_read,
	    NULL);
	if (addr_timer == NULL || addr_event == NULL ||
	    event_add(addr_event, NULL) == -1)
		fatalx("event_new");
}

/*
 * On demand
 */
static void
node_idle(evutil_socket_t fd, short what, void *arg)
{
	int64_t idle = node_conf()->idle;
	int64_t left = used_ms + idle * 1000 - now_ms();

	(void)fd;
	(void)what;
	(void)arg;
	if (state != NODE_WANTED && state != NODE_UP)
		return;
	if (left > 0) {
		timer_set(idle_timer, left);
		return;
	}
	log_info("no packet for %lld s: %s", (long long)idle,
	    holding ? "the lease is given back" : "no lease is asked for");
	node_give_back(NODE_IDLE);
}

/* The host sends. That is all which is believed of the tunnel process. */
void
node_used(struct msglink *l, struct msg *m)
{
	(void)l;
	(void)m;
	if (node_conf()->idle == 0)
		return;
	used_ms = now_ms();
	if (state == NODE_IDLE) {
		log_info("a packet for %s: a lease is asked for",
		    node_conf()->ifname);
		node_want(0);
	} else if (state == NODE_RELEASING && after == NODE_IDLE)
		after = NODE_WANTED;
}

/*
 * What session says
 */

/* From the server that this connection was proved to be, and sane? */
static int
lease_believable(const struct msg_node_lease *l)
{
	const struct pconn *c = conn_find(l->conn);

	return (c != NULL && c->kind == CONN_TO_SERVER && c->authenticated &&
	    IN6_ARE_ADDR_EQUAL(&c->local, &l->v6) && l->lifetime > 0 &&
	    in_usable(l->v4) && in_usable(l->tep4) && in6_usable(&l->tep6) &&
	    !IN6_ARE_ADDR_EQUAL(&l->v6, &l->tep6) &&
	    l->v4.s_addr != l->tep4.s_addr);
}

static void
node_watch(const struct msg_node_lease *ml)
{
	int known = IN6_ARE_ADDR_EQUAL(&answered, &ml->tep6);

	life = known ? TEP_ANSWERS : TEP_UNKNOWN;
	if (node_conf()->keepalive != 0)
		host_keepalive(ml, known);
}

static int
node_configure(const struct msg_node_lease *ml)
{
	struct plane_dev dev;

	if (host_configure(ml, until_ms) == -1)
		return (-1);
	evtimer_del(left_timer);
	state = NODE_UP;
	holding = 1;
	renewals = 0;
	node_watch(ml);
	since = now_wall();
	(void)node_dev(&dev);
	log_info("IPv4 %s on %s for %u s, TEP %s, MTU %u", log_in(ml->v4),
	    dev.ifname, ml->lifetime, log_in6(&ml->tep6), dev.mtu);
	return (0);
}

/*
 * An interface costs the kernel milliseconds: a session that was taken over
 * (or a server) may make us change it so many times at once, then one a second.
 */
#define CHANGES		10

static int
too_many_changes(void)
{
	int64_t now = now_ms();

	if (paid_ms < now)
		paid_ms = now;
	if (paid_ms - now > (CHANGES - 1) * 1000)
		return (1);
	paid_ms += 1000;
	return (0);
}

void
node_lease(struct msglink *l, struct msg *m)
{
	struct msg_node_lease ml;
	uint32_t kind = 0;

	memcpy(&ml, m->data, sizeof(ml));
	if (state != NODE_WANTED && state != NODE_UP)
		return;
	if (!lease_believable(&ml)) {
		log_doubt(PROC_SESSION, "session: a lease that can not be: %s "
		    "by TEP %s", log_in(ml.v4), log_in6(&ml.tep6));
		return;
	}
	if (state == NODE_UP && (held.v4.s_addr != ml.v4.s_addr ||
	    !IN6_ARE_ADDR_EQUAL(&held.v6, &ml.v6) ||
	    !IN6_ARE_ADDR_EQUAL(&held.tep6, &ml.tep6)))
		node_unconfigure(EVENT_LOST, "the server gave another lease");
	until_ms = now_ms() + (int64_t)ml.lifetime * 1000;
	if (state == NODE_UP) {
		host_renew(&ml, until_ms);
		if (held.tep4.s_addr != ml.tep4.s_addr)
			node_watch(&ml);
		else if (life == TEP_SILENT) {
			life = TEP_RENEWED;
			host_keepalive(&ml, 1);
		}
		renewals++;
		log_info("IPv4 %s renewed for %u s", log_in(ml.v4),
		    ml.lifetime);
		if (held.lifetime != ml.lifetime ||
		    held.tep4.s_addr != ml.tep4.s_addr)
			kind = EVENT_RENEWED;
	} else if (too_many_changes()) {
		node_error("its leases change too often");
		msg_put(l, MSG_NODE_STOP, NULL, 0);
		timer_set(timer, RETRY_MS);
		return;
	} else if (node_configure(&ml) == -1) {
		node_error("this host refused the address: see the log");
		msg_put(l, MSG_NODE_STOP, NULL, 0);
		timer_set(timer, RETRY_MS);
		return;
	} else
		kind = EVENT_UP;
	held = ml;
	has_hint = 1;
	hint = ml.v4;
	timer_set(timer, until_ms - now_ms());
	node_store(1);
	if (kind != 0)
		node_event(kind, "");
}

void
node_delete(struct msglink *l, struct msg *m)
{
	struct msg_node_delete md;
	const struct pconn *c;

	(void)l;
	memcpy(&md, m->data, sizeof(md));
	c = conn_find(md.conn);
	if (c == NULL || c->kind != CONN_TO_SERVER || !c->authenticated ||
	    state != NODE_UP || md.v4.s_addr != held.v4.s_addr)
		return;
	node_unconfigure(EVENT_LOST, "the server took it back");
}

/*
 * Dead peer detection. A TEP that has answered and does not any more may have
 * lost the lease, or be gone. A renewal makes the server tell it again; while
 * the server is not there either, nothing is known, and the lease is kept.
 * When that was of no use the lease is given back, since another one may be
 * at a TEP that lives.
 */
static void
tep_silent(void)
{
	char text[NODE_TEXT];

	snprintf(text, sizeof(text), "TEP %s does not answer",
	    log_in6(&held.tep6));
	node_error(text);
	if (life != TEP_RENEWED) {
		log_warnx("%s: the server is asked", text);
		life = TEP_SILENT;
		node_start();
		return;
	}
	if (pause_ms == 0)
		pause_ms = PAUSE_MIN;
	else if ((pause_ms *= 2) > PAUSE_MAX)
		pause_ms = PAUSE_MAX;
	log_warnx("%s: the lease of %s is given back, another is asked for "
	    "in %lld s", text, log_in(held.v4), (long long)pause_ms / 1000);
	deserted = 1;
	has_hint = 0;
	node_give_back(NODE_WANTED);
}

/*
 * A liar gains no more than by losing our packets, which it can as well. It
 * takes a TEP an interval at least to be silent, so no more often is it
 * believed, or the server would be asked, and session told, without end.
 */
void
node_peer(struct msglink *l, struct msg *m)
{
	struct msg_tunnel_peer mp;

	(void)l;
	memcpy(&mp, m->data, sizeof(mp));
	if (mp.dev != NODE_DEV || state != NODE_UP ||
	    node_conf()->keepalive == 0)
		return;
	if (!mp.alive) {
		if (silent_ms != 0 && now_ms() - silent_ms <
		    (int64_t)node_conf()->keepalive * 1000)
			return;
		silent_ms = now_ms();
		tep_silent();
		return;
	}
	if (life == TEP_SILENT || life == TEP_RENEWED)
		log_info("TEP %s answers again", log_in6(&held.tep6));
	life = TEP_ANSWERS;
	answered = held.tep6;
	pause_ms = 0;
}

/*
 * An unsolicited allocation is no more than a hint: the lease is got by our
 * own request for that address, from the server as we know it. NULL: it is
 * taken, else why not.
 */
static const char *
offer_take(struct in_addr v4)
{
	if (!node_conf()->offers)
		return ("the configuration takes none");
	if (!in_usable(v4))
		return ("not an address for a node");
	if (state != NODE_IDLE && state != NODE_WANTED)
		return (state == NODE_UP ? "a lease is held already" :
		    "this node is down");
	has_hint = 1;
	hint = v4;
	if (state == NODE_IDLE)
		node_want(0);
	else
		node_start();
	return (NULL);
}

static int
node_offered(struct in_addr v4, const struct in6_addr *by)
{
	const char *why;

	if (state == NODE_UP && held.v4.s_addr == v4.s_addr)
		return (0);
	why = offer_take(v4);
	log_peer("server %s offers %s: %s", log_in6(by), log_in(v4),
	    why == NULL ? "taken" : why);
	return (why == NULL ? 0 : -1);
}

/* On the connection that we keep. */
void
node_offer(struct msglink *l, struct msg *m)
{
	struct msg_node_delete mo;
	const struct pconn *c;

	memcpy(&mo, m->data, sizeof(mo));
	c = conn_find(mo.conn);
	if (c == NULL || c->kind != CONN_TO_SERVER || !c->authenticated)
		return;
	if (node_offered(mo.v4, &c->peer) == -1)
		msg_put(l, MSG_NODE_REJECT, &mo, sizeof(mo));
}

/* A delete in a call: 308 where it is not about the lease that we hold. */
static uint32_t
call_delete(const struct pconn *c, const struct msg_lease_request *req)
{
	struct msg_node_delete m;

	if (state != NODE_UP || req->v4.s_addr != held.v4.s_addr ||
	    !IN6_ARE_ADDR_EQUAL(&req->v6, &held.v6))
		return (STATUS_UNAVAILABLE);
	log_peer("server %s calls: %s is taken back", log_in6(&c->peer),
	    log_in(req->v4));
	memset(&m, 0, sizeof(m));
	m.conn = c->ref;
	m.v4 = req->v4;
	node_unconfigure(EVENT_LOST, "the server took it back");
	msg_put(child_link(PROC_SESSION), MSG_NODE_TAKEN, &m, sizeof(m));
	return (STATUS_OK);
}

void
node_call(const struct pconn *c, const struct msg_lease_request *req)
{
	struct msg_lease_reply body;
	uint32_t status = STATUS_FORMAT;

	if (req->op == OP_DELETE)
		status = call_delete(c, req);
	else if (req->op == OP_CREATE && IN6_ARE_ADDR_EQUAL(&req->v6,
	    &c->local))
		status = node_offered(req->v4, &c->peer) == 0 ? STATUS_OK :
		    STATUS_UNAVAILABLE;
	else if (req->op == OP_CREATE)
		status = STATUS_IPV6;
	memset(&body, 0, sizeof(body));
	body.v4 = req->v4;
	body.v6 = req->v6;
	server_reply(req, status, &body);
}

void
node_note(struct msglink *l, struct msg *m)
{
	(void)l;
	memcpy(&note, m->data, sizeof(note));
	note.text[sizeof(note.text) - 1] = '\0';
	note_ms = now_ms();
	if (note.text[0] != '\0')
		node_error(note.text);
}

void
node_stopped(struct msglink *l, struct msg *m)
{
	int64_t wait;

	(void)l;
	(void)m;
	if (state != NODE_RELEASING)
		return;
	if (after == NODE_OFF && holding)
		node_store(0);
	wait = deserted ? pause_ms : 0;
	if (deserted)
		node_unconfigure(EVENT_LOST, "the TEP does not answer");
	else
		node_unconfigure(EVENT_DOWN, "given back");
	deserted = 0;
	state = after;
	if (state == NODE_OFF) {
		host_close();
		return;
	}
	node_wait();
	if (state == NODE_WANTED)
		node_want(wait);
}

/*
 * What the operator says
 */
const char *
node_up(void)
{
	if (state == NODE_RELEASING)
		after = NODE_WANTED;
	if (state == NODE_OFF || state == NODE_IDLE) {
		node_wait();
		node_want(0);
	} else if (state == NODE_WANTED)
		node_start();
	return (NULL);
}

const char *
node_renew(void)
{
	if (state != NODE_UP)
		return ("no lease is held");
	node_start();
	return (NULL);
}

const char *
node_down(void)
{
	if (state == NODE_IDLE) {
		host_close();
		evtimer_del(timer);
		state = NODE_OFF;
	} else if (state != NODE_OFF)
		node_give_back(NODE_OFF);
	return (NULL);
}

/* The end of the daemon: the lease stays ours at the server, for a restart. */
void
node_end(void)
{
	if ((priv.conf->roles & ROLE_NODE) == 0)
		return;
	node_unconfigure(EVENT_DOWN, "dstmd ends");
	host_close();
	event_free(timer);
	event_free(idle_timer);
	event_free(left_timer);
	if (addr_event != NULL) {
		event_free(addr_event);
		event_free(addr_timer);
	}
	state = NODE_OFF;
}

void
node_gone(void)
{
	struct plane_dev dev;

	/* The tunnel process may have been taken over: the kernel knows. */
	if (!node_dev(&dev) || priv.plane->exists(NODE_DEV))
		return;
	log_warnx("somebody has removed the interface %s", dev.ifname);
	host_close();
	if (state == NODE_UP)
		node_unconfigure(EVENT_LOST, "its interface is gone");
	if (state == NODE_WANTED || state == NODE_IDLE)
		timer_set(timer, GONE_MS);
}

int
node_row(struct msg_ctl_lease *row)
{
	if (!holding)
		return (0);
	memset(row, 0, sizeof(*row));
	row->v4 = held.v4;
	row->v6 = held.v6;
	row->tep4 = held.tep4;
	row->tep6 = held.tep6;
	row->state = state == NODE_UP ? CTL_BOUND : CTL_CLOSING;
	row->role = ROLE_NODE;
	row->mech = node_conf()->mech;
	row->renewals = renewals;
	row->since = since;
	row->remains = (until_ms - now_ms()) / 1000;
	strlcpy(row->name, row->mech == MECH_ANONYMOUS ? "anonymous" :
	    node_conf()->login.name, sizeof(row->name));
	return (1);
}

/* Of what session noted, what it may be: times pass meanwhile. */
static void
status_note(struct msg_ctl_node *row)
{
	const struct conf_node *conf = node_conf();
	int64_t passed = now_ms() - note_ms;

	if (note_ms == 0 || note.server >= conf->nservers)
		return;
	row->server = conf->servers[note.server].addr;
	if ((state == NODE_WANTED || state == NODE_UP) &&
	    note.next_ms >= passed)
		row->next = (note.next_ms - passed) / 1000;
}

void
node_status(struct msg_ctl_node *row)
{
	static const uint32_t states[] = {
		[NODE_OFF] = CTL_NODE_DOWN, [NODE_IDLE] = CTL_NODE_IDLE,
		[NODE_WANTED] = CTL_NODE_ASKING, [NODE_UP] = CTL_NODE_BOUND,
		[NODE_RELEASING] = CTL_NODE_RELEASING,
	};
	static const uint32_t lives[] = {
		[TEP_UNKNOWN] = CTL_TEP_UNKNOWN,
		[TEP_ANSWERS] = CTL_TEP_ANSWERS,
		[TEP_SILENT] = CTL_TEP_SILENT, [TEP_RENEWED] = CTL_TEP_SILENT,
	};
	struct plane_dev dev;

	memset(row, 0, sizeof(*row));
	row->state = states[state];
	row->idle = node_conf()->idle;
	row->remains = row->next = row->unused = row->error_age = -1;
	strlcpy(row->ifname, node_conf()->ifname, sizeof(row->ifname));
	if (node_dev(&dev))
		row->mtu = dev.mtu;
	if (holding) {
		row->v4 = held.v4;
		row->v6 = held.v6;
		row->tep4 = held.tep4;
		row->tep6 = held.tep6;
		row->renewals = renewals;
		row->since = since;
		row->remains = (until_ms - now_ms()) / 1000;
		row->life = lives[life];
		if (node_conf()->keepalive == 0)
			row->life = CTL_TEP_UNWATCHED;
	}
	if (row->idle != 0 && used_ms != 0)
		row->unused = (now_ms() - used_ms) / 1000;
	status_note(row);
	if (error[0] != '\0') {
		strlcpy(row->error, error, sizeof(row->error));
		row->error_age = (now_ms() - error_ms) / 1000;
	}
}
