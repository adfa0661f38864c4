/* What each process may say to the parent: all of it. */
#include "dstmd/tsp.h"
#include "priv/priv.h"

#define CHILDREN	(MSG_FROM(PROC_SESSION) | MSG_FROM(PROC_PARSER) | \
    MSG_FROM(PROC_AUTH) | MSG_FROM(PROC_STORE) | TUNNEL)
#define SESSION		MSG_FROM(PROC_SESSION)
#define AUTH		MSG_FROM(PROC_AUTH)
#define STORE		MSG_FROM(PROC_STORE)
#define TUNNEL1		MSG_FROM(PROC_TUNNEL)	/* it alone has a node's */
#define TUNNEL		(TUNNEL1 | MSG_FROM(PROC_TUNNEL2) | \
    MSG_FROM(PROC_TUNNEL3) | MSG_FROM(PROC_TUNNEL4))

const struct msg_rule	 priv_rules[] = {
	{ MSG_READY, CHILDREN, 0, 0, 0, child_ready },

	{ MSG_CONN_OPEN, SESSION, sizeof(struct msg_conn_open), 0,
	    MSG_F_FD | MSG_F_FD_LOST, conn_open },
	{ MSG_CONN_CLOSE, SESSION, sizeof(struct msg_conn), 0, 0, conn_close },
	{ MSG_DIAL, SESSION, sizeof(struct msg_dial), 0, 0, conn_dial },
	{ MSG_LEASE_REQUEST, SESSION, sizeof(struct msg_lease_request), 0, 0,
	    server_request },
	{ MSG_TEP_UP, SESSION, sizeof(struct msg_tep_state), 0, 0,
	    server_tep_up },
	{ MSG_TEP_DOWN, SESSION, sizeof(struct msg_tep_state), 0, 0,
	    server_tep_down },
	{ MSG_TEP_REPLY, SESSION, sizeof(struct msg_tep_reply), 0, 0,
	    server_tep_reply },
	{ MSG_NODE_LEASE, SESSION, sizeof(struct msg_node_lease), 0, 0,
	    node_lease },
	{ MSG_NODE_DELETE, SESSION, sizeof(struct msg_node_delete), 0, 0,
	    node_delete },
	{ MSG_NODE_OFFER, SESSION, sizeof(struct msg_node_delete), 0, 0,
	    node_offer },
	{ MSG_CALL_DONE, SESSION, sizeof(struct msg_call_done), 0, 0,
	    call_done },
	{ MSG_NODE_NOTE, SESSION, sizeof(struct msg_node_note), 0, 0,
	    node_note },
	{ MSG_NODE_STOPPED, SESSION, 0, 0, 0, node_stopped },

	{ MSG_AUTH_VERDICT, AUTH, sizeof(struct msg_auth_verdict), 0, 0,
	    conn_verdict },

	{ MSG_STORE_LEASE, STORE, sizeof(struct msg_store_lease), 0, 0,
	    store_lease },
	{ MSG_STORE_NODE, STORE, sizeof(struct msg_store_node), 0, 0,
	    store_node },
	{ MSG_STORE_LOADED, STORE, sizeof(struct msg_store_loaded), 0, 0,
	    store_loaded },
	{ MSG_STORE_DONE, STORE, sizeof(struct msg_store_done), 0, 0,
	    server_store_done },
	{ MSG_STORE_FAIL, STORE, sizeof(struct msg_store_done), 0, 0,
	    server_store_fail },

	{ MSG_TUNNEL_ENTRY, TUNNEL, sizeof(struct msg_tunnel_entry), 0, 0,
	    plane_tun_entry },
	{ MSG_TUNNEL_GONE, TUNNEL, sizeof(struct msg_tunnel_dev), 0, 0,
	    tep_gone },
	{ MSG_TUNNEL_USED, TUNNEL1, sizeof(struct msg_tunnel_dev), 0, 0,
	    node_used },
	{ MSG_TUNNEL_PEER, TUNNEL1, sizeof(struct msg_tunnel_peer), 0, 0,
	    node_peer },
	{ MSG_TUNNEL_STATS, TUNNEL, sizeof(struct msg_tunnel_stats), 0, 0,
	    plane_tun_stats },

	{ MSG_REPLACE, SESSION, sizeof(struct msg_link_to), 0, 0,
	    child_replace },
};
const size_t		 priv_nrules = sizeof(priv_rules) / sizeof(priv_rules[0]);
