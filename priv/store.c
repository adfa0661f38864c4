/* The load: every lease is back before the first request is answered. */
#include <stdlib.h>
#include <string.h>

#include "priv/priv.h"

static int		 loading;
static uint64_t		 count;

/* What an earlier store has said, before it failed, is forgotten. */
void
store_start(void)
{
	if (count > 0)
		server_forget();
	loading = 1;
	count = 0;
	msg_put(child_link(PROC_STORE), MSG_STORE_LOAD, NULL, 0);
}

void
store_lease(struct msglink *l, struct msg *m)
{
	struct msg_store_lease ml;

	(void)l;
	memcpy(&ml, m->data, sizeof(ml));
	if (!loading) {
		log_doubt(PROC_STORE, "store: a lease that nobody asked for");
		return;
	}
	count++;
	if (memchr(ml.rec.name, '\0', sizeof(ml.rec.name)) == NULL ||
	    memchr(ml.rec.tep, '\0', sizeof(ml.rec.tep)) == NULL) {
		log_doubt(PROC_STORE, "store: the lease of %s has a name "
		    "without end: ignored", log_in(ml.rec.v4));
		return;
	}
	server_load(&ml.rec);
}

void
store_node(struct msglink *l, struct msg *m)
{
	struct msg_store_node mn;

	(void)l;
	memcpy(&mn, m->data, sizeof(mn));
	if (loading)
		node_restore(&mn.rec);
}

void
store_loaded(struct msglink *l, struct msg *m)
{
	struct msg_store_loaded ml;

	(void)l;
	memcpy(&ml, m->data, sizeof(ml));
	if (!loading)
		return;
	loading = 0;
	/*
	 * Fewer than it has: an address could get a second owner. Nobody is
	 * served before a store has said all that it has.
	 */
	if (ml.count != count) {
		log_warnx("store: says %llu leases, sent %llu: it is killed, "
		    "and asked again", (unsigned long long)ml.count,
		    (unsigned long long)count);
		child_kill(PROC_STORE);
		return;
	}
	if (server_engine() != NULL)
		log_info("%llu leases are back from the store",
		    (unsigned long long)count);
	server_pump();
	tep_loaded();
	child_loaded();
}
