/* Packets: pure functions. Lengths in octets, fields in network order. */
#include <sys/types.h>

#include <arpa/inet.h>

#include <string.h>

#include "tunnel/tunnel.h"

#define FIRST_MULTICAST	224	/* and the broadcast, 255 */
#define ICMP_ECHOREPLY	0	/* RFC 792 */
#define ICMP_UNREACH	3
#define ICMP_QUENCH	4
#define ICMP_REDIRECT	5
#define ICMP_TIMXCEED	11
#define ICMP_PARAMPROB	12
#define MSS_LEAST	64
#define ECN_MASK	3
#define ECN_NOT		0
#define ECN_ECT1	1
#define ECN_CE		3

size_t
ipv4_check(const uint8_t *p, size_t len)
{
	size_t header, total;

	if (len < IPV4_HEADER || p[0] >> 4 != 4)
		return (0);
	header = (size_t)(p[0] & 15) * 4;
	total = get16(p + 2);
	if (header < IPV4_HEADER || total < header || total > len)
		return (0);
	return (total);
}

/* The MSS option of a TCP header, or NULL: none, or malformed options. */
static uint8_t *
find_mss(uint8_t *tcp, size_t len)
{
	size_t i, end = (size_t)(tcp[12] >> 4) * 4;

	if (end < TCP_HEADER || end > len)
		return (NULL);
	for (i = TCP_HEADER; i < end;) {
		if (tcp[i] == TCP_OPT_END)
			return (NULL);
		if (tcp[i] == TCP_OPT_NOP) {
			i++;
			continue;
		}
		if (i + 1 >= end || tcp[i + 1] < 2 || i + tcp[i + 1] > end)
			return (NULL);
		if (tcp[i] == TCP_OPT_MSS)
			return (tcp[i + 1] == 4 ? tcp + i + 2 : NULL);
		i += tcp[i + 1];
	}
	return (NULL);
}

void
ipv4_clamp_mss(uint8_t *p, size_t len, uint32_t mtu)
{
	uint8_t *tcp, *mss;
	uint16_t old, new, a, b;
	size_t header;

	if (len < IPV4_HEADER || p[9] != IPPROTO_TCP ||
	    (get16(p + 6) & IPV4_FRAGMENT) != 0 ||
	    mtu < IPV4_HEADER + TCP_HEADER + MSS_LEAST)
		return;
	header = (size_t)(p[0] & 15) * 4;
	tcp = p + header;
	if (header < IPV4_HEADER || len < header + TCP_HEADER ||
	    (tcp[13] & TCP_SYN) == 0)
		return;
	if ((mss = find_mss(tcp, len - header)) == NULL)
		return;
	old = get16(mss);
	mtu -= IPV4_HEADER + TCP_HEADER;
	new = (uint16_t)(mtu > 0xffff ? 0xffff : mtu);
	if (old <= new)
		return;
	put16(mss, new);
	if ((mss - tcp) % 2 == 0) {
		sum_fix(tcp + 16, old, new);
		return;
	}
	/* At an odd offset its octets are in two words of the sum. */
	a = (uint16_t)(old << 8 | old >> 8);
	b = (uint16_t)(new << 8 | new >> 8);
	sum_fix(tcp + 16, a, b);
}

/* What one host says of another's packet, or to whoever asks. */
static int
icmp_answers(uint8_t type)
{
	switch (type) {
	case ICMP_ECHOREPLY:
	case ICMP_UNREACH:
	case ICMP_QUENCH:
	case ICMP_REDIRECT:
	case ICMP_TIMXCEED:
	case ICMP_PARAMPROB:
		return (1);
	default:
		return (0);
	}
}

int
ipv4_is_demand(const uint8_t *p, size_t len)
{
	size_t header = (size_t)(p[0] & 15) * 4;

	if (p[16] >= FIRST_MULTICAST)
		return (0);
	if (get16(p + 6) & IPV4_OFFSET)	/* its first fragment was judged */
		return (0);
	if (p[9] == IPPROTO_TCP && len > header + 13)
		return ((p[header + 13] & TCP_RST) == 0);
	if (p[9] == IPPROTO_ICMP && len > header)
		return (!icmp_answers(p[header]));
	return (1);
}

uint8_t
ecn_encap(uint8_t tos)
{
	return (tos);
}

int
ecn_decap(uint8_t *p, size_t len, uint8_t outer)
{
	uint8_t inner, tos;
	uint16_t old;

	if (len < IPV4_HEADER)
		return (-1);
	tos = p[1];
	inner = tos & ECN_MASK;
	outer &= ECN_MASK;
	if (outer == ECN_CE && inner == ECN_NOT)
		return (-1);
	if (inner == ECN_NOT || inner == ECN_CE)
		return (0);
	if (outer == ECN_CE)
		tos = (uint8_t)(tos | ECN_CE);
	else if (outer == ECN_ECT1)
		tos = (uint8_t)((tos & ~ECN_MASK) | ECN_ECT1);
	if (tos != p[1]) {
		old = get16(p);
		p[1] = tos;
		sum_fix(p + 10, old, get16(p));
	}
	return (0);
}
