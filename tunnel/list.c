/* What the tunnel process tells of its entries, when the parent asks. */
#include <sys/types.h>

#include <string.h>

#include "dstmd/msg.h"
#include "tunnel/tunnel.h"

static void
tell_entry(struct msglink *l, uint64_t cookie, uint32_t dev,
    const struct tunnel_entry *e)
{
	struct msg_tunnel_entry me;

	memset(&me, 0, sizeof(me));
	me.dev = dev;
	me.v4 = e->v4;
	me.v6 = e->v6;
	me.in_packets = e->in_packets;
	me.in_bytes = e->in_bytes;
	me.out_packets = e->out_packets;
	me.out_bytes = e->out_bytes;
	me.cookie = cookie;
	msg_put(l, MSG_TUNNEL_ENTRY, &me, sizeof(me));
}

void
list_page(struct msglink *l, const struct msg_tunnel_list *ml,
    const struct tunnel_map *map, const uint64_t *drops)
{
	static struct tunnel_entry page[TUNNEL_PAGE_MAX];
	struct msg_tunnel_stats st;
	uint32_t i, n = 0;

	memset(&st, 0, sizeof(st));
	st.cookie = ml->cookie;
	st.dev = ml->dev;
	if (map != NULL) {
		st.entries = tunnel_map_count(map);
		memcpy(st.drops, drops, sizeof(st.drops));
		if (ml->max > 0)
			st.next = tunnel_map_page(map, ml->slot, page,
			    ml->max < TUNNEL_PAGE_MAX ? ml->max :
			    TUNNEL_PAGE_MAX, &n);
	}
	for (i = 0; i < n; i++)
		tell_entry(l, ml->cookie, ml->dev, &page[i]);
	msg_put(l, MSG_TUNNEL_STATS, &st, sizeof(st));
}

void
list_one(struct msglink *l, const struct msg_tunnel_ask *ma,
    struct tunnel_map *map)
{
	const struct tunnel_entry *e;

	if (map != NULL && (e = tunnel_map_find(map, ma->v4)) != NULL)
		tell_entry(l, ma->cookie, ma->dev, e);
}
