// SPDX-License-Identifier: Apache-2.0
#include "catalog/boards.h"

#include <stdlib.h>

#include "base/environment.h"
#include "base/installed.h"
#include "base/log.h"
#include "catalog/catalog.h"

struct boards {
    struct catalog catalog;
    bool is_read;
};

const char *boards_folder(void)
{
    static const struct installed_place place = {BUILD_FOLDER, BUILT_CATALOG, MOVED_CATALOG,
                                                 INSTALLED_CATALOG};
    static char path[INSTALLED_PATH_SIZE];
    const char *chosen = environment_get("GPUSLICE_CATALOG");

    return chosen ? chosen : installed_find(&place, path);
}

struct boards *boards_new(void)
{
    return calloc(1, sizeof(struct boards));
}

void boards_free(struct boards *boards)
{
    if (!boards)
        return;
    catalog_deinit(&boards->catalog);
    free(boards);
}

static void read_catalog(struct boards *boards)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;

    boards->is_read = true;
    if (catalog_load(boards_folder(), &problems, &boards->catalog) < 0)
        log_warning("the catalog of GPU models cannot be read", "folder", boards_folder());
}

const struct mig_board *boards_find(struct boards *boards, const char *model)
{
    const struct gpu_model *found;

    if (!boards || !*model)
        return NULL;
    if (!boards->is_read)
        read_catalog(boards);
    found = catalog_find_model(&boards->catalog, model);
    return found && found->mig.n_slots ? &found->mig : NULL;
}
