/* Writing TSP: whole messages, each with its length. Pure functions. */
#include <arpa/inet.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "session/session.h"

/* Appends; *off is -1 once it did not fit. */
static void __attribute__((__format__ (printf, 4, 5)))
add(char *buf, size_t size, int *off, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (*off == -1)
		return;
	va_start(ap, fmt);
	n = vsnprintf(buf + *off, size - (size_t)*off, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= size - (size_t)*off)
		*off = -1;
	else
		*off += n;
}

int
emit_capability(char *buf, size_t size, const uint32_t *mechs)
{
	int i, n = 0;

	add(buf, size, &n, "CAPABILITY TUNNEL=V4V6");
	for (i = 0; i < MECH_MAX && mechs[i] != 0; i++)
		if (mech_name(mechs[i]) != NULL)
			add(buf, size, &n, " AUTH=%s", mech_name(mechs[i]));
	add(buf, size, &n, "\r\n");
	return (n);
}

int
emit_auth_status(char *buf, size_t size, enum tsp_status status,
    enum tsp_dialect dialect)
{
	int n = 0;

	if (status == STATUS_OK && dialect == DIALECT_DRAFT)
		add(buf, size, &n, "OK Authentication successful\r\n");
	else
		add(buf, size, &n, "%d %s\r\n", (int)status,
		    tsp_status_text(status, dialect));
	return (n);
}

/* Puts the length in front of a body. */
static int
frame(char *buf, size_t size, const char *body, int len)
{
	int n = 0;

	if (len == -1 || len > TSP_REPLY_MAX)
		return (-1);
	add(buf, size, &n, "Content-length: %d\r\n%s", len, body);
	return (n);
}

int
emit_status(char *buf, size_t size, enum tsp_status status,
    enum tsp_dialect dialect)
{
	char body[128];
	int n = 0;

	add(body, sizeof(body), &n, "%d %s\r\n", (int)status,
	    tsp_status_text(status, dialect));
	return (frame(buf, size, body, n));
}

static void
add_v6(char *buf, size_t size, int *n, const struct in6_addr *v6)
{
	char text[INET6_ADDRSTRLEN];

	inet_ntop(AF_INET6, v6, text, sizeof(text));
	add(buf, size, n, "<address type=\"ipv6\">%s</address>", text);
}

static void
add_v4(char *buf, size_t size, int *n, struct in_addr v4, int length)
{
	char text[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &v4, text, sizeof(text));
	if (length >= 0)
		add(buf, size, n, "<address type=\"ipv4\" length=\"%d\">%s"
		    "</address>", length, text);
	else
		add(buf, size, n, "<address type=\"ipv4\">%s</address>", text);
}

static void
add_endpoint(char *buf, size_t size, int *n, const char *name,
    const struct tsp_endpoint *ep, int is_reply)
{
	if ((ep->flags & EP_PRESENT) == 0)
		return;
	add(buf, size, n, "<%s>", name);
	/* The draft's order: a reply has IPv4 first, a request last. */
	if (is_reply && (ep->flags & EP_V4))
		add_v4(buf, size, n, ep->v4, (int)ep->v4_length);
	if (ep->flags & EP_V6LL)
		add_v6(buf, size, n, &ep->v6ll);
	if (ep->flags & EP_V6)
		add_v6(buf, size, n, &ep->v6);
	if (!is_reply && (ep->flags & EP_V4))
		add_v4(buf, size, n, ep->v4, (int)ep->v4_length);
	if (ep->flags & EP_KEEPALIVE) {
		add(buf, size, n, "<keepalive interval=\"%u\">",
		    ep->keepalive);
		if (ep->flags & EP_KA_V4)
			add_v4(buf, size, n, ep->keepalive_v4, -1);
		add(buf, size, n, "</keepalive>");
	}
	add(buf, size, n, "</%s>", name);
}

int
emit_redirect(char *buf, size_t size, enum tsp_status status,
    enum tsp_dialect dialect, int framed, const struct in6_addr *to,
    uint32_t nto)
{
	char body[TSP_REPLY_MAX + 1];
	uint32_t i;
	int n = 0, len = 0;

	add(body, sizeof(body), &n, "%d %s\r\n<tunnel action=\"list\" "
	    "type=\"broker\">", STATUS_REDIRECT + (int)status,
	    tsp_status_text(status, dialect));
	for (i = 0; i < nto; i++) {
		add(body, sizeof(body), &n, "<broker>");
		add_v6(body, sizeof(body), &n, &to[i]);
		add(body, sizeof(body), &n, "</broker>");
	}
	add(body, sizeof(body), &n, "</tunnel>\r\n");
	if (framed || n == -1)
		return (frame(buf, size, body, n));
	add(buf, size, &len, "%s", body);
	return (len);
}

int
emit_tunnel(char *buf, size_t size, int code, enum tsp_dialect dialect,
    const struct tsp_tunnel *t)
{
	static const char *const actions[] = {
		NULL, "create", "info", "delete", "list", "accept", "reject"
	};
	char body[TSP_REPLY_MAX + 1];
	int n = 0;

	if (t->action == ACTION_NONE || t->action > ACTION_REJECT)
		return (-1);
	if (code != 0)
		add(body, sizeof(body), &n, "%d %s\r\n", code,
		    tsp_status_text((enum tsp_status)code, dialect));
	add(body, sizeof(body), &n, "<tunnel action=\"%s\" type=\"v4v6\"",
	    actions[t->action]);
	if (t->has_lifetime)
		add(body, sizeof(body), &n, " lifetime=\"%u\"", t->lifetime);
	add(body, sizeof(body), &n, ">");
	add_endpoint(body, sizeof(body), &n, "server", &t->server, code != 0);
	add_endpoint(body, sizeof(body), &n, "client", &t->client, code != 0);
	add(body, sizeof(body), &n, "</tunnel>\r\n");
	return (frame(buf, size, body, n));
}
