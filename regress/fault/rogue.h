/*
 * A process of the daemon that somebody has taken over: it stands in a child's
 * place, with that child's user, sandbox and links, and does what the plan
 * says. Not part of the daemon.
 */
#ifndef REGRESS_ROGUE_H
#define REGRESS_ROGUE_H

#include <event2/event.h>

#include <stdint.h>

#include "dstmd/dstmd.h"
#include "dstmd/msg.h"

#define PLAN_WORDS	4

struct rogue {
	enum proc_id		 self;
	struct event_base	*base;
	struct msglink		*priv;
	struct msglink		*session;	/* parser's, auth's */
	struct msglink		*auth;		/* session's */
	/* What it shall do, and on which addresses, or how often. */
	char			 plan[PLAN_WORDS][64];
};
extern struct rogue	 rogue;

/* What a role does on a message; NULL: nothing. */
struct role {
	enum proc_id	 id;
	void		(*configured)(void);	/* all of it was said */
	void		(*message)(struct msglink *, struct msg *);
};
extern const struct role role_session, role_parser, role_auth, role_store,
	    role_tunnel;

/* Is that the plan's first word? */
int		 planned(const char *);
/* Says so many messages as fast as they are taken, each by the callback. */
void		 flood(uint64_t, void (*)(uint64_t));
uint32_t	 rnd(uint32_t);
/* Of a message, with some of its octets at random. */
void		 noise(void *, size_t);

#endif /* REGRESS_ROGUE_H */
