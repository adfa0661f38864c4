/* By user, in the order of their names: they are looked up one by one. */
#include <stdlib.h>
#include <string.h>

#include "auth/auth.h"

struct call_password {
	char	 name[NAME_SIZE];
	char	 password[PASSWORD_SIZE];
};

struct calls {
	struct call_password	*all;
	size_t			 n;
};

static int
by_name(const void *a, const void *b)
{
	const struct call_password *x = a, *y = b;

	return (strcmp(x->name, y->name));
}

/* NULL, or what is wrong with a line of n octets. */
static const char *
add_line(struct calls *c, const char *line, size_t n)
{
	struct call_password *p = &c->all[c->n];
	const char *colon = memchr(line, ':', n);
	size_t len;

	if (colon == NULL)
		return ("no colon");
	len = (size_t)(colon - line);
	if (len >= sizeof(p->name))
		return ("no name");
	n -= len + 1;
	if (n > 0 && colon[n] == '\r')
		n--;
	if (n == 0 || n >= sizeof(p->password) ||
	    memchr(colon + 1, '\0', n) != NULL)
		return ("no password, or too long");
	memset(p, 0, sizeof(*p));
	memcpy(p->name, line, len);
	memcpy(p->password, colon + 1, n);
	if (!name_valid(p->name))
		return ("no name");
	c->n++;
	return (NULL);
}

/* Of a user's several passwords none is the right one. */
static void
drop_doubles(struct calls *c)
{
	size_t i, j, n = 0;

	for (i = 0; i < c->n; i = j) {
		for (j = i + 1; j < c->n &&
		    by_name(&c->all[i], &c->all[j]) == 0; j++)
			;
		if (j == i + 1)
			c->all[n++] = c->all[i];
		else
			log_warnx("calls: %s is given %zu times: skipped",
			    c->all[i].name, j - i);
	}
	explicit_bzero(&c->all[n], (c->n - n) * sizeof(*c->all));
	c->n = n;
}

struct calls *
calls_parse(const char *text, size_t len)
{
	const char *p, *end = text + len, *nl, *why;
	struct calls *c;
	size_t lines = 1, number = 0;

	if (len > SECRETS_MAX)
		return (NULL);
	for (p = text; p < end; p++)
		lines += *p == '\n';
	if ((c = calloc(1, sizeof(*c))) == NULL ||
	    (c->all = calloc(lines, sizeof(*c->all))) == NULL)
		fatal(NULL);
	for (p = text; p < end; p = nl + 1) {
		if ((nl = memchr(p, '\n', (size_t)(end - p))) == NULL)
			nl = end;
		number++;
		if (nl == p || *p == '#')
			continue;
		if ((why = add_line(c, p, (size_t)(nl - p))) != NULL)
			log_warnx("calls, line %zu: %s: skipped", number, why);
	}
	qsort(c->all, c->n, sizeof(*c->all), by_name);
	drop_doubles(c);
	return (c);
}

void
calls_free(struct calls *c)
{
	if (c == NULL)
		return;
	freezero(c->all, c->n * sizeof(*c->all));
	free(c);
}

static int
name_cmp(const void *name, const void *p)
{
	return (strcmp(name, ((const struct call_password *)p)->name));
}

const char *
calls_get(const struct calls *c, const char *name)
{
	const struct call_password *p;

	if (c == NULL)
		return (NULL);
	p = bsearch(name, c->all, c->n, sizeof(*c->all), name_cmp);
	return (p != NULL ? p->password : NULL);
}

size_t
calls_count(const struct calls *c)
{
	return (c->n);
}
