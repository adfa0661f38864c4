/* Reading TSP: lines, frames, status codes. Pure functions. */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "session/session.h"

#define DIGITS_MAX	6	/* of a Content-length */
#define HEADER_MAX	64	/* octets of its line, with the end */

size_t
tsp_skip(const uint8_t *buf, size_t len)
{
	size_t n;

	for (n = 0; n < len && buf[n] == '\0'; n++)
		;
	return (n);
}

int
tsp_line(const uint8_t *buf, size_t len, const uint8_t **start, size_t *n)
{
	const uint8_t *lf;
	size_t max = len < TSP_LINE_MAX ? len : TSP_LINE_MAX;

	if ((lf = memchr(buf, '\n', max)) == NULL)
		return (len >= TSP_LINE_MAX ? TSP_BAD : TSP_AGAIN);
	*start = buf;
	*n = (size_t)(lf - buf);
	if (*n > 0 && buf[*n - 1] == '\r')
		(*n)--;
	if (memchr(buf, '\r', *n) != NULL)
		return (TSP_BAD);
	return ((int)(lf - buf) + 1);
}

static int
has_prefix(const uint8_t *line, size_t len, const char *prefix)
{
	size_t n = strlen(prefix);

	return (len >= n && strncasecmp((const char *)line, prefix, n) == 0);
}

static int
is(const uint8_t *p, size_t len, const char *word)
{
	return (len == strlen(word) && memcmp(p, word, len) == 0);
}

enum tsp_dialect
tsp_version(const uint8_t *line, size_t len)
{
	if (!has_prefix(line, len, "VERSION="))
		return (DIALECT_NONE);
	line += 8;
	len -= 8;
	while (len > 0 && line[len - 1] == ' ')
		len--;
	if (is(line, len, "1.0"))
		return (DIALECT_DRAFT);
	if (is(line, len, "2.0.0") || is(line, len, "2.0.1") ||
	    is(line, len, "2.0.2"))
		return (DIALECT_RFC);
	return (DIALECT_NONE);
}

/* The next word of a line: its length, 0 at the end. */
static size_t
next_word(const uint8_t **p, size_t *len)
{
	size_t n;

	while (*len > 0 && **p == ' ') {
		(*p)++;
		(*len)--;
	}
	for (n = 0; n < *len && (*p)[n] != ' '; n++)
		;
	return (n);
}

static uint32_t
word_mech(const uint8_t *p, size_t n)
{
	char name[MECH_SIZE];

	if (n == 0 || n >= sizeof(name) || memchr(p, '\0', n) != NULL)
		return (0);
	memcpy(name, p, n);
	name[n] = '\0';
	return (mech_bit(name));
}

int
tsp_authenticate(const uint8_t *line, size_t len, uint32_t *mech)
{
	size_t n;

	if (!has_prefix(line, len, "AUTHENTICATE "))
		return (-1);
	line += 13;
	len -= 13;
	n = next_word(&line, &len);
	if (n == 0)
		return (-1);
	*mech = word_mech(line, n);
	line += n;
	len -= n;
	if (next_word(&line, &len) != 0)
		return (-1);
	return (0);
}

int
tsp_capability(const uint8_t *line, size_t len, uint32_t *mechs)
{
	int tunnel = 0;
	size_t n;

	*mechs = 0;
	if (!has_prefix(line, len, "CAPABILITY "))
		return (-1);
	line += 11;
	len -= 11;
	while ((n = next_word(&line, &len)) > 0) {
		if (n == 11 && has_prefix(line, n, "TUNNEL=V4V6"))
			tunnel = 1;
		else if (has_prefix(line, n, "AUTH="))
			*mechs |= word_mech(line + 5, n - 5);
		line += n;
		len -= n;
	}
	return (tunnel);
}

int
tsp_status_line(const uint8_t *line, size_t len)
{
	int code = 0;
	size_t i;

	if (is(line, len, "OK") || has_prefix(line, len, "OK "))
		return (STATUS_OK);
	for (i = 0; i < len && i < 4 && isdigit(line[i]); i++)
		code = code * 10 + (line[i] - '0');
	if (i < 3 || (i < len && line[i] != ' ') || code < 200 || code > 1999)
		return (-1);
	return (code);
}

int
tsp_frame(const uint8_t *buf, size_t len, const uint8_t **body, size_t *n)
{
	const uint8_t *line;
	size_t ll, i, size = 0, digits = 0;
	int used;

	if ((used = tsp_line(buf, len, &line, &ll)) == TSP_BAD)
		return (TSP_BAD);
	/*
	 * A header is short: do not wait for what can not be one. The same
	 * whether its end is there already or not: how TCP cuts is chance.
	 */
	if (used > HEADER_MAX || (used == TSP_AGAIN && len >= HEADER_MAX))
		return (TSP_BAD);
	if (used == TSP_AGAIN)
		return (TSP_AGAIN);
	if (!has_prefix(line, ll, "Content-length:"))
		return (TSP_BAD);
	for (i = 15; i < ll && line[i] == ' '; i++)
		;
	for (; i < ll && isdigit(line[i]); i++, digits++)
		size = digits < DIGITS_MAX ? size * 10 + (line[i] - '0') : 0;
	while (i < ll && line[i] == ' ')
		i++;
	if (digits == 0 || digits > DIGITS_MAX || i != ll || size == 0 ||
	    size > TSP_BODY_MAX)
		return (TSP_BAD);
	if (len - (size_t)used < size)
		return (TSP_AGAIN);
	*body = buf + used;
	*n = size;
	return (used + (int)size);
}

static const char b64[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int
b64_value(uint8_t c)
{
	const char *p = c != '\0' ? strchr(b64, c) : NULL;

	return (p != NULL ? (int)(p - b64) : -1);
}

int
tsp_base64_decode(const uint8_t *in, size_t len, uint8_t *out, size_t size,
    size_t *n)
{
	uint32_t v;
	size_t i, k, pad = 0;
	int d;

	*n = 0;
	if (len % 4 != 0)
		return (-1);
	for (; pad < 2 && pad < len && in[len - 1 - pad] == '='; pad++)
		;
	if (len / 4 * 3 - pad > size)
		return (-1);
	for (i = 0; i < len; i += 4) {
		v = 0;
		for (k = 0; k < 4; k++) {
			d = i + k >= len - pad ? 0 : b64_value(in[i + k]);
			if (d == -1)
				return (-1);
			v = v << 6 | (uint32_t)d;
		}
		for (k = 0; k < 3; k++) {
			if (i + 4 == len && k >= 3 - pad) {
				/* no bits may hide behind the end */
				if ((v >> (16 - 8 * k) & 0xff) != 0)
					return (-1);
				continue;
			}
			out[(*n)++] = (uint8_t)(v >> (16 - 8 * k));
		}
	}
	return (0);
}

int
tsp_sasl_decode(uint32_t mech, const uint8_t *in, size_t len, uint8_t *out,
    size_t size, size_t *n)
{
	const uint8_t *nul;

	if (mech != MECH_PLAIN || (nul = memchr(in, '\0', len)) == NULL)
		return (tsp_base64_decode(in, len, out, size, n));
	/* RFC 4616: authzid NUL authcid NUL password; the first may be empty */
	*n = 0;
	if (memchr(nul + 1, '\0', len - (size_t)(nul + 1 - in)) == NULL)
		out[(*n)++] = '\0';
	if (len > size - *n)
		return (-1);
	memcpy(out + *n, in, len);
	*n += len;
	return (0);
}

int
tsp_base64_line(const uint8_t *in, size_t len, char *out, size_t size)
{
	size_t i, n = 0;
	uint32_t v;

	if ((len + 2) / 3 * 4 + 3 > size)
		return (-1);
	for (i = 0; i < len; i += 3) {
		v = (uint32_t)in[i] << 16;
		if (i + 1 < len)
			v |= (uint32_t)in[i + 1] << 8;
		if (i + 2 < len)
			v |= in[i + 2];
		out[n++] = b64[v >> 18];
		out[n++] = b64[v >> 12 & 63];
		out[n++] = i + 1 < len ? b64[v >> 6 & 63] : '=';
		out[n++] = i + 2 < len ? b64[v & 63] : '=';
	}
	out[n++] = '\r';
	out[n++] = '\n';
	out[n] = '\0';
	return ((int)n);
}

int
tsp_reply(const uint8_t *body, size_t len, int *code, const uint8_t **xml,
    size_t *n)
{
	const uint8_t *line;
	size_t ll;
	int used;

	if ((used = tsp_line(body, len, &line, &ll)) <= 0 ||
	    (*code = tsp_status_line(line, ll)) == -1)
		return (-1);
	*xml = body + used;
	*n = len - (size_t)used;
	return (0);
}

const char *
tsp_status_text(enum tsp_status status, enum tsp_dialect dialect)
{
	switch (status) {
	case STATUS_OK:
		return (dialect == DIALECT_DRAFT ? "OK" : "Success");
	case STATUS_AUTH:
		return ("Authentication failed");
	case STATUS_NO_TUNNELS:
		return ("No more tunnels available");
	case STATUS_VERSION:
		return ("Unsupported client version");
	case STATUS_TYPE:
		return ("Unsupported tunnel type");
	case STATUS_EXHAUSTED:
		return ("Address Pool Exhausted");
	case STATUS_TEP:
		return ("Configuration Error at TEP");
	case STATUS_UNAVAILABLE:
		return ("Requested Address Unavailable");
	case STATUS_IPV6:
		return ("Invalid IPv6 address");
	case STATUS_IPV4:
		return ("IPv4 Invalid Address");
	case STATUS_FORMAT:
		return ("Invalid request format");
	case STATUS_PROGRESS:
		return ("Request in progress");
	case STATUS_BUSY:
		return ("System too busy, retry later");
	}
	return ("Error");
}
