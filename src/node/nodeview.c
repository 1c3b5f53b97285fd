// SPDX-License-Identifier: Apache-2.0
#include "node/nodeview.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"

void nodeview_deinit(struct nodeview *view)
{
    for (size_t i = 0; i < view->n_resources; i++)
        free(view->resources[i].name);
    free(view->resources);
    *view = (struct nodeview){.resources = NULL};
}

int nodeview_take(struct nodeview *view, const struct cluster_news *news)
{
    nodeview_deinit(view);
    for (size_t i = 0; i < news->n_resources; i++) {
        struct cluster_resource *copy =
            array_push(&view->resources, &view->n_resources, &view->capacity, sizeof(*copy));

        if (copy) {
            *copy = news->resources[i];
            copy->name = strdup(news->resources[i].name);
        }
        if (!copy || !copy->name) {
            nodeview_deinit(view);
            return -ENOMEM;
        }
    }
    view->known = true;
    return 0;
}

bool nodeview_find(const struct nodeview *view, const char *resource, int64_t *ret_capacity,
                   int64_t *ret_allocatable)
{
    *ret_capacity = *ret_allocatable = 0;
    for (size_t i = 0; i < view->n_resources; i++)
        if (str_equal(view->resources[i].name, resource)) {
            *ret_capacity = view->resources[i].capacity;
            *ret_allocatable = view->resources[i].allocatable;
        }
    return view->known;
}
