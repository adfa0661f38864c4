/*
 * The privileged parent. It never parses a byte that came from the network:
 * it gets fixed structs from processes that it assumes to be taken over.
 */
#ifndef PRIV_PRIV_H
#define PRIV_PRIV_H

#include <sys/socket.h>

#include <netinet/in.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include <stdint.h>

#include "dstmd/dstmd.h"
#include "dstmd/msg.h"
#include "priv/conf.h"
#include "priv/lease.h"
#include "tunnel/tunnel.h"

/* main.c */
struct priv {
	struct event_base	*base;
	struct conf		*conf;
	const struct plane	*plane;
	int			 foreground;
	int			 quitting;
	int			 leaves;	/* the plane, to the next */
};
extern struct priv	 priv;

void	 priv_quit(void);
/* A one-shot timer, ms from now; a past or negative one fires at once. */
void	 timer_set(struct event *, int64_t);

/* plane.c: which data plane it is, logged; before the sandbox */
const struct plane	*plane_choose(const struct conf *);
uint32_t plane_queues(void);	/* tunnel processes, TUNNEL_QUEUE_MAX at most */
int	 plane_stays(void);	/* it carries packets without us: 1 or 0 */
void	 plane_end(void);	/* all devices are closed */

/* child.c: start, supervision and end of the other processes */
void	 child_init(void);		/* users; before the sandbox */
void	 child_start_all(void);
void	 child_stop_all(void);		/* then the loop ends */
void	 child_reap(void);		/* after SIGCHLD */
void	 child_ready(struct msglink *, struct msg *);
void	 child_replace(struct msglink *, struct msg *);
void	 child_set_verbose(int);
void	 child_kill(enum proc_id);	/* it lies; another one is started */
/* The link to a process, or NULL while there is none. */
struct msglink	*child_link(enum proc_id);
int	 child_is_up(enum proc_id);	/* has said MSG_READY */
/* Row for dstmctl: 1, or 0 where that process does not exist here. */
int	 child_info(enum proc_id, struct msg_ctl_process *);
/* Reopens the secrets for auth (SIGHUP). */
void	 child_secrets(void);
/* A running session is told what it serves; calls the rest when loaded. */
void	 child_loaded(void);

/* rules.c: what each process may say to the parent */
extern const struct msg_rule priv_rules[];
extern const size_t	 priv_nrules;

/* listen.c */
void	 listen_open(void);		/* before the sandbox; fatal */
void	 listen_again(void);		/* for a new session process */
int	 listen_fd(uint32_t);
/* The listener that made this accepted socket, or -1. */
int	 listen_match(const struct sockaddr_in6 *);

/* conn.c: connections, as the kernel and auth know them */
struct pconn {
	struct conn_ref	 ref;
	enum conn_kind	 kind;
	uint32_t	 index;		/* listener; TEP; server */
	struct in6_addr	 peer, local;
	uint16_t	 port;		/* peer's */
	int		 authenticated;
	uint32_t	 mech;
	char		 name[NAME_SIZE];
	const struct conf_user	*user;	/* a node of ours */
	const struct conf_peer	*server; /* a server that our TEP obeys */
	uint32_t	 tep;		/* that TEP */
	int		 caller;	/* a server that calls our node */
	int64_t		 since_ms;
};

void	 conn_open(struct msglink *, struct msg *);
void	 conn_close(struct msglink *, struct msg *);
void	 conn_dial(struct msglink *, struct msg *);
void	 conn_verdict(struct msglink *, struct msg *);
/* By its reference, or NULL: never known, closed, or another generation. */
struct pconn	*conn_find(struct conn_ref);
/* The first with a slot >= id, or NULL: a walk. */
struct pconn	*conn_next(uint32_t);
/* A new session begins behind it, and has CONN_GENS - 1. */
uint32_t conn_last_gen(void);
void	 conn_drop_all(void);		/* the session process died */

/* server.c: nodes' requests, the lease engine's actions */
void	 server_init(void);
void	 server_load(const struct lease_rec *);
void	 server_forget(void);		/* what was loaded; before it is served */
void	 server_request(struct msglink *, struct msg *);
void	 server_reply(const struct msg_lease_request *, uint32_t status,
	    const struct msg_lease_reply *);
void	 server_tep_up(struct msglink *, struct msg *);
void	 server_tep_down(struct msglink *, struct msg *);
void	 server_tep_reply(struct msglink *, struct msg *);
void	 server_teps_lost(void);	/* with the session process */
void	 server_store_done(struct msglink *, struct msg *);
void	 server_store_fail(struct msglink *, struct msg *);
void	 server_store_up(void);		/* a new store process */
void	 server_conn_gone(const struct pconn *);
void	 server_pump(void);
/* enum drain: nodes are sent elsewhere. */
void	 server_drain(uint32_t);
uint32_t server_draining(void);
struct lease_engine	*server_engine(void);	/* NULL: not a server */

/* The one identity of who logged in by that mechanism. */
uint32_t lease_identity(uint32_t);

/* call.c: nodes of ours that have no connection to us */
void	 call_init(void);
int	 call_may(const struct lease_owner *);	/* is it called? 1 or 0 */
/* Tells it, where it may: body.op OP_DELETE, or OP_CREATE, an offer. */
void	 call_node(const struct lease_owner *, const struct msg_lease_reply *);
/* Who is called by that number now, or NULL: nobody. */
const struct lease_owner *call_target(uint32_t);
void	 call_done(struct msglink *, struct msg *);
void	 call_session_up(void);
void	 call_session_lost(void);

/* offer.c: unsolicited allocation */
typedef void	(*offer_cb)(void *, int ok, const char *text);
/*
 * To the user of that name or, where it is "", who is at that address: NULL it
 * is under way and the callback will be called once, else why not.
 */
const char *offer_make(const char *, const struct in6_addr *, offer_cb,
	    void *);
/* The engine's reply to an ask of ours: on connection CONN_MAX. */
void	 offer_reply(const struct msg_lease_reply *);
/* A node that was called about that address has answered so. */
void	 offer_answered(struct in_addr, uint32_t status);
/* A node's own request, before the engine gets it. */
void	 offer_seen(const struct lease_owner *, const struct msg_lease_request *);
void	 offer_conn_gone(struct conn_ref);

/* store.c: the load */
void	 store_start(void);
void	 store_lease(struct msglink *, struct msg *);
void	 store_node(struct msglink *, struct msg *);
void	 store_loaded(struct msglink *, struct msg *);

/* tep.c: our TEPs, and the entries that other servers have in them */
void	 tep_init(void);		/* opens local TEPs' devices; fatal */
void	 tep_end(void);			/* of the daemon: and closes them */
void	 tep_request(struct pconn *, const struct msg_lease_request *);
/* Entry of the lowest address above: 1, or 0 at the end. */
int	 tep_walk(struct in_addr, struct msg_ctl_lease *);
/* Device of TEP i: 1, or 0 it is not ours. */
int	 tep_dev(uint32_t, struct plane_dev *);
/* A device's interface was removed, says tunnel: of a TEP or of the node. */
void	 tep_gone(struct msglink *, struct msg *);
/* One of our own outer addresses: a server's, a TEP's. */
int	 tep_is_own(const struct in6_addr *);
void	 tep_loaded(void);	/* all leases of our own server are there */

/* node.c */
#define NODE_DEV	(TUNNEL_DEV_MAX - 1)

void	 node_init(void);
void	 node_restore(const struct node_rec *);
void	 node_session_up(void);
void	 node_store_up(void);	/* a new store process */
void	 node_lease(struct msglink *, struct msg *);
void	 node_delete(struct msglink *, struct msg *);
void	 node_stopped(struct msglink *, struct msg *);
void	 node_offer(struct msglink *, struct msg *);
/* A server that has called: its request. */
void	 node_call(const struct pconn *, const struct msg_lease_request *);
void	 node_note(struct msglink *, struct msg *);
void	 node_used(struct msglink *, struct msg *);
void	 node_peer(struct msglink *, struct msg *);	/* the TEP's life */
/*
 * dstmctl up, renew, down: NULL it is so or under way, else why not. down
 * is until up; up on demand is as if a packet had come. Of a node alone.
 */
const char	*node_up(void);
const char	*node_renew(void);
const char	*node_down(void);
void	 node_end(void);		/* of the daemon: all undone */
void	 node_gone(void);		/* its interface was removed */
int	 node_row(struct msg_ctl_lease *);
void	 node_status(struct msg_ctl_node *);

/* host.c: the node's interface, address and route */
/*
 * Takes what a daemon that was killed left: until when its lease is good, or 0
 * there is none. It counts as configured, for host_unconfigure.
 */
int64_t	 host_init(void);
/* On demand: the interface without a lease, if it is not there. 0, or -1
 * logged: try again later. */
int	 host_wait(void);
/* 0, or -1 logged: as before. The lease ends at that now_ms(). */
int	 host_configure(const struct msg_node_lease *, int64_t until);
/* It is up, and ends later. */
void	 host_renew(const struct msg_node_lease *, int64_t until);
/* Takes the lease off the host; on demand the interface stays. */
void	 host_unconfigure(void);
void	 host_close(void);
/*
 * Watches the TEP of the lease that is configured, which is known to answer
 * (1) or not (0), as often as is configured.
 */
void	 host_keepalive(const struct msg_node_lease *, int);
/* 1: it is there. */
int	 node_dev(struct plane_dev *);

/* event.c: the operator's script */
void	 event_init(void);		/* before the sandbox; fatal */
void	 event_send(const struct msg_event *);
void	 event_verbose(const struct msg_verbose *);
void	 event_end(void);		/* it ends when all was run */
int	 event_reaped(pid_t);		/* was it that? 1 or 0 */
int	 event_running(void);
void	 event_kill(void);

/* control.c */
void	 control_open(void);		/* before the sandbox; fatal */
void	 control_start(void);
void	 control_stop(void);

#endif /* PRIV_PRIV_H */
