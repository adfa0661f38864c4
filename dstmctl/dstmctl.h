#ifndef DSTMCTL_DSTMCTL_H
#define DSTMCTL_DSTMCTL_H

#include <stddef.h>
#include <stdint.h>

#include "dstmd/msg.h"

/* print.c: rows, as tables for people or as one JSON array */

/* what is enum ctl_show; json: 1. Before the first row; after the last. */
void	 print_begin(uint32_t what, int json);
void	 print_row(uint32_t type, const void *);
void	 print_end(void);

/* passwd.c: "passwd [-d] [-f file] name"; the exit status */
int	 passwd_main(int, char *[]);

/* scram.c */

/*
 * "SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey" (RFC 5803) of a
 * password: 0, or -1 it does not fit. The password is printable ASCII, for
 * which SASLprep (RFC 4013) changes nothing.
 */
int	 scram_make(const char *, uint32_t, const uint8_t *, size_t, char *,
	    size_t);

#endif /* DSTMCTL_DSTMCTL_H */
