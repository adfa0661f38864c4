/* What the files of the session process share. */
#ifndef SESSION_INT_H
#define SESSION_INT_H

#include <sys/queue.h>

#include <event2/event.h>

#include "dstmd/msg.h"
#include "session/session.h"

#define IN_SIZE		(TSP_BODY_MAX + 256)	/* a frame with its header */
#define OUT_SIZE	(32 * 1024)	/* octets that a peer may leave unread */
#define OUTSTANDING	8		/* requests of one client */
#define OUTSTANDING_PEER 64		/* of a server, of ours to a TEP */

enum conn_state {
	/* as server, or TEP of a server */
	ST_HELD = 1,		/* too early: not listened to yet */
	ST_VERSION, ST_AUTHENTICATE, ST_OPENING, ST_SASL, ST_COMMAND,
	/* as client */
	ST_DIALLING, ST_CONNECTING, ST_CAPABILITY, ST_LOGIN, ST_CLIENT,
	/* what was sent may still arrive, nothing is listened to */
	ST_LINGER
};

/*
 * What will be sent to a client, in its order: the answer to a request, or
 * an order of ours behind the answers that it must not overtake.
 */
struct request {
	TAILQ_ENTRY(request)	 entry;
	uint32_t		 req;
	uint32_t		 status;	/* 0: not answered yet */
	int			 silent;	/* no answer is sent */
	enum tsp_action		 order;		/* ACTION_DELETE, the draft's
						 * 4.3; _CREATE, an offer; or
						 * _NONE, an answer */
	int			 redirect;	/* with a broker list */
	uint32_t		 keepalive;	/* s wanted; 0 none */
	struct msg_lease_reply	 reply;
	int64_t			 since;
};
TAILQ_HEAD(requests, request);

struct client_ops;
struct source;

struct conn {
	TAILQ_ENTRY(conn)	 handshake, waiter;	/* or of the guests */
	struct conn_ref		 ref;
	enum conn_state		 state;
	enum conn_kind		 kind;
	int			 fd;		/* -1: not connected yet */
	uint32_t		 index;		/* listener, TEP, server */
	struct event		*ev_read, *ev_write, *timer;
	int64_t			 due;		/* the deadline; 0: none */
	struct in6_addr		 peer, local;	/* :: where not known */
	struct source		*source;	/* of the peer; accepted: not NULL */
	enum { LIST_NONE, LIST_HANDSHAKES, LIST_GUESTS } list;
	int64_t			 listed;	/* when it came there */
	int			 waits;		/* what it sent, for us */
	int			 opened;	/* the parent knows of it */
	int			 stopped;	/* not read */
	int			 broken;	/* a write failed */
	size_t			 drained;	/* octets, lingering */

	/* authentication, either side */
	enum tsp_dialect	 dialect;
	uint32_t		 mech;
	int			 stepping;	/* auth has the last word */
	int			 sasl_ok, priv_ok;	/* both, or no success */
	int			 pausing;	/* the success line is left */
	uint8_t			*final;	/* server: goes with the success */
	size_t			 final_len;
	char			 name[NAME_SIZE];

	/* as server */
	uint32_t		 role;		/* ours: ROLE_SERVER of a node,
						 * else of a server */
	int			 closing;	/* once all is answered */
	int			 deletes;	/* sent, not acknowledged */
	struct in_addr		 deleted;	/* by the last of them */
	int64_t			 active;	/* last request */
	int64_t			 lease_until;	/* latest end of a lease of it */
	int64_t			 partial;	/* a frame began; 0: none has */
	int64_t			 turn;		/* of the next request; 0: none
						 * is there */
	int			 held;		/* it waits for its turn */
	uint32_t		 seq;
	struct requests		 requests;
	uint32_t		 nrequests;	/* of the client */

	/* as client */
	const struct client_ops	*ops;
	uint32_t		 cred;
	int			 success_line;
	uint32_t		 in_parser;	/* messages of it */
	struct in6_addr		 linklocal;	/* or :: */
	const char		*reason;	/* why it ended */

	/* Allocated while they hold something: most connections are idle. */
	uint8_t			*in;		/* IN_SIZE */
	size_t			 in_len;
	uint8_t			*out;
	size_t			 out_len, out_size;
};

/*
 * What a client role (TEP link, node) does with its connection. Any of them
 * may end the connection (dial_fail); `down' is called once in any case.
 */
struct client_ops {
	void	(*up)(struct conn *);		/* mutually authenticated */
	void	(*down)(struct conn *, const char *);	/* ended, or failed */
	void	(*frame)(struct conn *, const uint8_t *, size_t);
	void	(*parsed)(struct conn *, const struct msg_parsed *);
	uint32_t window;	/* messages that it may have in the parser */
};

struct session {
	struct event_base	*base;
	struct msglink		*priv, *parser, *auth;	/* NULL: not there */
	uint32_t		 parser_life, auth_life;
	struct msg_session_conf	 conf;
	int			 ready;		/* MSG_CONF_END came */
	uint32_t		 naccepted;	/* connections that came to us */
	uint32_t		 nhandshakes;	/* of them, not authenticated */
	int64_t			 linger_ms;	/* for a status to arrive */
	int64_t			 partial_ms;	/* for the rest of a frame */
	int64_t			 suspend_ms;	/* between looks at the clock */
	int64_t			 stop_ms;	/* for a lease to be given back */
	uint32_t		 parse_max;	/* messages that wait for the
						 * parser: read no more */
};
extern struct session	 session;

/* link.c */

/* The link to the parent on fd; the rest comes by messages. */
void		 session_init(struct event_base *, int);

/* listen.c */

void		 listen_add(uint32_t, int, const uint32_t *);
void		 listen_start(void);
/*
 * A connection that came to a listener: takes fd, answers 530 and closes it
 * where it is one too many, in all or of its source.
 */
void		 listen_accepted(int, uint32_t, const struct in6_addr *);
const uint32_t	*listen_mechs(uint32_t);	/* a list */

/* conn.c */

/* A slot; NULL: all are taken. The socket comes with conn_attach. */
struct conn	*conn_new(enum conn_kind, uint32_t);
/* A socket, connected or connecting; peer NULL: not known yet. */
void		 conn_attach(struct conn *, int, const struct in6_addr *);
struct conn	*conn_find(struct conn_ref);
/*
 * Sends all of it in one piece, or ends the connection of who does not
 * read: the state is ST_LINGER then.
 */
void		 conn_write(struct conn *, const void *, size_t);
void		 conn_consume(struct conn *, size_t);	/* from the buffer */
void		 conn_close(struct conn *);	/* at once: it is freed */
void		 conn_linger(struct conn *);	/* after what it was sent */
void		 conn_timer(struct conn *, int64_t);	/* ms; -1: none */
/*
 * At that now_ms(), at once where it has passed; -1: none. May be called for
 * each octet of a peer: what is due is not put off by it.
 */
void		 conn_deadline(struct conn *, int64_t);
void		 conn_stop(struct conn *, int);	/* 1: do not read */
void		 conn_input(struct conn *);	/* look at the buffer again */
void		 conn_each(void (*)(struct conn *));
/*
 * A log line about what a peer did: "name (address): text" (log_peer).
 */
void		 conn_log(const struct conn *, const char *, ...)
		    __attribute__((__format__ (printf, 2, 3)));

/* source.c: what one peer, or all of its prefix, may do. */

/* Valid until the next call, or as long as it has connections. */
struct source	*source_of(const struct in6_addr *);
/* One more connection is there, or gone. */
void		 source_enter(struct source *);
void		 source_leave(struct source *);
uint32_t	 source_count(const struct source *);
/*
 * A source has so many connections a second, as many at once. Takes its next
 * turn: how many ms from now that is; -1: more than HOLD_MAX, none is taken.
 */
#define HOLD_MAX	5000
int64_t		 source_turn(struct source *);
/* A login failed. Within a minute too many have: no further one is tried. */
void		 source_failed(struct source *);
int		 source_locked(const struct source *);
/*
 * Takes the turn of a request: at that now_ms(), which may have passed; -1:
 * more than HOLD_MAX from now, none is taken.
 */
int64_t		 source_request(struct source *);

/* serve.c */
/*
 * Makes room: the oldest handshake that lets us wait goes, with 530. 0: there
 * is none; all wait for us.
 */
int		 serve_shed(void);
/* Of those that are logged in and hold no lease, the longest there. */
int		 serve_shed_guest(void);
/* Nothing of this side is left to be done for it. */
void		 serve_left(struct conn *);
/* A link has room again: looks at what was sent, and left for that. */
void		 serve_resume(void);
/* It is listened to in so many ms. */
void		 serve_start(struct conn *, int64_t);
void		 serve_input(struct conn *);
void		 serve_timeout(struct conn *);
/* The parent wants it gone. */
void		 serve_end(struct conn *);
void		 serve_ready(struct conn *, int);
void		 serve_auth_next(struct conn *, const struct msg_auth_next *,
		    const uint8_t *, size_t);
void		 serve_auth_done(struct conn *, const struct msg_auth_done *);
void		 serve_auth_lost(struct conn *);

/* request.c */

/* One frame of the buffer: 1 it was taken, 0 not (whole) there. */
int		 request_read(struct conn *);
/* Too much is under way: read no more of this client now. */
int		 request_full(const struct conn *);
void		 request_timer(struct conn *);	/* after each change */
void		 request_timeout(struct conn *);
/* Answers all that is open with this status, then closes. */
void		 request_end(struct conn *, uint32_t);
void		 request_parsed(struct conn *, const struct msg_parsed *);
void		 request_lost(struct conn *, uint32_t);	/* the parser died of it */
void		 request_reply(struct conn *, const struct msg_lease_reply *);
/* The draft's 4.3, and its unsolicited allocation: to the node. */
void		 request_order(struct conn *, const struct msg_lease_reply *,
		    enum tsp_action);
void		 request_drop(struct conn *);	/* forgets them */
/* All four addresses of a lease. */
void		 put_addresses(struct tsp_tunnel *,
		    const struct msg_lease_reply *);

/* parse.c */

/*
 * Gives XML to the parser; the answer comes with that number, in order, to
 * request_parsed or the role's `parsed'. parse_full: too much waits, read no
 * more; every connection is looked at again when that is over.
 */
void		 parse_send(struct conn *, uint32_t, const uint8_t *, size_t);
int		 parse_full(void);
void		 parse_result(struct msglink *, struct msg *);
void		 parse_lost(void);
/* In link.c: this parser is not used any more, for that reason. */
void		 parser_closed(struct msglink *, const char *);
void		 parse_resume(void);

/* ask.c */

/*
 * Sends auth a message that it answers by MSG_AUTH_NEXT: for which it has half
 * of a login's time, or it is replaced.
 */
void		 ask_auth(struct conn *, uint32_t, const void *, size_t,
		    const void *, size_t);
void		 ask_answered(struct conn_ref);
void		 ask_forget(void);	/* that auth is gone */
/* In link.c: this auth is not used any more, for that reason. */
void		 auth_closed(struct msglink *, const char *);

/* watch.c */

/*
 * The oldest of what a helper was asked: when it has waited so many ms, late()
 * is called, once. Not where there is another oldest meanwhile (watch_anew),
 * or none (watch_end).
 */
struct watch {
	void			(*late)(void);
	int64_t			 due;		/* now_ms; 0: none waits */
	struct event		*timer;
};
void		 watch_anew(struct watch *, int64_t);
void		 watch_end(struct watch *);

/* dial.c */
struct conn	*dial(enum conn_kind, uint32_t, uint32_t, uint32_t,
		    const struct client_ops *);
void		 dial_done(struct msglink *, struct msg *);
void		 dial_input(struct conn *);
void		 dial_writable(struct conn *);
void		 dial_auth_next(struct conn *, const struct msg_auth_next *,
		    const uint8_t *, size_t);
void		 dial_auth_done(struct conn *, const struct msg_auth_done *);
void		 dial_auth_lost(struct conn *);
/* Gives it to the parser; the answer comes to the role's `parsed'. */
void		 dial_parse(struct conn *, uint32_t, const uint8_t *, size_t);
void		 dial_parsed(struct conn *, const struct msg_parsed *);
void		 dial_gone(struct conn *);	/* it is being closed */
/* Ends it; the role hears why. The connection is freed. */
void		 dial_fail(struct conn *, const char *);

/* tep.c */
void		 tep_conf(struct msglink *, struct msg *);
void		 tep_request(struct msglink *, struct msg *);
void		 tep_start(void);

/* call.c */
void		 call_node(struct msglink *, struct msg *);

/* node.c */
void		 node_conf(struct msglink *, struct msg *);
void		 node_taken(struct msglink *, struct msg *);
void		 node_reject(struct msglink *, struct msg *);
void		 node_start(struct msglink *, struct msg *);
void		 node_stop(struct msglink *, struct msg *);

/* jitter.c */
int64_t		 jitter(int64_t);	/* ms, within 10 % of it */

#endif /* SESSION_INT_H */
