#include <sys/types.h>
#include <sys/queue.h>
#include <sys/stat.h>

#include <ctype.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "priv/lex.h"

#define BRACE_MAX	4	/* braces whose line a message can tell */

/* A text being read: a file, or the value of a macro. */
struct input {
	char		*owned;		/* to free, or NULL */
	const char	*buf;
	size_t		 len, pos;
	uint32_t	 file;		/* index into files */
	uint32_t	 line;
	int		 macro;
};

struct macro {
	SLIST_ENTRY(macro) entry;
	const struct tok *name, *value;
};

struct lex {
	struct input	 inputs[LEX_INPUT_MAX + 1];	/* a macro on top */
	uint32_t	 ninputs;
	SLIST_HEAD(, tok) toks;
	SLIST_HEAD(, macro) macros;
	char		**files;
	uint32_t	 nfiles;
	uint32_t	 nerrors;
	uint32_t	 depth;		/* of braces */
	struct conf_at	 open[BRACE_MAX];
	struct conf_at	 at;		/* of the last token */
	int		 last;
	struct tok	*last_tok;
	int		 unread;	/* give the last token again */
	int		 quiet;		/* skipping after an error */
	int		 ended;		/* within braces: nothing follows */
	int		 text;		/* from memory: no files */
	char		 word[LEX_TOKEN_MAX + 1];
};

static void *
xcalloc(size_t n, size_t size)
{
	void *p;

	if ((p = calloc(n, size)) == NULL)
		err(1, "configuration");
	return (p);
}

void
lex_error(struct lex *lx, const struct conf_at *at, const char *fmt, ...)
{
	char msg[2 * LEX_TOKEN_MAX];
	va_list ap;

	if (at == NULL)
		at = &lx->at;
	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	fprintf(stderr, "%s:%u: %s\n", lx->files[at->file], at->line, msg);
	lx->nerrors++;
}

uint32_t
lex_nerrors(const struct lex *lx)
{
	return (lx->nerrors);
}

int
lex_last(const struct lex *lx)
{
	return (lx->last);
}

/* An error in the text itself: one message, and a token that fits nowhere. */
static int
bad(struct lex *lx, const char *what, const char *arg)
{
	if (!lx->quiet)
		lex_error(lx, NULL, "%s%s", what, arg);
	return (LEX_BAD);
}

static uint32_t
file_add(struct lex *lx, const char *name)
{
	lx->files = reallocarray(lx->files, lx->nfiles + 1,
	    sizeof(*lx->files));
	if (lx->files == NULL || (lx->files[lx->nfiles] = strdup(name)) == NULL)
		err(1, "configuration");
	return (lx->nfiles++);
}

static void
input_push(struct lex *lx, const char *buf, size_t len, uint32_t file,
    uint32_t line)
{
	struct input *in = &lx->inputs[lx->ninputs++];

	memset(in, 0, sizeof(*in));
	in->buf = buf;
	in->len = len;
	in->file = file;
	in->line = line;
}

static void
input_pop(struct lex *lx)
{
	free(lx->inputs[--lx->ninputs].owned);
}

static struct lex *
lex_new(void)
{
	struct lex *lx = xcalloc(1, sizeof(*lx));

	SLIST_INIT(&lx->toks);
	SLIST_INIT(&lx->macros);
	lx->last = '\n';
	return (lx);
}

struct lex *
lex_open_text(const char *name, const char *buf, size_t len)
{
	struct lex *lx = lex_new();

	lx->text = 1;
	input_push(lx, buf, len, file_add(lx, name), 1);
	return (lx);
}

void
lex_free(struct lex *lx)
{
	struct tok *t;
	struct macro *m;
	uint32_t i;

	if (lx == NULL)
		return;
	while (lx->ninputs > 0)
		input_pop(lx);
	while ((t = SLIST_FIRST(&lx->toks)) != NULL) {
		SLIST_REMOVE_HEAD(&lx->toks, entry);
		free(t);
	}
	while ((m = SLIST_FIRST(&lx->macros)) != NULL) {
		SLIST_REMOVE_HEAD(&lx->macros, entry);
		free(m);
	}
	for (i = 0; i < lx->nfiles; i++)
		free(lx->files[i]);
	free(lx->files);
	free(lx);
}

char **
lex_files(struct lex *lx, uint32_t *n)
{
	char **files = lx->files;

	*n = lx->nfiles;
	lx->files = NULL;
	lx->nfiles = 0;
	return (files);
}

/*
 * Whoever writes the configuration is root in all but name, so it must not
 * be somebody else. 0, or -1 with the reason.
 */
static int
file_trusted(int fd, char *why, size_t size)
{
	struct stat st;

	if (fstat(fd, &st) == -1) {
		snprintf(why, size, "%s", strerror(errno));
		return (-1);
	}
	if (S_ISDIR(st.st_mode)) {
		snprintf(why, size, "%s", strerror(EISDIR));
		return (-1);
	}
	if (st.st_uid != 0 && st.st_uid != getuid()) {
		snprintf(why, size, "owned by uid %u, must be root's",
		    (unsigned)st.st_uid);
		return (-1);
	}
	if (st.st_mode & (S_IWGRP | S_IWOTH)) {
		snprintf(why, size, "others may write to it (mode %04o): "
		    "chmod go-w it", (unsigned)(st.st_mode & 07777));
		return (-1);
	}
	return (0);
}

/* The whole file (caller frees), or NULL with the reason. */
static char *
file_read(const char *name, size_t *len, char *why, size_t size)
{
	char *buf = NULL, *p;
	size_t have = 0, room = 0;
	ssize_t n = -1;
	int fd;

	if ((fd = open(name, O_RDONLY | O_CLOEXEC)) == -1) {
		snprintf(why, size, "%s", strerror(errno));
		return (NULL);
	}
	if (file_trusted(fd, why, size) == -1)
		goto out;
	do {
		if (have == room) {
			room = room == 0 ? 8192 : room * 2;
			if ((p = realloc(buf, room)) == NULL)
				err(1, "%s", name);
			buf = p;
		}
		if ((n = read(fd, buf + have, room - have)) == -1) {
			snprintf(why, size, "%s", strerror(errno));
			break;
		}
		if ((have += (size_t)n) > CONF_FILE_MAX) {
			snprintf(why, size, "too large (%d octets at most)",
			    CONF_FILE_MAX);
			n = -1;
			break;
		}
	} while (n > 0);
 out:
	close(fd);
	if (n == -1) {
		free(buf);
		return (NULL);
	}
	*len = have;
	return (buf);
}

struct lex *
lex_open_file(const char *name)
{
	struct lex *lx;
	char *buf, why[256];
	size_t len;

	if ((buf = file_read(name, &len, why, sizeof(why))) == NULL) {
		fprintf(stderr, "%s: %s\n", name, why);
		return (NULL);
	}
	lx = lex_new();
	input_push(lx, buf, len, file_add(lx, name), 1);
	lx->inputs[0].owned = buf;
	return (lx);
}

void
lex_include(struct lex *lx, const struct tok *t)
{
	char dir[CONF_PATH_SIZE], name[2 * CONF_PATH_SIZE], why[256];
	char *buf;
	size_t len;

	if (lx->text) {
		lex_error(lx, &t->at, "include: not possible here");
		return;
	}
	if (lx->ninputs >= LEX_INPUT_MAX) {
		lex_error(lx, &t->at, "include \"%s\": files include each "
		    "other too deeply (%d)", t->text, LEX_INPUT_MAX);
		return;
	}
	/* A relative name is beside the file that holds it. */
	if (strlcpy(dir, lx->files[t->at.file], sizeof(dir)) >= sizeof(dir) ||
	    strlen(t->text) >= CONF_PATH_SIZE) {
		lex_error(lx, &t->at, "include \"%s\": path too long",
		    t->text);
		return;
	}
	if (t->text[0] == '/' || strchr(dir, '/') == NULL)
		strlcpy(name, t->text, sizeof(name));
	else
		snprintf(name, sizeof(name), "%s/%s", dirname(dir), t->text);
	if ((buf = file_read(name, &len, why, sizeof(why))) == NULL) {
		lex_error(lx, &t->at, "include \"%s\": %s", t->text, why);
		return;
	}
	input_push(lx, buf, len, file_add(lx, name), 1);
	lx->inputs[lx->ninputs - 1].owned = buf;
}

void
lex_macro(struct lex *lx, const struct tok *name, const struct tok *value)
{
	struct macro *m;
	const char *p;

	for (p = name->text; *p != '\0'; p++)
		if (!isalnum((unsigned char)*p) && *p != '_')
			break;
	if (*p != '\0' || p == name->text) {
		lex_error(lx, &name->at, "macro \"%s\": names are of "
		    "A-Z a-z 0-9 _", name->text);
		return;
	}
	SLIST_FOREACH(m, &lx->macros, entry)
		if (strcmp(m->name->text, name->text) == 0)
			break;
	if (m == NULL) {
		m = xcalloc(1, sizeof(*m));
		SLIST_INSERT_HEAD(&lx->macros, m, entry);
	}
	m->name = name;
	m->value = value;
}

/* The next octet of the present input, continued lines joined; or EOF. */
static int
get(struct input *in)
{
	while (in->pos + 1 < in->len && in->buf[in->pos] == '\\' &&
	    in->buf[in->pos + 1] == '\n') {
		in->pos += 2;
		in->line++;
	}
	if (in->pos >= in->len)
		return (EOF);
	return ((unsigned char)in->buf[in->pos++]);
}

static void
unget(struct input *in, int c)
{
	if (c != EOF)
		in->pos--;
}

static int
skip_space(struct input *in)
{
	int c;

	do {
		c = get(in);
		if (c == '\r' && in->pos < in->len && in->buf[in->pos] == '\n')
			c = ' ';
	} while (c == ' ' || c == '\t');
	/* A comment ends with its line, whatever the line ends with. */
	if (c == '#') {
		while (in->pos < in->len && in->buf[in->pos] != '\n')
			in->pos++;
		c = get(in);
	}
	return (c);
}

static int
word_char(int c)
{
	return (c != EOF && c < 0x80 &&
	    (isalnum(c) || strchr("-_.:/%+*@~", c) != NULL) && c != '\0');
}

static struct tok *
tok_new(struct lex *lx, const char *text, size_t len)
{
	struct tok *t = xcalloc(1, sizeof(*t) + len + 1);

	t->at = lx->at;
	memcpy(t->text, text, len);
	SLIST_INSERT_HEAD(&lx->toks, t, entry);
	return (t);
}

static int
lex_word(struct lex *lx, struct input *in, int c)
{
	size_t n = 0;

	for (; word_char(c); c = get(in)) {
		if (n < LEX_TOKEN_MAX)
			lx->word[n] = (char)c;
		n++;
	}
	unget(in, c);
	if (n > LEX_TOKEN_MAX)
		return (bad(lx, "word too long", ""));
	lx->last_tok = tok_new(lx, lx->word, n);
	return (LEX_WORD);
}

/* The rest of the line is not to be trusted: it stands in a string. */
static int
lex_string_bad(struct lex *lx, struct input *in, const char *what)
{
	while (in->pos < in->len && in->buf[in->pos] != '\n')
		in->pos++;
	return (bad(lx, what, ""));
}

static int
lex_string(struct lex *lx, struct input *in, int quote)
{
	size_t n = 0;
	int c;

	while ((c = get(in)) != quote) {
		if (c == '\n')
			unget(in, c);
		if (c == EOF || c == '\n')
			return (lex_string_bad(lx, in, "string without end"));
		if (c == '\\') {
			c = in->pos < in->len ?
			    (unsigned char)in->buf[in->pos++] : EOF;
			if (c != '\\' && c != '"' && c != '\'') {
				unget(in, c);
				return (lex_string_bad(lx, in, "backslash in "
				    "a string: only \\\\, \\\" and \\' are "
				    "known"));
			}
		} else if (c < 0x20 || c == 0x7f)
			return (lex_string_bad(lx, in,
			    "control character in a string"));
		if (n >= LEX_TOKEN_MAX)
			return (lex_string_bad(lx, in, "string too long"));
		lx->word[n++] = (char)c;
	}
	lx->last_tok = tok_new(lx, lx->word, n);
	return (LEX_STRING);
}

/* $name: its value is read as if it stood here. LEX_EOF: go on with it. */
static int
lex_expand(struct lex *lx, struct input *in)
{
	struct macro *m;
	size_t n = 0;
	int c;

	for (c = get(in); c != EOF && (isalnum(c) || c == '_') && c < 0x80;
	    c = get(in))
		if (n < LEX_TOKEN_MAX)
			lx->word[n++] = (char)c;
	unget(in, c);
	lx->word[n] = '\0';
	if (n == 0)
		return (bad(lx, "$ without the name of a macro", ""));
	if (in->macro)
		return (bad(lx, "a macro's value must not hold a macro: $",
		    lx->word));
	SLIST_FOREACH(m, &lx->macros, entry)
		if (strcmp(m->name->text, lx->word) == 0)
			break;
	if (m == NULL)
		return (bad(lx, "no such macro: $", lx->word));
	input_push(lx, m->value->text, strlen(m->value->text), in->file,
	    in->line);
	lx->inputs[lx->ninputs - 1].macro = 1;
	return (LEX_EOF);
}

/*
 * The end of an input: LEX_EOF where it was the last. A file ends as if with
 * a newline, and never within braces.
 */
static int
lex_end(struct lex *lx)
{
	uint32_t d;

	if (lx->depth > 0) {
		d = lx->depth <= BRACE_MAX ? lx->depth : BRACE_MAX;
		lx->depth = 0;
		lx->ended = 1;
		/* cppcheck-suppress negativeIndex; depth is above 0 */
		lex_error(lx, &lx->open[d - 1], "\"{\" is never closed");
		return (LEX_BAD);
	}
	if (lx->ninputs == 1)
		return (LEX_EOF);
	input_pop(lx);
	return ('\n');
}

static int
lex_char(struct lex *lx, int c)
{
	char text[8];

	switch (c) {
	case '{':
		if (lx->depth < BRACE_MAX)
			lx->open[lx->depth] = lx->at;
		lx->depth++;
		return (c);
	case '}':
		if (lx->depth > 0)
			lx->depth--;
		return (c);
	case ',':
	case '=':
		return (c);
	}
	snprintf(text, sizeof(text), c > 0x20 && c < 0x7f ? "\"%c\"" :
	    "\\x%02x", (unsigned)c);
	return (bad(lx, "unexpected character: ", text));
}

static int
lex_token(struct lex *lx)
{
	struct input *in;
	int c, kind;

	if (lx->ended)
		return (LEX_EOF);
	for (;;) {
		in = &lx->inputs[lx->ninputs - 1];
		c = skip_space(in);
		lx->at.file = in->file;
		lx->at.line = in->line;
		if (c == EOF && in->macro) {
			input_pop(lx);
			continue;
		}
		if (c != '$')
			break;
		if ((kind = lex_expand(lx, in)) != LEX_EOF)
			return (kind);
	}
	if (c == EOF)
		return (lx->last != '\n' && lx->last != LEX_EOF &&
		    lx->depth == 0 ? '\n' : lex_end(lx));
	if (c == '\n') {
		in->line++;
		return (c);
	}
	if (c == '"' || c == '\'')
		return (lex_string(lx, in, c));
	if (word_char(c))
		return (lex_word(lx, in, c));
	return (lex_char(lx, c));
}

int
lex_next(struct lex *lx, struct tok **tok)
{
	if (lx->unread)
		lx->unread = 0;
	else {
		lx->last_tok = NULL;
		lx->last = lex_token(lx);
	}
	*tok = lx->last_tok;
	return (lx->last);
}

void
lex_describe(const struct lex *lx, char *buf, size_t size)
{
	switch (lx->last) {
	case LEX_EOF:
		snprintf(buf, size, "at the end of the file");
		break;
	case '\n':
		snprintf(buf, size, "at the end of the line");
		break;
	case LEX_WORD:
	case LEX_STRING:
		snprintf(buf, size, "near \"%s\"", lx->last_tok->text);
		break;
	default:
		snprintf(buf, size, "near \"%c\"", lx->last);
		break;
	}
}

int
lex_recover(struct lex *lx, uint32_t depth)
{
	struct tok *t;
	int first = 1;

	for (;; first = 0) {
		if (lx->last == LEX_EOF)
			return (!first);
		if (lx->last == '}' && lx->depth < depth) {
			if (first)
				return (0);
			lx->unread = 1;
			return (1);
		}
		if (lx->last == '\n' && lx->depth <= depth)
			return (1);
		lx->quiet = 1;
		lex_next(lx, &t);
		lx->quiet = 0;
	}
}
