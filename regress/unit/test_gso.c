/* Packets larger than the wire's: cut, joined, and too big for a path. */
/* LINK: tunnel/sum.o tunnel/gso.o tunnel/gro.o tunnel/pmtu.o tunnel/encap.o libdstmd.a */
#include <sys/types.h>
#include <sys/uio.h>

#include <arpa/inet.h>
#include <linux/virtio_net.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tunnel/rate.h"
#include "regress/unit/slow_sum.h"
#include "tunnel/tunnel.h"

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4	/* Linux 6.2 */
#define VIRTIO_NET_HDR_GSO_UDP_L4	5
#endif

#define MOST	65535
#define OPTIONS	12		/* no-op, no-op, timestamps */
#define HLEN	(IPV4_HEADER + TCP_HEADER + OPTIONS)

static uint8_t	 super[MOST + 1], joined[MOST + 1];
static uint8_t	 wire[GRO_MAX][2048];

static void
test_sum(void **state)
{
	size_t i, at, len;

	(void)state;
	for (i = 0; i < sizeof(super); i++)
		super[i] = (uint8_t)random();
	for (i = 0; i < 3000; i++) {
		at = (size_t)random() % 64;
		len = (size_t)random() % 2000;
		assert_int_equal(sum_of(super + at, len, (uint16_t)i),
		    slow_sum(super + at, len, (uint32_t)i & 0xffff));
	}
	memset(super, 0xff, sizeof(super));
	assert_int_equal(sum_of(super, MOST - 1, 0xffff), 0xffff);
	memset(super, 0, sizeof(super));
	assert_int_equal(sum_of(super, MOST, 0), 0);
}

/* A packet of that protocol with n octets of payload: its length. */
static size_t
packet(uint8_t *p, int proto, uint8_t flags, size_t n)
{
	static const uint8_t times[OPTIONS] = { 1, 1, 8, 10, 1, 2, 3, 4, 5 };
	size_t len = n + (proto == IPPROTO_TCP ? HLEN :
	    IPV4_HEADER + UDP_HEADER), i;

	memset(p, 0, HLEN);
	p[0] = 0x45;
	put16(p + 2, (uint16_t)len);
	put16(p + 4, 0xfff0);
	put16(p + 6, IPV4_DF);
	p[8] = 64;
	p[9] = (uint8_t)proto;
	memcpy(p + 12, "\xc6\x33\x64\x10\xc0\x00\x02\x50", 8);
	for (i = len - n; i < len; i++)
		p[i] = (uint8_t)(i * 7 + i / 256);
	put32(p + 20, 0x04d20050);
	if (proto == IPPROTO_TCP) {
		put32(p + 24, 0xfffff000U);	/* it wraps */
		put32(p + 28, 0x01020304);
		p[32] = (TCP_HEADER + OPTIONS) / 4 << 4;
		p[33] = flags;
		put16(p + 34, 500);
		memcpy(p + 40, times, OPTIONS);
	} else
		put16(p + 24, (uint16_t)(UDP_HEADER + n));
	sum_ipv4(p);
	return (len);
}

static void
sums_hold(const uint8_t *p, size_t len)
{
	assert_int_equal(ipv4_check(p, len), len);
	assert_int_equal(slow_sum(p, IPV4_HEADER, 0), 0xffff);
	assert_int_equal(slow_sum(p + IPV4_HEADER, len - IPV4_HEADER,
	    slow_sum(p + 12, 8, (uint32_t)(p[9] + len - IPV4_HEADER))),
	    0xffff);
}

static void
set_sum(uint8_t *p, size_t len)
{
	size_t at = p[9] == IPPROTO_TCP ? 36 : 26;

	sum_ipv4(p);
	put16(p + at, 0);
	put16(p + at, (uint16_t)~sum_of(p + IPV4_HEADER, len - IPV4_HEADER,
	    sum_pseudo(p, len - IPV4_HEADER)));
}

static struct virtio_net_hdr
offload(uint8_t type, uint16_t size)
{
	struct virtio_net_hdr vh;

	memset(&vh, 0, sizeof(vh));
	vh.gso_type = type;
	vh.gso_size = size;
	vh.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	vh.csum_start = IPV4_HEADER;
	vh.csum_offset = type == VIRTIO_NET_HDR_GSO_UDP_L4 ? 6 : 16;
	return (vh);
}

/* The segments of super, each in wire[]. */
static uint32_t
cut(const struct gso *g, size_t len, size_t *lens)
{
	uint8_t *payload;
	uint32_t i;
	size_t n;

	for (i = 0; i < g->n; i++) {
		gso_segment(g, super, len, i, wire[i], &payload, &n);
		memcpy(wire[i] + g->hlen, payload, n);
		lens[i] = g->hlen + n;
		sums_hold(wire[i], lens[i]);
	}
	return (g->n);
}

static void
join(struct gro *g, uint32_t n, const size_t *lens)
{
	uint32_t i;

	g->npackets = g->nbundles = 0;
	for (i = 0; i < n; i++)
		gro_add(g, wire[i], lens[i], NULL);
}

/* Bundle i in joined: its length. */
static size_t
frame(struct gro *g, uint32_t i, struct virtio_net_hdr *vh)
{
	struct iovec iov[GRO_MAX];
	size_t len = 0;
	int k, n = gro_frame(g, i, vh, iov);

	for (k = 0; k < n; k++) {
		memcpy(joined + len, iov[k].iov_base, iov[k].iov_len);
		len += iov[k].iov_len;
	}
	return (len);
}

static void
test_cut_tcp(void **state)
{
	struct virtio_net_hdr vh = offload(VIRTIO_NET_HDR_GSO_TCPV4, 1000);
	size_t len = packet(super, IPPROTO_TCP, TCP_ACK | TCP_PSH | TCP_FIN |
	    TCP_CWR, 3500), lens[GRO_MAX], i;
	struct gso g;

	(void)state;
	assert_int_equal(gso_open(&g, &vh, super, len), 0);
	assert_int_equal(cut(&g, len, lens), 4);
	for (i = 0; i < 4; i++) {
		assert_int_equal(lens[i], HLEN + (i < 3 ? 1000 : 500));
		assert_int_equal(get16(wire[i] + 4), 0xfff0 + i);
		assert_int_equal(get32(wire[i] + 24),
		    (uint32_t)(0xfffff000U + i * 1000));
		assert_int_equal(wire[i][33], TCP_ACK | (i == 0 ? TCP_CWR :
		    i == 3 ? TCP_PSH | TCP_FIN : 0));
		assert_memory_equal(wire[i] + 40, super + 40, OPTIONS);
		assert_memory_equal(wire[i] + HLEN, super + HLEN + i * 1000,
		    lens[i] - HLEN);
	}
	vh.gso_type |= VIRTIO_NET_HDR_GSO_ECN;
	assert_int_equal(gso_open(&g, &vh, super, len), 0);
	assert_int_equal(g.n, 4);
}

static void
test_cut_udp(void **state)
{
	struct virtio_net_hdr vh = offload(VIRTIO_NET_HDR_GSO_UDP_L4, 1200);
	size_t len = packet(super, IPPROTO_UDP, 0, 2401), lens[GRO_MAX];
	struct gso g;
	uint32_t i;

	(void)state;
	assert_int_equal(gso_open(&g, &vh, super, len), 0);
	assert_int_equal(cut(&g, len, lens), 3);
	for (i = 0; i < 3; i++)
		assert_int_equal(get16(wire[i] + 24), lens[i] - IPV4_HEADER);
	assert_int_equal(lens[2], IPV4_HEADER + UDP_HEADER + 1);
	/* A datagram is what it is: no smaller ones. */
	assert_int_equal(gso_shrink(&g, super, len, 1000), -1);
	assert_int_equal(g.n, 3);
}

static void
test_cut_odd(void **state)
{
	struct virtio_net_hdr vh = offload(VIRTIO_NET_HDR_GSO_TCPV4, 1000);
	size_t len = packet(super, IPPROTO_TCP, TCP_ACK, 3000);
	struct gso g;

	(void)state;
	super[9] = IPPROTO_UDP;			/* not what the header says */
	assert_int_equal(gso_open(&g, &vh, super, len), -1);
	super[9] = IPPROTO_TCP;
	super[32] = 0x40;			/* shorter than TCP's */
	assert_int_equal(gso_open(&g, &vh, super, len), -1);
	super[32] = 0xf0;			/* longer than the packet */
	assert_int_equal(gso_open(&g, &vh, super, 60), -1);
	assert_int_equal(gso_open(&g, &vh, super, 30), -1);
	super[32] = 0x80;
	put16(super + 6, 0x2000);		/* a fragment */
	assert_int_equal(gso_open(&g, &vh, super, len), -1);
	put16(super + 6, 0);
	assert_int_equal(gso_open(&g, &vh, super, len), 0);
	vh.gso_size = 0;
	assert_int_equal(gso_open(&g, &vh, super, len), -1);
	vh.gso_size = 1000;
	vh.gso_type = VIRTIO_NET_HDR_GSO_TCPV6;
	assert_int_equal(gso_open(&g, &vh, super, len), -1);
	/* Headers alone, or less than one segment: one packet */
	vh.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
	assert_int_equal(gso_open(&g, &vh, super, HLEN), 0);
	assert_int_equal(g.n, 1);
	assert_int_equal(gso_open(&g, &vh, super, HLEN + 1000), 0);
	assert_int_equal(g.n, 1);
	/* and one octet each */
	vh.gso_size = 1;
	assert_int_equal(gso_open(&g, &vh, super, len), 0);
	assert_int_equal(g.n, 3000);
}

/* What the host left undone of one packet's checksum. */
static void
test_complete(void **state)
{
	struct virtio_net_hdr vh = offload(VIRTIO_NET_HDR_GSO_NONE, 0);
	struct gso g;
	size_t len, i;

	(void)state;
	for (i = 0; i < 200; i++) {
		len = packet(super, IPPROTO_TCP, TCP_ACK, i);
		put16(super + 36, sum_pseudo(super, len - IPV4_HEADER));
		assert_int_equal(gso_open(&g, &vh, super, len), 0);
		assert_int_equal(g.n, 1);
		assert_int_equal(g.hlen, 0);
		sums_hold(super, len);
	}
	/* UDP's sum that is 0 is written otherwise. */
	vh.csum_offset = 6;
	len = packet(super, IPPROTO_UDP, 0, 2);
	put16(super + 28, 0);
	put16(super + 26, sum_pseudo(super, 10));
	put16(super + 28, (uint16_t)~sum_of(super + 20, 10, 0));
	assert_int_equal(gso_open(&g, &vh, super, len), 0);
	assert_int_equal(get16(super + 26), 0xffff);
	vh.csum_start = (uint16_t)(len - 7);
	assert_int_equal(gso_open(&g, &vh, super, len), -1);
	vh.csum_start = 12;
	assert_int_equal(gso_open(&g, &vh, super, len), -1);
	vh.csum_start = vh.csum_offset = 0xffff;
	assert_int_equal(gso_open(&g, &vh, super, len), -1);
}

/* A whole TCP packet with these flags. */
static int
shrinks(size_t len, uint8_t flags)
{
	struct gso g = { 0, 0, 0, 1 };

	super[33] = flags;
	set_sum(super, len);
	return (gso_shrink(&g, super, len, 1240));
}

/* TCP becomes smaller, where nobody notices. */
static void
test_shrink(void **state)
{
	static const uint8_t signature[] = { 29, OPTIONS };
	size_t len = packet(super, IPPROTO_TCP, TCP_ACK | TCP_PSH, 1408),
	    lens[GRO_MAX];
	struct gso g;

	(void)state;
	memset(&g, 0, sizeof(g));
	g.n = 1;
	super[100] ^= 1;			/* broken: it stays so */
	set_sum(super, len);
	super[100] ^= 1;
	assert_int_equal(gso_shrink(&g, super, len, 1240), -1);
	set_sum(super, len);
	assert_int_equal(gso_shrink(&g, super, len, HLEN), -1);
	assert_int_equal(gso_shrink(&g, super, len, 1240), 0);
	assert_int_equal(cut(&g, len, lens), 2);
	assert_int_equal(lens[0], 1240);
	assert_int_equal(wire[0][33], TCP_ACK);
	assert_int_equal(wire[1][33], TCP_ACK | TCP_PSH);
	assert_int_equal(gso_shrink(&g, super, len, HLEN + 1), 0);
	assert_int_equal(shrinks(len, TCP_ACK | TCP_URG), -1);
	assert_int_equal(shrinks(len, TCP_ACK | TCP_SYN), -1);
	assert_int_equal(shrinks(len, TCP_ACK), 0);
	/* TCP-AO, TCP-MD5 and what nobody knows say something of the whole. */
	memcpy(super + 40, signature, sizeof(signature));
	assert_int_equal(shrinks(len, TCP_ACK), -1);
	memcpy(super + 40, "\x08\x00", 2);
	assert_int_equal(shrinks(len, TCP_ACK), -1);
}

/* Any superpacket: cut, joined, it is the same. */
static void
test_identity(void **state)
{
	struct virtio_net_hdr vh, back;
	size_t len, lens[GRO_MAX];
	struct gro gro;
	struct gso g;
	uint16_t size;
	int i;

	(void)state;
	for (i = 0; i < 2000; i++) {
		size = (uint16_t)(200 + random() % 1200);
		len = packet(super, IPPROTO_TCP, (uint8_t)(TCP_ACK |
		    (random() % 2 ? TCP_PSH : 0) |
		    (random() % 2 ? TCP_ECE : 0)),
		    (size_t)(size + 1 + random() % (size * 20)));
		if (random() % 2)
			put16(super + 6, 0);
		put16(super + 36, sum_pseudo(super, len - IPV4_HEADER));
		sum_ipv4(super);
		vh = offload(VIRTIO_NET_HDR_GSO_TCPV4, size);
		vh.hdr_len = HLEN;
		assert_int_equal(gso_open(&g, &vh, super, len), 0);
		join(&gro, cut(&g, len, lens), lens);
		assert_int_equal(gro.nbundles, 1);
		assert_int_equal(gro.bundles[0].n, g.n);
		assert_int_equal(gro.bundles[0].octets, len + (g.n - 1) * HLEN);
		assert_int_equal(frame(&gro, 0, &back), len);
		assert_memory_equal(joined, super, len);
		assert_memory_equal(&back, &vh, sizeof(vh));
	}
}

/* Three segments; how many bundles they become after one was changed. */
static uint32_t
bundles(size_t at, int value, int mend)
{
	struct virtio_net_hdr vh = offload(VIRTIO_NET_HDR_GSO_TCPV4, 500);
	size_t len = packet(super, IPPROTO_TCP, TCP_ACK, 1500), lens[GRO_MAX],
	    i, octets = 0;
	uint8_t before[3][2048];
	struct gro gro;
	struct gso g;
	uint32_t n;

	put16(super + 6, 0);
	sum_ipv4(super);
	assert_int_equal(gso_open(&g, &vh, super, len), 0);
	n = cut(&g, len, lens);
	if (at != 0) {
		wire[1][at] = (uint8_t)value;
		if (mend)
			set_sum(wire[1], lens[1]);
	}
	memcpy(before, wire, sizeof(before));
	join(&gro, n, lens);
	for (i = 0; i < gro.nbundles; i++) {
		octets += gro.bundles[i].octets;
		if (gro.bundles[i].n > 1)
			continue;
		/* What is not joined is as it was. */
		assert_int_equal(frame(&gro, (uint32_t)i, &vh),
		    lens[gro.bundles[i].first]);
		assert_memory_equal(joined, before[gro.bundles[i].first],
		    lens[gro.bundles[i].first]);
		assert_int_equal(vh.flags, 0);
		assert_int_equal(vh.gso_type, 0);
	}
	assert_int_equal(octets, lens[0] + lens[1] + lens[2]);
	return (gro.nbundles);
}

static void
test_join_odd(void **state)
{
	(void)state;
	assert_int_equal(bundles(0, 0, 0), 1);
	/* The third does not follow the first, so it is by itself. */
	assert_int_equal(bundles(1, 3, 1), 3);		/* ECN */
	assert_int_equal(bundles(5, 9, 1), 3);		/* identification */
	assert_int_equal(bundles(6, 0x40, 1), 3);	/* DF */
	assert_int_equal(bundles(6, 0x20, 1), 3);	/* a fragment: no TCP */
	assert_int_equal(bundles(8, 63, 1), 3);		/* TTL */
	assert_int_equal(bundles(9, 50, 1), 3);		/* no TCP */
	assert_int_equal(bundles(21, 1, 1), 3);		/* another port */
	assert_int_equal(bundles(27, 1, 1), 3);		/* sequence */
	assert_int_equal(bundles(31, 1, 1), 3);		/* acknowledgement */
	assert_int_equal(bundles(32, 0x70, 1), 3);	/* options end earlier */
	assert_int_equal(bundles(32, 0x10, 1), 3);	/* no TCP header */
	assert_int_equal(bundles(33, TCP_ACK | TCP_FIN, 1), 3);
	assert_int_equal(bundles(33, TCP_ACK | TCP_SYN, 1), 3);
	assert_int_equal(bundles(33, TCP_ACK | TCP_RST, 1), 3);
	assert_int_equal(bundles(33, TCP_ACK | TCP_URG, 1), 3);
	assert_int_equal(bundles(33, TCP_ACK | TCP_CWR, 1), 3);
	assert_int_equal(bundles(33, TCP_ACK | TCP_ECE, 1), 3);
	assert_int_equal(bundles(33, 0, 1), 3);
	assert_int_equal(bundles(33, TCP_ACK | TCP_PSH, 1), 2);	/* ends it */
	assert_int_equal(bundles(35, 7, 1), 3);		/* window */
	assert_int_equal(bundles(39, 7, 1), 3);		/* urgent pointer */
	assert_int_equal(bundles(45, 77, 1), 3);	/* timestamp */
	/* What is broken must not get a checksum that holds. */
	assert_int_equal(bundles(100, 77, 0), 3);
	assert_int_equal(bundles(10, 77, 0), 3);
}

/* The first one's checksum is wrong: nothing is joined to it. */
static void
test_join_broken(void **state)
{
	struct virtio_net_hdr vh = offload(VIRTIO_NET_HDR_GSO_TCPV4, 500);
	size_t len = packet(super, IPPROTO_TCP, TCP_ACK, 1500), lens[GRO_MAX];
	struct gro gro;
	struct gso g;

	(void)state;
	assert_int_equal(gso_open(&g, &vh, super, len), 0);
	assert_int_equal(cut(&g, len, lens), 3);
	wire[0][200] ^= 1;
	join(&gro, 3, lens);
	assert_int_equal(gro.nbundles, 2);
	assert_int_equal(gro.bundles[0].n, 1);
	assert_int_equal(gro.bundles[1].n, 2);
}

/* Flows in turns, and what is not TCP: each in its order. */
static void
test_order(void **state)
{
	static const uint32_t want[] = { 2, 2, 1, 1, 1, 1 };
	struct gro gro;
	size_t lens[GRO_MAX], i;

	(void)state;
	for (i = 0; i < 8; i++) {
		lens[i] = packet(wire[i], i == 2 || i == 5 ? IPPROTO_UDP :
		    IPPROTO_TCP, i == 6 ? TCP_ACK | TCP_FIN : TCP_ACK, 100);
		put16(wire[i] + 20, (uint16_t)(1000 + i % 2));
		if (i == 3 || i == 4)		/* follows 1, 0 */
			put32(wire[i] + 24, 0xfffff000U + 100);
		if (i == 6 || i == 7) {
			put16(wire[i] + 20, 1000);
			put32(wire[i] + 24, 0xfffff000U +
			    (i == 6 ? 200 : 300));
		}
		set_sum(wire[i], lens[i]);
	}
	join(&gro, 8, lens);
	/* 0+4, 1+3, 2, 5, 6 which ends its flow, 7 behind it */
	assert_int_equal(gro.nbundles, 6);
	for (i = 0; i < 6; i++)
		assert_int_equal(gro.bundles[i].n, want[i]);
	assert_int_equal(gro.bundles[2].first, 2);
	assert_int_equal(gro.bundles[3].first, 5);
	assert_int_equal(gro.bundles[4].first, 6);
	assert_int_equal(gro.bundles[5].first, 7);
	/* A bare acknowledgement, and what would follow the one before it. */
	for (i = 0; i < 3; i++) {
		lens[i] = packet(wire[i], IPPROTO_TCP, TCP_ACK,
		    i == 1 ? 0 : 100);
		put32(wire[i] + 24, 0xfffff000U + (i > 0 ? 100 : 0));
		set_sum(wire[i], lens[i]);
	}
	join(&gro, 3, lens);
	assert_int_equal(gro.nbundles, 3);
	/* never more than an IPv4 packet is */
	for (i = 0; i < GRO_MAX; i++) {
		lens[i] = packet(wire[i], IPPROTO_TCP, TCP_ACK, 1900);
		put32(wire[i] + 24, (uint32_t)(i * 1900));
		set_sum(wire[i], lens[i]);
	}
	join(&gro, GRO_MAX, lens);
	assert_int_equal(gro.nbundles, 2);
	assert_int_equal(gro.bundles[0].n, 34);
}

static void
test_pmtu(void **state)
{
	struct tunnel_entry e;

	(void)state;
	memset(&e, 0, sizeof(e));
	assert_int_equal(pmtu_inner(&e, 1460, 5), 1460);
	/* not below 1280, nor about a packet that was small enough */
	assert_int_equal(pmtu_learn(&e, 1279, 1460, 0), 0);
	assert_int_equal(pmtu_learn(&e, 0, 1460, 0), 0);
	assert_int_equal(pmtu_learn(&e, 1400, 1360, 0), 0);
	assert_int_equal(pmtu_learn(&e, 1400, 1361, 0), 1);
	assert_int_equal(pmtu_inner(&e, 1460, 1), 1360);
	assert_int_equal(pmtu_inner(&e, 1200, 1), 1200);
	/* never up, until ten minutes are over */
	assert_int_equal(pmtu_learn(&e, 1450, 1460, 1000), 0);
	assert_int_equal(pmtu_learn(&e, 1280, 1460, 1000), 1);
	assert_int_equal(pmtu_inner(&e, 1460, 600999), 1240);
	assert_int_equal(pmtu_inner(&e, 1460, 601000), 1460);
	assert_int_equal(e.pmtu, 0);
	assert_int_equal(pmtu_learn(&e, 1450, 1460, 700000), 1);
	assert_int_equal(pmtu_learn(&e, 1480, 1460, 1300000), 1);
}

static void
test_too_big(void **state)
{
	static const uint8_t errors[] = { 3, 4, 5, 11, 12, 200 };
	uint8_t icmp[TOO_BIG_MAX];
	size_t len = packet(super, IPPROTO_UDP, 0, 1400), n, i;

	(void)state;
	n = pmtu_too_big(icmp, super, len, 1240);
	assert_int_equal(n, TOO_BIG_MAX);
	assert_int_equal(ipv4_check(icmp, n), n);
	assert_int_equal(slow_sum(icmp, IPV4_HEADER, 0), 0xffff);
	assert_int_equal(slow_sum(icmp + 20, n - 20, 0), 0xffff);
	assert_int_equal(icmp[20] << 8 | icmp[21], 0x0304);
	assert_int_equal(get16(icmp + 26), 1240);
	assert_memory_equal(icmp + 12, super + 16, 4);
	assert_memory_equal(icmp + 16, super + 12, 4);
	assert_memory_equal(icmp + 28, super, n - 28);
	assert_int_equal(pmtu_too_big(icmp, super, 30, 1240), 58);
	put16(super + 6, 1);			/* a later fragment */
	assert_int_equal(pmtu_too_big(icmp, super, len, 1240), 0);
	put16(super + 6, IPV4_DF);
	super[9] = IPPROTO_ICMP;
	super[20] = 8;
	assert_int_not_equal(pmtu_too_big(icmp, super, len, 1240), 0);
	assert_int_equal(pmtu_too_big(icmp, super, 20, 1240), 0);
	for (i = 0; i < sizeof(errors); i++) {
		super[20] = errors[i];
		assert_int_equal(pmtu_too_big(icmp, super, len, 1240), 0);
	}
	super[9] = IPPROTO_UDP;
	for (i = 12; i <= 16; i += 4) {
		super[i] = 0;
		assert_int_equal(pmtu_too_big(icmp, super, len, 1240), 0);
		super[i] = 127;
		assert_int_equal(pmtu_too_big(icmp, super, len, 1240), 0);
		super[i] = 224;
		assert_int_equal(pmtu_too_big(icmp, super, len, 1240), 0);
		super[i] = 10;
	}
}

/* What an interface left undone of a packet that came. */
static void
test_received(void **state)
{
	struct virtio_net_hdr vh;
	struct gso g;
	uint8_t p[4000] = { 4 << 4 | IPV4_HEADER / 4 };
	size_t len;

	(void)state;
	for (len = 100; len <= sizeof(p); len += sizeof(p) - 100) {
		put16(p + 2, (uint16_t)len);
		p[9] = IPPROTO_TCP;
		p[IPV4_HEADER + 12] = TCP_HEADER / 4 << 4;
		put16(p + 36, sum_pseudo(p, len - IPV4_HEADER));
		assert_int_equal(gso_received(&vh, p, len, 1460), 0);
		assert_int_equal(vh.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
		assert_int_equal(vh.csum_start, IPV4_HEADER);
		assert_int_equal(vh.csum_offset, 16);
		assert_int_equal(vh.gso_type, len > 1460 ?
		    VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_NONE);
		assert_int_equal(vh.gso_size, len > 1460 ? 1420 : 0);
		assert_int_equal(gso_open(&g, &vh, p, len), 0);
		assert_int_equal(g.n, len > 1460 ? 3 : 1);
		/* a sum that is whole, a fragment, what has no such sum */
		put16(p + 36, (uint16_t)(get16(p + 36) + 1));
		assert_int_equal(gso_received(&vh, p, len, 1460), 0);
		assert_int_equal(vh.flags | vh.gso_type, 0);
		put16(p + 36, sum_pseudo(p, len - IPV4_HEADER));
		put16(p + 6, 1);
		assert_int_equal(gso_received(&vh, p, len, 1460), 0);
		assert_int_equal(vh.flags | vh.gso_type, 0);
		put16(p + 6, 0);
		p[9] = IPPROTO_ICMP;
		assert_int_equal(gso_received(&vh, p, len, 1460), 0);
		assert_int_equal(vh.flags | vh.gso_type, 0);
		p[9] = IPPROTO_UDP;
		put16(p + 26, sum_pseudo(p, len - IPV4_HEADER));
		assert_int_equal(gso_received(&vh, p, len, 1460),
		    len > 1460 ? -1 : 0);
		assert_int_equal(vh.csum_offset, 6);
		assert_int_equal(vh.gso_type, 0);
	}
}

static void
test_bucket(void **state)
{
	struct bucket b;
	int64_t now;
	int i, n;

	(void)state;
	memset(&b, 0, sizeof(b));
	for (i = n = 0; i < 100; i++)
		n += bucket_take(&b, 50, 1000, 5000);
	assert_int_equal(n, 50);
	for (n = 0, now = 5000; now < 6000; now++)
		for (i = 0; i < 10; i++)
			n += bucket_take(&b, 50, 1000, now);
	assert_int_equal(n, 999);
	/* less than one in a millisecond */
	memset(&b, 0, sizeof(b));
	for (n = 0, now = 0; now < 10000; now++)
		n += bucket_take(&b, 2, 1, now);
	assert_int_equal(n, 11);
}

/* A second and a burst of it, however the packets come. */
static void
test_rate(void **state)
{
	static const uint64_t bits[] = { 64000, 8000000, 100000000000 };
	static const uint32_t sizes[] = { 28, 1460, 65535 };
	unsigned long long busy, now, passed, most;
	size_t i, j;
	int n;

	(void)state;
	busy = 0;
	for (n = 0; n < 1000; n++)	/* no limit, and nothing is counted */
		assert_true(rate_take(&busy, 0, 65535, 5));
	assert_int_equal(busy, 0);
	for (i = 0; i < sizeof(bits) / sizeof(bits[0]); i++)
		for (j = 0; j < sizeof(sizes) / sizeof(sizes[0]); j++) {
			busy = passed = 0;
			most = bits[i] / 8 * 5 / 4;
			/* a million offers in a second, which do not wait */
			for (n = 0, now = RATE_SECOND * 7; n < 1000000; n++) {
				if (rate_take(&busy, bits[i], sizes[j], now))
					passed += sizes[j];
				now += 1000;
			}
			assert_true(passed <= most + most / 500 +
			    2 * sizes[j]);
			if (most > 1000000ULL * sizes[j])
				most = 1000000ULL * sizes[j];
			assert_true(passed + 2 * sizes[j] >= most - most / 50);
			/* after a rest there is no more than a burst */
			now += 3600 * RATE_SECOND;
			for (passed = n = 0; n < 1000; n++)
				passed += rate_take(&busy, bits[i],
				    RATE_BURST / 10 * (bits[i] / 8000) /
				    1000000, now);
			assert_in_range(passed, 10, 12);
		}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sum), cmocka_unit_test(test_cut_tcp),
		cmocka_unit_test(test_cut_udp), cmocka_unit_test(test_cut_odd),
		cmocka_unit_test(test_complete), cmocka_unit_test(test_shrink),
		cmocka_unit_test(test_identity),
		cmocka_unit_test(test_join_odd),
		cmocka_unit_test(test_join_broken),
		cmocka_unit_test(test_order), cmocka_unit_test(test_pmtu),
		cmocka_unit_test(test_too_big), cmocka_unit_test(test_bucket),
		cmocka_unit_test(test_rate),
		cmocka_unit_test(test_received),
	};

	srandom(1);
	return (cmocka_run_group_tests_name("gso", tests, NULL, NULL));
}
