/*
 * The sandbox of each process: what it may still do once it runs. On Linux
 * seccomp (kill by default), Landlock, no-new-privs, capabilities and
 * resource limits (sandbox-linux.c); on OpenBSD pledge and unveil
 * (sandbox-openbsd.c). The tables are in sandbox-table.c, one block for a
 * process, the pledge promises beside them.
 */
#ifndef DSTMD_SANDBOX_H
#define DSTMD_SANDBOX_H

#include "dstmd/dstmd.h"

/*
 * What this process may still read, write or execute by path: for the
 * parent and the store. path NULL ends the list. Access: letters of "rwcx"
 * (c: create and remove, x: execute), as unveil(2).
 */
struct sandbox_path {
	const char	*path;
	const char	*access;
};

/*
 * Is there a sandbox to be had here (seccomp filter, Landlock)? 0, or -1
 * with the reason in a static string. The parent refuses to start on -1.
 */
int	 sandbox_available(const char **);
/*
 * Enters the sandbox of that process; all or fatal. For the parent it also
 * drops all capabilities but those in its table (none passes file permissions
 * by), and adds the paths that a starting child needs. Inherited by children
 * that are executed later, whose own tables can only be narrower. A path that
 * is not there is fatal.
 */
void	 sandbox_enter(enum proc_id, const struct sandbox_path *);

#endif /* DSTMD_SANDBOX_H */
