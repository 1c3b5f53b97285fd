// SPDX-License-Identifier: Apache-2.0
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/text.h"

enum { TEMPORARY_LETTERS = sizeof("XXXXXX") - 1 };

int file_read_all(int fd, size_t max, struct text *content)
{
    char buffer[16384];
    ssize_t n;

    while ((n = read(fd, buffer, sizeof(buffer))) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (content->length + (size_t)n > max)
            return -EFBIG;
        text_add_bytes(content, buffer, (size_t)n);
    }
    return text_failed(content) ? -ENOMEM : 0;
}

int file_read(const char *path, size_t max, char **ret_data, size_t *ret_size, struct error *err)
{
    cleanup_text struct text content = TEXT_INIT;
    cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    char *data;
    int r;

    if (fd < 0)
        return error_set_errno(err, -errno, "cannot open %s", path);
    r = file_read_all(fd, max, &content);
    if (r == -EFBIG)
        return error_set(err, r, "%s is larger than %zu bytes", path, max);
    if (r < 0)
        return error_set_errno(err, r, "cannot read %s", path);
    *ret_size = content.length;
    data = text_take(&content);
    if (!data)
        return error_set_errno(err, -ENOMEM, "cannot read %s", path);
    *ret_data = data;
    return 0;
}

int file_write_all(int fd, const void *data, size_t size)
{
    const char *at = data;

    while (size) {
        ssize_t n = write(fd, at, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        at += n;
        size -= (size_t)n;
    }
    return 0;
}

/* ".name.XXXXXX" */
static bool is_temporary(const char *entry, const char *name)
{
    const size_t length = strlen(name);

    return entry[0] == '.' && strncmp(entry + 1, name, length) == 0 && entry[1 + length] == '.' &&
           strlen(entry + 2 + length) == TEMPORARY_LETTERS;
}

/* A concurrent writer of the same file is not disturbed. */
static void remove_leftovers(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    cleanup_free char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    DIR *stream = folder ? opendir(folder) : NULL;
    struct dirent *entry;
    struct stat found;

    while (stream && (entry = readdir(stream)))
        if (is_temporary(entry->d_name, name) &&
            fstatat(dirfd(stream), entry->d_name, &found, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(found.st_mode) && time(NULL) - found.st_mtime >= FILE_LEFTOVER_S)
            unlinkat(dirfd(stream), entry->d_name, 0);
    if (stream)
        closedir(stream);
}

int file_write_atomic(const char *path, const void *data, size_t size, mode_t mode,
                      struct error *err)
{
    char temporary[PATH_MAX];
    const char *slash = strrchr(path, '/');
    int dir = slash ? (int)(slash - path) + 1 : 0;
    cleanup_close int fd = -1;
    int r;

    if (snprintf(temporary, sizeof(temporary), "%.*s.%s.XXXXXX", dir, path, path + dir) >=
        (int)sizeof(temporary))
        return error_set_errno(err, -ENAMETOOLONG, "cannot write %s", path);
    fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(err, -errno, "cannot create a file beside %s", path);
    r = file_write_all(fd, data, size);
    if (r == 0 && fchmod(fd, mode) < 0)
        r = -errno;
    if (r == 0 && rename(temporary, path) < 0)
        r = -errno;
    if (r < 0) {
        unlink(temporary);
        return error_set_errno(err, r, "cannot write %s", path);
    }
    remove_leftovers(path);
    return 0;
}

static int sync_directory(const char *path, struct error *err)
{
    cleanup_close int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || fsync(fd) < 0)
        return error_set_errno(err, -errno, "cannot sync the folder %s", path);
    return 0;
}

/* The directory of a path and the path of the temporary file beside it. */
static int split_path(const char *path, char folder[PATH_MAX], char temporary[PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    int dir = slash ? (int)(slash - path) + 1 : 0;

    if (snprintf(folder, PATH_MAX, "%.*s.", dir, path) >= PATH_MAX ||
        snprintf(temporary, PATH_MAX, "%.*s.%s.new", dir, path, path + dir) >= PATH_MAX)
        return -ENAMETOOLONG;
    return 0;
}

int file_write_durable(const char *path, const void *data, size_t size, mode_t mode,
                       struct error *err)
{
    char folder[PATH_MAX], temporary[PATH_MAX];
    cleanup_close int fd = -1;
    int r = split_path(path, folder, temporary);

    if (r < 0)
        return error_set_errno(err, r, "cannot write %s", path);
    fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return error_set_errno(err, -errno, "cannot create %s", temporary);
    r = file_write_all(fd, data, size);
    if (r == 0 && (fchmod(fd, mode) < 0 || fsync(fd) < 0 || rename(temporary, path) < 0))
        r = -errno;
    if (r < 0) {
        unlink(temporary);
        return error_set_errno(err, r, "cannot write %s", path);
    }
    return sync_directory(folder, err);
}

void file_open_standard_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 &&
            open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
            return; /* without /dev/null */
}

int file_make_directory(const char *path, struct error *err)
{
    char part[PATH_MAX];

    if (str_copy(part, sizeof(part), path) < 0)
        return error_set_errno(err, -ENAMETOOLONG, "cannot create directory %s", path);
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, 0755) < 0 && errno != EEXIST)
            return error_set_errno(err, -errno, "cannot create directory %s", part);
        *slash = '/';
    }
    if (mkdir(part, 0755) < 0 && errno != EEXIST)
        return error_set_errno(err, -errno, "cannot create directory %s", path);
    return 0;
}
