/*
 * The sandbox on Linux: limits, no-new-privs, capabilities, Landlock,
 * seccomp, in this order; what is allowed says sandbox-table.c.
 *
 * Landlock grows from kernel to kernel. All that this kernel knows is
 * used; version 1 is enough to start.
 */
#ifdef __linux__
#include <sys/types.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <linux/capability.h>

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <seccomp.h>
#include <string.h>
#include <unistd.h>

#include "dstmd/dstmd.h"
#include "dstmd/sandbox.h"
#include "dstmd/sandbox-table.h"

/*
 * From <linux/landlock.h>; Debian 12's has but those of version 2. The
 * comment says from which version on.
 */
struct ll_ruleset {
	uint64_t	 fs;
	uint64_t	 net;		/* 4 */
	uint64_t	 scoped;	/* 6 */
};
struct ll_path {
	uint64_t	 access;
	int32_t		 fd;
} __attribute__((packed));

#define LL_VERSION		(1U << 0)
#define LL_RULE_PATH		1

#define LL_EXECUTE		(UINT64_C(1) << 0)
#define LL_WRITE_FILE		(UINT64_C(1) << 1)
#define LL_READ_FILE		(UINT64_C(1) << 2)
#define LL_READ_DIR		(UINT64_C(1) << 3)
#define LL_REMOVE_FILE		(UINT64_C(1) << 5)
#define LL_MAKE_REG		(UINT64_C(1) << 8)
#define LL_FS_1			((UINT64_C(1) << 13) - 1)
#define LL_REFER		(UINT64_C(1) << 13)	/* 2 */
#define LL_TRUNCATE		(UINT64_C(1) << 14)	/* 3 */
#define LL_NET_TCP		(UINT64_C(3))		/* 4: bind, connect */
#define LL_IOCTL_DEV		(UINT64_C(1) << 15)	/* 5 */
#define LL_SCOPES		(UINT64_C(3))		/* 6: abstract unix
							 * sockets, signals */
#define LL_OF_FILES		(LL_EXECUTE | LL_WRITE_FILE | LL_READ_FILE | \
				    LL_TRUNCATE | LL_IOCTL_DEV)

/* What a program needs to start, beside what the caller says. */
static const struct sandbox_path start_paths[] = {
	{ "/lib",			"r" },
	{ "/lib64",			"r" },
	{ "/usr/lib",			"r" },
	{ "/usr/lib64",			"r" },
	{ "/usr/local/lib",		"r" },
	{ "/etc/ld.so.cache",		"r" },
	{ "/etc/ssl",			"r" },	/* OpenSSL, by libsasl2 */
	{ "/etc/localtime",		"r" },
	{ "/usr/share/zoneinfo",	"r" },
	{ "/dev/null",			"rw" },
	{ "/dev/urandom",		"r" },
	{ "/dev/net/tun",		"rwi" },
#ifdef SANITIZER
	{ "/proc",			"r" },	/* it reads its own map */
#endif
	{ NULL, NULL }
};

#ifdef SANITIZER
/* The leak checker traces its own process, which no sandbox allows. */
const char	*__asan_default_options(void);

const char *
__asan_default_options(void)
{
	return ("detect_leaks=0");
}
#endif

static int
ll_version(void)
{
	return ((int)syscall(SYS_landlock_create_ruleset, NULL, 0,
	    LL_VERSION));
}

int
sandbox_available(const char **why)
{
	uint32_t action = SCMP_ACT_KILL_PROCESS;

	if (syscall(SYS_seccomp, 2 /* GET_ACTION_AVAIL */, 0, &action) == -1) {
		*why = "this kernel has no seccomp filters "
		    "(CONFIG_SECCOMP_FILTER, Linux 4.14 or later)";
		return (-1);
	}
	if (ll_version() < 1) {
		*why = errno == EOPNOTSUPP ?
		    "Landlock is not enabled (boot with lsm=landlock,...)" :
		    "this kernel has no Landlock (CONFIG_SECURITY_LANDLOCK, "
		    "Linux 5.13 or later)";
		return (-1);
	}
	return (0);
}

/*
 * Capabilities
 */

static void
get_caps(struct __user_cap_data_struct *data)
{
	struct __user_cap_header_struct hdr;

	hdr.version = _LINUX_CAPABILITY_VERSION_3;
	hdr.pid = 0;
	if (syscall(SYS_capget, &hdr, data) == -1)
		fatal("capget");
}

/* Permitted and effective exactly caps, nothing to be inherited. */
static void
set_caps(uint64_t caps)
{
	struct __user_cap_header_struct hdr;
	struct __user_cap_data_struct data[2];
	int i;

	hdr.version = _LINUX_CAPABILITY_VERSION_3;
	hdr.pid = 0;
	memset(data, 0, sizeof(data));
	for (i = 0; i < 2; i++)
		data[i].permitted = data[i].effective =
		    (uint32_t)(caps >> (32 * i));
	if (syscall(SYS_capset, &hdr, data) == -1)
		fatal("capset: the daemon must be started with the "
		    "capabilities that dstmd(8) names");
	get_caps(data);
	for (i = 0; i < 2; i++)
		if (data[i].effective != (uint32_t)(caps >> (32 * i)) ||
		    data[i].permitted != data[i].effective ||
		    data[i].inheritable != 0)
			fatalx("capset did not take effect");
}

static void
bound_caps(uint64_t caps)
{
	int c;

	for (c = 0; prctl(PR_CAPBSET_READ, c, 0, 0, 0) != -1; c++)
		if (c >= 64 || (caps & (UINT64_C(1) << c)) == 0)
			if (prctl(PR_CAPBSET_DROP, c, 0, 0, 0) == -1)
				fatal("dropping capability %d", c);
}

static void
enter_caps(enum proc_id id)
{
	uint64_t caps = sandboxes[id].caps;

	/* A child dropped them with its user, and lacks SETPCAP for this. */
	if (id == PROC_PRIV)
		bound_caps(caps);
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == -1)
		fatal("ambient capabilities");
	set_caps(caps);
}

/*
 * Landlock
 */

static uint64_t
ll_access(const char *letters)
{
	uint64_t access = 0;

	for (; *letters != '\0'; letters++)
		switch (*letters) {
		case 'r':
			access |= LL_READ_FILE | LL_READ_DIR;
			break;
		case 'w':
			access |= LL_WRITE_FILE | LL_TRUNCATE;
			break;
		case 'c':
			access |= LL_MAKE_REG | LL_REMOVE_FILE;
			break;
		case 'x':
			access |= LL_EXECUTE;
			break;
		case 'i':		/* ioctl(2) of a device */
			access |= LL_IOCTL_DEV;
			break;
		default:
			fatalx("sandbox: no access '%c'", *letters);
		}
	return (access);
}

/* must: the path has to be there. */
static void
ll_allow(int ruleset, uint64_t handled, const char *path, uint64_t access,
    int must)
{
	struct ll_path rule;
	struct stat st;

	memset(&rule, 0, sizeof(rule));
	if ((rule.fd = open(path, O_PATH | O_CLOEXEC)) == -1) {
		if (!must && (errno == ENOENT || errno == EACCES ||
		    errno == ENOTDIR))
			return;
		fatal("sandbox: %s", path);
	}
	if (fstat(rule.fd, &st) == -1)
		fatal("sandbox: %s", path);
	rule.access = access & handled;
	if (!S_ISDIR(st.st_mode))
		rule.access &= LL_OF_FILES;
	if (rule.access != 0 && syscall(SYS_landlock_add_rule, ruleset,
	    LL_RULE_PATH, &rule, 0) == -1)
		fatal("landlock_add_rule %s", path);
	close(rule.fd);
}

/* The run-time linker, as our own program names it. */
static int
find_linker(struct dl_phdr_info *info, size_t size, void *arg)
{
	const char **path = arg;
	int i;

	(void)size;
	for (i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_INTERP)
			*path = (const char *)(info->dlpi_addr +
			    info->dlpi_phdr[i].p_vaddr);
	return (1);			/* the first is the program itself */
}

/* The parent's own, beside what its caller says: children must start. */
static void
ll_allow_start(int ruleset, uint64_t handled)
{
	const struct sandbox_path *p;
	const char *linker = NULL;

	for (p = start_paths; p->path != NULL; p++)
		ll_allow(ruleset, handled, p->path, ll_access(p->access), 0);
	dl_iterate_phdr(find_linker, &linker);
	if (linker != NULL)
		ll_allow(ruleset, handled, linker, LL_READ_FILE | LL_EXECUTE,
		    1);
}

static void
enter_landlock(enum proc_id id, const struct sandbox_path *paths)
{
	struct ll_ruleset rs;
	int fd, version = ll_version();

	if (version < 1)
		fatal("Landlock");
	memset(&rs, 0, sizeof(rs));
	rs.fs = LL_FS_1;
	if (version >= 2)
		rs.fs |= LL_REFER;
	if (version >= 3)
		rs.fs |= LL_TRUNCATE;
	if (version >= 5)
		rs.fs |= LL_IOCTL_DEV;
	/* The parent calls whom its configuration names; nobody else does. */
	if (version >= 4 && id != PROC_PRIV)
		rs.net = LL_NET_TCP;
	if (version >= 6)
		rs.scoped = LL_SCOPES;
	fd = (int)syscall(SYS_landlock_create_ruleset, &rs, sizeof(rs), 0);
	if (fd == -1)
		fatal("landlock_create_ruleset");
	for (; paths != NULL && paths->path != NULL; paths++)
		ll_allow(fd, rs.fs, paths->path, ll_access(paths->access), 1);
	if (id == PROC_PRIV)
		ll_allow_start(fd, rs.fs);
	if (syscall(SYS_landlock_restrict_self, fd, 0) == -1)
		fatal("landlock_restrict_self");
	close(fd);
}

/*
 * seccomp
 */

/*
 * Two rows for one call are an OR: a row without conditions would undo all
 * others of its call, and one that fails would be undone by any.
 */
static void
check_rows(const struct sandbox_row *a, size_t na, const struct sandbox_row *b,
    size_t nb)
{
	size_t i, j;

	for (i = 0; i < na; i++)
		for (j = 0; j < nb; j++)
			if (&a[i] != &b[j] && a[i].nr == b[j].nr &&
			    (a[i].args[0].mask == 0 || a[i].error != 0))
				fatalx("sandbox: a row of system call %d undoes "
				    "another", a[i].nr);
}

static void
add_row(scmp_filter_ctx ctx, const struct sandbox_row *row)
{
	struct scmp_arg_cmp cmp[SANDBOX_ARGS];
	const struct sandbox_arg *a;
	unsigned int n;
	int error;

	for (n = 0; n < SANDBOX_ARGS && row->args[n].mask != 0; n++) {
		a = &row->args[n];
		cmp[n] = SCMP_CMP64(a->arg, SCMP_CMP_MASKED_EQ, a->mask,
		    a->value == SANDBOX_SELF ? (uint64_t)getpid() : a->value);
	}
	error = seccomp_rule_add_array(ctx,
	    row->error ? SCMP_ACT_ERRNO((uint32_t)row->error) : SCMP_ACT_ALLOW,
	    row->nr, n, cmp);
	if (error != 0) {
		errno = -error;
		fatal("sandbox: rule for system call %d", row->nr);
	}
}

static void
set_attr(scmp_filter_ctx ctx, enum scmp_filter_attr attr, uint32_t value)
{
	int error;

	if ((error = seccomp_attr_set(ctx, attr, value)) != 0) {
		errno = -error;
		fatal("sandbox: seccomp attribute %d", (int)attr);
	}
}

#ifdef SANITIZER
static const struct sandbox_row	 no_open = {
	SCMP_SYS(openat), EACCES, { { 0, 0, 0 } }
};
static const struct sandbox_row	 no_readlink = {
	SCMP_SYS(readlink), EACCES, { { 0, 0, 0 } }
};
#endif

static void
enter_seccomp(const struct sandbox *s)
{
	scmp_filter_ctx ctx;
	size_t i;
	int error;

	check_rows(s->rows, s->nrows, s->rows, s->nrows);
	if ((ctx = seccomp_init(SCMP_ACT_KILL_PROCESS)) == NULL)
		fatalx("seccomp_init");
	set_attr(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	set_attr(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
	set_attr(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);	/* search by halves */
	for (i = 0; i < s->nrows; i++)
		add_row(ctx, &s->rows[i]);
	if (s->common) {
		check_rows(s->rows, s->nrows, sandbox_child_rows,
		    sandbox_child_nrows);
		check_rows(sandbox_child_rows, sandbox_child_nrows, s->rows,
		    s->nrows);
		check_rows(sandbox_child_rows, sandbox_child_nrows,
		    sandbox_child_rows, sandbox_child_nrows);
		for (i = 0; i < sandbox_child_nrows; i++)
			add_row(ctx, &sandbox_child_rows[i]);
	}
#ifdef SANITIZER
	/* A report looks for symbols, and does without. */
	if (s->common && !s->files) {
		add_row(ctx, &no_open);
		add_row(ctx, &no_readlink);
	}
#endif
	if ((error = seccomp_load(ctx)) != 0) {
		errno = -error;
		fatal("seccomp_load");
	}
	seccomp_release(ctx);
}

void
sandbox_enter(enum proc_id id, const struct sandbox_path *paths)
{
	if (id >= PROC_CONTROL)
		fatalx("no sandbox for process %d", (int)id);
	sandbox_limits(id);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
		fatal("no_new_privs");
	enter_landlock(id, paths);
	enter_caps(id);
	enter_seccomp(&sandboxes[id]);
}
#endif /* __linux__ */
