/*
 * Test build only (-DSANDBOX_PROBE): a process that tries what its sandbox
 * must not let it do. See regress/sandbox.
 */
#ifndef DSTMD_PROBE_H
#define DSTMD_PROBE_H

/*
 * What a probe needs from outside, while privileges and file system are
 * still there. "off:NAME" runs probe NAME here and exits: the control that
 * shows that it does work without a sandbox.
 */
void	 probe_prepare(const char *);
/* Tries it, prints what came of it on standard error, exits. */
void	 probe_run(const char *) __attribute__((__noreturn__));

#endif /* DSTMD_PROBE_H */
