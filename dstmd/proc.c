/*
 * The start of every child: from a program with all of its parent's
 * privileges to one that has none.
 */
#include <sys/types.h>
#include <sys/resource.h>
#include <sys/stat.h>
#ifdef __linux__
#include <sys/fsuid.h>
#include <sys/prctl.h>
#endif

#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "dstmd/dstmd.h"
#include "dstmd/msg.h"
#include "dstmd/sandbox.h"
#ifdef SANDBOX_PROBE
#include "dstmd/probe.h"
#endif

static uint32_t
number(const char *text, const char *what)
{
	const char *errstr;
	long long n;

	/* The highest is (uid_t)-1: no change. */
	n = strtonum(text, 1, UINT32_MAX - 1, &errstr);
	if (errstr != NULL)
		fatalx("%s %s is %s: a child is never root", what, text,
		    errstr);
	return ((uint32_t)n);
}

static void
ignore_signals(void)
{
	static const int sigs[] = {
		SIGPIPE, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2
	};
	size_t i;

	for (i = 0; i < sizeof(sigs) / sizeof(sigs[0]); i++)
		if (signal(sigs[i], SIG_IGN) == SIG_ERR)
			fatal("signal");
}

static void
set_title(const char *name, int argc, char *argv[])
{
#ifdef __linux__
	char comm[16];

	setproctitle_init(argc, argv, environ);
	snprintf(comm, sizeof(comm), "dstmd: %s", name);
	if (prctl(PR_SET_NAME, comm) == -1)
		fatal("PR_SET_NAME");
	setproctitle("-%s", comm);
#else
	(void)argc;
	(void)argv;
	setproctitle("%s", name);
#endif
}

/* Standard error, the link and, where that is last, the root directory. */
static void
tidy_descriptors(int last)
{
	int fd;

	if ((fd = open("/dev/null", O_RDWR)) == -1)
		fatal("/dev/null");
	if (dup2(fd, STDIN_FILENO) == -1 || dup2(fd, STDOUT_FILENO) == -1)
		fatal("dup2");
	if (fcntl(STDERR_FILENO, F_GETFD) == -1 &&
	    dup2(fd, STDERR_FILENO) == -1)
		fatal("dup2");
	if (fd > STDERR_FILENO)
		close(fd);
	if (fcntl(PROC_FD_PRIV, F_GETFD) == -1 ||
	    fcntl(PROC_FD_PRIV, F_SETFD, FD_CLOEXEC) == -1)
		fatal("no link to the parent");
	closefrom(last + 1);
}

/*
 * The store's directory is its own and closed to all others. The parent,
 * so this process, has no capability that passes file permissions by:
 * hence it is entered as the user that it belongs to.
 */
static void
change_root(enum proc_id id, uid_t uid, gid_t gid)
{
	struct stat st;

#ifdef __linux__
	setfsuid(uid);
#else
	(void)uid;
#endif
	if (fchdir(PROC_FD_ROOT) == -1 || fstat(PROC_FD_ROOT, &st) == -1)
		fatal("root directory");
	if (chroot(".") == -1 || chdir("/") == -1)
		fatal("chroot");
	close(PROC_FD_ROOT);
	if (id != PROC_STORE && (st.st_uid == uid ||
	    (st.st_gid == gid && (st.st_mode & S_IWGRP)) ||
	    (st.st_mode & S_IWOTH)))
		fatalx("root directory: this process may write to it");
}

static void
drop_user(uid_t uid, gid_t gid)
{
	uid_t ru, eu, su;
	gid_t rg, eg, sg;

	if (setresuid(uid, uid, uid) == -1)
		fatal("setresuid %u", (unsigned)uid);
	if (getresuid(&ru, &eu, &su) == -1 || getresgid(&rg, &eg, &sg) == -1)
		fatal("getresuid");
	if (ru != uid || eu != uid || su != uid || rg != gid || eg != gid ||
	    sg != gid || getgroups(0, NULL) != 0)
		fatalx("privileges are not dropped");
	if (setuid(0) != -1 || setresuid((uid_t)-1, 0, (uid_t)-1) != -1 ||
	    setgid(0) != -1 || setresgid((gid_t)-1, 0, (gid_t)-1) != -1)
		fatalx("privileges came back");
#ifdef __linux__
	if (setfsuid(0) != (int)uid || setfsuid(uid) != (int)uid)
		fatalx("file privileges came back");
	if (prctl(PR_SET_DUMPABLE, 0) == -1)
		fatal("PR_SET_DUMPABLE");
#endif
}

static void
drop_groups(gid_t gid)
{
	if (setgroups(0, NULL) == -1)
		fatal("setgroups");
	if (setresgid(gid, gid, gid) == -1)
		fatal("setresgid %u", (unsigned)gid);
}

static void
drop(enum proc_id id, uid_t uid, gid_t gid)
{
	drop_groups(gid);
	change_root(id, uid, gid);
	drop_user(uid, gid);
}

void
proc_child(enum proc_id id, int argc, char *argv[])
{
	static const struct sandbox_path own_files[] = {
		{ "/", "rwc" }, { NULL, NULL }
	};
	const char *name = proc_name(id);
#ifdef SANDBOX_PROBE
	const char *probe = argc == 6 ? strdup(argv[5]) : NULL;
	const int most = 6;
#else
	const int most = 5;
#endif
	uint32_t seed;
	uid_t uid;
	gid_t gid;

	log_init(name, LOG_TO_STDERR, 0);
	if (argc < 5 || argc > most)
		fatalx("this program is started by dstmd(8) alone");
	uid = number(argv[1], "uid");
	gid = number(argv[2], "gid");
	log_init(name, strcmp(argv[3], "pipe") == 0 ? LOG_TO_PIPE :
	    LOG_TO_STDERR, strcmp(argv[4], "0") != 0);
	msg_self(id);
	ignore_signals();
	set_title(name, argc, argv);
	tidy_descriptors(PROC_FD_ROOT);
	/* What is set up at first use, while it may be. */
	arc4random_buf(&seed, sizeof(seed));
	tzset();
#ifdef SANDBOX_PROBE
	if (probe != NULL)
		probe_prepare(probe);
#endif
	drop(id, uid, gid);
	sandbox_enter(id, id == PROC_STORE ? own_files : NULL);
#ifdef SANDBOX_PROBE
	if (probe != NULL)
		probe_run(probe);
#endif
}

void
proc_event(int argc, char *argv[])
{
	const struct rlimit none = { 0, 0 };
	uid_t uid;
	gid_t gid;

	log_init("event", LOG_TO_STDERR, 0);
	if (argc != 6)
		fatalx("this program is started by dstmd(8) alone");
	uid = number(argv[1], "uid");
	gid = number(argv[2], "gid");
	tidy_descriptors(PROC_FD_PRIV);
	log_init("event", strcmp(argv[3], "syslog") == 0 ? LOG_TO_SYSLOG :
	    LOG_TO_STDERR, strcmp(argv[4], "0") != 0);
	msg_self(PROC_EVENT);
	ignore_signals();
	if (chdir("/") == -1 || setrlimit(RLIMIT_CORE, &none) == -1)
		fatal("limits");
#ifdef __linux__
	/* Nor by a setuid program, of its own or of the script. */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
		fatal("no_new_privs");
	if (prctl(PR_SET_NAME, "dstmd: event") == -1)
		fatal("PR_SET_NAME");
#endif
	drop_groups(gid);
	drop_user(uid, gid);
}

void
proc_closed(struct msglink *l, const char *reason)
{
	(void)l;
	if (reason == NULL)
		exit(0);
	log_warnx("link to the parent: %s", reason);
	exit(1);
}

void
proc_verbose(struct msglink *l, struct msg *m)
{
	struct msg_verbose mv;

	(void)l;
	memcpy(&mv, m->data, sizeof(mv));
	log_setverbose(mv.verbose != 0);
}
