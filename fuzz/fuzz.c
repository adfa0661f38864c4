/* What all fuzzers share, see fuzz.h. */
#include <sys/time.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "dstmd/dstmd.h"
#include "fuzz/fuzz.h"

#define TIMERS_MAX	4096
#define RUNS_MAX	256	/* of one time_passes: no timer is for ever */
#define TURNS		4

static int	 running;
static struct {
	struct event	*ev;
	int64_t		 due;	/* us from now */
} timers[TIMERS_MAX];
static size_t	 ntimers;

void
fuzz_failed(const char *file, int line, const char *what)
{
	const char *log = getenv("FUZZ_LOG");
	FILE *f;

	/* What depends on earlier inputs is not seen again by its own. */
	if (log != NULL && (f = fopen(log, "a")) != NULL) {
		fprintf(f, "%s:%d: not so: %s\n", file, line, what);
		fclose(f);
	}
	dprintf(STDERR_FILENO, "%s:%d: not so: %s\n", file, line, what);
	abort();
}

/* fatal() and library functions that give up end here. */
static void
on_exit_within(void)
{
	if (running)
		abort();
}

uint32_t
input_number(struct input *in, int octets)
{
	uint32_t v = 0;

	for (; octets > 0; octets--) {
		v <<= 8;
		if (in->n > 0) {
			v |= *in->p++;
			in->n--;
		}
	}
	return (v);
}

static uint8_t *
copy_of(const uint8_t *p, size_t n)
{
	uint8_t *copy;

	if ((copy = malloc(n > 0 ? n : 1)) == NULL)
		abort();
	memcpy(copy, p, n);
	return (copy);
}

uint8_t *
input_piece(struct input *in, size_t *n)
{
	uint8_t *copy;

	*n = input_number(in, 2);
	if (*n > in->n)
		*n = in->n;
	copy = copy_of(in->p, *n);
	in->p += *n;
	in->n -= *n;
	return (copy);
}

/*
 * Time
 */
static int
collect(const struct event_base *base, const struct event *ev, void *arg)
{
	struct timeval now, tv;

	(void)base;
	(void)arg;
	if ((event_get_events(ev) & (EV_READ | EV_WRITE | EV_SIGNAL)) != 0 ||
	    !event_pending(ev, EV_TIMEOUT, &tv) || ntimers == TIMERS_MAX)
		return (0);
	gettimeofday(&now, NULL);
	timersub(&tv, &now, &tv);
	timers[ntimers].ev = (struct event *)(uintptr_t)ev;
	timers[ntimers].due = tv.tv_sec < 0 ? 0 :
	    (int64_t)tv.tv_sec * 1000000 + tv.tv_usec;
	ntimers++;
	return (0);
}

/* All of them are that much nearer; the first one is run, if it is due. */
static void
advance(struct event_base *base, size_t first, int64_t us, int due)
{
	struct timeval tv;
	int64_t left;
	size_t i;

	for (i = 0; i < ntimers; i++) {
		left = timers[i].due - us;
		tv.tv_sec = left / 1000000;
		tv.tv_usec = left % 1000000;
		if (i == first && due)
			event_active(timers[i].ev, EV_TIMEOUT, 1);
		else if (event_add(timers[i].ev, &tv) == -1)
			abort();
	}
	for (i = 0; i < TURNS; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

void
time_passes(struct event_base *base, int64_t *clock, int64_t us)
{
	int64_t step;
	size_t i, first;
	int runs, due = 1;

	for (runs = 0; due && runs < RUNS_MAX; runs++) {
		ntimers = first = 0;
		event_base_foreach_event(base, collect, NULL);
		for (i = 1; i < ntimers; i++)
			if (timers[i].due < timers[first].due)
				first = i;
		due = ntimers > 0 && timers[first].due <= us;
		step = due ? timers[first].due : us;
		*clock += step;
		us -= step;
		advance(base, first, step, due);
	}
}

/* What the parsers say is not looked at, and is much. Sanitizers use fd 2. */
static void
quiet(void)
{
	FILE *null;

	if (getenv("FUZZ_VERBOSE") != NULL)
		return;
	if ((null = fopen("/dev/null", "w")) == NULL)
		abort();
	stderr = null;
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || atexit(on_exit_within) != 0)
		abort();
	quiet();
	return (0);
}

/*
 * Once, in the process that runs the inputs: AFL++ makes one after the other
 * of what is there before the first, and they must not share sockets.
 */
static void
init(void)
{
	static int done;

	if (done)
		return;
	done = 1;
	fuzz_init();
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	uint8_t *copy = copy_of(n > 0 ? p : (const uint8_t *)"", n);

	init();
	running = 1;
	fuzz_one(copy, n);
	running = 0;
	free(copy);
	return (0);
}
