/*
 * Messages between processes, as a process in foreign hands sends them: any
 * octets in any pieces, descriptors with any of them. The tables are a
 * receiver's own; what arrives must be what its row says.
 */
/* COVERS: dstmd/msg.c */
/* LINK: libdstmd.a */
#include <sys/types.h>
#include <sys/socket.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "dstmd/msg.h"
#include "fuzz/fuzz.h"

#define TURNS	4
#define TAIL	300
#define FDS	40	/* of one sendmsg, at most */

enum { OCTETS, MESSAGE, WITH_FD, MESSAGE_FD, NOP };

/*
 * From this number of a step on: what a process does that does not keep up,
 * and ours that speaks to it.
 */
#define LATE	245
enum { MANY, MANY_FDS, PUT, PUT_FD, READ, DEAF, PAUSE, RESUME, FLUSH };
#define BURST		300	/* messages at once, at most */
#define PUT_SIZE	16000

struct header {		/* of msg.c */
	uint32_t	 len, type, flags, zero;
};

static void	 on_message(struct msglink *, struct msg *);

static const struct msg_rule	 rules[] = {
	{ MSG_READY, MSG_FROM(PROC_SESSION), 0, 0, 0, on_message },
	{ MSG_CONN_CLOSE, MSG_FROM(PROC_SESSION), 8, 0, 0, on_message },
	{ MSG_AUTH_START, MSG_FROM(PROC_SESSION), 20, TAIL, 0, on_message },
	{ MSG_CONN_OPEN, MSG_FROM(PROC_SESSION), 40, 0, MSG_F_FD, on_message },
	{ MSG_DIALLED, MSG_FROM(PROC_SESSION), 12, 5, MSG_F_FD_OPT,
	    on_message },
	{ MSG_VERBOSE, MSG_FROM(PROC_AUTH), 4, 0, 0, on_message },
};

static struct event_base	*base;
static int			 broken, null, pauses, paused;

static void
on_message(struct msglink *l, struct msg *m)
{
	const struct msg_rule *r;
	const uint8_t *p = m->data;
	unsigned int sum = 0;
	size_t i;

	MUST(!broken && pauses == 0);
	MUST(msglink_peer(l) == PROC_SESSION && msglink_arg(l) == &broken);
	MUST(fcntl(msglink_fd(l), F_GETFD) != -1);
	MUST(m->type != MSG_VERBOSE);		/* another's */
	for (r = rules; r->type != m->type; r++)
		MUST(r < rules + sizeof(rules) / sizeof(rules[0]));
	MUST((uintptr_t)m->data % 8 == 0);
	MUST(m->tail_len <= r->tail);
	MUST((r->flags & (MSG_F_FD | MSG_F_FD_OPT)) != 0 || m->fd == -1);
	MUST((r->flags & MSG_F_FD) == 0 || m->fd != -1);
	MUST(m->fd == -1 || fcntl(m->fd, F_GETFD) != -1);
	for (i = 0; i < r->size; i++)
		sum += p[i];
	for (i = 0; i < m->tail_len; i++)
		sum += m->tail[i];
	if (sum % 16 == 1 && m->fd != -1) {	/* some keep it */
		close(m->fd);
		m->fd = -1;
	}
	if (sum % 16 == 2)
		msg_put(l, MSG_READY, NULL, 0);
	if (sum % 16 == 3) {		/* it has enough, until the next step */
		pauses++;
		paused = 1;
		msglink_pause(l);
	}
}

static void
on_closed(struct msglink *l, const char *reason)
{
	(void)l;
	(void)reason;
	broken = 1;
}

static void
on_drained(struct msglink *l)
{
	MUST(!msglink_full(l));
}

/* With so many descriptors. */
static void
send_to(int fd, const void *p, size_t n, int with)
{
	union {
		struct cmsghdr	 align;
		uint8_t		 buf[CMSG_SPACE(FDS * sizeof(int))];
	} control;
	struct iovec iov = { (void *)(uintptr_t)p, n };
	struct msghdr mh;
	int i;

	memset(&mh, 0, sizeof(mh));
	memset(&control, 0, sizeof(control));
	mh.msg_iov = &iov;
	mh.msg_iovlen = 1;
	if (with) {
		mh.msg_control = &control;
		mh.msg_controllen = CMSG_SPACE((size_t)with * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN((size_t)with * sizeof(int));
		for (i = 0; i < with; i++)
			memcpy(CMSG_DATA(&control.align) + (size_t)i *
			    sizeof(int), &null, sizeof(int));
	}
	(void)sendmsg(fd, &mh, MSG_DONTWAIT);
}

/* A message whose frame is right: the rest is the fuzzer's. */
static void
send_message(int fd, struct input *in, int with)
{
	static const uint8_t zeros[8];
	struct header h;
	uint8_t *body;
	size_t n;

	memset(&h, 0, sizeof(h));
	h.type = rules[input_number(in, 1) %
	    (sizeof(rules) / sizeof(rules[0]))].type;
	h.flags = (uint32_t)with;
	body = input_piece(in, &n);
	h.len = (uint32_t)(sizeof(h) + n);
	send_to(fd, &h, sizeof(h), with);
	send_to(fd, body, n, 0);
	send_to(fd, zeros, (8 - n % 8) % 8, 0);
	free(body);
}

static void
burst(int fd, uint32_t n)
{
	struct header h[BURST];
	uint32_t i;

	memset(h, 0, sizeof(h));
	for (i = 0; i < n && i < BURST; i++) {
		h[i].len = sizeof(h[i]);
		h[i].type = MSG_READY;
	}
	send_to(fd, h, i * sizeof(h[0]), 0);
}

/* What we say to it, who need not read it. */
static void
put(struct msglink *l, uint32_t n, int with)
{
	static uint8_t tail[PUT_SIZE];
	uint32_t i;

	for (i = 0; i < n && !broken; i++)
		msg_send(l, MSG_AUTH_NEXT, with ? dup(null) : -1, tail, 20,
		    tail, with ? 0 : sizeof(tail));
}

static void
listen_to(int fd, uint32_t n)
{
	static uint8_t buf[65536];
	uint8_t control[CMSG_SPACE(FDS * sizeof(int))];
	struct iovec iov = { buf, sizeof(buf) };
	struct cmsghdr *c;
	struct msghdr mh;
	int got;

	while (n-- > 0) {
		memset(&mh, 0, sizeof(mh));
		mh.msg_iov = &iov;
		mh.msg_iovlen = 1;
		mh.msg_control = control;
		mh.msg_controllen = sizeof(control);
		if (recvmsg(fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) <= 0)
			return;
		if ((c = CMSG_FIRSTHDR(&mh)) == NULL)
			continue;
		MUST(c->cmsg_len == CMSG_LEN(sizeof(int)));
		memcpy(&got, CMSG_DATA(c), sizeof(got));
		close(got);
	}
}

static void
resume(struct msglink *l)
{
	if (pauses == 0)
		return;
	pauses--;
	msglink_resume(l);
}

static void
late(struct msglink *l, int fd, struct input *in, uint32_t op)
{
	struct msglink_stats st;
	uint32_t n = input_number(in, 1);

	switch (op) {
	case MANY:
		burst(fd, n * 2);
		break;
	case MANY_FDS:
		send_to(fd, &n, 1, (int)(n % FDS));
		break;
	case PUT:
	case PUT_FD:
		put(l, n, op == PUT_FD);
		break;
	case READ:
		listen_to(fd, n);
		break;
	case DEAF:
		shutdown(fd, SHUT_RD);
		break;
	case PAUSE:
		pauses++;
		msglink_pause(l);
		break;
	case RESUME:
		resume(l);
		break;
	case FLUSH:
		(void)msglink_flush(l, (int)n % 3);
		break;
	}
	if (!broken)
		msglink_stats(l, &st);
}

static int
lowest_free(void)
{
	int fd = dup(null);

	MUST(fd != -1);
	close(fd);
	return (fd);
}

void
fuzz_init(void)
{
	msg_self(PROC_PRIV);
	if ((base = event_base_new()) == NULL ||
	    (null = open("/dev/null", O_RDWR | O_CLOEXEC)) == -1)
		abort();
}

void
fuzz_one(const uint8_t *buf, size_t len)
{
	struct input in = { buf, len };
	struct msglink *l;
	uint8_t *piece, op;
	size_t n;
	int sp[2], i, before = lowest_free();

	MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sp) == 0);
	broken = pauses = paused = 0;
	l = msglink_new(base, sp[0], PROC_SESSION, rules,
	    sizeof(rules) / sizeof(rules[0]), on_closed, &broken);
	msglink_on_drained(l, on_drained);
	while (in.n > 0 && !broken) {
		if (paused)
			resume(l);
		paused = 0;
		op = (uint8_t)input_number(&in, 1);
		if (op >= LATE)
			late(l, sp[1], &in, (op - LATE) % (FLUSH + 1U));
		else if ((op %= NOP) == MESSAGE || op == MESSAGE_FD)
			send_message(sp[1], &in, op == MESSAGE_FD);
		else {
			piece = input_piece(&in, &n);
			send_to(sp[1], piece, n, op == WITH_FD);
			free(piece);
		}
		for (i = 0; i < TURNS; i++)
			event_base_loop(base, EVLOOP_NONBLOCK);
	}
	close(sp[1]);
	for (i = 0; i < TURNS && !broken; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	msglink_free(l);
	event_base_loop(base, EVLOOP_NONBLOCK);
	/* no descriptor is left behind */
	MUST(lowest_free() == before);
}
