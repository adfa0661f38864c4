#include <sys/types.h>
#include <sys/stat.h>
#include <sys/queue.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/auth.h"

#define MAGIC		"SCRAM-SHA-256$"
#define SALT_SIZE	16
#define KEY_SIZE	32

struct secret {
	SLIST_ENTRY(secret)	 entry;
	char			 name[NAME_SIZE];
	char			 key[SECRET_SIZE];
};
SLIST_HEAD(secret_list, secret);

struct secrets {
	struct secret_list	*buckets;
	size_t			 nbuckets, count;
	uint8_t			 seed[SEED_SIZE];
	int			 has_seed;
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

static int
base64_of(const char *p, size_t len, size_t octets)
{
	uint8_t out[64];
	int n;

	if (len == 0 || len > 64 || len % 4 != 0)
		return (-1);
	if ((n = EVP_DecodeBlock(out, (const uint8_t *)p, (int)len)) == -1)
		return (-1);
	explicit_bzero(out, sizeof(out));
	while (len > 0 && p[len - 1] == '=') {
		len--;
		n--;
	}
	return (octets == 0 || (size_t)n == octets ? 0 : -1);
}

/* SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey */
static int
key_valid(const char *key)
{
	const char *p = key + sizeof(MAGIC) - 1, *salt, *stored, *server;
	long i;
	char *end;

	if (strncmp(key, MAGIC, sizeof(MAGIC) - 1) != 0)
		return (0);
	i = strtol(p, &end, 10);
	if (*end != ':' || i < ITERATIONS || i > ITERATIONS_MAX)
		return (0);
	salt = end + 1;
	if ((stored = strchr(salt, '$')) == NULL ||
	    (server = strchr(stored, ':')) == NULL)
		return (0);
	return (base64_of(salt, (size_t)(stored - salt), 0) == 0 &&
	    base64_of(stored + 1, (size_t)(server - stored - 1), KEY_SIZE) ==
	    0 && base64_of(server + 1, strlen(server + 1), KEY_SIZE) == 0);
}

/* NULL, or what is wrong with a line. */
static const char *
add_line(struct secrets *s, const char *line)
{
	const char *colon = strchr(line, ':');
	char name[NAME_SIZE];
	struct secret *e;
	size_t len, b;

	if (colon == NULL)
		return ("no colon");
	len = (size_t)(colon - line);
	if (len == 0 || len >= sizeof(name))
		return ("no name, or too long");
	memcpy(name, line, len);
	name[len] = '\0';
	if (!name_valid(name))
		return ("not a name");
	if (strlen(colon + 1) >= SECRET_SIZE || !key_valid(colon + 1))
		return ("not a SCRAM-SHA-256 stored key");
	if (find(s, name) != NULL)
		return ("a second key of this name");
	if ((e = calloc(1, sizeof(*e))) == NULL)
		fatal(NULL);
	strlcpy(e->name, name, sizeof(e->name));
	strlcpy(e->key, colon + 1, sizeof(e->key));
	b = hash(s, name);
	SLIST_INSERT_HEAD(&s->buckets[b], e, entry);
	s->count++;
	return (NULL);
}

/* Where the seed is: it must be known before the first name is hashed. */
static void
find_seed(struct secrets *s, const char *text, size_t len)
{
	static const char tag[] = "!seed:";
	uint8_t out[64];
	const char *p = text, *end = text + len, *nl;
	size_t n;

	arc4random_buf(s->seed, sizeof(s->seed));
	for (; p < end; p = nl + 1) {
		if ((nl = memchr(p, '\n', (size_t)(end - p))) == NULL)
			nl = end;
		n = (size_t)(nl - p);
		if (n != sizeof(tag) - 1 + 44 ||
		    memcmp(p, tag, sizeof(tag) - 1) != 0 ||
		    base64_of(p + sizeof(tag) - 1, 44, SEED_SIZE) == -1)
			continue;
		(void)EVP_DecodeBlock(out,
		    (const uint8_t *)p + sizeof(tag) - 1, 44);
		memcpy(s->seed, out, sizeof(s->seed));
		explicit_bzero(out, sizeof(out));
		s->has_seed = 1;
		return;
	}
	log_warnx("secrets: no !seed line: who exists can be told after a "
	    "restart; \"dstmctl passwd\" adds one");
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

struct secrets *
secrets_read(int fd)
{
	struct secrets *s = NULL;
	struct stat st;
	size_t off = 0;
	ssize_t n;
	char *buf;

	if (fstat(fd, &st) == -1 || st.st_size < 0 ||
	    st.st_size > SECRETS_MAX) {
		log_warnx("secrets: cannot be read, or more than %d octets",
		    SECRETS_MAX);
		return (NULL);
	}
	if ((buf = calloc(1, (size_t)st.st_size + 1)) == NULL)
		fatal(NULL);
	while (off < (size_t)st.st_size && (n = pread(fd, buf + off,
	    (size_t)st.st_size - off, (off_t)off)) > 0)
		off += (size_t)n;
	if (off == (size_t)st.st_size)
		s = secrets_parse(buf, off);
	else
		log_warn("secrets");
	freezero(buf, (size_t)st.st_size + 1);
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
	if ((e = find(s, name)) != NULL)
		strlcpy(buf, e->key, size);
	explicit_bzero(stored, sizeof(stored));
	explicit_bzero(server, sizeof(server));
}
