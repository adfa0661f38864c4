/*
 * Messages between processes, in the manner of imsg: framed, batched, with
 * descriptors, over a stream socketpair (or the control socket), with a
 * bound on what may wait for a slow peer.
 *
 * A receiver gives a table. A message whose type has no row, whose sender
 * is another, whose size is not exactly the row's (plus a tail of up to
 * row.tail octets, where the row has one) or whose descriptor is missing
 * or stray, is an attack or a bug: the link is broken ("broken" below),
 * with a log line that names peer and type; a child's broken link to its
 * parent is fatal.
 */
#ifndef DSTMD_MSG_H
#define DSTMD_MSG_H

#include <stddef.h>
#include <stdint.h>

#include "dstmd.h"

#define MSG_SIZE_MAX	16384	/* with its header */
#define MSG_QUEUE_HIGH	(256 * 1024)	/* octets: stop feeding the link */
#define MSG_QUEUE_LOW	(64 * 1024)	/* octets: feed it again */
#define MSG_QUEUE_MAX	(4 * 1024 * 1024) /* octets: the peer is given up */

struct event_base;
struct msglink;

struct msg {
	uint32_t	 type;		/* enum msg_type */
	int		 fd;		/* ours now, to close; -1: none. A
					 * handler that keeps it sets -1 */
	const void	*data;		/* row's size octets, 8-aligned */
	const uint8_t	*tail;		/* what follows */
	size_t		 tail_len;
};

#define MSG_F_FD	0x01		/* must carry a descriptor */
#define MSG_F_FD_OPT	0x02		/* may carry one */
#define MSG_F_FD_LOST	0x04		/* comes, with fd -1, also where we have
					 * no room for its descriptor */

struct msg_rule {
	uint32_t	 type;
	uint32_t	 from;		/* bits: 1 << enum proc_id */
	size_t		 size;
	size_t		 tail;		/* most octets behind it; 0: none */
	uint32_t	 flags;
	void		(*handler)(struct msglink *, struct msg *);
};
#define MSG_FROM(p)	(1U << (p))

/*
 * msglink_new: a link on fd (owned from now on, set non-blocking) to peer,
 * received messages go to the handlers of rules[nrules] (not copied; may be
 * in any order of type). The rules whose `from' lacks the peer do not exist
 * for it. closed is called once, from the event loop, when the peer has
 * closed or the link is broken, or MSG_QUEUE_MAX was passed; reason says
 * which, for the log; NULL: the peer closed. The callee frees the link.
 * arg is for the handlers: msglink_arg. fatal on lack of memory.
 */
struct msglink	*msglink_new(struct event_base *, int, enum proc_id,
		    const struct msg_rule *, size_t,
		    void (*)(struct msglink *, const char *), void *);
/* Closes fd, drops what waits. Safe inside a handler. NULL is no-op. */
void		 msglink_free(struct msglink *);
void		*msglink_arg(const struct msglink *);
enum proc_id	 msglink_peer(const struct msglink *);
int		 msglink_fd(const struct msglink *);

/*
 * Queues one message; it leaves with all others of this turn of the event
 * loop in as few system calls as descriptors allow. fd (-1: none) is taken
 * and closed in any case. Never blocks, never fails for the caller: where
 * MSG_QUEUE_MAX would be passed the link breaks (closed is called later
 * from the loop). size + tail_len <= MSG_SIZE_MAX - header, else fatalx.
 * A NULL link drops the message and closes fd.
 */
void		 msg_send(struct msglink *, uint32_t, int, const void *, size_t,
		    const void *, size_t);
/* The same without tail and descriptor. */
void		 msg_put(struct msglink *, uint32_t, const void *, size_t);

/*
 * Back pressure. msglink_full: more than MSG_QUEUE_HIGH waits, or did and
 * has not fallen below MSG_QUEUE_LOW yet. drained is called (from the loop)
 * when it has. A waiting descriptor counts as 1024 octets.
 * msglink_pause/resume stop and continue the reading of a link, counted: as
 * many resumes as pauses. A link that is full is not read either: who does
 * not take answers may not ask. Two full ends would wait for each other for
 * ever, so this holds at the end with the lower enum proc_id alone; the
 * other goes on reading. msg_self says who we are: proc_child calls it; not
 * called, PROC_PRIV.
 */
void		 msg_self(enum proc_id);
int		 msglink_full(const struct msglink *);
void		 msglink_on_drained(struct msglink *,
		    void (*)(struct msglink *));
void		 msglink_pause(struct msglink *);
void		 msglink_resume(struct msglink *);

/* Tries to write all that waits, blocking up to ms; 0 done, -1 not. */
int		 msglink_flush(struct msglink *, int);

struct msglink_stats {
	uint64_t	 sent, received;	/* messages */
	size_t		 queued;		/* octets */
	size_t		 written;		/* octets that have left */
};
void		 msglink_stats(const struct msglink *, struct msglink_stats *);

#endif /* DSTMD_MSG_H */
