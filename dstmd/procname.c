/* Apart from proc.c, which needs the sandbox: dstmctl shows names too. */
#include "dstmd/dstmd.h"

static const char *const names[PROC_NPROC] = {
	[PROC_PRIV]	= "priv",
	[PROC_SESSION]	= "session",
	[PROC_PARSER]	= "parser",
	[PROC_AUTH]	= "auth",
	[PROC_STORE]	= "store",
	[PROC_TUNNEL]	= "tunnel",
	[PROC_TUNNEL2]	= "tunnel2",
	[PROC_TUNNEL3]	= "tunnel3",
	[PROC_TUNNEL4]	= "tunnel4",
	[PROC_CONTROL]	= "control",
	[PROC_EVENT]	= "event",
};

const char *
proc_name(uint32_t id)
{
	return (id < PROC_NPROC ? names[id] : "?");
}

enum proc_id
proc_kind(enum proc_id id)
{
	return (id > PROC_TUNNEL && id < PROC_TUNNEL + TUNNEL_QUEUE_MAX ?
	    PROC_TUNNEL : id);
}
