/*
 * The keytab file of MIT Kerberos, version 2, octets in, entries out: the
 * library reads one by its name alone, and this process has no files.
 */
#include <stdio.h>
#include <string.h>

#include "auth/auth.h"

struct octets {
	const uint8_t	*p;
	size_t		 n;
	int		 bad;		/* it ended too early */
};

static uint32_t
get_number(struct octets *o, size_t size)
{
	uint32_t v = 0;

	if (o->bad || o->n < size) {
		o->bad = 1;
		return (0);
	}
	for (; size > 0; size--, o->n--)
		v = v << 8 | *o->p++;
	return (v);
}

/* A length of 16 bits and so many octets. */
static const uint8_t *
get_octets(struct octets *o, size_t *n)
{
	const uint8_t *p;

	*n = get_number(o, 2);
	if (o->bad || o->n < *n) {
		o->bad = 1;
		*n = 0;
		return (NULL);
	}
	p = o->p;
	o->p += *n;
	o->n -= *n;
	return (p);
}

/* A part of a principal that needs no quoting when it is written. */
static int
get_word(struct octets *o, char *buf, size_t size)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	    "abcdefghijklmnopqrstuvwxyz0123456789._-:";
	const uint8_t *p;
	size_t n;

	if ((p = get_octets(o, &n)) == NULL || n == 0 || n >= size)
		return (-1);
	memcpy(buf, p, n);
	buf[n] = '\0';
	return (strspn(buf, allowed) == n ? 0 : -1);
}

/* 1 it is a key of our service, 0 another's, -1 malformed. */
static int
get_entry(struct octets *o, struct keytab_entry *e)
{
	char realm[KEYTAB_WORD], service[KEYTAB_WORD], host[KEYTAB_WORD];
	const uint8_t *key;
	uint32_t count, vno;
	size_t n;
	int ours;

	memset(e, 0, sizeof(*e));
	count = get_number(o, 2);
	ours = get_word(o, realm, sizeof(realm)) == 0 && count == 2 &&
	    get_word(o, service, sizeof(service)) == 0 &&
	    get_word(o, host, sizeof(host)) == 0 &&
	    strcmp(service, TSP_SERVICE) == 0;
	if (o->bad)
		return (-1);
	if (!ours)
		return (0);
	(void)get_number(o, 4);		/* type of the name */
	(void)get_number(o, 4);		/* time */
	e->vno = get_number(o, 1);
	e->enctype = get_number(o, 2);
	if ((key = get_octets(o, &n)) == NULL || n == 0 ||
	    n > sizeof(e->key))
		return (-1);
	memcpy(e->key, key, n);
	e->key_len = n;
	if (o->n >= 4 && (vno = get_number(o, 4)) != 0)
		e->vno = vno;
	snprintf(e->principal, sizeof(e->principal), "%s/%s@%s", service, host,
	    realm);
	return (1);
}

int
keytab_next(const uint8_t *buf, size_t len, size_t *off,
    struct keytab_entry *e)
{
	struct octets file, entry;
	int32_t size;
	int r;

	if (*off == 0) {
		if (len < 2 || buf[0] != 5 || buf[1] != 2)
			return (-1);
		*off = 2;
	}
	while (*off < len) {
		file = (struct octets){ buf + *off, len - *off, 0 };
		size = (int32_t)get_number(&file, 4);
		/* a hole is as long as its number is negative; 0: the end */
		if (file.bad || size == INT32_MIN ||
		    file.n < (size_t)(size < 0 ? -size : size))
			return (-1);
		if (size == 0)
			break;
		*off += 4 + (size_t)(size < 0 ? -size : size);
		if (size < 0)
			continue;
		entry = (struct octets){ file.p, (size_t)size, 0 };
		if ((r = get_entry(&entry, e)) != 0)
			return (r);
	}
	return (0);
}
