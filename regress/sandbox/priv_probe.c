/*
 * The parent's sandbox, tried from within.
 * usage: priv_probe [off:]PROBE DIR CHILD
 * DIR may be read, written, created in; CHILD is the program probe_child,
 * whose directory may be executed from. The store's directory is DIR/store,
 * an empty root DIR/empty. Probes of dstmd/probe.c work here as well.
 */
#include <sys/types.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <linux/capability.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>

#include <net/if.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "dstmd/dstmd.h"
#include "dstmd/msg.h"
#include "dstmd/probe.h"
#include "dstmd/sandbox.h"

#define UID	"64001"

static const char	*dir;
static int		 binary, empty, netns;
static int		 answers, answer_fds;
static struct event_base	*base;

static int
open_path(const char *path, int flags)
{
	int fd;

	if ((fd = open(path, flags, 0600)) == -1)
		return (-1);
	return (close(fd));
}

static int
in_dir(const char *name, int flags)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return (open_path(path, flags));
}

static int
read_shadow(void)
{
	return (open_path("/etc/shadow", O_RDONLY));
}

static int
write_etc(void)
{
	return (open_path("/etc/passwd", O_WRONLY));
}

static int
create_etc(void)
{
	return (open_path("/etc", O_WRONLY | O_TMPFILE));
}

static int
read_proc(void)
{
	return (open_path("/proc/self/mem", O_RDWR));
}

static int
read_own(void)
{
	return (in_dir("secret", O_RDONLY));
}

static int
create_own(void)
{
	return (in_dir("created", O_RDWR | O_CREAT));
}

static int
remove_own(void)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/removed", dir);
	return (unlink(path));
}

/* Mode 0600, of another user. */
static int
read_foreign(void)
{
	return (in_dir("foreign", O_RDONLY));
}

static int
change_mode(void)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/secret", dir);
	return (chmod(path, 0600));
}

static int
exec_other(void)
{
	static char arg[] = "echo", text[] = "probe exec-other: allowed";
	char *argv[] = { arg, text, NULL }, *envp[] = { NULL };

	if (dup2(STDERR_FILENO, STDOUT_FILENO) == -1)
		err(3, "dup2");
	execve("/bin/echo", argv, envp);
	return (-1);
}

static int
do_socket(int domain, int type, int protocol)
{
	int fd;

	if ((fd = socket(domain, type | SOCK_CLOEXEC, protocol)) == -1)
		return (-1);
	return (close(fd));
}

static int
sock_packet(void)
{
	return (do_socket(AF_PACKET, SOCK_RAW, 0));
}

static int
sock_inet(void)
{
	return (do_socket(AF_INET, SOCK_STREAM, 0));
}

static int
sock_raw(void)
{
	return (do_socket(AF_INET6, SOCK_RAW, 4));
}

static int
sock_route(void)
{
	return (do_socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
}

static int
sock_netfilter(void)
{
	return (do_socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER));
}

static int
tun(void)
{
	struct ifreq ifr;
	int fd;

	if ((fd = open("/dev/net/tun", O_RDWR)) == -1)
		return (-1);
	memset(&ifr, 0, sizeof(ifr));
	ifr.ifr_flags = IFF_TUN | IFF_NO_PI;
	if (ioctl(fd, TUNSETIFF, &ifr) == -1)
		return (-1);
	return (close(fd));
}

/* ENOENT, ENOTTY, EINVAL: the kernel looked at the arguments, so made it. */
static int
made(long r)
{
	return (r == -1 && errno != ENOENT && errno != EINVAL ? -1 : 0);
}

static int
module(void)
{
	return (made(syscall(SYS_init_module, "", 0, "")) == -1 &&
	    errno != ENOEXEC ? -1 : 0);
}

static int
do_reboot(void)
{
	return (made(syscall(SYS_reboot, 0, 0, 0, NULL)));
}

static int
do_swapon(void)
{
	return (made(swapon("/nonexistent", 0)));
}

static int
do_setns(void)
{
	return (setns(netns, CLONE_NEWNET));
}

static int
user_ns(void)
{
	pid_t pid;

	pid = (pid_t)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL,
	    NULL, 0);
	if (pid == 0)
		_exit(0);
	return (pid);
}

static int
thread(void)
{
	pid_t pid;

	/* Shares the descriptors alone: harmless without a sandbox. */
	pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL,
	    NULL, 0);
	if (pid == 0)
		_exit(0);
	return (pid);
}

/* Back to a capability that was given up. */
static int
raise_cap(void)
{
	struct __user_cap_header_struct h = {
		_LINUX_CAPABILITY_VERSION_3, 0
	};
	struct __user_cap_data_struct d[2];

	if (syscall(SYS_capget, &h, d) == -1)
		err(3, "capget");
	d[0].effective |= 1U << CAP_SYS_ADMIN;
	d[0].permitted |= 1U << CAP_SYS_ADMIN;
	return ((int)syscall(SYS_capset, &h, d));
}

/* For the driver to compare. */
static int
caps(void)
{
	struct __user_cap_header_struct h = {
		_LINUX_CAPABILITY_VERSION_3, 0
	};
	struct __user_cap_data_struct d[2];
	unsigned long long bound = 0;
	int c, r;

	if (syscall(SYS_capget, &h, d) == -1)
		return (-1);
	for (c = 0; (r = prctl(PR_CAPBSET_READ, c, 0, 0, 0)) != -1; c++)
		bound |= r ? 1ULL << c : 0;
	fprintf(stderr, "prm %x%08x eff %x%08x inh %x%08x bnd %llx nnp %d\n",
	    d[1].permitted, d[0].permitted, d[1].effective, d[0].effective,
	    d[1].inheritable, d[0].inheritable, bound,
	    prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	return (0);
}

static pid_t
start(const char *name, const char *probe, int *link)
{
	char *argv[7], *envp[] = { NULL };
	char path[256];
	int sp[2], root;
	pid_t pid;

	snprintf(path, sizeof(path), "%s/store", dir);
	root = strcmp(name, "store") != 0 ? empty :
	    open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root == -1)
		err(3, "%s", path);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sp) == -1)
		err(3, "socketpair");
	argv[0] = (char *)(uintptr_t)name;
	argv[1] = argv[2] = (char *)(uintptr_t)UID;
	argv[3] = (char *)(uintptr_t)"stderr";
	argv[4] = (char *)(uintptr_t)"0";
	argv[5] = (char *)(uintptr_t)probe;
	argv[6] = NULL;
	if ((pid = fork()) == -1)
		err(3, "fork");
	if (pid == 0) {
		if ((sp[1] = fcntl(sp[1], F_DUPFD_CLOEXEC, 10)) == -1 ||
		    (root = fcntl(root, F_DUPFD_CLOEXEC, 10)) == -1 ||
		    dup2(sp[1], PROC_FD_PRIV) == -1 ||
		    dup2(root, PROC_FD_ROOT) == -1)
			_exit(126);
		fexecve(binary, argv, envp);
		_exit(127);
	}
	close(sp[1]);
	*link = sp[0];
	return (pid);
}

static void
answer(struct msglink *l, struct msg *m)
{
	(void)l;
	answers++;
	answer_fds += m->fd != -1;
	event_base_loopbreak(base);
}

static void
closed(struct msglink *l, const char *reason)
{
	errx(3, "%s: link closed: %s", proc_name(msglink_peer(l)),
	    reason != NULL ? reason : "by the peer");
}

/* Starts it, talks with it, with a descriptor, ends it. */
static int
talk(const char *name, enum proc_id id)
{
	static struct msg_rule rule = {
		MSG_LINK, 0, sizeof(struct msg_verbose), 0, MSG_F_FD, answer
	};
	struct msg_verbose v = { 1 };
	struct msglink *l;
	int fd, status;
	pid_t pid;

	pid = start(name, NULL, &fd);
	rule.from = MSG_FROM(id);
	l = msglink_new(base, fd, id, &rule, 1, closed, NULL);
	msg_send(l, MSG_VERBOSE, fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0), &v,
	    sizeof(v), NULL, 0);
	event_base_dispatch(base);
	msglink_free(l);
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) ||
	    WEXITSTATUS(status) != 0)
		errx(3, "%s ended with status 0x%x", name, status);
	return (0);
}

static int
start_children(void)
{
	uint32_t id;

	for (id = PROC_SESSION; id < PROC_CONTROL; id++)
		talk(proc_name(id), (enum proc_id)id);
	if (answers != PROC_CONTROL - 1 || answer_fds != PROC_CONTROL - 1) {
		errno = EPROTO;
		return (-1);
	}
	return (0);
}

/* It has another user: this takes CAP_KILL. */
static int
kill_child(void)
{
	int fd, status;
	pid_t pid;
	struct timespec ts = { 0, 200 * 1000 * 1000 };

	pid = start("parser", NULL, &fd);
	nanosleep(&ts, NULL);
	if (kill(pid, SIGKILL) == -1)
		return (-1);
	if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status) ||
	    WTERMSIG(status) != SIGKILL) {
		errno = EPROTO;
		return (-1);
	}
	return (0);
}

static const struct {
	const char	*name;
	int		(*run)(void);
} probes[] = {
	{ "read-shadow",	read_shadow },
	{ "write-etc",		write_etc },
	{ "create-etc",		create_etc },
	{ "read-proc",		read_proc },
	{ "read-own",		read_own },
	{ "create-own",		create_own },
	{ "remove-own",		remove_own },
	{ "read-foreign",	read_foreign },
	{ "chmod",		change_mode },
	{ "exec-other",		exec_other },
	{ "sock-packet",	sock_packet },
	{ "sock-inet",		sock_inet },
	{ "sock-raw",		sock_raw },
	{ "sock-route",		sock_route },
	{ "sock-netfilter",	sock_netfilter },
	{ "tun",		tun },
	{ "module",		module },
	{ "reboot",		do_reboot },
	{ "swapon",		do_swapon },
	{ "setns",		do_setns },
	{ "userns",		user_ns },
	{ "thread",		thread },
	{ "raise-cap",		raise_cap },
	{ "caps",		caps },
	{ "children",		start_children },
	{ "kill-child",		kill_child },
};

static void
run(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(probes) / sizeof(probes[0]); i++) {
		if (strcmp(probes[i].name, name) != 0)
			continue;
		if (probes[i].run() == -1)
			fprintf(stderr, "probe %s: denied errno %d\n", name,
			    errno);
		else
			fprintf(stderr, "probe %s: allowed\n", name);
		exit(0);
	}
	probe_run(name);
}

static int
is_own(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(probes) / sizeof(probes[0]); i++)
		if (strcmp(probes[i].name, name) == 0)
			return (1);
	return (0);
}

int
main(int argc, char *argv[])
{
	struct sandbox_path paths[4];
	const char *name, *why;
	char path[256], copy[256];
	int off;

	if (argc != 4)
		errx(2, "usage: priv_probe [off:]PROBE DIR CHILD");
	log_init("priv", LOG_TO_STDERR, 0);
	off = strncmp(argv[1], "off:", 4) == 0;
	name = argv[1] + (off ? 4 : 0);
	dir = argv[2];
	strlcpy(copy, argv[3], sizeof(copy));
	memset(paths, 0, sizeof(paths));
	paths[0].path = dir;
	paths[0].access = "rwc";
	paths[1].path = dirname(copy);
	paths[1].access = "rx";
	snprintf(path, sizeof(path), "%s/empty", dir);
	/* Not the numbers that a child's link and root take. */
	if ((binary = open(argv[3], O_PATH | O_CLOEXEC)) == -1 ||
	    (binary = fcntl(binary, F_DUPFD_CLOEXEC, 10)) == -1 ||
	    (empty = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC)) == -1 ||
	    (netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)) == -1 ||
	    (base = event_base_new()) == NULL)
		err(3, "setup");
	if (!is_own(name))
		probe_prepare(name);
	if (!off) {
		if (sandbox_available(&why) == -1)
			errx(3, "no sandbox: %s", why);
		sandbox_enter(PROC_PRIV, paths);
	}
	run(name);
	return (0);
}
