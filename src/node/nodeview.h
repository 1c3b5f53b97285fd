// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What our Node shows of extended resources, by the last news from the cluster. Who never hears
 * from a cluster knows nothing, and no service is judged by it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/message.h"

struct nodeview {
    struct cluster_resource *resources;
    size_t n_resources, capacity;
    bool known;
};

void nodeview_deinit(struct nodeview *view);

/* Takes over what the news say. 0, or -ENOMEM: then nothing is known until the next news. */
int nodeview_take(struct nodeview *view, const struct cluster_news *news);

/* The resource as the Node shows it; zeroes when it does not. False = nothing is known. */
bool nodeview_find(const struct nodeview *view, const char *resource, int64_t *ret_capacity,
                   int64_t *ret_allocatable);
