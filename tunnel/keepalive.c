/*
 * Does the TEP answer? An ICMP echo (RFC 792) through the tunnel, from the
 * leased address to the TEP's, while nothing else comes out of it. Pure but
 * for the random numbers.
 */
#include <sys/types.h>

#include <stdlib.h>
#include <string.h>

#include "tunnel/tunnel.h"

#define ECHO_REPLY	0
#define ECHO_REQUEST	8
#define TTL		64
#define TRIES		3	/* without an answer, then it is dead */

void
keepalive_start(struct keepalive *k, const struct msg_tunnel_keepalive *m)
{
	memset(k, 0, sizeof(*k));
	k->interval_ms = (int64_t)m->interval * 1000;
	k->v4 = m->v4;
	k->tep4 = m->tep4;
	k->answers = m->answers != 0;
	arc4random_buf(k->cookie, sizeof(k->cookie));
}

size_t
keepalive_packet(struct keepalive *k, uint8_t *p)
{
	k->seq++;
	memset(p, 0, KEEPALIVE_SIZE);
	p[0] = 4 << 4 | IPV4_HEADER / 4;
	p[3] = KEEPALIVE_SIZE;
	p[6] = 0x40;		/* don't fragment */
	p[8] = TTL;
	p[9] = IPPROTO_ICMP;
	memcpy(p + 12, &k->v4, 4);
	memcpy(p + 16, &k->tep4, 4);
	sum_ipv4(p);
	p[IPV4_HEADER] = ECHO_REQUEST;
	p[IPV4_HEADER + 6] = (uint8_t)(k->seq >> 8);
	p[IPV4_HEADER + 7] = (uint8_t)k->seq;
	memcpy(p + IPV4_HEADER + 4, k->cookie, 2);
	memcpy(p + IPV4_HEADER + 8, k->cookie + 2, sizeof(k->cookie) - 2);
	put16(p + IPV4_HEADER + 2, (uint16_t)~sum_of(p + IPV4_HEADER,
	    KEEPALIVE_SIZE - IPV4_HEADER, 0));
	return (KEEPALIVE_SIZE);
}

int
keepalive_is_answer(const struct keepalive *k, const uint8_t *p, size_t len)
{
	return (k->interval_ms != 0 && len == KEEPALIVE_SIZE &&
	    p[0] == (4 << 4 | IPV4_HEADER / 4) && p[9] == IPPROTO_ICMP &&
	    p[IPV4_HEADER] == ECHO_REPLY && memcmp(p + 12, &k->tep4, 4) == 0 &&
	    memcmp(p + IPV4_HEADER + 4, k->cookie, 2) == 0 &&
	    memcmp(p + IPV4_HEADER + 8, k->cookie + 2,
	    sizeof(k->cookie) - 2) == 0);
}

int
keepalive_heard(struct keepalive *k, int is_answer)
{
	int news;

	k->heard = 1;
	if (is_answer)
		k->answers = 1;
	news = k->dead || (k->answers && !k->told);
	k->dead = 0;
	k->told = k->answers;
	return (news);
}

int64_t
keepalive_tick(struct keepalive *k, int *send, int *died)
{
	int64_t again = k->interval_ms / TRIES;

	*send = *died = 0;
	if (k->heard) {
		k->heard = 0;
		k->missed = 0;
		/* Until it has answered, nobody knows whether it will. */
		*send = !k->answers;
		return (k->interval_ms);
	}
	*send = 1;
	if (!k->answers || k->dead)
		return (k->interval_ms);
	if (k->missed++ >= TRIES) {
		k->dead = *died = 1;
		return (k->interval_ms);
	}
	return (again);
}
