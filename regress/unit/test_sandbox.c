/* LINK: dstmd/sandbox-table.o dstmd/procname.o */
/*
 * The sandbox tables, read as data: no row undoes another, the parent's
 * filter, which its children inherit, admits all that theirs do, and what
 * must be nowhere is nowhere. That the kernel enforces them is shown by
 * regress/sandbox.
 */
#include <sys/mman.h>
#include <sys/socket.h>

#include <seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dstmd/dstmd.h"
#include "dstmd/sandbox-table.h"

/* A call as a process would make it. */
struct call {
	int		 nr;
	uint64_t	 args[6];
};

static int
admits(const struct sandbox_row *row, const struct call *c)
{
	const struct sandbox_arg *a;
	size_t i;

	if (row->nr != c->nr || row->error != 0)
		return (0);
	for (i = 0; i < SANDBOX_ARGS && row->args[i].mask != 0; i++) {
		a = &row->args[i];
		if ((c->args[a->arg] & a->mask) != a->value)
			return (0);
	}
	return (1);
}

static int
allowed(enum proc_id id, const struct call *c)
{
	const struct sandbox *s = &sandboxes[id];
	size_t i;

	for (i = 0; i < s->nrows; i++)
		if (admits(&s->rows[i], c))
			return (1);
	for (i = 0; s->common && i < sandbox_child_nrows; i++)
		if (admits(&sandbox_child_rows[i], c))
			return (1);
	return (0);
}

/* Does the child's condition say at least what the parent's says? */
static int
implied(const struct sandbox_arg *want, const struct sandbox_row *row)
{
	const struct sandbox_arg *a;
	size_t i;

	for (i = 0; i < SANDBOX_ARGS && row->args[i].mask != 0; i++) {
		a = &row->args[i];
		if (a->arg == want->arg && (want->mask & ~a->mask) == 0 &&
		    (a->value & want->mask) == want->value)
			return (1);
	}
	return (0);
}

static int
covers(const struct sandbox_row *parent, const struct sandbox_row *row)
{
	size_t i;

	if (parent->nr != row->nr || parent->error != 0)
		return (0);
	for (i = 0; i < SANDBOX_ARGS && parent->args[i].mask != 0; i++)
		if (!implied(&parent->args[i], row))
			return (0);
	return (1);
}

static void
check_covered(const struct sandbox_row *rows, size_t n, const char *whose)
{
	const struct sandbox *p = &sandboxes[PROC_PRIV];
	size_t i, j;

	for (i = 0; i < n; i++) {
		if (rows[i].error != 0)
			continue;
		for (j = 0; j < p->nrows; j++)
			if (covers(&p->rows[j], &rows[i]))
				break;
		if (j == p->nrows)
			fail_msg("the parent lacks %s of %s",
			    seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE,
			    rows[i].nr), whose);
	}
}

static void
test_parent_covers(void **state)
{
	int id;

	(void)state;
	check_covered(sandbox_child_rows, sandbox_child_nrows, "all children");
	for (id = PROC_SESSION; id < PROC_CONTROL; id++)
		check_covered(sandboxes[id].rows, sandboxes[id].nrows,
		    "a child");
}

static void
test_no_row_undone(void **state)
{
	const struct sandbox *s;
	const struct sandbox_row *rows[1024];
	size_t i, j, n;
	int id;

	(void)state;
	for (id = PROC_PRIV; id < PROC_CONTROL; id++) {
		s = &sandboxes[id];
		n = 0;
		for (i = 0; i < s->nrows; i++)
			rows[n++] = &s->rows[i];
		for (i = 0; s->common && i < sandbox_child_nrows; i++)
			rows[n++] = &sandbox_child_rows[i];
		for (i = 0; i < n; i++)
			for (j = 0; j < n; j++)
				if (i != j && rows[i]->nr == rows[j]->nr &&
				    rows[i]->args[0].mask == 0)
					fail_msg("process %d, call %d", id,
					    rows[i]->nr);
	}
}

/* A value outside its mask would never match. */
static void
test_values_in_masks(void **state)
{
	const struct sandbox *s = &sandboxes[PROC_PRIV];
	const struct sandbox_arg *a;
	size_t i, k;
	int id;

	(void)state;
	for (id = PROC_PRIV; id < PROC_CONTROL; id++) {
		s = &sandboxes[id];
		for (i = 0; i < s->nrows; i++)
			for (k = 0; k < SANDBOX_ARGS; k++) {
				a = &s->rows[i].args[k];
				assert_int_equal(a->value & ~a->mask, 0);
				assert_true(a->arg < 6);
			}
	}
}

static void
test_never(void **state)
{
	static const int nobody[] = {
		SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv),
		SCMP_SYS(process_vm_writev), SCMP_SYS(pidfd_getfd),
		SCMP_SYS(pidfd_open), SCMP_SYS(mount), SCMP_SYS(umount2),
		SCMP_SYS(move_mount), SCMP_SYS(open_tree), SCMP_SYS(fsopen),
		SCMP_SYS(unshare), SCMP_SYS(setns), SCMP_SYS(pivot_root),
		SCMP_SYS(keyctl), SCMP_SYS(add_key), SCMP_SYS(request_key),
		SCMP_SYS(init_module), SCMP_SYS(finit_module),
		SCMP_SYS(delete_module), SCMP_SYS(kexec_load),
		SCMP_SYS(kexec_file_load), SCMP_SYS(reboot),
		SCMP_SYS(swapon), SCMP_SYS(swapoff),
		SCMP_SYS(perf_event_open), SCMP_SYS(io_uring_setup),
		SCMP_SYS(userfaultfd), SCMP_SYS(bpf), SCMP_SYS(clone3),
		SCMP_SYS(vfork), SCMP_SYS(mknod), SCMP_SYS(mknodat),
		SCMP_SYS(pkey_mprotect), SCMP_SYS(memfd_create),
		SCMP_SYS(open_by_handle_at), SCMP_SYS(settimeofday),
		SCMP_SYS(clock_settime), SCMP_SYS(syslog), SCMP_SYS(acct),
		SCMP_SYS(quotactl), SCMP_SYS(personality), SCMP_SYS(chmod),
		SCMP_SYS(chown), SCMP_SYS(link), SCMP_SYS(symlink),
		SCMP_SYS(rename), SCMP_SYS(setxattr)
	};
	static const int no_child[] = {
		SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(fork),
		SCMP_SYS(socket), SCMP_SYS(socketpair), SCMP_SYS(bind),
		SCMP_SYS(listen), SCMP_SYS(connect), SCMP_SYS(kill),
		SCMP_SYS(setresuid), SCMP_SYS(setuid), SCMP_SYS(capset),
		SCMP_SYS(chroot), SCMP_SYS(seccomp), SCMP_SYS(prlimit64),
		SCMP_SYS(setrlimit), SCMP_SYS(dup2), SCMP_SYS(dup3)
	};
	struct call c;
	size_t i;
	int id;

	(void)state;
	memset(&c, 0, sizeof(c));
	for (id = PROC_PRIV; id < PROC_CONTROL; id++)
		for (i = 0; i < sizeof(nobody) / sizeof(nobody[0]); i++) {
			c.nr = nobody[i];
			if (allowed(id, &c))
				fail_msg("process %d may make call %d", id,
				    c.nr);
		}
	for (id = PROC_SESSION; id < PROC_CONTROL; id++)
		for (i = 0; i < sizeof(no_child) / sizeof(no_child[0]); i++) {
			c.nr = no_child[i];
			if (allowed(id, &c))
				fail_msg("process %d may make call %d", id,
				    c.nr);
		}
}

#define MMAP	SCMP_SYS(mmap)
#define ANON	(MAP_PRIVATE | MAP_ANONYMOUS)

static void
test_memory(void **state)
{
	struct call c = { MMAP, { 0, 4096, 0, 0, 0, 0 } };
	int id, prot;

	(void)state;
	for (id = PROC_PRIV; id < PROC_CONTROL; id++)
		for (prot = 0; prot < 16; prot++) {
			c.nr = MMAP;
			c.args[2] = (uint64_t)prot;
			c.args[3] = ANON;
			if (id == PROC_PRIV)	/* never both W and X */
				assert_int_equal(allowed(id, &c), (prot & ~7)
				    == 0 && (prot & (PROT_WRITE | PROT_EXEC)) !=
				    (PROT_WRITE | PROT_EXEC));
			else
				assert_int_equal(allowed(id, &c),
				    (prot & ~(PROT_READ | PROT_WRITE)) == 0);
			c.nr = SCMP_SYS(mprotect);
			assert_int_equal(allowed(id, &c),
			    (prot & ~(PROT_READ | PROT_WRITE)) == 0);
		}
	/* A file: nobody but parent and store. */
	c.nr = MMAP;
	c.args[2] = PROT_READ;
	c.args[3] = MAP_SHARED;
	for (id = PROC_SESSION; id < PROC_CONTROL; id++)
		assert_int_equal(allowed(id, &c), id == PROC_STORE);
	c.args[3] = MAP_PRIVATE;
	for (id = PROC_SESSION; id < PROC_CONTROL; id++)
		assert_int_equal(allowed(id, &c), 0);
}

/* Garbage in the upper half of an int must not pass for another value. */
static void
test_arguments(void **state)
{
	struct call c;
	int id;

	(void)state;
	memset(&c, 0, sizeof(c));
	for (id = PROC_SESSION; id < PROC_CONTROL; id++) {
		c.nr = SCMP_SYS(sendmsg);
		c.args[2] = MSG_NOSIGNAL | MSG_DONTWAIT;
		assert_true(allowed(id, &c));
		c.args[2] = MSG_NOSIGNAL | MSG_FASTOPEN;
		assert_false(allowed(id, &c));
		c.args[2] = UINT64_C(1) << 32;
		assert_false(allowed(id, &c));
		c.nr = SCMP_SYS(sendto);
		c.args[2] = 0;
		c.args[3] = MSG_FASTOPEN;
		assert_false(allowed(id, &c));
		c.args[3] = MSG_NOSIGNAL;
		c.args[4] = 0;
		assert_int_equal(allowed(id, &c), id == PROC_SESSION ||
		    proc_kind((enum proc_id)id) == PROC_TUNNEL);
		c.args[4] = 0x1000;		/* to an address */
		assert_int_equal(allowed(id, &c),
		    proc_kind((enum proc_id)id) == PROC_TUNNEL);
		memset(&c, 0, sizeof(c));
		c.nr = SCMP_SYS(tgkill);
		c.args[2] = SIGKILL;
		assert_false(allowed(id, &c));
	}
	c.nr = SCMP_SYS(socket);
	c.args[0] = AF_INET6;
	c.args[1] = SOCK_STREAM | SOCK_CLOEXEC;
	assert_true(allowed(PROC_PRIV, &c));
	c.args[1] = SOCK_STREAM | SOCK_RAW;	/* 3, as its bits are: RAW */
	assert_true(allowed(PROC_PRIV, &c));
	c.args[1] = SOCK_PACKET;
	assert_false(allowed(PROC_PRIV, &c));
	c.args[0] = AF_INET;
	c.args[1] = SOCK_STREAM;
	assert_false(allowed(PROC_PRIV, &c));
	c.args[0] = AF_PACKET;
	assert_false(allowed(PROC_PRIV, &c));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parent_covers),
		cmocka_unit_test(test_no_row_undone),
		cmocka_unit_test(test_values_in_masks),
		cmocka_unit_test(test_never),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_arguments),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
