/*
 * What is around the parent: kernel, data plane and links are faked, all that
 * the parent decides is its own. For tests in which its processes say what
 * they like: the fakes check what the parent answers.
 *
 * What must hold, after each message: no address has two owners; the data
 * plane has what the leases say; no lease is granted to who was not proved
 * to be its owner, nor before the store has it.
 */
#ifndef REGRESS_PARENT_H
#define REGRESS_PARENT_H

#include <stdint.h>

#include "dstmd/tsp.h"
#include "priv/priv.h"

#define COUNT(a)	(sizeof(a) / sizeof((a)[0]))
#define POOL		0x0a090000U	/* 10.9.0.0 */
#define NSLOT		12		/* connections that are spoken of */
#define NADDR		8		/* where nodes are */
#define NHERE		4		/* our listeners, and a server */
#define NJOBS		64
#define NRECENT		8

struct slot {
	uint32_t	 tried;		/* the last gen that it asked for */
	uint32_t	 gen;
	char		 verdict[NAME_SIZE];	/* the last one of auth; "": none */
	int		 dialled;	/* by us: its login may be said to be over */
	int		 proved;	/* which the parent believed: */
	char		 name[NAME_SIZE];
	struct in6_addr	 peer;
};

struct parent_world {
	struct in6_addr	 nodes[NADDR], here[NHERE];
	struct in6_addr	 sock_peer, sock_local;	/* of the next socket */
	struct slot	 said[NSLOT];	/* as far as the rules depend on it */
	uint64_t	 put_seq, done_seq;	/* to the store, and back */
	struct {
		uint32_t	 tep;
		uint64_t	 job;
	}		 jobs[NJOBS];		/* the last ones */
	uint32_t	 njobs;
	struct in_addr	 recent[NRECENT];	/* that were granted */
	uint64_t	 granted, refused, calls, deletes, foreign;
	int64_t		 passed;	/* us that its clock is ahead */
	int		 own_clock;	/* that is the clock, not the host's */
	int		 full;		/* links are: parent_full */
	void		(*drained)(struct msglink *);	/* of the newest client */
	void		(*resumed)(void);	/* who wants to hear of that */
	int		 gone;		/* interfaces are; */
	int		 refuses;	/* this host does, what a node wants */
	int		 store_down;	/* it is starting, and speaks already */
	int		 store_killed;	/* by the parent, which waits for the next */
	int		 unreachable;	/* the network is; */
	int		 nameless;	/* and sockets are, getsockname(2) */
	/* Who looks at all that is said; NULL: nobody. */
	void		(*heard)(struct msglink *, uint32_t, const void *,
			    size_t);
};
extern struct parent_world	 pw;

void	 parent_start(void);
/* The server as it starts: nothing is leased. Once at a time: no offers. */
void	 parent_restart(void);
/* Links are full, or are emptied, which the parent is told. */
void	 parent_full(int);
/* The parent dropped all connections (conn_drop_all). */
void	 session_anew(void);
/*
 * A message of a process to the parent, of the size that its rule says. The
 * world notes what the rules depend on.
 */
void	 say(enum proc_id, uint32_t, const void *, int);
/* All that must hold of the leases. */
void	 parent_check(void);

#endif /* REGRESS_PARENT_H */
