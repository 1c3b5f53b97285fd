// SPDX-License-Identifier: Apache-2.0
#include "node/nodepromise.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "catalog/boards.h"
#include "catalog/catalog.h"
#include "karpenter/promisetext.h"

static bool is_same(const char *a, const char *b)
{
    return !a == !b && (!a || str_equal(a, b));
}

static int read_with(const struct catalog *catalog, const struct nodepromise *promise,
                     struct namedemand *ret_counts, struct error *err)
{
    const struct instance_type *type =
        promise->type ? catalog_find_type(catalog, promise->type) : NULL;

    if (!type)
        return error_set(err, -ENOENT, "the instance type %s is not known to the catalog",
                         promise->type ? promise->type : "of the Node");
    return promisetext_read(promise->text, catalog->models[type->model].name, type->n_gpus,
                            ret_counts, err);
}

/* The catalog is wanted once in a node's life: it is not kept. */
static int read_promise(const struct nodepromise *promise, struct namedemand *ret_counts,
                        struct error *err)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_catalog struct catalog catalog = CATALOG_INIT;
    int r = catalog_load(boards_folder(), &problems, &catalog);

    if (r < 0)
        return error_set_errno(err, r, "cannot read the catalog %s", boards_folder());
    return read_with(&catalog, promise, ret_counts, err);
}

bool nodepromise_set(struct nodepromise *promise, const char *text, const char *type)
{
    struct error err = ERROR_INIT;

    if (is_same(text, promise->text) && is_same(type, promise->type))
        return false;
    nodepromise_deinit(promise);
    promise->text = text ? strdup(text) : NULL;
    promise->type = type ? strdup(type) : NULL;
    if (promise->text && read_promise(promise, &promise->counts, &err) < 0)
        log_warning("what was promised of this node is not known; only a controller opens it",
                    "reason", error_text(&err));
    return true;
}

void nodepromise_deinit(struct nodepromise *promise)
{
    free(promise->text);
    free(promise->type);
    *promise = (struct nodepromise){.text = NULL};
}
