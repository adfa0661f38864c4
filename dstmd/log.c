/*
 * The log. One write for a line, so that lines of several processes do not
 * mix. Lines come from processes that may have been taken over, and hold
 * what peers have sent: everything that is not printable ASCII leaves here
 * as \ooo.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "dstmd/dstmd.h"

#define LINE_SIZE	1024	/* below PIPE_BUF: a pipe takes all or none */
#define PERIOD		10000	/* ms: how many were left out, so often */

/*
 * Lines that somebody else decides about: so many at once, then one in each
 * so many ms. They must not fill the disk, nor hide the others.
 */
struct rate {
	int64_t		 burst, every;
	int64_t		 taken;		/* until then its lines are, ms */
	int64_t		 since;		/* the first was left out */
	unsigned int	 more;		/* were left out */
};
#define RATE_PEER	{ .burst = 100, .every = 10 }
#define RATE_CHILD	{ .burst = 1000, .every = 100 }
#define RATE_DOUBT	{ .burst = 10, .every = 1000 }

static const char	*log_name = "dstmd";
static enum log_dest	 dest = LOG_TO_STDERR;
static int		 verbose;
static uint32_t		 lost;		/* lines that the pipe did not take */

void
log_init(const char *name, enum log_dest to, int v)
{
	int flags;

	log_name = name;
	dest = to;
	verbose = v;
	if (dest == LOG_TO_SYSLOG)
		openlog(name, LOG_PID | LOG_NDELAY, LOG_DAEMON);
	else if (dest == LOG_TO_PIPE) {
		/* A parent that does not read must not stop us. */
		if ((flags = fcntl(STDERR_FILENO, F_GETFL)) == -1 ||
		    fcntl(STDERR_FILENO, F_SETFL, flags | O_NONBLOCK) == -1)
			_exit(1);
	}
}

void
log_setverbose(int v)
{
	verbose = v;
}

int
log_getverbose(void)
{
	return (verbose);
}

/* Appends text, made visible, to a line that keeps room for its newline. */
static size_t
add_visible(char *line, size_t len, const char *text)
{
	unsigned char c;

	for (; (c = (unsigned char)*text) != '\0'; text++) {
		if (len + 4 >= LINE_SIZE - 1)
			break;
		if (c >= 0x20 && c < 0x7f) {
			line[len++] = (char)c;
			continue;
		}
		line[len++] = '\\';
		line[len++] = (char)('0' + (c >> 6));
		line[len++] = (char)('0' + ((c >> 3) & 7));
		line[len++] = (char)('0' + (c & 7));
	}
	return (len);
}

static int
write_line(const char *line, size_t len)
{
	ssize_t n;

	do
		n = write(STDERR_FILENO, line, len);
	while (n == -1 && errno == EINTR);
	return (n == -1 ? -1 : 0);
}

static void
pipe_line(const char *line, size_t len)
{
	char note[128];
	int n;

	if (lost > 0) {
		n = snprintf(note, sizeof(note),
		    "<%d>%s: %u lines of the log were lost\n", LOG_WARNING,
		    log_name, (unsigned)lost);
		if (n < 0 || write_line(note, (size_t)n) == -1) {
			lost++;
			return;
		}
		lost = 0;
	}
	if (write_line(line, len) == -1)
		lost++;
}

/* name NULL: the text has it already. */
static void
emit(int prio, const char *name, const char *text)
{
	char line[LINE_SIZE];
	size_t len = 0;

	prio = LOG_PRI(prio);
	if (dest == LOG_TO_PIPE) {
		line[len++] = '<';
		line[len++] = (char)('0' + prio);
		line[len++] = '>';
	}
	/* syslog(3) puts our own name in front. */
	if (name != NULL && dest != LOG_TO_SYSLOG) {
		len = add_visible(line, len, name);
		len = add_visible(line, len, ": ");
	}
	len = add_visible(line, len, text);
	if (dest == LOG_TO_SYSLOG) {
		line[len] = '\0';
		syslog(prio, "%s", line);
		return;
	}
	line[len++] = '\n';
	if (dest == LOG_TO_PIPE)
		pipe_line(line, len);
	else
		(void)write_line(line, len);
}

static void
vlog(int prio, int error, const char *fmt, va_list ap)
{
	char text[LINE_SIZE];
	size_t len = 0;
	int n;

	text[0] = '\0';
	if (fmt != NULL) {
		n = vsnprintf(text, sizeof(text), fmt, ap);
		if (n < 0)
			strlcpy(text, fmt, sizeof(text));
		len = strlen(text);
	}
	if (error != -1)
		snprintf(text + len, sizeof(text) - len, "%s%s",
		    len > 0 ? ": " : "", strerror(error));
	emit(prio, log_name, text);
}

void
log_warn(const char *fmt, ...)
{
	va_list ap;
	int saved = errno;

	va_start(ap, fmt);
	vlog(LOG_WARNING, saved, fmt, ap);
	va_end(ap);
	errno = saved;
}

void
log_warnx(const char *fmt, ...)
{
	va_list ap;
	int saved = errno;

	va_start(ap, fmt);
	vlog(LOG_WARNING, -1, fmt, ap);
	va_end(ap);
	errno = saved;
}

/* May it be logged? If not, it is counted. */
static int
allowed(struct rate *r, const char *whose)
{
	struct timespec ts = { 0, 0 };
	unsigned int more = r->more;
	int64_t now;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	now = (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
	if (r->taken < now - r->burst * r->every)
		r->taken = now - r->burst * r->every;
	if (r->taken + r->every > now) {
		if (r->more++ == 0)
			r->since = now;
		return (0);
	}
	r->taken += r->every;
	if (more > 0 && now - r->since >= PERIOD) {
		r->more = 0;
		log_warnx("%u more lines %s were left out", more, whose);
	}
	return (1);
}

void
log_line(enum proc_id from, int prio, const char *text)
{
	static struct rate rates[PROC_NPROC] = {
		[0 ... PROC_NPROC - 1] = RATE_CHILD
	};
	int saved = errno;
	char whose[32];

	prio = LOG_PRI(prio);
	if (prio == LOG_DEBUG && !verbose)
		return;
	/* What is worse is for the machine's own: each terminal shows it. */
	if (prio < LOG_CRIT)
		prio = LOG_CRIT;
	snprintf(whose, sizeof(whose), "of %s", proc_name(from));
	if (allowed(&rates[from], whose))
		emit(prio, NULL, text);
	errno = saved;
}

void
log_doubt(enum proc_id about, const char *fmt, ...)
{
	static struct rate rates[PROC_NPROC] = {
		[0 ... PROC_NPROC - 1] = RATE_DOUBT
	};
	int saved = errno;
	char whose[32];
	va_list ap;

	snprintf(whose, sizeof(whose), "about %s", proc_name(about));
	if (allowed(&rates[about], whose)) {
		va_start(ap, fmt);
		vlog(LOG_WARNING, -1, fmt, ap);
		va_end(ap);
	}
	errno = saved;
}

void
log_peer(const char *fmt, ...)
{
	static struct rate rate = RATE_PEER;
	int saved = errno;
	va_list ap;

	if (allowed(&rate, "about peers")) {
		va_start(ap, fmt);
		vlog(LOG_INFO, -1, fmt, ap);
		va_end(ap);
	}
	errno = saved;
}

void
log_info(const char *fmt, ...)
{
	va_list ap;
	int saved = errno;

	va_start(ap, fmt);
	vlog(LOG_INFO, -1, fmt, ap);
	va_end(ap);
	errno = saved;
}

void
log_debug(const char *fmt, ...)
{
	va_list ap;
	int saved = errno;

	if (!verbose)
		return;
	va_start(ap, fmt);
	vlog(LOG_DEBUG, -1, fmt, ap);
	va_end(ap);
	errno = saved;
}

void
fatal(const char *fmt, ...)
{
	va_list ap;
	int saved = errno;

	va_start(ap, fmt);
	vlog(LOG_CRIT, saved, fmt, ap);
	va_end(ap);
	exit(1);
}

void
fatalx(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vlog(LOG_CRIT, -1, fmt, ap);
	va_end(ap);
	exit(1);
}
