/* What the files of the session process share. */
#ifndef SESSION_INT_H
#define SESSION_INT_H

#include <sys/queue.h>

#include <event2/event.h>

#include "dstmd/msg.h"
#include "session/session.h"

#define IN_SIZE		(TSP_BODY_MAX + 256)
#define OUT_SIZE	(32 * 1024)
#define LINGER_MS	2000		/* for a status to arrive */
#define PARTIAL_MS	30000		/* for the rest of a frame */
#define OUTSTANDING	8		/* requests of one connection */

enum conn_state {
	ST_FREE,
	/* as server, or TEP of a server */
	ST_VERSION, ST_AUTHENTICATE, ST_OPENING, ST_SASL, ST_COMMAND,
	/* as client */
	ST_DIALLING, ST_CONNECTING, ST_CAPABILITY, ST_LOGIN, ST_SUCCESS,
	ST_CLIENT,
	ST_LINGER
};

/* A request under way on a connection, in the order of the answers. */
struct request {
	TAILQ_ENTRY(request)	 entry;
	uint32_t		 req;
	uint32_t		 status;	/* 0: not answered yet */
	int			 silent;	/* no answer is sent */
	uint32_t		 keepalive;	/* s wanted; 0 none */
	struct msg_lease_reply	 reply;
	int64_t			 since;
};
TAILQ_HEAD(requests, request);

struct client_ops;

struct conn {
	struct conn_ref		 ref;
	enum conn_state		 state;
	enum conn_kind		 kind;
	int			 fd;
	uint32_t		 index;		/* listener, TEP, server */
	struct event		*ev_read, *ev_write, *timer;
	struct in6_addr		 peer, local;
	struct in6_addr		 linklocal;
	enum tsp_dialect	 dialect;
	uint32_t		 mech;
	int			 opened;	/* the parent knows of it */
	int			 sasl_ok, priv_ok;	/* both, or no success */
	int			 success_line;
	int			 is_server;
	int			 has_lease;
	int			 deletes;	/* sent, not acknowledged */
	int			 stopped;	/* not read: too much under way */
	const struct client_ops	*ops;		/* as client */
	uint32_t		 cred;
	const char		*reason;	/* why it ended, as client */
	char			 name[NAME_SIZE];
	uint8_t			 final[SASL_BLOB_MAX];
	size_t			 final_len;
	int			 has_final;
	uint32_t		 next_req, parsing;
	struct requests		 requests;
	uint32_t		 nrequests;
	uint8_t			 in[IN_SIZE];
	size_t			 in_len;
	uint8_t			 out[OUT_SIZE];
	size_t			 out_len;
};

/* What a client role (TEP link, node) does with its connection. */
struct client_ops {
	void	(*up)(struct conn *);		/* mutually authenticated */
	void	(*down)(struct conn *, const char *);	/* ended, or failed */
	void	(*frame)(struct conn *, const uint8_t *, size_t);
	void	(*parsed)(struct conn *, const struct msg_parsed *);
};

struct session {
	struct event_base	*base;
	struct msglink		*priv, *parser, *auth;
	struct msg_session_conf	 conf;
	int			 ready;
};
extern struct session	 session;

/* conn.c */
struct conn	*conn_new(int, enum conn_kind, uint32_t);
struct conn	*conn_find(struct conn_ref);
/* Takes all of it or ends the connection. */
void		 conn_write(struct conn *, const void *, size_t);
void		 conn_close(struct conn *);	/* at once */
void		 conn_linger(struct conn *);	/* after what it was sent */
void		 conn_attach(struct conn *, int);	/* a socket, connected */
void		 conn_timer(struct conn *, int64_t);
void		 conn_stop(struct conn *, int);	/* 1: do not read */
void		 conn_input(struct conn *);	/* look at the buffer again */
void		 conn_each(void (*)(struct conn *));
int		 conn_source_count(const struct in6_addr *);

/* serve.c */
void		 serve_input(struct conn *);
void		 serve_timeout(struct conn *);
void		 serve_auth_next(struct conn *, const struct msg_auth_next *,
		    const uint8_t *, size_t);
void		 serve_auth_done(struct conn *, const struct msg_auth_done *);
void		 serve_ready(struct conn *, int);
void		 serve_parsed(struct conn *, const struct msg_parsed *);
void		 serve_reply(struct conn *, const struct msg_lease_reply *);
void		 serve_delete(struct conn *, const struct msg_lease_reply *);
void		 serve_auth_lost(struct conn *);
void		 serve_status(struct conn *, uint32_t);
/* Mechanisms that a listener offers (main.c). */
uint32_t	 session_listener_mechs(uint32_t);
int		 fd_dup(int);

/* parse.c: what waits for the parser */
void		 parse_send(struct conn *, const uint8_t *, size_t);
void		 parse_result(struct msglink *, struct msg *);
void		 parse_lost(void);
void		 parse_resend(void);

/* dial.c */
struct conn	*dial(enum conn_kind, uint32_t, uint32_t, uint32_t,
		    const struct client_ops *);
void		 dial_done(struct msglink *, struct msg *);
void		 dial_input(struct conn *);
void		 dial_writable(struct conn *);
void		 dial_timeout(struct conn *);
void		 dial_auth_next(struct conn *, const struct msg_auth_next *,
		    const uint8_t *, size_t);
void		 dial_auth_done(struct conn *, const struct msg_auth_done *);
void		 dial_parsed(struct conn *, const struct msg_parsed *);
void		 dial_gone(struct conn *);
void		 dial_fail(struct conn *, const char *);

/* tep.c */
void		 tep_conf(struct msglink *, struct msg *);
void		 tep_request(struct msglink *, struct msg *);
void		 tep_start(void);

/* node.c */
void		 node_conf(struct msglink *, struct msg *);
void		 node_start(struct msglink *, struct msg *);
void		 node_stop(struct msglink *, struct msg *);
void		 node_init(void);

/* main.c */
int64_t		 jitter(int64_t);	/* within 10 % of it */
void		 timer_set(struct event *, int64_t);

#endif /* SESSION_INT_H */
