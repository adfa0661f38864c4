/* LINK: dstmd/msg.o dstmd/log.o dstmd/clock.o dstmd/procname.o */
/*
 * Framing, descriptors, back pressure, over real socketpairs. What a hostile
 * process may send is written by hand, as octets.
 */
#include <sys/types.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <event2/event.h>

#include "dstmd/dstmd.h"
#include "dstmd/msg.h"

#define HDR		16
#define SAID_MAX	8192

struct wire {			/* a header, as a hostile process writes it */
	uint32_t	 len, type, flags, zero;
};

/* What one end has seen. */
struct end {
	struct msglink	*link;
	int		 messages, fds, closes, drains, stop_after;
	int		 free_in, free_in_closed, pause_in, keep_fd;
	int		 handled_after_close;
	uint32_t	 last_type;
	uint64_t	 sum;
	size_t		 tail_len;
	uint8_t		 tail[MSG_SIZE_MAX];
	uint32_t	 said[SAID_MAX];
	int		 fd;
	int		 has_reason;
	char		 reason[256];
};

static struct event_base	*base;
static struct end		 a, b;		/* b reads the raw tests */
static int			 raw = -1;

static void
take(struct msglink *l, struct msg *m)
{
	struct end *e = msglink_arg(l);
	uint64_t v = 0;

	assert_ptr_equal(e->link, l);
	assert_int_equal((uintptr_t)m->data % 8, 0);
	assert_int_equal(e->closes, 0);
	e->last_type = m->type;
	if (m->type == MSG_STORE_LOADED)
		memcpy(&v, m->data, sizeof(v));
	if (e->messages < SAID_MAX)
		e->said[e->messages] = (uint32_t)v;
	e->messages++;
	e->sum += v;
	e->tail_len = m->tail_len;
	if (m->tail_len > 0)
		memcpy(e->tail, m->tail, m->tail_len);
	if (m->fd != -1) {
		e->fds++;
		assert_true(fcntl(m->fd, F_GETFD) & FD_CLOEXEC);
		if (e->keep_fd) {
			if (e->fd != -1)
				close(e->fd);
			e->fd = m->fd;
			m->fd = -1;
		}
	}
	if (e->pause_in == e->messages)
		msglink_pause(l);
	if (e->stop_after == e->messages)
		event_base_loopbreak(base);
	if (e->free_in == e->messages) {
		msglink_free(l);
		e->link = NULL;
	}
}

static void
on_closed(struct msglink *l, const char *reason)
{
	struct end *e = msglink_arg(l);

	assert_ptr_equal(e->link, l);
	e->closes++;
	e->has_reason = reason != NULL;
	if (reason != NULL)
		strlcpy(e->reason, reason, sizeof(e->reason));
	if (e->free_in_closed) {
		msglink_free(l);
		e->link = NULL;
	}
}

static void
on_drained(struct msglink *l)
{
	struct end *e = msglink_arg(l);

	e->drains++;
}

#define FROM	(MSG_FROM(PROC_PRIV) | MSG_FROM(PROC_SESSION))
static const struct msg_rule rules[] = {
	{ MSG_READY, FROM, 0, 0, 0, take },
	{ MSG_STORE_LOADED, FROM, 8, 0, 0, take },
	{ MSG_PARSE, FROM, 12, 100, 0, take },
	{ MSG_AUTH_STEP, FROM, 4, MSG_SIZE_MAX - HDR - 4, 0, take },
	{ MSG_LISTEN, FROM, 8, 0, MSG_F_FD, take },
	{ MSG_DIALLED, FROM, 8, 16, MSG_F_FD_OPT, take },
	{ MSG_STORE_PUT, MSG_FROM(PROC_AUTH), 8, 0, 0, take },
	{ MSG_CONN_OPEN, FROM, 8, 0, MSG_F_FD | MSG_F_FD_LOST, take },
};
#define NRULES	(sizeof(rules) / sizeof(rules[0]))

static void
end_init(struct end *e, int fd, enum proc_id peer)
{
	memset(e, 0, sizeof(*e));
	e->fd = -1;
	e->free_in_closed = 1;
	e->link = msglink_new(base, fd, peer, rules, NRULES, on_closed, e);
	msglink_on_drained(e->link, on_drained);
}

static void
end_done(struct end *e)
{
	msglink_free(e->link);
	e->link = NULL;
	if (e->fd != -1)
		close(e->fd);
	e->fd = -1;
}

/* Two ends, a and b. */
static int
setup_pair(void **state)
{
	int sp[2];

	(void)state;
	assert_non_null(base = event_base_new());
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
	    sp), 0);
	msg_self(PROC_PRIV);
	end_init(&a, sp[0], PROC_SESSION);
	msg_self(PROC_SESSION);
	end_init(&b, sp[1], PROC_PRIV);
	msg_self(PROC_PRIV);
	return (0);
}

/* raw and an end, b. */
static int
setup_raw(void **state)
{
	int sp[2];

	(void)state;
	assert_non_null(base = event_base_new());
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
	    sp), 0);
	msg_self(PROC_PRIV);
	raw = sp[0];
	memset(&a, 0, sizeof(a));
	a.fd = -1;
	end_init(&b, sp[1], PROC_SESSION);
	return (0);
}

static int
teardown(void **state)
{
	(void)state;
	end_done(&a);
	end_done(&b);
	if (raw != -1)
		close(raw);
	raw = -1;
	event_base_free(base);
	return (0);
}

/* Turns of the loop until nothing is left to do. */
static void
spin(void)
{
	int i;

	for (i = 0; i < 40; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

static void
raw_write(const void *p, size_t n)
{
	assert_int_equal(write(raw, p, n), n);
}

/* With so many descriptors (of /dev/null). */
static void
raw_send(const void *p, size_t n, int nfds)
{
	union {
		struct cmsghdr	 align;
		uint8_t		 buf[CMSG_SPACE(64 * sizeof(int))];
	} control;
	struct iovec iov = { (void *)(uintptr_t)p, n };
	struct msghdr mh;
	struct cmsghdr *c;
	int fds[64], i;

	memset(&mh, 0, sizeof(mh));
	memset(&control, 0, sizeof(control));
	mh.msg_iov = &iov;
	mh.msg_iovlen = 1;
	mh.msg_control = &control;
	mh.msg_controllen = CMSG_SPACE((size_t)nfds * sizeof(int));
	c = CMSG_FIRSTHDR(&mh);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN((size_t)nfds * sizeof(int));
	for (i = 0; i < nfds; i++)
		assert_true((fds[i] = open("/dev/null", O_RDONLY)) != -1);
	memcpy(CMSG_DATA(c), fds, (size_t)nfds * sizeof(int));
	assert_int_equal(sendmsg(raw, &mh, 0), n);
	for (i = 0; i < nfds; i++)
		close(fds[i]);
}

static size_t
put_wire(uint8_t *p, uint32_t len, uint32_t type, uint32_t flags)
{
	struct wire w = { len, type, flags, 0 };
	size_t whole = (len + 7U) & ~7U;

	if (whole < HDR || whole > MSG_SIZE_MAX)
		whole = HDR;
	memset(p, 0, whole);
	memcpy(p, &w, sizeof(w));
	return (whole);
}

/* So many messages in one write: each small one would cost the socket more. */
static void
raw_numbers(int n)
{
	static uint8_t buf[3000 * (HDR + 8)];
	size_t len = 0;

	while (n-- > 0) {
		len += put_wire(buf + len, HDR + 8, MSG_STORE_LOADED, 0);
		buf[len - 8] = 1;
	}
	raw_write(buf, len);
}

static int
count_fds(void)
{
	int fd, n = 0;

	for (fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) != -1;
	return (n);
}

static void
put_number(struct msglink *l, uint64_t v)
{
	msg_put(l, MSG_STORE_LOADED, &v, sizeof(v));
}

static void
test_order(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < 5000; i++)
		put_number(a.link, (uint64_t)i);
	spin();
	assert_int_equal(b.messages, 5000);
	for (i = 0; i < 5000; i++)
		assert_int_equal(b.said[i], i);
	assert_int_equal(b.closes, 0);
}

/* Many messages leave in few system calls: seen from the other side. */
static void
test_batched(void **state)
{
	struct msglink *l;
	uint8_t buf[65536];
	ssize_t n;
	int i;

	(void)state;
	l = b.link;
	for (i = 0; i < 100; i++)
		put_number(l, 1);
	assert_int_equal(recv(raw, buf, sizeof(buf), MSG_DONTWAIT), -1);
	event_base_loop(base, EVLOOP_NONBLOCK);
	/* One read: recv does not wait, and joins what is there. */
	n = recv(raw, buf, sizeof(buf), MSG_DONTWAIT);
	assert_int_equal(n, 100 * (HDR + 8));
}

static void
test_sizes(void **state)
{
	uint8_t tail[MSG_SIZE_MAX];
	uint32_t head = 7;
	size_t n;

	(void)state;
	arc4random_buf(tail, sizeof(tail));
	msg_put(a.link, MSG_READY, NULL, 0);
	spin();
	assert_int_equal(b.messages, 1);
	for (n = 0; n <= 64; n++) {
		msg_send(a.link, MSG_AUTH_STEP, -1, &head, sizeof(head), tail,
		    n);
		spin();
		assert_int_equal(b.messages, n + 2);
		assert_int_equal(b.tail_len, n);
		assert_memory_equal(b.tail, tail, n);
	}
	n = MSG_SIZE_MAX - HDR - sizeof(head);
	msg_send(a.link, MSG_AUTH_STEP, -1, &head, sizeof(head), tail, n);
	spin();
	assert_int_equal(b.tail_len, n);
	assert_memory_equal(b.tail, tail, n);
	assert_int_equal(b.closes, 0);
}

/* Three messages, with a tail and a descriptor, cut at every octet. */
static void
test_split(void **state)
{
	uint8_t buf[256];
	size_t cut, len, fd_at;

	(void)state;
	for (cut = 0; cut <= 120; cut++) {
		teardown(NULL);
		setup_raw(NULL);
		b.keep_fd = 1;
		len = put_wire(buf, HDR + 8, MSG_STORE_LOADED, 0);
		buf[HDR] = 9;
		len += put_wire(buf + len, HDR + 12 + 5, MSG_PARSE, 0);
		memcpy(buf + len - 8 + 4 - 3, "tail!", 5);
		fd_at = len;
		len += put_wire(buf + len, HDR + 8, MSG_LISTEN, 1);
		len += put_wire(buf + len, HDR, MSG_READY, 0);
		assert_true(len < 120);
		if (cut > len)
			break;
		/* The descriptor goes with its message's first octet. */
		if (cut > 0 && cut <= fd_at)
			raw_write(buf, cut);
		else if (cut > fd_at) {
			raw_write(buf, fd_at);
			raw_send(buf + fd_at, cut - fd_at, 1);
		}
		spin();
		if (cut < fd_at)
			raw_write(buf + cut, fd_at - cut);
		if (cut <= fd_at)
			raw_send(buf + fd_at, len - fd_at, 1);
		else if (cut < len)
			raw_write(buf + cut, len - cut);
		spin();
		assert_int_equal(b.closes, 0);
		assert_int_equal(b.messages, 4);
		assert_int_equal(b.fds, 1);
		assert_int_equal(b.sum, 9);
		assert_int_equal(b.last_type, MSG_READY);
	}
}

static void
test_octet_by_octet(void **state)
{
	uint8_t buf[MSG_SIZE_MAX];
	size_t i, len;

	(void)state;
	len = put_wire(buf, HDR + 12 + 100, MSG_PARSE, 0);
	for (i = 0; i < len; i++) {
		assert_int_equal(b.messages, 0);
		raw_write(buf + i, 1);
		event_base_loop(base, EVLOOP_NONBLOCK);
	}
	spin();
	assert_int_equal(b.messages, 1);
	assert_int_equal(b.tail_len, 100);
}

/* Each descriptor meets its own message, whatever stands between. */
static void
test_fds(void **state)
{
	struct stat st, want;
	uint64_t v = 0;
	int fd, i, k, before;

	(void)state;
	before = count_fds();
	b.keep_fd = 1;
	for (i = 0; i < 60; i++) {
		for (k = 0; k < i % 5; k++)
			put_number(a.link, 1);
		assert_true((fd = open(i % 2 ? "/dev/null" : "/dev/zero",
		    O_RDONLY)) != -1);
		msg_send(a.link, MSG_LISTEN, fd, &v, sizeof(v), NULL, 0);
		if (i % 3 == 0)
			continue;
		spin();
		assert_true(b.fd != -1);
		assert_int_equal(fstat(b.fd, &st), 0);
		assert_int_equal(stat(i % 2 ? "/dev/null" : "/dev/zero",
		    &want), 0);
		assert_int_equal(st.st_rdev, want.st_rdev);
	}
	spin();
	assert_int_equal(b.fds, 60);
	assert_int_equal(b.messages, 60 + 24 + 36 + 60);
	assert_int_equal(b.closes, 0);
	/* All copies are closed again, but the one that is kept. */
	assert_int_equal(count_fds(), before + 1);
}

static void
test_fd_optional(void **state)
{
	uint64_t v = 0;

	(void)state;
	msg_send(a.link, MSG_DIALLED, -1, &v, sizeof(v), "x", 1);
	msg_send(a.link, MSG_DIALLED, open("/dev/null", O_RDONLY), &v,
	    sizeof(v), NULL, 0);
	spin();
	assert_int_equal(b.messages, 2);
	assert_int_equal(b.fds, 1);
	assert_int_equal(b.closes, 0);
}

/* One bad thing, behind a good message: that is handled, nothing else. */
static void
expect_broken(const char *why)
{
	int before;

	before = b.messages;
	spin();
	assert_int_equal(b.messages, before + 1);
	assert_int_equal(b.closes, 1);
	assert_true(b.has_reason);
	if (strstr(b.reason, why) == NULL)
		fail_msg("reason \"%s\" lacks \"%s\"", b.reason, why);
	if (strstr(b.reason, "session") == NULL)
		fail_msg("reason \"%s\" does not name the peer", b.reason);
}

static void
test_bad_headers(void **state)
{
	static const struct {
		struct wire	 w;
		const char	*why;
	} bad[] = {
		{ { 0, MSG_READY, 0, 0 },		"length" },
		{ { HDR - 1, MSG_READY, 0, 0 },		"length" },
		{ { MSG_SIZE_MAX + 1, MSG_AUTH_STEP, 0, 0 }, "length" },
		{ { UINT32_MAX, MSG_AUTH_STEP, 0, 0 },	"length" },
		{ { UINT32_MAX - 6, MSG_AUTH_STEP, 0, 0 }, "length" },
		{ { HDR, MSG_READY, 2, 0 },		"flags" },
		{ { HDR, MSG_READY, 0x80000000, 0 },	"flags" },
		{ { HDR, MSG_READY, 0, 1 },		"flags" },
		{ { HDR, MSG_NONE, 0, 0 },		"not expected" },
		{ { HDR, MSG_NTYPE, 0, 0 },		"not expected" },
		{ { HDR, UINT32_MAX, 0, 0 },		"not expected" },
		/* known, but only from another process */
		{ { HDR + 8, MSG_STORE_PUT, 0, 0 },	"not expected" },
		{ { HDR + 1, MSG_READY, 0, 0 },		"size" },
		{ { HDR, MSG_STORE_LOADED, 0, 0 },	"size" },
		{ { HDR + 7, MSG_STORE_LOADED, 0, 0 },	"size" },
		{ { HDR + 9, MSG_STORE_LOADED, 0, 0 },	"size" },
		{ { HDR + 11, MSG_PARSE, 0, 0 },	"size" },
		{ { HDR + 12 + 101, MSG_PARSE, 0, 0 },	"size" },
		{ { HDR + 8, MSG_LISTEN, 0, 0 },	"missing" },
		{ { HDR + 8, MSG_LISTEN, 1, 0 },	"missing" },
		{ { HDR + 8, MSG_DIALLED, 1, 0 },	"missing" },
		{ { HDR, MSG_READY, 1, 0 },		"stray" },
	};
	uint8_t buf[HDR * 2];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		put_wire(buf, HDR, MSG_READY, 0);
		memcpy(buf + HDR, &bad[i].w, HDR);
		/* The header alone condemns it. */
		raw_write(buf, sizeof(buf));
		expect_broken(bad[i].why);
		teardown(NULL);
		setup_raw(NULL);
	}
}

/* The edges that are still right. */
static void
test_good_edges(void **state)
{
	uint8_t buf[1024];
	size_t len;

	(void)state;
	len = put_wire(buf, HDR + 12, MSG_PARSE, 0);
	len += put_wire(buf + len, HDR + 12 + 100, MSG_PARSE, 0);
	len += put_wire(buf + len, HDR + 8, MSG_DIALLED, 0);
	len += put_wire(buf + len, HDR + 8 + 16, MSG_DIALLED, 0);
	raw_write(buf, len);
	spin();
	assert_int_equal(b.messages, 4);
	assert_int_equal(b.closes, 0);
}

static void
test_stray_fds(void **state)
{
	uint8_t buf[1024];
	size_t len;
	int before;

	(void)state;
	before = count_fds();

	/* with a message that announces none */
	put_wire(buf, HDR, MSG_READY, 0);
	raw_send(buf, HDR, 1);
	expect_broken("no message");
	assert_int_equal(count_fds(), before - 1);	/* its socket */
	teardown(NULL);

	/* announced, but the rule does not want it */
	setup_raw(NULL);
	put_wire(buf, HDR, MSG_READY, 0);
	raw_write(buf, HDR);
	put_wire(buf, HDR, MSG_READY, 1);
	raw_send(buf, HDR, 1);
	expect_broken("stray");
	assert_int_equal(count_fds(), before - 1);
	teardown(NULL);

	/* two where one is announced */
	setup_raw(NULL);
	put_wire(buf, HDR + 8, MSG_LISTEN, 1);
	raw_send(buf, HDR + 8, 2);
	expect_broken("no message");
	assert_int_equal(b.fds, 1);
	assert_int_equal(count_fds(), before - 1);
	teardown(NULL);

	/* more than there is room for */
	setup_raw(NULL);
	len = put_wire(buf, HDR, MSG_READY, 0);
	raw_write(buf, len);
	spin();
	raw_send(buf, len, 60);
	spin();
	assert_int_equal(b.messages, 1);
	assert_int_equal(b.closes, 1);
	assert_non_null(strstr(b.reason, "too many descriptors"));
	assert_int_equal(count_fds(), before - 1);
	teardown(NULL);

	/* with half a header, then with a message that cannot claim it */
	setup_raw(NULL);
	put_wire(buf, HDR + 8, MSG_STORE_LOADED, 0);
	raw_send(buf, 8, 1);
	spin();
	assert_int_equal(b.closes, 0);
	raw_write(buf + 8, 8);		/* the header is whole: not its own */
	spin();
	assert_int_equal(b.messages, 0);
	assert_int_equal(b.closes, 1);
	assert_int_equal(count_fds(), before - 1);
	teardown(NULL);
	setup_raw(NULL);
}

/* Descriptors without end, octet by octet, never a whole message. */
static void
test_fd_hoard(void **state)
{
	uint8_t buf[MSG_SIZE_MAX];
	int before, i;

	(void)state;
	before = count_fds();
	put_wire(buf, HDR + 12 + 100, MSG_PARSE, 0);
	for (i = 0; i < 40 && b.closes == 0; i++) {
		raw_send(buf + i, 1, 1);
		event_base_loop(base, EVLOOP_NONBLOCK);
		assert_true(count_fds() <= before + 4);
	}
	assert_int_equal(b.closes, 1);
	assert_int_equal(b.messages, 0);
}

static void
test_close_after_data(void **state)
{
	(void)state;
	raw_numbers(3000);
	close(raw);
	raw = -1;
	while (b.closes == 0)
		event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(b.messages, 3000);
	assert_int_equal(b.sum, 3000);
	assert_false(b.has_reason);
}

/* The peer has gone with answers of ours unread: the same. */
static void
test_close_unread(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < 50000; i++)
		put_number(b.link, 1);
	spin();
	assert_true(msglink_full(b.link));
	raw_numbers(1000);
	close(raw);
	raw = -1;
	for (i = 0; i < 2000 && b.closes == 0; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(b.closes, 1);
	assert_int_equal(b.messages, 1000);
	assert_false(b.has_reason);
}

/* It reads no more, and holds its end open: what it says is heard, a while. */
static void
test_half_closed(void **state)
{
	int64_t begin = now_ms();

	(void)state;
	assert_int_equal(shutdown(raw, SHUT_RD), 0);
	put_number(b.link, 1);
	spin();
	raw_numbers(10);
	spin();
	assert_int_equal(b.messages, 10);
	assert_int_equal(b.closes, 0);
	while (b.closes == 0 && now_ms() - begin < 10000)
		event_base_loop(base, EVLOOP_ONCE);
	assert_int_equal(b.closes, 1);
	assert_non_null(strstr(b.reason, "does not close"));
	assert_true(now_ms() - begin >= 900);
}

static void
test_close_within(void **state)
{
	uint8_t buf[HDR + 8];

	(void)state;
	put_wire(buf, HDR + 8, MSG_STORE_LOADED, 0);
	raw_write(buf, HDR + 3);
	close(raw);
	raw = -1;
	spin();
	assert_int_equal(b.messages, 0);
	assert_int_equal(b.closes, 1);
	assert_non_null(strstr(b.reason, "within a message"));
}

static void
test_back_pressure(void **state)
{
	struct msglink_stats st;
	uint8_t buf[4096];
	size_t got = 0;
	ssize_t n;
	int i;

	(void)state;
	assert_false(msglink_full(b.link));
	for (i = 0; !msglink_full(b.link); i++) {
		assert_true(i * (HDR + 8) <= MSG_QUEUE_HIGH);
		put_number(b.link, 1);
	}
	assert_true(i * (HDR + 8) > MSG_QUEUE_HIGH);
	msglink_stats(b.link, &st);
	assert_int_equal(st.queued, i * (HDR + 8));
	assert_int_equal(st.sent, i);
	/* The socket takes some; the rest is enough to stay full. */
	for (; i < 40000; i++)
		put_number(b.link, 1);
	spin();
	assert_int_equal(b.drains, 0);
	assert_true(msglink_full(b.link));
	/* Who does not take answers may not ask. */
	put_wire(buf, HDR, MSG_READY, 0);
	raw_write(buf, HDR);
	spin();
	assert_int_equal(b.messages, 0);
	/* It reads all: what it asked is handled, drained said once. */
	while (got < (size_t)i * (HDR + 8)) {
		n = recv(raw, buf, sizeof(buf), MSG_DONTWAIT);
		if (n > 0)
			got += (size_t)n;
		else
			event_base_loop(base, EVLOOP_NONBLOCK);
		msglink_stats(b.link, &st);
		if (st.queued >= MSG_QUEUE_LOW)
			assert_int_equal(b.drains, 0);
	}
	spin();
	assert_int_equal(b.drains, 1);
	assert_false(msglink_full(b.link));
	assert_int_equal(b.messages, 1);
	msglink_stats(b.link, &st);
	assert_int_equal(st.queued, 0);
	assert_int_equal(b.closes, 0);
}

/* The other end of a full link goes on reading, or both would wait. */
static void
test_both_full(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < 100000; i++) {
		put_number(a.link, 1);
		put_number(b.link, 1);
	}
	assert_true(msglink_full(a.link));
	assert_true(msglink_full(b.link));
	for (i = 0; i < 20000 && (a.messages < 100000 || b.messages < 100000);
	    i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(a.messages, 100000);
	assert_int_equal(b.messages, 100000);
}

static void
test_queue_max(void **state)
{
	struct msglink_stats st;
	int i;

	(void)state;
	for (i = 0; i < 400000; i++) {
		put_number(b.link, 1);
		msglink_stats(b.link, &st);
		assert_true(st.queued <= MSG_QUEUE_MAX);
	}
	assert_int_equal(b.closes, 0);	/* from the loop alone */
	spin();
	assert_int_equal(b.closes, 1);
	assert_non_null(strstr(b.reason, "does not read"));
}

/* Descriptors that wait count: they are bounded as octets are. */
static void
test_queue_max_fds(void **state)
{
	uint64_t v = 0;
	int before, i, most = 0, n;

	(void)state;
	before = count_fds();
	for (i = 0; i < 600; i++) {
		msg_send(b.link, MSG_LISTEN, open("/dev/null", O_RDONLY), &v,
		    sizeof(v), NULL, 0);
		n = count_fds() - before;
		if (n > most)
			most = n;
		if (msglink_full(b.link))
			break;
	}
	assert_true(most <= 256);
	assert_true(msglink_full(b.link));
	end_done(&b);
	assert_int_equal(count_fds(), before - 1);
}

static void
test_pause(void **state)
{
	int i;

	(void)state;
	msglink_pause(b.link);
	msglink_pause(b.link);
	for (i = 0; i < 10; i++)
		put_number(a.link, 1);
	spin();
	assert_int_equal(b.messages, 0);
	msglink_resume(b.link);
	spin();
	assert_int_equal(b.messages, 0);
	msglink_resume(b.link);
	spin();
	assert_int_equal(b.messages, 10);

	/* within a handler: the next messages wait in the buffer */
	b.pause_in = 13;
	for (i = 0; i < 10; i++)
		put_number(a.link, 1);
	spin();
	assert_int_equal(b.messages, 13);
	msglink_resume(b.link);
	spin();
	assert_int_equal(b.messages, 20);
	assert_int_equal(b.closes, 0);
}

static void
test_free_in_handler(void **state)
{
	struct msglink *l = b.link;
	int i, before;

	(void)state;
	before = count_fds();
	b.free_in = 3;
	for (i = 0; i < 10; i++)
		put_number(a.link, 1);
	put_number(l, 1);		/* and something of its own waits */
	spin();
	assert_int_equal(b.messages, 3);
	assert_null(b.link);
	assert_int_equal(b.closes, 0);
	/* a sees that it has gone. */
	assert_int_equal(a.closes, 1);
	assert_false(a.has_reason);
	assert_int_equal(count_fds(), before - 2);
}

static void
test_closed_once(void **state)
{
	(void)state;
	b.free_in_closed = 0;
	raw_write("0123456789abcdef", 16);
	spin();
	assert_int_equal(b.closes, 1);
	put_number(b.link, 1);			/* dropped */
	raw_write("0123456789abcdef", 16);
	spin();
	assert_int_equal(b.closes, 1);
	assert_int_equal(b.messages, 0);
}

/* A link that always has something does not starve the others. */
static void
test_fairness(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < 2000; i++)
		put_number(a.link, 1);
	assert_int_equal(msglink_flush(a.link, 0), 0);
	event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	assert_true(b.messages > 0);
	assert_true(b.messages <= 256);
	spin();
	assert_int_equal(b.messages, 2000);
}

static void
test_null_link(void **state)
{
	int before, fd;

	(void)state;
	before = count_fds();
	assert_true((fd = open("/dev/null", O_RDONLY)) != -1);
	msg_send(NULL, MSG_LISTEN, fd, "12345678", 8, NULL, 0);
	assert_int_equal(count_fds(), before);
	msg_put(NULL, MSG_READY, NULL, 0);
	msglink_free(NULL);
	assert_int_equal(msglink_flush(NULL, 0), -1);
}

static void
test_flush(void **state)
{
	struct msglink_stats st;
	int i;

	(void)state;
	put_number(a.link, 5);
	assert_int_equal(msglink_flush(a.link, 0), 0);
	msglink_stats(a.link, &st);
	assert_int_equal(st.queued, 0);
	for (i = 0; i < 50000; i++)	/* more than the socket holds */
		put_number(a.link, 0);
	assert_int_equal(msglink_flush(a.link, 30), -1);
	msglink_free(b.link);
	b.link = NULL;
	assert_int_equal(msglink_flush(a.link, 1000), -1);
	spin();
	assert_int_equal(a.closes, 1);
	assert_false(a.has_reason);
}

/* Runs what must end the process with status 1. */
static void
expect_fatal(void (*f)(void))
{
	int status;
	pid_t pid;

	assert_true((pid = fork()) != -1);
	if (pid == 0) {
		close(STDERR_FILENO);
		f();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 1);
}

static uint8_t	 big[MSG_SIZE_MAX * 2];

static void
send_too_long(void)
{
	msg_send(b.link, MSG_AUTH_STEP, -1, big, 4, big,
	    MSG_SIZE_MAX - HDR - 3);
}

static void
send_overflow(void)
{
	msg_send(b.link, MSG_AUTH_STEP, -1, big, 4, big, SIZE_MAX);
}

static void
resume_unpaused(void)
{
	msglink_resume(b.link);
}

static void
test_own_bugs(void **state)
{
	(void)state;
	expect_fatal(send_too_long);
	expect_fatal(send_overflow);
	expect_fatal(resume_unpaused);
}

/* Random cuts of a long stream with descriptors; seeds are printed. */
static void
test_random_cuts(void **state)
{
	static uint8_t buf[400 * 64];
	size_t at[401], len, off, n, want;
	unsigned int seed, round;
	int i, fds;

	(void)state;
	seed = arc4random();
	for (round = 0; round < 30; round++, seed++) {
		srandom(seed);
		len = 0;
		fds = 0;
		for (i = 0; i < 400; i++) {
			at[i] = len;
			if (random() % 8 == 0) {
				len += put_wire(buf + len, HDR + 8,
				    MSG_LISTEN, 1);
				fds++;
			} else
				len += put_wire(buf + len, HDR + 12 +
				    (uint32_t)random() % 30, MSG_PARSE, 0);
		}
		at[400] = len;
		for (off = 0, i = 0; off < len; off += n) {
			while (at[i] < off)
				i++;
			/* up to the next message with a descriptor */
			for (want = off == at[i] ? (size_t)i + 1 : (size_t)i;
			    want < 400 && buf[at[want] + 8] == 0; want++)
				continue;
			n = 1 + (size_t)random() % 300;
			if (n > at[want] - off)
				n = at[want] - off;
			if (off == at[i] && buf[off + 8] != 0)
				raw_send(buf + off, n, 1);
			else
				raw_write(buf + off, n);
			if (random() % 4 == 0)
				event_base_loop(base, EVLOOP_NONBLOCK);
		}
		spin();
		if (b.messages != 400 || b.fds != fds || b.closes != 0)
			fail_msg("seed %u: %d messages, %d of %d descriptors, "
			    "%s", seed, b.messages, b.fds, fds, b.reason);
		teardown(NULL);
		setup_raw(NULL);
	}
}

/* This process may have no more descriptors: who can say so, is told. */
static void
test_fd_lost(void **state)
{
	struct rlimit old, now;
	uint8_t buf[64];
	size_t len;
	int next;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_not_equal(next = dup(raw), -1);
	close(next);
	now = old;
	now.rlim_cur = (rlim_t)next;
	len = put_wire(buf, HDR + 8, MSG_CONN_OPEN, 1);
	raw_send(buf, len, 1);
	spin();
	assert_int_equal(b.fds, 1);

	raw_send(buf, len, 1);
	raw_send(buf, len, 1);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
	spin();
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(b.closes, 0);
	assert_int_equal(b.messages, 3);
	assert_int_equal(b.fds, 1);
	raw_send(buf, len, 1);
	spin();
	assert_int_equal(b.messages, 4);
	assert_int_equal(b.fds, 2);

	len = put_wire(buf, HDR + 8, MSG_LISTEN, 1);
	raw_send(buf, len, 1);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
	spin();
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(b.closes, 1);
	assert_non_null(strstr(b.reason, "no room for its descriptor"));
}

#define PAIR(f)	cmocka_unit_test_setup_teardown(f, setup_pair, teardown)
#define RAW(f)	cmocka_unit_test_setup_teardown(f, setup_raw, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		PAIR(test_order), RAW(test_batched), PAIR(test_sizes),
		RAW(test_split), RAW(test_octet_by_octet), PAIR(test_fds),
		PAIR(test_fd_optional), RAW(test_bad_headers),
		RAW(test_good_edges), RAW(test_stray_fds), RAW(test_fd_hoard),
		RAW(test_close_after_data), RAW(test_close_unread),
		RAW(test_half_closed),
		RAW(test_close_within), RAW(test_back_pressure),
		PAIR(test_both_full), RAW(test_queue_max),
		RAW(test_queue_max_fds), PAIR(test_pause),
		PAIR(test_free_in_handler), RAW(test_closed_once),
		PAIR(test_fairness), RAW(test_null_link), PAIR(test_flush),
		RAW(test_own_bugs), RAW(test_random_cuts), RAW(test_fd_lost),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
