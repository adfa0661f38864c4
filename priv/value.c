#include <sys/types.h>
#include <sys/socket.h>

#include <netinet/in.h>
#include <arpa/inet.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dstmd/dstmd.h"
#include "priv/value.h"

#define RATE_MIN	64000LL		/* bits/s */
#define RATE_MAX	100000000000LL

static int	 refuse(char *, const char *, ...)
		    __attribute__((__format__ (printf, 2, 3)));

static int
refuse(char *why, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, VALUE_WHY, fmt, ap);
	va_end(ap);
	return (-1);
}

static uint32_t
mask4(int len)
{
	return (len == 0 ? 0 : 0xffffffffU << (32 - len));
}

void
value_prefix_range(const struct conf_prefix4 *p, struct conf_range *r)
{
	r->lo = p->addr;
	r->hi.s_addr = p->addr.s_addr | ~htonl(mask4(p->len));
}

int
value_range_usable(const struct conf_range *r)
{
	/* The unusable ones of in_usable: no range may reach over one. */
	static const struct { uint32_t lo, hi; } holes[] = {
		{ 0x00000000, 0x00ffffff },	/* 0/8 */
		{ 0x7f000000, 0x7fffffff },	/* 127/8 */
		{ 0xa9fe0000, 0xa9feffff },	/* 169.254/16 */
		{ 0xe0000000, 0xffffffff },	/* 224/3 */
	};
	uint32_t lo = ntohl(r->lo.s_addr), hi = ntohl(r->hi.s_addr);
	size_t i;

	if (lo > hi || !in_usable(r->lo) || !in_usable(r->hi))
		return (0);
	for (i = 0; i < sizeof(holes) / sizeof(holes[0]); i++)
		if (lo <= holes[i].hi && holes[i].lo <= hi)
			return (0);
	return (1);
}

int
value_addr4(const char *s, struct in_addr *addr, char *why)
{
	struct in_addr in;

	if (inet_pton(AF_INET, s, &in) != 1)
		return (refuse(why, "\"%s\" is not an IPv4 address", s));
	if (!in_usable(in))
		return (refuse(why, "%s is not a unicast IPv4 address that may "
		    "be used", s));
	*addr = in;
	return (0);
}

int
value_addr6(const char *s, struct in6_addr *addr, char *why)
{
	struct in6_addr in6;

	if (inet_pton(AF_INET6, s, &in6) != 1)
		return (refuse(why, "\"%s\" is not an IPv6 address", s));
	if (!in6_usable(&in6))
		return (refuse(why, "%s is not a global unicast IPv6 address",
		    s));
	*addr = in6;
	return (0);
}

/* ADDRESS[/LEN], 1 <= LEN, any address. */
static int
prefix(const char *s, int af, void *addr, int *len, char *why)
{
	char text[INET6_ADDRSTRLEN];
	const char *slash, *errstr;
	int max = af == AF_INET ? 32 : 128;
	size_t n;

	slash = strchr(s, '/');
	n = slash == NULL ? strlen(s) : (size_t)(slash - s);
	if (n >= sizeof(text))
		n = 0;
	memcpy(text, s, n);
	text[n] = '\0';
	if (inet_pton(af, text, addr) != 1)
		return (refuse(why, "\"%s\" is not an IPv%d %s", s,
		    af == AF_INET ? 4 : 6,
		    slash == NULL ? "address" : "prefix"));
	*len = max;
	if (slash == NULL)
		return (0);
	*len = (int)strtonum(slash + 1, 1, max, &errstr);
	if (errstr != NULL)
		return (refuse(why, "%s: prefix length is %s (1 to %d)", s,
		    errstr, max));
	return (0);
}

int
value_prefix4(const char *s, struct conf_prefix4 *p, char *why)
{
	struct conf_prefix4 q;
	struct conf_range r;
	struct in_addr net;

	if (prefix(s, AF_INET, &q.addr, &q.len, why) == -1)
		return (-1);
	net.s_addr = q.addr.s_addr & htonl(mask4(q.len));
	if (net.s_addr != q.addr.s_addr)
		return (refuse(why, "%s: bits are set behind the prefix: the "
		    "network is %s/%d, the one address %s", s, log_in(net),
		    q.len, log_in(q.addr)));
	value_prefix_range(&q, &r);
	if (!value_range_usable(&r))
		return (refuse(why, "%s is not unicast IPv4 that may be used",
		    s));
	*p = q;
	return (0);
}

int
value_prefix6(const char *s, struct conf_prefix6 *p, char *why)
{
	struct conf_prefix6 q;
	struct in6_addr net;
	int i;

	if (prefix(s, AF_INET6, &q.addr, &q.len, why) == -1)
		return (-1);
	net = q.addr;
	for (i = q.len; i < 128; i++)
		net.s6_addr[i / 8] &= (uint8_t)~(0x80 >> i % 8);
	if (!IN6_ARE_ADDR_EQUAL(&net, &q.addr))
		return (refuse(why, "%s: bits are set behind the prefix: the "
		    "network is %s/%d, the one address %s", s, log_in6(&net),
		    q.len, log_in6(&q.addr)));
	if (!in6_usable(&q.addr))
		return (refuse(why, "%s is not global unicast IPv6", s));
	*p = q;
	return (0);
}

static int
range(const char *first, const char *last, struct conf_range *r, char *why)
{
	struct conf_range q;

	if (inet_pton(AF_INET, first, &q.lo) != 1)
		return (refuse(why, "\"%s\" is not an IPv4 address", first));
	if (inet_pton(AF_INET, last, &q.hi) != 1)
		return (refuse(why, "\"%s\" is not an IPv4 address", last));
	if (ntohl(q.lo.s_addr) > ntohl(q.hi.s_addr))
		return (refuse(why, "%s - %s: the first address is above the "
		    "last", first, last));
	if (!value_range_usable(&q))
		return (refuse(why, "%s - %s is not unicast IPv4 that may be "
		    "used", first, last));
	*r = q;
	return (0);
}

int
value_range(const char *s, const char *last, struct conf_range *r, int *plen,
    char *why)
{
	struct conf_prefix4 p;
	char first[INET_ADDRSTRLEN];
	const char *dash;
	size_t n;

	*plen = 0;
	if (last != NULL)
		return (range(s, last, r, why));
	if ((dash = strchr(s, '-')) != NULL) {
		if ((n = (size_t)(dash - s)) >= sizeof(first))
			return (refuse(why, "\"%s\" is not a range of IPv4 "
			    "addresses", s));
		memcpy(first, s, n);
		first[n] = '\0';
		return (range(first, dash + 1, r, why));
	}
	if (value_prefix4(s, &p, why) == -1)
		return (-1);
	value_prefix_range(&p, r);
	*plen = p.len;
	return (0);
}

int
value_rate(const char *s, uint64_t *rate, char *why)
{
	static const char units[] = "kmg";
	const char *errstr, *unit;
	char digits[24];
	long long n, scale = 1;
	size_t i, len = strlen(s);

	if (len > 0 && (unit = strchr(units, s[len - 1])) != NULL) {
		len--;
		for (i = 0; i <= (size_t)(unit - units); i++)
			scale *= 1000;
	}
	if (len >= sizeof(digits))
		len = 0;
	memcpy(digits, s, len);
	digits[len] = '\0';
	/* Rounded up, the least is no less. */
	n = strtonum(digits, (RATE_MIN + scale - 1) / scale, RATE_MAX / scale,
	    &errstr);
	if (errstr != NULL)
		return (refuse(why, "rate %s is %s (64k to 100g bits a "
		    "second)", s, errstr));
	*rate = (uint64_t)(n * scale);
	return (0);
}

int
value_ifname(const char *s, char *name, char *why)
{
	const char *p;

	/* % would be a template to the TUN driver. */
	for (p = s; *p > 0x20 && *p < 0x7f; p++)
		if (strchr("/:%\"'\\", *p) != NULL)
			break;
	if (*p != '\0' || p == s || p - s >= IFNAME_SIZE ||
	    strcmp(s, ".") == 0 || strcmp(s, "..") == 0)
		return (refuse(why, "interface \"%s\": a name is 1 to %d "
		    "octets, without space or any of / : %% \" ' \\", s,
		    IFNAME_SIZE - 1));
	memset(name, 0, IFNAME_SIZE);
	strlcpy(name, s, IFNAME_SIZE);
	return (0);
}
