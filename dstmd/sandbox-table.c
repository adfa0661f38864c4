/*
 * What each process may do: its system calls on Linux, its promises on
 * OpenBSD, its limits. Whoever changes a process reads its block first.
 *
 * Children get their descriptors by their links, so that none of them needs
 * a call that names a file, an address or another process; store alone has
 * files, those of its own directory.
 */
#include "dstmd/dstmd.h"
#include "dstmd/sandbox-table.h"

#ifdef __linux__
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/futex.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/sched.h>
#include <linux/sockios.h>

#include <netinet/tcp.h>

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <signal.h>

#define ALLOW(call)		{ SCMP_SYS(call), 0, { { 0, 0, 0 } } }
#define ALLOW_IF(call, ...)	{ SCMP_SYS(call), 0, { __VA_ARGS__ } }
#define FAIL(call, error)	{ SCMP_SYS(call), error, { { 0, 0, 0 } } }
/* Conditions; those of one row must all hold. */
#define IS(n, v)		{ n, UINT64_MAX, v }
#define HAS(n, bits)		{ n, bits, bits }
#define ONLY(n, bits)		{ n, ~(uint64_t)(bits), 0 }
#define IS_LESS(n, v, bits)	{ n, ~(uint64_t)(bits), v }

#define ROWS(rows)		(rows), sizeof(rows) / sizeof((rows)[0])
#define CAP(c)			(UINT64_C(1) << (c))

#define DATA_PROT		(PROT_READ | PROT_WRITE)
#define DATA_MAP		(MAP_PRIVATE | MAP_ANONYMOUS)
#define SOCK_FLAGS		(SOCK_CLOEXEC | SOCK_NONBLOCK)
#define FORK_FLAGS		(CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | \
				    SIGCHLD)
/* Not MSG_FASTOPEN, which connects, unseen by Landlock. */
#define SEND_FLAGS		(MSG_NOSIGNAL | MSG_DONTWAIT | MSG_MORE | \
				    MSG_EOR)
#else
#define ROWS(rows)		NULL, 0
#define CAP(c)			UINT64_C(0)
#endif

#define MB			(UINT64_C(1) << 20)

/*
 * Every child: the loop, its link, the log, memory.
 */
#ifdef __linux__
const struct sandbox_row sandbox_child_rows[] = {
	/* link, log and the descriptors that were passed */
	ALLOW(read),
	ALLOW(write),
	ALLOW(writev),		/* libc's last words; evbuffers */
	ALLOW(recvmsg),
	ALLOW_IF(sendmsg, ONLY(2, SEND_FLAGS)),
	ALLOW(close),
	ALLOW_IF(fcntl, IS(1, F_GETFL)),
	ALLOW_IF(fcntl, IS(1, F_SETFL)),
	ALLOW_IF(fcntl, IS(1, F_GETFD)),
	ALLOW_IF(fcntl, IS(1, F_SETFD)),
	ALLOW_IF(fcntl, IS(1, F_DUPFD_CLOEXEC)),

	/* libevent; msglink_flush */
	ALLOW(epoll_create1),
	ALLOW(epoll_ctl),
	ALLOW(epoll_wait),
	ALLOW(epoll_pwait),
	ALLOW(pipe2),		/* event_base_new, for signals */
	ALLOW(poll),
	ALLOW(ppoll),
	ALLOW(getuid),		/* before it trusts the environment */
	ALLOW(geteuid),
	ALLOW(getgid),
	ALLOW(getegid),

	/* memory: never executable, nor a file's, nor shared */
	ALLOW(brk),
	ALLOW_IF(mmap, ONLY(2, DATA_PROT), HAS(3, DATA_MAP)),
	ALLOW_IF(mprotect, ONLY(2, DATA_PROT)),
	ALLOW(munmap),
	ALLOW(mremap),
	ALLOW(madvise),

	/* libc, arc4random(3); the clocks where the vDSO does not know them */
	ALLOW(getrandom),
	ALLOW(getpid),
	ALLOW(gettid),
	ALLOW(clock_gettime),
	ALLOW(clock_getres),
	ALLOW(gettimeofday),
	ALLOW(time),
	ALLOW(sysinfo),		/* qsort(3) asks for the size of memory */
	ALLOW_IF(futex, IS_LESS(1, FUTEX_WAIT, FUTEX_PRIVATE_FLAG)),
	ALLOW_IF(futex, IS_LESS(1, FUTEX_WAKE, FUTEX_PRIVATE_FLAG)),

	/* the end; abort(3) */
	ALLOW(rt_sigprocmask),
	ALLOW(rt_sigreturn),
	ALLOW(restart_syscall),
	ALLOW_IF(tgkill, IS(0, SANDBOX_SELF), IS(2, SIGABRT)),
	ALLOW(exit),
	ALLOW(exit_group),
#ifdef SANITIZER
	/* a report of AddressSanitizer; see also enter_seccomp */
	ALLOW(sched_yield),
	ALLOW(sigaltstack),
	ALLOW(rt_sigaction),
	ALLOW(getppid),
	ALLOW(getrusage),
	ALLOW_IF(mmap, ONLY(2, DATA_PROT), HAS(3, MAP_ANONYMOUS)),
	ALLOW(stat),
	ALLOW_IF(ioctl, IS(1, TCGETS)),
	FAIL(open, EACCES),
	FAIL(prctl, EPERM),
	FAIL(clone, EPERM),
#endif
};
const size_t sandbox_child_nrows = sizeof(sandbox_child_rows) /
    sizeof(sandbox_child_rows[0]);
#endif

/*
 * session: TCP connections that it accepts, or that come connected. No call
 * that opens one.
 */
#ifdef __linux__
static const struct sandbox_row session_rows[] = {
	ALLOW(accept4),
	ALLOW_IF(sendto, ONLY(3, SEND_FLAGS), IS(4, 0)),
	ALLOW(recvfrom),
	ALLOW(readv),
	ALLOW(shutdown),
	ALLOW(getsockname),
	ALLOW(getpeername),
	ALLOW_IF(getsockopt, IS(1, SOL_SOCKET)),
	ALLOW_IF(getsockopt, IS(1, IPPROTO_TCP)),
	/* not SO_LINGER: the parent's close of a duplicate would wait */
	ALLOW_IF(setsockopt, IS(1, SOL_SOCKET), IS(2, SO_KEEPALIVE)),
	ALLOW_IF(setsockopt, IS(1, IPPROTO_TCP), IS(2, TCP_NODELAY)),
	ALLOW_IF(setsockopt, IS(1, IPPROTO_TCP), IS(2, TCP_KEEPIDLE)),
	ALLOW_IF(setsockopt, IS(1, IPPROTO_TCP), IS(2, TCP_KEEPINTVL)),
	ALLOW_IF(setsockopt, IS(1, IPPROTO_TCP), IS(2, TCP_KEEPCNT)),
	ALLOW_IF(ioctl, IS(1, FIONREAD)),	/* evbuffer_read */
};
#endif
#define SESSION	{ "stdio inet sendfd recvfd", ROWS(session_rows), 1,	\
	0, 2 * CONN_MAX, 4096 * MB, 0 }

/*
 * parser: octets in, a struct out. Nothing beside what every child has.
 */
#define PARSER	{ "stdio recvfd", NULL, 0, 1,				\
	0, 64, 128 * MB, 0 }

/*
 * auth: reads the files that it is given.
 */
#ifdef __linux__
static const struct sandbox_row auth_rows[] = {
	ALLOW(pread64),
	ALLOW(lseek),
	ALLOW(fstat),
	/*
	 * fstat(3); and libkrb5 looks for its configuration and plugins at
	 * each login: by name there is nothing but the empty root
	 */
	ALLOW(newfstatat),
	FAIL(openat, ENOENT),
	FAIL(access, ENOENT),
	ALLOW(uname),		/* libsasl2: gethostname(3) */
};
#endif
#define AUTH	{ "stdio recvfd", ROWS(auth_rows), 1,			\
	0, 256, 512 * MB, 0 }

/*
 * store: files of its own directory, which is its root, as SQLite uses them
 * with a write-ahead log. Landlock bounds what openat and unlink reach.
 */
#ifdef __linux__
static const struct sandbox_row store_rows[] = {
	ALLOW(openat),
	ALLOW(pread64),
	ALLOW(pwrite64),
	ALLOW(lseek),
	ALLOW(fstat),
	ALLOW(newfstatat),
	ALLOW(access),
	ALLOW(faccessat),
	ALLOW(readlink),
	ALLOW(getcwd),
	ALLOW(fsync),
	ALLOW(fdatasync),
	ALLOW(ftruncate),
	ALLOW(fallocate),
	ALLOW(unlink),
	ALLOW(fchmod),		/* a new log gets the database's mode */
	ALLOW_IF(fcntl, IS(1, F_GETLK)),
	ALLOW_IF(fcntl, IS(1, F_SETLK)),
	/* the log's index */
	ALLOW_IF(mmap, ONLY(2, DATA_PROT), IS(3, MAP_SHARED)),
	ALLOW(clock_nanosleep),	/* sqlite3_busy_timeout */
};
#endif
#define STORE	{ "stdio rpath wpath cpath flock recvfd", ROWS(store_rows), 1, \
	0, 64, 1024 * MB, 1 }

/*
 * tunnel: packets, on a TUN device and a raw socket that it is given. Those of
 * several queues are alike.
 */
#ifdef __linux__
static const struct sandbox_row tunnel_rows[] = {
	ALLOW(readv),
	ALLOW_IF(sendto, ONLY(3, SEND_FLAGS)),
	ALLOW_IF(sendmmsg, ONLY(3, SEND_FLAGS)),
	ALLOW(recvfrom),
	ALLOW(recvmmsg),
};
#endif
#define TUNNEL	{ "stdio inet recvfd", ROWS(tunnel_rows), 1,		\
	0, 128, 1024 * MB, 0 }

/*
 * priv: the parent. It starts children, hands out listeners and connecting
 * sockets, makes TUN devices, routes and raw sockets.
 *
 * Its filter stays with the programs that it executes, so these rows hold
 * also all that the children's blocks do and what a program needs until
 * it enters its own sandbox: the run-time linker (which maps code, hence
 * executable pages, though none that are writable), libraries that
 * warm up, proc_child. regress/unit/test_sandbox.c checks that no child's
 * row is missing here.
 *
 * Not here, so deadly: ptrace, process_vm_*, pidfd_*, mount and its family,
 * unshare, setns, pivot_root, keyctl and its family, modules, kexec, reboot,
 * swap, perf_event_open, io_uring_*, userfaultfd, threads. Of bpf no more
 * than entries of maps: all that makes maps and programs is done before.
 *
 * Capabilities, in the bounding set as well:
 * NET_ADMIN	TUN devices, addresses, routes, rules
 * NET_RAW	raw sockets for the outer packets
 * SETUID, SETGID	a child drops to its own user
 * SYS_CHROOT	and to its own root directory
 * KILL		a child that does not end; it has another user
 * None of them passes file permissions by: what the parent opens at run time
 * belongs to root or lets its group in, and the store's directory is entered
 * by the store, as its owner (proc.c).
 */
#ifdef __linux__
static const struct sandbox_row priv_rows[] = {
	/* descriptors */
	ALLOW(read),
	ALLOW(readv),
	ALLOW(pread64),
	ALLOW(write),
	ALLOW(writev),
	ALLOW(pwrite64),
	ALLOW(lseek),
	ALLOW(close),
	ALLOW(close_range),
	ALLOW(dup),
	ALLOW(dup2),
	ALLOW(dup3),
	ALLOW_IF(fcntl, IS(1, F_GETFL)),
	ALLOW_IF(fcntl, IS(1, F_SETFL)),
	ALLOW_IF(fcntl, IS(1, F_GETFD)),
	ALLOW_IF(fcntl, IS(1, F_SETFD)),
	ALLOW_IF(fcntl, IS(1, F_DUPFD)),
	ALLOW_IF(fcntl, IS(1, F_DUPFD_CLOEXEC)),
	ALLOW_IF(fcntl, IS(1, F_GETLK)),
	ALLOW_IF(fcntl, IS(1, F_SETLK)),
	ALLOW(pipe2),

	/* files, within Landlock's bounds */
	ALLOW(open),
	ALLOW(openat),
	ALLOW(stat),
	ALLOW(lstat),
	ALLOW(fstat),
	ALLOW(newfstatat),
	ALLOW(statx),
	ALLOW(access),
	ALLOW(faccessat),
	ALLOW(faccessat2),
	ALLOW(readlink),
	ALLOW(readlinkat),
	ALLOW(getdents64),
	ALLOW(getcwd),
	ALLOW(fsync),
	ALLOW(fdatasync),
	ALLOW(ftruncate),
	ALLOW(fallocate),
	ALLOW(fadvise64),
	ALLOW(unlink),
	ALLOW(fchmod),
	ALLOW(umask),

	/* the loop */
	ALLOW(epoll_create1),
	ALLOW(epoll_ctl),
	ALLOW(epoll_wait),
	ALLOW(epoll_pwait),
	ALLOW(poll),
	ALLOW(ppoll),
	ALLOW(clock_gettime),
	ALLOW(clock_getres),
	ALLOW(clock_nanosleep),
	ALLOW(nanosleep),
	ALLOW(gettimeofday),
	ALLOW(time),

	/* sockets: TSP, outer packets, netlink, links and control, syslog */
	ALLOW_IF(socket, IS(0, AF_INET6), IS_LESS(1, SOCK_STREAM, SOCK_FLAGS)),
	ALLOW_IF(socket, IS(0, AF_INET6), IS_LESS(1, SOCK_DGRAM, SOCK_FLAGS)),
	ALLOW_IF(socket, IS(0, AF_INET6), IS_LESS(1, SOCK_RAW, SOCK_FLAGS)),
	ALLOW_IF(socket, IS(0, AF_UNIX), IS_LESS(1, SOCK_STREAM, SOCK_FLAGS)),
	ALLOW_IF(socket, IS(0, AF_UNIX), IS_LESS(1, SOCK_DGRAM, SOCK_FLAGS)),
	ALLOW_IF(socket, IS(0, AF_NETLINK),
	    IS_LESS(1, SOCK_RAW, SOCK_FLAGS), IS(2, NETLINK_ROUTE)),
	ALLOW_IF(socket, IS(0, AF_NETLINK),
	    IS_LESS(1, SOCK_DGRAM, SOCK_FLAGS), IS(2, NETLINK_ROUTE)),
	ALLOW_IF(socketpair, IS(0, AF_UNIX),
	    IS_LESS(1, SOCK_STREAM, SOCK_FLAGS)),
	ALLOW(bind),
	ALLOW(listen),
	ALLOW(accept4),
	ALLOW(connect),
	ALLOW(shutdown),
	ALLOW(getsockname),
	ALLOW(getpeername),
	ALLOW(getsockopt),
	ALLOW_IF(setsockopt, IS(1, SOL_SOCKET)),
	ALLOW_IF(setsockopt, IS(1, IPPROTO_TCP)),
	ALLOW_IF(setsockopt, IS(1, IPPROTO_IPV6)),
	ALLOW_IF(setsockopt, IS(1, IPPROTO_RAW)),
	ALLOW_IF(setsockopt, IS(1, SOL_NETLINK)),
	ALLOW(sendto),
	ALLOW(sendmsg),
	ALLOW(sendmmsg),
	ALLOW(recvfrom),
	ALLOW(recvmsg),
	ALLOW(recvmmsg),

	/* devices; isatty(3) in a program's stdio */
	ALLOW_IF(ioctl, IS(1, TUNSETIFF)),
	ALLOW_IF(ioctl, IS(1, TUNGETIFF)),
	ALLOW_IF(ioctl, IS(1, TUNGETFEATURES)),
	ALLOW_IF(ioctl, IS(1, TUNSETOFFLOAD)),
	ALLOW_IF(ioctl, IS(1, TUNSETVNETHDRSZ)),
	ALLOW_IF(ioctl, IS(1, TUNSETSNDBUF)),
	ALLOW_IF(ioctl, IS(1, TUNSETPERSIST)),
	ALLOW_IF(ioctl, IS(1, TUNSETSTEERINGEBPF)),
	ALLOW_IF(ioctl, IS(1, SIOCGIFINDEX)),
	ALLOW_IF(ioctl, IS(1, SIOCGIFNAME)),
	ALLOW_IF(ioctl, IS(1, SIOCGIFMTU)),
	ALLOW_IF(ioctl, IS(1, SIOCGIFFLAGS)),
	ALLOW_IF(ioctl, IS(1, FIONREAD)),
	ALLOW_IF(ioctl, IS(1, FIONBIO)),
	ALLOW_IF(ioctl, IS(1, TCGETS)),

	/* plane bpf: entries of the maps that were made before */
	ALLOW_IF(bpf, IS(0, BPF_MAP_LOOKUP_ELEM)),
	ALLOW_IF(bpf, IS(0, BPF_MAP_UPDATE_ELEM)),
	ALLOW_IF(bpf, IS(0, BPF_MAP_DELETE_ELEM)),
	ALLOW_IF(bpf, IS(0, BPF_LINK_CREATE)),

	/* children: fork without sharing, no threads, no name spaces */
	ALLOW(fork),
	ALLOW_IF(clone, ONLY(0, FORK_FLAGS)),
	FAIL(clone3, ENOSYS),	/* libc falls back to clone */
	ALLOW(execve),
	ALLOW(execveat),
	ALLOW(wait4),
	ALLOW(waitid),
	ALLOW(kill),
	ALLOW_IF(tgkill, IS(2, SIGABRT)),
	ALLOW(rt_sigaction),
	ALLOW(rt_sigprocmask),
	ALLOW(rt_sigreturn),
	ALLOW(sigaltstack),
	ALLOW(restart_syscall),
	ALLOW(exit),
	ALLOW(exit_group),

	/* memory: code only as the linker maps it, never writable */
	ALLOW(brk),
	ALLOW_IF(mmap, ONLY(2, DATA_PROT)),
	ALLOW_IF(mmap, ONLY(2, PROT_READ | PROT_EXEC)),
	ALLOW_IF(mprotect, ONLY(2, DATA_PROT)),
	ALLOW(munmap),
	ALLOW(mremap),
	ALLOW(madvise),

	/* a program that starts: linker, libc, libraries */
	ALLOW(arch_prctl),
	ALLOW(set_tid_address),
	ALLOW(set_robust_list),
	ALLOW(rseq),
	ALLOW(futex),
	ALLOW(getrandom),
	ALLOW(uname),
	ALLOW(sysinfo),
	ALLOW(sched_yield),
	ALLOW(sched_getaffinity),
	ALLOW(getrusage),
	ALLOW(getpid),
	ALLOW(getppid),
	ALLOW(gettid),
	ALLOW(getuid),
	ALLOW(geteuid),
	ALLOW(getgid),
	ALLOW(getegid),
	ALLOW(getgroups),
	ALLOW(getresuid),
	ALLOW(getresgid),

	/* proc_child: root, user, limits, sandbox */
	ALLOW(fchdir),
	ALLOW(chroot),
	ALLOW(chdir),
	ALLOW(setgroups),
	ALLOW(setresgid),
	ALLOW(setresuid),
	ALLOW(setfsuid),
	ALLOW(setuid),		/* the proof that it fails */
	ALLOW(setgid),
	ALLOW(prlimit64),
	ALLOW(getrlimit),
	ALLOW(setrlimit),
	ALLOW(capget),
	ALLOW(capset),
	ALLOW(seccomp),
	ALLOW(landlock_create_ruleset),
	ALLOW(landlock_add_rule),
	ALLOW(landlock_restrict_self),
	ALLOW_IF(prctl, IS(0, PR_SET_NAME)),
	ALLOW_IF(prctl, IS(0, PR_SET_DUMPABLE)),
	ALLOW_IF(prctl, IS(0, PR_GET_DUMPABLE)),
	ALLOW_IF(prctl, IS(0, PR_SET_NO_NEW_PRIVS)),
	ALLOW_IF(prctl, IS(0, PR_GET_NO_NEW_PRIVS)),
	ALLOW_IF(prctl, IS(0, PR_SET_SECCOMP)),
	ALLOW_IF(prctl, IS(0, PR_GET_SECCOMP)),
	ALLOW_IF(prctl, IS(0, PR_CAPBSET_READ)),
	ALLOW_IF(prctl, IS(0, PR_CAP_AMBIENT)),
};
#define PRIV_CAPS	(CAP(CAP_NET_ADMIN) | CAP(CAP_NET_RAW) |	\
	CAP(CAP_SETUID) | CAP(CAP_SETGID) | CAP(CAP_SYS_CHROOT) |	\
	CAP(CAP_KILL))
#else
#define PRIV_CAPS	0
#endif
/* No promise covers the ioctls of gif(4): unveil(2) alone bounds it. */
#define PRIV	{ NULL, ROWS(priv_rows), 0,				\
	PRIV_CAPS, 2 * CONN_MAX, 0, 1 }

const struct sandbox sandboxes[PROC_NPROC] = {
	[PROC_PRIV]	= PRIV,
	[PROC_SESSION]	= SESSION,
	[PROC_PARSER]	= PARSER,
	[PROC_AUTH]	= AUTH,
	[PROC_STORE]	= STORE,
	[PROC_TUNNEL]	= TUNNEL,
	[PROC_TUNNEL2]	= TUNNEL,
	[PROC_TUNNEL3]	= TUNNEL,
	[PROC_TUNNEL4]	= TUNNEL,
};
