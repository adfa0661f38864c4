/* The session process: see session.h. */
#include <sys/types.h>

#include "session/session-int.h"

int
main(int argc, char *argv[])
{
	struct event_base *base;

	proc_child(PROC_SESSION, argc, argv);
	if ((base = event_base_new()) == NULL)
		fatalx("event_base_new");
	session_init(base, PROC_FD_PRIV);
	event_base_dispatch(base);
	return (0);
}
