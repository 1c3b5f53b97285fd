// SPDX-License-Identifier: Apache-2.0
#include "grant/grantdir.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"

enum { OPEN_MAX_FOLDERS = 8, LIMITS_MAX = 1 << 20 /* bytes */ };

static int format_path(const char *folder, const char *grant_id, char path[PATH_MAX],
                       struct error *err)
{
    if (snprintf(path, PATH_MAX, "%s/grants%s%s", folder, *grant_id ? "/" : "", grant_id) >=
        PATH_MAX)
        return error_set_errno(err, -ENAMETOOLONG, "cannot use %s", folder);
    return 0;
}

/* Ids of what is not shared are bare UUIDs. */
bool grantdir_is_wanted(const struct grant *grant)
{
    for (size_t i = 0; i < grant->n_ids; i++)
        if (strstr(grant->ids[i], "::"))
            return true;
    return false;
}

int grantdir_init(const struct grant *grant, const char *mode, struct grantdir *ret_dir)
{
    cleanup_text struct text limits = TEXT_INIT;

    text_addf(&limits, "mode %s\n", mode);
    for (size_t i = 0; i < grant->n_devices; i++)
        if (grant->devices[i].mem_bytes) /* 0: no limit is known */
            text_addf(&limits, "%s %" PRIu64 "\n", grant->devices[i].uuid,
                      grant->devices[i].mem_bytes);
    if (text_failed(&limits))
        return -ENOMEM;
    memcpy(ret_dir->id, grant->id, GRANT_ID_SIZE);
    ret_dir->limits = text_take(&limits);
    return 0;
}

void grantdir_deinit(struct grantdir *dir)
{
    free(dir->limits);
    dir->limits = NULL;
}

static bool says(const char *path, const char *content)
{
    const size_t length = strlen(content);
    cleanup_free char *data = NULL;
    size_t size;

    return file_read(path, length, &data, &size, NULL) == 0 && size == length &&
           memcmp(data, content, length) == 0;
}

int grantdir_make(const char *folder, const struct grantdir *dir, struct error *err)
{
    char path[PATH_MAX];
    int r = format_path(folder, dir->id, path, err);
    size_t length;

    if (r == 0)
        r = file_make_directory(path, err);
    if (r < 0)
        return r;
    length = strlen(path);
    if (snprintf(path + length, sizeof(path) - length, "/%s", GRANTDIR_LIMITS) >=
        (int)(sizeof(path) - length))
        return error_set_errno(err, -ENAMETOOLONG, "cannot use %s", folder);
    if (says(path, dir->limits))
        return 0;
    path[length] = '\0';
    if (chmod(path, 0755) < 0) /* whatever our umask is: the container's user may be any */
        return error_set_errno(err, -errno, "cannot open %s for containers", path);
    path[length] = '/';
    return file_write_atomic(path, dir->limits, strlen(dir->limits), 0644, err);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status, (void)type, (void)where;
    return remove(path) < 0 && errno != ENOENT ? -errno : 0;
}

int grantdir_remove(const char *folder, const char *grant_id, struct error *err)
{
    char path[PATH_MAX];
    int r = format_path(folder, grant_id, path, err);

    if (r < 0)
        return r;
    r = nftw(path, remove_one, OPEN_MAX_FOLDERS, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    if (r == -1 && errno != ENOENT)
        r = -errno;
    return r < 0 && r != -1 ? error_set_errno(err, r, "cannot remove %s", path) : 0;
}

static bool is_among(const char *name, const struct grantdir *dirs, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_equal(dirs[i].id, name))
            return true;
    return false;
}

typedef int visit_fn(const char *folder, const char *grant_id, const void *userdata,
                     struct error *err);

/* Until one fails. A folder that is not there has none. */
static int each_grant(const char *folder, visit_fn *visit, const void *userdata, struct error *err)
{
    cleanup_closedir DIR *listing = NULL;
    const struct dirent *entry;
    char path[PATH_MAX];
    int r = format_path(folder, "", path, err);

    if (r < 0)
        return r;
    listing = opendir(path);
    if (!listing)
        return errno == ENOENT ? 0 : error_set_errno(err, -errno, "cannot read %s", path);
    while (r == 0 && (entry = readdir(listing)))
        if (grant_is_id(entry->d_name))
            r = visit(folder, entry->d_name, userdata, err);
    return r;
}

struct kept {
    const struct grantdir *dirs;
    size_t n;
};

static int remove_other(const char *folder, const char *grant_id, const void *userdata,
                        struct error *err)
{
    const struct kept *kept = userdata;

    return is_among(grant_id, kept->dirs, kept->n) ? 0 : grantdir_remove(folder, grant_id, err);
}

int grantdir_rebuild(const char *folder, const struct grantdir *dirs, size_t n, struct error *err)
{
    const struct kept kept = {dirs, n};
    int r = each_grant(folder, remove_other, &kept, err);

    for (size_t i = 0; r == 0 && i < n; i++)
        r = grantdir_make(folder, &dirs[i], err);
    return r;
}

/* Behind the first line nothing changes. */
static int change_mode(const char *folder, const char *grant_id, const void *userdata,
                       struct error *err)
{
    const char *mode = userdata;
    cleanup_text struct text limits = TEXT_INIT;
    cleanup_free char *data = NULL;
    char path[PATH_MAX];
    size_t size;

    if (snprintf(path, sizeof(path), "%s/grants/%s/%s", folder, grant_id, GRANTDIR_LIMITS) >=
        (int)sizeof(path))
        return error_set_errno(err, -ENAMETOOLONG, "cannot use %s", folder);
    if (file_read(path, LIMITS_MAX, &data, &size, NULL) < 0)
        return 0; /* it is being made, or removed */
    text_addf(&limits, "mode %s", mode);
    text_add(&limits, strchr(data, '\n') ? strchr(data, '\n') : "\n");
    if (text_failed(&limits))
        return error_set_errno(err, -ENOMEM, "cannot write %s", path);
    return file_write_atomic(path, text_string(&limits), limits.length, 0644, err);
}

int grantdir_set_mode(const char *folder, const char *mode, struct error *err)
{
    return each_grant(folder, change_mode, mode, err);
}
