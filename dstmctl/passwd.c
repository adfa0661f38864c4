/*
 * dstmctl passwd: the file of stored keys. A new file takes the place of
 * the old one by rename(2), so that a reader sees the one or the other.
 */
#include <sys/types.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <openssl/evp.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <readpassphrase.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dstmctl/dstmctl.h"
#include "dstmd/stored.h"

#define SECRETS		SYSCONFDIR "/secrets"
#define PASSWORD_SIZE	256
#define ITERATIONS	4096
#define SALT_SIZE	16
#define SEED_SIZE	32
#define LINE_SIZE	512

static void
usage(void)
{
	fprintf(stderr, "usage: dstmctl passwd [-d] [-f file] [-r realm] name\n");
	exit(2);
}

static void
read_password(char *buf, size_t size)
{
	char again[PASSWORD_SIZE];
	char *p;

	if (!isatty(STDIN_FILENO)) {
		if (fgets(buf, (int)size, stdin) == NULL)
			errx(1, "no password on standard input");
		if (strchr(buf, '\n') == NULL && strlen(buf) == size - 1)
			errx(1, "the password is too long");
		buf[strcspn(buf, "\r\n")] = '\0';
	} else {
		if (readpassphrase("Password: ", buf, size,
		    RPP_ECHO_OFF | RPP_REQUIRE_TTY) == NULL ||
		    readpassphrase("Again: ", again, sizeof(again),
		    RPP_ECHO_OFF | RPP_REQUIRE_TTY) == NULL)
			err(1, "cannot read the password");
		if (strcmp(buf, again) != 0)
			errx(1, "the two are not the same");
		explicit_bzero(again, sizeof(again));
	}
	if (buf[0] == '\0')
		errx(1, "the password is empty");
	for (p = buf; *p != '\0'; p++)
		if (*p < ' ' || *p > '~')
			errx(1, "a password is printable ASCII");
}

/* The keys of a name; that of DIGEST-MD5 where the file has a realm. */
static void
write_keys(FILE *f, const char *name, const char *realm, const char *password)
{
	char key[LINE_SIZE];
	uint8_t salt[SALT_SIZE], ha1[HA1_SIZE];
	size_t i;

	arc4random_buf(salt, sizeof(salt));
	if (scram_make(password, ITERATIONS, salt, sizeof(salt), key,
	    sizeof(key)) == -1)
		errx(1, "the key does not fit");
	fprintf(f, "%s:%s\n", name, key);
	explicit_bzero(key, sizeof(key));
	if (realm[0] == '\0')
		return;
	if (ha1_make(name, realm, password, ha1) == -1)
		errx(1, "the key does not fit");
	fprintf(f, "%s:DIGEST-MD5$", name);
	for (i = 0; i < sizeof(ha1); i++)
		fprintf(f, "%02x", ha1[i]);
	fprintf(f, "\n");
	explicit_bzero(ha1, sizeof(ha1));
}

static void
write_seed(FILE *f)
{
	uint8_t seed[SEED_SIZE];
	char text[64];

	arc4random_buf(seed, sizeof(seed));
	EVP_EncodeBlock((uint8_t *)text, seed, sizeof(seed));
	fprintf(f, "# Stored keys of dstmd, written by dstmctl passwd.\n"
	    "!seed:%s\n", text);
	explicit_bzero(seed, sizeof(seed));
}

/* Copies the old lines but those of name: was there one? */
static int
copy_lines(FILE *from, FILE *to, const char *name, int *seeded, char *realm)
{
	char line[LINE_SIZE];
	size_t len = strlen(name);
	int found = 0;

	*seeded = 0;
	while (fgets(line, sizeof(line), from) != NULL) {
		if (strchr(line, '\n') == NULL && strlen(line) ==
		    sizeof(line) - 1)
			errx(1, "a line of the file is too long");
		if (strncmp(line, "!seed:", 6) == 0)
			*seeded = 1;
		if (strncmp(line, "!realm:", 7) == 0) {
			line[strcspn(line, "\r\n")] = '\0';
			if (!realm_valid(line + 7))
				errx(1, "the file's !realm is none");
			strlcpy(realm, line + 7, NAME_SIZE);
			fprintf(to, "!realm:%s\n", realm);
			continue;
		}
		if (strncmp(line, name, len) == 0 && line[len] == ':') {
			found = 1;
			continue;
		}
		fputs(line, to);
		if (strchr(line, '\n') == NULL)
			fputc('\n', to);
	}
	if (ferror(from))
		err(1, "cannot read the old file");
	return (found);
}

static void
sync_dir(const char *file)
{
	char copy[1024];
	int fd;

	strlcpy(copy, file, sizeof(copy));
	if ((fd = open(dirname(copy), O_RDONLY | O_DIRECTORY)) == -1 ||
	    fsync(fd) == -1)
		err(1, "%s", file);
	close(fd);
}

/* All keys of the file are for one realm, which is told to clients. */
static int
set_realm(FILE *f, char *realm, const char *wanted)
{
	if (wanted == NULL || strcmp(realm, wanted) == 0)
		return (0);
	if (realm[0] != '\0')
		return (-1);
	strlcpy(realm, wanted, NAME_SIZE);
	fprintf(f, "!realm:%s\n", realm);
	return (0);
}

/* password NULL: the name is deleted. */
static void
replace(const char *file, const char *name, const char *wanted,
    const char *password)
{
	char tmp[1024], realm[NAME_SIZE] = "";
	FILE *old, *new;
	struct stat st;
	int fd, lock, found = 0, seeded = 0;

	/* The directory is locked: the file itself is replaced. */
	strlcpy(tmp, file, sizeof(tmp));
	if ((lock = open(dirname(tmp), O_RDONLY | O_DIRECTORY)) == -1 ||
	    flock(lock, LOCK_EX) == -1)
		err(1, "directory of %s", file);
	if (snprintf(tmp, sizeof(tmp), "%s.XXXXXXXXXX", file) >=
	    (int)sizeof(tmp))
		errx(1, "%s: too long", file);
	if ((old = fopen(file, "r")) == NULL && errno != ENOENT)
		err(1, "%s", file);
	if (old == NULL && password == NULL)
		errx(1, "%s: no such file", file);
	if ((fd = mkstemp(tmp)) == -1 || (new = fdopen(fd, "w")) == NULL)
		err(1, "%s", tmp);
	if (old != NULL) {
		found = copy_lines(old, new, name, &seeded, realm);
		if (fstat(fileno(old), &st) == 0 &&
		    fchown(fd, st.st_uid, st.st_gid) == -1)
			warn("%s: owner", tmp);
		fclose(old);
	}
	if (!seeded)
		write_seed(new);
	if (set_realm(new, realm, wanted) == -1) {
		unlink(tmp);
		errx(1, "%s: its keys are for realm %s", file, realm);
	}
	if (password != NULL)
		write_keys(new, name, realm, password);
	if (password == NULL && !found) {
		unlink(tmp);
		errx(1, "%s: no user %s", file, name);
	}
	if (fchmod(fd, 0600) == -1 || fflush(new) == EOF || fsync(fd) == -1 ||
	    fclose(new) == EOF || rename(tmp, file) == -1) {
		warn("%s", file);
		unlink(tmp);
		exit(1);
	}
	sync_dir(file);
	close(lock);
	printf("%s: %s %s\n", file, name, password == NULL ? "deleted" :
	    found ? "changed" : "added");
}

int
passwd_main(int argc, char *argv[])
{
	const char *file = SECRETS, *realm = NULL;
	char password[PASSWORD_SIZE];
	int ch, delete = 0;

	while ((ch = getopt(argc, argv, "df:r:")) != -1) {
		switch (ch) {
		case 'd':
			delete = 1;
			break;
		case 'f':
			file = optarg;
			break;
		case 'r':
			realm = optarg;
			break;
		default:
			usage();
		}
	}
	if (argc - optind != 1 || (delete && realm != NULL))
		usage();
	if (realm != NULL && !realm_valid(realm))
		errx(1, "%s: a realm is 1 to 64 lower-case letters, digits, "
		    "'.', '_', '-'", realm);
	if (!name_valid(argv[optind]))
		errx(1, "%s: a name is 1 to 64 letters, digits, '.', '_', "
		    "'-', and not \"anonymous\"", argv[optind]);
	if (!delete)
		read_password(password, sizeof(password));
	replace(file, argv[optind], realm, delete ? NULL : password);
	explicit_bzero(password, sizeof(password));
	return (fflush(stdout) == EOF);
}
