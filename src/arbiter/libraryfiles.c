// SPDX-License-Identifier: Apache-2.0
#include "arbiter/libraryfiles.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/hash.h"
#include "limits/message.h"

#define TEMPORARY     ".new-XXXXXX" /* of a version being installed */
#define FRESH_CURRENT ".current"

static const char preload[] = LIMITS_CONTAINER "/" LIMITS_LIBRARY "/" LIBRARYFILES_LIBRARY "\n";

/* The content of a version. */
struct content {
    char *library;
    size_t size;
};

static int join(char path[PATH_MAX], const char *folder, const char *name, const char *file,
                struct error *err)
{
    if (snprintf(path, PATH_MAX, "%s/%s%s%s", folder, name, file ? "/" : "", file ? file : "") <
        PATH_MAX)
        return 0;
    return error_set_errno(err, -ENAMETOOLONG, "%s/%s", folder, name);
}

/* --- what is there --- */

static bool has_file(const char *folder, const char *name, const char *file, const char *data,
                     size_t size)
{
    cleanup_free char *there = NULL;
    char path[PATH_MAX];
    size_t size_there;

    return join(path, folder, name, file, NULL) == 0 &&
           file_read(path, LIBRARYFILES_SIZE_MAX, &there, &size_there, NULL) == 0 &&
           size_there == size && memcmp(there, data, size) == 0;
}

static bool has_version(const char *folder, const char *name, const struct content *content)
{
    return has_file(folder, name, LIBRARYFILES_LIBRARY, content->library, content->size) &&
           has_file(folder, name, LIBRARYFILES_PRELOAD, preload, strlen(preload));
}

/* Both files, whatever the library contains: it has its name since it was complete. */
static bool is_complete(const char *folder, const char *name)
{
    char path[PATH_MAX];
    struct stat status;

    return join(path, folder, name, LIBRARYFILES_LIBRARY, NULL) == 0 && stat(path, &status) == 0 &&
           S_ISREG(status.st_mode) && status.st_size > 0 &&
           has_file(folder, name, LIBRARYFILES_PRELOAD, preload, strlen(preload));
}

/* "" if there is none, or it does not name a folder beside it. */
static void read_current(const char *folder, char name[LIBRARYFILES_NAME_SIZE])
{
    char path[PATH_MAX];
    ssize_t length = -1;

    if (join(path, folder, LIBRARYFILES_CURRENT, NULL, NULL) == 0)
        length = readlink(path, name, LIBRARYFILES_NAME_SIZE);
    if (length <= 0 || length == LIBRARYFILES_NAME_SIZE || memchr(name, '/', (size_t)length) ||
        name[0] == '.')
        length = 0;
    name[length] = '\0';
}

/* --- install --- */

static int write_file(const char *folder, const char *file, const char *data, size_t size,
                      mode_t mode, struct error *err)
{
    char path[PATH_MAX];
    cleanup_close int fd = -1;
    int r = join(path, folder, file, NULL, err);

    if (r < 0)
        return r;
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set_errno(err, -errno, "cannot create %s", path);
    r = file_write_all(fd, data, size);
    if (r == 0 && (fchmod(fd, mode) < 0 || fsync(fd) < 0))
        r = -errno;
    return r < 0 ? error_set_errno(err, r, "cannot write %s", path) : 0;
}

static int sync_folder(const char *folder)
{
    cleanup_close int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* With the files that are in it, and no folder. A link to a version is not followed. */
static int remove_folder(const char *path)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;

    if (fd >= 0 && !dir)
        close(fd);
    while (dir && (entry = readdir(dir)))
        if (entry->d_name[0] != '.')
            unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir)
        closedir(dir);
    return rmdir(path) < 0 ? -errno : 0;
}

/* -EEXIST or -ENOTEMPTY: the name is taken. */
static int add_version(const char *folder, const char *name, const struct content *content,
                       struct error *err)
{
    char fresh[PATH_MAX], path[PATH_MAX];
    int r = join(fresh, folder, TEMPORARY, NULL, err);

    if (r == 0)
        r = join(path, folder, name, NULL, err);
    if (r < 0)
        return r;
    if (!mkdtemp(fresh))
        return error_set_errno(err, -errno, "cannot create %s", fresh);
    r = write_file(fresh, LIBRARYFILES_LIBRARY, content->library, content->size, 0755, err);
    if (r == 0)
        r = write_file(fresh, LIBRARYFILES_PRELOAD, preload, strlen(preload), 0644, err);
    if (r == 0) {
        /* Synced before it has its name: after a power failure it is complete, or not there. */
        r = chmod(fresh, 0755) < 0 ? -errno : sync_folder(fresh);
        if (r == 0)
            r = rename(fresh, path) < 0 ? -errno : sync_folder(folder);
        if (r < 0)
            error_set_errno(err, r, "cannot create %s", path);
    }
    if (r < 0)
        remove_folder(fresh);
    return r;
}

static int make_current(const char *folder, const char *name, struct error *err)
{
    char current[LIBRARYFILES_NAME_SIZE], fresh[PATH_MAX], path[PATH_MAX];
    int r;

    read_current(folder, current);
    if (str_equal(current, name))
        return 0;
    r = join(fresh, folder, FRESH_CURRENT, NULL, err);
    if (r == 0)
        r = join(path, folder, LIBRARYFILES_CURRENT, NULL, err);
    if (r < 0)
        return r;
    unlink(fresh);
    if (symlink(name, fresh) < 0 || rename(fresh, path) < 0)
        return error_set_errno(err, -errno, "cannot create the link %s", path);
    return 0;
}

static int add_content(const char *folder, const char *version, const struct content *content,
                       char name[LIBRARYFILES_NAME_SIZE], struct error *err)
{
    char path[PATH_MAX];
    struct stat status;
    int r;

    snprintf(name, LIBRARYFILES_NAME_SIZE, "%.64s", version);
    if (has_version(folder, name, content))
        return 0;
    r = join(path, folder, name, NULL, err);
    if (r < 0)
        return r;
    if (lstat(path, &status) == 0)
        snprintf(name, LIBRARYFILES_NAME_SIZE, "%.64s-%016llx", version,
                 (unsigned long long)hash_bytes(HASH_INIT, content->library, content->size));
    if (has_version(folder, name, content))
        return 0;
    return add_version(folder, name, content, err);
}

int libraryfiles_install(const char *folder, const char *source, const char *version,
                         char ret_name[LIBRARYFILES_NAME_SIZE], struct error *err)
{
    char name[LIBRARYFILES_NAME_SIZE] = "", before[LIBRARYFILES_NAME_SIZE];
    cleanup_free char *library = NULL;
    size_t size = 0;
    int r = file_read(source, LIBRARYFILES_SIZE_MAX, &library, &size, err);

    if (r == 0 && !size)
        r = error_set(err, -ENOEXEC, "%s is empty", source);
    if (r == 0)
        r = file_make_directory(folder, err);
    if (r == 0)
        r = add_content(folder, version, &(struct content){library, size}, name, err);
    if (r == 0)
        r = make_current(folder, name, err);
    if (r < 0) {
        read_current(folder, before);
        snprintf(name, sizeof(name), "%s", is_complete(folder, before) ? before : "");
    }
    snprintf(ret_name, LIBRARYFILES_NAME_SIZE, "%s", name);
    return r;
}

/* --- collect --- */

/* A mount of the folder itself or of a file in it, wherever the host has ours. */
static bool is_mounted(const char *path, const char *name)
{
    const size_t length = strlen(name);

    for (const char *at = strchr(path, '/'); at; at = strchr(at + 1, '/'))
        if (strncmp(at + 1, name, length) == 0 && (at[1 + length] == '/' || !at[1 + length]))
            return true;
    return false;
}

static bool is_named(const struct kubeletcheckpoint *checkpoint, const char *name)
{
    for (size_t i = 0; i < checkpoint->n_entries; i++)
        for (size_t j = 0; j < checkpoint->entries[i].mounts.n_items; j++)
            if (is_mounted(checkpoint->entries[i].mounts.items[j], name))
                return true;
    return false;
}

static bool is_old(const char *path, int64_t now_s)
{
    struct stat status;

    return lstat(path, &status) == 0 && now_s - status.st_mtime >= LIBRARYFILES_KEEP_S;
}

static int collect_one(const char *folder, const char *name, int64_t now_s,
                       const struct kubeletcheckpoint *checkpoint, struct names *removed,
                       struct error *err)
{
    char path[PATH_MAX];
    int r;

    if ((name[0] != '.' && is_named(checkpoint, name)) || join(path, folder, name, NULL, NULL) < 0)
        return 0;
    if (name[0] == '.' && !is_old(path, now_s)) /* it is being written */
        return 0;
    r = remove_folder(path);
    if (r == -ENOTDIR)
        return 0; /* none of ours */
    if (r < 0)
        return error_set_errno(err, r, "cannot remove %s", path);
    return name[0] == '.' ? 0 : names_add(removed, name, strlen(name));
}

int libraryfiles_collect(const char *folder, const struct kubeletcheckpoint *checkpoint,
                         int64_t now_s, struct names *removed, struct error *err)
{
    char current[LIBRARYFILES_NAME_SIZE], link[PATH_MAX];
    struct dirent *entry;
    DIR *dir;
    int r = join(link, folder, LIBRARYFILES_CURRENT, NULL, err);

    if (r < 0)
        return r;
    read_current(folder, current);
    if (!*current || !is_old(link, now_s))
        return 0;
    dir = opendir(folder);
    if (!dir)
        return error_set_errno(err, -errno, "cannot read %s", folder);
    while (r == 0 && (entry = readdir(dir))) {
        if (str_equal(entry->d_name, ".") || str_equal(entry->d_name, "..") ||
            str_equal(entry->d_name, current) || str_equal(entry->d_name, LIBRARYFILES_CURRENT))
            continue;
        r = collect_one(folder, entry->d_name, now_s, checkpoint, removed, err);
    }
    closedir(dir);
    return r;
}
