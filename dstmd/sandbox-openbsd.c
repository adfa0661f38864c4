/*
 * The sandbox on OpenBSD: pledge(2) and unveil(2). The promises are in
 * sandbox-table.c.
 */
#ifdef __OpenBSD__
#include <errno.h>
#include <stddef.h>
#include <unistd.h>

#include "dstmd/dstmd.h"
#include "dstmd/sandbox.h"
#include "dstmd/sandbox-table.h"

/* What a program needs to start, beside what the caller says. */
static const struct sandbox_path start_paths[] = {
	{ "/usr/libexec/ld.so",		"r" },
	{ "/usr/lib",			"r" },
	{ "/usr/local/lib",		"r" },
	{ "/var/run/ld.so.hints",	"r" },
	{ "/etc/localtime",		"r" },
	{ "/usr/share/zoneinfo",	"r" },
	{ "/dev/null",			"rw" },
	{ NULL, NULL }
};

int
sandbox_available(const char **why)
{
	(void)why;
	return (0);
}

static void
enter_unveil(const struct sandbox_path *p)
{
	for (; p != NULL && p->path != NULL; p++)
		if (unveil(p->path, p->access) == -1 && errno != ENOENT)
			fatal("unveil %s", p->path);
}

void
sandbox_enter(enum proc_id id, const struct sandbox_path *paths)
{
	if (id >= PROC_CONTROL)
		fatalx("no sandbox for process %d", (int)id);
	sandbox_limits(id);
	enter_unveil(paths);
	if (id == PROC_PRIV)
		enter_unveil(start_paths);
	/* A child without paths lives in an empty root, without rpath. */
	if ((paths != NULL || id == PROC_PRIV) && unveil(NULL, NULL) == -1)
		fatal("unveil");
	/* Programs that it executes pledge themselves. */
	if (sandboxes[id].promises != NULL &&
	    pledge(sandboxes[id].promises, NULL) == -1)
		fatal("pledge");
}
#endif /* __OpenBSD__ */
