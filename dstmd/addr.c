#include <sys/socket.h>

#include <arpa/inet.h>

#include <string.h>

#include "dstmd/dstmd.h"

#define NTEXT	8

static char *
next_text(void)
{
	static char text[NTEXT][INET6_ADDRSTRLEN];
	static unsigned int turn;

	return (text[turn++ % NTEXT]);
}

const char *
log_in(struct in_addr addr)
{
	char *text = next_text();

	if (inet_ntop(AF_INET, &addr, text, INET6_ADDRSTRLEN) == NULL)
		return ("?");
	return (text);
}

const char *
log_in6(const struct in6_addr *addr)
{
	char *text = next_text();

	if (inet_ntop(AF_INET6, addr, text, INET6_ADDRSTRLEN) == NULL)
		return ("?");
	return (text);
}

/*
 * What can not be a node's or a TEP's outer address: what is no unicast, not
 * routed, or IPv4 in disguise, where the packet would leave as IPv4 again.
 */
static const struct {
	struct in6_addr	 prefix;
	int		 len;
} unusable[] = {
	{ { { { 0 } } }, 96 },		/* ::, ::1, IPv4-compatible */
	{ { { { [10] = 0xff, [11] = 0xff } } }, 96 },	/* IPv4-mapped */
	{ { { { 0x00, 0x64, 0xff, 0x9b } } }, 32 },	/* NAT64, RFC 6052, 8215 */
	{ { { { 0x20, 0x01 } } }, 32 },	/* Teredo, RFC 4380 */
	{ { { { 0x20, 0x02 } } }, 16 },	/* 6to4, RFC 3056 */
	{ { { { 0xfe, 0x80 } } }, 9 },	/* link-local and site-local */
	{ { { { 0xff } } }, 8 },	/* multicast */
};

int
in6_usable(const struct in6_addr *addr)
{
	size_t i;

	for (i = 0; i < sizeof(unusable) / sizeof(unusable[0]); i++)
		if (in6_match(addr, &unusable[i].prefix, unusable[i].len))
			return (0);
	return (1);
}

int
in_usable(struct in_addr addr)
{
	uint32_t a = ntohl(addr.s_addr);

	return (a >> 24 != 0 && a >> 24 != 127 && a < 0xe0000000U &&
	    a >> 16 != 0xa9fe);
}

int
in6_match(const struct in6_addr *addr, const struct in6_addr *prefix, int len)
{
	int octets = len / 8, bits = len % 8;
	uint8_t mask;

	if (len < 0 || len > 128)
		return (0);
	if (memcmp(addr, prefix, (size_t)octets) != 0)
		return (0);
	if (bits == 0)
		return (1);
	mask = (uint8_t)(0xff00 >> bits);
	return (((addr->s6_addr[octets] ^ prefix->s6_addr[octets]) & mask)
	    == 0);
}
