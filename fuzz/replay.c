/*
 * A fuzzer without an engine: each file that is named, and each in a folder
 * that is named, is one input. Ends with the first that fails.
 * usage: NAME file|folder ...
 */
#include <sys/types.h>
#include <sys/stat.h>

#include <err.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fuzz/fuzz.h"

static void
replay(const char *path, off_t size)
{
	uint8_t *buf;
	size_t n;
	FILE *f;

	/* Said before: it may be the last word. */
	if (getenv("FUZZ_VERBOSE") != NULL)
		dprintf(STDERR_FILENO, "%s\n", path);
	if ((buf = malloc((size_t)size + 1)) == NULL)
		err(1, NULL);
	if ((f = fopen(path, "r")) == NULL)
		err(1, "%s", path);
	n = fread(buf, 1, (size_t)size, f);
	if (n != (size_t)size)
		errx(1, "%s: short read", path);
	fclose(f);
	LLVMFuzzerTestOneInput(buf, n);
	free(buf);
}

int
main(int argc, char *argv[])
{
	unsigned long count = 0;
	FTSENT *e;
	FTS *fts;

	if (argc < 2) {
		fprintf(stderr, "usage: %s file|folder ...\n", argv[0]);
		return (2);
	}
	LLVMFuzzerInitialize(&argc, &argv);
	if ((fts = fts_open(argv + 1, FTS_PHYSICAL | FTS_NOCHDIR, NULL)) ==
	    NULL)
		err(1, "fts_open");
	while ((e = fts_read(fts)) != NULL) {
		if (e->fts_info == FTS_F) {
			replay(e->fts_path, e->fts_statp->st_size);
			count++;
		} else if (e->fts_info == FTS_NS || e->fts_info == FTS_DNR ||
		    e->fts_info == FTS_ERR)
			errx(1, "%s: cannot be read", e->fts_path);
	}
	fts_close(fts);
	printf("%lu inputs\n", count);
	return (0);
}
