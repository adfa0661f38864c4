/* Timers in milliseconds. */
#include <event2/event.h>

#include "dstmd/dstmd.h"

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
