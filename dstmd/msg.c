/*
 * Messages between processes: see msg.h.
 *
 * On the wire a message is a header of 16 octets, its data, its tail, and
 * up to 7 octets of padding: every message starts at a multiple of 8, so
 * that handlers read the data in place, in a buffer that is aligned.
 *
 * The kernel never joins the octets in front of a descriptor with those
 * that came with it, nor delivers a descriptor later than the first octet
 * that was sent with it. So a message with a descriptor starts its own
 * sendmsg(2), others may follow in it, and the receiver takes descriptors
 * in order, as it meets headers that announce one.
 */
#include <sys/types.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "dstmd/dstmd.h"
#include "dstmd/msg.h"

#define HDR_FD		0x01		/* hdr.flags: a descriptor comes */

#define RBUF_SIZE	(64 * 1024)
#define OBUF_SIZE	(16 * 1024)	/* what a queue grows by */
#define OBUF_SIZE_FD	1024		/* one that starts with a descriptor */
#define FD_COST		1024		/* octets that a waiting one counts */
#define FD_IN_MAX	4		/* received, of messages not whole yet */
#define IOV_BATCH	16
#define TURN_MESSAGES	256		/* of one link, then others */
#define TURN_READS	16
#define REASON_SIZE	128
#define GONE_MS		1000	/* from EPIPE to the end of what was said */
#define RETRY_MS	20

#define PADDED(n)	(((n) + 7) & ~(size_t)7)

struct hdr {
	uint32_t	 len;		/* with this header, no padding */
	uint32_t	 type;
	uint32_t	 flags;
	uint32_t	 zero;
};

/* A piece of what waits to be sent. */
struct obuf {
	TAILQ_ENTRY(obuf) entry;
	size_t		 off, len, size;
	int		 fd;		/* goes with the octet at off, or -1 */
	uint8_t		 data[];
};

struct msglink {
	struct event_base *base;
	int		 fd;
	enum proc_id	 self, peer;
	const struct msg_rule *rules;
	size_t		 nrules;
	void		(*closed)(struct msglink *, const char *);
	void		(*drained)(struct msglink *);
	void		*arg;

	struct event	*ev_read;
	struct event	*ev_write;	/* the socket takes octets again */
	struct event	*ev_flush;	/* end of this turn: write */
	struct event	*ev_more;	/* next turn: handle, or write again */
	struct event	*ev_closed;

	TAILQ_HEAD(obuf_head, obuf) out;
	size_t		 queued;
	int		 full;
	int		 peer_gone;	/* nobody reads what we write */
	int64_t		 gone_ms;	/* it is quiet since then */

	uint8_t		*rbuf;
	size_t		 rpos, rlen;
	int		 in_fds[FD_IN_MAX];
	int		 nin_fds;

	int		 busy;		/* we are in one of its callbacks */
	int		 freed;
	int		 dead;		/* closed is, or will be, called */
	int		 has_reason;
	unsigned int	 pauses;
	struct msglink_stats stats;
	char		 reason[REASON_SIZE];
};

static enum proc_id	 self = PROC_PRIV;

void
msg_self(enum proc_id id)
{
	self = id;
}

/*
 * Of two ends that are both full only one may stop to read, or they wait
 * for each other for ever: the one nearer to the privileges does.
 */
static int
must_read(const struct msglink *l)
{
	return (!l->full || l->self >= l->peer);
}

static int
may_read(const struct msglink *l)
{
	return (!l->freed && !l->dead && l->pauses == 0 && must_read(l));
}

static void
later(struct msglink *l, int ms)
{
	struct timeval tv = { ms / 1000, ms % 1000 * 1000 };

	if (event_add(l->ev_more, &tv) == -1)
		fatalx("event_add");
}

/* To be called when a condition of may_read has changed. */
static void
update_read(struct msglink *l)
{
	if (!may_read(l)) {
		if (!l->freed)
			event_del(l->ev_read);
		return;
	}
	if (event_add(l->ev_read, NULL) == -1)
		fatalx("event_add");
	if (l->rlen > l->rpos)		/* it may hold whole messages */
		later(l, 0);
}

static void
drop_in_fds(struct msglink *l)
{
	while (l->nin_fds > 0)
		if (l->in_fds[--l->nin_fds] != -1)
			close(l->in_fds[l->nin_fds]);
}

static void
obuf_free(struct msglink *l, struct obuf *b)
{
	TAILQ_REMOVE(&l->out, b, entry);
	if (b->fd != -1)
		close(b->fd);
	free(b);
}

static void
drop_queue(struct msglink *l)
{
	struct obuf *b;

	while ((b = TAILQ_FIRST(&l->out)) != NULL)
		obuf_free(l, b);
	l->queued = 0;
}

/* The end: closed() is called from the loop. fmt NULL: the peer closed. */
static void
die(struct msglink *l, const char *fmt, ...)
{
	va_list ap;

	if (l->dead || l->freed)
		return;
	l->dead = 1;
	if (fmt != NULL) {
		l->has_reason = 1;
		va_start(ap, fmt);
		vsnprintf(l->reason, sizeof(l->reason), fmt, ap);
		va_end(ap);
	}
	drop_queue(l);
	drop_in_fds(l);
	event_del(l->ev_read);
	event_del(l->ev_write);
	event_active(l->ev_closed, EV_TIMEOUT, 1);
}

static void
leave(struct msglink *l)
{
	if (--l->busy == 0 && l->freed) {
		free(l->rbuf);
		free(l);
	}
}

static void
closed_cb(evutil_socket_t fd, short what, void *arg)
{
	struct msglink *l = arg;

	(void)fd;
	(void)what;
	l->busy++;
	l->closed(l, l->has_reason ? l->reason : NULL);
	leave(l);
}

/*
 * Reading
 */

static const struct msg_rule *
find_rule(const struct msglink *l, uint32_t type)
{
	size_t i;

	for (i = 0; i < l->nrules; i++)
		if (l->rules[i].type == type &&
		    (l->rules[i].from & MSG_FROM(l->peer)))
			return (&l->rules[i]);
	return (NULL);
}

/* What is wrong with this header, or NULL; its rule. */
static const char *
check_header(const struct msglink *l, const struct hdr *h,
    const struct msg_rule **rule)
{
	const struct msg_rule *r;
	size_t size;

	if (h->len < sizeof(*h) || h->len > MSG_SIZE_MAX)
		return ("impossible length");
	if (h->zero != 0 || (h->flags & ~(uint32_t)HDR_FD) != 0)
		return ("unknown flags");
	if ((*rule = r = find_rule(l, h->type)) == NULL)
		return ("not expected from this process");
	size = h->len - sizeof(*h);
	if (size < r->size || size - r->size > r->tail)
		return ("wrong size");
	if (h->flags & HDR_FD) {
		if ((r->flags & (MSG_F_FD | MSG_F_FD_OPT)) == 0)
			return ("stray descriptor");
		if (l->nin_fds == 0)
			return ("descriptor is missing");
		if (l->in_fds[0] == -1 && (r->flags & MSG_F_FD_LOST) == 0)
			return ("no room for its descriptor");
	} else if (r->flags & MSG_F_FD)
		return ("descriptor is missing");
	return (NULL);
}

static int
take_fd(struct msglink *l)
{
	int fd = l->in_fds[0];

	l->nin_fds--;
	memmove(l->in_fds, l->in_fds + 1,
	    (size_t)l->nin_fds * sizeof(l->in_fds[0]));
	return (fd);
}

static void
deliver(struct msglink *l, const struct hdr *h, const struct msg_rule *r)
{
	const uint8_t *data = l->rbuf + l->rpos + sizeof(*h);
	struct msg m;

	m.type = h->type;
	m.fd = (h->flags & HDR_FD) ? take_fd(l) : -1;
	m.data = data;
	m.tail = data + r->size;
	m.tail_len = h->len - sizeof(*h) - r->size;
	l->rpos += PADDED(h->len);
	l->stats.received++;
	r->handler(l, &m);
	if (m.fd != -1)
		close(m.fd);
}

/* Descriptors that no message can claim any more break the link. */
static void
check_stray(struct msglink *l, int may_claim)
{
	if (l->nin_fds > may_claim)
		die(l, "descriptor from %s that belongs to no message",
		    proc_name(l->peer));
}

/* Handles the whole messages of the buffer, at most *budget of them. */
static void
handle_buffer(struct msglink *l, int *budget)
{
	const struct msg_rule *r;
	const char *wrong;
	struct hdr h;

	while (may_read(l)) {
		if (l->rlen - l->rpos < sizeof(h)) {
			check_stray(l, l->rlen != l->rpos);
			return;
		}
		memcpy(&h, l->rbuf + l->rpos, sizeof(h));
		if ((wrong = check_header(l, &h, &r)) != NULL) {
			die(l, "message type %u of %u octets from %s: %s",
			    h.type, h.len, proc_name(l->peer), wrong);
			return;
		}
		if (l->rlen - l->rpos < PADDED(h.len)) {
			check_stray(l, (h.flags & HDR_FD) != 0);
			return;
		}
		if ((*budget)-- == 0) {
			*budget = 0;
			later(l, 0);
			return;
		}
		deliver(l, &h, r);
	}
}

/*
 * The descriptors of one recvmsg(2): 0, or -1 too many. Where this process may
 * have no more, the kernel leaves them out: -1 stands for that.
 */
static int
collect_fds(struct msglink *l, struct msghdr *mh)
{
	struct cmsghdr *c;
	int fd, bad = 0, got = 0;
	size_t i, n;

	for (c = CMSG_FIRSTHDR(mh); c != NULL; c = CMSG_NXTHDR(mh, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (i = 0; i < n; i++) {
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int),
			    sizeof(fd));
			got++;
			if (l->nin_fds == FD_IN_MAX) {
				close(fd);
				bad = 1;
			} else
				l->in_fds[l->nin_fds++] = fd;
		}
	}
	if ((mh->msg_flags & MSG_CTRUNC) && (got == FD_IN_MAX ||
	    l->nin_fds == FD_IN_MAX))
		bad = 1;
	else if (mh->msg_flags & MSG_CTRUNC)
		l->in_fds[l->nin_fds++] = -1;
	return (bad ? -1 : 0);
}

/* 1 something was read; 0 nothing is there, or the link ended. */
static int
fill_buffer(struct msglink *l)
{
	union {
		struct cmsghdr	 align;
		uint8_t		 buf[CMSG_SPACE(FD_IN_MAX * sizeof(int))];
	} control;
	struct msghdr mh;
	struct iovec iov;
	ssize_t n;

	/* Less than a message is left: all before it has been handled. */
	if (l->rpos > 0) {
		l->rlen -= l->rpos;
		memmove(l->rbuf, l->rbuf + l->rpos, l->rlen);
		l->rpos = 0;
	}
	memset(&mh, 0, sizeof(mh));
	iov.iov_base = l->rbuf + l->rlen;
	iov.iov_len = RBUF_SIZE - l->rlen;
	mh.msg_iov = &iov;
	mh.msg_iovlen = 1;
	mh.msg_control = &control;
	mh.msg_controllen = sizeof(control);
	n = recvmsg(l->fd, &mh, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return (0);
	if (n == -1 && errno != ECONNRESET) {
		die(l, "recvmsg from %s: %s", proc_name(l->peer),
		    strerror(errno));
		return (0);
	}
	if (n <= 0) {
		if (l->rlen > 0)
			die(l, "%s closed it within a message",
			    proc_name(l->peer));
		else
			die(l, NULL);
		return (0);
	}
	l->rlen += (size_t)n;
	if (l->peer_gone)
		l->gone_ms = now_ms();
	if (collect_fds(l, &mh) == -1) {
		die(l, "too many descriptors from %s", proc_name(l->peer));
		return (0);
	}
	return (1);
}

static void
msglink_read(struct msglink *l)
{
	int budget = TURN_MESSAGES, reads = TURN_READS;

	l->busy++;
	handle_buffer(l, &budget);
	while (budget > 0 && reads-- > 0 && may_read(l) && fill_buffer(l))
		handle_buffer(l, &budget);
	leave(l);
}

static void
read_cb(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	msglink_read(arg);
}

/*
 * Writing
 */

/*
 * One sendmsg(2): the first pieces, up to the next descriptor. The octets
 * written, or -1 with errno.
 */
static ssize_t
send_some(struct msglink *l)
{
	union {
		struct cmsghdr	 align;
		uint8_t		 buf[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov[IOV_BATCH];
	struct cmsghdr *c;
	struct msghdr mh;
	struct obuf *b, *first = TAILQ_FIRST(&l->out);
	size_t n = 0;

	for (b = first; b != NULL && n < IOV_BATCH;
	    b = TAILQ_NEXT(b, entry)) {
		if (b != first && b->fd != -1)
			break;
		iov[n].iov_base = b->data + b->off;
		iov[n++].iov_len = b->len - b->off;
	}
	memset(&mh, 0, sizeof(mh));
	mh.msg_iov = iov;
	mh.msg_iovlen = n;
	if (first->fd != -1) {
		memset(&control, 0, sizeof(control));
		mh.msg_control = &control;
		mh.msg_controllen = sizeof(control);
		c = CMSG_FIRSTHDR(&mh);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &first->fd, sizeof(int));
	}
	return (sendmsg(l->fd, &mh, MSG_NOSIGNAL | MSG_DONTWAIT));
}

/* n octets have left, and with the first of them its descriptor. */
static void
sent(struct msglink *l, size_t n)
{
	struct obuf *b;
	size_t part;

	l->queued -= n;
	l->stats.written += n;
	while (n > 0) {
		b = TAILQ_FIRST(&l->out);
		if (b->fd != -1) {
			close(b->fd);
			b->fd = -1;
			l->queued -= FD_COST;
		}
		part = b->len - b->off;
		if (part > n)
			part = n;
		b->off += part;
		n -= part;
		if (b->off == b->len)
			obuf_free(l, b);
	}
}

/* 0 all is written, 1 the socket is full, 2 try again soon, -1 it is over. */
static int
send_queue(struct msglink *l)
{
	ssize_t n;

	while (!TAILQ_EMPTY(&l->out)) {
		if ((n = send_some(l)) >= 0) {
			sent(l, (size_t)n);
			continue;
		}
		switch (errno) {
		case EINTR:
			continue;
		case EAGAIN:
			return (1);
		case ENOBUFS:
		case ENOMEM:
		case ETOOMANYREFS:	/* descriptors under way, all links */
			return (2);
		case EPIPE:
		case ECONNRESET:
			/* What it said before it went is still to be read. */
			if (!l->peer_gone) {
				l->gone_ms = now_ms();
				later(l, GONE_MS);
			}
			l->peer_gone = 1;
			drop_queue(l);
			return (0);
		default:
			die(l, "sendmsg to %s: %s", proc_name(l->peer),
			    strerror(errno));
			return (-1);
		}
	}
	return (0);
}

/* After the queue got shorter. */
static void
check_drained(struct msglink *l)
{
	if (!l->full || l->queued >= MSG_QUEUE_LOW)
		return;
	l->full = 0;
	update_read(l);
	if (l->drained != NULL)
		l->drained(l);
}

static void
msglink_write(struct msglink *l)
{
	l->busy++;
	if (!l->dead) {
		switch (send_queue(l)) {
		case 1:
			if (event_add(l->ev_write, NULL) == -1)
				fatalx("event_add");
			break;
		case 2:
			later(l, RETRY_MS);
			break;
		}
	}
	if (!l->dead)
		check_drained(l);
	leave(l);
}

static void
write_cb(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	msglink_write(arg);
}

/* A later turn: what was left in either direction. */
static void
more_cb(evutil_socket_t fd, short what, void *arg)
{
	struct msglink *l = arg;
	int left;

	(void)fd;
	(void)what;
	l->busy++;
	if (!TAILQ_EMPTY(&l->out))
		msglink_write(l);
	if (may_read(l))
		msglink_read(l);
	if (l->peer_gone && l->pauses == 0 && !l->dead && !l->freed) {
		left = GONE_MS - (int)(now_ms() - l->gone_ms);
		if (left <= 0)
			die(l, "%s reads no more, but does not close",
			    proc_name(l->peer));
		else
			later(l, left);
	}
	leave(l);
}

static struct obuf *
obuf_new(struct msglink *l, size_t size, int fd)
{
	struct obuf *b;

	if ((b = malloc(sizeof(*b) + size)) == NULL)
		fatal(NULL);
	b->off = b->len = 0;
	b->size = size;
	b->fd = fd;
	TAILQ_INSERT_TAIL(&l->out, b, entry);
	return (b);
}

/* Room for a message of so many octets at the end of the queue. */
static uint8_t *
reserve(struct msglink *l, size_t need, int fd)
{
	struct obuf *b = TAILQ_LAST(&l->out, obuf_head);
	size_t size;

	if (b == NULL || fd != -1 || b->size - b->len < need) {
		size = fd != -1 ? OBUF_SIZE_FD : OBUF_SIZE;
		b = obuf_new(l, size < need ? need : size, fd);
	}
	b->len += need;
	return (b->data + b->len - need);
}

void
msg_send(struct msglink *l, uint32_t type, int fd, const void *data,
    size_t size, const void *tail, size_t tail_len)
{
	struct hdr h;
	size_t need, cost;
	uint8_t *p;

	if (size > MSG_SIZE_MAX - sizeof(h) ||
	    tail_len > MSG_SIZE_MAX - sizeof(h) - size)
		fatalx("message type %u is too long", type);
	if (l == NULL || l->dead || l->freed || l->peer_gone) {
		if (fd != -1)
			close(fd);
		return;
	}
	h.len = (uint32_t)(sizeof(h) + size + tail_len);
	h.type = type;
	h.flags = fd != -1 ? HDR_FD : 0;
	h.zero = 0;
	need = PADDED(h.len);
	cost = need + (fd != -1 ? FD_COST : 0);
	if (l->queued + cost > MSG_QUEUE_MAX) {
		if (fd != -1)
			close(fd);
		die(l, "%s does not read: %zu octets wait for it",
		    proc_name(l->peer), l->queued);
		return;
	}
	p = reserve(l, need, fd);
	memset(p + need - 8, 0, 8);		/* padding */
	memcpy(p, &h, sizeof(h));
	if (size > 0)
		memcpy(p + sizeof(h), data, size);
	if (tail_len > 0)
		memcpy(p + sizeof(h) + size, tail, tail_len);
	l->queued += cost;
	l->stats.sent++;
	if (!l->full && l->queued > MSG_QUEUE_HIGH) {
		l->full = 1;
		update_read(l);
	}
	if (!event_pending(l->ev_write, EV_WRITE, NULL))
		event_active(l->ev_flush, EV_TIMEOUT, 1);
}

void
msg_put(struct msglink *l, uint32_t type, const void *data, size_t size)
{
	msg_send(l, type, -1, data, size, NULL, 0);
}

int
msglink_flush(struct msglink *l, int ms)
{
	int64_t end = now_ms() + ms, left;
	struct pollfd pfd;
	int r;

	if (l == NULL)
		return (-1);
	while (!l->dead && (r = send_queue(l)) > 0) {
		if ((left = end - now_ms()) <= 0)
			return (-1);
		if (r == 2 && left > RETRY_MS)
			left = RETRY_MS;
		pfd.fd = l->fd;
		pfd.events = r == 1 ? POLLOUT : 0;
		(void)poll(&pfd, 1, (int)left);
	}
	/* drained is called from the loop, never from here. */
	if (!l->dead && l->full)
		event_active(l->ev_flush, EV_TIMEOUT, 1);
	return (l->dead || l->peer_gone ? -1 : 0);
}

/*
 * Life
 */

static struct event *
new_event(struct msglink *l, int fd, short what, event_callback_fn cb)
{
	struct event *ev;

	if ((ev = event_new(l->base, fd, what, cb, l)) == NULL)
		fatalx("event_new");
	return (ev);
}

struct msglink *
msglink_new(struct event_base *base, int fd, enum proc_id peer,
    const struct msg_rule *rules, size_t nrules,
    void (*closed)(struct msglink *, const char *), void *arg)
{
	struct msglink *l;

	if (evutil_make_socket_nonblocking(fd) == -1)
		fatal("link to %s", proc_name(peer));
	if ((l = calloc(1, sizeof(*l))) == NULL ||
	    (l->rbuf = malloc(RBUF_SIZE)) == NULL)
		fatal(NULL);
	l->base = base;
	l->fd = fd;
	l->self = self;
	l->peer = peer;
	l->rules = rules;
	l->nrules = nrules;
	l->closed = closed;
	l->arg = arg;
	TAILQ_INIT(&l->out);
	l->ev_read = new_event(l, fd, EV_READ | EV_PERSIST, read_cb);
	l->ev_write = new_event(l, fd, EV_WRITE, write_cb);
	l->ev_flush = new_event(l, -1, 0, write_cb);
	l->ev_more = new_event(l, -1, 0, more_cb);
	l->ev_closed = new_event(l, -1, 0, closed_cb);
	update_read(l);
	return (l);
}

void
msglink_free(struct msglink *l)
{
	if (l == NULL || l->freed)
		return;
	l->freed = 1;
	drop_queue(l);
	drop_in_fds(l);
	event_free(l->ev_read);
	event_free(l->ev_write);
	event_free(l->ev_flush);
	event_free(l->ev_more);
	event_free(l->ev_closed);
	close(l->fd);
	l->fd = -1;
	l->busy++;
	leave(l);
}

void *
msglink_arg(const struct msglink *l)
{
	return (l->arg);
}

enum proc_id
msglink_peer(const struct msglink *l)
{
	return (l->peer);
}

int
msglink_fd(const struct msglink *l)
{
	return (l->fd);
}

int
msglink_full(const struct msglink *l)
{
	return (l->full);
}

void
msglink_on_drained(struct msglink *l, void (*cb)(struct msglink *))
{
	l->drained = cb;
}

void
msglink_pause(struct msglink *l)
{
	l->pauses++;
	update_read(l);
}

void
msglink_resume(struct msglink *l)
{
	if (l->pauses == 0)
		fatalx("link to %s resumed, but not paused",
		    proc_name(l->peer));
	l->pauses--;
	update_read(l);
}

void
msglink_stats(const struct msglink *l, struct msglink_stats *st)
{
	*st = l->stats;
	st->queued = l->queued;
}
