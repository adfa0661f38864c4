/*
 * A parent with a data plane and nothing else, for tunnel.t: plane-tun.c and
 * netlink.c as they are, the real tunnel processes, and commands on standard
 * input, one a line, each answered by lines of which the last begins with
 * "ok" or "error".
 *
 *	queues n		of a TEP's interface, so many tunnel processes;
 *				ok with how many it will be
 *	queue q			of which process the next commands speak
 *	start			those that are not there; ok when all are ready
 *	kill | stop		SIGKILL for it; the links of all are closed
 *	pid
 *	freeze | thaw		SIGSTOP, SIGCONT
 *	open dev is_node mtu ifname local
 *	rate bits		a second, of leases of what is opened then
 *	close dev
 *	reopen dev
 *	add dev n v4 v6		n entries, addresses counting up
 *	del dev n v4
 *	list dev slot max	rows: v4 v6 in_packets in_bytes out_packets
 *				out_bytes; then next, entries, drops
 *	lie-entry dev n		as if the tunnel process had sent n entries,
 *	lie-stats dev next	or the end of a page, unasked or in answer to
 *	lie-none		the list that follows
 *
 * usage: plane binary root uid [bpf | kernel]
 */
#include <sys/types.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <arpa/inet.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "dstmd/msg.h"
#include "priv/netlink.h"
#include "tunnel/tunnel.h"

#define ARGS_MAX	8
#define BPF_ROOM	131072

static const struct plane	*plane = &plane_tun;
#ifdef HAVE_BPF
static int			 prepared[TUNNEL_DEV_MAX];
#endif
static struct event_base	*base;
static struct process {
	struct msglink	*link;
	pid_t		 pid;
}				 processes[TUNNEL_QUEUE_MAX];
static uint32_t			 nprocesses = 1, current, starting;
static const char		*binary, *root, *uid;
static uint32_t			 lie_dev, lie_count, lie_next;
static int			 lie_stats;

static void
answer(const char *text)
{
	printf("%s\n", text);
	fflush(stdout);
}

static void
reap(struct process *p)
{
	int status;

	if (p->pid != 0 && waitpid(p->pid, &status, 0) == p->pid) {
		if (WIFSIGNALED(status))
			fprintf(stderr, "tunnel: signal %d\n",
			    WTERMSIG(status));
		else if (WEXITSTATUS(status) != 0)
			fprintf(stderr, "tunnel: status %d\n",
			    WEXITSTATUS(status));
	}
	p->pid = 0;
}

static void
stop(struct process *p)
{
	plane_tun_attach((uint32_t)(p - processes), NULL);
	msglink_free(p->link);
	p->link = NULL;
	reap(p);
}

static void
stop_all(void)
{
	size_t i;

	for (i = 0; i < TUNNEL_QUEUE_MAX; i++)
		stop(&processes[i]);
}

static void
closed(struct msglink *l, const char *reason)
{
	if (reason != NULL)
		fprintf(stderr, "link: %s\n", reason);
	stop(msglink_arg(l));
}

static void
ready(struct msglink *l, struct msg *m)
{
	(void)m;
	plane_tun_attach(msglink_peer(l) - PROC_TUNNEL, l);
	if (--starting == 0)
		answer("ok");
}

static void
gone(struct msglink *l, struct msg *m)
{
	(void)l;
	(void)m;
	fprintf(stderr, "an interface is gone\n");
}

#define TUNNEL	(MSG_FROM(PROC_TUNNEL) | MSG_FROM(PROC_TUNNEL2) | \
    MSG_FROM(PROC_TUNNEL3) | MSG_FROM(PROC_TUNNEL4))
static const struct msg_rule	 rules[] = {
	{ MSG_READY, TUNNEL, 0, 0, 0, ready },
	{ MSG_TUNNEL_ENTRY, TUNNEL, sizeof(struct msg_tunnel_entry), 0, 0,
	    plane_tun_entry },
	{ MSG_TUNNEL_GONE, TUNNEL, sizeof(struct msg_tunnel_dev), 0, 0,
	    gone },
	{ MSG_TUNNEL_STATS, TUNNEL, sizeof(struct msg_tunnel_stats), 0, 0,
	    plane_tun_stats },
};

static void
child(enum proc_id id, int link, int rootfd)
{
	char name[16], log[] = "stderr", verbose[] = "0", user[16];
	char *argv[] = { name, user, user, log, verbose, NULL };

	snprintf(name, sizeof(name), "%s", proc_name(id));
	snprintf(user, sizeof(user), "%s", uid);
	if (dup2(fcntl(link, F_DUPFD_CLOEXEC, 10), PROC_FD_PRIV) == -1 ||
	    dup2(fcntl(rootfd, F_DUPFD_CLOEXEC, 10), PROC_FD_ROOT) == -1)
		_exit(126);
	execv(binary, argv);
	_exit(127);
}

static void
start(struct process *p, enum proc_id id)
{
	int sp[2], fd;

	if ((fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) == -1 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sp) == -1)
		fatal("start");
	if ((p->pid = fork()) == 0)
		child(id, sp[1], fd);
	close(sp[1]);
	close(fd);
	p->link = msglink_new(base, sp[0], id, rules,
	    sizeof(rules) / sizeof(rules[0]), closed, p);
	msg_put(p->link, MSG_CONF_END, NULL, 0);
	starting++;
}

static void
cmd_start(char *args[])
{
	uint32_t i;

	(void)args;
	for (i = 0; i < nprocesses; i++)
		if (processes[i].link == NULL)
			start(&processes[i], (enum proc_id)(PROC_TUNNEL + i));
	if (starting == 0)
		answer("error: it runs");
}

static void
cmd_kill(char *args[])
{
	(void)args;
	if (processes[current].pid != 0)
		kill(processes[current].pid, SIGKILL);
	answer("ok");
}

static void
cmd_stop(char *args[])
{
	(void)args;
	stop_all();
	answer("ok");
}

static void
cmd_pid(char *args[])
{
	(void)args;
	printf("ok %d\n", (int)processes[current].pid);
	fflush(stdout);
}

static void
cmd_freeze(char *args[])
{
	(void)args;
	kill(processes[current].pid, SIGSTOP);
	answer("ok");
}

static void
cmd_thaw(char *args[])
{
	(void)args;
	kill(processes[current].pid, SIGCONT);
	answer("ok");
}

static uint32_t
number(const char *s)
{
	return ((uint32_t)strtoul(s, NULL, 10));
}

static void
cmd_queues(char *args[])
{
	nprocesses = plane_tun_prepare(number(args[0]));
	printf("ok %u\n", nprocesses);
	fflush(stdout);
}

static void
cmd_queue(char *args[])
{
	current = number(args[0]);
	answer(current < nprocesses ? "ok" : "error: there are not so many");
	if (current >= nprocesses)
		current = 0;
}

/* Of each lease of what is opened from now on. */
static uint64_t		 rate;

static void
cmd_rate(char *args[])
{
	rate = strtoull(args[0], NULL, 10);
	answer("ok");
}

static void
cmd_open(char *args[])
{
	struct plane_dev pd;
#ifdef HAVE_BPF
	const char *why;
#endif

	memset(&pd, 0, sizeof(pd));
	pd.dev = number(args[0]);
#ifdef HAVE_BPF
	if (plane == &plane_bpf && !prepared[pd.dev])
		prepared[pd.dev] = plane_bpf_prepare(pd.dev, BPF_ROOM,
		    NULL, &why) == 0;
#endif
	pd.is_node = args[1][0] == '1';
	pd.mtu = number(args[2]);
	pd.rate = rate;
	strlcpy(pd.ifname, args[3], sizeof(pd.ifname));
	inet_pton(AF_INET6, args[4], &pd.local);
	answer(plane->open(&pd) == 0 ? "ok" : "error");
}

static void
cmd_close(char *args[])
{
	plane->close(number(args[0]));
	answer("ok");
}

static void
cmd_reopen(char *args[])
{
	answer(plane->reopen(number(args[0])) == 0 ? "ok" : "error");
}

static struct in_addr
next_v4(struct in_addr v4)
{
	v4.s_addr = htonl(ntohl(v4.s_addr) + 1);
	return (v4);
}

/* How long what is added from now on is to live, in ms; 0: for ever. */
static int64_t		 life;

static void
cmd_life(char *args[])
{
	life = number(args[0]);
	answer("ok");
}

static void
cmd_add(char *args[])
{
	struct in_addr v4;
	struct in6_addr v6;
	uint32_t i, n = number(args[1]), low;

	inet_pton(AF_INET, args[2], &v4);
	inet_pton(AF_INET6, args[3], &v6);
	for (i = 0; i < n; i++) {
		plane->add(number(args[0]), v4, &v6,
		    life == 0 ? INT64_MAX : now_ms() + life);
		v4 = next_v4(v4);
		memcpy(&low, &v6.s6_addr[12], 4);
		low = htonl(ntohl(low) + 1);
		memcpy(&v6.s6_addr[12], &low, 4);
	}
	answer("ok");
}

static void
cmd_del(char *args[])
{
	struct in_addr v4;
	uint32_t i, n = number(args[1]);

	inet_pton(AF_INET, args[2], &v4);
	for (i = 0; i < n; i++) {
		plane->del(number(args[0]), v4);
		v4 = next_v4(v4);
	}
	answer("ok");
}

/*
 * What a process that was taken over would say.
 */
static void
lie(uint64_t cookie)
{
	struct msg_tunnel_entry me;
	struct msg_tunnel_stats ms;
	struct msg m;
	uint32_t i;

	memset(&m, 0, sizeof(m));
	m.fd = -1;
	m.data = &me;
	memset(&me, 0, sizeof(me));
	me.dev = lie_dev;
	me.cookie = cookie;
	inet_pton(AF_INET, "203.0.113.99", &me.v4);
	for (i = 0; i < lie_count; i++)
		plane_tun_entry(processes[current].link, &m);
	if (!lie_stats)
		return;
	m.data = &ms;
	memset(&ms, 0, sizeof(ms));
	ms.dev = lie_dev;
	ms.cookie = cookie;
	ms.next = lie_next;
	ms.entries = UINT32_MAX;
	plane_tun_stats(processes[current].link, &m);
}

static void
cmd_lie_entry(char *args[])
{
	lie_dev = number(args[0]);
	lie_count = number(args[1]);
	answer("ok");
}

static void
cmd_lie_stats(char *args[])
{
	lie_dev = number(args[0]);
	lie_next = number(args[1]);
	lie_stats = 1;
	answer("ok");
}

static void
cmd_lie_none(char *args[])
{
	(void)args;
	lie(UINT64_MAX);
	lie_count = 0;
	lie_stats = 0;
	answer("ok");
}

static void
on_entry(const struct msg_tunnel_entry *e, void *arg)
{
	(void)arg;
	printf("%s %s %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
	    log_in(e->v4), log_in6(&e->v6), e->in_packets, e->in_bytes,
	    e->out_packets, e->out_bytes);
}

static void
on_page(const struct msg_tunnel_stats *st, void *arg)
{
	int i;

	(void)arg;
	if (st == NULL) {
		answer("error: failed");
		return;
	}
	printf("ok %u %u", st->next, st->entries);
	for (i = 0; i < DROP_NREASON; i++)
		printf(" %" PRIu64, st->drops[i]);
	answer("");
}

static void
cmd_list(char *args[])
{
	static uint64_t cookie;		/* as plane-tun.c counts */

	plane->list(number(args[0]), number(args[1]), number(args[2]),
	    on_entry, on_page, NULL);
	cookie += processes[0].link != NULL;
	if (lie_count != 0 || lie_stats)
		lie(cookie);
}

static const struct command {
	const char	*name;
	int		 nargs;
	void		(*run)(char *[]);
} commands[] = {
	{ "queues", 1, cmd_queues },
	{ "queue", 1, cmd_queue },
	{ "start", 0, cmd_start },
	{ "kill", 0, cmd_kill },
	{ "stop", 0, cmd_stop },
	{ "pid", 0, cmd_pid },
	{ "freeze", 0, cmd_freeze },
	{ "thaw", 0, cmd_thaw },
	{ "rate", 1, cmd_rate },
	{ "open", 5, cmd_open },
	{ "close", 1, cmd_close },
	{ "reopen", 1, cmd_reopen },
	{ "life", 1, cmd_life },
	{ "add", 4, cmd_add },
	{ "del", 3, cmd_del },
	{ "list", 3, cmd_list },
	{ "lie-entry", 2, cmd_lie_entry },
	{ "lie-stats", 2, cmd_lie_stats },
	{ "lie-none", 0, cmd_lie_none },
};

static void
command(char *line)
{
	char *args[ARGS_MAX], *p;
	size_t i;
	int n = 0;

	while ((p = strsep(&line, " ")) != NULL && n < ARGS_MAX)
		args[n++] = p;
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(args[0], commands[i].name) == 0 &&
		    n == commands[i].nargs + 1) {
			commands[i].run(args + 1);
			return;
		}
	answer("error: unknown command");
}

static void
on_input(evutil_socket_t fd, short what, void *arg)
{
	static char buf[4096];
	static size_t len;
	char *nl;
	ssize_t n;

	(void)what;
	(void)arg;
	n = read((int)fd, buf + len, sizeof(buf) - len - 1);
	if (n <= 0) {
		event_base_loopbreak(base);
		return;
	}
	len += (size_t)n;
	buf[len] = '\0';
	while ((nl = strchr(buf, '\n')) != NULL) {
		*nl++ = '\0';
		command(buf);
		len -= (size_t)(nl - buf);
		memmove(buf, nl, len + 1);
	}
}

int
main(int argc, char *argv[])
{
	struct event *ev;

#ifdef HAVE_BPF
	if (argc == 5 && strcmp(argv[4], "bpf") == 0)
		plane = &plane_bpf;
	else
#endif
	if (argc == 5 && strcmp(argv[4], "kernel") == 0)
		plane = &plane_kernel;
	else if (argc != 4)
		return (2);
	binary = argv[1];
	root = argv[2];
	uid = argv[3];
	log_init("plane", LOG_TO_STDERR, 0);
	signal(SIGPIPE, SIG_IGN);
	if ((base = event_base_new()) == NULL || netlink_open() == -1)
		fatal("start");
	ev = event_new(base, STDIN_FILENO, EV_READ | EV_PERSIST, on_input,
	    NULL);
	if (ev == NULL || event_add(ev, NULL) == -1)
		fatal("event");
	event_base_dispatch(base);
	event_free(ev);
	stop_all();
	event_base_free(base);
	return (0);
}
