/*
 * The form of the tables in sandbox-table.c. For the sandbox alone.
 */
#ifndef DSTMD_SANDBOX_TABLE_H
#define DSTMD_SANDBOX_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "dstmd/dstmd.h"

/* On one argument of a system call: (argument & mask) == value. */
struct sandbox_arg {
	unsigned int	 arg;
	uint64_t	 mask;		/* 0: no condition */
	uint64_t	 value;
};

#define SANDBOX_ARGS	3
#define SANDBOX_SELF	UINT64_MAX	/* value: our own process id */

/*
 * A system call that may be made where all conditions of the row hold.
 * Several rows of one call mean OR. What no row admits kills the process.
 * error: not made, fails with this errno; for calls that libraries probe.
 */
struct sandbox_row {
	int		 nr;
	int		 error;
	struct sandbox_arg args[SANDBOX_ARGS];
};

struct sandbox {
	const char	*promises;	/* pledge(2); NULL: none fit */
	const struct sandbox_row *rows;
	size_t		 nrows;
	int		 common;	/* child_rows belong to it as well */
	uint64_t	 caps;		/* Linux capabilities kept, as bits */
	uint64_t	 nofile;	/* RLIMIT_NOFILE */
	uint64_t	 data;		/* RLIMIT_DATA, octets; 0: as it is */
	int		 files;		/* may write files: no RLIMIT_FSIZE */
};

/* sandbox-table.c */
extern const struct sandbox	 sandboxes[PROC_NPROC];
extern const struct sandbox_row	 sandbox_child_rows[];
extern const size_t		 sandbox_child_nrows;

/* sandbox.c */
void	 sandbox_limits(enum proc_id);	/* fatal */

#endif /* DSTMD_SANDBOX_TABLE_H */
