#include <arpa/inet.h>

#include <libxml/parser.h>
#include <libxml/xmlerror.h>

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parser/parser.h"

#define DEPTH_MAX	6
#define DICT_MAX	256		/* names that a context may keep */
#define ATTR_MAX	8		/* of an element */
#define ELEMENT_MAX	64
#define TEXT_MAX	256		/* octets of an element's text */
#define LIFETIME_ABSENT	1440		/* the draft's DTD */

enum elem {
	E_NONE, E_TUNNEL, E_CLIENT, E_SERVER, E_BROKER, E_ROUTER, E_PREFIX,
	E_DNS, E_AS, E_ADDRESS, E_KEEPALIVE
};

/* Which element may stand in which: the union of both DTDs. */
static const struct {
	const char	*name;
	enum elem	 elem;
	unsigned int	 parents;	/* 1 << enum elem */
} elems[] = {
	{ "tunnel",	E_TUNNEL,	1 << E_NONE },
	{ "client",	E_CLIENT,	1 << E_TUNNEL },
	{ "server",	E_SERVER,	1 << E_TUNNEL },
	{ "broker",	E_BROKER,	1 << E_TUNNEL },
	{ "router",	E_ROUTER,	1 << E_CLIENT | 1 << E_SERVER },
	{ "prefix",	E_PREFIX,	1 << E_ROUTER },
	{ "dns_server",	E_DNS,		1 << E_ROUTER },
	{ "as",		E_AS,		1 << E_ROUTER },
	{ "keepalive",	E_KEEPALIVE,	1 << E_CLIENT },
	{ "address",	E_ADDRESS,	1 << E_CLIENT | 1 << E_SERVER |
	    1 << E_BROKER | 1 << E_DNS | 1 << E_KEEPALIVE },
};

enum addr_type { ADDR_NONE, ADDR_V4, ADDR_V6, ADDR_DN };

struct xml_ctx {
	xmlParserCtxtPtr ctxt;
	struct tsp_tunnel *t;
	enum elem	 stack[DEPTH_MAX];
	int		 depth;
	int		 elements;
	int		 done;		/* the root element has ended */
	enum addr_type	 addr_type;
	uint32_t	 addr_length;
	char		 text[TEXT_MAX];
	size_t		 text_len;
	int		 failed;
	char		 error[96];
};

static void __attribute__((__format__ (printf, 2, 3)))
fail(struct xml_ctx *x, const char *fmt, ...)
{
	va_list ap;
	char *p;

	if (x->failed)
		return;
	x->failed = 1;
	va_start(ap, fmt);
	vsnprintf(x->error, sizeof(x->error), fmt, ap);
	va_end(ap);
	for (p = x->error; *p != '\0'; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
	xmlStopParser(x->ctxt);
}

/*
 * Values
 */

/* A decimal number up to max; -1 it is none. Space around it is stripped. */
static int64_t
number(const char *s, size_t len, int64_t max)
{
	int64_t v = 0;
	size_t i = 0;

	while (len > 0 && isspace((unsigned char)s[len - 1]))
		len--;
	while (i < len && isspace((unsigned char)s[i]))
		i++;
	if (i == len)
		return (-1);
	for (; i < len; i++) {
		if (!isdigit((unsigned char)s[i]))
			return (-1);
		if ((v = v * 10 + (s[i] - '0')) > max)
			return (-1);
	}
	return (v);
}

/*
 * The draft writes eight groups and "::" in one address, which RFC 4291
 * does not allow. Read as the eight groups: the "::" becomes ":".
 */
static int
draft_v6(const char *text, struct in6_addr *v6)
{
	char fixed[TEXT_MAX];
	const char *gap;
	size_t groups = 1, i;

	if ((gap = strstr(text, "::")) == NULL || gap == text ||
	    gap[2] == '\0' || strstr(gap + 2, "::") != NULL)
		return (-1);
	for (i = 0; text[i] != '\0'; i++)
		if (text[i] == ':' && text[i + 1] != ':')
			groups++;
	if (groups != 8)
		return (-1);
	memcpy(fixed, text, (size_t)(gap - text));
	strlcpy(fixed + (gap - text), gap + 1,
	    sizeof(fixed) - (size_t)(gap - text));
	return (inet_pton(AF_INET6, fixed, v6) == 1 ? 0 : -1);
}

static int
parse_v6(const char *text, struct in6_addr *v6)
{
	if (inet_pton(AF_INET6, text, v6) == 1)
		return (0);
	return (draft_v6(text, v6));
}

static void
address_v4(struct tsp_endpoint *ep, const char *text, uint32_t length)
{
	struct in_addr v4;

	if (inet_pton(AF_INET, text, &v4) != 1) {
		ep->flags |= EP_BAD_V4;
		return;
	}
	if (ep->flags & EP_V4)
		ep->flags |= EP_DUP_V4;
	ep->flags |= EP_V4;
	ep->v4 = v4;
	ep->v4_length = length <= 32 ? length : 32;
}

static void
address_v6(struct tsp_endpoint *ep, const char *text)
{
	struct in6_addr v6;

	if (parse_v6(text, &v6) == -1)
		ep->flags |= EP_BAD_V6;
	else if (IN6_IS_ADDR_LINKLOCAL(&v6)) {
		if (ep->flags & EP_V6LL)
			ep->flags |= EP_DUP_V6;
		ep->flags |= EP_V6LL;
		ep->v6ll = v6;
	} else {
		if (ep->flags & EP_V6)
			ep->flags |= EP_DUP_V6;
		ep->flags |= EP_V6;
		ep->v6 = v6;
	}
}

static void
address_endpoint(struct xml_ctx *x, struct tsp_endpoint *ep)
{
	switch (x->addr_type) {
	case ADDR_V4:
		address_v4(ep, x->text, x->addr_length);
		break;
	case ADDR_V6:
		address_v6(ep, x->text);
		break;
	default:
		ep->flags |= EP_DN;
		strlcpy(ep->dn, x->text, sizeof(ep->dn));
		break;
	}
}

static void
address_broker(struct xml_ctx *x, struct tsp_broker *b)
{
	if (x->addr_type == ADDR_V4 && inet_pton(AF_INET, x->text, &b->v4) == 1)
		b->flags |= EP_V4;
	else if (x->addr_type == ADDR_V6 && parse_v6(x->text, &b->v6) == 0)
		b->flags |= EP_V6;
	else if (x->addr_type == ADDR_DN) {
		b->flags |= EP_DN;
		strlcpy(b->dn, x->text, sizeof(b->dn));
	} else
		fail(x, "broker with an address that is none");
}

static void
address_end(struct xml_ctx *x)
{
	struct tsp_tunnel *t = x->t;

	switch (x->stack[x->depth - 1]) {
	case E_CLIENT:
		address_endpoint(x, &t->client);
		break;
	case E_SERVER:
		address_endpoint(x, &t->server);
		break;
	case E_BROKER:
		address_broker(x, &t->brokers[t->nbrokers - 1]);
		break;
	case E_KEEPALIVE:
		if (x->addr_type == ADDR_V4 && inet_pton(AF_INET, x->text,
		    &t->client.keepalive_v4) == 1)
			t->client.flags |= EP_KA_V4;
		break;
	default:		/* name servers: not of this profile */
		break;
	}
}

/*
 * Attributes. libxml2 gives five pointers for each: name, prefix, URI,
 * value, end of value.
 */
struct attr {
	const char	*value;		/* NULL: not there */
	size_t		 len;
};

static struct attr
attr_find(const xmlChar **attrs, int n, const char *name)
{
	struct attr a = { NULL, 0 };
	int i;

	for (i = 0; i < n; i++)
		if (strcmp((const char *)attrs[5 * i], name) == 0) {
			a.value = (const char *)attrs[5 * i + 3];
			a.len = (size_t)(attrs[5 * i + 4] - attrs[5 * i + 3]);
		}
	return (a);
}

static int
attr_is(struct attr a, const char *word)
{
	return (a.len == strlen(word) && memcmp(a.value, word, a.len) == 0);
}

static void
start_tunnel(struct xml_ctx *x, const xmlChar **attrs, int n)
{
	static const char *const actions[] = {
		NULL, "create", "info", "delete", "list", "accept", "reject"
	};
	struct attr a;
	uint32_t i;
	int64_t v;

	a = attr_find(attrs, n, "action");
	for (i = ACTION_CREATE; i <= ACTION_REJECT; i++)
		if (a.value != NULL && attr_is(a, actions[i]))
			x->t->action = i;
	if (x->t->action == ACTION_NONE) {
		fail(x, "tunnel without an action that we know");
		return;
	}
	a = attr_find(attrs, n, "type");
	if (a.value == NULL || a.len == 0) {
		fail(x, "tunnel without a type");
		return;
	}
	x->t->type = attr_is(a, "v4v6") ? TYPE_V4V6 :
	    attr_is(a, "broker") ? TYPE_BROKER : TYPE_OTHER;
	x->t->lifetime = LIFETIME_ABSENT;
	a = attr_find(attrs, n, "lifetime");
	if (a.value == NULL)
		return;
	if ((v = number(a.value, a.len, UINT32_MAX)) == -1)
		fail(x, "lifetime is not a number");
	x->t->has_lifetime = 1;
	x->t->lifetime = (uint32_t)v;
}

static void
start_address(struct xml_ctx *x, const xmlChar **attrs, int n)
{
	struct attr a = attr_find(attrs, n, "type");
	int64_t v;

	x->text_len = 0;
	x->addr_length = 32;
	if (a.value != NULL && attr_is(a, "ipv4"))
		x->addr_type = ADDR_V4;
	else if (a.value != NULL && attr_is(a, "ipv6"))
		x->addr_type = ADDR_V6;
	else if (a.value != NULL && attr_is(a, "dn"))
		x->addr_type = ADDR_DN;
	else {
		fail(x, "address without a type that we know");
		return;
	}
	a = attr_find(attrs, n, "length");
	if (a.value == NULL || a.len == 0)
		return;
	if ((v = number(a.value, a.len, 128)) == -1)
		fail(x, "length of an address is not one");
	x->addr_length = (uint32_t)v;
}

static void
start_endpoint(struct xml_ctx *x, struct tsp_endpoint *ep, const char *name)
{
	if (ep->flags & EP_PRESENT)
		fail(x, "second %s element", name);
	ep->flags |= EP_PRESENT;
	ep->v4_length = 32;
}

static void
start_keepalive(struct xml_ctx *x, const xmlChar **attrs, int n)
{
	struct attr a = attr_find(attrs, n, "interval");
	int64_t v = -1;

	if (a.value != NULL)
		v = number(a.value, a.len, 86400);
	if (v == -1) {
		fail(x, "keepalive without an interval");
		return;
	}
	x->t->client.flags |= EP_KEEPALIVE;
	x->t->client.keepalive = (uint32_t)v;
}

static void
on_start(void *arg, const xmlChar *name, const xmlChar *prefix,
    const xmlChar *uri, int nns, const xmlChar **ns, int nattrs, int ndef,
    const xmlChar **attrs)
{
	struct xml_ctx *x = arg;
	enum elem parent, e = E_NONE;
	size_t i;

	(void)prefix;
	(void)uri;
	(void)ns;
	(void)ndef;
	if (x->failed)
		return;
	if (nattrs > ATTR_MAX || nns > ATTR_MAX || x->depth == DEPTH_MAX ||
	    ++x->elements > ELEMENT_MAX) {
		fail(x, "too many elements or attributes");
		return;
	}
	parent = x->depth > 0 ? x->stack[x->depth - 1] : E_NONE;
	for (i = 0; i < sizeof(elems) / sizeof(elems[0]); i++)
		if (strcmp((const char *)name, elems[i].name) == 0 &&
		    (elems[i].parents & 1U << parent))
			e = elems[i].elem;
	if (e == E_NONE || x->done) {
		fail(x, "element %.32s does not belong there", name);
		return;
	}
	x->stack[x->depth++] = e;
	switch (e) {
	case E_TUNNEL:
		start_tunnel(x, attrs, nattrs);
		break;
	case E_CLIENT:
		start_endpoint(x, &x->t->client, "client");
		break;
	case E_SERVER:
		start_endpoint(x, &x->t->server, "server");
		break;
	case E_BROKER:
		if (x->t->nbrokers == TSP_BROKERS)
			fail(x, "more than %d brokers", TSP_BROKERS);
		else
			x->t->nbrokers++;
		break;
	case E_KEEPALIVE:
		start_keepalive(x, attrs, nattrs);
		break;
	case E_ADDRESS:
		start_address(x, attrs, nattrs);
		break;
	default:
		break;
	}
}

static void
on_end(void *arg, const xmlChar *name, const xmlChar *prefix,
    const xmlChar *uri)
{
	struct xml_ctx *x = arg;
	enum elem e;

	(void)name;
	(void)prefix;
	(void)uri;
	if (x->failed || x->depth == 0)
		return;
	e = x->stack[--x->depth];
	if (e == E_ADDRESS) {
		x->text[x->text_len] = '\0';
		address_end(x);
	}
	if (x->depth == 0)
		x->done = 1;
}

/* Space is dropped, also within: the documents break lines there. */
static void
on_text(void *arg, const xmlChar *ch, int len)
{
	struct xml_ctx *x = arg;
	enum elem e = x->depth > 0 ? x->stack[x->depth - 1] : E_NONE;
	int i;

	for (i = 0; i < len && !x->failed; i++) {
		if (isspace(ch[i]))
			continue;
		if (e == E_PREFIX)
			continue;
		if (e != E_ADDRESS)
			fail(x, "text where none belongs");
		else if (x->text_len + 1 >= sizeof(x->text))
			fail(x, "address of more than %d octets",
			    TEXT_MAX - 1);
		else
			x->text[x->text_len++] = (char)ch[i];
	}
}

static void
on_doctype(void *arg, const xmlChar *name, const xmlChar *id,
    const xmlChar *sys)
{
	(void)name;
	(void)id;
	(void)sys;
	fail(arg, "DOCTYPE is not allowed");
}

static void
on_cdata(void *arg, const xmlChar *value, int len)
{
	(void)value;
	(void)len;
	fail(arg, "CDATA is not allowed");
}

static void
on_reference(void *arg, const xmlChar *name)
{
	(void)name;
	fail(arg, "entity reference is not allowed");
}

static void
on_pi(void *arg, const xmlChar *target, const xmlChar *data)
{
	(void)target;
	(void)data;
	fail(arg, "processing instruction is not allowed");
}

static void
on_error(void *arg, xmlErrorPtr e)
{
	struct xml_ctx *x = arg;

	if (e != NULL && e->level >= XML_ERR_ERROR && x->ctxt != NULL)
		fail(x, "not well-formed: %.60s",
		    e->message != NULL ? e->message : "error");
}

static xmlParserInputPtr
no_entities(const char *url, const char *id, xmlParserCtxtPtr ctxt)
{
	(void)url;
	(void)id;
	(void)ctxt;
	return (NULL);
}

static void
no_output(void *arg, const char *fmt, ...)
{
	(void)arg;
	(void)fmt;
}

static void
new_context(struct xml_ctx *x)
{
	xmlSAXHandler sax;

	memset(&sax, 0, sizeof(sax));
	sax.initialized = XML_SAX2_MAGIC;
	sax.startElementNs = on_start;
	sax.endElementNs = on_end;
	sax.characters = on_text;
	sax.ignorableWhitespace = on_text;
	sax.cdataBlock = on_cdata;
	sax.reference = on_reference;
	sax.processingInstruction = on_pi;
	sax.internalSubset = on_doctype;
	sax.serror = on_error;
	if ((x->ctxt = xmlNewParserCtxt()) == NULL)
		fatal(NULL);
	*x->ctxt->sax = sax;
	x->ctxt->userData = x;
}

struct xml_ctx *
xml_new(void)
{
	struct xml_ctx *x;

	xmlInitParser();
	xmlSetExternalEntityLoader(no_entities);
	xmlSetGenericErrorFunc(NULL, no_output);
	if ((x = calloc(1, sizeof(*x))) == NULL)
		fatal(NULL);
	new_context(x);
	return (x);
}

void
xml_free(struct xml_ctx *x)
{
	if (x == NULL)
		return;
	xmlFreeParserCtxt(x->ctxt);
	free(x);
}

/* What libxml2 would also read, in its own way: only UTF-8 is spoken. */
static const char *
not_utf8_text(const uint8_t *buf, size_t len)
{
	if (memchr(buf, '\0', len) != NULL)
		return ("NUL in a message, or not UTF-8");
	if (len >= 2 && ((buf[0] == 0xfe && buf[1] == 0xff) ||
	    (buf[0] == 0xff && buf[1] == 0xfe)))
		return ("UTF-16 is not spoken here");
	if (len >= 4 && memcmp(buf, "\x4c\x6f\xa7\x94", 4) == 0)
		return ("EBCDIC is not spoken here");
	return (NULL);
}

int
xml_parse(struct xml_ctx *x, const uint8_t *buf, size_t len,
    struct tsp_tunnel *t, char *err, size_t errlen)
{
	const char *why;

	memset(t, 0, sizeof(*t));
	x->t = t;
	x->depth = x->elements = x->done = x->failed = 0;
	x->text_len = 0;
	if (len == 0 || len > TSP_BODY_MAX) {
		strlcpy(err, "empty, or too long", errlen);
		return (-1);
	}
	if ((why = not_utf8_text(buf, len)) != NULL) {
		strlcpy(err, why, errlen);
		return (-1);
	}
	/* It keeps all names that it has ever seen, and slows down with them. */
	if (xmlDictSize(x->ctxt->dict) > DICT_MAX) {
		xmlFreeParserCtxt(x->ctxt);
		new_context(x);
	}
	/* With user data that is not the context, SAX alone: no document. */
	(void)xmlCtxtReadMemory(x->ctxt, (const char *)buf, (int)len, NULL,
	    "UTF-8", XML_PARSE_IGNORE_ENC | XML_PARSE_NONET |
	    XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
	if (!x->failed && (!x->ctxt->wellFormed || !x->done))
		fail(x, "not well-formed");
	if (x->failed) {
		strlcpy(err, x->error, errlen);
		memset(t, 0, sizeof(*t));
		return (-1);
	}
	return (0);
}
