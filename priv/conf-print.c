#include <sys/types.h>

#include <netinet/in.h>

#include <stdio.h>
#include <string.h>

#include "dstmd/dstmd.h"
#include "priv/conf.h"

/* As the lexer reads it back. */
static void
print_string(FILE *f, const char *s)
{
	putc('"', f);
	for (; *s != '\0'; s++) {
		if (*s == '"' || *s == '\\')
			putc('\\', f);
		putc(*s, f);
	}
	putc('"', f);
}

static void
print_setting(FILE *f, const char *what, const char *s)
{
	fprintf(f, "%s ", what);
	print_string(f, s);
	putc('\n', f);
}

/* what: "password", a file of one, or "passwords" */
static void
print_login(FILE *f, const struct conf_login *l, const char *what)
{
	fprintf(f, "login \"%s\" %s ", l->name, what);
	print_string(f, l->password);
	putc('\n', f);
}

static void
print_interface(FILE *f, const char *ifname, uint32_t mtu)
{
	fprintf(f, "\tinterface ");
	print_string(f, ifname);
	if (mtu != 0)
		fprintf(f, " mtu %u", mtu);
	putc('\n', f);
}

static void
print_mechs(FILE *f, const uint32_t *list)
{
	uint32_t i;

	fprintf(f, "\tauth ");
	for (i = 0; i < MECH_MAX && list[i] != 0; i++)
		fprintf(f, "%s%s", i == 0 ? "" : ", ", mech_word(list[i]));
	putc('\n', f);
}

static void
print_listen(FILE *f, const struct conf *conf, uint32_t role)
{
	uint32_t i;

	for (i = 0; i < conf->nlisten; i++)
		if (conf->listen[i].role & role)
			fprintf(f, "\tlisten on %s port %u\n",
			    log_in6(&conf->listen[i].addr),
			    conf->listen[i].port);
}

/* what: "prefix", of a user, or "accept from", of a TEP */
static void
print_prefixes(FILE *f, const char *what, const struct conf_prefix6 *list,
    uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++)
		fprintf(f, "%s %s/%d\n", what, log_in6(&list[i].addr),
		    list[i].len);
}

static void
print_tep(FILE *f, const struct conf *conf, const struct conf_tep *t,
    int listens)
{
	const struct conf_peer *s;
	uint32_t i, j;

	fprintf(f, "\ntep \"%s\" {\n", t->name);
	print_prefixes(f, "\taccept from", t->outers, t->nouters);
	if (!t->local) {
		fprintf(f, "\tconnect to %s port %u\n", log_in6(&t->connect),
		    t->port);
		putc('\t', f);
		print_login(f, &t->login, "password");
		fprintf(f, "}\n");
		return;
	}
	fprintf(f, "\taddress %s %s\n", log_in6(&t->addr6), log_in(t->addr4));
	print_interface(f, t->ifname, t->mtu);
	if (t->rate != 0)
		fprintf(f, "\trate %llu\n", (unsigned long long)t->rate);
	if (listens)
		print_listen(f, conf, ROLE_TEP);
	for (i = 0; i < t->npeers; i++) {
		s = &t->peers[i];
		fprintf(f, "\tserver \"%s\" {\n", s->name);
		for (j = 0; j < s->nprefixes; j++)
			fprintf(f, "\t\tallow %s/%d\n",
			    log_in(s->prefixes[j].addr), s->prefixes[j].len);
		fprintf(f, "\t}\n");
	}
	fprintf(f, "}\n");
}

static void
print_pool(FILE *f, const struct conf_pool *p)
{
	const struct conf_written *w;
	uint32_t i, bit, list[MECH_MAX] = { 0 };

	fprintf(f, "\tpool \"%s\" {\n", p->name);
	for (i = 0; i < p->nwritten; i++) {
		w = &p->written[i];
		fprintf(f, "\t\t%s%s", w->exclude ? "exclude " : "",
		    log_in(w->r.lo));
		if (w->plen == 0)
			fprintf(f, " - %s", log_in(w->r.hi));
		else if (w->plen < 32)
			fprintf(f, "/%d", w->plen);
		putc('\n', f);
	}
	fprintf(f, "\t\ttep \"%s\"\n", p->tep_name);
	if (p->weight != 0)
		fprintf(f, "\t\tweight %u\n", p->weight);
	for (bit = 1; bit <= p->mechs && bit != 0; bit <<= 1)
		if (p->mechs & bit)
			mech_add(list, bit);
	if (list[0] != 0) {
		putc('\t', f);
		print_mechs(f, list);
	}
	fprintf(f, "\t}\n");
}

static void
print_user(FILE *f, const struct conf *conf, const struct conf_user *u)
{
	uint32_t i;

	if (u->mech == MECH_ANONYMOUS)
		fprintf(f, "\tanonymous {\n");
	else if (u->name[0] == '\0')
		fprintf(f, "\tuser default {\n");
	else
		fprintf(f, "\tuser \"%s\" {\n", u->name);
	for (i = 0; i < u->policy.npools; i++)
		fprintf(f, "\t\tpool \"%s\"\n",
		    conf->pools[u->policy.pools[i]].name);
	for (i = 0; i < u->policy.nfixed; i++)
		fprintf(f, "\t\taddress %s\n", log_in(u->policy.fixed[i]));
	fprintf(f, "\t\tleases %u\n", u->policy.max_leases);
	print_prefixes(f, "\t\tprefix", u->prefixes, u->nprefixes);
	if (u->call)
		fprintf(f, "\t\tcall\n");
	fprintf(f, "\t}\n");
}

static void
print_server(FILE *f, const struct conf *conf)
{
	uint32_t i;

	fprintf(f, "\nserver {\n");
	print_listen(f, conf, ROLE_SERVER);
	print_mechs(f, conf->server_mechs);
	if (conf->keytab[0] != '\0') {
		putc('\t', f);
		print_setting(f, "keytab", conf->keytab);
	}
	fprintf(f, "\tlifetime %u min %u max %u\n\tquarantine %u\n",
	    conf->limits.lifetime, conf->limits.lifetime_min,
	    conf->limits.lifetime_max, conf->limits.quarantine);
	for (i = 0; i < conf->nredirects; i++)
		fprintf(f, "\tredirect to %s\n",
		    log_in6(&conf->redirects[i]));
	if (conf->call.name[0] != '\0') {
		fprintf(f, "\tcall ");
		print_login(f, &conf->call, "passwords");
	}
	for (i = 0; i < conf->npools; i++)
		print_pool(f, &conf->pools[i]);
	for (i = 0; i < conf->nusers; i++)
		print_user(f, conf, &conf->users[i]);
	fprintf(f, "}\n");
}

static void
print_node(FILE *f, const struct conf *conf)
{
	const struct conf_node *n = &conf->node;
	uint32_t i;

	fprintf(f, "\nnode {\n");
	for (i = 0; i < n->nservers; i++)
		fprintf(f, "\tserver %s port %u\n",
		    log_in6(&n->servers[i].addr), n->servers[i].port);
	fprintf(f, "\tauth %s\n", mech_word(n->mech));
	if (n->login.name[0] != '\0') {
		putc('\t', f);
		print_login(f, &n->login, "password");
	}
	print_interface(f, n->ifname, n->mtu);
	if (!IN6_IS_ADDR_UNSPECIFIED(&n->addr))
		fprintf(f, "\taddress %s\n", log_in6(&n->addr));
	if (n->lifetime != 0)
		fprintf(f, "\tlifetime %u\n", n->lifetime);
	if (!n->route)
		fprintf(f, "\tno route\n");
	else if (n->table != 0)
		fprintf(f, "\troute table %u\n", n->table);
	else
		fprintf(f, "\troute metric %u\n", n->metric);
	if (n->idle != 0)
		fprintf(f, "\ton demand idle %u\n", n->idle);
	if (n->keepalive != 0)
		fprintf(f, "\tkeepalive %u\n", n->keepalive);
	else
		fprintf(f, "\tno keepalive\n");
	if (n->event[0] != '\0') {
		putc('\t', f);
		print_setting(f, "event", n->event);
	}
	print_listen(f, conf, ROLE_NODE);
	if (n->caller[0] != '\0')
		fprintf(f, "\tcall from \"%s\"\n", n->caller);
	if (n->offers)
		fprintf(f, "\taccept offers\n");
	fprintf(f, "}\n");
}

void
conf_print(const struct conf *conf, FILE *f)
{
	static const char *const planes[] = {
		[PLANE_TUN] = "tun", [PLANE_BPF] = "bpf",
		[PLANE_AUTO] = "auto", [PLANE_KERNEL] = "kernel",
	};
	uint32_t i;
	int listens = 1;

	print_setting(f, "control", conf->control);
	print_setting(f, "store", conf->store);
	if (conf->secrets[0] != '\0')
		print_setting(f, "secrets", conf->secrets);
	fprintf(f, "plane %s%s\n", planes[conf->plane],
	    conf->plane_interface ? " interface" : "");
	fprintf(f, "limits {\n\tconnections %u\n\thandshakes %u\n"
	    "\tper-source %u\n\tsource-prefix %u\n\tsource-rate %u\n"
	    "\tauth-failures %u\n\trequest-rate %u\n"
	    "\tauth-timeout %u\n\tidle-timeout %u\n\trequest-timeout %u\n"
	    "\tsuccess-pause %u\n}\n", conf->max_conns, conf->handshakes,
	    conf->max_source, conf->source_prefix, conf->source_rate,
	    conf->auth_failures, conf->request_rate,
	    conf->auth_timeout, conf->idle_timeout, conf->request_timeout,
	    conf->success_pause);
	/* Listeners are the daemon's: said in the first tep that needs one. */
	for (i = 0; i < conf->nteps; i++) {
		print_tep(f, conf, &conf->teps[i],
		    listens && conf->teps[i].npeers > 0);
		if (conf->teps[i].npeers > 0)
			listens = 0;
	}
	if (conf->roles & ROLE_SERVER)
		print_server(f, conf);
	if (conf->roles & ROLE_NODE)
		print_node(f, conf);
}
