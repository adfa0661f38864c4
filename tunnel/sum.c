/* The Internet's checksum (RFC 1071): pure functions. */
#include <sys/types.h>

#include <arpa/inet.h>

#include <string.h>

#include "tunnel/tunnel.h"

#define STEP	32		/* octets, in two sums that do not wait */

static uint64_t
add(uint64_t a, uint64_t b)
{
	a += b;
	return (a + (a < b));
}

static uint16_t
fold(uint64_t v)
{
	v = (v >> 32) + (v & 0xffffffff);
	v = (v >> 32) + (v & 0xffffffff);
	v = (v >> 16) + (v & 0xffff);
	v = (v >> 16) + (v & 0xffff);
	return ((uint16_t)v);
}

/* The sum is the same in either order of octets, but for theirs. */
uint16_t
sum_of(const uint8_t *p, size_t len, uint16_t before)
{
	uint64_t w[STEP / 8], a = htons(before), b = 0;
	uint16_t last;

	for (; len >= STEP; p += STEP, len -= STEP) {
		memcpy(w, p, STEP);
		a = add(a, w[0]);
		b = add(b, w[1]);
		a = add(a, w[2]);
		b = add(b, w[3]);
	}
	for (; len >= 2; p += 2, len -= 2) {
		memcpy(&last, p, 2);
		b = add(b, last);
	}
	if (len == 1)
		b = add(b, htons((uint16_t)(*p << 8)));
	return (ntohs(fold(add(a, b))));
}

uint16_t
sum_pseudo(const uint8_t *p, size_t payload)
{
	uint32_t v = p[9] + (uint32_t)payload;

	return (sum_of(p + 12, 8, fold(v)));
}

void
sum_ipv4(uint8_t *p)
{
	put16(p + 10, 0);
	put16(p + 10, (uint16_t)~sum_of(p, (size_t)(p[0] & 15) * 4, 0));
}

void
sum_fix(uint8_t *sum, uint16_t old, uint16_t new)
{
	uint32_t v;

	v = (uint16_t)~get16(sum);
	v += (uint16_t)~old;
	v += new;
	put16(sum, (uint16_t)~fold(v));
}
