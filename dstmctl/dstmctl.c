/* The operator's tool: one request to the daemon's control socket. */
#include <sys/types.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <arpa/inet.h>

#include <event2/event.h>

#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dstmctl/dstmctl.h"
#include "dstmd/msg.h"

#define PATIENCE	30		/* s, for the next part of an answer */

enum command {
	SHOW, UP, DOWN, RENEW, RELEASE, DRAIN, ALLOCATE, LOG, PASSWD, HELP
};

static const char *const	 commands[] = {
	[SHOW] = "show", [UP] = "up", [DOWN] = "down", [RENEW] = "renew",
	[RELEASE] = "release", [DRAIN] = "drain", [ALLOCATE] = "allocate",
	[LOG] = "log", [PASSWD] = "passwd", [HELP] = "help", NULL
};
static const char *const	 shows[] = {	/* from SHOW_LEASES on */
	"leases", "pools", "sessions", "tunnels", "processes", "node",
	NULL
};
static const char *const	 drains[] = {	/* enum drain */
	[DRAIN_OFF] = "off", [DRAIN_NEW] = "new", [DRAIN_ALL] = "all", NULL
};
static const char *const	 levels[] = { "brief", "verbose", NULL };

static struct event_base	*base;
static struct event		*patience;
static const struct printer	*printer = &table_printer;
static uint32_t			 showing;	/* enum ctl_show; 0: none */
static int			 begun;
static int			 status = 1;	/* until the daemon says ok */

static void __attribute__((__noreturn__))
usage(FILE *f)
{
	fprintf(f, "usage: dstmctl [-hjV] [-s socket] command\n"
	    "       show leases|node|pools|sessions|tunnels|processes\n"
	    "       up|down|renew\n"
	    "       release [address]\n"
	    "       drain [new|all|off]\n"
	    "       allocate user|IPv6-address\n"
	    "       log verbose|brief\n"
	    "       passwd [-d] [-f file] [-r realm] name\n");
	exit(f == stdout ? 0 : 2);
}

/*
 * The number of the word that arg is, or the only one that begins with it.
 */
static uint32_t
find_word(const char *arg, const char *const *words)
{
	uint32_t i, found = 0;
	int n = 0;

	for (i = 0; words[i] != NULL; i++) {
		if (strcmp(arg, words[i]) == 0)
			return (i);
		if (strncmp(arg, words[i], strlen(arg)) == 0) {
			found = i;
			n++;
		}
	}
	if (n == 1)
		return (found);
	warnx("%s: %s", arg, n > 1 ? "ambiguous" : "unknown");
	usage(stderr);
}

/*
 * The answer
 */
static void
be_patient(void)
{
	static const struct timeval tv = { PATIENCE, 0 };

	if (event_add(patience, &tv) == -1)
		errx(1, "event_add");
}

static void
give_up(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	errx(1, "dstmd does not answer");
}

static void
begin(void)
{
	if (!begun && showing != 0)
		printer->begin(stdout, showing);
	begun = 1;
}

static void
on_row(struct msglink *l, struct msg *m)
{
	static const uint32_t shown_by[MSG_NTYPE] = {
		[MSG_CTL_LEASE] = SHOW_LEASES,
		[MSG_CTL_POOL] = SHOW_POOLS,
		[MSG_CTL_SESSION] = SHOW_SESSIONS,
		[MSG_CTL_DEV] = SHOW_TUNNELS,
		[MSG_CTL_TUNNEL] = SHOW_TUNNELS,
		[MSG_CTL_PROCESS] = SHOW_PROCESSES,
		[MSG_CTL_NODE] = SHOW_NODE,
	};

	(void)l;
	if (shown_by[m->type] != showing)
		errx(1, "dstmd answers what was not asked: is it of another "
		    "version?");
	be_patient();
	begin();
	printer->row(m->type, m->data);
	if (ferror(stdout))
		event_base_loopbreak(base);
}

static void
on_end(struct msglink *l, struct msg *m)
{
	struct msg_ctl_end me;

	(void)l;
	memcpy(&me, m->data, sizeof(me));
	me.text[sizeof(me.text) - 1] = '\0';
	if (me.ok) {
		begin();
		if (showing != 0)
			printer->end();
		else if (me.text[0] != '\0')
			printf("%s\n", word_name(me.text, sizeof(me.text)));
		status = 0;
	} else
		warnx("%s", me.text);
	event_base_loopbreak(base);
}

#define FROM_PRIV	MSG_FROM(PROC_PRIV)
static const struct msg_rule	 rules[] = {
	{ MSG_CTL_LEASE, FROM_PRIV, sizeof(struct msg_ctl_lease), 0, 0,
	    on_row },
	{ MSG_CTL_POOL, FROM_PRIV, sizeof(struct msg_ctl_pool), 0, 0,
	    on_row },
	{ MSG_CTL_SESSION, FROM_PRIV, sizeof(struct msg_ctl_session), 0, 0,
	    on_row },
	{ MSG_CTL_DEV, FROM_PRIV, sizeof(struct msg_ctl_dev), 0, 0, on_row },
	{ MSG_CTL_TUNNEL, FROM_PRIV, sizeof(struct msg_tunnel_entry), 0, 0,
	    on_row },
	{ MSG_CTL_PROCESS, FROM_PRIV, sizeof(struct msg_ctl_process), 0, 0,
	    on_row },
	{ MSG_CTL_NODE, FROM_PRIV, sizeof(struct msg_ctl_node), 0, 0, on_row },
	{ MSG_CTL_END, FROM_PRIV, sizeof(struct msg_ctl_end), 0, 0, on_end },
};

static void
on_closed(struct msglink *l, const char *reason)
{
	(void)l;
	errx(1, "no answer from dstmd: %s", reason != NULL ? reason :
	    "it has closed the connection (root alone may ask)");
}

static struct msglink *
connect_daemon(const char *path)
{
	struct sockaddr_un sun;
	int fd;

	memset(&sun, 0, sizeof(sun));
	sun.sun_family = AF_UNIX;
	if (strlcpy(sun.sun_path, path, sizeof(sun.sun_path)) >=
	    sizeof(sun.sun_path))
		errx(1, "%s: too long for a socket", path);
	if ((fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) == -1)
		err(1, "socket");
	if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == -1)
		errx(1, "%s: %s%s", path, strerror(errno), errno == ENOENT ||
		    errno == ECONNREFUSED ? " (is dstmd running?)" :
		    errno == EACCES ? " (root alone may ask)" : "");
#ifdef __OpenBSD__
	if (pledge("stdio", NULL) == -1)
		err(1, "pledge");
#endif
	if ((base = event_base_new()) == NULL ||
	    (patience = evtimer_new(base, give_up, NULL)) == NULL)
		errx(1, "cannot set up the event loop");
	msg_self(PROC_CONTROL);
	return (msglink_new(base, fd, PROC_PRIV, rules,
	    sizeof(rules) / sizeof(rules[0]), on_closed, NULL));
}

/*
 * The request: wrong usage is said before anything is asked.
 */
struct request {
	uint32_t	 type;
	union {
		struct msg_ctl_show	 show;
		struct msg_ctl_release	 release;
		struct msg_ctl_drain	 drain;
		struct msg_ctl_order	 order;
		struct msg_ctl_allocate	 allocate;
		struct msg_verbose	 verbose;
	}		 body;
	size_t		 size;
};

/* How many words a command may have, itself included. */
static int
words_ok(enum command command, int n)
{
	switch (command) {
	case UP:
	case DOWN:
	case RENEW:
		return (n == 1);
	case RELEASE:
	case DRAIN:
		return (n <= 2);
	default:
		return (n == 2);
	}
}

static void
parse_request(enum command command, int argc, char *argv[],
    struct request *req)
{
	memset(req, 0, sizeof(*req));
	if (!words_ok(command, argc))
		usage(stderr);
	switch (command) {
	case SHOW:
		showing = SHOW_LEASES + find_word(argv[1], shows);
		req->type = MSG_CTL_SHOW;
		req->body.show.what = showing;
		req->size = sizeof(req->body.show);
		break;
	case UP:
	case DOWN:
	case RENEW:
		req->type = MSG_CTL_ORDER;
		req->body.order.order = command == UP ? ORDER_UP :
		    command == DOWN ? ORDER_DOWN : ORDER_RENEW;
		req->size = sizeof(req->body.order);
		break;
	case RELEASE:
		if (argc == 2 && (inet_pton(AF_INET, argv[1],
		    &req->body.release.v4) != 1 ||
		    req->body.release.v4.s_addr == 0)) {
			warnx("%s: not an IPv4 address", argv[1]);
			usage(stderr);
		}
		req->type = MSG_CTL_RELEASE;
		req->size = sizeof(req->body.release);
		break;
	case DRAIN:
		req->type = MSG_CTL_DRAIN;
		req->body.drain.drain = argc == 1 ? DRAIN_NEW :
		    find_word(argv[1], drains);
		req->size = sizeof(req->body.drain);
		break;
	case ALLOCATE:
		if (strchr(argv[1], ':') == NULL ? !name_valid(argv[1]) :
		    inet_pton(AF_INET6, argv[1], &req->body.allocate.v6) !=
		    1) {
			warnx("%s: neither a user nor an IPv6 address",
			    argv[1]);
			usage(stderr);
		}
		if (strchr(argv[1], ':') == NULL)
			strlcpy(req->body.allocate.name, argv[1],
			    sizeof(req->body.allocate.name));
		req->type = MSG_CTL_ALLOCATE;
		req->size = sizeof(req->body.allocate);
		break;
	case LOG:
		req->type = MSG_CTL_VERBOSE;
		req->body.verbose.verbose = find_word(argv[1], levels);
		req->size = sizeof(req->body.verbose);
		break;
	default:
		usage(stderr);
	}
}

static int
run(const char *path, const struct request *req)
{
	struct msglink *l;

	l = connect_daemon(path);
	msg_put(l, req->type, &req->body, req->size);
	be_patient();
	event_base_dispatch(base);
	msglink_free(l);
	event_free(patience);
	event_base_free(base);
	/* Not only written, but taken: a full disk says so here at last. */
	if (ferror(stdout) || fclose(stdout) == EOF)
		err(1, "standard output");
	return (status);
}

int
main(int argc, char *argv[])
{
	const char *path = RUNDIR "/control";
	struct request req;
	uint32_t command;
	int ch;

	while ((ch = getopt(argc, argv, "+hjs:V")) != -1) {
		switch (ch) {
		case 'h':
			usage(stdout);
			break;
		case 'j':
			printer = &json_printer;
			break;
		case 's':
			path = optarg;
			break;
		case 'V':
			printf("dstmctl %s\n", DSTMD_VERSION);
			return (0);
		default:
			usage(stderr);
		}
	}
	argc -= optind;
	argv += optind;
	if (argc == 0)
		usage(stderr);
	log_init("dstmctl", LOG_TO_STDERR, 0);
	switch (command = find_word(argv[0], commands)) {
	case PASSWD:
		optind = 1;
#ifdef __OpenBSD__
		optreset = 1;
#endif
		return (passwd_main(argc, argv));
	case HELP:
		usage(stdout);
	default:
		signal(SIGPIPE, SIG_IGN);
		parse_request(command, argc, argv, &req);
		return (run(path, &req));
	}
}
