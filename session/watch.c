/* Is a helper stuck? See session-int.h. */
#include "session/session-int.h"

static void
on_watch(evutil_socket_t fd, short what, void *arg)
{
	struct watch *w = arg;
	int64_t left = w->due - now_ms();

	(void)fd;
	(void)what;
	if (w->due == 0)
		return;
	if (left > 0) {
		timer_set(w->timer, left);
		return;
	}
	w->due = 0;
	w->late();
}

void
watch_anew(struct watch *w, int64_t ms)
{
	w->due = now_ms() + ms;
	if (w->timer == NULL && (w->timer = evtimer_new(session.base, on_watch,
	    w)) == NULL)
		fatalx("evtimer_new");
	/* Not set anew for each message: it looks when it is over. */
	if (!evtimer_pending(w->timer, NULL))
		timer_set(w->timer, ms);
}

void
watch_end(struct watch *w)
{
	w->due = 0;
}
