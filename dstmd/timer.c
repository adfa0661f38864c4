/* Timers in milliseconds. */
#include <event2/event.h>

#include "dstmd/dstmd.h"

#define SUSPEND_LEAST	1000	/* ms */

static struct {
	struct event	*timer;
	int64_t		 tick;
	int64_t		 before;	/* now_suspended */
	void		(*resumed)(void);
} watch;

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

static void
suspend_look(evutil_socket_t fd, short what, void *arg)
{
	int64_t now = now_suspended(), slept = now - watch.before;

	(void)fd;
	(void)what;
	(void)arg;
	timer_set(watch.timer, watch.tick);
	if (slept < SUSPEND_LEAST)
		return;
	watch.before = now;
	log_debug("this machine was suspended for %lld s",
	    (long long)slept / 1000);
	watch.resumed();
}

void
suspend_watch(struct event_base *base, int64_t tick, void (*resumed)(void))
{
	watch.tick = tick;
	watch.before = now_suspended();
	watch.resumed = resumed;
	if ((watch.timer = evtimer_new(base, suspend_look, NULL)) == NULL)
		fatalx("evtimer_new");
	timer_set(watch.timer, tick);
}
