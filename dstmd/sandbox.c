/* What the sandboxes of all systems have in common: resource limits. */
#include <sys/types.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <unistd.h>

#include "dstmd/dstmd.h"
#include "dstmd/sandbox-table.h"

static void
limit(int what, rlim_t most, const char *name)
{
	struct rlimit rl;

	if (getrlimit(what, &rl) == -1)
		fatal("getrlimit %s", name);
	if (rl.rlim_max == RLIM_INFINITY || rl.rlim_max > most)
		rl.rlim_max = most;
	rl.rlim_cur = rl.rlim_max;
	if (setrlimit(what, &rl) == -1)
		fatal("setrlimit %s", name);
}

/*
 * The parent's limit bounds its children's, of which session has a
 * descriptor for each connection.
 */
static void
raise_nofile(rlim_t want)
{
	struct rlimit rl, more;

	if (getrlimit(RLIMIT_NOFILE, &rl) == -1)
		fatal("getrlimit NOFILE");
	if (rl.rlim_max < want) {
		more.rlim_cur = more.rlim_max = want;
		if (setrlimit(RLIMIT_NOFILE, &more) == 0)
			return;
		log_debug("descriptors: cannot raise the limit from %llu to "
		    "%llu", (unsigned long long)rl.rlim_max,
		    (unsigned long long)want);
	}
	rl.rlim_cur = rl.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &rl) == -1)
		fatal("setrlimit NOFILE");
}

void
sandbox_limits(enum proc_id id)
{
	const struct sandbox *s = &sandboxes[id];
	struct stat st;

	limit(RLIMIT_CORE, 0, "CORE");	/* it would hold secrets */
	if (id == PROC_PRIV) {
		raise_nofile(s->nofile);
		return;
	}
	limit(RLIMIT_NOFILE, s->nofile, "NOFILE");
	limit(RLIMIT_NPROC, 0, "NPROC");
	limit(RLIMIT_MEMLOCK, 0, "MEMLOCK");
#ifndef SANITIZER
	if (s->data != 0)
		limit(RLIMIT_DATA, s->data, "DATA");
#endif
	/* In the foreground the log may be a file. */
	if (!s->files &&
	    (fstat(STDERR_FILENO, &st) == -1 || !S_ISREG(st.st_mode)))
		limit(RLIMIT_FSIZE, 0, "FSIZE");
}
