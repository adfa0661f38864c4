/*
 * UDP packets by the batch and TCP flows, for bench/data. Where WAIT is "spin"
 * nobody sleeps: to wake somebody up on another processor costs a virtual
 * machine more than a packet does, and slow contenders have to do it more
 * often than fast ones. "sleep" is for what counts the processors' time.
 *
 *	blast recv WAIT port
 *		counts what comes, until nothing has for half a second.
 *		Says "ready", then packets, octets (IPv4) and the seconds from
 *		the first to the last.
 *	blast sink WAIT port flows
 *		reads so many TCP flows until they end. Says "ready", then
 *		octets and the seconds from the first to the last.
 *	blast pour WAIT address port seconds flows
 *		fills them. Says octets.
 *	blast send address port octets rate seconds flows
 *		IPv4 packets of so many octets (header included), rate a
 *		second, 0 as many as go; flows: source ports that take turns.
 *		Says packets and seconds.
 *	blast forge inner|outer src6 dst6 src4 dst4 packets rate
 *		4over6 by hand: UDP in IPv4 in IPv6. The inner or outer source
 *		counts up from the given one, a thousand of them. Says packets.
 *
 * TCP is written by the megabyte: by 128 kB, of which two large segments leave a
 * rest that depends on the MTU, another MTU alone costs a third.
 *
 * A sender that was not on a processor for a while leaves out what it was late
 * with: a burst would measure queues.
 */
#include <sys/types.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>

#include <arpa/inet.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BATCH		32
#define FLOWS_MAX	16
#define PACKET_MAX	65535
#define POUR		(1 << 20)	/* octets of a write or read */
#define CONGESTION	"cubic"		/* others may pace, by their own model */
#define HEADERS		((int)(sizeof(struct ip) + sizeof(struct udphdr)))
#define TICK_NS		500000		/* of a paced sender */
#define LATE_NS		2000000		/* more than this is left out */
#define FORGED		1000		/* different sources */
#define FIRST_NS	10000000000LL	/* a receiver waits for the first */
#define READ_NS		50000		/* a spinning reader's period */
#define QUIET_NS	500000000	/* and for another one */

static int64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (ts.tv_sec * 1000000000LL + ts.tv_nsec);
}

static int64_t
number(const char *s, int64_t max)
{
	char *end;
	long long n;

	errno = 0;
	n = strtoll(s, &end, 10);
	if (errno != 0 || end == s || *end != '\0' || n < 0 || n > max)
		errx(2, "not a number up to %" PRId64 ": %s", max, s);
	return (n);
}

static void
buffers(int s)
{
	int size = 64 << 20;

	/* Without the privilege the usual ones have to do. */
	(void)setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
}

/*
 * How many packets are due, at most a batch; sleeps until there are some.
 */
struct pace {
	int64_t		 rate, begin, due;	/* a second; ns; packets */
};

static int
pace_wait(struct pace *p)
{
	struct timespec ts = { 0, TICK_NS };
	int64_t now, total;

	if (p->rate == 0)
		return (BATCH);
	for (;;) {
		now = now_ns();
		total = (now - p->begin) * p->rate / 1000000000;
		if ((total - p->due) * 1000000000 / p->rate > LATE_NS) {
			p->begin = now - p->due * 1000000000 / p->rate -
			    TICK_NS;
			continue;
		}
		if (total > p->due)
			break;
		nanosleep(&ts, NULL);
	}
	total = total - p->due < BATCH ? total - p->due : BATCH;
	p->due += total;
	return ((int)total);
}

static int
is_spin(const char *word)
{
	if (strcmp(word, "spin") != 0 && strcmp(word, "sleep") != 0)
		errx(2, "neither spin nor sleep: %s", word);
	return (strcmp(word, "spin") == 0);
}

static void
address4(struct sockaddr_in *sin, const char *address, const char *port)
{
	memset(sin, 0, sizeof(*sin));
	sin->sin_family = AF_INET;
	sin->sin_port = htons((uint16_t)number(port, 65535));
	if (address != NULL && inet_pton(AF_INET, address, &sin->sin_addr) != 1)
		errx(2, "not an IPv4 address: %s", address);
}

static void
ready(void)
{
	puts("ready");
	fflush(stdout);
}

static int
cmd_recv(char *argv[])
{
	static char data[BATCH][2048];
	struct mmsghdr msgs[BATCH];
	struct iovec iov[BATCH];
	struct sockaddr_in sin;
	struct timeval tv = { 0, QUIET_NS / 1000 };
	int64_t begin, now, first = 0, last = 0, packets = 0, octets = 0;
	int flags = is_spin(argv[0]) ? MSG_DONTWAIT : MSG_WAITFORONE;
	int i, n, s;

	address4(&sin, NULL, argv[1]);
	if ((s = socket(AF_INET, SOCK_DGRAM, 0)) == -1 ||
	    bind(s, (struct sockaddr *)&sin, sizeof(sin)) == -1)
		err(1, "socket");
	buffers(s);
	setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	memset(msgs, 0, sizeof(msgs));
	for (i = 0; i < BATCH; i++) {
		iov[i].iov_base = data[i];
		iov[i].iov_len = sizeof(data[i]);
		msgs[i].msg_hdr.msg_iov = &iov[i];
		msgs[i].msg_hdr.msg_iovlen = 1;
	}
	ready();
	begin = now_ns();
	for (;;) {
		n = recvmmsg(s, msgs, BATCH, flags, NULL);
		now = now_ns();
		if (n <= 0) {
			if (n == -1 && errno != EAGAIN && errno != EINTR)
				err(1, "recvmmsg");
			if (now > (first == 0 ? begin + FIRST_NS :
			    last + QUIET_NS))
				break;
			continue;
		}
		last = now;
		if (first == 0)
			first = last;
		packets += n;
		for (i = 0; i < n; i++)
			octets += msgs[i].msg_len + HEADERS;
	}
	printf("%" PRId64 " %" PRId64 " %.6f\n", packets, octets,
	    (double)(last - first) / 1e9);
	return (0);
}

/* Flows of TCP: one after the other, whatever each can do at once. */
struct flows {
	struct pollfd	 fds[FLOWS_MAX];	/* those that have ended: -1 */
	int		 n, left, spin;
	int64_t		 period, next;		/* ns; 0: no period */
};

static void
flows_wait(struct flows *f)
{
	while (f->period != 0 && now_ns() < f->next)
		;
	f->next = now_ns() + f->period;
	if (!f->spin && poll(f->fds, (nfds_t)f->n, 10000) == -1 &&
	    errno != EINTR)
		err(1, "poll");
}

static void
flow_add(struct flows *f, int s, short events)
{
	if (fcntl(s, F_SETFL, O_NONBLOCK) == -1)
		err(1, "fcntl");
	f->fds[f->n].fd = s;
	f->fds[f->n].events = events;
	f->n++;
	f->left++;
}

static void
flow_over(struct flows *f, int i)
{
	close(f->fds[i].fd);
	f->fds[i].fd = -1;
	f->left--;
}

static int
cmd_sink(char *argv[])
{
	static char data[POUR];
	struct flows f = { .spin = is_spin(argv[0]) };
	struct timeval tv = { FIRST_NS / 1000000000, 0 };
	struct sockaddr_in sin;
	int64_t first = 0, octets = 0;
	int i, n, on = 1, s;
	ssize_t got;

	address4(&sin, NULL, argv[1]);
	n = (int)number(argv[2], FLOWS_MAX);
	f.period = f.spin ? READ_NS : 0;
	if ((s = socket(AF_INET, SOCK_STREAM, 0)) == -1 ||
	    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == -1 ||
	    setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) == -1 ||
	    bind(s, (struct sockaddr *)&sin, sizeof(sin)) == -1 ||
	    listen(s, FLOWS_MAX) == -1)
		err(1, "socket");
	ready();
	while (f.n < n) {
		if ((i = accept(s, NULL, NULL)) == -1)
			err(1, "accept");
		flow_add(&f, i, POLLIN);
	}
	while (f.left > 0) {
		flows_wait(&f);
		for (i = 0; i < f.n; i++) {
			if (f.fds[i].fd == -1)
				continue;
			got = read(f.fds[i].fd, data, sizeof(data));
			if (got > 0) {
				octets += got;
				if (first == 0)
					first = now_ns();
			} else if (got == 0 || errno != EAGAIN)
				flow_over(&f, i);
		}
	}
	printf("%" PRId64 " %.6f\n", octets, (double)(now_ns() - first) / 1e9);
	return (0);
}

static int
cmd_pour(char *argv[])
{
	static char data[POUR];
	struct flows f = { .spin = is_spin(argv[0]) };
	struct sockaddr_in sin;
	int64_t end, octets = 0;
	ssize_t put;
	int i, n, s;

	address4(&sin, argv[1], argv[2]);
	n = (int)number(argv[4], FLOWS_MAX);
	while (f.n < n) {
		if ((s = socket(AF_INET, SOCK_STREAM, 0)) == -1)
			err(1, "socket");
		/* Where there is none, the host's own it is. */
		(void)setsockopt(s, IPPROTO_TCP, TCP_CONGESTION, CONGESTION,
		    sizeof(CONGESTION) - 1);
		if (connect(s, (struct sockaddr *)&sin, sizeof(sin)) == -1)
			err(1, "connect");
		flow_add(&f, s, POLLOUT);
	}
	end = now_ns() + (int64_t)(strtod(argv[3], NULL) * 1e9);
	while (now_ns() < end) {
		flows_wait(&f);
		for (i = 0; i < f.n; i++) {
			put = write(f.fds[i].fd, data, sizeof(data));
			if (put > 0)
				octets += put;
			else if (errno != EAGAIN)
				err(1, "write");
		}
	}
	printf("%" PRId64 "\n", octets);
	return (0);
}

static int
flow_open(const char *address, const char *port)
{
	struct sockaddr_in sin;
	int s;

	address4(&sin, address, port);
	if ((s = socket(AF_INET, SOCK_DGRAM, 0)) == -1 ||
	    connect(s, (struct sockaddr *)&sin, sizeof(sin)) == -1)
		err(1, "socket");
	return (s);
}

/*
 * All of a batch, though a queue on the way is full or there was an ICMP
 * error: how many the kernel took.
 */
static int
send_batch(int s, struct mmsghdr *msgs, int n)
{
	int done, sent = 0, tries = 0;

	while (n > 0) {
		done = sendmmsg(s, msgs, (unsigned int)n, 0);
		if (done == -1) {
			if (errno != ENOBUFS && errno != ECONNREFUSED &&
			    errno != EAGAIN && errno != EINTR)
				err(1, "sendmmsg");
			if (++tries > 1000)
				break;
			continue;
		}
		sent += done;
		msgs += done;
		n -= done;
	}
	return (sent);
}

static int
cmd_send(char *argv[])
{
	static char data[PACKET_MAX];
	struct mmsghdr msgs[BATCH];
	struct iovec iov;
	struct pace p;
	int64_t octets, packets = 0, end;
	int flows[FLOWS_MAX], i, n, nflows, turn = 0;

	octets = number(argv[2], PACKET_MAX);
	if (octets < HEADERS)
		errx(2, "fewer octets than its headers have");
	p.rate = number(argv[3], 10000000);
	p.due = 0;
	nflows = (int)number(argv[5], FLOWS_MAX);
	for (i = 0; i < nflows; i++)
		flows[i] = flow_open(argv[0], argv[1]);
	iov.iov_base = data;
	iov.iov_len = (size_t)octets - HEADERS;
	memset(msgs, 0, sizeof(msgs));
	for (i = 0; i < BATCH; i++) {
		msgs[i].msg_hdr.msg_iov = &iov;
		msgs[i].msg_hdr.msg_iovlen = 1;
	}
	p.begin = now_ns();
	end = p.begin + (int64_t)(strtod(argv[4], NULL) * 1e9);
	octets = p.begin;
	while (now_ns() < end) {
		n = pace_wait(&p);
		packets += send_batch(flows[turn], msgs, n);
		turn = (turn + 1) % nflows;
	}
	printf("%" PRId64 " %.6f\n", packets,
	    (double)(now_ns() - octets) / 1e9);
	return (0);
}

struct forged {
	struct ip6_hdr	 outer;
	struct ip	 inner;
	struct udphdr	 udp;
	char		 data[16];
};

static uint16_t
ip_checksum(const void *header)
{
	const uint8_t *p = header;
	uint32_t sum = 0;
	size_t i;

	for (i = 0; i < sizeof(struct ip); i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	sum += sum >> 16;
	return (htons((uint16_t)~sum));
}

static void
forged_init(struct forged *f, char *argv[])
{
	memset(f, 0, sizeof(*f));
	f->outer.ip6_flow = htonl(6U << 28);
	f->outer.ip6_plen = htons(sizeof(*f) - sizeof(f->outer));
	f->outer.ip6_nxt = IPPROTO_IPIP;
	f->outer.ip6_hlim = 64;
	f->inner.ip_v = 4;
	f->inner.ip_hl = sizeof(f->inner) / 4;
	f->inner.ip_len = htons(sizeof(*f) - sizeof(f->outer));
	f->inner.ip_ttl = 64;
	f->inner.ip_p = IPPROTO_UDP;
	f->udp.uh_sport = f->udp.uh_dport = htons(9);
	f->udp.uh_ulen = htons(sizeof(f->udp) + sizeof(f->data));
	if (inet_pton(AF_INET6, argv[0], &f->outer.ip6_src) != 1 ||
	    inet_pton(AF_INET6, argv[1], &f->outer.ip6_dst) != 1 ||
	    inet_pton(AF_INET, argv[2], &f->inner.ip_src) != 1 ||
	    inet_pton(AF_INET, argv[3], &f->inner.ip_dst) != 1)
		errx(2, "not an address");
	f->inner.ip_sum = ip_checksum(&f->inner);
}

static void
forged_next(struct forged *f, const struct forged *model, int inner, int64_t n)
{
	uint32_t low;

	*f = *model;
	n %= FORGED;
	if (inner) {
		f->inner.ip_src.s_addr = htonl(
		    ntohl(model->inner.ip_src.s_addr) + (uint32_t)n);
		f->inner.ip_sum = 0;
		f->inner.ip_sum = ip_checksum(&f->inner);
	} else {
		memcpy(&low, &model->outer.ip6_src.s6_addr[12], sizeof(low));
		low = htonl(ntohl(low) + (uint32_t)n);
		memcpy(&f->outer.ip6_src.s6_addr[12], &low, sizeof(low));
	}
}

static int
cmd_forge(char *argv[])
{
	struct forged f[BATCH], model;
	struct mmsghdr msgs[BATCH];
	struct iovec iov[BATCH];
	struct sockaddr_in6 to;
	struct pace p;
	int64_t count, made = 0, sent = 0;
	int i, n, s;

	forged_init(&model, argv + 1);
	count = number(argv[5], INT64_MAX);
	p.rate = number(argv[6], 10000000);
	p.due = 0;
	if ((s = socket(AF_INET6, SOCK_RAW, IPPROTO_RAW)) == -1)
		err(1, "raw socket");
	memset(&to, 0, sizeof(to));
	to.sin6_family = AF_INET6;
	to.sin6_addr = model.outer.ip6_dst;
	memset(msgs, 0, sizeof(msgs));
	for (i = 0; i < BATCH; i++) {
		iov[i].iov_base = &f[i];
		iov[i].iov_len = sizeof(f[i]);
		msgs[i].msg_hdr.msg_iov = &iov[i];
		msgs[i].msg_hdr.msg_iovlen = 1;
		msgs[i].msg_hdr.msg_name = &to;
		msgs[i].msg_hdr.msg_namelen = sizeof(to);
	}
	p.begin = now_ns();
	while (made < count) {
		n = pace_wait(&p);
		if (n > count - made)
			n = (int)(count - made);
		for (i = 0; i < n; i++)
			forged_next(&f[i], &model,
			    strcmp(argv[0], "inner") == 0, made + i);
		made += n;
		sent += send_batch(s, msgs, n);
	}
	printf("%" PRId64 "\n", sent);
	return (0);
}

int
main(int argc, char *argv[])
{
	static const struct {
		const char	*name;
		int		 nargs;
		int		(*run)(char *[]);
	} commands[] = {
		{ "recv", 2, cmd_recv },
		{ "sink", 3, cmd_sink },
		{ "pour", 5, cmd_pour },
		{ "send", 6, cmd_send },
		{ "forge", 7, cmd_forge },
	};
	size_t i;

	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (argc == commands[i].nargs + 2 &&
		    strcmp(argv[1], commands[i].name) == 0)
			return (commands[i].run(argv + 2));
	errx(2, "usage: see the head of blast.c");
}
