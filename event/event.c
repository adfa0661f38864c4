/*
 * The event process: runs the operator's script when the node's lease
 * comes, changes or goes. It is the only one that may execute what dstmd
 * did not bring along, and so the only one without a seccomp filter: the
 * script would inherit it. What it has instead is a user without privileges
 * that can not come back, one file to execute, named at its start, and no
 * descriptor but its link. The parent starts it before its own sandbox,
 * which hence needs no way to the script; it can not be started again.
 *
 * One script at a time; what happens meanwhile waits, and the oldest of too
 * many is dropped. Who does not end in time is killed, with all that it
 * started.
 */
#include <sys/types.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/wait.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include <event2/event.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dstmd/msg.h"

#define PATIENCE	10000		/* ms, for one script */
#define GRACE		2000		/* ms, from SIGTERM to SIGKILL */
#define WAITING		8		/* events */
#define VARS		12
#define VAR_SIZE	160

struct waiting {
	TAILQ_ENTRY(waiting)	 entry;
	struct msg_event	 ev;
};
TAILQ_HEAD(queue, waiting);

static struct event_base	*base;
static struct msglink		*parent;
static const char		*script;
static struct queue		 queue = TAILQ_HEAD_INITIALIZER(queue);
static uint32_t			 nqueue;
static pid_t			 pid;		/* of the script; 0: none */
static int			 terminated;	/* it was asked to end */
static struct event		*timer;

static const char *const names[] = {
	[EVENT_UP] = "up", [EVENT_RENEWED] = "renewed",
	[EVENT_DOWN] = "down", [EVENT_LOST] = "lost",
};

/*
 * The script
 */
static void __attribute__((__format__ (printf, 3, 4)))
set(char *env[], char vars[][VAR_SIZE], const char *fmt, ...)
{
	va_list ap;
	int i;

	for (i = 0; env[i] != NULL; i++)
		;
	va_start(ap, fmt);
	vsnprintf(vars[i], VAR_SIZE, fmt, ap);
	va_end(ap);
	env[i] = vars[i];
}

static void
set_all(char *env[], char vars[][VAR_SIZE], const struct msg_event *e)
{
	set(env, vars, "PATH=/usr/sbin:/usr/bin:/sbin:/bin");
	set(env, vars, "DSTMD_EVENT=%s", names[e->event]);
	set(env, vars, "DSTMD_INTERFACE=%s", e->ifname);
	set(env, vars, "DSTMD_IPV4=%s", log_in(e->v4));
	set(env, vars, "DSTMD_IPV6=%s", log_in6(&e->v6));
	set(env, vars, "DSTMD_TEP4=%s", log_in(e->tep4));
	set(env, vars, "DSTMD_TEP6=%s", log_in6(&e->tep6));
	set(env, vars, "DSTMD_MTU=%u", e->mtu);
	set(env, vars, "DSTMD_LIFETIME=%u", e->lifetime);
	set(env, vars, "DSTMD_REASON=%s", e->why);
}

static void __attribute__((__noreturn__))
script_exec(const struct msg_event *e)
{
	char vars[VARS][VAR_SIZE], *env[VARS + 1] = { NULL };
	char *argv[3];
	sigset_t none;
	int fd, sig;

	for (sig = 1; sig < 32; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
#ifdef __linux__
	prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
	if ((fd = open("/dev/null", O_RDWR)) == -1 || dup2(fd, 0) == -1 ||
	    dup2(fd, 1) == -1 || dup2(fd, 2) == -1)
		_exit(126);
	closefrom(3);
	set_all(env, vars, e);
	argv[0] = (char *)(uintptr_t)script;
	argv[1] = (char *)(uintptr_t)names[e->event];
	argv[2] = NULL;
	execve(script, argv, env);
	_exit(127);
}

static void
script_next(void)
{
	struct waiting *w;

	if (pid != 0 || (w = TAILQ_FIRST(&queue)) == NULL)
		return;
	TAILQ_REMOVE(&queue, w, entry);
	nqueue--;
	if ((pid = fork()) == 0)
		script_exec(&w->ev);
	if (pid == -1) {
		log_warn("%s %s", script, names[w->ev.event]);
		pid = 0;
	} else {
		log_debug("%s %s (pid %d)", script, names[w->ev.event],
		    (int)pid);
		terminated = 0;
		timer_set(timer, PATIENCE);
	}
	free(w);
}

static void
script_late(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	if (pid == 0)
		return;
	if (!terminated)
		log_warnx("%s does not end: killed after %d s", script,
		    PATIENCE / 1000);
	kill(-pid, terminated ? SIGKILL : SIGTERM);
	terminated = 1;
	timer_set(timer, GRACE);
}

static void
script_ended(int status)
{
	if (WIFSIGNALED(status))
		log_warnx("%s: signal %d", script, WTERMSIG(status));
	else if (WEXITSTATUS(status) == 127)
		log_warnx("%s: can not be executed by this user", script);
	else if (WEXITSTATUS(status) != 0)
		log_warnx("%s: status %d", script, WEXITSTATUS(status));
	pid = 0;
	evtimer_del(timer);
	if (parent == NULL && TAILQ_EMPTY(&queue))
		exit(0);
	script_next();
}

static void
script_reap(evutil_socket_t sig, short what, void *arg)
{
	siginfo_t si;
	int status;

	(void)sig;
	(void)what;
	(void)arg;
	memset(&si, 0, sizeof(si));
	if (pid == 0 || waitid(P_PID, (id_t)pid, &si,
	    WEXITED | WNOHANG | WNOWAIT) == -1 || si.si_pid != pid)
		return;
	/* What it has left behind, while its number is still its own. */
	kill(-pid, SIGKILL);
	if (waitpid(pid, &status, 0) == pid)
		script_ended(status);
}

/*
 * The parent
 */
static void
event_run(struct msglink *l, struct msg *m)
{
	struct waiting *w;

	(void)l;
	if ((w = calloc(1, sizeof(*w))) == NULL)
		fatal(NULL);
	memcpy(&w->ev, m->data, sizeof(w->ev));
	w->ev.ifname[sizeof(w->ev.ifname) - 1] = '\0';
	w->ev.why[sizeof(w->ev.why) - 1] = '\0';
	if (w->ev.event < EVENT_UP || w->ev.event > EVENT_LOST)
		fatalx("event %u", w->ev.event);
	TAILQ_INSERT_TAIL(&queue, w, entry);
	if (++nqueue > WAITING) {
		w = TAILQ_FIRST(&queue);
		log_warnx("%s is too slow: event %s is dropped", script,
		    names[w->ev.event]);
		TAILQ_REMOVE(&queue, w, entry);
		free(w);
		nqueue--;
	}
	script_next();
}

/* What it has said to the end is still done. */
static void
event_closed(struct msglink *l, const char *reason)
{
	if (reason != NULL)
		log_warnx("link to the parent: %s", reason);
	msglink_free(l);
	parent = NULL;
	if (pid == 0 && TAILQ_EMPTY(&queue))
		exit(reason != NULL);
}

static const struct msg_rule	 rules[] = {
	{ MSG_EVENT, MSG_FROM(PROC_PRIV), sizeof(struct msg_event), 0, 0,
	    event_run },
	{ MSG_VERBOSE, MSG_FROM(PROC_PRIV), sizeof(struct msg_verbose), 0, 0,
	    proc_verbose },
};

static void
event_loop(void)
{
	struct event *chld;

	if ((base = event_base_new()) == NULL)
		fatalx("event_base_new");
	timer = evtimer_new(base, script_late, NULL);
	chld = evsignal_new(base, SIGCHLD, script_reap, NULL);
	if (timer == NULL || chld == NULL || evsignal_add(chld, NULL) == -1)
		fatalx("event_new");
	parent = msglink_new(base, PROC_FD_PRIV, PROC_PRIV, rules,
	    sizeof(rules) / sizeof(rules[0]), event_closed, NULL);
	event_base_dispatch(base);
}

int
main(int argc, char *argv[])
{
	proc_event(argc, argv);
	script = argv[5];
	event_loop();
	return (0);
}
