// SPDX-License-Identifier: Apache-2.0
#include "plugin/nodestatus.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"

void nodestatus_deinit(struct nodestatus *status)
{
    for (size_t i = 0; i < status->n_resources; i++)
        free(status->resources[i].name);
    free(status->resources);
    *status = (struct nodestatus){.resources = NULL};
}

void nodestatus_clear(struct nodestatus *status)
{
    nodestatus_deinit(status);
    status->known = true;
}

int nodestatus_add(struct nodestatus *status, const char *name, int64_t capacity,
                   int64_t allocatable)
{
    char *copy = strdup(name);
    struct nodestatus_resource *resource =
        copy ? array_push(&status->resources, &status->n_resources, &status->resources_capacity,
                          sizeof(*resource))
             : NULL;

    if (!resource) {
        free(copy);
        nodestatus_deinit(status);
        return -ENOMEM;
    }
    *resource = (struct nodestatus_resource){copy, capacity, allocatable};
    return 0;
}

bool nodestatus_find(const struct nodestatus *status, const char *resource, int64_t *ret_capacity,
                     int64_t *ret_allocatable)
{
    *ret_capacity = *ret_allocatable = 0;
    for (size_t i = 0; i < status->n_resources; i++)
        if (str_equal(status->resources[i].name, resource)) {
            *ret_capacity = status->resources[i].capacity;
            *ret_allocatable = status->resources[i].allocatable;
        }
    return status->known;
}
