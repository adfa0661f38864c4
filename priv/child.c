/*
 * Start, supervision and end of the other processes. Each is executed from
 * a fixed path with its link on descriptor 3 and its root directory on 4;
 * it drops its privileges itself (proc_child), since a program that is
 * linked with shared libraries can not be started from an empty root.
 * The executables are opened once, at start: a new version on the disk does
 * not meet an old parent, whose messages it may not understand.
 *
 * A process that ends is started again, after a pause that doubles up to
 * BACKOFF_MAX while it does not stay up. What that means for the work under
 * way is decided in child_lost().
 */
#include <sys/types.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "priv/priv.h"

#define EMPTY_DIR	RUNDIR "/empty"
#define BACKOFF_MIN	100		/* ms */
#define BACKOFF_MAX	30000
#define STEADY		60000		/* ms up: the next pause is short */
#define END_MS		1000		/* from a closed link to its exit */
#define STUCK_MS	30000		/* a full link that nobody reads */
#define QUIT_MS		5000		/* the store's last commit included */
#define LOG_LINE	2048

struct child {
	enum proc_id	 id;
	uid_t		 uid;
	gid_t		 gid;
	int		 wanted;
	int		 binary;	/* its executable, opened at start */
	pid_t		 pid;		/* 0: none */
	int		 ready;
	struct msglink	*link;
	uint32_t	 restarts;
	int64_t		 started;	/* now_ms */
	int64_t		 backoff;
	struct event	*timer;
	int		 full;		/* its link, when it was looked at, */
	size_t		 written;	/* and the octets that had left it */
	int		 logfd;		/* its standard error, or -1 */
	struct event	*log_event;
	size_t		 log_len;
	char		 log_buf[LOG_LINE];
};

static struct child	 children[PROC_NPROC];
static struct event	*quit_timer;
static struct event	*watch;
static int		 loaded;	/* the leases are back */
static int		 verbose;
static int64_t		 started;	/* of all of it, ms */

static void	 child_start(struct child *);
static void	 child_lost(struct child *);
static void	 child_restart(struct child *);

/* In the order of their start: session is last, when all can answer. */
static const enum proc_id	 start_order[] = {
	PROC_STORE, PROC_PARSER, PROC_AUTH, PROC_TUNNEL, PROC_TUNNEL2,
	PROC_TUNNEL3, PROC_TUNNEL4, PROC_SESSION
};
#define NCHILD	(sizeof(start_order) / sizeof(start_order[0]))

static int
has_tunnels(const struct conf *conf)
{
	uint32_t i;

	if (conf->roles & ROLE_NODE)
		return (1);
	for (i = 0; i < conf->nteps; i++)
		if (conf->teps[i].local)
			return (1);
	return (0);
}

/*
 * A directory of ours, that nobody else may write: made where it is missing,
 * refused where it is not what it must be.
 */
static void
own_dir(const char *path, mode_t mode, uid_t uid, gid_t gid)
{
	struct stat st;

	if (mkdir(path, mode) == 0) {
		if (chown(path, uid, gid) == -1 || chmod(path, mode) == -1)
			fatal("%s", path);
	} else if (errno != EEXIST)
		fatal("cannot make the directory %s", path);
	if (lstat(path, &st) == -1)
		fatal("%s", path);
	if (!S_ISDIR(st.st_mode))
		fatalx("%s: not a directory", path);
	if (st.st_uid != uid)
		fatalx("%s: owned by uid %u, must be %u", path,
		    (unsigned)st.st_uid, (unsigned)uid);
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		fatalx("%s: others may write to it (mode %04o)", path,
		    (unsigned)(st.st_mode & 07777));
}

/* A tunnel process for each queue that an interface may have. */
static int
is_wanted(enum proc_id id)
{
	return (proc_kind(id) != PROC_TUNNEL || (has_tunnels(priv.conf) &&
	    id - PROC_TUNNEL < plane_queues()));
}

static int
child_binary(enum proc_id id)
{
	char path[256];
	int fd, high;

	if (id != proc_kind(id))	/* it comes behind, and shares it */
		return (children[proc_kind(id)].binary);
	snprintf(path, sizeof(path), "%s/%s", LIBEXECDIR, proc_name(id));
	if ((fd = open(path, O_PATH | O_CLOEXEC)) == -1)
		fatal("%s", path);
	/* out of the way of the child's first descriptors */
	if ((high = fcntl(fd, F_DUPFD_CLOEXEC, 10)) == -1)
		fatal("dup");
	close(fd);
	return (high);
}

void
child_init(void)
{
	struct child *c;
	struct passwd *pw;
	char name[32];
	size_t i;

	verbose = log_getverbose();
	started = now_ms();
	for (i = 0; i < NCHILD; i++) {
		c = &children[start_order[i]];
		c->id = start_order[i];
		c->logfd = -1;
		c->backoff = BACKOFF_MIN;
		snprintf(name, sizeof(name), "_dstmd_%s",
		    proc_name(proc_kind(c->id)));
		if ((pw = getpwnam(name)) == NULL)
			fatalx("no user %s on this host: \"etc/users.sh add\" "
			    "or \"make install\" makes it", name);
		if (pw->pw_uid == 0 || pw->pw_gid == 0)
			fatalx("user %s must not be root", name);
		c->uid = pw->pw_uid;
		c->gid = pw->pw_gid;
		c->binary = child_binary(c->id);
	}
	own_dir(RUNDIR, 0755, 0, 0);
	own_dir(EMPTY_DIR, 0555, 0, 0);
	/* Group root: the parent passes it on without any DAC capability. */
	own_dir(priv.conf->store, 0750, children[PROC_STORE].uid, 0);
}

/* Between fork and exec: nothing that may allocate or lock. */
static void
child_exec(const struct child *c, int link, int root, int logfd)
{
	char name[16], uid[16], gid[16];
	char verb[2] = { verbose ? '1' : '0', '\0' };
	char *argv[6], *envp[] = { NULL };
	sigset_t none;

	snprintf(name, sizeof(name), "%s", proc_name(c->id));
	snprintf(uid, sizeof(uid), "%u", (unsigned)c->uid);
	snprintf(gid, sizeof(gid), "%u", (unsigned)c->gid);
	argv[0] = name;
	argv[1] = uid;
	argv[2] = gid;
	argv[3] = (char *)(uintptr_t)(logfd == -1 ? "stderr" : "pipe");
	argv[4] = verb;
	argv[5] = NULL;
	/* Out of the way first: dup2 of a number to itself keeps CLOEXEC. */
	if ((link = fcntl(link, F_DUPFD_CLOEXEC, 10)) == -1 ||
	    (root = fcntl(root, F_DUPFD_CLOEXEC, 10)) == -1 ||
	    (logfd != -1 && dup2(logfd, STDERR_FILENO) == -1) ||
	    dup2(link, PROC_FD_PRIV) == -1 || dup2(root, PROC_FD_ROOT) == -1)
		_exit(126);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	fexecve(c->binary, argv, envp);
	_exit(127);
}

static int
child_root(const struct child *c)
{
	return (open(c->id == PROC_STORE ? priv.conf->store : EMPTY_DIR,
	    O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

/* A daemon's child: its log lines come by a pipe, "<priority>text". */
static void
child_log_event(evutil_socket_t fd, short what, void *arg)
{
	struct child *c = arg;
	char *p = c->log_buf, *nl;
	ssize_t n;
	int prio;

	(void)what;
	n = read((int)fd, c->log_buf + c->log_len,
	    sizeof(c->log_buf) - c->log_len - 1);
	if (n == -1 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		event_free(c->log_event);
		c->log_event = NULL;
		close(c->logfd);
		c->logfd = -1;
		return;
	}
	c->log_len += (size_t)n;
	c->log_buf[c->log_len] = '\0';
	while ((nl = strchr(p, '\n')) != NULL ||
	    (p == c->log_buf && c->log_len == sizeof(c->log_buf) - 1)) {
		if (nl != NULL)
			*nl++ = '\0';
		else
			nl = c->log_buf + c->log_len;
		prio = LOG_WARNING;
		if (p[0] == '<' && p[1] >= '0' && p[1] <= '7' && p[2] == '>') {
			prio = p[1] - '0';
			p += 3;
		}
		log_line(c->id, prio, p);
		p = nl;
	}
	c->log_len -= (size_t)(p - c->log_buf);
	memmove(c->log_buf, p, c->log_len);
}

static void
child_log_open(struct child *c, int fd)
{
	if (c->log_event != NULL) {
		event_free(c->log_event);
		close(c->logfd);
	}
	c->logfd = fd;
	c->log_len = 0;
	c->log_event = event_new(priv.base, fd, EV_READ | EV_PERSIST,
	    child_log_event, c);
	if (c->log_event == NULL || event_add(c->log_event, NULL) == -1)
		fatalx("event_add");
}

static void
child_closed(struct msglink *l, const char *reason)
{
	struct child *c = msglink_arg(l);

	if (reason != NULL)
		log_warnx("%s: %s", proc_name(c->id), reason);
	msglink_free(c->link);
	c->link = NULL;
	c->ready = 0;
	c->full = 0;
	child_lost(c);
	if (c->pid != 0 && reason != NULL)
		kill(c->pid, SIGKILL);
	else if (c->pid != 0)
		timer_set(c->timer, END_MS);
	child_restart(c);
}

/*
 * What it needs can not be given to it, as descriptors or memory are short:
 * it is ended, and started again when there may be some.
 */
static void
child_failed(struct child *c, const char *what)
{
	int lasting = errno != EMFILE && errno != ENFILE && errno != ENOMEM;

	log_warn("%s: %s", proc_name(c->id), what);
	if (c->pid != 0 && !lasting)
		kill(c->pid, SIGKILL);
}

static void
send_fd(struct child *c, uint32_t type, const char *path, const void *m,
    size_t size)
{
	int fd;

	if ((fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)) == -1) {
		child_failed(c, path);
		return;
	}
	msg_send(c->link, type, fd, m, size, NULL, 0);
}

static void
send_cred(struct child *c, uint32_t cred, uint32_t mech,
    const struct conf_login *login, const struct in6_addr *host)
{
	struct msg_auth_cred m;

	memset(&m, 0, sizeof(m));
	m.cred = cred;
	m.mech = mech;
	strlcpy(m.name, login->name, sizeof(m.name));
	strlcpy(m.host, log_in6(host), sizeof(m.host));
	if (mech == MECH_ANONYMOUS)
		msg_send(c->link, MSG_AUTH_CRED, -1, &m, sizeof(m), NULL, 0);
	else
		send_fd(c, MSG_AUTH_CRED, login->password, &m, sizeof(m));
}

static void
send_secrets(struct child *c)
{
	const struct conf *conf = priv.conf;

	if (conf->secrets[0] != '\0')
		send_fd(c, MSG_AUTH_SECRETS, conf->secrets, NULL, 0);
	if (conf->keytab[0] != '\0')
		send_fd(c, MSG_AUTH_KEYTAB, conf->keytab, NULL, 0);
	if (conf->call.name[0] != '\0')
		send_fd(c, MSG_AUTH_CALLS, conf->call.password, NULL, 0);
}

/* Our name at nodes; each has a password of its own. */
static void
send_call_cred(struct child *c)
{
	struct msg_auth_cred m;

	memset(&m, 0, sizeof(m));
	m.cred = CRED_CALL;
	m.mech = MECH_CALL;
	strlcpy(m.name, priv.conf->call.name, sizeof(m.name));
	strlcpy(m.host, "dstmd.invalid", sizeof(m.host));
	msg_send(c->link, MSG_AUTH_CRED, -1, &m, sizeof(m), NULL, 0);
}

static void
configure_auth(struct child *c)
{
	const struct conf *conf = priv.conf;
	struct msg_auth_conf m;
	uint32_t i;

	memset(&m, 0, sizeof(m));
	for (i = 0; i < conf->nlisten; i++)
		m.mechs |= mech_set(conf->listen[i].mechs);
	msg_put(c->link, MSG_AUTH_CONF, &m, sizeof(m));
	send_secrets(c);
	if (conf->call.name[0] != '\0')
		send_call_cred(c);
	for (i = 0; i < conf->nteps; i++)
		if (!conf->teps[i].local)
			send_cred(c, CRED_TEP(i), MECH_SCRAM_SHA_256,
			    &conf->teps[i].login, &conf->teps[i].connect);
	if (conf->roles & ROLE_NODE)
		for (i = 0; i < conf->node.nservers; i++)
			send_cred(c, CRED_SERVER(i), conf->node.mech,
			    &conf->node.login, &conf->node.servers[i].addr);
}

static void
configure_session_peers(struct child *c)
{
	const struct conf *conf = priv.conf;
	struct msg_tep_conf tep;
	struct msg_node_conf node;
	uint32_t i;

	for (i = 0; i < conf->nteps; i++) {
		if (conf->teps[i].local)
			continue;
		memset(&tep, 0, sizeof(tep));
		tep.tep = i;
		tep.cred = CRED_TEP(i);
		tep.mech = MECH_SCRAM_SHA_256;
		strlcpy(tep.name, conf->teps[i].name, sizeof(tep.name));
		msg_put(c->link, MSG_TEP_CONF, &tep, sizeof(tep));
	}
	if (conf->roles & ROLE_NODE) {
		memset(&node, 0, sizeof(node));
		node.nservers = conf->node.nservers;
		node.mech = conf->node.mech;
		node.cred = CRED_SERVER(0);
		node.lifetime = conf->node.lifetime;
		node.offers = (uint32_t)conf->node.offers;
		for (i = 0; i < conf->node.nservers; i++)
			node.servers[i] = conf->node.servers[i].addr;
		msg_put(c->link, MSG_NODE_CONF, &node, sizeof(node));
	}
}

static void
configure_session(struct child *c)
{
	const struct conf *conf = priv.conf;
	struct msg_session_conf sc;
	struct msg_listen ml;
	uint32_t i;
	int fd;

	listen_again();
	memset(&sc, 0, sizeof(sc));
	sc.roles = conf->roles;
	sc.max_conns = conf->max_conns;
	sc.handshakes = conf->handshakes;
	sc.max_source = conf->max_source;
	sc.source_prefix = conf->source_prefix;
	sc.source_rate = conf->source_rate;
	sc.auth_failures = conf->auth_failures;
	sc.request_rate = conf->request_rate;
	sc.auth_timeout = conf->auth_timeout;
	sc.idle_timeout = conf->idle_timeout;
	sc.request_timeout = conf->request_timeout;
	sc.last_gen = conn_last_gen();
	sc.nredirects = conf->nredirects;
	memcpy(sc.redirects, conf->redirects, sizeof(sc.redirects));
	sc.success_pause = conf->success_pause;
	msg_put(c->link, MSG_SESSION_CONF, &sc, sizeof(sc));
	for (i = 0; i < conf->nlisten; i++) {
		memset(&ml, 0, sizeof(ml));
		ml.listener = i;
		memcpy(ml.mechs, conf->listen[i].mechs, sizeof(ml.mechs));
		if ((fd = fcntl(listen_fd(i), F_DUPFD_CLOEXEC, 0)) == -1) {
			child_failed(c, "listener");
			return;
		}
		msg_send(c->link, MSG_LISTEN, fd, &ml, sizeof(ml), NULL, 0);
	}
	configure_session_peers(c);
}

/* For c, which is new: a pipe between session and one of its helpers. */
static void
link_pair(struct child *c, struct child *a, struct child *b)
{
	struct msg_link_to m;
	int sp[2];

	if (a->link == NULL || b->link == NULL)
		return;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
	    sp) == -1) {
		child_failed(c, "socketpair");
		return;
	}
	m.peer = b->id;
	m.life = b->restarts;
	msg_send(a->link, MSG_LINK, sp[0], &m, sizeof(m), NULL, 0);
	m.peer = a->id;
	m.life = a->restarts;
	msg_send(b->link, MSG_LINK, sp[1], &m, sizeof(m), NULL, 0);
}

static void
child_configure(struct child *c)
{
	switch (c->id) {
	case PROC_AUTH:
		configure_auth(c);
		link_pair(c, &children[PROC_SESSION], c);
		break;
	case PROC_PARSER:
		link_pair(c, &children[PROC_SESSION], c);
		break;
	case PROC_SESSION:
		link_pair(c, c, &children[PROC_PARSER]);
		link_pair(c, c, &children[PROC_AUTH]);
		configure_session(c);
		break;
	default:
		break;
	}
	msg_put(c->link, MSG_CONF_END, NULL, 0);
}

static void
close_all(int *fds, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (fds[i] != -1)
			close(fds[i]);
}

/* Its link, log and root directory: ours are fds[0], fds[1]. */
static int
child_fds(const struct child *c, int fds[5])
{
	int sp[2], lp[2] = { -1, -1 };

	memset(fds, -1, 5 * sizeof(fds[0]));
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
	    sp) == -1)
		return (-1);
	fds[0] = sp[0];
	fds[2] = sp[1];
	if (!priv.foreground && pipe2(lp, O_CLOEXEC | O_NONBLOCK) == -1)
		return (-1);
	fds[1] = lp[0];
	fds[3] = lp[1];
	return ((fds[4] = child_root(c)));
}

static void
child_start(struct child *c)
{
	int fds[5];

	if (child_fds(c, fds) == -1 || (c->pid = fork()) == -1) {
		log_warn("cannot start %s", proc_name(c->id));
		close_all(fds, 5);
		c->pid = 0;
		child_restart(c);
		return;
	}
	if (c->pid == 0)
		child_exec(c, fds[2], fds[4], fds[3]);
	close_all(fds + 2, 3);
	if (fds[1] != -1)
		child_log_open(c, fds[1]);
	c->started = now_ms();
	c->link = msglink_new(priv.base, fds[0], c->id, priv_rules,
	    priv_nrules, child_closed, c);
	child_configure(c);
}

static void
child_timer(evutil_socket_t fd, short what, void *arg)
{
	struct child *c = arg;

	(void)fd;
	(void)what;
	if (priv.quitting)
		return;
	if (c->pid != 0)	/* closed its link and lives on */
		kill(c->pid, SIGKILL);
	else if (c->link != NULL)	/* ended, and somebody has its link */
		child_closed(c->link, "its link is still open");
	else
		child_start(c);
}

/* Whose link was full the last time, and has taken nothing since, is stuck. */
static void
child_watch(evutil_socket_t fd, short what, void *arg)
{
	struct msglink_stats st;
	struct child *c;
	size_t i;

	(void)fd;
	(void)what;
	(void)arg;
	for (i = 0; i < NCHILD; i++) {
		c = &children[start_order[i]];
		if (c->link == NULL || !msglink_full(c->link)) {
			c->full = 0;
			continue;
		}
		msglink_stats(c->link, &st);
		if (c->full && st.written == c->written && c->pid != 0) {
			log_warnx("%s (pid %d) has read nothing for %d s: "
			    "killed", proc_name(c->id), (int)c->pid,
			    STUCK_MS / 1000);
			kill(c->pid, SIGKILL);
		}
		c->full = 1;
		c->written = st.written;
	}
	timer_set(watch, STUCK_MS);
}

/*
 * What a process takes with it:
 * parser	the message that it was reading: session answers it with 500
 * auth		logins under way
 * session	all TSP connections; leases and tunnels stay
 * store	nothing: what it had not acknowledged is said again
 * tunnel	the packets in its buffers; devices and sockets are ours. Where
 *		there are several, those of its queue: the others go on
 */
static void
child_lost(struct child *c)
{
	if (priv.quitting)
		return;
	switch (proc_kind(c->id)) {
	case PROC_SESSION:
		conn_drop_all();
		server_teps_lost();
		call_session_lost();
		break;
	case PROC_TUNNEL:
		plane_tun_attach(c->id - PROC_TUNNEL, NULL);
		break;
	default:
		break;
	}
}

/* Once it is reaped and its link was read to the end, in either order. */
static void
child_restart(struct child *c)
{
	if (priv.quitting || c->pid != 0 || c->link != NULL)
		return;
	if (now_ms() - c->started > STEADY)
		c->backoff = BACKOFF_MIN;
	log_warnx("%s: starting it again in %lld ms", proc_name(c->id),
	    (long long)c->backoff);
	c->restarts++;
	timer_set(c->timer, c->backoff);
	if ((c->backoff *= 2) > BACKOFF_MAX)
		c->backoff = BACKOFF_MAX;
}

static void
log_exit(const struct child *c, int status)
{
	const char *name = proc_name(c->id);

	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		log_warnx("%s (pid %d) broke its sandbox: killed by SIGSYS",
		    name, (int)c->pid);
	else if (WIFSIGNALED(status))
		log_warnx("%s (pid %d) killed by signal %d", name, (int)c->pid,
		    WTERMSIG(status));
	else if (WEXITSTATUS(status) == 127)
		log_warnx("%s: cannot execute %s/%s", name, LIBEXECDIR,
		    proc_name(proc_kind(c->id)));
	else if (WEXITSTATUS(status) != 0 || !priv.quitting)
		log_warnx("%s (pid %d) ended with status %d", name,
		    (int)c->pid, WEXITSTATUS(status));
}

static void
child_ended(struct child *c, int status)
{
	log_exit(c, status);
	c->pid = 0;
	if (c->link != NULL && !priv.quitting)
		timer_set(c->timer, END_MS);	/* it is read to its end */
	child_restart(c);
}

void
child_reap(void)
{
	size_t i;
	pid_t pid;
	int left = 0, status;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (i = 0; !event_reaped(pid) && i < NCHILD; i++)
			if (children[start_order[i]].pid == pid)
				child_ended(&children[start_order[i]], status);
	for (i = 0; i < NCHILD; i++)
		left += children[start_order[i]].pid != 0;
	left += event_running();
	if (priv.quitting && left == 0)
		event_base_loopexit(priv.base, NULL);
}

void
child_start_all(void)
{
	struct child *c;
	size_t i;

	if ((watch = evtimer_new(priv.base, child_watch, NULL)) == NULL)
		fatalx("evtimer_new");
	timer_set(watch, STUCK_MS);
	for (i = 0; i < NCHILD; i++) {
		c = &children[start_order[i]];
		c->timer = evtimer_new(priv.base, child_timer, c);
		if (c->timer == NULL)
			fatalx("evtimer_new");
		c->wanted = is_wanted(c->id);
		/* session waits for the leases: child_loaded */
		if (c->wanted && c->id != PROC_SESSION)
			child_start(c);
	}
}

void
child_loaded(void)
{
	if (loaded)
		return;
	loaded = 1;
	child_start(&children[PROC_SESSION]);
}

void
child_ready(struct msglink *l, struct msg *m)
{
	struct child *c = &children[msglink_peer(l)];

	(void)m;
	if (c->ready) {
		log_doubt(c->id, "%s: ready twice", proc_name(c->id));
		return;
	}
	c->ready = 1;
	log_debug("%s is ready (pid %d)", proc_name(c->id), (int)c->pid);
	switch (proc_kind(c->id)) {
	case PROC_STORE:
		if (loaded) {
			server_store_up();
			node_store_up();
		} else
			store_start();
		break;
	case PROC_TUNNEL:
		plane_tun_attach(c->id - PROC_TUNNEL, l);
		break;
	case PROC_SESSION:
		node_session_up();
		call_session_up();
		break;
	default:
		break;
	}
}

static void
quit_expired(evutil_socket_t fd, short what, void *arg)
{
	size_t i;

	(void)fd;
	(void)what;
	(void)arg;
	for (i = 0; i < NCHILD; i++)
		if (children[start_order[i]].pid != 0) {
			log_warnx("%s does not end: killed",
			    proc_name(start_order[i]));
			kill(children[start_order[i]].pid, SIGKILL);
		}
	event_kill();
}

/* They end when their link closes; the store commits what it was sent. */
void
child_stop_all(void)
{
	struct child *c;
	size_t i;

	evtimer_del(watch);
	event_end();
	for (i = 0; i < TUNNEL_QUEUE_MAX; i++)
		plane_tun_attach((uint32_t)i, NULL);
	for (i = 0; i < NCHILD; i++) {
		c = &children[start_order[i]];
		if (c->link == NULL)
			continue;
		msglink_flush(c->link, 1000);
		msglink_free(c->link);
		c->link = NULL;
	}
	if ((quit_timer = evtimer_new(priv.base, quit_expired, NULL)) == NULL)
		fatalx("evtimer_new");
	timer_set(quit_timer, QUIT_MS);
	child_reap();
}

void
child_kill(enum proc_id id)
{
	if (children[id].pid != 0)
		kill(children[id].pid, SIGKILL);
}

/*
 * Only session can tell that a helper speaks nonsense or is stuck. One that was
 * taken over can have them ended as it can refuse to use them.
 */
void
child_replace(struct msglink *l, struct msg *m)
{
	struct msg_link_to mt;

	(void)l;
	memcpy(&mt, m->data, sizeof(mt));
	if (mt.peer != PROC_PARSER && mt.peer != PROC_AUTH) {
		log_doubt(PROC_SESSION, "session: has no helper %s",
		    proc_name(mt.peer));
		return;
	}
	/* It may have ended by itself, and the next one be there. */
	if (children[mt.peer].pid == 0 || children[mt.peer].restarts != mt.life)
		return;
	log_warnx("%s (pid %d) does not do its work, says session: killed",
	    proc_name(mt.peer), (int)children[mt.peer].pid);
	child_kill((enum proc_id)mt.peer);
}

struct msglink *
child_link(enum proc_id id)
{
	return (children[id].link);
}

int
child_is_up(enum proc_id id)
{
	return (children[id].ready);
}

void
child_set_verbose(int v)
{
	struct msg_verbose m;
	size_t i;

	verbose = v;
	log_setverbose(v);
	m.verbose = (uint32_t)v;
	event_verbose(&m);
	for (i = 0; i < NCHILD; i++)
		msg_put(children[start_order[i]].link, MSG_VERBOSE, &m,
		    sizeof(m));
}

void
child_secrets(void)
{
	struct child *c = &children[PROC_AUTH];

	if (c->link != NULL)
		send_secrets(c);
}

int
child_info(enum proc_id id, struct msg_ctl_process *row)
{
	const struct child *c = &children[id];
	struct msglink_stats st;

	memset(row, 0, sizeof(*row));
	row->proc = id;
	if (id == PROC_PRIV) {
		row->pid = (uint32_t)getpid();
		row->uptime = (now_ms() - started) / 1000;
		return (1);
	}
	if (id >= PROC_CONTROL || !c->wanted)
		return (0);
	row->pid = (uint32_t)c->pid;
	row->uid = c->uid;
	row->restarts = c->restarts;
	if (c->pid != 0)
		row->uptime = (now_ms() - c->started) / 1000;
	if (c->link != NULL) {
		msglink_stats(c->link, &st);
		row->sent = st.sent;
		row->received = st.received;
		row->queued = st.queued;
	}
	return (1);
}
