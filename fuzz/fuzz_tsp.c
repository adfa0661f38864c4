/* TSP: lines, frames, and the words in them. */
/* COVERS: session/tsp.c */
/* LINK: session/tsp.o session/emit.o libdstmd.a */
#include <stdlib.h>
#include <string.h>

#include "fuzz/fuzz.h"
#include "session/session.h"

enum { LINES, FRAMES, NMODE };

void
fuzz_init(void)
{
}

static void
within(const uint8_t *p, size_t n, const uint8_t *buf, size_t len)
{
	MUST(p >= buf && p <= buf + len && n <= (size_t)(buf + len - p));
}

/* A copy of that size: who reads behind it is caught. */
static uint8_t *
copy_of(const uint8_t *p, size_t n)
{
	uint8_t *copy;

	if ((copy = malloc(n > 0 ? n : 1)) == NULL)
		abort();
	if (n > 0)
		memcpy(copy, p, n);
	return (copy);
}

static void
base64(const uint8_t *p, size_t n)
{
	uint8_t out[SASL_BLOB_MAX];
	char again[TSP_LINE_MAX + 16];
	size_t len;
	int r;

	if (tsp_base64_decode(p, n, out, sizeof(out), &len) == -1)
		return;
	MUST(len <= sizeof(out));
	/* there is one text for each value */
	r = tsp_base64_line(out, len, again, sizeof(again));
	if (r == -1)
		return;
	MUST((size_t)r == n + 2);
	MUST(memcmp(again, p, n) == 0);
}

static void
words(const uint8_t *line, size_t n)
{
	static const uint32_t mechs[] = { MECH_ANONYMOUS, MECH_SCRAM_SHA_256,
	    MECH_DIGEST_MD5, MECH_PLAIN, MECH_GSSAPI, MECH_CALL };
	uint8_t *p = copy_of(line, n), out[SASL_BLOB_MAX];
	uint32_t mech = 0;
	size_t i, len;
	int r;

	(void)tsp_version(p, n);
	if (tsp_authenticate(p, n, &mech) == 0)
		MUST(mech == 0 || mech_name(mech) != NULL);
	(void)tsp_capability(p, n, &mech);
	r = tsp_status_line(p, n);
	MUST(r == -1 || (r >= 200 && r <= 1999));
	base64(p, n);
	for (i = 0; i < sizeof(mechs) / sizeof(mechs[0]); i++) {
		len = 0;
		if (tsp_sasl_decode(mechs[i], p, n, out, sizeof(out),
		    &len) == 0)
			MUST(len <= sizeof(out));
	}
	free(p);
}

/* Less of what was whole is not whole, and not bad either. */
static void
less(int (*f)(const uint8_t *, size_t, const uint8_t **, size_t *),
    const uint8_t *buf, size_t used)
{
	const uint8_t *p;
	size_t n, cut[2] = { used - 1, used / 2 };
	uint8_t *copy;
	int i;

	for (i = 0; i < 2; i++) {
		copy = copy_of(buf, cut[i]);
		MUST(f(copy, cut[i], &p, &n) == TSP_AGAIN);
		free(copy);
	}
}

static void
reply(const uint8_t *body, size_t n)
{
	uint8_t *p = copy_of(body, n);
	const uint8_t *xml = NULL;
	size_t len = 0;
	int code = 0;

	if (tsp_reply(p, n, &code, &xml, &len) == 0) {
		MUST(code >= 200 && code <= 1999);
		if (len > 0)
			within(xml, len, p, n);
	}
	free(p);
}

void
fuzz_one(const uint8_t *buf, size_t len)
{
	struct input in = { buf, len };
	const uint8_t *p;
	size_t skip, n;
	int frames = input_number(&in, 1) % NMODE == FRAMES, r;

	while (in.n > 0) {
		skip = tsp_skip(in.p, in.n);
		MUST(skip <= in.n);
		in.p += skip;
		in.n -= skip;
		r = frames ? tsp_frame(in.p, in.n, &p, &n) :
		    tsp_line(in.p, in.n, &p, &n);
		if (r == TSP_AGAIN || r == TSP_BAD)
			break;
		MUST(r > 0 && (size_t)r <= in.n);
		within(p, n, in.p, (size_t)r);
		less(frames ? tsp_frame : tsp_line, in.p, (size_t)r);
		if (frames) {
			MUST(n >= 1 && n <= TSP_BODY_MAX);
			reply(p, n);
		} else {
			MUST(r <= TSP_LINE_MAX);
			words(p, n);
		}
		in.p += r;
		in.n -= (size_t)r;
	}
}
