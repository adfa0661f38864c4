/*
 * The least that is a child: named after the process that it stands for
 * (argv[0]), it enters that process's sandbox, then echoes what the parent
 * says, descriptor included, until the link closes.
 */
#include <err.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "dstmd/dstmd.h"
#include "dstmd/msg.h"

static void
echo(struct msglink *l, struct msg *m)
{
	struct msg_verbose v;

	memcpy(&v, m->data, sizeof(v));
	msg_send(l, MSG_LINK, m->fd, &v, sizeof(v), NULL, 0);
	m->fd = -1;
}

static const struct msg_rule rules[] = {
	{ MSG_VERBOSE, MSG_FROM(PROC_PRIV), sizeof(struct msg_verbose), 0,
	    MSG_F_FD_OPT, echo },
};

static enum proc_id
which(const char *name)
{
	uint32_t id;

	for (id = PROC_SESSION; id < PROC_CONTROL; id++)
		if (strcmp(proc_name(id), name) == 0)
			return ((enum proc_id)id);
	errx(2, "no process %s", name);
}

int
main(int argc, char *argv[])
{
	struct event_base *base;

	proc_child(which(argv[0]), argc, argv);
	if ((base = event_base_new()) == NULL)
		fatalx("event_base_new");
	msglink_new(base, PROC_FD_PRIV, PROC_PRIV, rules,
	    sizeof(rules) / sizeof(rules[0]), proc_closed, NULL);
	event_base_dispatch(base);
	fatalx("the loop ended");
}
