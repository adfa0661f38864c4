/*
 * What one peer may do: connections, failed logins, requests.
 *
 * A source is remembered while it has connections, or has taken more than its
 * time has given it. That takes as much of our time, so that there are not
 * many; beyond SPARE_MAX the longest gone is forgotten.
 */
#include <sys/types.h>
#include <sys/tree.h>

#include <stdlib.h>
#include <string.h>

#include "session/session-int.h"

#define SPARE_MAX	65536
#define SPARE_LOOKS	4		/* at each new source, for old ones */
#define SECOND		1000
#define MINUTE		60000

struct source {
	RB_ENTRY(source)	 entry;
	TAILQ_ENTRY(source)	 spare;		/* without connections */
	struct in6_addr		 prefix;
	uint32_t		 count;		/* its connections */
	/* Until then it has taken its turns, ms, or of requests us. */
	int64_t			 turns, failures, requests;
};
RB_HEAD(source_tree, source);
TAILQ_HEAD(source_list, source);

static struct source_tree	 sources = RB_INITIALIZER(&sources);
static struct source_list	 spares = TAILQ_HEAD_INITIALIZER(spares);
static uint32_t			 nspares;

static int
source_cmp(const struct source *a, const struct source *b)
{
	return (memcmp(&a->prefix, &b->prefix, sizeof(a->prefix)));
}

RB_PROTOTYPE(source_tree, source, entry, source_cmp)
RB_GENERATE(source_tree, source, entry, source_cmp)

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

static void
spare_add(struct source *s)
{
	TAILQ_INSERT_TAIL(&spares, s, spare);
	nspares++;
}

static void
spare_remove(struct source *s)
{
	TAILQ_REMOVE(&spares, s, spare);
	nspares--;
}

/* Forgets some that owe nothing any more, and one where there are too many. */
static void
tidy(void)
{
	int64_t now = now_ms();
	struct source *s;
	int i;

	for (i = 0; i < SPARE_LOOKS && (s = TAILQ_FIRST(&spares)) != NULL;
	    i++) {
		spare_remove(s);
		if (nspares < SPARE_MAX && (s->turns > now ||
		    s->failures > now || s->requests > now * 1000)) {
			spare_add(s);
			continue;
		}
		RB_REMOVE(source_tree, &sources, s);
		free(s);
	}
}

struct source *
source_of(const struct in6_addr *addr)
{
	struct source key, *s;

	key.prefix = prefix_of(addr);
	if ((s = RB_FIND(source_tree, &sources, &key)) != NULL)
		return (s);
	tidy();
	if ((s = calloc(1, sizeof(*s))) == NULL)
		fatal(NULL);
	s->prefix = key.prefix;
	RB_INSERT(source_tree, &sources, s);
	spare_add(s);
	return (s);
}

uint32_t
source_count(const struct source *s)
{
	return (s->count);
}

void
source_enter(struct source *s)
{
	if (s->count++ == 0)
		spare_remove(s);
	session.naccepted++;
}

void
source_leave(struct source *s)
{
	if (--s->count == 0)
		spare_add(s);
	session.naccepted--;
}

/*
 * Turns are a second divided by the rate apart, and a second of them may be
 * taken at once.
 */
int64_t
source_turn(struct source *s)
{
	int64_t now = now_ms(), wait;

	if (s->turns < now)
		s->turns = now;
	wait = s->turns - now - SECOND;
	if (wait > HOLD_MAX)
		return (-1);
	s->turns += SECOND / session.conf.source_rate;
	return (wait > 0 ? wait : 0);
}

void
source_failed(struct source *s)
{
	int64_t now = now_ms();

	if (s->failures < now)
		s->failures = now;
	s->failures += MINUTE / session.conf.auth_failures;
	if (s->failures > now + MINUTE)
		s->failures = now + MINUTE;
}

int
source_locked(const struct source *s)
{
	return (s->failures + MINUTE / session.conf.auth_failures >
	    now_ms() + MINUTE);
}

int64_t
source_request(struct source *s)
{
	int64_t now = now_ms() * 1000, turn;

	if (s->requests < now)
		s->requests = now;
	turn = s->requests / 1000 - SECOND;
	if (turn > now / 1000 + HOLD_MAX)
		return (-1);
	s->requests += 1000000 / session.conf.request_rate;
	return (turn);
}
