/*
 * Packets of the host cut into segments, and segments of the network joined.
 * Whatever they are: the pieces are the whole, each is a packet whose
 * checksums hold, and joining and cutting undo each other.
 */
/* COVERS: tunnel/gso.c tunnel/gro.c tunnel/sum.c */
/* LINK: tunnel/gso.o tunnel/gro.o tunnel/sum.o tunnel/encap.o libdstmd.a */
#include <sys/types.h>
#include <sys/uio.h>

#include <linux/virtio_net.h>

#include <stdlib.h>
#include <string.h>

#include "fuzz/fuzz.h"
#include "tunnel/tunnel.h"

#define PACKET_MAX	65535

/* Of the first octet. */
#define OP_JOIN		0x01
#define OP_SHRINK	0x02
#define OP_MEND		0x04	/* the header is made right */
#define OP_RECEIVED	0x08	/* it comes from the network */

/* Of a packet to be joined. */
#define K_OWN		0x01	/* octets of its own; else it follows */
#define K_CHANGE	0x02	/* one octet of it is another */
#define K_BROKEN	0x04	/* its checksum is left as it is */

struct piece {
	uint8_t	*p;
	size_t	 len;
};

static uint8_t	 whole[PACKET_MAX + 1], segment[PACKET_MAX + 1];

void
fuzz_init(void)
{
}

static size_t
ip_header(const uint8_t *p)
{
	return ((size_t)(p[0] & 15) * 4);
}

/* Checksums of a TCP or UDP packet, or make them hold. */
static int
sums(uint8_t *p, size_t len, int set)
{
	size_t header = ip_header(p), n = len - header;
	size_t at = header + (p[9] == IPPROTO_TCP ? 16 : 6);

	if (set)
		sum_ipv4(p);
	if (sum_of(p, header, 0) != 0xffff)
		return (0);
	if ((p[9] != IPPROTO_TCP && p[9] != IPPROTO_UDP) || at + 2 > len)
		return (1);
	if (set) {
		put16(p + at, 0);
		put16(p + at, (uint16_t)~sum_of(p + header, n,
		    sum_pseudo(p, n)));
	}
	return (sum_of(p + header, n, sum_pseudo(p, n)) == 0xffff);
}

static void
mend(uint8_t *p, size_t n)
{
	if (n < IPV4_HEADER)
		return;
	p[0] = 4 << 4 | IPV4_HEADER / 4;
	put16(p + 2, (uint16_t)n);
	sums(p, n, 1);
}

/* Segment i in segment[]: its length. */
static size_t
get_segment(const struct gso *g, const uint8_t *p, size_t len, uint32_t i)
{
	uint8_t *payload;
	size_t n;

	MUST(g->hlen <= GSO_HEADER_MAX);
	gso_segment(g, p, len, i, segment, &payload, &n);
	MUST(payload == p + g->hlen + i * g->size && n <= g->size);
	MUST(payload + n <= p + len);
	MUST(n == g->size || i + 1 == g->n);
	memcpy(segment + g->hlen, payload, n);
	return (g->hlen + n);
}

/* As an interface leaves it; what is said of it can be done. */
static int
received(struct virtio_net_hdr *vh, uint8_t *p, size_t len, uint32_t mtu)
{
	size_t header = ip_header(p), at;

	at = header + (p[9] == IPPROTO_TCP ? 16 : 6);
	if (at + 2 <= len)
		put16(p + at, sum_pseudo(p, len - header));
	if (gso_received(vh, p, len, mtu) == -1)
		return (-1);
	MUST(vh->gso_type == 0 || vh->gso_size < mtu);
	return (0);
}

static void
cut(struct input *in, uint32_t op)
{
	struct virtio_net_hdr vh;
	struct gso g;
	uint8_t *p;
	size_t n, len, at = 0;
	uint32_t i, mtu;

	memset(&vh, 0, sizeof(vh));
	vh.flags = (uint8_t)input_number(in, 1);
	vh.gso_type = (uint8_t)input_number(in, 1);
	vh.gso_size = (uint16_t)input_number(in, 2);
	vh.csum_start = (uint16_t)input_number(in, 2);
	vh.csum_offset = (uint16_t)input_number(in, 2);
	mtu = input_number(in, 2);
	p = input_piece(in, &n);
	if (op & OP_MEND)
		mend(p, n);
	if ((len = ipv4_check(p, n)) == 0 || ((op & OP_RECEIVED) &&
	    received(&vh, p, len, mtu) == -1) ||
	    gso_open(&g, &vh, p, len) == -1) {
		free(p);
		return;
	}
	MUST(g.n >= 1 && (g.n == 1 || g.hlen != 0));
	if ((op & OP_SHRINK) && gso_shrink(&g, p, len, mtu) == 0)
		MUST(p[9] == IPPROTO_TCP && g.hlen + g.size == mtu);
	for (i = 0; g.hlen != 0 && i < g.n; i++) {
		n = get_segment(&g, p, len, i);
		MUST(ipv4_check(segment, n) == n);
		MUST(sums(segment, n, 0));
		at += n - g.hlen;
	}
	MUST(g.hlen == 0 || at == len - g.hlen);
	free(p);
}

/* Another packet of the batch, of its very size. */
static struct piece
next_packet(struct input *in, const struct piece *before)
{
	struct piece k = { NULL, 0 };
	uint32_t kind = input_number(in, 1), seq;
	size_t at, hlen;

	if ((kind & K_OWN) || before->p == NULL) {
		k.p = input_piece(in, &k.len);
		mend(k.p, k.len);
	} else {
		k.len = before->len;
		if ((k.p = malloc(k.len)) == NULL)
			abort();
		memcpy(k.p, before->p, k.len);
		if (k.len >= IPV4_HEADER + TCP_HEADER) {
			hlen = IPV4_HEADER + (size_t)(k.p[32] >> 4) * 4;
			seq = get32(k.p + 24) + (uint32_t)(k.len - hlen);
			put32(k.p + 24, seq);
			put16(k.p + 4, (uint16_t)(get16(k.p + 4) + 1));
		}
	}
	if (kind & K_CHANGE) {
		at = input_number(in, 1);
		if (at < k.len)
			k.p[at] = (uint8_t)input_number(in, 1);
	}
	if (!(kind & K_BROKEN) && k.len > 0 &&
	    ipv4_check(k.p, k.len) == k.len)
		sums(k.p, k.len, 1);
	return (k);
}

/* One bundle, cut again: its packets as they came. */
static void
cut_again(struct gro *g, uint32_t i, const struct piece *came)
{
	const struct gro_bundle *b = &g->bundles[i];
	struct virtio_net_hdr vh;
	struct iovec iov[GRO_MAX];
	struct gso gso;
	uint32_t k, at;
	size_t n = 0, len;
	int m, pieces = gro_frame(g, i, &vh, iov);

	MUST(pieces >= 1 && (uint32_t)pieces == b->n);
	for (m = 0; m < pieces; m++) {
		MUST(n + iov[m].iov_len <= PACKET_MAX);
		memcpy(whole + n, iov[m].iov_base, iov[m].iov_len);
		n += iov[m].iov_len;
	}
	MUST(ipv4_check(whole, n) == n);
	MUST(gso_open(&gso, &vh, whole, n) == 0 && gso.n == b->n);
	for (k = 0, at = b->first; k < b->n; k++) {
		if (gso.n == 1) {
			len = n;
			memcpy(segment, whole, n);
		} else
			len = get_segment(&gso, whole, n, k);
		MUST(len == came[at].len);
		/*
		 * Its identification may be another where it is unused, and
		 * a sum of 0 has two forms.
		 */
		if (b->n > 1) {
			if (get16(came[at].p + 6) & IPV4_DF)
				put16(segment + 4, get16(came[at].p + 4));
			sums(segment, len, 1);
			sums(came[at].p, len, 1);
		}
		MUST(memcmp(segment, came[at].p, len) == 0);
		MUST(k + 1 == b->n || g->packets[at].next > at);
		at = g->packets[at].next;
	}
}

static void
join(struct input *in)
{
	static struct gro g;
	struct piece k[GRO_MAX], came[GRO_MAX], none = { NULL, 0 };
	uint32_t i, n = 0, total = 0;

	g.npackets = g.nbundles = 0;
	while (in->n > 0 && n < GRO_MAX) {
		k[n] = next_packet(in, n > 0 ? &k[n - 1] : &none);
		if (ipv4_check(k[n].p, k[n].len) != k[n].len ||
		    k[n].len == 0) {
			free(k[n].p);
			break;
		}
		came[n].len = k[n].len;
		if ((came[n].p = malloc(k[n].len)) == NULL)
			abort();
		memcpy(came[n].p, k[n].p, k[n].len);
		n++;
	}
	for (i = 0; i < n; i++)
		gro_add(&g, k[i].p, k[i].len, NULL);
	for (i = 0; i < g.nbundles; i++) {
		total += g.bundles[i].n;
		MUST(i == 0 || g.bundles[i].first > g.bundles[i - 1].first);
		cut_again(&g, i, came);
	}
	MUST(total == n);
	for (i = 0; i < n; i++) {
		free(k[i].p);
		free(came[i].p);
	}
}

void
fuzz_one(const uint8_t *buf, size_t len)
{
	struct input in = { buf, len };
	uint32_t op = input_number(&in, 1);

	if (op & OP_JOIN)
		join(&in);
	else
		cut(&in, op);
}
