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

enum { OCTETS, MESSAGE, WITH_FD, MESSAGE_FD, NOP };

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
static int			 broken, null;

static void
on_message(struct msglink *l, struct msg *m)
{
	const struct msg_rule *r;
	const uint8_t *p = m->data;
	unsigned int sum = 0;
	size_t i;

	MUST(!broken);
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
}

static void
on_closed(struct msglink *l, const char *reason)
{
	(void)l;
	(void)reason;
	broken = 1;
}

static void
send_to(int fd, const void *p, size_t n, int with)
{
	union {
		struct cmsghdr	 align;
		uint8_t		 buf[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { (void *)(uintptr_t)p, n };
	struct msghdr mh;

	memset(&mh, 0, sizeof(mh));
	memset(&control, 0, sizeof(control));
	mh.msg_iov = &iov;
	mh.msg_iovlen = 1;
	if (with) {
		mh.msg_control = &control;
		mh.msg_controllen = sizeof(control.buf);
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.align), &null, sizeof(int));
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
	broken = 0;
	l = msglink_new(base, sp[0], PROC_SESSION, rules,
	    sizeof(rules) / sizeof(rules[0]), on_closed, NULL);
	while (in.n > 0 && !broken) {
		op = (uint8_t)input_number(&in, 1) % NOP;
		if (op == MESSAGE || op == MESSAGE_FD)
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
