/*
 * Test build only: see probe.h. Each probe is one call that an attacker who
 * has taken over a process would like to make.
 */
#ifdef SANDBOX_PROBE
#include <sys/types.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <netinet/in.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dstmd/dstmd.h"
#include "dstmd/probe.h"

#define PAGE	4096

struct probe {
	const char	*name;
	void		(*prepare)(void);
	int		(*run)(void);	/* -1 with errno: denied */
};

static int		 fd = -1;	/* prepared */
static void		*page;
static uintptr_t	 remote;
static pid_t		 parent;	/* getppid(2) would kill as well */
static struct sockaddr_in6	 loopback;

/*
 * A probe makes one system call: what kills it must be that one. All it has
 * to know is prepared.
 */

static void
say(const char *name, const char *what, int error)
{
	char line[128];
	int n;

	if (error != 0)
		n = snprintf(line, sizeof(line), "probe %s: %s errno %d\n",
		    name, what, error);
	else
		n = snprintf(line, sizeof(line), "probe %s: %s\n", name, what);
	if (write(STDERR_FILENO, line, (size_t)n) == -1)
		_exit(3);
}

static void
prepare_loopback(int type)
{
	loopback.sin6_family = AF_INET6;
	loopback.sin6_addr = in6addr_loopback;
	loopback.sin6_port = htons(9);		/* discard: nobody there */
	if ((fd = socket(AF_INET6, type | SOCK_NONBLOCK, 0)) == -1)
		fatal("probe: socket");
}

static void
prepare_dgram(void)
{
	prepare_loopback(SOCK_DGRAM);
}

static void
prepare_stream(void)
{
	prepare_loopback(SOCK_STREAM);
}

static int
run_open(void)
{
	return (open("/etc/passwd", O_RDONLY));
}

static int
run_write_file(void)
{
	return (open("probe-file", O_WRONLY | O_CREAT | O_TRUNC, 0600));
}

static int
run_symlink(void)
{
	return (symlink("/etc", "probe-symlink"));
}

static int
run_mkdir(void)
{
	return (mkdir("probe-dir", 0700));
}

/* A way out of the chroot: a directory that was left open. */
static void
prepare_outside(void)
{
	if ((fd = open("/etc", O_RDONLY | O_DIRECTORY)) == -1)
		fatal("probe: /etc");
}

static int
run_outside_read(void)
{
	return (openat(fd, "passwd", O_RDONLY));
}

static int
run_outside_list(void)
{
	return (openat(fd, ".", O_RDONLY | O_DIRECTORY));
}

static void
prepare_outside_write(void)
{
	if ((fd = open("/tmp", O_RDONLY | O_DIRECTORY)) == -1)
		fatal("probe: /tmp");
}

static int
run_outside_write(void)
{
	/* O_TMPFILE: it never has a name. */
	return (openat(fd, ".", O_WRONLY | O_TMPFILE, 0600));
}

static int
run_socket(void)
{
	return (socket(AF_INET6, SOCK_STREAM, 0));
}

static int
run_socket_unix(void)
{
	return (socket(AF_UNIX, SOCK_STREAM, 0));
}

static int
run_socketpair(void)
{
	int sp[2];

	return (socketpair(AF_UNIX, SOCK_STREAM, 0, sp));
}

static int
run_connect(void)
{
	return (connect(fd, (struct sockaddr *)&loopback, sizeof(loopback)));
}

static int
run_bind(void)
{
	loopback.sin6_port = 0;
	return (bind(fd, (struct sockaddr *)&loopback, sizeof(loopback)));
}

static int
run_listen(void)
{
	return (listen(fd, 1));
}

static int
run_sendto(void)
{
	return (sendto(fd, "x", 1, 0, (struct sockaddr *)&loopback,
	    sizeof(loopback)) == -1 ? -1 : 0);
}

/* Connects without connect(2). */
static int
run_fastopen(void)
{
	struct iovec iov = { (void *)(uintptr_t)"x", 1 };
	struct msghdr mh;

	memset(&mh, 0, sizeof(mh));
	mh.msg_name = &loopback;
	mh.msg_namelen = sizeof(loopback);
	mh.msg_iov = &iov;
	mh.msg_iovlen = 1;
	if (sendmsg(fd, &mh, MSG_FASTOPEN | MSG_NOSIGNAL) == -1 &&
	    errno != EINPROGRESS && errno != ECONNREFUSED)
		return (-1);
	return (0);
}

static int
run_sockopt(void)
{
	int on = 1;

	return (setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)));
}

static int
run_tiocsti(void)
{
	/* No terminal: ENOTTY says that the call was made. */
	if (ioctl(fd, TIOCSTI, "x") == -1 && errno != ENOTTY)
		return (-1);
	return (0);
}

static void
prepare_exec(void)
{
	if ((fd = open("/bin/echo", O_RDONLY)) == -1)
		fatal("probe: /bin/echo");
	if (dup2(STDERR_FILENO, STDOUT_FILENO) == -1)
		fatal("probe: dup2");
}

static int
run_exec(void)
{
	static char echo[] = "echo", text[] = "probe exec: allowed";
	char *argv[] = { echo, text, NULL }, *envp[] = { NULL };

	fexecve(fd, argv, envp);
	return (-1);
}

static int
run_fork(void)
{
	pid_t pid;

	if ((pid = fork()) == -1)
		return (-1);
	if (pid == 0)
		_exit(0);
	return (0);
}

static int
run_ptrace(void)
{
	return ((int)ptrace(PTRACE_TRACEME, 0, NULL, NULL));
}

static int
run_mmap_exec(void)
{
	return (mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -1 : 0);
}

static void
prepare_page(void)
{
	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		fatal("probe: mmap");
}

static int
run_mprotect_exec(void)
{
	return (mprotect(page, PAGE, PROT_READ | PROT_EXEC));
}

static int
run_rlimit(void)
{
	struct rlimit rl = { 16, 16 };

	return (setrlimit(RLIMIT_NOFILE, &rl));
}

/* An address that the parent can read. */
static void
prepare_readmem(void)
{
	char path[64];
	unsigned long addr;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)parent);
	if ((f = fopen(path, "r")) == NULL || fscanf(f, "%lx", &addr) != 1)
		fatal("probe: %s", path);
	fclose(f);
	remote = addr;
}

static int
run_readmem(void)
{
	char buf[8];
	struct iovec here = { buf, sizeof(buf) };
	struct iovec there = { (void *)remote, sizeof(buf) };

	return (process_vm_readv(parent, &here, 1, &there, 1, 0) == -1 ?
	    -1 : 0);
}

static int
run_kill_parent(void)
{
	return (kill(parent, 0));
}

/* Not ourselves: the row for abort(3) names our own process. */
static int
run_tgkill_parent(void)
{
	return ((int)syscall(SYS_tgkill, parent, parent, 0));
}

static int
run_abort(void)
{
	abort();
}

static int
run_setuid(void)
{
	return (setuid(0));
}

static int
run_chroot(void)
{
	return (chroot("."));
}

static int
run_unshare(void)
{
	return (unshare(CLONE_NEWUTS));
}

static int
run_mount(void)
{
	return (mount("none", ".", "tmpfs", 0, NULL));
}

static int
run_keyctl(void)
{
	/* GET_KEYRING_ID of the process keyring, to be created */
	return ((int)syscall(SYS_keyctl, 0, -2, 1));
}

static int
run_bpf(void)
{
	uint32_t attr[18] = { 2 /* array */, 4, 4, 1 };

	return ((int)syscall(SYS_bpf, 0, attr, sizeof(attr)));
}

/* The parent may change entries of maps: it may load no program. */
static int
run_bpf_load(void)
{
	static const uint64_t insns[] = { 0xb7, 0x95 };	/* r0 = 0; exit */
	static const char license[] = "GPL";
	uint64_t attr[16] = { 1 /* socket filter */ | 2ULL << 32,
	    (uint64_t)(uintptr_t)insns, (uint64_t)(uintptr_t)license };

	return ((int)syscall(SYS_bpf, 5 /* PROG_LOAD */, attr, sizeof(attr)));
}

static int
run_io_uring(void)
{
	uint32_t params[30] = { 0 };

	return ((int)syscall(SYS_io_uring_setup, 1, params));
}

/* A descriptor of the parent's, stolen. */
static void
prepare_foreign_fd(void)
{
	if ((fd = (int)syscall(SYS_pidfd_open, parent, 0)) == -1)
		fatal("probe: pidfd_open");
}

static int
run_foreign_fd(void)
{
	return ((int)syscall(SYS_pidfd_getfd, fd, 0, 0));
}

static int
run_prctl(void)
{
	return (prctl(PR_SET_DUMPABLE, 1));
}

/* The other system call table of this processor. */
static int
run_arch(void)
{
#ifdef __x86_64__
	long r;

	__asm__ volatile("int $0x80" : "=a" (r) : "a" (20L) : "memory",
	    "r8", "r9", "r10", "r11");		/* getpid */
	if (r < 0) {
		errno = (int)-r;
		return (-1);
	}
#endif
	return (0);
}

/* Stays until the driver has looked at it and closes the link. */
static int
run_pause(void)
{
	char c;

	say("pause", "waiting", 0);
	return (read(PROC_FD_PRIV, &c, 1) == -1 ? -1 : 0);
}

/* More memory than the limit: 8 GB in pieces. */
static int
run_memory(void)
{
	int i;

	for (i = 0; i < 32; i++)
		if (mmap(NULL, 256 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		    MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) == MAP_FAILED)
			return (-1);
	return (0);
}

static const struct probe probes[] = {
	{ "open",		NULL,			run_open },
	{ "write-file",		NULL,			run_write_file },
	{ "symlink",		NULL,			run_symlink },
	{ "mkdir",		NULL,			run_mkdir },
	{ "outside-read",	prepare_outside,	run_outside_read },
	{ "outside-list",	prepare_outside,	run_outside_list },
	{ "outside-write",	prepare_outside_write,	run_outside_write },
	{ "socket",		NULL,			run_socket },
	{ "socket-unix",	NULL,			run_socket_unix },
	{ "socketpair",		NULL,			run_socketpair },
	{ "connect",		prepare_dgram,		run_connect },
	{ "connect-tcp",	prepare_stream,		run_fastopen },
	{ "bind",		prepare_dgram,		run_bind },
	{ "listen",		prepare_stream,		run_listen },
	{ "sendto",		prepare_dgram,		run_sendto },
	{ "setsockopt",		prepare_dgram,		run_sockopt },
	{ "tiocsti",		prepare_dgram,		run_tiocsti },
	{ "exec",		prepare_exec,		run_exec },
	{ "fork",		NULL,			run_fork },
	{ "ptrace",		NULL,			run_ptrace },
	{ "mmap-exec",		NULL,			run_mmap_exec },
	{ "mprotect-exec",	prepare_page,		run_mprotect_exec },
	{ "rlimit",		NULL,			run_rlimit },
	{ "memory",		NULL,			run_memory },
	{ "readmem",		prepare_readmem,	run_readmem },
	{ "kill-parent",	NULL,			run_kill_parent },
	{ "tgkill-parent",	NULL,			run_tgkill_parent },
	{ "abort",		NULL,			run_abort },
	{ "setuid",		NULL,			run_setuid },
	{ "chroot",		NULL,			run_chroot },
	{ "unshare",		NULL,			run_unshare },
	{ "mount",		NULL,			run_mount },
	{ "keyctl",		NULL,			run_keyctl },
	{ "bpf",		NULL,			run_bpf },
	{ "bpf-load",		NULL,			run_bpf_load },
	{ "io-uring",		NULL,			run_io_uring },
	{ "foreign-fd",		prepare_foreign_fd,	run_foreign_fd },
	{ "prctl",		NULL,			run_prctl },
	{ "arch",		NULL,			run_arch },
	{ "pause",		NULL,			run_pause },
};

static const struct probe *
find(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(probes) / sizeof(probes[0]); i++)
		if (strcmp(probes[i].name, name) == 0)
			return (&probes[i]);
	fatalx("probe: no %s", name);
}

void
probe_prepare(const char *name)
{
	const struct probe *p;
	int off;

	off = strncmp(name, "off:", 4) == 0;
	p = find(off ? name + 4 : name);
	parent = getppid();
	if (p->prepare != NULL)
		p->prepare();
	if (off)
		probe_run(p->name);
}

void
probe_run(const char *name)
{
	const struct probe *p = find(name);

	if (p->run() == -1)
		say(name, "denied", errno);
	else
		say(name, "allowed", 0);
	_exit(0);
}
#endif /* SANDBOX_PROBE */
