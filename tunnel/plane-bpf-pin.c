/* Where maps of plane bpf outlive the daemon: a file each in a bpffs. */
#include <sys/types.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "dstmd/dstmd.h"
#include "tunnel/plane-bpf.h"

#define BPFFS		"/sys/fs/bpf"
#define BPFFS_MAGIC	0xcafe4a11
#define PATH_SIZE	160

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE	71
#endif

static uint64_t	 cookie;

/*
 * Network namespaces share a bpffs, or do not, and their inodes are used
 * again: a cookie never is, until the host is booted. 0, or -1 unknown.
 */
static int
get_cookie(void)
{
	socklen_t len = sizeof(cookie);
	int fd, r;

	if ((fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0)) == -1)
		return (-1);
	r = getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len);
	close(fd);
	return (r);
}

static int
is_bpffs(void)
{
	struct statfs sf;

	return (statfs(BPFFS, &sf) == 0 &&
	    (unsigned long)sf.f_type == BPFFS_MAGIC);
}

/* Whoever can write there could give us maps, and change them as he likes. */
static int
is_ours_alone(void)
{
	struct stat st;

	if (lstat(BPF_PIN_DIR, &st) == -1)
		return (0);
	errno = EPERM;
	return (S_ISDIR(st.st_mode) && st.st_uid == 0 &&
	    (st.st_mode & (S_IRWXG | S_IRWXO)) == 0);
}

static int
make_dir(void)
{
	if (!is_bpffs() && mount("bpf", BPFFS, "bpf", MS_NOSUID | MS_NODEV |
	    MS_NOEXEC, "mode=0700") == -1)
		return (-1);
	return (mkdir(BPF_PIN_DIR, 0700) == -1 && errno != EEXIST ? -1 : 0);
}

int
bpf_pin_init(int make)
{
	if (get_cookie() == 0 && (!make || make_dir() == 0) && is_ours_alone())
		return (0);
	if (make)
		log_info("plane bpf will not outlive this daemon: %s: %s",
		    BPF_PIN_DIR, strerror(errno));
	return (-1);
}

/* bpffs takes no dot in a name, and interfaces may have one. */
static const char *
pin_path(const char *ifname, const char *map)
{
	static char path[PATH_SIZE];
	char name[3 * IFNAME_SIZE], *p = name;

	for (; *ifname != '\0' && p < name + sizeof(name) - 4; ifname++) {
		if (*ifname == '.' || *ifname == '%')
			p += snprintf(p, 4, "%%%02x", (unsigned)*ifname);
		else
			*p++ = *ifname;
	}
	*p = '\0';
	snprintf(path, sizeof(path), "%s/%" PRIu64 "-%s-%s", BPF_PIN_DIR,
	    cookie, name, map);
	return (path);
}

int
bpf_pin_get(const char *ifname, const char *map)
{
	return (bpf_obj_get(pin_path(ifname, map)));
}

int
bpf_pin_set(const char *ifname, const char *map, int fd)
{
	const char *path = pin_path(ifname, map);

	(void)unlink(path);
	if (bpf_obj_pin(fd, path) == 0)
		return (0);
	log_debug("%s: %s", path, strerror(errno));
	return (-1);
}

void
bpf_pin_remove(const char *ifname, const char *map)
{
	const char *path = pin_path(ifname, map);

	if (unlink(path) == -1 && errno != ENOENT)
		log_warn("%s", path);
}

/* The interface of a pin, from its place in the name to len octets on: or -1. */
static int
pin_ifname(const char *from, size_t len, char ifname[IFNAME_SIZE])
{
	char hex[3] = "";
	size_t i, n = 0;

	for (i = 0; i < len && n < IFNAME_SIZE - 1; i++) {
		if (from[i] == '%' && i + 2 < len) {
			memcpy(hex, from + i + 1, 2);
			ifname[n++] = (char)strtoul(hex, NULL, 16);
			i += 2;
		} else
			ifname[n++] = from[i];
	}
	ifname[n] = '\0';
	return (i == len && n > 0 ? 0 : -1);
}

void
bpf_pin_each(const char *map, void (*each)(const char *, time_t))
{
	char ours[32], ifname[IFNAME_SIZE];
	size_t len, first, last = strlen(map) + 1;
	struct dirent *e;
	struct stat st;
	DIR *dir;

	if ((dir = opendir(BPF_PIN_DIR)) == NULL)
		return;
	first = (size_t)snprintf(ours, sizeof(ours), "%" PRIu64 "-", cookie);
	while ((e = readdir(dir)) != NULL) {
		len = strlen(e->d_name);
		if (len > first + last &&
		    strncmp(e->d_name, ours, first) == 0 &&
		    e->d_name[len - last] == '-' &&
		    strcmp(e->d_name + len - last + 1, map) == 0 &&
		    pin_ifname(e->d_name + first, len - first - last,
		    ifname) == 0 &&
		    fstatat(dirfd(dir), e->d_name, &st, 0) == 0)
			each(ifname, st.st_mtime);
	}
	closedir(dir);
}
