/*
 * The world around the lease engine, for test_lease_sim: nodes, TEPs, the
 * store, clocks, all simulated and from one seed; and a simple model of what
 * the engine may do, written without a look at it.
 */
#ifndef REGRESS_SIM_H
#define REGRESS_SIM_H

#include <stdint.h>

#include "priv/lease.h"

#define NUSERS		6
#define NHOSTS		5
#define NOWNERS		(NUSERS * NHOSTS)
#define NTEPS		3		/* 0 is local */
#define NPOOLS		4
#define NADDRS		22
#define NCONNS		8
#define QUEUE		1024		/* messages under way, each direction */
#define STEPS		5000		/* of a long world */
#define STEPS_SHORT	400		/* of the most */
#define LONG_EVERY	50

/* Told to a TEP, or its answer. */
struct sim_job {
	uint64_t	 job;
	int		 add, addr, host;	/* addr -1: notes compared */
	uint32_t	 lifetime, status, adds;
};

struct sim_jobs {
	struct sim_job	 q[QUEUE];
	int		 n;
};

struct sim_tep {
	int		 up;
	uint32_t	 conn;			/* how many so far */
	int64_t		 since;			/* the last one */
	struct in_addr	 v4;
	struct in6_addr	 v6;
	struct sim_jobs	 in, out, late;
};

struct sim_put {
	uint64_t	 seq;
	struct lease_rec rec;
};

struct sim_said {
	uint64_t	 first, last;
	int		 failed;
};

struct sim_store {
	int		 up, nin, nout;
	uint64_t	 next;			/* seq that is answered next */
	uint64_t	 due;			/* seq that is put next */
	uint64_t	 seen;			/* the last one so far */
	struct sim_put	 in[QUEUE];
	struct sim_said	 out[QUEUE];
	struct sim_put	 written[QUEUE];	/* not yet told to the engine */
	int		 nwritten;
};

/* What is true of one address. */
struct sim_addr {
	uint32_t	 v4;			/* host order */
	int		 pool;
	int		 fixed;			/* for this user, or -1 */
	/* as the engine shows it */
	uint32_t	 state;			/* 0: free */
	int		 owner;
	int64_t		 remains;
	uint32_t	 free_step;		/* since when; 0: never used */
	/* the model */
	int		 last;			/* who may come back, or -1 */
	int		 dirty;			/* the TEP may forward it */
	uint32_t	 confirmed, closed;	/* by its TEP; as recorded */
	int64_t		 free_at;		/* not dirty: end of quarantine */
	uint32_t	 adds;			/* that the engine sent */
	int		 acked;			/* host that the TEP said yes to */
	int		 held, doubt;		/* answered; being given back */
	int		 twin;			/* may be not the only one */
	struct conn_ref	 conn;
	int64_t		 stored_at;		/* the last record */
	uint32_t	 bound_step[NOWNERS];	/* the last of each */
	uint32_t	 ended_step[NOWNERS];	/* the last that ended it */
	/* what its node was told */
	int		 told;			/* owner, or -1 */
	int64_t		 told_until;
	uint32_t	 told_epoch;
	/* the TEP's entry */
	int		 host;			/* or -1 */
	int64_t		 host_until;
	int		 lossy;
	int		 stuck;			/* refused to be deleted */
	uint32_t	 ends;			/* that nodes may be told of */
	uint32_t	 named;			/* by which connection */
	int		 revived;		/* see loaded() */
	/* the store's record */
	int		 has_rec;
	struct lease_rec rec;
};

struct sim_req {
	struct conn_ref	 conn;
	uint32_t	 op, lifetime;
	int		 owner, want, pool, answered;
	int		 must;			/* get this one, or -1 */
	int		 said;			/* it names an address */
	int		 without;		/* of no address of this TEP */
	int		 unsure;		/* it may have to wait, too */
	int64_t		 asked;
	uint32_t	 step, epoch;
	uint64_t	 may;			/* statuses, as bits */
};

struct sim {
	uint64_t	 seed, rng;
	uint32_t	 step, failed_step;
	int		 quiet;			/* no faults now */
	int		 loud;			/* say every step */
	int64_t		 now, wall_off;		/* ms */
	uint32_t	 epoch;			/* wall clock steps so far */
	struct lease_limits limits;
	struct lease_engine *e;
	struct lease_owner owners[NOWNERS];
	struct lease_policy policy[NUSERS];
	uint32_t	 weights[NPOOLS];
	struct sim_tep	 teps[NTEPS];
	struct sim_store store;
	struct sim_addr	 a[NADDRS];
	uint32_t	 gens[NCONNS];
	struct sim_req	 reqs[STEPS + 1];
	uint32_t	 nreqs, oldest;
	int		 vague[NOWNERS];	/* two records: which, is open */
	uint64_t	 granted[NPOOLS];
	uint64_t	 answered;		/* replies, all */
	uint64_t	 status[1000];
};

extern struct sim sim;

/* sim_world.c */
void	 sim_new(uint64_t seed);
void	 sim_end(void);
void	 sim_say_seed(void);
uint32_t rnd(uint32_t n);		/* 0 .. n - 1 */
void	 trace(const char *, ...) __attribute__((__format__(printf, 1, 2)));
int64_t	 wall(void);
int	 tep_of(int addr);
int	 addr_index(struct in_addr, const char *who);
int	 owner_index(uint32_t mech, const char *name, const struct in6_addr *);
void	 policies(void);
void	 engine_start(void);
void	 pump(int n);
void	 tep_works(int tep);
void	 tep_answers(int tep);
void	 tep_late(int tep);
void	 tep_breaks(int tep, int restart);
void	 tep_comes(int tep);
void	 store_works(int n);
void	 store_answers(void);
void	 store_breaks(void);
void	 store_comes(void);
void	 clock_runs(int64_t ms);
void	 crash(void);

/* sim_model.c */
void	 broken(const char *, ...) __attribute__((__format__(printf, 1, 2),
	    __noreturn__));
void	 model_loaded(void);
/* A request is about to be made: what may be answered? */
void	 model_asks(struct sim_req *, int addr);
#define ANY		(-1)	/* addr: none said */
#define NOWHERE		(-2)	/* addr: in no pool */
void	 model_asked(const struct sim_req *);
void	 model_revoked(int addr);
/* Its TEP will not forward it: the engine may end it. */
void	 model_refused(int addr);
void	 model_reply(const struct msg_lease_reply *);
void	 model_node_del(const struct msg_lease_reply *);
/* A record goes to the store for the first time. */
void	 model_put(const struct lease_rec *);
void	 model_stored(const struct sim_put *);
void	 model_check_entry(int addr);
/* The TEP removes an entry that no lease was named for. */
void	 model_check_unnamed(int addr);
/* After every step: look at the engine, compare. */
void	 model_look(void);
/* All that was sent has come: does every TEP forward what is leased? */
void	 model_forwards(void);
/* Nothing is under way any more. */
void	 model_still(void);

#endif /* REGRESS_SIM_H */
