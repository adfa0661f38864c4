#include <time.h>

#include "dstmd/dstmd.h"

int64_t
now_ms(void)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_BOOTTIME, &ts) == -1)
		fatal("clock_gettime");
	return ((int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000);
}

int64_t
now_suspended(void)
{
#ifdef __linux__
	struct timespec boot, mono;

	if (clock_gettime(CLOCK_MONOTONIC, &mono) == -1 ||
	    clock_gettime(CLOCK_BOOTTIME, &boot) == -1)
		fatal("clock_gettime");
	return ((int64_t)(boot.tv_sec - mono.tv_sec) * 1000 +
	    (boot.tv_nsec - mono.tv_nsec) / 1000000);
#else
	return (0);
#endif
}

int64_t
now_wall(void)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_REALTIME, &ts) == -1)
		fatal("clock_gettime");
	return (ts.tv_sec);
}
