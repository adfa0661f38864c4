/* What all fuzzers share, see fuzz.h. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dstmd/dstmd.h"
#include "fuzz/fuzz.h"

static int	 running;

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
