// SPDX-License-Identifier: Apache-2.0
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/text.h"

static int read_all(int fd, size_t max, struct text *content)
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
    r = read_all(fd, max, &content);
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

static int write_all(int fd, const char *data, size_t size)
{
    while (size) {
        ssize_t n = write(fd, data, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        data += n;
        size -= (size_t)n;
    }
    return 0;
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
    r = write_all(fd, data, size);
    if (r == 0 && fchmod(fd, mode) < 0)
        r = -errno;
    if (r == 0 && rename(temporary, path) < 0)
        r = -errno;
    if (r < 0) {
        unlink(temporary);
        return error_set_errno(err, r, "cannot write %s", path);
    }
    return 0;
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
