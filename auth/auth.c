/*
 * The auth process. Its verdicts go to the parent, before session hears of
 * them: session cannot claim who never authenticated.
 */
#include <sys/types.h>
#include <sys/stat.h>

#include <event2/event.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/auth.h"
#include "dstmd/msg.h"

#define CREDS		(CRED_CALL + 1)
#define MEMORY_MAX	(64 << 20)	/* octets, beside exchanges */
#define MEMORY_EXCHANGE	16384		/* at most */

struct attempt {
	uint32_t		 gen;
	uint32_t		 side, mech, cred;
	struct call_ends	 ends;
	char			 name[NAME_SIZE];	/* CRED_CALL: who is called */
	struct exchange		*x;
};

static struct event_base	*base;
static struct msglink		*priv_link, *session_link;
static struct attempt		*attempts[CONN_MAX];
static size_t			 nattempts;
static uint32_t			 serving;	/* mechanisms, a set */
static struct {
	int			 set;
	struct msg_auth_cred	 conf;
	char			 password[PASSWORD_SIZE];
} creds[CREDS];
static struct calls		*calls;		/* passwords of CRED_CALL */

static void
attempt_end(uint32_t id)
{
	struct attempt *a = attempts[id];

	if (a == NULL)
		return;
	sasl_end(a->x);
	free(a);
	attempts[id] = NULL;
	nattempts--;
	/*
	 * DIGEST-MD5 loses what a client says twice: who does it often gets
	 * us a new process, in which others' logins begin anew.
	 */
	if (sasl_memory() > MEMORY_MAX + nattempts * MEMORY_EXCHANGE) {
		log_warnx("libsasl2 has lost %d MB: ending, to be started "
		    "anew", MEMORY_MAX >> 20);
		exit(0);
	}
}

static void
next(struct conn_ref conn, uint32_t result, const uint8_t *blob, size_t len,
    int has_blob)
{
	struct msg_auth_next m;

	memset(&m, 0, sizeof(m));
	m.conn = conn;
	m.result = result;
	m.has_blob = (uint32_t)has_blob;
	msg_send(session_link, MSG_AUTH_NEXT, -1, &m, sizeof(m), blob, len);
}

static int
verdict(struct conn_ref conn, const struct attempt *a)
{
	struct msg_auth_verdict m;
	const char *name = a->name;

	if (a->side == AUTH_SERVER && (name = sasl_name(a->x)) == NULL)
		return (-1);
	memset(&m, 0, sizeof(m));
	m.conn = conn;
	m.side = a->side;
	m.mech = a->mech;
	m.cred = a->cred;
	m.mutual = (a->mech & MECH_MUTUAL) != 0;
	m.ends = a->ends;
	strlcpy(m.name, name, sizeof(m.name));
	msg_put(priv_link, MSG_AUTH_VERDICT, &m, sizeof(m));
	return (0);
}

static void
step(struct conn_ref conn, struct attempt *a, const uint8_t *in, size_t len)
{
	uint8_t out[SASL_BLOB_MAX];
	uint32_t result;
	int has_out;
	size_t n;

	result = sasl_step(a->x, in, len, out, &n, &has_out);
	if (result == AUTH_OK && verdict(conn, a) == -1)
		result = AUTH_FAILED;
	if (result == AUTH_FAILED)
		n = 0;
	next(conn, result, out, n, has_out && result != AUTH_FAILED);
	explicit_bzero(out, sizeof(out));
	if (result != AUTH_MORE)
		attempt_end(conn.id);
}

static const char *
client_password(const struct attempt *a)
{
	return (a->cred == CRED_CALL ? calls_get(calls, a->name) :
	    creds[a->cred].password);
}

static void
start_client(struct conn_ref conn, struct attempt *a)
{
	const char *password;

	if (a->cred >= CREDS || !creds[a->cred].set ||
	    creds[a->cred].conf.mech != a->mech) {
		next(conn, AUTH_FAILED, NULL, 0, 0);
		attempt_end(conn.id);
		return;
	}
	if (a->mech == MECH_ANONYMOUS) {
		/* TSP's ANONYMOUS has no message */
		(void)verdict(conn, a);
		next(conn, AUTH_OK, NULL, 0, 0);
		attempt_end(conn.id);
		return;
	}
	if ((password = client_password(a)) == NULL)
		log_warnx("no password for the node of %s", a->name);
	if (password == NULL || (a->x = sasl_call(a->mech,
	    creds[a->cred].conf.name, password, creds[a->cred].conf.host,
	    &a->ends)) == NULL) {
		next(conn, AUTH_FAILED, NULL, 0, 0);
		attempt_end(conn.id);
		return;
	}
	step(conn, a, NULL, 0);
}

static void
auth_start(struct msglink *l, struct msg *m)
{
	struct msg_auth_start ms;
	struct attempt *a;

	(void)l;
	memcpy(&ms, m->data, sizeof(ms));
	if (ms.conn.id >= CONN_MAX || ms.conn.gen == 0 ||
	    (ms.side != AUTH_SERVER && ms.side != AUTH_CLIENT))
		return;
	attempt_end(ms.conn.id);
	if ((a = calloc(1, sizeof(*a))) == NULL)
		fatal(NULL);
	attempts[ms.conn.id] = a;
	nattempts++;
	a->gen = ms.conn.gen;
	a->side = ms.side;
	a->mech = ms.mech;
	a->cred = ms.cred;
	a->ends = ms.ends;
	if (ms.cred == CRED_CALL) {
		ms.name[NAME_MAX_LEN] = '\0';
		strlcpy(a->name, ms.name, sizeof(a->name));
	}
	if (ms.side == AUTH_CLIENT) {
		start_client(ms.conn, a);
		return;
	}
	if ((a->x = sasl_serve(ms.mech, &ms.ends)) == NULL) {
		next(ms.conn, AUTH_FAILED, NULL, 0, 0);
		attempt_end(ms.conn.id);
	} else if (ms.has_blob)
		step(ms.conn, a, m->tail, m->tail_len);
}

static void
auth_step(struct msglink *l, struct msg *m)
{
	struct msg_auth_step ms;
	struct attempt *a;

	(void)l;
	memcpy(&ms, m->data, sizeof(ms));
	if (ms.conn.id >= CONN_MAX || (a = attempts[ms.conn.id]) == NULL ||
	    a->gen != ms.conn.gen)
		next(ms.conn, AUTH_FAILED, NULL, 0, 0);
	else
		step(ms.conn, a, m->tail, m->tail_len);
}

static void
auth_abort(struct msglink *l, struct msg *m)
{
	struct msg_conn mc;

	(void)l;
	memcpy(&mc, m->data, sizeof(mc));
	if (mc.conn.id < CONN_MAX && attempts[mc.conn.id] != NULL &&
	    attempts[mc.conn.id]->gen == mc.conn.gen)
		attempt_end(mc.conn.id);
}

#define SESSION	MSG_FROM(PROC_SESSION)
static const struct msg_rule	 session_rules[] = {
	{ MSG_AUTH_START, SESSION, sizeof(struct msg_auth_start),
	    SASL_BLOB_MAX, 0, auth_start },
	{ MSG_AUTH_STEP, SESSION, sizeof(struct msg_auth_step),
	    SASL_BLOB_MAX, 0, auth_step },
	{ MSG_AUTH_ABORT, SESSION, sizeof(struct msg_conn), 0, 0,
	    auth_abort },
};

static void
session_closed(struct msglink *l, const char *reason)
{
	uint32_t i;

	if (reason != NULL)
		log_warnx("session: %s", reason);
	msglink_free(l);
	if (l != session_link)
		return;
	session_link = NULL;
	for (i = 0; i < CONN_MAX; i++)
		attempt_end(i);
}

/*
 * From the parent
 */
static void
auth_link(struct msglink *l, struct msg *m)
{
	struct msg_link_to ml;

	(void)l;
	memcpy(&ml, m->data, sizeof(ml));
	if (ml.peer != PROC_SESSION)
		fatalx("link to %s", proc_name(ml.peer));
	if (session_link != NULL)
		session_closed(session_link, NULL);
	session_link = msglink_new(base, m->fd, PROC_SESSION, session_rules,
	    sizeof(session_rules) / sizeof(session_rules[0]), session_closed,
	    NULL);
	m->fd = -1;
}

static void
auth_conf(struct msglink *l, struct msg *m)
{
	struct msg_auth_conf mc;

	(void)l;
	memcpy(&mc, m->data, sizeof(mc));
	serving = mc.mechs;
	sasl_allow(mc.mechs);
}

/* A file's octets, the caller's to clear and free; NULL: cannot be read. */
static uint8_t *
file_read(int fd, const char *what, size_t max, size_t *len)
{
	struct stat st;
	uint8_t *buf;
	size_t off = 0;
	ssize_t n;

	if (fstat(fd, &st) == -1 || st.st_size < 0 ||
	    (size_t)st.st_size > max) {
		log_warnx("%s: cannot be read, or more than %zu octets", what,
		    max);
		return (NULL);
	}
	*len = (size_t)st.st_size;
	if ((buf = calloc(1, *len + 1)) == NULL)
		fatal(NULL);
	while (off < *len &&
	    (n = pread(fd, buf + off, *len - off, (off_t)off)) > 0)
		off += (size_t)n;
	if (off == *len)
		return (buf);
	log_warn("%s", what);
	freezero(buf, *len + 1);
	return (NULL);
}

/* A file that cannot be read leaves the keys as they are. */
static void
auth_secrets(struct msglink *l, struct msg *m)
{
	struct secrets *s;
	uint8_t *buf;
	size_t len;

	(void)l;
	if ((buf = file_read(m->fd, "secrets", SECRETS_MAX, &len)) == NULL)
		return;
	s = secrets_parse((const char *)buf, len);
	freezero(buf, len + 1);
	if (s == NULL)
		return;
	log_info("%zu users with stored keys", secrets_count(s));
	if ((serving & MECH_DIGEST_MD5) && secrets_realm(s)[0] == '\0')
		log_warnx("secrets: no !realm line: nobody can log in by "
		    "digest-md5; \"dstmctl passwd -r realm\" adds one");
	sasl_secrets(s);
}

static void
auth_calls(struct msglink *l, struct msg *m)
{
	struct calls *c;
	uint8_t *buf;
	size_t len;

	(void)l;
	if ((buf = file_read(m->fd, "calls", SECRETS_MAX, &len)) == NULL)
		return;
	c = calls_parse((const char *)buf, len);
	freezero(buf, len + 1);
	if (c == NULL)
		return;
	log_info("passwords for the nodes of %zu users", calls_count(c));
	calls_free(calls);
	calls = c;
}

static void
auth_keytab(struct msglink *l, struct msg *m)
{
	uint8_t *buf;
	size_t len;
	int n;

	(void)l;
	if ((buf = file_read(m->fd, "keytab", KEYTAB_MAX, &len)) == NULL)
		return;
	n = gss_keytab(buf, len);
	freezero(buf, len + 1);
	if (n == -1)
		log_warnx("keytab: not a keytab file of version 2");
	else if (n == 0)
		log_warnx("keytab: no key of a principal \"%s/host@REALM\"",
		    TSP_SERVICE);
	else
		log_info("%d Kerberos keys", n);
}

static void
auth_cred(struct msglink *l, struct msg *m)
{
	struct msg_auth_cred mc;
	char buf[PASSWORD_SIZE];
	ssize_t n = 0;

	(void)l;
	memcpy(&mc, m->data, sizeof(mc));
	if (mc.cred >= CREDS)
		fatalx("login %u", mc.cred);
	mc.name[NAME_MAX_LEN] = '\0';
	mc.host[NAME_MAX_LEN] = '\0';
	memset(buf, 0, sizeof(buf));
	if (m->fd != -1 && (n = pread(m->fd, buf, sizeof(buf) - 1, 0)) <= 0) {
		log_warnx("the password of %s cannot be read, or is empty",
		    mc.name);
		return;
	}
	buf[strcspn(buf, "\r\n")] = '\0';
	creds[mc.cred].conf = mc;
	creds[mc.cred].set = 1;
	memcpy(creds[mc.cred].password, buf, sizeof(buf));
	explicit_bzero(buf, sizeof(buf));
}

static void
auth_ready(struct msglink *l, struct msg *m)
{
	(void)m;
	msg_put(l, MSG_READY, NULL, 0);
}

#define PRIV	MSG_FROM(PROC_PRIV)
static const struct msg_rule	 priv_rules[] = {
	{ MSG_LINK, PRIV, sizeof(struct msg_link_to), 0, MSG_F_FD, auth_link },
	{ MSG_AUTH_CONF, PRIV, sizeof(struct msg_auth_conf), 0, 0, auth_conf },
	{ MSG_AUTH_KEYTAB, PRIV, 0, 0, MSG_F_FD, auth_keytab },
	{ MSG_AUTH_SECRETS, PRIV, 0, 0, MSG_F_FD, auth_secrets },
	{ MSG_AUTH_CALLS, PRIV, 0, 0, MSG_F_FD, auth_calls },
	{ MSG_AUTH_CRED, PRIV, sizeof(struct msg_auth_cred), 0, MSG_F_FD_OPT,
	    auth_cred },
	{ MSG_VERBOSE, PRIV, sizeof(struct msg_verbose), 0, 0, proc_verbose },
	{ MSG_CONF_END, PRIV, 0, 0, 0, auth_ready },
};

int
main(int argc, char *argv[])
{
	sasl_setup();
	proc_child(PROC_AUTH, argc, argv);
	if ((base = event_base_new()) == NULL)
		fatalx("event_base_new");
	priv_link = msglink_new(base, PROC_FD_PRIV, PROC_PRIV, priv_rules,
	    sizeof(priv_rules) / sizeof(priv_rules[0]), proc_closed, NULL);
	event_base_dispatch(base);
	return (0);
}
