// SPDX-License-Identifier: Apache-2.0
#include "grant/grantdir.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"

enum { OPEN_MAX_FOLDERS = 8 };

static int format_path(const char *folder, const char *grant_id, char path[PATH_MAX],
                       struct error *err)
{
    if (snprintf(path, PATH_MAX, "%s/grants%s%s", folder, *grant_id ? "/" : "", grant_id) >=
        PATH_MAX)
        return error_set_errno(err, -ENAMETOOLONG, "cannot use %s", folder);
    return 0;
}

int grantdir_make(const char *folder, const char *grant_id, struct error *err)
{
    char path[PATH_MAX];
    int r = format_path(folder, grant_id, path, err);

    return r < 0 ? r : file_make_directory(path, err);
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

static bool is_among(const char *name, const char (*grant_ids)[GRANT_ID_SIZE], size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_equal(grant_ids[i], name))
            return true;
    return false;
}

static void close_folder(DIR **folder)
{
    if (*folder)
        closedir(*folder);
}

static int remove_others(const char *folder, const char (*grant_ids)[GRANT_ID_SIZE], size_t n,
                         struct error *err)
{
    cleanup(close_folder) DIR *listing = NULL;
    const struct dirent *entry;
    char path[PATH_MAX];
    int r = format_path(folder, "", path, err);

    if (r < 0)
        return r;
    listing = opendir(path);
    if (!listing)
        return errno == ENOENT ? 0 : error_set_errno(err, -errno, "cannot read %s", path);
    while (r == 0 && (entry = readdir(listing)))
        if (grant_is_id(entry->d_name) && !is_among(entry->d_name, grant_ids, n))
            r = grantdir_remove(folder, entry->d_name, err);
    return r;
}

int grantdir_rebuild(const char *folder, const char (*grant_ids)[GRANT_ID_SIZE], size_t n,
                     struct error *err)
{
    int r = remove_others(folder, grant_ids, n, err);

    for (size_t i = 0; r == 0 && i < n; i++)
        r = grantdir_make(folder, grant_ids[i], err);
    return r;
}
