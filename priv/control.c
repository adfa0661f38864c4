/*
 * The control socket, dstmctl(8): root alone may use it. Requests are fixed
 * structs, checked by a table like any process's. Rows are made while the
 * client takes them: a slow one waits in its own socket, not in our memory.
 */
#include <sys/types.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "priv/priv.h"

#define CONTROL_MAX	16
#define PAGE		128		/* tunnel entries at a time */
#define ACCEPT_PAUSE	1000		/* ms, while descriptors are short */

struct control {
	struct msglink	*link;		/* NULL: the slot is free */
	uint32_t	 gen;
	uint32_t	 show;		/* 0: no request under way */
	int		 waiting;	/* for the tunnel process */
	struct in_addr	 after;		/* leases */
	uint32_t	 part, next;	/* where the walk is */
	uint32_t	 pages;		/* of a device */
};

static struct control	 controls[CONTROL_MAX];
static struct event	*accept_event, *accept_again;
static int		 control_fd = -1;

static void	 control_show(struct msglink *, struct msg *);
static void	 control_release(struct msglink *, struct msg *);
static void	 control_verbose(struct msglink *, struct msg *);
static void	 control_drain(struct msglink *, struct msg *);
static void	 control_order(struct msglink *, struct msg *);
static void	 control_allocate(struct msglink *, struct msg *);
static void	 control_walk(struct control *);

static const struct msg_rule control_rules[] = {
	{ MSG_CTL_SHOW, MSG_FROM(PROC_CONTROL), sizeof(struct msg_ctl_show),
	    0, 0, control_show },
	{ MSG_CTL_RELEASE, MSG_FROM(PROC_CONTROL),
	    sizeof(struct msg_ctl_release), 0, 0, control_release },
	{ MSG_CTL_VERBOSE, MSG_FROM(PROC_CONTROL), sizeof(struct msg_verbose),
	    0, 0, control_verbose },
	{ MSG_CTL_DRAIN, MSG_FROM(PROC_CONTROL), sizeof(struct msg_ctl_drain),
	    0, 0, control_drain },
	{ MSG_CTL_ORDER, MSG_FROM(PROC_CONTROL), sizeof(struct msg_ctl_order),
	    0, 0, control_order },
	{ MSG_CTL_ALLOCATE, MSG_FROM(PROC_CONTROL),
	    sizeof(struct msg_ctl_allocate), 0, 0, control_allocate },
};

static void
control_say(struct control *c, int ok, const char *text)
{
	struct msg_ctl_end m;

	memset(&m, 0, sizeof(m));
	m.ok = (uint32_t)ok;
	strlcpy(m.text, text, sizeof(m.text));
	c->show = 0;
	msg_put(c->link, MSG_CTL_END, &m, sizeof(m));
}

static void
control_end(struct control *c, const char *error)
{
	control_say(c, error == NULL, error != NULL ? error : "");
}

static void
control_closed(struct msglink *l, const char *reason)
{
	struct control *c = msglink_arg(l);

	if (reason != NULL)
		log_warnx("control: %s", reason);
	msglink_free(l);
	c->link = NULL;
	c->show = 0;
}

static void
control_drained(struct msglink *l)
{
	control_walk(msglink_arg(l));
}

static void
control_accept(evutil_socket_t fd, short what, void *arg)
{
	struct control *c;
	uid_t uid;
	gid_t gid;
	int i, s;

	(void)what;
	(void)arg;
	s = accept4((int)fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (s == -1) {
		if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
			return;
		/* It still waits, and would be tried again at once. */
		log_warn("control: cannot accept dstmctl: trying again in "
		    "%d ms", ACCEPT_PAUSE);
		event_del(accept_event);
		timer_set(accept_again, ACCEPT_PAUSE);
		return;
	}
	if (getpeereid(s, &uid, &gid) == -1 || uid != 0) {
		log_warnx("control: refused a user that is not root");
		close(s);
		return;
	}
	for (i = 0; i < CONTROL_MAX && controls[i].link != NULL; i++)
		;
	if (i == CONTROL_MAX) {
		log_warnx("control: %d clients already", CONTROL_MAX);
		close(s);
		return;
	}
	c = &controls[i];
	c->gen++;
	c->show = 0;
	c->waiting = 0;
	c->link = msglink_new(priv.base, s, PROC_CONTROL, control_rules,
	    sizeof(control_rules) / sizeof(control_rules[0]), control_closed, c);
	msglink_on_drained(c->link, control_drained);
}

static void
control_resume(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	if (event_add(accept_event, NULL) == -1)
		fatalx("event_add");
}

/* Another daemon's socket is not ours to replace; a dead one's is. */
static void
control_unlink_stale(const struct sockaddr_un *sun)
{
	int fd;

	if ((fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) == -1)
		fatal("socket");
	if (connect(fd, (const struct sockaddr *)sun, sizeof(*sun)) == 0)
		fatalx("%s: a daemon answers there: it runs already",
		    sun->sun_path);
	if (errno == ECONNREFUSED)
		unlink(sun->sun_path);
	close(fd);
}

void
control_open(void)
{
	struct sockaddr_un sun;
	mode_t old;

	memset(&sun, 0, sizeof(sun));
	sun.sun_family = AF_UNIX;
	if (strlcpy(sun.sun_path, priv.conf->control, sizeof(sun.sun_path)) >=
	    sizeof(sun.sun_path))
		fatalx("%s: too long for a socket", priv.conf->control);
	control_unlink_stale(&sun);
	control_fd = socket(AF_UNIX,
	    SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (control_fd == -1)
		fatal("socket");
	old = umask(0177);
	if (bind(control_fd, (struct sockaddr *)&sun, sizeof(sun)) == -1)
		fatal("%s", sun.sun_path);
	umask(old);
	if (listen(control_fd, CONTROL_MAX) == -1)
		fatal("listen on %s", sun.sun_path);
}

void
control_start(void)
{
	accept_event = event_new(priv.base, control_fd, EV_READ | EV_PERSIST,
	    control_accept, NULL);
	accept_again = evtimer_new(priv.base, control_resume, NULL);
	if (accept_event == NULL || accept_again == NULL ||
	    event_add(accept_event, NULL) == -1)
		fatalx("event_add");
}

void
control_stop(void)
{
	int i;

	event_free(accept_event);
	event_free(accept_again);
	close(control_fd);
	unlink(priv.conf->control);
	for (i = 0; i < CONTROL_MAX; i++) {
		msglink_free(controls[i].link);
		controls[i].link = NULL;
	}
}

/*
 * Rows: each function sends the next one and tells whether there was one.
 */
static int
row_engine_lease(struct control *c)
{
	const struct lease_engine *e = server_engine();
	struct msg_ctl_lease row;
	struct lease_info li;

	if (e == NULL || !lease_walk(e, now_ms(), c->after, &li))
		return (0);
	memset(&row, 0, sizeof(row));
	row.v4 = li.v4;
	row.v6 = li.owner.v6;
	row.tep4 = li.tep4;
	row.tep6 = li.tep6;
	row.state = li.state;
	row.role = ROLE_SERVER;
	row.mech = li.owner.mech;
	row.renewals = li.renewals;
	row.since = li.since;
	row.remains = li.remains_ms / 1000;
	strlcpy(row.name, li.owner.name, sizeof(row.name));
	strlcpy(row.pool, priv.conf->pools[li.pool].name, sizeof(row.pool));
	strlcpy(row.tep, priv.conf->teps[li.tep].name, sizeof(row.tep));
	c->after = li.v4;
	msg_put(c->link, MSG_CTL_LEASE, &row, sizeof(row));
	return (1);
}

static int
row_lease(struct control *c)
{
	struct msg_ctl_lease row;
	int found = 0;

	if (c->part == 0) {
		if (row_engine_lease(c))
			return (1);
		c->part++;
		c->after.s_addr = 0;
	}
	if (c->part == 1) {
		if ((found = tep_walk(c->after, &row)))
			c->after = row.v4;
		else
			c->part++;
	}
	if (c->part == 2) {
		found = node_row(&row);
		c->part++;
	}
	if (found)
		msg_put(c->link, MSG_CTL_LEASE, &row, sizeof(row));
	return (found);
}

static int
row_pool(struct control *c)
{
	const struct conf *conf = priv.conf;
	struct lease_pool_stats st;
	struct msg_ctl_pool row;

	if (server_engine() == NULL || c->next >= conf->npools)
		return (0);
	lease_pool_stats(server_engine(), c->next, &st);
	memset(&row, 0, sizeof(row));
	row.size = st.size;
	row.free = st.free;
	row.bound = st.bound;
	row.reserved = st.reserved;
	row.closing = st.closing;
	row.quarantine = st.quarantine;
	row.granted = st.granted;
	row.exhausted = st.exhausted;
	row.drain = server_draining();
	strlcpy(row.name, conf->pools[c->next].name, sizeof(row.name));
	strlcpy(row.tep, conf->pools[c->next].tep_name, sizeof(row.tep));
	msg_put(c->link, MSG_CTL_POOL, &row, sizeof(row));
	c->next++;
	return (1);
}

static int
row_session(struct control *c)
{
	const struct pconn *p;
	struct msg_ctl_session row;

	if ((p = conn_next(c->next)) == NULL)
		return (0);
	memset(&row, 0, sizeof(row));
	row.conn = p->ref;
	row.kind = p->kind;
	row.mech = p->authenticated ? p->mech : 0;
	row.age = (now_ms() - p->since_ms) / 1000;
	row.peer = p->peer;
	row.port = p->port;
	if (server_engine() != NULL)
		row.leases = lease_conn_count(server_engine(), p->ref);
	strlcpy(row.name, p->name, sizeof(row.name));
	msg_put(c->link, MSG_CTL_SESSION, &row, sizeof(row));
	c->next = p->ref.id + 1;
	return (1);
}

static int
row_process(struct control *c)
{
	struct msg_ctl_process row;

	for (; c->next < PROC_CONTROL; c->next++)
		if (child_info((enum proc_id)c->next, &row)) {
			c->next++;
			msg_put(c->link, MSG_CTL_PROCESS, &row, sizeof(row));
			return (1);
		}
	return (0);
}

static int
row_node(struct control *c)
{
	struct msg_ctl_node row;

	if (c->next++ > 0)
		return (0);
	node_status(&row);
	msg_put(c->link, MSG_CTL_NODE, &row, sizeof(row));
	return (1);
}

/*
 * Tunnels: a device's heading with its drop counters, then its entries page
 * by page, as the plane gives them. The client may be gone by then: the
 * cookie names slot and generation.
 */
static void *
control_cookie(const struct control *c)
{
	return ((void *)(uintptr_t)(((uint64_t)c->gen << 8) |
	    (uint64_t)(c - controls)));
}

static struct control *
control_from(void *arg)
{
	uint64_t cookie = (uintptr_t)arg;
	struct control *c = &controls[cookie & 0xff];

	return (c->link != NULL && c->gen == (uint32_t)(cookie >> 8) ? c :
	    NULL);
}

/* The device at a number: 1, or 0 none there. */
static int
device_at(uint32_t dev, struct plane_dev *pd, const char **tep)
{
	*tep = "";
	if (dev == NODE_DEV)
		return (node_dev(pd));
	if (!tep_dev(dev, pd))
		return (0);
	*tep = priv.conf->teps[dev].name;
	return (1);
}

static void
tunnel_entry(const struct msg_tunnel_entry *e, void *arg)
{
	struct control *c = control_from(arg);

	if (c != NULL)
		msg_put(c->link, MSG_CTL_TUNNEL, e, sizeof(*e));
}

static void
tunnel_page(const struct msg_tunnel_stats *st, void *arg)
{
	struct control *c = control_from(arg);

	if (c == NULL)
		return;
	c->waiting = 0;
	if (st == NULL) {
		control_end(c, "the tunnel process does not answer");
		return;
	}
	/* Entries may come while it is read, but not so many. */
	if (++c->pages > 16 + st->entries / PAGE * 2) {
		control_end(c, "the tunnel process answers without end");
		return;
	}
	if ((c->next = st->next) == 0)
		c->part++;
	control_walk(c);
}

static void
tunnel_head(const struct msg_tunnel_stats *st, void *arg)
{
	struct control *c = control_from(arg);
	struct msg_ctl_dev row;
	struct plane_dev pd;
	const char *tep;

	if (c == NULL)
		return;
	c->waiting = 0;
	if (st == NULL || !device_at(c->part / 2, &pd, &tep)) {
		control_end(c, "the tunnel process does not answer");
		return;
	}
	memset(&row, 0, sizeof(row));
	row.dev = pd.dev;
	row.mtu = pd.mtu;
	row.is_node = (uint32_t)pd.is_node;
	row.entries = st->entries;
	row.local = pd.local;
	memcpy(row.drops, st->drops, sizeof(row.drops));
	strlcpy(row.plane, priv.plane->name, sizeof(row.plane));
	strlcpy(row.ifname, pd.ifname, sizeof(row.ifname));
	strlcpy(row.tep, tep, sizeof(row.tep));
	msg_put(c->link, MSG_CTL_DEV, &row, sizeof(row));
	c->part++;
	c->next = 0;
	c->pages = 0;
	control_walk(c);
}

/* part / 2 is the device; an even part is its heading. */
static int
row_tunnel(struct control *c)
{
	struct plane_dev pd;
	const char *tep;

	for (; c->part / 2 < TUNNEL_DEV_MAX; c->part += 2)
		if (device_at(c->part / 2, &pd, &tep))
			break;
	if (c->part / 2 >= TUNNEL_DEV_MAX)
		return (0);
	c->waiting = 1;
	if (c->part % 2 == 0)
		priv.plane->list(pd.dev, 0, 0, tunnel_entry, tunnel_head,
		    control_cookie(c));
	else
		priv.plane->list(pd.dev, c->next, PAGE, tunnel_entry,
		    tunnel_page, control_cookie(c));
	return (1);
}

static void
control_walk(struct control *c)
{
	static int (*const rows[])(struct control *) = {
		NULL, row_lease, row_pool, row_session, row_tunnel,
		row_process, row_node
	};

	while (c->link != NULL && c->show != 0 && !c->waiting &&
	    !msglink_full(c->link))
		if (!rows[c->show](c))
			control_end(c, NULL);
}

/*
 * Requests
 */
static void
control_show(struct msglink *l, struct msg *m)
{
	struct control *c = msglink_arg(l);
	struct msg_ctl_show ms;

	memcpy(&ms, m->data, sizeof(ms));
	if (c->show != 0 || ms.what < SHOW_LEASES ||
	    ms.what > SHOW_NODE) {
		control_end(c, "bad request");
		return;
	}
	if (ms.what == SHOW_NODE && (priv.conf->roles & ROLE_NODE) == 0) {
		control_end(c, "this daemon is no node");
		return;
	}
	c->show = ms.what;
	c->after.s_addr = 0;
	c->part = 0;
	c->next = 0;
	control_walk(c);
}

static void
control_release(struct msglink *l, struct msg *m)
{
	struct control *c = msglink_arg(l);
	struct msg_ctl_release mr;
	const char *error = NULL;

	memcpy(&mr, m->data, sizeof(mr));
	if (mr.v4.s_addr == 0 && (priv.conf->roles & ROLE_NODE))
		error = node_down();
	else if (mr.v4.s_addr == 0)
		error = "this daemon is no node: name the address to revoke";
	else if (server_engine() == NULL)
		error = "this daemon is no server: release takes no address";
	else if (lease_revoke(server_engine(), now_ms(), now_wall(),
	    mr.v4) == -1)
		error = "nobody holds that address";
	else
		log_info("%s revoked by the operator", log_in(mr.v4));
	server_pump();
	control_end(c, error);
}

static void
control_drain(struct msglink *l, struct msg *m)
{
	struct msg_ctl_drain md;
	const char *error = NULL;

	memcpy(&md, m->data, sizeof(md));
	if (server_engine() == NULL)
		error = "this daemon is no server: it leases nothing";
	else if (md.drain > DRAIN_ALL)
		error = "drain: of another version";
	else
		server_drain(md.drain);
	control_end(msglink_arg(l), error);
}

static void
control_order(struct msglink *l, struct msg *m)
{
	static const char *(*const orders[])(void) = {
		[ORDER_UP] = node_up, [ORDER_DOWN] = node_down,
		[ORDER_RENEW] = node_renew
	};
	struct msg_ctl_order mo;
	const char *why;

	memcpy(&mo, m->data, sizeof(mo));
	if ((priv.conf->roles & ROLE_NODE) == 0)
		why = "this daemon is no node";
	else if (mo.order > ORDER_RENEW)
		why = "order: of another version";
	else
		why = orders[mo.order]();
	control_end(msglink_arg(l), why);
}

static void
control_allocated(void *arg, int ok, const char *text)
{
	struct control *c = control_from(arg);

	if (c != NULL)
		control_say(c, ok, text);
}

static void
control_allocate(struct msglink *l, struct msg *m)
{
	struct control *c = msglink_arg(l);
	struct msg_ctl_allocate ma;
	const char *why = "this daemon is no server: it leases nothing";

	memcpy(&ma, m->data, sizeof(ma));
	ma.name[NAME_MAX_LEN] = '\0';
	if (server_engine() != NULL)
		why = offer_make(ma.name, &ma.v6, control_allocated,
		    control_cookie(c));
	if (why != NULL)
		control_end(c, why);
}

static void
control_verbose(struct msglink *l, struct msg *m)
{
	struct msg_verbose mv;

	memcpy(&mv, m->data, sizeof(mv));
	child_set_verbose(mv.verbose != 0);
	log_info("log %s", mv.verbose != 0 ? "verbose" : "brief");
	control_end(msglink_arg(l), NULL);
}
