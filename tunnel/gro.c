/*
 * TCP segments of one flow that follow each other become one packet for the
 * host, with an offload header that says how to cut it again. What is merged
 * differs in nothing but its octets, its place in the stream and its IPv4
 * identification, so that cutting it gives what came. Pure functions.
 */
#include <sys/types.h>
#include <sys/uio.h>

#include <linux/virtio_net.h>

#include <string.h>

#include "tunnel/tunnel.h"

#define IPV4_MOST	65535
#define FLAGS_MERGED	(TCP_ACK | TCP_PSH | TCP_ECE)
#define TCP_SUM		16

/* A TCP packet with a whole header: its headers' octets, or 0. */
static size_t
tcp_headers(const uint8_t *p, size_t len)
{
	size_t hlen;

	if (p[0] != (4 << 4 | IPV4_HEADER / 4) || p[9] != IPPROTO_TCP ||
	    (get16(p + 6) & IPV4_FRAGMENT) != 0 ||
	    len < IPV4_HEADER + TCP_HEADER)
		return (0);
	hlen = IPV4_HEADER + (size_t)(p[IPV4_HEADER + 12] >> 4) * 4;
	return (hlen < IPV4_HEADER + TCP_HEADER || hlen > len ? 0 : hlen);
}

/* Data and nothing that ends, begins or hurries. */
static int
is_data(const struct gro_packet *k)
{
	const uint8_t *tcp = k->p + IPV4_HEADER;

	return (k->len > k->hlen && (tcp[13] & TCP_ACK) != 0 &&
	    (tcp[13] & ~FLAGS_MERGED) == 0);
}

static int
sum_holds(const struct gro_packet *k)
{
	size_t n = k->len - IPV4_HEADER;

	return (sum_of(k->p + IPV4_HEADER, n, sum_pseudo(k->p, n)) == 0xffff &&
	    sum_of(k->p, IPV4_HEADER, 0) == 0xffff);
}

/* Addresses and ports. */
static int
same_flow(const uint8_t *a, const uint8_t *b)
{
	return (memcmp(a + 12, b + 12, 12) == 0);
}

/*
 * All that is the same in segments of one packet. The identification of a
 * packet that may not be cut means nothing (RFC 6864).
 */
static int
same_headers(const struct gro_packet *first, const struct gro_packet *last,
    const struct gro_packet *k)
{
	const uint8_t *a = first->p, *b = k->p;

	if (first->hlen != k->hlen || a[1] != b[1] || a[8] != b[8] ||
	    get16(a + 6) != get16(b + 6))
		return (0);
	if ((get16(b + 6) & IPV4_DF) == 0 &&
	    get16(b + 4) != (uint16_t)(get16(last->p + 4) + 1))
		return (0);
	a += IPV4_HEADER;
	b += IPV4_HEADER;
	/* acknowledgement, offset, flags, window, urgent pointer, options */
	return (memcmp(a + 8, b + 8, 5) == 0 &&
	    ((a[13] ^ b[13]) & ~TCP_PSH) == 0 &&
	    memcmp(a + 14, b + 14, 2) == 0 &&
	    memcmp(a + 18, b + 18, k->hlen - IPV4_HEADER - 18) == 0);
}

/* Does k follow the packets of the bundle, its checksums and theirs right? */
static int
follows(const struct gro *g, struct gro_bundle *b, const struct gro_packet *k)
{
	const struct gro_packet *first = &g->packets[b->first];
	size_t n = k->len - k->hlen;

	if (b->closed || !is_data(k) || n > first->len - first->hlen ||
	    first->hlen + b->payload + n > IPV4_MOST ||
	    get32(k->p + IPV4_HEADER + 4) !=
	    (uint32_t)(get32(first->p + IPV4_HEADER + 4) + b->payload) ||
	    !same_headers(first, &g->packets[b->last], k))
		return (0);
	if (!b->checked && !sum_holds(first)) {
		b->closed = 1;
		return (0);
	}
	b->checked = 1;
	return (sum_holds(k));
}

/* The first shorter one is the last, and so is one that pushes. */
static void
take(struct gro *g, struct gro_bundle *b, uint8_t i)
{
	const struct gro_packet *k = &g->packets[i];
	const struct gro_packet *first = &g->packets[b->first];
	size_t n = k->len - k->hlen;

	b->n++;
	b->octets += k->len;
	b->payload += n;
	b->last = i;
	if (!b->flow || !is_data(k) || n < first->len - first->hlen ||
	    (k->p[IPV4_HEADER + 13] & TCP_PSH) != 0)
		b->closed = 1;
}

void
gro_add(struct gro *g, uint8_t *p, size_t len, void *owner)
{
	uint8_t i = (uint8_t)g->npackets++;
	struct gro_packet *k = &g->packets[i];
	struct gro_bundle *b;
	uint32_t j;

	k->p = p;
	k->len = len;
	k->hlen = tcp_headers(p, len);
	k->next = i;
	/* Only the newest of its flow: it must not overtake another. */
	for (j = k->hlen != 0 ? g->nbundles : 0; j > 0; j--) {
		b = &g->bundles[j - 1];
		if (!b->flow || !same_flow(g->packets[b->first].p, p))
			continue;
		if (b->owner != owner || !follows(g, b, k))
			break;
		g->packets[b->last].next = i;
		take(g, b, i);
		return;
	}
	b = &g->bundles[g->nbundles++];
	memset(b, 0, sizeof(*b));
	b->owner = owner;
	b->first = i;
	b->flow = k->hlen != 0;
	take(g, b, i);
}

/* The headers of the first packet become those of all. */
static void
merge_headers(const struct gro *g, const struct gro_bundle *b,
    struct virtio_net_hdr *vh)
{
	const struct gro_packet *first = &g->packets[b->first];
	uint8_t *p = first->p, *tcp = p + IPV4_HEADER;
	size_t len = first->hlen + b->payload;

	tcp[13] |= g->packets[b->last].p[IPV4_HEADER + 13] & TCP_PSH;
	put16(p + 2, (uint16_t)len);
	sum_ipv4(p);
	put16(tcp + TCP_SUM, sum_pseudo(p, len - IPV4_HEADER));
	vh->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	vh->gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
	vh->hdr_len = (uint16_t)first->hlen;
	vh->gso_size = (uint16_t)(first->len - first->hlen);
	vh->csum_start = IPV4_HEADER;
	vh->csum_offset = TCP_SUM;
}

int
gro_frame(struct gro *g, uint32_t i, struct virtio_net_hdr *vh,
    struct iovec *iov)
{
	const struct gro_bundle *b = &g->bundles[i];
	const struct gro_packet *k = &g->packets[b->first];
	int n = 1;

	memset(vh, 0, sizeof(*vh));
	iov[0].iov_base = k->p;
	iov[0].iov_len = k->len;
	if (b->n == 1)
		return (1);
	merge_headers(g, b, vh);
	do {
		k = &g->packets[k->next];
		iov[n].iov_base = k->p + k->hlen;
		iov[n++].iov_len = k->len - k->hlen;
	} while (k != &g->packets[b->last]);
	return (n);
}
