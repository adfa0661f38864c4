/*
 * The lexer of dstmd.conf: text in, tokens out; macros, comments, line
 * continuation and included files are its own business. parse.y alone uses
 * it.
 */
#ifndef PRIV_LEX_H
#define PRIV_LEX_H

#include <sys/queue.h>

#include <stddef.h>
#include <stdint.h>

#include "priv/conf.h"

#define LEX_TOKEN_MAX	1024	/* octets of one token */
#define LEX_INPUT_MAX	16	/* files within files */

/* Kinds of tokens; { } , = and newline are themselves. */
enum lex_kind { LEX_EOF = 0, LEX_BAD = 1, LEX_WORD = 256, LEX_STRING };

/* Tokens belong to the lexer and live as long as it does. */
struct tok {
	SLIST_ENTRY(tok) entry;
	struct conf_at	 at;
	int		 keyword;	/* parse.y's, 0: none */
	char		 text[];
};

struct lex;

/* A lexer of a file, or of a text: NULL after a message. */
struct lex	*lex_open_file(const char *);
struct lex	*lex_open_text(const char *, const char *, size_t);
void		 lex_free(struct lex *);
/*
 * The next token: its kind and, in *tok, its place and text (LEX_WORD and
 * LEX_STRING; else NULL). LEX_BAD: an error that has been printed.
 */
int		 lex_next(struct lex *, struct tok **);
/* The kind that lex_next returned last, and its text for messages. */
int		 lex_last(const struct lex *);
void		 lex_describe(const struct lex *, char *, size_t);
/*
 * After a syntax error within depth braces: skips to the end of the line, or
 * to the brace that closes the block, which stays. 1: the parser must
 * drop the token that it looks at; 0: must keep it.
 */
int		 lex_recover(struct lex *, uint32_t);
/* Reads on in that file, then here. From the pure form: an error. */
void		 lex_include(struct lex *, const struct tok *);
/* $name is value from here on. */
void		 lex_macro(struct lex *, const struct tok *,
		    const struct tok *);
/* Prints "file:line: what"; NULL: the place of the last token. */
void		 lex_error(struct lex *, const struct conf_at *,
		    const char *, ...)
		    __attribute__((__format__ (printf, 3, 4)));
uint32_t	 lex_nerrors(const struct lex *);
/* The names of the files that conf_at counts: the caller's from now on. */
char		**lex_files(struct lex *, uint32_t *);

#endif /* PRIV_LEX_H */
