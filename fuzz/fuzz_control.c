/*
 * The control protocol: clients of the control socket, who are root, and may
 * be an old dstmctl(8), or one that is killed. Their messages come as msg.c
 * would give them, of the right size; the tunnel process answers late.
 */
/* COVERS: priv/control.c priv/lease-show.c */
/* LINK: regress/unit/parent.o priv/call.o priv/conf.o priv/conf-print.o priv/conn.o priv/control.o priv/lease.o priv/lease-act.o priv/lease-owner.o priv/lease-pool.o priv/lease-show.o priv/lex.o priv/node.o priv/offer.o priv/parse.o priv/rules.o priv/server.o priv/store.o priv/tep.o priv/value.o dstmd/addr.o dstmd/mech.o */
/* LIBS: -lcmocka */
#include <sys/types.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "fuzz/fuzz.h"
#include "regress/unit/parent.h"

#define CLIENTS	18		/* more than there are places */
#define STEPS	200

enum { CONNECT, CLOSE, ASK, DRAIN, PAGE, LEASE, NOP };

struct msglink {		/* in place of msg.c's */
	int			 used, server, client;
	const struct msg_rule	*rules;
	size_t			 nrules;
	void			(*closed)(struct msglink *, const char *);
	void			(*drained)(struct msglink *);
	void			*arg;
	unsigned int		 asked, ended;
};

struct listing {
	plane_page_cb	 page;
	plane_entry_cb	 entry;
	void		*arg;
};

static struct msglink	 links[CLIENTS], *newest;
static struct listing	 listings[CLIENTS];
static unsigned int	 nlistings;
static struct plane	 plane;
static char		 dir[64];

/*
 * Links
 */

struct msglink *
msglink_new(struct event_base *base, int fd, enum proc_id peer,
    const struct msg_rule *rules, size_t nrules,
    void (*closed)(struct msglink *, const char *), void *arg)
{
	struct msglink *l;

	(void)base;
	MUST(peer == PROC_CONTROL);
	for (l = links; l->used; l++)
		MUST(l < links + CLIENTS - 1);
	memset(l, 0, sizeof(*l));
	l->used = 1;
	l->server = fd;
	l->client = -1;
	l->rules = rules;
	l->nrules = nrules;
	l->closed = closed;
	l->arg = arg;
	newest = l;
	return (l);
}

void
msglink_free(struct msglink *l)
{
	if (l == NULL)
		return;
	MUST(l->used);
	close(l->server);
	if (l->client != -1)
		close(l->client);
	l->used = 0;
}

void *
msglink_arg(const struct msglink *l)
{
	return (l->arg);
}

/* What is said to a client: rows of a request, and one end of it. */
static void
heard(struct msglink *l, uint32_t type, const void *data, size_t size)
{
	struct msg_ctl_end end;

	if (type < MSG_CTL_SHOW)
		return;
	MUST(l != NULL && l->used);
	MUST(l->asked > l->ended);
	if (type != MSG_CTL_END)
		return;
	MUST(size == sizeof(end));
	memcpy(&end, data, sizeof(end));
	MUST(memchr(end.text, '\0', sizeof(end.text)) != NULL);
	MUST(end.ok || end.text[0] != '\0');
	l->ended++;
}

/*
 * What else control.c asks
 */

int
child_info(enum proc_id id, struct msg_ctl_process *row)
{
	memset(row, 0, sizeof(*row));
	row->proc = id;
	return (id % 2);
}

void
child_set_verbose(int verbose)
{
	(void)verbose;
}

static void
plane_list(uint32_t dev, uint32_t slot, uint32_t max, plane_entry_cb entry,
    plane_page_cb page, void *arg)
{
	(void)dev;
	(void)slot;
	(void)max;
	if (nlistings == CLIENTS) {
		page(NULL, arg);	/* it is not there */
		return;
	}
	listings[nlistings++] = (struct listing){ page, entry, arg };
}

static void
plane_answers(struct input *in)
{
	struct msg_tunnel_entry e;
	struct msg_tunnel_stats st;
	struct listing l;
	uint32_t how = input_number(in, 1);

	if (nlistings == 0)
		return;
	l = listings[0];
	memmove(listings, listings + 1, --nlistings * sizeof(l));
	memset(&e, 0, sizeof(e));
	memset(&st, 0, sizeof(st));
	st.next = how & 1;
	if (how & 2)
		l.entry(&e, l.arg);
	l.page(how & 4 ? NULL : &st, l.arg);
}

/*
 * Clients
 */

static void
client_connect(void)
{
	struct sockaddr_un sun;
	int fd;

	memset(&sun, 0, sizeof(sun));
	sun.sun_family = AF_UNIX;
	strlcpy(sun.sun_path, priv.conf->control, sizeof(sun.sun_path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	MUST(fd != -1);
	MUST(connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0);
	newest = NULL;
	event_base_loop(priv.base, EVLOOP_NONBLOCK);
	if (newest != NULL) {
		newest->client = fd;
		newest->drained = pw.drained;
	} else
		close(fd);		/* refused: too many */
}

static void
client_asks(struct input *in, struct msglink *l)
{
	const struct msg_rule *r = &l->rules[input_number(in, 1) % l->nrules];
	uint64_t buf[64];
	uint8_t *piece;
	struct msg m;
	size_t n;

	MUST(r->size <= sizeof(buf));
	memset(buf, 0, sizeof(buf));
	piece = input_piece(in, &n);
	memcpy(buf, piece, n < sizeof(buf) ? n : sizeof(buf));
	free(piece);
	memset(&m, 0, sizeof(m));
	m.type = r->type;
	m.data = buf;
	m.fd = -1;
	l->asked++;
	r->handler(l, &m);
}

/* Somebody has a lease, so that there are rows. */
static void
lease(uint32_t n)
{
	struct msg_conn_open mo;
	struct msg_auth_verdict mv;
	struct msg_lease_request mr;
	struct msg_store_done md;

	memset(&mo, 0, sizeof(mo));
	memset(&mv, 0, sizeof(mv));
	memset(&mr, 0, sizeof(mr));
	memset(&md, 0, sizeof(md));
	mo.conn.id = n % NSLOT;
	mo.conn.gen = pw.said[mo.conn.id].tried + 1;
	pw.sock_peer = pw.nodes[n % NADDR];
	pw.sock_local = pw.here[0];
	say(PROC_SESSION, MSG_CONN_OPEN, &mo, -1);
	mv.conn = mr.conn = mo.conn;
	mv.side = AUTH_SERVER;
	mv.mech = MECH_SCRAM_SHA_256;
	mv.mutual = 1;
	strlcpy(mv.name, "alice", sizeof(mv.name));
	say(PROC_AUTH, MSG_AUTH_VERDICT, &mv, -1);
	mr.op = OP_CREATE;
	mr.v6 = pw.sock_peer;
	say(PROC_SESSION, MSG_LEASE_REQUEST, &mr, -1);
	md.seq = pw.put_seq;
	say(PROC_STORE, MSG_STORE_DONE, &md, -1);
}

static void
clean(void)
{
	unlink(priv.conf->control);
	rmdir(dir);
}

void
fuzz_init(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(dir, sizeof(dir), "%.40s/fuzz.XXXXXX",
	    tmp != NULL ? tmp : "/tmp");
	if (mkdtemp(dir) == NULL || atexit(clean) != 0)
		abort();
	parent_start();
	snprintf(priv.conf->control, sizeof(priv.conf->control), "%s/control",
	    dir);
	plane = *priv.plane;
	plane.list = plane_list;
	priv.plane = &plane;
	pw.heard = heard;
	control_open();
	control_start();
}

void
fuzz_one(const uint8_t *buf, size_t len)
{
	struct input in = { buf, len };
	struct msglink *l;
	uint32_t op;
	int i;

	for (i = 0; in.n > 0 && i < STEPS; i++) {
		op = input_number(&in, 1);
		l = &links[op / NOP % CLIENTS];
		switch (op % NOP) {
		case CONNECT:
			client_connect();
			break;
		case CLOSE:
			if (l->used)
				l->closed(l, op & 0x80 ? "broken" : NULL);
			break;
		case ASK:
			if (l->used)
				client_asks(&in, l);
			break;
		case DRAIN:
			parent_full(op >> 7);
			if (l->used && !pw.full && l->drained != NULL)
				l->drained(l);
			break;
		case PAGE:
			plane_answers(&in);
			break;
		case LEASE:
			lease(op / NOP);
			break;
		}
	}
	parent_full(0);
	for (l = links; l < links + CLIENTS; l++)
		if (l->used)
			l->closed(l, NULL);
	while (nlistings > 0)
		plane_answers(&in);
	event_base_loop(priv.base, EVLOOP_NONBLOCK);
	parent_check();
	conn_drop_all();
	session_anew();
	server_pump();
}
