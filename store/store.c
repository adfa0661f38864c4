/*
 * The store process: a grant is answered only after this process has said
 * that it is durable.
 */
#include <sys/types.h>
#include <sys/stat.h>

#include <event2/event.h>

#include "dstmd/dstmd.h"
#include "store/store.h"

int
main(int argc, char *argv[])
{
	struct event_base *base;
	struct db *db;
	char err[512];

	umask(077);
	db_init();
	proc_child(PROC_STORE, argc, argv);
	if ((base = event_base_new()) == NULL)
		fatalx("event_base_new");
	if ((db = db_open(DB_FILE, err, sizeof(err))) == NULL)
		fatalx("cannot use dstmd.db in the store's directory: %s", err);
	store_serve(base, PROC_FD_PRIV, db);
	event_base_dispatch(base);
	return (0);
}
