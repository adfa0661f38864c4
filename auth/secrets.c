#include <sys/types.h>
#include <sys/queue.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/auth.h"

#define MAGIC		"SCRAM-SHA-256$"
#define MAGIC_DIGEST	"DIGEST-MD5$"
#define SALT_SIZE	16
#define KEY_SIZE	32
#define BASE64		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" \
			"0123456789+/="

struct secret {
	SLIST_ENTRY(secret)	 entry;
	char			 name[NAME_SIZE];
	char			 key[SECRET_SIZE];	/* "": none */
	uint8_t			 ha1[HA1_SIZE];
	int			 has_ha1;
};
SLIST_HEAD(secret_list, secret);

struct secrets {
	struct secret_list	*buckets;
	size_t			 nbuckets, count;
	uint8_t			 seed[SEED_SIZE];
	char			 realm[NAME_SIZE];
};

static size_t
hash(const struct secrets *s, const char *name)
{
	uint64_t h;

	memcpy(&h, s->seed, sizeof(h));
	for (; *name != '\0'; name++)
		h = (h ^ (uint8_t)*name) * 0x100000001b3ULL;
	return ((h ^ h >> 32) & (s->nbuckets - 1));
}

static struct secret *
find(const struct secrets *s, const char *name)
{
	struct secret *e;

	SLIST_FOREACH(e, &s->buckets[hash(s, name)], entry)
		if (strcmp(e->name, name) == 0)
			return (e);
	return (NULL);
}

/* Of so many octets, and as we write it: OpenSSL lets blanks pass. */
static int
base64_of(const char *p, size_t len, size_t octets)
{
	uint8_t out[64];
	int n;

	if (len != (octets + 2) / 3 * 4 || len > sizeof(out) ||
	    strspn(p, BASE64) < len)
		return (-1);
	if ((n = EVP_DecodeBlock(out, (const uint8_t *)p, (int)len)) == -1)
		return (-1);
	explicit_bzero(out, sizeof(out));
	while (len > 0 && p[len - 1] == '=') {
		len--;
		n--;
	}
	return ((size_t)n == octets ? 0 : -1);
}

/*
 * SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey, with the iterations and
 * the length of salt that unknown users show: others would tell who is known.
 */
static int
key_valid(const char *key)
{
	const char *salt, *stored, *server;
	char start[sizeof(MAGIC) + 16];

	snprintf(start, sizeof(start), "%s%d:", MAGIC, ITERATIONS);
	if (strncmp(key, start, strlen(start)) != 0)
		return (0);
	salt = key + strlen(start);
	if ((stored = strchr(salt, '$')) == NULL ||
	    (server = strchr(stored, ':')) == NULL)
		return (0);
	return (base64_of(salt, (size_t)(stored - salt), SALT_SIZE) == 0 &&
	    base64_of(stored + 1, (size_t)(server - stored - 1), KEY_SIZE) ==
	    0 && base64_of(server + 1, strlen(server + 1), KEY_SIZE) == 0);
}

/* 32 hexadecimal digits */
static int
ha1_parse(const char *hex, uint8_t *out)
{
	static const char digits[] = "0123456789abcdef";
	const char *d;
	size_t i;

	if (strlen(hex) != 2 * HA1_SIZE)
		return (-1);
	memset(out, 0, HA1_SIZE);
	for (i = 0; i < 2 * HA1_SIZE; i++) {
		if ((d = strchr(digits, hex[i])) == NULL)
			return (-1);
		out[i / 2] = (uint8_t)(out[i / 2] << 4 | (d - digits));
	}
	return (0);
}

static struct secret *
entry_of(struct secrets *s, const char *name)
{
	struct secret *e;

	if ((e = find(s, name)) != NULL)
		return (e);
	if ((e = calloc(1, sizeof(*e))) == NULL)
		fatal(NULL);
	strlcpy(e->name, name, sizeof(e->name));
	SLIST_INSERT_HEAD(&s->buckets[hash(s, name)], e, entry);
	s->count++;
	return (e);
}

/* NULL, or what is wrong with the key of a name. */
static const char *
add_key(struct secrets *s, const char *name, const char *key)
{
	uint8_t ha1[HA1_SIZE];
	struct secret *e;

	if (strncmp(key, MAGIC_DIGEST, sizeof(MAGIC_DIGEST) - 1) == 0) {
		if (ha1_parse(key + sizeof(MAGIC_DIGEST) - 1, ha1) == -1)
			return ("not a DIGEST-MD5 stored key");
		if (s->realm[0] == '\0')
			return ("a DIGEST-MD5 key, but no !realm line");
		if ((e = entry_of(s, name))->has_ha1)
			return ("a second DIGEST-MD5 key of this name");
		memcpy(e->ha1, ha1, sizeof(e->ha1));
		e->has_ha1 = 1;
		explicit_bzero(ha1, sizeof(ha1));
		return (NULL);
	}
	if (strlen(key) >= SECRET_SIZE || !key_valid(key))
		return ("not a SCRAM-SHA-256 stored key (of 4096 iterations "
		    "and 16 octets of salt, as dstmctl passwd makes)");
	if ((e = entry_of(s, name))->key[0] != '\0')
		return ("a second key of this name");
	strlcpy(e->key, key, sizeof(e->key));
	return (NULL);
}

/* NULL, or what is wrong with a line. */
static const char *
add_line(struct secrets *s, const char *line)
{
	const char *colon = strchr(line, ':');
	char name[NAME_SIZE];
	size_t len;

	if (colon == NULL)
		return ("no colon");
	len = (size_t)(colon - line);
	if (len == 0 || len >= sizeof(name))
		return ("no name, or too long");
	memcpy(name, line, len);
	name[len] = '\0';
	if (!name_valid(name))
		return ("not a name");
	return (add_key(s, name, colon + 1));
}

/* The rest of the first line that begins with tag: its length, or 0. */
static size_t
find_line(const char *text, size_t len, const char *tag, const char **value)
{
	const char *p = text, *end = text + len, *nl;
	size_t n = strlen(tag);

	for (; p < end; p = nl + 1) {
		if ((nl = memchr(p, '\n', (size_t)(end - p))) == NULL)
			nl = end;
		if ((size_t)(nl - p) > n && memcmp(p, tag, n) == 0) {
			*value = p + n;
			return ((size_t)(nl - p) - n);
		}
	}
	return (0);
}

/* It must be known before the first name is hashed. */
static void
find_seed(struct secrets *s, const char *text, size_t len)
{
	uint8_t out[64];
	const char *p;

	arc4random_buf(s->seed, sizeof(s->seed));
	if (find_line(text, len, "!seed:", &p) != 44 ||
	    base64_of(p, 44, SEED_SIZE) == -1) {
		log_warnx("secrets: no !seed line: who exists can be told "
		    "after a restart; \"dstmctl passwd\" adds one");
		return;
	}
	(void)EVP_DecodeBlock(out, (const uint8_t *)p, 44);
	memcpy(s->seed, out, sizeof(s->seed));
	explicit_bzero(out, sizeof(out));
}

static void
find_realm(struct secrets *s, const char *text, size_t len)
{
	const char *p;
	size_t n;

	if ((n = find_line(text, len, "!realm:", &p)) == 0)
		return;
	if (n < sizeof(s->realm))
		memcpy(s->realm, p, n);
	if (n >= sizeof(s->realm) || strlen(s->realm) != n ||
	    !realm_valid(s->realm)) {
		log_warnx("secrets: a !realm line that is none: skipped");
		s->realm[0] = '\0';
	}
}

struct secrets *
secrets_parse(const char *text, size_t len)
{
	const char *p = text, *end = text + len, *nl, *why;
	char line[SECRET_SIZE + NAME_SIZE + 2];
	struct secrets *s;
	unsigned int number = 0;
	size_t n;

	if (len > SECRETS_MAX || (s = calloc(1, sizeof(*s))) == NULL)
		return (NULL);
	for (s->nbuckets = 64; s->nbuckets < len / 128; s->nbuckets *= 2)
		;
	if ((s->buckets = calloc(s->nbuckets, sizeof(*s->buckets))) == NULL)
		fatal(NULL);
	find_seed(s, text, len);
	find_realm(s, text, len);
	for (; p < end; p = nl + 1) {
		if ((nl = memchr(p, '\n', (size_t)(end - p))) == NULL)
			nl = end;
		number++;
		n = (size_t)(nl - p);
		if (n == 0 || *p == '#' || *p == '!')
			continue;
		if (n >= sizeof(line) || memchr(p, '\0', n) != NULL)
			why = "too long, or not text";
		else {
			memcpy(line, p, n);
			line[n] = '\0';
			why = add_line(s, line);
		}
		if (why != NULL)
			log_warnx("secrets, line %u: %s: skipped", number,
			    why);
	}
	explicit_bzero(line, sizeof(line));
	return (s);
}

void
secrets_free(struct secrets *s)
{
	struct secret *e;
	size_t i;

	if (s == NULL)
		return;
	for (i = 0; i < s->nbuckets; i++)
		while ((e = SLIST_FIRST(&s->buckets[i])) != NULL) {
			SLIST_REMOVE_HEAD(&s->buckets[i], entry);
			freezero(e, sizeof(*e));
		}
	free(s->buckets);
	freezero(s, sizeof(*s));
}

size_t
secrets_count(const struct secrets *s)
{
	return (s->count);
}

static void
derive(const struct secrets *s, char what, const char *name, uint8_t *out)
{
	char text[NAME_SIZE + 2];
	unsigned int len = KEY_SIZE;

	snprintf(text, sizeof(text), "%c%s", what, name);
	if (HMAC(EVP_sha256(), s->seed, SEED_SIZE, (const uint8_t *)text,
	    strlen(text), out, &len) == NULL)
		fatalx("HMAC");
}

/* The fake is made for everybody, so that it takes everybody's time. */
void
secrets_get(const struct secrets *s, const char *name, char *buf, size_t size)
{
	uint8_t salt[KEY_SIZE], stored[KEY_SIZE], server[KEY_SIZE];
	char salt64[64], stored64[64], server64[64];
	const struct secret *e;

	derive(s, 's', name, salt);
	derive(s, 'k', name, stored);
	derive(s, 'v', name, server);
	EVP_EncodeBlock((uint8_t *)salt64, salt, SALT_SIZE);
	EVP_EncodeBlock((uint8_t *)stored64, stored, KEY_SIZE);
	EVP_EncodeBlock((uint8_t *)server64, server, KEY_SIZE);
	snprintf(buf, size, "%s%d:%s$%s:%s", MAGIC, ITERATIONS, salt64,
	    stored64, server64);
	if ((e = find(s, name)) != NULL && e->key[0] != '\0')
		strlcpy(buf, e->key, size);
	explicit_bzero(stored, sizeof(stored));
	explicit_bzero(server, sizeof(server));
}

void
secrets_ha1(const struct secrets *s, const char *name, uint8_t *out)
{
	uint8_t fake[KEY_SIZE];
	const struct secret *e;

	derive(s, 'd', name, fake);
	memcpy(out, fake, HA1_SIZE);
	if ((e = find(s, name)) != NULL && e->has_ha1)
		memcpy(out, e->ha1, HA1_SIZE);
	explicit_bzero(fake, sizeof(fake));
}

const char *
secrets_realm(const struct secrets *s)
{
	return (s->realm);
}

/*
 * Makes the key of the password anew and compares: work of milliseconds
 * (RFC 7677's iterations), the same for a name that is unknown.
 */
int
secrets_check(const struct secrets *s, const char *name, const char *password)
{
	char key[SECRET_SIZE], made[SECRET_SIZE];
	uint8_t salt[64];
	const char *p, *end;
	size_t n, pad;
	int ok;

	secrets_get(s, name, key, sizeof(key));
	memset(made, 0, sizeof(made));
	p = strchr(key, ':') + 1;
	end = strchr(p, '$');
	n = (size_t)(end - p) / 4 * 3;
	for (pad = 0; end[-1 - (ssize_t)pad] == '='; pad++)
		;
	ok = EVP_DecodeBlock(salt, (const uint8_t *)p, (int)(end - p)) != -1 &&
	    scram_make(password, (uint32_t)strtoul(key + sizeof(MAGIC) - 1,
	    NULL, 10), salt, n - pad, made, sizeof(made)) == 0 &&
	    strlen(made) == strlen(key) &&
	    CRYPTO_memcmp(made, key, strlen(key)) == 0;
	explicit_bzero(key, sizeof(key));
	explicit_bzero(made, sizeof(made));
	return (ok);
}
