// SPDX-License-Identifier: Apache-2.0
#include "gpu/librarysearch.h"

#include <errno.h>
#include <string.h>

#define LIBRARY "libnvidia-ml.so.1"

static bool was_not_loaded(int code)
{
    return code == -ENOENT || code == -ELIBBAD;
}

/* The loader's own sentence only says that no folder of its path has it. */
static int say_where(const struct driverroot *root, const struct error *loader, struct error *err)
{
    cleanup_text struct text folders = TEXT_INIT;

    driverroot_list_library_folders(&folders);
    if (strstr(error_text(loader), strerror(ENOENT)))
        return error_set(err, -ENOENT,
                         LIBRARY " is neither on the loader's path nor below %s, in %s", root->ours,
                         text_string(&folders));
    return error_set(err, loader->code, "%s; none is below %s, in %s", error_text(loader),
                     root->ours, text_string(&folders));
}

int librarysearch_open(const struct gpu_backend *backend, const struct driverroot *root,
                       struct gpu_driver **ret_driver, struct error *err)
{
    const bool is_elsewhere = root && *root->ours; /* the loader knows / */
    struct error loader = ERROR_INIT;
    struct driverroot_file found;
    int r;

    if (is_elsewhere && driverroot_find_library(root, LIBRARY, &found)) {
        r = backend->open(found.ours, ret_driver, err);
        if (r == 0 || !was_not_loaded(r))
            return r;
        return backend->open(NULL, ret_driver, &loader) == 0 ? 0 : r;
    }
    r = backend->open(NULL, ret_driver, is_elsewhere ? &loader : err);
    if (r == 0 || !is_elsewhere)
        return r;
    if (was_not_loaded(r))
        return say_where(root, &loader, err);
    return error_set(err, r, "%s", error_text(&loader));
}
