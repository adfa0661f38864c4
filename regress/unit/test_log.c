/* LINK: dstmd/log.o dstmd/procname.o */
/* The log: what reaches standard error, and what can not be forged in it. */
#include <sys/types.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "dstmd/dstmd.h"

static int	 out[2], old_stderr;
static time_t	 clock_ahead;

/* A clock that stands where a test wants it. */
int
clock_gettime(clockid_t id, struct timespec *ts)
{
	(void)id;
	ts->tv_sec = 1000000 + clock_ahead;
	ts->tv_nsec = 0;
	return (0);
}

static int
setup(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	assert_int_equal(fcntl(out[0], F_SETFL, O_NONBLOCK), 0);
	assert_true((old_stderr = dup(STDERR_FILENO)) != -1);
	assert_int_equal(dup2(out[1], STDERR_FILENO), STDERR_FILENO);
	log_init("session", LOG_TO_STDERR, 0);
	return (0);
}

static int
teardown(void **state)
{
	(void)state;
	dup2(old_stderr, STDERR_FILENO);
	close(old_stderr);
	close(out[0]);
	close(out[1]);
	log_init("test", LOG_TO_STDERR, 0);
	return (0);
}

/* What was written since, in a static buffer. */
static const char *
written(void)
{
	static char buf[65536];
	ssize_t n;

	n = read(out[0], buf, sizeof(buf) - 1);
	buf[n > 0 ? n : 0] = '\0';
	return (buf);
}

static void
test_stderr(void **state)
{
	(void)state;
	log_info("lease of %s", "alice");
	assert_string_equal(written(), "session: lease of alice\n");
	log_warnx("one");
	log_info("two");
	assert_string_equal(written(), "session: one\nsession: two\n");
	errno = ENOENT;
	log_warn("%s", "/a/file");
	assert_int_equal(errno, ENOENT);
	assert_string_equal(written(),
	    "session: /a/file: No such file or directory\n");
	log_line(PROC_AUTH, LOG_WARNING, "auth: from a child");
	assert_string_equal(written(), "auth: from a child\n");
}

static void
test_verbose(void **state)
{
	(void)state;
	log_debug("not this");
	assert_string_equal(written(), "");
	log_setverbose(1);
	assert_int_equal(log_getverbose(), 1);
	log_debug("but this");
	assert_string_equal(written(), "session: but this\n");
	log_setverbose(0);
	log_debug("nor this");
	assert_string_equal(written(), "");
}

/* Nobody can begin a line, or write to the operator's terminal. */
static void
test_visible(void **state)
{
	char text[2] = "";
	const char *w;
	int c;

	(void)state;
	log_info("user %s", "x\nsession: root logged in\r\033[2J\t\177\303\244");
	assert_string_equal(written(), "session: user x\\012session: root "
	    "logged in\\015\\033[2J\\011\\177\\303\\244\n");
	log_line(PROC_AUTH, LOG_INFO, "auth: a\nb");
	assert_string_equal(written(), "auth: a\\012b\n");
	/* A line of a child was made visible there: not twice. */
	log_line(PROC_AUTH, LOG_INFO, "auth: a\\012b");
	assert_string_equal(written(), "auth: a\\012b\n");
	for (c = 1; c < 256; c++) {
		text[0] = (char)c;
		log_info("%s", text);
		w = written();
		assert_int_equal(strlen(w), 9 + (c >= 32 && c < 127 ? 1 : 4) +
		    1);
		assert_ptr_equal(strchr(w, '\n'), w + strlen(w) - 1);
	}
}

static void
test_long(void **state)
{
	static char text[8192];
	const char *w;
	size_t n;

	(void)state;
	for (n = 900; n < 1200; n++) {
		memset(text, 'x', n);
		text[n] = '\0';
		log_info("%s", text);
		w = written();
		assert_true(strlen(w) <= 1024);
		assert_true(strlen(w) >= 900);
		assert_int_equal(w[strlen(w) - 1], '\n');
		memset(text, '\1', n);
		log_info("%s", text);
		w = written();
		assert_true(strlen(w) <= 1024);
		assert_ptr_equal(strchr(w, '\n'), w + strlen(w) - 1);
	}
}

static void
test_pipe(void **state)
{
	(void)state;
	log_init("session", LOG_TO_PIPE, 0);
	log_info("a");
	log_warnx("b");
	log_line(PROC_AUTH, LOG_CRIT, "c");
	assert_string_equal(written(), "<6>session: a\n<4>session: b\n<2>c\n");
}

/* A parent that does not read: lines are lost and counted, nothing waits. */
static void
test_pipe_full(void **state)
{
	const char *w;
	int i;

	(void)state;
	log_init("session", LOG_TO_PIPE, 0);
	alarm(20);
	for (i = 0; i < 10000; i++)
		log_info("line %d of those that fill the pipe", i);
	alarm(0);
	do
		w = written();
	while (strstr(w, "lost") == NULL && w[0] != '\0');
	log_info("after");
	w = written();
	if (strncmp(w, "<4>session: ", 12) != 0 ||
	    strstr(w, " lines of the log were lost\n<6>session: after\n") ==
	    NULL)
		fail_msg("\"%s\"", w);
	log_info("again");
	assert_string_equal(written(), "<6>session: again\n");
}

static void
test_pipe_closed(void **state)
{
	(void)state;
	log_init("session", LOG_TO_PIPE, 0);
	close(out[0]);
	log_info("nobody reads this");
	log_info("nor this");
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
}

/* Runs f in a process: its status; what it wrote is there to be read. */
static int
run(void (*f)(void))
{
	int status;
	pid_t pid;

	assert_true((pid = fork()) != -1);
	if (pid == 0) {
		f();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return (status);
}

static void
die_fatal(void)
{
	errno = EACCES;
	fatal("opening %s", "it");
}

static void
die_fatal_null(void)
{
	errno = ENOMEM;
	fatal(NULL);
}

static void
die_fatalx(void)
{
	errno = EACCES;
	fatalx("five is %d", 5);
}

static void
test_fatal(void **state)
{
	int status;

	(void)state;
	status = run(die_fatal);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	assert_string_equal(written(),
	    "session: opening it: Permission denied\n");
	status = run(die_fatal_null);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	assert_string_equal(written(), "session: Cannot allocate memory\n");
	status = run(die_fatalx);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	assert_string_equal(written(), "session: five is 5\n");
}

/* Reads all: how many lines. */
static int
count_lines(char *last, size_t size)
{
	const char *w, *p;
	int n = 0;

	while ((w = written())[0] != '\0')
		for (p = w; *p != '\0'; p = strchr(p, '\n') + 1) {
			n++;
			strlcpy(last, p, size);
		}
	last[strcspn(last, "\n")] = '\0';
	return (n);
}

/*
 * Somebody else's flood: some lines of it at once, few later, and their number;
 * the lines of others are not less for it.
 */
static void
test_flood(void **state)
{
	char last[256];
	int i, n = 0, peers = 0, doubts = 0;

	(void)state;
	for (i = 0; i < 20000; i++) {
		log_line(PROC_TUNNEL, LOG_INFO, "tunnel: it says much");
		n += count_lines(last, sizeof(last));
	}
	assert_int_equal(n, 1000);
	for (i = 0; i < 20000; i++) {
		log_peer("a peer does much");
		peers += count_lines(last, sizeof(last));
		log_doubt(PROC_TUNNEL, "what it says can not be");
		doubts += count_lines(last, sizeof(last));
	}
	assert_int_equal(peers, 100);
	assert_int_equal(doubts, 10);
	log_line(PROC_STORE, LOG_INFO, "store: is heard");
	assert_string_equal(written(), "store: is heard\n");
	log_warnx("and so are we");
	assert_string_equal(written(), "session: and so are we\n");
}

/* When it is over, or goes on, how many there were is said. */
static void
test_flood_counted(void **state)
{
	char last[256];
	int i;

	(void)state;
	for (i = 0; i < 30; i++)
		log_doubt(PROC_EVENT, "it says what can not be");
	assert_int_equal(count_lines(last, sizeof(last)), 10);
	clock_ahead += 2;
	log_doubt(PROC_EVENT, "a few more");
	assert_string_equal(written(), "session: a few more\n");
	clock_ahead += 60;
	log_doubt(PROC_EVENT, "the next");
	assert_string_equal(written(), "session: 20 more lines about event "
	    "were left out\nsession: the next\n");
	log_doubt(PROC_EVENT, "after it");
	assert_string_equal(written(), "session: after it\n");
}

/* A child is no operator's console, and debugs when it is told to. */
static void
test_child_priority(void **state)
{
	(void)state;
	log_init("session", LOG_TO_PIPE, 0);
	log_info("first");	/* says what an earlier test has lost */
	(void)written();
	log_line(PROC_AUTH, LOG_EMERG, "all must see this");
	log_line(PROC_AUTH, LOG_DEBUG, "nobody wants this");
	assert_string_equal(written(), "<2>all must see this\n");
	log_setverbose(1);
	log_line(PROC_AUTH, LOG_DEBUG, "but now");
	assert_string_equal(written(), "<7>but now\n");
}

#define T(f)	cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_stderr), T(test_verbose), T(test_visible), T(test_long),
		T(test_pipe), T(test_pipe_full), T(test_pipe_closed),
		T(test_fatal), T(test_flood), T(test_flood_counted),
		T(test_child_priority),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
