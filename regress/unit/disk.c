/* A disk that loses power: see disk.h. */
#include <sys/types.h>

#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "regress/unit/disk.h"
#include "regress/unit/records.h"

#define SECTOR		512
#define DISK_FILES	4
#define DISK_SIZE	(1024 * 1024)

struct disk_write {
	long		 offset;	/* -1: the size is len */
	long		 len;
	uint8_t		*data;
};

struct disk_file {
	char		 name[64];	/* "": free */
	uint8_t		*now, *synced;
	long		 size, synced_size;
	struct disk_write *writes;	/* not synced */
	size_t		 nwrites;
};

struct handle {
	sqlite3_file	 base;
	struct disk_file *f;
};

static struct disk_file	 disk[DISK_FILES];
long		 power = -1;
long		 bad_sync;

static int
power_fails(void)
{
	return (power == 0 || --power == 0);
}

static void
disk_apply(uint8_t *data, long *size, const struct disk_write *w, long n)
{
	if (w->offset == -1) {
		if (w->len > *size)
			memset(data + *size, 0, (size_t)(w->len - *size));
		*size = w->len;
		return;
	}
	if (w->offset > *size)
		memset(data + *size, 0, (size_t)(w->offset - *size));
	memcpy(data + w->offset, w->data, (size_t)n);
	if (w->offset + n > *size)
		*size = w->offset + n;
}

static void
disk_forget(struct disk_file *f)
{
	size_t i;

	for (i = 0; i < f->nwrites; i++)
		free(f->writes[i].data);
	free(f->writes);
	f->writes = NULL;
	f->nwrites = 0;
}

static void
disk_log(struct disk_file *f, long offset, const void *data, long len)
{
	struct disk_write *w;

	f->writes = reallocarray(f->writes, f->nwrites + 1,
	    sizeof(*f->writes));
	w = &f->writes[f->nwrites++];
	w->offset = offset;
	w->len = len;
	w->data = NULL;
	if (data != NULL) {
		w->data = malloc((size_t)len);
		memcpy(w->data, data, (size_t)len);
	}
	disk_apply(f->now, &f->size, w, len);
}

static void
disk_remove(struct disk_file *f)
{
	disk_forget(f);
	free(f->now);
	free(f->synced);
	memset(f, 0, sizeof(*f));
}

/* Power comes back. */
void
disk_crash(void)
{
	struct disk_file *f;
	struct disk_write *w;
	size_t i, j;
	long n;

	for (i = 0; i < DISK_FILES; i++) {
		f = &disk[i];
		if (f->name[0] == '\0')
			continue;
		for (j = 0; j < f->nwrites; j++) {
			w = &f->writes[j];
			n = w->len;
			switch (arc4random_uniform(3)) {
			case 0:
				continue;
			case 1:
				if (w->offset != -1)
					n = (long)arc4random_uniform(
					    (uint32_t)(n / SECTOR + 1)) *
					    SECTOR;
				break;
			}
			disk_apply(f->synced, &f->synced_size, w, n);
		}
		disk_forget(f);
		memcpy(f->now, f->synced, (size_t)f->synced_size);
		f->size = f->synced_size;
	}
	power = -1;
}

static struct disk_file *
disk_find(const char *name)
{
	size_t i;

	for (i = 0; i < DISK_FILES; i++)
		if (strcmp(disk[i].name, name) == 0)
			return (&disk[i]);
	return (NULL);
}

static int
disk_close(sqlite3_file *sf)
{
	(void)sf;
	return (SQLITE_OK);
}

static int
disk_read(sqlite3_file *sf, void *buf, int n, sqlite3_int64 offset)
{
	struct disk_file *f = ((struct handle *)sf)->f;
	long have = f->size - (long)offset;

	if (have >= n) {
		memcpy(buf, f->now + offset, (size_t)n);
		return (SQLITE_OK);
	}
	memset(buf, 0, (size_t)n);
	if (have > 0)
		memcpy(buf, f->now + offset, (size_t)have);
	return (SQLITE_IOERR_SHORT_READ);
}

static int
disk_write(sqlite3_file *sf, const void *buf, int n, sqlite3_int64 offset)
{
	struct disk_file *f = ((struct handle *)sf)->f;

	if (power_fails())
		return (SQLITE_IOERR_WRITE);
	if (offset + n > DISK_SIZE)
		return (SQLITE_FULL);
	disk_log(f, (long)offset, buf, n);
	return (SQLITE_OK);
}

static int
disk_truncate(sqlite3_file *sf, sqlite3_int64 size)
{
	if (power_fails())
		return (SQLITE_IOERR_TRUNCATE);
	disk_log(((struct handle *)sf)->f, -1, NULL, (long)size);
	return (SQLITE_OK);
}

static int
disk_sync(sqlite3_file *sf, int flags)
{
	struct disk_file *f = ((struct handle *)sf)->f;
	size_t i;

	(void)flags;
	if (power_fails())
		return (SQLITE_IOERR_FSYNC);
	if (bad_sync > 0 && --bad_sync == 0) {
		disk_forget(f);
		return (SQLITE_IOERR_FSYNC);
	}
	for (i = 0; i < f->nwrites; i++)
		disk_apply(f->synced, &f->synced_size, &f->writes[i],
		    f->writes[i].len);
	disk_forget(f);
	return (SQLITE_OK);
}

static int
disk_file_size(sqlite3_file *sf, sqlite3_int64 *size)
{
	*size = ((struct handle *)sf)->f->size;
	return (SQLITE_OK);
}

static int
disk_lock(sqlite3_file *sf, int level)
{
	(void)sf;
	(void)level;
	return (SQLITE_OK);
}

static int
disk_locked(sqlite3_file *sf, int *out)
{
	(void)sf;
	*out = 0;
	return (SQLITE_OK);
}

static int
disk_control(sqlite3_file *sf, int op, void *arg)
{
	(void)sf;
	(void)op;
	(void)arg;
	return (SQLITE_NOTFOUND);
}

static int
disk_sector(sqlite3_file *sf)
{
	(void)sf;
	return (SECTOR);
}

static int
disk_features(sqlite3_file *sf)
{
	(void)sf;
	return (SQLITE_IOCAP_POWERSAFE_OVERWRITE);
}

static const sqlite3_io_methods disk_methods = {
	1, disk_close, disk_read, disk_write, disk_truncate, disk_sync,
	disk_file_size, disk_lock, disk_lock, disk_locked, disk_control,
	disk_sector, disk_features, NULL, NULL, NULL, NULL, NULL, NULL
};

static int
disk_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *sf, int flags,
    int *out)
{
	struct handle *h = (struct handle *)sf;

	(void)vfs;
	h->base.pMethods = NULL;
	if ((h->f = disk_find(name)) == NULL) {
		if (!(flags & SQLITE_OPEN_CREATE) ||
		    (h->f = disk_find("")) == NULL)
			return (SQLITE_CANTOPEN);
		strlcpy(h->f->name, name, sizeof(h->f->name));
		h->f->now = calloc(1, DISK_SIZE);
		h->f->synced = calloc(1, DISK_SIZE);
	}
	h->base.pMethods = &disk_methods;
	if (out != NULL)
		*out = flags;
	return (SQLITE_OK);
}

static int
disk_delete(sqlite3_vfs *vfs, const char *name, int sync_dir)
{
	struct disk_file *f = disk_find(name);

	(void)vfs;
	(void)sync_dir;
	if (power_fails())
		return (SQLITE_IOERR_DELETE);
	if (f == NULL)
		return (SQLITE_IOERR_DELETE_NOENT);
	disk_remove(f);
	return (SQLITE_OK);
}

static int
disk_access(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
	(void)vfs;
	(void)flags;
	*out = disk_find(name) != NULL;
	return (SQLITE_OK);
}

static int
disk_full_path(sqlite3_vfs *vfs, const char *name, int n, char *out)
{
	(void)vfs;
	strlcpy(out, name, (size_t)n);
	return (SQLITE_OK);
}

static sqlite3_vfs	 disk_vfs;

int
disk_setup(void **state)
{
	sqlite3_vfs *os = sqlite3_vfs_find(NULL);

	(void)state;
	disk_vfs = *os;
	disk_vfs.iVersion = 1;
	disk_vfs.pNext = NULL;
	disk_vfs.zName = "disk";
	disk_vfs.szOsFile = sizeof(struct handle);
	disk_vfs.xOpen = disk_open;
	disk_vfs.xDelete = disk_delete;
	disk_vfs.xAccess = disk_access;
	disk_vfs.xFullPathname = disk_full_path;
	power = -1;
	bad_sync = 0;
	strlcpy(path, "/tmp/dstmtest-no-such-file.db", sizeof(path));
	return (sqlite3_vfs_register(&disk_vfs, 1));
}

int
disk_teardown(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < DISK_FILES; i++)
		disk_remove(&disk[i]);
	return (sqlite3_vfs_unregister(&disk_vfs));
}
