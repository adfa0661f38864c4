/* What the tunnel process would do with a packet, as a program's verdict. */
#include <string.h>

#include "regress/tunnel/same.h"

/* Of the neighbours; the last octet is a lease's number from 1. */
static const uint8_t	 hop[] = { 2, 0, 0, 0, 0, 0 };

static void
want_nothing(const struct packet *pk, struct wanted *x)
{
	x->verdict = PASS;
	x->lease = -1;
	x->packet = *pk;
}

static void
want_drop(struct wanted *x, enum tunnel_drop reason)
{
	x->verdict = DROPPED;
	x->reason = reason;
}

/* Of an outer packet with so many octets in it, of a lease. */
static void
want_decap(const struct world *w, const uint8_t *o, size_t len, int lease,
    struct wanted *x)
{
	uint8_t *p = x->packet.data + ETH;

	memcpy(p, o + OUTER, len);
	if (ecn_decap(p, len, (uint8_t)(get32(o) >> 20)) == -1) {
		want_drop(x, DROP_ECN);
		return;
	}
	ipv4_clamp_mss(p, len, w->st->mtu);
	x->verdict = REDIRECTED;
	if (w->st->flags & BPF_STATE_SHORT) {
		x->verdict = GOES;
		put16(x->packet.data + 12, IP4);
	}
	x->packet.len = ETH + len;
	x->lease = lease;
}

/* As tunnel.c's packet_in, and 4over6.bpf.c's head says what passes on. */
void
want_in(const struct world *w, const struct packet *pk, struct wanted *x)
{
	const struct bpf_state *st = w->st;
	const uint8_t *o = pk->data + ETH;
	const uint8_t *p = o + OUTER;
	struct in_addr src, dst;
	size_t len = pk->len - ETH - OUTER;
	int node = (st->flags & BPF_STATE_NODE) != 0, is_ours, i;

	want_nothing(pk, x);
	is_ours = memcmp(pk->data, ours, sizeof(ours)) == 0;
	if (st->ifindex == 0 || (!is_ours && (pk->data[0] & 1) == 0))
		return;
	if (get16(pk->data + 12) == IP4 && (st->flags & BPF_STATE_SHORT) &&
	    pk->len >= ETH + 20 && whose(w, IN, o) != -1) {
		want_drop(x, node ? DROP_OUTER_SOURCE : DROP_INNER_SOURCE);
		return;
	}
	if (!is_ours || (st->flags & BPF_STATE_LEAVE) || pk->len < ETH + OUTER + 20 ||
	    get16(pk->data + 12) != IP6 || o[6] != 4 ||
	    memcmp(o + 24, st->local, 16) != 0 || get16(o + 4) != len ||
	    ipv4_check(p, len) != len)
		return;
	memcpy(&src, p + 12, 4);
	memcpy(&dst, p + 16, 4);
	if ((i = whose(w, IN, p)) == -1) {
		if (!(st->flags & BPF_STATE_PASS_MISS))
			want_drop(x, node ? DROP_NO_LEASE : DROP_INNER_SOURCE);
	} else if (memcmp(o + 8, w->slots[i].v6, 16) != 0)
		want_drop(x, DROP_OUTER_SOURCE);
	else if (w->slots[i].expires != 0)
		want_drop(x, DROP_EXPIRED);
	else if (!in_usable(src) || !in_usable(dst))
		want_drop(x, DROP_MARTIAN);
	else if (st->tep4 != 0 && src.s_addr == st->tep4 && p[9] == 1)
		return;
	else if (st->rate != 0 && w->slots[i].in_busy == LATE)
		want_drop(x, DROP_RATE);
	else
		want_decap(w, o, len, i, x);
}

void
want_long_way(const struct packet *pk, struct wanted *x)
{
	want_nothing(pk, x);
	x->verdict = REDIRECTED;
}

void
want_out(const struct world *w, const struct packet *pk, struct wanted *x)
{
	const struct bpf_state *st = w->st;
	const uint8_t *p = pk->data + ETH;
	uint8_t *e = x->packet.data, *o = e + ETH;
	struct in_addr src, dst;
	size_t len = pk->len - ETH;
	int i = whose(w, OUT, p);

	want_nothing(pk, x);
	if (st->device == 0 || get16(pk->data + 12) != IP4 ||
	    (memcmp(pk->data, pk->data + 6, 6) != 0 && i == -1))
		return;
	want_long_way(pk, x);
	memcpy(&src, p + 12, 4);
	memcpy(&dst, p + 16, 4);
	if (st->ifindex == 0 || (st->flags & BPF_STATE_LEAVE) ||
	    IN6_IS_ADDR_UNSPECIFIED((const struct in6_addr *)st->local) ||
	    ipv4_check(p, len) != len || i == -1 ||
	    w->slots[i].expires != 0 || !in_usable(src) ||
	    !in_usable(dst) || ((st->flags & BPF_STATE_DEMAND) &&
	    st->used == 0 && ipv4_is_demand(p, len)) ||
	    pk->ifindex != w->ifindex || OUTER + len > PATH ||
	    (st->rate != 0 && w->slots[i].out_busy == LATE))
		return;
	x->verdict = GOES;
	x->lease = i;
	x->packet.len = pk->len + OUTER;
	memcpy(e, hop, sizeof(hop));
	e[5] = (uint8_t)(i + 1);
	put16(e + 12, IP6);
	put32(o, 6U << 28 | (uint32_t)ecn_encap(p[1]) << 20);
	put16(o + 4, (uint16_t)len);
	o[6] = 4;
	o[7] = 64;
	memcpy(o + 8, st->local, 16);
	memcpy(o + 24, w->slots[i].v6, 16);
	memcpy(o + OUTER, p, len);
	ipv4_clamp_mss(o + OUTER, len, st->mtu);
}
