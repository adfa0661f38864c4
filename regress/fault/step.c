/*
 * Preloaded into one daemon: its wall clock is that of the host, plus so many
 * seconds as a file says. The host's own is left alone, and so are the clocks
 * that do not step.
 *
 *	DSTMD_STEP=file		8 octets, of this host's order, read at each call
 *
 * The file is mapped before the daemon enters its sandbox. Only the parent
 * has an environment, so only the parent has this clock; no other process
 * asks for the wall time.
 */
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include <err.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t	*step;

static void __attribute__((__constructor__))
step_init(void)
{
	const char *file = getenv("DSTMD_STEP");
	void *p;
	int fd;

	if (file == NULL)
		return;
	if ((fd = open(file, O_RDONLY | O_CLOEXEC)) == -1)
		err(1, "%s", file);
	p = mmap(NULL, sizeof(*step), PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		err(1, "%s", file);
	close(fd);
	step = p;
}

static int64_t
offset(void)
{
	return (step != NULL ? *step : 0);
}

int
clock_gettime(clockid_t id, struct timespec *ts)
{
	if (syscall(SYS_clock_gettime, id, ts) == -1)
		return (-1);
	if (id == CLOCK_REALTIME)
		ts->tv_sec += offset();
	return (0);
}

int
gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
	struct timespec ts;

	(void)zone;
	if (clock_gettime(CLOCK_REALTIME, &ts) == -1)
		return (-1);
	tv->tv_sec = ts.tv_sec;
	tv->tv_usec = ts.tv_nsec / 1000;
	return (0);
}

time_t
time(time_t *t)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_REALTIME, &ts) == -1)
		return (-1);
	if (t != NULL)
		*t = ts.tv_sec;
	return (ts.tv_sec);
}
