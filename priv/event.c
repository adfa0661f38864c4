/*
 * The event process, which runs the operator's script: started before the
 * sandbox, as what it executes must not be under ours, and not again.
 */
#include <sys/types.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "priv/priv.h"

static pid_t		 pid;		/* 0: none */
static struct msglink	*link_;

/* What root has others run must be root's. */
static void
check_script(const char *path)
{
	struct stat st;

	if (stat(path, &st) == -1)
		fatal("%s", path);
	if (!S_ISREG(st.st_mode))
		fatalx("%s: not a regular file", path);
	if (st.st_uid != 0)
		fatalx("%s: owned by uid %u, must be root's", path,
		    (unsigned)st.st_uid);
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		fatalx("%s: others may write to it (mode %04o): chmod go-w it",
		    path, (unsigned)(st.st_mode & 07777));
	if ((st.st_mode & S_IXOTH) == 0)
		fatalx("%s: not for others to execute (mode %04o): "
		    "chmod 755 it", path, (unsigned)(st.st_mode & 07777));
}

static void
event_exec(int link, const struct passwd *pw)
{
	char name[] = "event", uid[16], gid[16], log[8], verbose[2];
	char path[CONF_PATH_SIZE], *envp[] = { NULL };
	char *argv[] = { name, uid, gid, log, verbose, path, NULL };

	snprintf(uid, sizeof(uid), "%u", (unsigned)pw->pw_uid);
	snprintf(gid, sizeof(gid), "%u", (unsigned)pw->pw_gid);
	snprintf(log, sizeof(log), "%s", priv.foreground ? "stderr" :
	    "syslog");
	snprintf(verbose, sizeof(verbose), "%d", log_getverbose() != 0);
	strlcpy(path, priv.conf->node.event, sizeof(path));
	if ((link = fcntl(link, F_DUPFD_CLOEXEC, 10)) == -1 ||
	    dup2(link, PROC_FD_PRIV) == -1)
		_exit(126);
	execve(LIBEXECDIR "/event", argv, envp);
	_exit(127);
}

static void
event_closed(struct msglink *l, const char *reason)
{
	log_warnx("event: %s: %s is not run any more until dstmd is started "
	    "again", reason != NULL ? reason : "it has ended",
	    priv.conf->node.event);
	msglink_free(l);
	link_ = NULL;
}

void
event_init(void)
{
	const struct passwd *pw;
	int sp[2];

	if ((priv.conf->roles & ROLE_NODE) == 0 ||
	    priv.conf->node.event[0] == '\0')
		return;
	check_script(priv.conf->node.event);
	if ((pw = getpwnam("_dstmd_event")) == NULL)
		fatalx("no user _dstmd_event on this host: \"etc/users.sh "
		    "add\" or \"make install\" makes it");
	if (pw->pw_uid == 0 || pw->pw_gid == 0)
		fatalx("user _dstmd_event must not be root");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
	    sp) == -1)
		fatal("socketpair");
	if ((pid = fork()) == -1)
		fatal("fork");
	if (pid == 0)
		event_exec(sp[1], pw);
	close(sp[1]);
	link_ = msglink_new(priv.base, sp[0], PROC_EVENT, NULL, 0,
	    event_closed, NULL);
}

void
event_send(const struct msg_event *m)
{
	msg_put(link_, MSG_EVENT, m, sizeof(*m));
}

void
event_verbose(const struct msg_verbose *m)
{
	msg_put(link_, MSG_VERBOSE, m, sizeof(*m));
}

/* It runs what it was told, and ends. */
void
event_end(void)
{
	if (link_ == NULL)
		return;
	msglink_flush(link_, 1000);
	msglink_free(link_);
	link_ = NULL;
}

int
event_reaped(pid_t ended)
{
	if (pid == 0 || ended != pid)
		return (0);
	pid = 0;
	return (1);
}

int
event_running(void)
{
	return (pid != 0);
}

void
event_kill(void)
{
	if (pid != 0)
		kill(pid, SIGKILL);
}
