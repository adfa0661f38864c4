/*
 * The operator's tool. What it is told comes from the daemon's parent, and
 * is still checked: names end, are printable, numbers are in their range.
 */
#ifndef DSTMCTL_DSTMCTL_H
#define DSTMCTL_DSTMCTL_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "dstmd/dstmd.h"

/*
 * Rows on a stream: begin says what they are (enum ctl_show), row takes a
 * message's type (MSG_CTL_*) and its data, end is the answer's end. An
 * answer that ends early has no end: JSON that is cut off is no JSON.
 * The caller checks the stream for errors.
 */
struct printer {
	void		(*begin)(FILE *, uint32_t);
	void		(*row)(uint32_t, const void *);
	void		(*end)(void);
};

extern const struct printer	 table_printer;	/* table.c: for people */
extern const struct printer	 json_printer;	/* json.c: one array */

/* words.c */

/*
 * Names of values; NULL where there is none. Those that are no value (what
 * the daemon will know one day): "unknown".
 */
const char	*word_state(uint32_t);		/* enum ctl_lease_state */
const char	*word_node_state(uint32_t);	/* enum ctl_node_state */
const char	*word_life(uint32_t);		/* enum ctl_tep_life */
const char	*word_role(uint32_t);		/* ROLE_* */
const char	*word_kind(uint32_t);		/* enum conn_kind */
const char	*word_drain(uint32_t);		/* enum drain */
const char	*word_drop(uint32_t);		/* enum tunnel_drop */
#define WORD_SIZE	128		/* of the longest text */
/* A text of a message, ended; NULL where it is empty. One static buffer. */
const char	*word_name(const char *, size_t);
/*
 * For people, into a buffer: "59s", "12m03s", "5h07m", "3d04h", "-" where
 * negative; "512", "1.5K", "34M".
 */
#define SHORT_SIZE	24
const char	*short_time(char *, int64_t);
const char	*short_octets(char *, uint64_t);

/* passwd.c: "passwd [...] name", getopt(3) is new; exit status */
int		 passwd_main(int, char *[]);

#endif /* DSTMCTL_DSTMCTL_H */
