/*
 * What a path takes, and what a sender of larger packets is told. Pure
 * functions. Lengths in octets, times in ms.
 */
#include <sys/types.h>

#include <netinet/in.h>

#include <string.h>

#include "tunnel/tunnel.h"

#define TTL		64
#define ICMP_HEADER	8
#define ICMP_UNREACH	3	/* RFC 792 */
#define ICMP_NEEDFRAG	4
#define ICMP_QUERY(t)	((t) == 0 || (t) == 8 || ((t) >= 13 && (t) <= 18))

int
pmtu_learn(struct tunnel_entry *e, uint32_t mtu, size_t len, int64_t now)
{
	/* RFC 8201, 4: one that asks for less is discarded. */
	if (mtu < PMTU_LEAST || len + OUTER_OVERHEAD <= mtu)
		return (0);
	if (e->pmtu != 0 && now < e->pmtu_until && mtu > e->pmtu)
		return (0);
	e->pmtu = mtu;
	e->pmtu_until = now + PMTU_MS;
	return (1);
}

uint32_t
pmtu_inner(struct tunnel_entry *e, uint32_t mtu, int64_t now)
{
	if (now >= e->pmtu_until)
		e->pmtu = 0;
	if (e->pmtu == 0 || e->pmtu - OUTER_OVERHEAD > mtu)
		return (mtu);
	return (e->pmtu - OUTER_OVERHEAD);
}

/* One host's own address, as far as an address says that. */
static int
is_host(const uint8_t *a)
{
	return (a[0] != 0 && a[0] != 127 && a[0] < 224);
}

size_t
pmtu_too_big(uint8_t *out, const uint8_t *p, size_t len, uint32_t mtu)
{
	size_t header = (size_t)(p[0] & 15) * 4, quote;
	uint8_t *icmp = out + IPV4_HEADER;

	if ((get16(p + 6) & IPV4_OFFSET) != 0 || !is_host(p + 12) ||
	    !is_host(p + 16))
		return (0);
	if (p[9] == IPPROTO_ICMP && (len <= header || !ICMP_QUERY(p[header])))
		return (0);
	quote = TOO_BIG_MAX - IPV4_HEADER - ICMP_HEADER;
	if (quote > len)
		quote = len;
	memset(out, 0, IPV4_HEADER + ICMP_HEADER);
	out[0] = 4 << 4 | IPV4_HEADER / 4;
	out[1] = 0xc0;		/* internetwork control (RFC 1812, 4.3.2.5) */
	put16(out + 2, (uint16_t)(IPV4_HEADER + ICMP_HEADER + quote));
	out[8] = TTL;
	out[9] = IPPROTO_ICMP;
	memcpy(out + 12, p + 16, 4);
	memcpy(out + 16, p + 12, 4);
	sum_ipv4(out);
	icmp[0] = ICMP_UNREACH;
	icmp[1] = ICMP_NEEDFRAG;
	put16(icmp + 6, (uint16_t)mtu);
	memcpy(icmp + ICMP_HEADER, p, quote);
	put16(icmp + 2, (uint16_t)~sum_of(icmp, ICMP_HEADER + quote, 0));
	return (IPV4_HEADER + ICMP_HEADER + quote);
}

int
bucket_take(struct bucket *b, uint32_t burst, uint32_t per_second,
    int64_t now)
{
	int64_t back = (now - b->since) * per_second / 1000;

	if (back > 0 || now < b->since) {
		b->used = back >= (int64_t)b->used || back < 0 ? 0 :
		    b->used - (uint32_t)back;
		b->since = now;
	}
	if (b->used >= burst)
		return (0);
	b->used++;
	return (1);
}
