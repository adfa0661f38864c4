#include <sys/stat.h>
#include <sys/types.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "dstmd/sandbox.h"
#include "priv/netlink.h"
#include "priv/priv.h"
#ifdef HAVE_BPF
#include "tunnel/plane-bpf.h"
#endif

#define CONF_FILE	SYSCONFDIR "/dstmd.conf"
#define PATHS_MAX	32
#define DESCRIPTORS_OWN	256	/* of a process, beside connections */

struct priv		 priv;

static struct event	*sig_events[6];

static void
usage(FILE *f)
{
	fprintf(f, "usage: dstmd [-dhnVv] [-f file]\n");
	exit(f == stdout ? 0 : 2);
}

static void
help(void)
{
	printf("dstmd leases IPv4 addresses to nodes on an IPv6-only network"
	    "\nand sets up their IPv4-over-IPv6 tunnels (DSTM).\n\n"
	    "  -d       stay in the foreground, log to standard error\n"
	    "  -f file  configuration, default %s\n"
	    "  -h       this text\n"
	    "  -n       only test the configuration; with -v print it\n"
	    "  -V       print the version\n"
	    "  -v       verbose log\n\n", CONF_FILE);
	usage(stdout);
}

static void	 undo(void);

static void
priv_sig_handler(evutil_socket_t sig, short what, void *arg)
{
	(void)what;
	(void)arg;
	switch (sig) {
	case SIGTERM:
	case SIGINT:
		log_info("ending on signal %d", (int)sig);
		if (priv.leaves) {	/* it is no restart after all */
			priv.leaves = 0;
			undo();
		}
		priv_quit();
		break;
	case SIGUSR2:
		priv.leaves = !priv.quitting && plane_stays();
		log_info("ending on SIGUSR2; plane %s %s", priv.plane->name,
		    priv.leaves ? "goes on, for the next dstmd" :
		    "can not go on without this daemon, and ends");
		priv_quit();
		break;
	case SIGHUP:
		log_info("SIGHUP: reading the secrets again "
		    "(the configuration needs a restart)");
		child_secrets();
		break;
	case SIGCHLD:
		child_reap();
		break;
	}
}

static void
undo(void)
{
	node_end();
	tep_end();
	plane_end();
}

void
priv_quit(void)
{
	if (priv.quitting)
		return;
	priv.quitting = 1;
	control_stop();
	if (!priv.leaves)
		undo();
	child_stop_all();
}

/* A secret that others can read is none: refuse to start. */
static void
check_secret(const char *path)
{
	struct stat st;

	if (stat(path, &st) == -1 && errno == ENOENT)
		fatalx("%s: there is none: dstmctl passwd makes secrets, "
		    "a password file holds one line", path);
	if (stat(path, &st) == -1)
		fatal("%s", path);
	if (!S_ISREG(st.st_mode))
		fatalx("%s: not a regular file", path);
	if (st.st_uid != 0)
		fatalx("%s: owned by uid %u, must be root's", path,
		    (unsigned)st.st_uid);
	if (st.st_mode & (S_IRWXG | S_IRWXO))
		fatalx("%s: others may use it (mode %04o): chmod 600 it",
		    path, (unsigned)(st.st_mode & 07777));
}

static void
check_secrets(const struct conf *conf)
{
	uint32_t i;

	if (conf->secrets[0] != '\0')
		check_secret(conf->secrets);
	if (conf->keytab[0] != '\0')
		check_secret(conf->keytab);
	if (conf->call.name[0] != '\0')
		check_secret(conf->call.password);
	for (i = 0; i < conf->nteps; i++)
		if (!conf->teps[i].local)
			check_secret(conf->teps[i].login.password);
	if ((conf->roles & ROLE_NODE) && conf->node.mech != MECH_ANONYMOUS)
		check_secret(conf->node.login.password);
}

/* Each connection is a descriptor of session, and for a moment one here. */
static void
check_descriptors(const struct conf *conf)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) == -1)
		fatal("getrlimit");
	if (rl.rlim_max < conf->max_conns + DESCRIPTORS_OWN)
		log_warnx("limits: %u connections need more descriptors than "
		    "the %llu that are allowed (ulimit -n, LimitNOFILE)",
		    conf->max_conns, (unsigned long long)rl.rlim_max);
}

/* A TEP is a router: without forwarding its tunnels lead nowhere. */
static void
check_forwarding(const struct conf *conf)
{
#ifdef __linux__
	FILE *f;
	int c;

	if ((conf->roles & ROLE_TEP) == 0 ||
	    (f = fopen("/proc/sys/net/ipv4/ip_forward", "r")) == NULL)
		return;
	c = fgetc(f);
	fclose(f);
	if (c == '0')
		log_warnx("this host does not forward IPv4, which its TEP "
		    "needs: sysctl net.ipv4.ip_forward=1");
#else
	(void)conf;
#endif
}

/*
 * On demand a TCP asks before there is an address: this lets it take the one
 * that it gets meanwhile.
 */
static void
check_dynaddr(const struct conf *conf)
{
#ifdef __linux__
	FILE *f;
	int c;

	if ((conf->roles & ROLE_NODE) == 0 || conf->node.idle == 0 ||
	    (f = fopen("/proc/sys/net/ipv4/ip_dynaddr", "r")) == NULL)
		return;
	c = fgetc(f);
	fclose(f);
	if (c == '0')
		log_warnx("the connection that asks for the lease will fail, "
		    "and only the next one work: sysctl net.ipv4.ip_dynaddr=1");
#else
	(void)conf;
#endif
}

static void
add_path(struct sandbox_path *paths, size_t *n, const char *file, int parent,
    const char *access)
{
	char *copy;

	if (file[0] == '\0')
		return;
	if (*n + 1 >= PATHS_MAX)
		fatalx("too many directories hold secrets: keep the password "
		    "files in one");
	if ((copy = strdup(file)) == NULL)
		fatal(NULL);
	paths[*n].path = parent ? dirname(copy) : copy;
	paths[*n].access = access;
	(*n)++;
}

/*
 * What the parent opens by path once it is sandboxed: secrets again when
 * auth is restarted or told to read them again, the control socket to
 * remove it. What a starting child needs is the sandbox's own to know.
 */
static void
enter_sandbox(const struct conf *conf)
{
	struct sandbox_path paths[PATHS_MAX];
	size_t i, n = 0;
	const char *dir, *last = "";
	char buf[CONF_PATH_SIZE];

	memset(paths, 0, sizeof(paths));
	add_path(paths, &n, conf->secrets, 1, "r");
	add_path(paths, &n, conf->keytab, 1, "r");
	add_path(paths, &n, conf->call.password, 1, "r");
	for (i = 0; i < conf->nteps; i++) {
		if (conf->teps[i].local)
			continue;
		strlcpy(buf, conf->teps[i].login.password, sizeof(buf));
		dir = dirname(buf);
		if (strcmp(dir, last) == 0)
			continue;
		add_path(paths, &n, conf->teps[i].login.password, 1, "r");
		last = paths[n - 1].path;
	}
	if (conf->roles & ROLE_NODE)
		add_path(paths, &n, conf->node.login.password, 1, "r");
	add_path(paths, &n, conf->control, 1, "rwc");
	add_path(paths, &n, conf->store, 0, "rwc");
#ifdef HAVE_BPF
	if (access(BPF_PIN_DIR, F_OK) == 0)
		add_path(paths, &n, BPF_PIN_DIR, 0, "rwc");
#endif
	add_path(paths, &n, RUNDIR "/empty", 0, "r");
	add_path(paths, &n, LIBEXECDIR, 0, "rx");
	sandbox_enter(PROC_PRIV, paths);
}

static void
signals_init(void)
{
	static const int sigs[] = {
		SIGTERM, SIGINT, SIGUSR2, SIGHUP, SIGCHLD
	};
	size_t i;

	signal(SIGPIPE, SIG_IGN);
	for (i = 0; i < sizeof(sigs) / sizeof(sigs[0]); i++) {
		sig_events[i] = evsignal_new(priv.base, sigs[i],
		    priv_sig_handler, NULL);
		if (sig_events[i] == NULL ||
		    evsignal_add(sig_events[i], NULL) == -1)
			fatalx("evsignal");
	}
}

static void
test_conf(const struct conf *conf, int verbose)
{
	if (verbose)
		conf_print(conf, stdout);
	if (fflush(stdout) == EOF)
		err(1, "standard output");
	fprintf(stderr, "configuration OK\n");
	exit(0);
}

static void
run(int verbose)
{
	const char *why;

	if (geteuid() != 0)
		errx(1, "needs root to start (it gives up what it does not "
		    "need); -n tests a configuration as any user");
	if (sandbox_available(&why) == -1)
		errx(1, "no sandbox, refusing to start: %s", why);

	log_init("dstmd", LOG_TO_STDERR, verbose);
	check_secrets(priv.conf);
	check_descriptors(priv.conf);
	check_forwarding(priv.conf);
	check_dynaddr(priv.conf);
	child_init();
	listen_open();
	control_open();
	if (!priv.foreground) {
		if (daemon(0, 0) == -1)
			fatal("daemon");
		log_init("dstmd", LOG_TO_SYSLOG, verbose);
	}
	tzset();
	if ((priv.base = event_base_new()) == NULL)
		fatalx("event_base_new");
	if (netlink_open() == -1)
		fatal("netlink");
	priv.plane = plane_choose(priv.conf);
	event_init();
	signals_init();
	enter_sandbox(priv.conf);

	log_info("dstmd %s starting%s%s%s", DSTMD_VERSION,
	    priv.conf->roles & ROLE_SERVER ? ", server" : "",
	    priv.conf->roles & ROLE_TEP ? ", TEP" : "",
	    priv.conf->roles & ROLE_NODE ? ", node" : "");
	server_init();
	call_init();
	node_init();
	tep_init();
	control_start();
	child_start_all();
	event_base_dispatch(priv.base);
	log_info("ended");
}

int
main(int argc, char *argv[])
{
	const char *file = CONF_FILE;
	int ch, test = 0, verbose = 0;

	while ((ch = getopt(argc, argv, "df:hnVv")) != -1) {
		switch (ch) {
		case 'd':
			priv.foreground = 1;
			break;
		case 'f':
			file = optarg;
			break;
		case 'h':
			help();
			break;
		case 'n':
			test = 1;
			break;
		case 'V':
			printf("dstmd %s\n", DSTMD_VERSION);
			return (0);
		case 'v':
			verbose = 1;
			break;
		default:
			usage(stderr);
		}
	}
	if (optind != argc)
		usage(stderr);
	if ((priv.conf = conf_parse(file)) == NULL)
		return (1);
	if (test)
		test_conf(priv.conf, verbose);
	run(verbose);
	conf_free(priv.conf);
	return (0);
}
