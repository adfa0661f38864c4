/*
 * What is around the session process, for test_session: a parent, an auth
 * and a parser of the test's own on real links, and peers on real TCP. All
 * in one process, one event loop.
 */
#ifndef REGRESS_WORLD_H
#define REGRESS_WORLD_H

#include <stddef.h>
#include <stdint.h>

#include "dstmd/dstmd.h"
#include "dstmd/msg.h"
#include "dstmd/tsp.h"

#define ASKED_MAX	20000

struct world {
	struct event_base	*base;
	struct msglink		*priv, *auth, *parser;	/* our ends */
	int			 listener;	/* session's */
	uint16_t		 port;
	int			 dialled[CONN_TO_NODE + 1]; /* where its calls
						 * arrive, of each kind */
	int			 dials_fail, nobody;	/* they do not */

	/* what it asked, and what is held back */
	struct msg_lease_request asked[ASKED_MAX];
	uint32_t		 nasked;
	int			 hold_leases, hold_auth, hold_parser;
	uint32_t		 nparsed, parser_deaths, auth_deaths, ndials;
	int			 refuse_auth;
	uint32_t		 mechs[2];	/* beside ANONYMOUS; 0: none */
	struct conn_ref		 auth_conn;	/* of the last login */
	uint32_t		 lives;		/* helpers that were started */
	uint32_t		 replaced;	/* it wanted another one for */
	struct msg_link_to	 replace;	/* this */

	/* what it said */
	uint32_t		 ntep_up, ntep_down, ntep_replies;
	struct msg_tep_reply	 tep_replies[ASKED_MAX];
	struct conn_ref		 tep_conn;
	uint32_t		 calls;		/* a bit each: not done */
	uint32_t		 nleases, ndeletes, nstopped, nnotes;
	struct msg_node_note	 note;

	int64_t			 suspended;	/* ms of now_ms; add to it */
	int64_t			 suspend_ms;	/* between looks; 0: 20 */
	uint32_t		 offers, lifetime;	/* of the node's conf */
	int64_t			 passed;	/* us that its clock is ahead */
	struct msg_node_lease	 lease;
};
extern struct world	 world;

/* A session with a listener (ANONYMOUS), a TEP and a node of two servers. */
void	 world_start(void);
/* A socket that listens on ::1, at that port. */
int	 listen_socket(uint16_t *);
/* Until cond is true, 5 s at most: then the test fails. */
void	 until(int (*cond)(void *), void *, const char *);
/* Everything that is under way has been handled. */
void	 settle(void);
/* Answers a request of asked[] with that status, address .n of the pool. */
void	 answer(const struct msg_lease_request *, uint32_t status, int n);
/* A parser or an auth anew; the one before is gone. */
void	 parser_start(void);
void	 parser_dies(void);
void	 auth_start(void);
void	 auth_dies(void);

/* A TCP peer: a client of ours, or one that the session has dialled. */
struct peer {
	int		 fd;		/* -1: closed */
	int		 ended;		/* it closed */
	size_t		 len;
	char		 buf[65536];
};
void	 peer_connect(struct peer *);
void	 peer_accept(struct peer *);	/* waits for the session's call */
void	 peer_close(struct peer *);
void	 peer_send(struct peer *, const char *, size_t);
void	 peer_say(struct peer *, const char *);
/* A frame with this body. */
void	 peer_frame(struct peer *, const char *);
/* Reads what there is; 1 if that text is in the buffer. */
int	 peer_has(struct peer *, const char *);
/* Waits for the text, then forgets all up to its end. */
void	 peer_expect(struct peer *, const char *);
void	 peer_expect_end(struct peer *);
/* VERSION and AUTHENTICATE ANONYMOUS, to success. */
void	 peer_login(struct peer *);
/* The other side of that: a server or TEP that the session calls. */
void	 peer_serve(struct peer *);

#endif /* REGRESS_WORLD_H */
