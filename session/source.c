/* What one peer may do: connections, failed logins, requests. */
#include <sys/types.h>

#include <stdlib.h>
#include <string.h>

#include "session/session-int.h"

#define SOURCES		4096		/* slots of the hash */
#define SECOND		1000
#define MINUTE		60000

struct source {
	LIST_ENTRY(source)	 entry;
	struct in6_addr		 prefix;
	uint32_t		 count;		/* its connections */
	int64_t			 requested;	/* us: turns are taken until then */
};
LIST_HEAD(source_list, source);

static struct source_list	 sources[SOURCES];
/*
 * By slot, ms: when the next connection has its turn; until when failed
 * logins are paid for. Sources that share a slot, which nobody can aim at,
 * share these.
 */
static int64_t			 turns[SOURCES], failures[SOURCES];

static struct in6_addr
prefix_of(const struct in6_addr *addr)
{
	struct in6_addr prefix;
	uint32_t bits = session.conf.source_prefix, n = bits / 8;

	memset(&prefix, 0, sizeof(prefix));
	if (n >= sizeof(prefix))
		return (*addr);
	memcpy(&prefix, addr, n);
	prefix.s6_addr[n] = addr->s6_addr[n] & (uint8_t)~(0xff >> bits % 8);
	return (prefix);
}

static uint32_t
slot_of(const struct in6_addr *prefix)
{
	static uint32_t seed;
	uint32_t h, word, i;

	if (seed == 0)
		seed = arc4random() | 1;
	for (i = 0, h = seed; i < 4; i++) {
		memcpy(&word, &prefix->s6_addr[4 * i], sizeof(word));
		h = (h ^ word) * 0x9e3779b1U;
		h ^= h >> 15;
	}
	return (h % SOURCES);
}

static struct source *
find(const struct in6_addr *prefix, uint32_t slot)
{
	struct source *s;

	LIST_FOREACH(s, &sources[slot], entry)
		if (IN6_ARE_ADDR_EQUAL(&s->prefix, prefix))
			return (s);
	return (NULL);
}

uint32_t
source_count(const struct in6_addr *addr)
{
	struct in6_addr prefix = prefix_of(addr);
	const struct source *s = find(&prefix, slot_of(&prefix));

	return (s != NULL ? s->count : 0);
}

struct source *
source_enter(const struct in6_addr *addr)
{
	struct in6_addr prefix = prefix_of(addr);
	uint32_t slot = slot_of(&prefix);
	struct source *s;

	if ((s = find(&prefix, slot)) == NULL) {
		if ((s = calloc(1, sizeof(*s))) == NULL)
			fatal(NULL);
		s->prefix = prefix;
		LIST_INSERT_HEAD(&sources[slot], s, entry);
	}
	s->count++;
	session.naccepted++;
	return (s);
}

void
source_leave(struct source *s)
{
	session.naccepted--;
	if (--s->count == 0) {
		LIST_REMOVE(s, entry);
		free(s);
	}
}

/*
 * Turns are a second divided by the rate apart, and a second of them may be
 * taken at once.
 */
int64_t
source_turn(const struct in6_addr *addr)
{
	struct in6_addr prefix = prefix_of(addr);
	int64_t *turn = &turns[slot_of(&prefix)], now = now_ms(), wait;

	if (*turn < now)
		*turn = now;
	wait = *turn - now - SECOND;
	if (wait > HOLD_MAX)
		return (-1);
	*turn += SECOND / session.conf.source_rate;
	return (wait > 0 ? wait : 0);
}

void
source_failed(const struct in6_addr *addr)
{
	struct in6_addr prefix = prefix_of(addr);
	int64_t *until = &failures[slot_of(&prefix)], now = now_ms();

	if (*until < now)
		*until = now;
	*until += MINUTE / session.conf.auth_failures;
}

int
source_locked(const struct in6_addr *addr)
{
	struct in6_addr prefix = prefix_of(addr);
	int64_t more = MINUTE / session.conf.auth_failures;

	return (failures[slot_of(&prefix)] + more > now_ms() + MINUTE);
}

int64_t
source_request(struct source *s)
{
	int64_t now = now_ms() * 1000, turn;

	if (s->requested < now)
		s->requested = now;
	turn = s->requested / 1000 - SECOND;
	s->requested += 1000000 / session.conf.request_rate;
	return (turn);
}
