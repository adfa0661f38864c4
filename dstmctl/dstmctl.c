/* The operator's tool: one request to the daemon's control socket. */
#include <sys/types.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <arpa/inet.h>

#include <event2/event.h>

#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dstmctl/dstmctl.h"

static struct event_base	*base;
static uint32_t			 showing;
static int			 json, begun, status = 1, answered;

static void
usage(FILE *f)
{
	fprintf(f, "usage: dstmctl [-hjV] [-s socket] command [argument ...]\n"
	    "       show leases|pools|sessions|tunnels|processes\n"
	    "       release [address]\n"
	    "       log verbose|brief\n"
	    "       passwd [-d] [-f file] name\n");
	exit(f == stdout ? 0 : 2);
}

static void
begin(void)
{
	if (!begun)
		print_begin(showing, json);
	begun = 1;
}

static void
on_row(struct msglink *l, struct msg *m)
{
	(void)l;
	begin();
	print_row(m->type, m->data);
}

static void
on_end(struct msglink *l, struct msg *m)
{
	struct msg_ctl_end me;

	(void)l;
	memcpy(&me, m->data, sizeof(me));
	me.text[sizeof(me.text) - 1] = '\0';
	answered = 1;
	if (showing != 0) {
		begin();
		print_end();
	}
	if (me.ok)
		status = 0;
	else
		warnx("%s", me.text);
	event_base_loopbreak(base);
}

#define PRIV	MSG_FROM(PROC_PRIV)
static const struct msg_rule	 rules[] = {
	{ MSG_CTL_LEASE, PRIV, sizeof(struct msg_ctl_lease), 0, 0, on_row },
	{ MSG_CTL_POOL, PRIV, sizeof(struct msg_ctl_pool), 0, 0, on_row },
	{ MSG_CTL_SESSION, PRIV, sizeof(struct msg_ctl_session), 0, 0,
	    on_row },
	{ MSG_CTL_DEV, PRIV, sizeof(struct msg_ctl_dev), 0, 0, on_row },
	{ MSG_CTL_TUNNEL, PRIV, sizeof(struct msg_tunnel_entry), 0, 0,
	    on_row },
	{ MSG_CTL_PROCESS, PRIV, sizeof(struct msg_ctl_process), 0, 0,
	    on_row },
	{ MSG_CTL_END, PRIV, sizeof(struct msg_ctl_end), 0, 0, on_end },
};

static void
on_closed(struct msglink *l, const char *reason)
{
	(void)l;
	if (!answered)
		warnx("the daemon did not answer: %s", reason != NULL ?
		    reason : "connection closed (only root may ask)");
	event_base_loopbreak(base);
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
		err(1, "%s%s", path, errno == ENOENT ||
		    errno == ECONNREFUSED ? ": is dstmd running?" :
		    errno == EACCES ? ": only root may ask" : "");
	if ((base = event_base_new()) == NULL)
		errx(1, "event_base_new");
	return (msglink_new(base, fd, PROC_PRIV, rules,
	    sizeof(rules) / sizeof(rules[0]), on_closed, NULL));
}

/* The number of the one word that begins so, from 1 on; or usage. */
static uint32_t
word(const char *arg, const char *const *words)
{
	uint32_t i, found = 0;

	for (i = 0; words[i] != NULL; i++) {
		if (strncmp(arg, words[i], strlen(arg)) != 0)
			continue;
		if (found != 0)
			errx(2, "%s: %s or %s?", arg, words[found - 1],
			    words[i]);
		found = i + 1;
	}
	if (found == 0 || arg[0] == '\0') {
		warnx("%s: unknown", arg);
		usage(stderr);
	}
	return (found);
}

static void
request(struct msglink *l, uint32_t command, const char *arg)
{
	struct msg_ctl_show show;
	struct msg_ctl_release release;
	struct msg_verbose verbose;

	memset(&release, 0, sizeof(release));
	switch (command) {
	case 1:
		show.what = showing;
		msg_put(l, MSG_CTL_SHOW, &show, sizeof(show));
		break;
	case 2:
		if (arg != NULL)
			(void)inet_pton(AF_INET, arg, &release.v4);
		msg_put(l, MSG_CTL_RELEASE, &release, sizeof(release));
		break;
	default:
		verbose.verbose = arg != NULL && arg[0] == 'v';
		msg_put(l, MSG_CTL_VERBOSE, &verbose, sizeof(verbose));
		break;
	}
}

/* What is wrong with the arguments of a command is said before asking. */
static void
check(uint32_t command, int argc, char *argv[])
{
	static const char *const shows[] = {
		"leases", "pools", "sessions", "tunnels", "processes", NULL
	};
	static const char *const logs[] = { "verbose", "brief", NULL };
	struct in_addr v4;

	switch (command) {
	case 1:
		if (argc != 2)
			usage(stderr);
		showing = word(argv[1], shows);
		break;
	case 2:
		if (argc > 2)
			usage(stderr);
		if (argc == 2 && (inet_pton(AF_INET, argv[1], &v4) != 1 ||
		    v4.s_addr == 0))
			errx(2, "%s: not an IPv4 address", argv[1]);
		break;
	case 3:
		if (argc != 2)
			usage(stderr);
		(void)word(argv[1], logs);
		break;
	}
}

int
main(int argc, char *argv[])
{
	static const char *const commands[] = {
		"show", "release", "log", "passwd", NULL
	};
	const char *path = RUNDIR "/control";
	uint32_t command;
	struct msglink *l;
	int ch;

	while ((ch = getopt(argc, argv, "+hjs:V")) != -1) {
		switch (ch) {
		case 'h':
			usage(stdout);
			break;
		case 'j':
			json = 1;
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
	command = word(argv[0], commands);
	if (command == 4) {
		optind = 1;
		return (passwd_main(argc, argv));
	}
	check(command, argc, argv);
	l = connect_daemon(path);
	request(l, command, argc > 1 ? argv[1] : NULL);
	event_base_dispatch(base);
	msglink_free(l);
	if (fflush(stdout) == EOF || ferror(stdout))
		err(1, "standard output");
	return (status);
}
