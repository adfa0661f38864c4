/*
 * What every process of dstmd shares: who the processes are, the messages
 * that they exchange, the log, process start.
 *
 * Messages are fixed width, without pointers, zeroed before they are
 * filled; addresses are in network byte order, integers in host order
 * (both ends are on this machine), times in seconds unless named _ms.
 * A receiver copies a message out and checks every field.
 */
#ifndef DSTMD_H
#define DSTMD_H

#include <sys/types.h>

#include <netinet/in.h>

#include <stdarg.h>
#include <stdint.h>

#define DSTMD_VERSION		"0.1"
#define TSP_PORT		3653	/* RFC 5572, 6 */

/* Limits that more than one process must agree on. */
#define TSP_LINE_MAX		8192	/* octets of a line, with its CRLF */
#define TSP_BODY_MAX		8192	/* octets of a framed message */
#define TSP_REPLY_MAX		4000	/* octets that field clients can read */
#define SASL_BLOB_MAX		6000	/* octets of a SASL step, decoded:
					 * tickets of some directories are big */
#define NAME_MAX_LEN		64	/* user, pool, TEP and server names */
#define NAME_SIZE		(NAME_MAX_LEN + 1)
#define MECH_SIZE		24
#define IFNAME_SIZE		16
#define PLANE_NAME_SIZE		8
#define TEP_MAX			64	/* TEPs that one server knows */
#define POOL_MAX		64
#define SERVER_MAX		8	/* servers that one node knows */
#define REDIRECT_MAX		8	/* servers that one server redirects to */
#define LISTEN_MAX		16
#define CONN_MAX		65536	/* TSP connections at one time */
#define CONN_GENS	(1U << 24) /* generations of a slot, by a life of session */
#define TUNNEL_DEV_MAX		16	/* tunnel interfaces of one daemon */
#define TUNNEL_QUEUE_MAX	4	/* of an interface: PROC_TUNNEL ... */

enum proc_id {
	PROC_PRIV,		/* the privileged parent */
	PROC_SESSION,		/* TSP */
	PROC_PARSER,		/* XML */
	PROC_AUTH,		/* SASL */
	PROC_STORE,		/* SQLite */
	PROC_TUNNEL,		/* user-space data plane: of each interface the
				 * first queue */
	PROC_TUNNEL2,		/* and the others', the same program */
	PROC_TUNNEL3,
	PROC_TUNNEL4,
	PROC_CONTROL,		/* dstmctl, by the control socket */
	PROC_EVENT,		/* the operator's script; not in a sandbox */
	PROC_NPROC
};

/*
 * SASL mechanisms, as a set of bits. mech.c knows their names. A list of
 * them, in somebody's order, has MECH_MAX places; 0 ends it.
 */
#define MECH_ANONYMOUS		0x0001
#define MECH_SCRAM_SHA_256	0x0002
#define MECH_DIGEST_MD5		0x0004
#define MECH_PLAIN		0x0008
#define MECH_GSSAPI		0x0010
#define MECH_CALL		0x0020	/* a server that calls its node, which
					 * offers it alone (auth.h) */
#define MECH_MAX		5
/* Those of nodes that check a stored key, and those by which both sides prove
 * themselves. */
#define MECH_STORED		(MECH_SCRAM_SHA_256 | MECH_DIGEST_MD5 | \
				    MECH_PLAIN)
#define MECH_MUTUAL		(MECH_SCRAM_SHA_256 | MECH_DIGEST_MD5 | \
				    MECH_GSSAPI | MECH_CALL)

enum conn_kind {
	CONN_NONE,
	CONN_ACCEPTED,		/* a client came to our listener */
	CONN_TO_TEP,		/* as server, we called a TEP */
	CONN_TO_SERVER,		/* as node, we called a server */
	CONN_TO_NODE		/* as server, we called a node */
};

/*
 * A TSP connection. The session process numbers them: id is a slot below
 * CONN_MAX, gen grows with each use of the slot, so that what is said of
 * a closed connection never reaches the next one in its slot. gen is
 * never 0.
 */
struct conn_ref {
	uint32_t	 id;
	uint32_t	 gen;
};

/*
 * A message type is unique over all links. The comment gives the
 * direction(s), and + fd where a descriptor goes along.
 */
enum msg_type {
	MSG_NONE,

	/* every child */
	MSG_LINK,		/* priv > child + fd: a link to another child */
	MSG_VERBOSE,		/* priv > child */
	MSG_READY,		/* child > priv: started, sandboxed, set up */
	MSG_CONF_END,		/* priv > child: configuration is complete */

	/* session: configuration and connections */
	MSG_SESSION_CONF,	/* priv > session */
	MSG_LISTEN,		/* priv > session + fd */
	MSG_CONN_OPEN,		/* session > priv + fd: asks for CONN_READY */
	MSG_CONN_READY,		/* priv > session: authentication may start */
	MSG_CONN_CLOSE,		/* session > priv: gone; priv > session: end it */
	MSG_DIAL,		/* session > priv: asks for DIALLED */
	MSG_DIALLED,		/* priv > session + fd (none where it failed) */

	/* authentication */
	MSG_AUTH_CONF,		/* priv > auth */
	MSG_AUTH_SECRETS,	/* priv > auth + fd: file of stored keys */
	MSG_AUTH_CALLS,		/* priv > auth + fd: file of passwords, CRED_CALL */
	MSG_AUTH_KEYTAB,	/* priv > auth + fd: keys of our Kerberos service */
	MSG_AUTH_CRED,		/* priv > auth + fd: our own name, password file */
	MSG_AUTH_START,		/* session > auth, tail: first blob */
	MSG_AUTH_STEP,		/* session > auth, tail: blob */
	MSG_AUTH_NEXT,		/* auth > session, tail: blob for the peer */
	MSG_AUTH_ABORT,		/* session > auth */
	MSG_AUTH_VERDICT,	/* auth > priv: only of success */
	MSG_AUTH_DONE,		/* priv > session: who the peer is */

	/* parser */
	MSG_PARSE,		/* session > parser, tail: the XML */
	MSG_PARSED,		/* parser > session */

	/* requests of nodes to our server, of servers to our TEP */
	MSG_LEASE_REQUEST,	/* session > priv */
	MSG_LEASE_REPLY,	/* priv > session */
	MSG_LEASE_DELETE,	/* priv > session: tell this node, 2.3 */
	MSG_LEASE_OFFER,	/* priv > session: offer it to this node, 2 */

	/* our server's calls of nodes */
	MSG_CALL,		/* priv > session */
	MSG_CALL_DONE,		/* session > priv */

	/* our server's requests to a TEP on another host */
	MSG_TEP_CONF,		/* priv > session: keep a connection to it */
	MSG_TEP_UP,		/* session > priv: authenticated */
	MSG_TEP_DOWN,		/* session > priv: outstanding jobs are lost */
	MSG_TEP_REQUEST,	/* priv > session */
	MSG_TEP_REPLY,		/* session > priv */

	/* our node's lease */
	MSG_NODE_CONF,		/* priv > session */
	MSG_NODE_START,		/* priv > session: get a lease and keep it */
	MSG_NODE_STOP,		/* priv > session: give it back */
	MSG_NODE_STOPPED,	/* session > priv */
	MSG_NODE_LEASE,		/* session > priv: granted or renewed */
	MSG_NODE_DELETE,	/* session > priv: the server took it back */
	MSG_NODE_TAKEN,		/* priv > session: so it did, in a call */
	MSG_NODE_OFFER,		/* session > priv: the server offers one */
	MSG_NODE_REJECT,	/* priv > session: it is not wanted */
	MSG_NODE_NOTE,		/* session > priv: for dstmctl alone */

	/* store */
	MSG_STORE_LOAD,		/* priv > store */
	MSG_STORE_LEASE,	/* store > priv: one record of the load */
	MSG_STORE_LOADED,	/* store > priv: that was all */
	MSG_STORE_PUT,		/* priv > store: a lease record */
	MSG_STORE_NODE,		/* priv > store and in the load: node's own */
	MSG_STORE_DONE,		/* store > priv: durable up to seq */
	MSG_STORE_FAIL,		/* store > priv: seq .. seq_last not written */

	/* tunnel */
	MSG_TUNNEL_DEV,		/* priv > tunnel + fd: TUN device */
	MSG_TUNNEL_SOCK,	/* priv > tunnel + fd: outer raw socket */
	MSG_TUNNEL_CLOSE,	/* priv > tunnel: forget device and entries */
	MSG_TUNNEL_ADD,		/* priv > tunnel */
	MSG_TUNNEL_DEL,		/* priv > tunnel */
	MSG_TUNNEL_LIST,	/* priv > tunnel: asks for a page */
	MSG_TUNNEL_ENTRY,	/* tunnel > priv */
	MSG_TUNNEL_GONE,	/* tunnel > priv: somebody removed its interface */
	MSG_TUNNEL_USED,	/* tunnel > priv: the host wants to send */
	MSG_TUNNEL_KEEPALIVE,	/* priv > tunnel: see that the TEP answers */
	MSG_TUNNEL_PEER,	/* tunnel > priv: it does, or not any more */
	MSG_TUNNEL_STATS,	/* tunnel > priv: ends the page */

	/* event */
	MSG_EVENT,		/* priv > event */

	/* control */
	MSG_CTL_SHOW,		/* dstmctl > priv */
	MSG_CTL_RELEASE,	/* dstmctl > priv */
	MSG_CTL_VERBOSE,	/* dstmctl > priv */
	MSG_CTL_DRAIN,		/* dstmctl > priv */
	MSG_CTL_ORDER,		/* dstmctl > priv: to the node */
	MSG_CTL_ALLOCATE,	/* dstmctl > priv: offer a lease to a node */
	MSG_CTL_LEASE,		/* priv > dstmctl */
	MSG_CTL_POOL,		/* priv > dstmctl */
	MSG_CTL_SESSION,	/* priv > dstmctl */
	MSG_CTL_TUNNEL,		/* priv > dstmctl */
	MSG_CTL_DEV,		/* priv > dstmctl: drop counters of a device */
	MSG_CTL_PROCESS,	/* priv > dstmctl */
	MSG_CTL_NODE,		/* priv > dstmctl */
	MSG_CTL_END,		/* priv > dstmctl: request done or refused */

	MSG_REPLACE,		/* session > priv: what a link led to is bad */
	MSG_TUNNEL_ASK,		/* priv > tunnel: for the entry of an address */

	MSG_NTYPE
};

struct msg_link_to {		/* MSG_LINK, MSG_REPLACE */
	uint32_t	 peer;		/* enum proc_id */
	uint32_t	 life;		/* which of those: its restarts */
};

struct msg_verbose {		/* MSG_VERBOSE, MSG_CTL_VERBOSE */
	uint32_t	 verbose;	/* 0 brief, 1 verbose */
};

/*
 * Session
 */
#define ROLE_SERVER	0x01
#define ROLE_TEP	0x02
#define ROLE_NODE	0x04

struct msg_session_conf {	/* MSG_SESSION_CONF */
	uint32_t	 roles;
	uint32_t	 max_conns;	/* 1 .. CONN_MAX */
	uint32_t	 handshakes;	/* not authenticated, 1 .. max_conns */
	uint32_t	 max_source;	/* connections from one source */
	uint32_t	 source_prefix;	/* bits of an address that are a source */
	uint32_t	 source_rate;	/* new ones of it a second, 1 .. 1000 */
	uint32_t	 auth_failures;	/* of it a minute, 1 .. 60000 */
	uint32_t	 request_rate;	/* of it a second, 1 .. 1000000 */
	uint32_t	 auth_timeout;	/* s, from accept to authenticated */
	uint32_t	 idle_timeout;	/* s, authenticated, without a lease */
	uint32_t	 request_timeout; /* s, for an answer of priv or a TEP */
	uint32_t	 last_gen;	/* conn_ref.gen is of the CONN_GENS - 1
					 * above it */
	uint32_t	 nredirects;	/* a broker list goes with 302, 306, 530 */
	struct in6_addr	 redirects[REDIRECT_MAX];
	uint32_t	 success_pause;	/* ms, between rspauth and 200 */
};

struct msg_listen {		/* MSG_LISTEN */
	uint32_t	 listener;	/* 0 .. LISTEN_MAX - 1 */
	uint32_t	 mechs[MECH_MAX]; /* offered in CAPABILITY, one or more */
};

struct msg_conn_open {		/* MSG_CONN_OPEN + fd: a dup of the socket */
	struct conn_ref	 conn;
	uint32_t	 listener;
};

struct msg_conn {		/* MSG_CONN_READY, MSG_CONN_CLOSE */
	struct conn_ref	 conn;
	uint32_t	 ok;		/* READY: 0 is a refusal */
};

struct msg_dial {		/* MSG_DIAL */
	struct conn_ref	 conn;
	uint32_t	 kind;		/* CONN_TO_* */
	uint32_t	 index;		/* of the TEP or server, as configured;
					 * of the call */
};

/*
 * MSG_DIALLED + fd: a socket on which connect(2) is under way, not
 * blocking; the session waits until it is writable and reads SO_ERROR.
 * Without fd: error says why (errno).
 */
struct msg_dialled {
	struct conn_ref	 conn;
	uint32_t	 error;
	struct in6_addr	 linklocal;	/* of the outgoing interface, or :: */
};

/*
 * Authentication. side says who we are in the SASL exchange.
 */
#define AUTH_SERVER	1
#define AUTH_CLIENT	2

struct msg_auth_conf {		/* MSG_AUTH_CONF */
	uint32_t	 mechs;		/* a set: what may be started as server */
};

/*
 * Our own logins, by number: at remote TEP i, at server i, at a node that we
 * call (whose password is in a file of its own).
 */
#define CRED_TEP(i)	((uint32_t)(i))
#define CRED_SERVER(i)	((uint32_t)(TEP_MAX + (i)))
#define CRED_CALL	CRED_SERVER(SERVER_MAX)

struct msg_auth_cred {		/* MSG_AUTH_CRED + fd of the password file */
	uint32_t	 cred;		/* its number */
	uint32_t	 mech;		/* the one mechanism to use */
	char		 name[NAME_SIZE];
	char		 host[NAME_SIZE];	/* the peer's address */
};

/* The ends of a connection: who opened it, to whom. */
struct call_ends {
	struct in6_addr	 from, to;
};

struct msg_auth_start {		/* MSG_AUTH_START, tail: blob */
	struct conn_ref	 conn;
	uint32_t	 side;
	uint32_t	 mech;		/* one bit; AUTH_CLIENT: the cred's */
	uint32_t	 cred;		/* AUTH_CLIENT */
	uint32_t	 has_blob;	/* AUTH_SERVER: tail is the 1st message */
	struct call_ends ends;		/* MECH_CALL */
	char		 name[NAME_SIZE]; /* CRED_CALL: the user to be called */
};

struct msg_auth_step {		/* MSG_AUTH_STEP, tail: blob */
	struct conn_ref	 conn;
};

/*
 * MSG_AUTH_NEXT, tail: blob to send. AUTH_MORE: send it, wait for the
 * peer's next. AUTH_OK: as server, send it where has_blob, and the success
 * line once MSG_AUTH_DONE came too; as client, send it where has_blob, and
 * wait for the peer's success line. AUTH_FAILED: as server answer 300 and
 * close; as client close.
 */
#define AUTH_MORE	1
#define AUTH_OK		2
#define AUTH_FAILED	3

struct msg_auth_next {
	struct conn_ref	 conn;
	uint32_t	 result;
	uint32_t	 has_blob;	/* an empty blob is not no blob */
};

struct msg_auth_verdict {	/* MSG_AUTH_VERDICT: success, and of whom */
	struct conn_ref	 conn;
	uint32_t	 side;
	uint32_t	 mech;
	uint32_t	 cred;		/* AUTH_CLIENT */
	uint32_t	 mutual;	/* the peer proved itself to us as well */
	struct call_ends ends;		/* MECH_CALL: that were proved */
	char		 name[NAME_SIZE]; /* the peer's: AUTH_SERVER, CRED_CALL */
};

struct msg_auth_done {		/* MSG_AUTH_DONE */
	struct conn_ref	 conn;
	uint32_t	 ok;		/* 0: authenticated, but not wanted here */
	uint32_t	 role;		/* ours for it: ROLE_SERVER of a node,
					 * ROLE_TEP or ROLE_NODE of a server */
	char		 name[NAME_SIZE];
};

/*
 * Leases. A request of a node (or, where the peer is a configured server,
 * of a server to our TEP). priv answers each with one MSG_LEASE_REPLY.
 */
enum lease_op {
	OP_CREATE = 1,		/* draft 4.1; with an IPv4, 4.2: renewal */
	OP_INFO,		/* RFC 5572: state of the lease */
	OP_DELETE,		/* release; a reject is one too */
	OP_SYNC			/* server to TEP: that was all that I have */
};

struct msg_lease_request {	/* MSG_LEASE_REQUEST */
	struct conn_ref	 conn;
	uint32_t	 req;		/* echoed in the reply */
	uint32_t	 op;
	uint32_t	 has_v4;
	uint32_t	 lifetime;	/* s, wanted; 0: not said */
	struct in_addr	 v4;
	struct in6_addr	 v6;		/* global; :: where not said */
};

/*
 * MSG_LEASE_REPLY. status is a TSP code (tsp.h); the rest is valid with
 * STATUS_OK alone. MSG_LEASE_DELETE and MSG_LEASE_OFFER use the same struct,
 * with req and status 0: the draft's 4.3 and its unsolicited allocation.
 */
struct msg_lease_reply {
	struct conn_ref	 conn;
	uint32_t	 req;
	uint32_t	 status;
	uint32_t	 op;		/* the request's */
	uint32_t	 lifetime;	/* s, that remain */
	struct in_addr	 v4;		/* node's */
	struct in6_addr	 v6;		/* node's */
	struct in_addr	 tep4;
	struct in6_addr	 tep6;
};

/*
 * Calls. Each MSG_CALL has one MSG_CALL_DONE, after which its number is free.
 */
#define CALL_MAX	32		/* at one time */

struct msg_call {		/* MSG_CALL */
	uint32_t	 call;		/* its number, < CALL_MAX */
	char		 name[NAME_SIZE];	/* the user whose node it is */
	struct msg_lease_reply body;	/* op: OP_DELETE; OP_CREATE, an offer */
};

struct msg_call_done {		/* MSG_CALL_DONE */
	uint32_t	 call;
	uint32_t	 status;	/* the node's answer; 0: there was none */
};

/*
 * TEPs on other hosts
 */
struct msg_tep_conf {		/* MSG_TEP_CONF */
	uint32_t	 tep;
	uint32_t	 cred;
	uint32_t	 mech;
	char		 name[NAME_SIZE];	/* for the log */
};

struct msg_tep_state {		/* MSG_TEP_UP, MSG_TEP_DOWN */
	uint32_t	 tep;
	struct conn_ref	 conn;
};

struct msg_tep_request {	/* MSG_TEP_REQUEST */
	uint32_t	 tep;
	uint32_t	 op;		/* OP_CREATE, OP_DELETE, OP_SYNC */
	uint64_t	 job;		/* echoed in the reply */
	uint32_t	 lifetime;
	struct in_addr	 v4;
	struct in6_addr	 v6;
};

struct msg_tep_reply {		/* MSG_TEP_REPLY */
	uint32_t	 tep;
	uint32_t	 status;
	uint64_t	 job;
	struct in_addr	 tep4;
	struct in6_addr	 tep6;
};

/*
 * The node role
 */
struct msg_node_conf {		/* MSG_NODE_CONF */
	uint32_t	 nservers;	/* 1 .. SERVER_MAX, tried in order */
	uint32_t	 mech;
	uint32_t	 cred;		/* the first server's; + i the others' */
	uint32_t	 lifetime;	/* s, wanted; 0: the server's default */
	uint32_t	 offers;	/* are taken, if the parent agrees */
	struct in6_addr	 servers[SERVER_MAX];	/* a redirect goes to no other */
};

struct msg_node_start {		/* MSG_NODE_START */
	uint32_t	 has_v4;	/* ask for the address held before */
	struct in_addr	 v4;
};

struct msg_node_lease {		/* MSG_NODE_LEASE */
	struct conn_ref	 conn;
	uint32_t	 lifetime;
	struct in_addr	 v4;
	struct in6_addr	 v6;
	struct in_addr	 tep4;
	struct in6_addr	 tep6;
};

struct msg_node_delete {	/* MSG_NODE_DELETE, _TAKEN, _OFFER, _REJECT */
	struct conn_ref	 conn;
	struct in_addr	 v4;
};

#define NODE_TEXT	96

struct msg_node_note {		/* MSG_NODE_NOTE */
	uint32_t	 server;	/* who was asked, as configured */
	int64_t		 next_ms;	/* until the next try or renewal; -1:
					 * it is under way */
	char		 text[NODE_TEXT];	/* why it failed; "": it did not */
};

/*
 * What the operator's script is told. EVENT_RENEWED: with another lifetime, or
 * inner address of the TEP; EVENT_DOWN, EVENT_LOST: the lease was given back,
 * or taken.
 */
enum event_kind { EVENT_UP = 1, EVENT_RENEWED, EVENT_DOWN, EVENT_LOST };

struct msg_event {		/* MSG_EVENT */
	uint32_t	 event;		/* enum event_kind */
	uint32_t	 mtu;
	uint32_t	 lifetime;	/* s, as granted */
	struct in_addr	 v4;
	struct in6_addr	 v6;
	struct in_addr	 tep4;
	struct in6_addr	 tep6;
	char		 ifname[IFNAME_SIZE];
	char		 why[NODE_TEXT];	/* it is over */
};

/*
 * Store. Times are wall clock seconds (UTC).
 */
enum lease_rec_state {
	REC_BOUND = 1,		/* held until rec.until */
	REC_ENDED,		/* ended at rec.until, the TEP has not
				 * confirmed yet */
	REC_CLOSED		/* ended, confirmed at rec.until: quarantine,
				 * then free; kept for the sticky address */
};

struct lease_rec {
	struct in_addr	 v4;
	struct in6_addr	 v6;
	uint32_t	 mech;
	uint32_t	 state;
	int64_t		 since;		/* first granted */
	int64_t		 until;
	struct in_addr	 tep4;
	struct in6_addr	 tep6;
	char		 name[NAME_SIZE];	/* user */
	char		 tep[NAME_SIZE];
};

struct msg_store_lease {	/* MSG_STORE_PUT, MSG_STORE_LEASE */
	uint64_t	 seq;		/* PUT: grows by 1; LEASE: 0 */
	struct lease_rec rec;
};

struct node_rec {		/* the lease that this node holds */
	uint32_t	 valid;
	struct in_addr	 v4;
	int64_t		 until;
};

struct msg_store_node {		/* MSG_STORE_NODE; seq as in PUT */
	uint64_t	 seq;
	struct node_rec	 rec;
};

struct msg_store_done {		/* MSG_STORE_DONE, MSG_STORE_FAIL */
	uint64_t	 seq;		/* DONE: all up to and with this one */
	uint64_t	 seq_last;	/* FAIL: the last of the failed run */
	uint32_t	 error;		/* FAIL: errno-like; 0 unknown */
};

struct msg_store_loaded {	/* MSG_STORE_LOADED */
	uint64_t	 count;
};

/*
 * Tunnel process. dev numbers the interfaces.
 */
struct msg_tunnel_dev {		/* MSG_TUNNEL_DEV, _SOCK, _CLOSE, _GONE, _USED */
	uint32_t	 dev;
	uint32_t	 is_node;	/* one entry: all goes to the TEP */
	uint32_t	 demand;	/* tell of use, also before _SOCK */
	uint32_t	 mtu;		/* inner, octets */
	uint64_t	 rate;		/* bits/s of a lease, each way; 0: any */
	struct in6_addr	 local;		/* outer, ours */
};

struct msg_tunnel_lease {	/* MSG_TUNNEL_ADD, _DEL */
	uint32_t	 dev;
	struct in_addr	 v4;		/* inner, the node's */
	struct in6_addr	 v6;		/* outer, the far end's */
	int64_t		 until;		/* now_ms(); INT64_MAX: for ever */
};

struct msg_tunnel_entry {	/* MSG_TUNNEL_ENTRY */
	uint32_t	 dev;
	struct in_addr	 v4;		/* inner, the node's */
	struct in6_addr	 v6;		/* outer, the far end's */
	uint64_t	 in_packets;	/* out of the tunnel */
	uint64_t	 in_bytes;	/* inner octets */
	uint64_t	 out_packets;	/* into the tunnel */
	uint64_t	 out_bytes;
	uint64_t	 cookie;	/* LIST's */
};

struct msg_tunnel_keepalive {	/* MSG_TUNNEL_KEEPALIVE */
	uint32_t	 dev;		/* the node's */
	uint32_t	 interval;	/* s; 0: not any more */
	uint32_t	 answers;	/* it has answered before */
	struct in_addr	 v4;		/* the lease */
	struct in_addr	 tep4;
};

struct msg_tunnel_peer {	/* MSG_TUNNEL_PEER */
	uint32_t	 dev;
	uint32_t	 alive;		/* 1: it answers; 0: not any more */
};

struct msg_tunnel_list {	/* MSG_TUNNEL_LIST: ask for one page */
	uint64_t	 cookie;	/* echoed */
	uint32_t	 dev;
	uint32_t	 slot;		/* 0, then STATS's next */
	uint32_t	 max;		/* entries of a page */
};

/*
 * MSG_TUNNEL_ASK: the entry, where there is one. A list of no entries, whose
 * STATS come behind it, says that there was none.
 */
struct msg_tunnel_ask {
	uint64_t	 cookie;	/* echoed */
	uint32_t	 dev;
	struct in_addr	 v4;
};

enum tunnel_drop {
	DROP_INNER_SOURCE,	/* inner source is nobody's lease */
	DROP_OUTER_SOURCE,	/* outer source is not that lease's node */
	DROP_NO_LEASE,		/* inner destination has no lease */
	DROP_MALFORMED,		/* not an IPv4 packet */
	DROP_ECN,		/* RFC 6040, 4.2: CE outside, not ECT inside */
	DROP_QUEUE,		/* the next hop would not take it */
	DROP_EXPIRED,		/* its lease is over */
	DROP_MARTIAN,		/* an inner address that is no host's */
	DROP_TOO_BIG,		/* for the path, and not to be fragmented */
	DROP_RATE,		/* more than a lease may send or get */
	DROP_NREASON
};

struct msg_tunnel_stats {	/* MSG_TUNNEL_STATS: end of a page */
	uint64_t	 cookie;
	uint32_t	 dev;
	uint32_t	 next;		/* 0: no more entries */
	uint32_t	 entries;	/* of the device, all */
	uint64_t	 drops[DROP_NREASON];
};

/*
 * Control: dstmctl and priv. A request gets any number of rows, then one
 * MSG_CTL_END.
 */
enum ctl_show {
	SHOW_LEASES = 1, SHOW_POOLS, SHOW_SESSIONS, SHOW_TUNNELS,
	SHOW_PROCESSES, SHOW_NODE
};

struct msg_ctl_show {
	uint32_t	 what;
};

struct msg_ctl_release {	/* server: v4's lease is revoked;
				 * node: v4 0.0.0.0, our own is given back */
	struct in_addr	 v4;
};

enum order { ORDER_UP, ORDER_DOWN, ORDER_RENEW };

struct msg_ctl_order {		/* MSG_CTL_ORDER */
	uint32_t	 order;		/* enum order */
};

struct msg_ctl_allocate {	/* MSG_CTL_ALLOCATE */
	struct in6_addr	 v6;		/* where it is, if name is "" */
	char		 name[NAME_SIZE];	/* its user */
};

enum ctl_lease_state {		/* what SHOW_LEASES tells */
	CTL_RESERVED = 1, CTL_BOUND, CTL_CLOSING, CTL_QUARANTINE
};

struct msg_ctl_lease {
	struct in_addr	 v4;
	struct in6_addr	 v6;
	struct in_addr	 tep4;
	struct in6_addr	 tep6;
	uint32_t	 state;
	uint32_t	 role;		/* ROLE_SERVER, ROLE_TEP, ROLE_NODE:
					 * whose table the row is from */
	uint32_t	 mech;
	uint32_t	 renewals;
	int64_t		 since;		/* wall clock */
	int64_t		 remains;	/* s; of the quarantine in that state */
	char		 name[NAME_SIZE];	/* user; TEP: the server */
	char		 pool[NAME_SIZE];
	char		 tep[NAME_SIZE];
};

enum drain {
	DRAIN_OFF,
	DRAIN_NEW,		/* no new leases; what is there is renewed */
	DRAIN_ALL		/* and nothing is renewed */
};

struct msg_ctl_drain {		/* MSG_CTL_DRAIN */
	uint32_t	 drain;		/* enum drain */
};

struct msg_ctl_pool {
	uint32_t	 size;
	uint32_t	 free;
	uint32_t	 bound;
	uint32_t	 reserved;
	uint32_t	 closing;
	uint32_t	 quarantine;
	uint64_t	 granted;	/* since the start */
	uint64_t	 exhausted;	/* 306s since the start */
	uint32_t	 drain;		/* enum drain, of the server */
	char		 name[NAME_SIZE];
	char		 tep[NAME_SIZE];
};

struct msg_ctl_session {
	struct conn_ref	 conn;
	uint32_t	 kind;		/* enum conn_kind */
	uint32_t	 mech;		/* 0: not authenticated yet */
	int64_t		 age;		/* s */
	struct in6_addr	 peer;
	uint32_t	 port;
	uint32_t	 leases;
	char		 name[NAME_SIZE];
};

struct msg_ctl_dev {		/* precedes its MSG_CTL_TUNNEL rows */
	uint32_t	 dev;
	uint32_t	 mtu;
	uint32_t	 is_node;
	uint32_t	 entries;
	struct in6_addr	 local;
	uint64_t	 drops[DROP_NREASON];
	char		 plane[PLANE_NAME_SIZE];
	char		 ifname[IFNAME_SIZE];
	char		 tep[NAME_SIZE];
};

/* MSG_CTL_TUNNEL is a struct msg_tunnel_entry */

struct msg_ctl_process {
	uint32_t	 proc;		/* enum proc_id */
	uint32_t	 pid;
	uint32_t	 uid;
	uint32_t	 restarts;
	int64_t		 uptime;	/* s */
	uint64_t	 sent;		/* messages priv sent to it */
	uint64_t	 received;
	uint64_t	 queued;	/* octets waiting for it */
};

enum ctl_node_state {
	CTL_NODE_DOWN = 1,	/* by the operator, until he says up */
	CTL_NODE_IDLE,		/* on demand: waits for a packet */
	CTL_NODE_ASKING,
	CTL_NODE_BOUND,
	CTL_NODE_RELEASING
};

enum ctl_tep_life {
	CTL_TEP_UNWATCHED = 1,	/* by configuration */
	CTL_TEP_UNKNOWN,	/* it has not answered yet */
	CTL_TEP_ANSWERS,
	CTL_TEP_SILENT
};

struct msg_ctl_node {		/* addresses and times of a lease: if bound */
	uint32_t	 state;		/* enum ctl_node_state */
	uint32_t	 life;		/* enum ctl_tep_life */
	uint32_t	 idle;		/* s, as configured; 0: always on */
	uint32_t	 mtu;
	uint32_t	 renewals;
	struct in_addr	 v4;		/* 0.0.0.0: no lease */
	struct in6_addr	 v6;
	struct in_addr	 tep4;
	struct in6_addr	 tep6;
	struct in6_addr	 server;	/* :: none was asked */
	int64_t		 since;		/* wall clock */
	int64_t		 remains;	/* s; these: -1 does not apply */
	int64_t		 next;		/* s until renewal or next try */
	int64_t		 unused;	/* s since a packet was sent */
	int64_t		 error_age;	/* s */
	char		 ifname[IFNAME_SIZE];
	char		 error[NODE_TEXT];	/* the last one */
};

struct msg_ctl_end {
	uint32_t	 ok;
	char		 text[128];	/* what went wrong, or was done, for a
					 * person */
};

/* log.c */

/*
 * log_init: the name in front of each line and where lines go: LOG_STDERR
 * (foreground), LOG_SYSLOG (the parent as daemon), LOG_PIPE (a child of a
 * daemon: fd 2 is a pipe to the parent, lines begin with <priority>).
 * log_warn adds strerror(errno). fatal and fatalx are for our own bugs and
 * do not return: exit status 1. None ever logs a secret. Text from outside
 * is made visible (vis(3)), so that it cannot forge a line.
 */
enum log_dest { LOG_TO_STDERR, LOG_TO_SYSLOG, LOG_TO_PIPE };
void		 log_init(const char *, enum log_dest, int);
void		 log_setverbose(int);
int		 log_getverbose(void);
/*
 * A line that a child has written: its priority, which is LOG_CRIT at most,
 * and the text. Lines of one child, about it (log_doubt), and about peers
 * (log_peer) are bounded, each by themselves: some at once, then so many in a
 * time, and a line that says how many were left out. Whoever sends without end,
 * or has taken a child over, must not fill the disk.
 */
void		 log_line(enum proc_id, int, const char *);
void		 log_warn(const char *, ...)
		    __attribute__((__format__ (printf, 1, 2)));
void		 log_warnx(const char *, ...)
		    __attribute__((__format__ (printf, 1, 2)));
/* log_info of what a peer did, as often as it likes. */
void		 log_peer(const char *, ...)
		    __attribute__((__format__ (printf, 1, 2)));
/* log_warnx of what a child has said to its parent, and should not have. */
void		 log_doubt(enum proc_id, const char *, ...)
		    __attribute__((__format__ (printf, 2, 3)));
void		 log_info(const char *, ...)
		    __attribute__((__format__ (printf, 1, 2)));
void		 log_debug(const char *, ...)
		    __attribute__((__format__ (printf, 1, 2)));
void		 fatal(const char *, ...)
		    __attribute__((__noreturn__, __format__ (printf, 1, 2)));
void		 fatalx(const char *, ...)
		    __attribute__((__noreturn__, __format__ (printf, 1, 2)));

/* mech.c */

/* The registered name of one mechanism bit, or NULL. */
const char	*mech_name(uint32_t);
/* The configuration's word for it, or NULL. */
const char	*mech_word(uint32_t);
/* The bit of a name, case ignored, exact otherwise; 0: none of ours. */
uint32_t	 mech_bit(const char *);
/* [A-Za-z0-9._-]{1,64}, and not "anonymous" in any case: 1, else 0. */
int		 name_valid(const char *);
/* DIGEST-MD5's realm, as TSP's host names: lower case. 1 or 0. */
int		 realm_valid(const char *);
/* Of a list: the set of what is in it; one more at its end, once. */
uint32_t	 mech_set(const uint32_t *);
void		 mech_add(uint32_t *, uint32_t);

/* addr.c */

/*
 * Text of an address, in one of eight static buffers: for the log and for
 * tables, up to eight in one call.
 */
const char	*log_in(struct in_addr);
const char	*log_in6(const struct in6_addr *);
/*
 * in6_usable: a global unicast address that may be an outer end (not ::,
 * loopback, multicast, link-local, site-local, nor IPv4 in another form:
 * mapped, compatible, NAT64, Teredo, 6to4).
 * in_usable: an IPv4 unicast address that may be leased or be a TEP's
 * (not 0/8, 127/8, 224/3, 255.255.255.255, 169.254/16). 1 or 0.
 */
int		 in6_usable(const struct in6_addr *);
int		 in_usable(struct in_addr);
/* Does the address lie in prefix/len? len 0 .. 128. */
int		 in6_match(const struct in6_addr *, const struct in6_addr *, int);

/* clock.c */

/*
 * Milliseconds of a clock that never steps and counts suspended time
 * (CLOCK_BOOTTIME): for timers. Seconds of the wall clock (UTC): for
 * records.
 */
int64_t		 now_ms(void);
int64_t		 now_wall(void);
/* Of now_ms, what this machine was suspended; a millisecond's jitter. */
int64_t		 now_suspended(void);

/* procname.c */

/* "session", ...; of an unknown number "?". */
const char	*proc_name(uint32_t);
/* The process of which it has program, user and sandbox: itself, or tunnel. */
enum proc_id	 proc_kind(enum proc_id);

/* proc.c */

#define PROC_FD_PRIV	3	/* a child's link to the parent */
#define PROC_FD_ROOT	4	/* the directory that becomes its root */

/*
 * The start of every child, called once at the top of its main() after
 * its libraries have been loaded and warmed up. The parent executes
 *	PATH uid gid log verbose
 * with the link on PROC_FD_PRIV and the root directory on PROC_FD_ROOT; log
 * is "pipe" or "stderr". Renames the process, drops to uid and gid (both > 0;
 * proves that they cannot come back), changes root, sets the limits, enters
 * the sandbox of that process (sandbox.h). All or fatal. Descriptors other
 * than 0-3 are closed, 0 and 1 are /dev/null. SIGPIPE is ignored; SIGHUP,
 * SIGINT, SIGUSR1 and SIGTERM too: a child ends when its parent closes the
 * link. The root directory may be opened with O_PATH, and must be where the
 * parent lacks the permission to read it (the store's); a child other than
 * the store refuses one that it may write to.
 */
void		 proc_child(enum proc_id, int, char *[]);
/*
 * The same for the event process, which has another end: no root directory,
 * no sandbox but its user and limits, and what it executes behind its
 * arguments. log is "syslog" or "stderr".
 */
void		 proc_event(int, char *[]);
/*
 * The `closed' of a child's link to its parent: ends the process, with
 * status 0 where the parent closed it, 1 (logged) where it is broken.
 */
struct msglink;
void		 proc_closed(struct msglink *, const char *)
		    __attribute__((__noreturn__));
/* The handler of MSG_VERBOSE. */
struct msg;
void		 proc_verbose(struct msglink *, struct msg *);

/* timer.c */

/* Sets a timer of libevent, ms from now; one that is past: at once. */
struct event;
void		 timer_set(struct event *, int64_t);
/*
 * The clock of these timers stands still while the machine is suspended, so
 * that afterwards they are late by that time. Looks every so many ms, and
 * calls when it was: whoever has timers sets them anew, by now_ms. One
 * watch in a process.
 */
struct event_base;
void		 suspend_watch(struct event_base *, int64_t, void (*)(void));
#define SUSPEND_TICK	5000	/* ms */

#endif /* DSTMD_H */
