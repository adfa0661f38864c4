/* RFC 1071 the plain way, for what tunnel/sum.c says to be held against. */
#include <stddef.h>
#include <stdint.h>

static inline uint16_t
slow_sum(const uint8_t *p, size_t len, uint32_t v)
{
	size_t i;

	for (i = 0; i + 1 < len; i += 2)
		v += (uint32_t)(p[i] << 8 | p[i + 1]);
	if (len % 2)
		v += (uint32_t)p[len - 1] << 8;
	while (v >> 16)
		v = (v & 0xffff) + (v >> 16);
	return ((uint16_t)v);
}
