/* Timers in milliseconds. */
#include <stdlib.h>

#include "session/session-int.h"

int64_t
jitter(int64_t ms)
{
	int64_t span = ms / 5;

	if (span <= 0)
		return (ms);
	if (span > INT32_MAX)
		span = INT32_MAX;
	return (ms - span / 2 + arc4random_uniform((uint32_t)span));
}

void
timer_set(struct event *ev, int64_t ms)
{
	struct timeval tv;

	if (ms < 0)
		ms = 0;
	tv.tv_sec = ms / 1000;
	tv.tv_usec = (ms % 1000) * 1000;
	if (evtimer_add(ev, &tv) == -1)
		fatalx("evtimer_add");
}
