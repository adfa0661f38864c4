#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "dstmctl/dstmctl.h"

#define COUNT(a)	(sizeof(a) / sizeof((a)[0]))

static const char *
word(const char *const *words, size_t n, uint32_t value)
{
	if (value >= n || words[value] == NULL)
		return ("unknown");
	return (words[value]);
}

const char *
word_state(uint32_t state)
{
	static const char *const words[] = {
		[CTL_RESERVED] = "reserved",
		[CTL_BOUND] = "bound",
		[CTL_CLOSING] = "closing",
		[CTL_QUARANTINE] = "quarantine",
	};

	return (word(words, COUNT(words), state));
}

const char *
word_node_state(uint32_t state)
{
	static const char *const words[] = {
		[CTL_NODE_DOWN] = "down",
		[CTL_NODE_IDLE] = "idle",
		[CTL_NODE_ASKING] = "asking",
		[CTL_NODE_BOUND] = "bound",
		[CTL_NODE_RELEASING] = "releasing",
	};

	return (word(words, COUNT(words), state));
}

const char *
word_life(uint32_t life)
{
	static const char *const words[] = {
		[CTL_TEP_UNWATCHED] = "unwatched",
		[CTL_TEP_UNKNOWN] = "unknown",
		[CTL_TEP_ANSWERS] = "answers",
		[CTL_TEP_SILENT] = "silent",
	};

	return (word(words, COUNT(words), life));
}

const char *
word_role(uint32_t role)
{
	static const char *const words[] = {
		[ROLE_SERVER] = "server",
		[ROLE_TEP] = "tep",
		[ROLE_NODE] = "node",
	};

	return (word(words, COUNT(words), role));
}

const char *
word_kind(uint32_t kind)
{
	static const char *const words[] = {
		[CONN_ACCEPTED] = "client",
		[CONN_TO_TEP] = "to-tep",
		[CONN_TO_SERVER] = "to-server",
		[CONN_TO_NODE] = "to-node",
	};

	return (word(words, COUNT(words), kind));
}

const char *
word_drain(uint32_t drain)
{
	static const char *const words[] = {
		[DRAIN_OFF] = "no", [DRAIN_NEW] = "new", [DRAIN_ALL] = "all",
	};

	return (word(words, COUNT(words), drain));
}

const char *
word_drop(uint32_t reason)
{
	static const char *const words[DROP_NREASON] = {
		[DROP_INNER_SOURCE] = "inner_source",
		[DROP_OUTER_SOURCE] = "outer_source",
		[DROP_NO_LEASE] = "no_lease",
		[DROP_MALFORMED] = "malformed",
		[DROP_ECN] = "ecn",
		[DROP_QUEUE] = "queue",
		[DROP_EXPIRED] = "expired",
		[DROP_MARTIAN] = "martian",
		[DROP_TOO_BIG] = "too_big",
		[DROP_RATE] = "rate",
	};

	return (word(words, COUNT(words), reason));
}

const char *
word_name(const char *name, size_t size)
{
	static char text[WORD_SIZE];
	size_t i;

	if (size > sizeof(text))
		size = sizeof(text);
	memcpy(text, name, size);
	text[size - 1] = '\0';
	for (i = 0; text[i] != '\0'; i++)
		if (text[i] < ' ' || text[i] > '~')
			text[i] = '?';
	return (i > 0 ? text : NULL);
}

const char *
short_time(char *buf, int64_t s)
{
	if (s < 0)
		strlcpy(buf, "-", SHORT_SIZE);
	else if (s < 60)
		snprintf(buf, SHORT_SIZE, "%" PRId64 "s", s);
	else if (s < 3600)
		snprintf(buf, SHORT_SIZE, "%" PRId64 "m%02" PRId64 "s", s / 60,
		    s % 60);
	else if (s < 86400)
		snprintf(buf, SHORT_SIZE, "%" PRId64 "h%02" PRId64 "m",
		    s / 3600, s / 60 % 60);
	else
		snprintf(buf, SHORT_SIZE, "%" PRId64 "d%02" PRId64 "h",
		    s / 86400, s / 3600 % 24);
	return (buf);
}

const char *
short_octets(char *buf, uint64_t n)
{
	static const char units[] = "KMGTPE";
	uint64_t tenths, unit = 1024;
	size_t i = 0;

	if (n < unit) {
		snprintf(buf, SHORT_SIZE, "%" PRIu64, n);
		return (buf);
	}
	while (n / unit >= 1024) {
		unit *= 1024;
		i++;
	}
	tenths = n % unit / (unit / 1024) * 10 / 1024;
	if (n / unit < 10)
		snprintf(buf, SHORT_SIZE, "%" PRIu64 ".%" PRIu64 "%c",
		    n / unit, tenths, units[i]);
	else
		snprintf(buf, SHORT_SIZE, "%" PRIu64 "%c", n / unit, units[i]);
	return (buf);
}
