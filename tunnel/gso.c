/*
 * What the offload headers of a TUN device (IFF_VNET_HDR) leave to its reader:
 * checksums, and the cutting of packets larger than the wire's; and what
 * interfaces leave to us of packets that come. Pure functions. Lengths in
 * octets.
 */
#include <sys/types.h>

#include <linux/virtio_net.h>

#include <string.h>

#include "tunnel/tunnel.h"

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4	/* Linux 6.2 */
#define VIRTIO_NET_HDR_GSO_UDP_L4	5
#endif

#define TCP_SUM		16	/* where the checksum is */
#define UDP_SUM		6
#define TCP_OPT_SACK	5
#define TCP_OPT_TIMES	8

_Static_assert(sizeof(struct virtio_net_hdr) == VNET_HEADER, "vnet header");

/* The headers of a TCP or UDP packet that is no fragment: 0, or -1. */
static int
headers(struct gso *g, const uint8_t *p, size_t len)
{
	size_t upper;

	g->ip = (size_t)(p[0] & 15) * 4;
	if ((get16(p + 6) & IPV4_FRAGMENT) != 0)
		return (-1);
	if (p[9] == IPPROTO_TCP && len >= g->ip + TCP_HEADER) {
		upper = (size_t)(p[g->ip + 12] >> 4) * 4;
		if (upper < TCP_HEADER)
			return (-1);
	} else if (p[9] == IPPROTO_UDP)
		upper = UDP_HEADER;
	else
		return (-1);
	g->hlen = g->ip + upper;
	return (len < g->hlen ? -1 : 0);
}

static void
cut(struct gso *g, size_t len, size_t size)
{
	size_t payload = len - g->hlen;

	g->size = size;
	g->n = payload == 0 ? 1 : (uint32_t)((payload + size - 1) / size);
}

/* The kernel has left the sum of the pseudo header there. */
static int
complete(const struct virtio_net_hdr *vh, uint8_t *p, size_t len)
{
	size_t start = vh->csum_start, at = start + vh->csum_offset;
	uint16_t sum;

	if (start < IPV4_HEADER || at + 2 > len)
		return (-1);
	sum = (uint16_t)~sum_of(p + start, len - start, 0);
	if (sum == 0 && p[9] == IPPROTO_UDP)
		sum = 0xffff;		/* 0 says that there is none */
	put16(p + at, sum);
	return (0);
}

int
gso_open(struct gso *g, const struct virtio_net_hdr *vh, uint8_t *p,
    size_t len)
{
	int proto;

	memset(g, 0, sizeof(*g));
	g->n = 1;
	switch (vh->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_NONE:
		if (vh->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
			return (complete(vh, p, len));
		return (0);
	case VIRTIO_NET_HDR_GSO_TCPV4:
		proto = IPPROTO_TCP;
		break;
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		proto = IPPROTO_UDP;
		break;
	default:
		return (-1);
	}
	if (p[9] != proto || vh->gso_size == 0 || headers(g, p, len) == -1)
		return (-1);
	cut(g, len, vh->gso_size);
	return (0);
}

/* Options that say nothing about the octets of the segment. */
static int
plain_options(const uint8_t *tcp, size_t end)
{
	size_t i;

	for (i = TCP_HEADER; i < end;) {
		if (tcp[i] == TCP_OPT_END)
			return (1);
		if (tcp[i] == TCP_OPT_NOP) {
			i++;
			continue;
		}
		if (i + 1 >= end || tcp[i + 1] < 2 || i + tcp[i + 1] > end ||
		    (tcp[i] != TCP_OPT_TIMES && tcp[i] != TCP_OPT_SACK))
			return (0);
		i += tcp[i + 1];
	}
	return (1);
}

int
gso_shrink(struct gso *g, const uint8_t *p, size_t len, uint32_t mtu)
{
	const uint8_t *tcp;
	struct gso new;

	if (p[9] != IPPROTO_TCP || headers(&new, p, len) == -1 ||
	    mtu <= new.hlen)
		return (-1);
	tcp = p + new.ip;
	/* What is broken must not get a checksum that holds. */
	if (g->hlen == 0 && sum_of(tcp, len - new.ip,
	    sum_pseudo(p, len - new.ip)) != 0xffff)
		return (-1);
	if ((tcp[13] & (TCP_SYN | TCP_RST | TCP_URG)) != 0 ||
	    !plain_options(tcp, new.hlen - new.ip))
		return (-1);
	cut(&new, len, mtu - new.hlen);
	*g = new;
	return (0);
}

static void
segment_tcp(const struct gso *g, uint32_t i, uint8_t *tcp)
{
	put32(tcp + 4, get32(tcp + 4) + (uint32_t)(i * g->size));
	if (i + 1 < g->n)
		tcp[13] &= (uint8_t)~(TCP_FIN | TCP_PSH);
	if (i > 0)
		tcp[13] &= (uint8_t)~TCP_CWR;	/* said once (RFC 3168) */
}

void
gso_segment(const struct gso *g, const uint8_t *p, size_t len, uint32_t i,
    uint8_t *hdr, uint8_t **payload, size_t *n)
{
	size_t at = g->hlen + i * g->size, upper = g->hlen - g->ip, sum_at;
	uint16_t sum;

	*n = len - at < g->size ? len - at : g->size;
	memcpy(hdr, p, g->hlen);
	*payload = (uint8_t *)(uintptr_t)(p + at);
	put16(hdr + 2, (uint16_t)(g->hlen + *n));
	put16(hdr + 4, (uint16_t)(get16(hdr + 4) + i));
	sum_ipv4(hdr);
	if (hdr[9] == IPPROTO_TCP) {
		segment_tcp(g, i, hdr + g->ip);
		sum_at = g->ip + TCP_SUM;
	} else {
		put16(hdr + g->ip + 4, (uint16_t)(UDP_HEADER + *n));
		sum_at = g->ip + UDP_SUM;
	}
	put16(hdr + sum_at, 0);
	sum = sum_of(hdr + g->ip, upper, sum_pseudo(hdr, upper + *n));
	sum = (uint16_t)~sum_of(*payload, *n, sum);
	if (sum == 0 && hdr[9] == IPPROTO_UDP)
		sum = 0xffff;
	put16(hdr + sum_at, sum);
}

/* Where the checksum is that has the sum of the pseudo header alone, or 0. */
static size_t
sum_left(const struct gso *g, const uint8_t *p, size_t len)
{
	size_t at = g->ip + (p[9] == IPPROTO_TCP ? TCP_SUM : UDP_SUM);
	uint16_t sum = get16(p + at);

	return (sum != 0 && sum == sum_pseudo(p, len - g->ip) ? at : 0);
}

int
gso_received(struct virtio_net_hdr *vh, const uint8_t *p, size_t len,
    uint32_t mtu)
{
	struct gso g;
	size_t at;

	memset(vh, 0, sizeof(*vh));
	if (headers(&g, p, len) == -1 || (at = sum_left(&g, p, len)) == 0)
		return (0);
	vh->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	vh->csum_start = (uint16_t)g.ip;
	vh->csum_offset = (uint16_t)(at - g.ip);
	vh->hdr_len = (uint16_t)g.hlen;
	if (len <= mtu)
		return (0);
	if (p[9] != IPPROTO_TCP || mtu <= g.hlen)
		return (-1);
	vh->gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
	vh->gso_size = (uint16_t)(mtu - g.hlen);
	return (0);
}
