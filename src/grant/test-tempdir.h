// SPDX-License-Identifier: Apache-2.0
#pragma once

/* A folder of its own for each test of this room, removed behind it. */

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char tempdir[64];

static inline int tempdir_make(void **state)
{
    (void)state;
    snprintf(tempdir, sizeof(tempdir), "/tmp/gpuslice-test-XXXXXX");
    return mkdtemp(tempdir) ? 0 : -1;
}

static inline int tempdir_remove_one(const char *path, const struct stat *status, int type,
                                     struct FTW *where)
{
    (void)status, (void)type, (void)where;
    return remove(path);
}

static inline int tempdir_remove(void **state)
{
    (void)state;
    return nftw(tempdir, tempdir_remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* A path in it; valid until the next call. */
static inline const char *tempdir_path(const char *name)
{
    static char path[256];

    snprintf(path, sizeof(path), "%s/%s", tempdir, name);
    return path;
}
