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

int
in6_usable(const struct in6_addr *addr)
{
	struct in6_addr low, mapped;

	memset(&low, 0, sizeof(low));
	memset(&mapped, 0, sizeof(mapped));
	mapped.s6_addr[10] = mapped.s6_addr[11] = 0xff;
	/* ::/96 holds ::, ::1 and the IPv4-compatible ones. */
	if (in6_match(addr, &low, 96) || in6_match(addr, &mapped, 96))
		return (0);
	/* ff00::/8, fe80::/10, fec0::/10 */
	if (addr->s6_addr[0] == 0xff)
		return (0);
	return (addr->s6_addr[0] != 0xfe || addr->s6_addr[1] < 0x80);
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
