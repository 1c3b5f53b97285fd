// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The extended resources of our Node, by the last news from the cluster. Without a cluster nothing
 * is known, and no service is judged by it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct nodestatus_resource {
    char *name;
    int64_t capacity, allocatable;
};

struct nodestatus {
    struct nodestatus_resource *resources;
    size_t n_resources, resources_capacity;
    bool known;
};

void nodestatus_deinit(struct nodestatus *status);

/* Removes every resource; from now on the Node is known to have none, until more are added. */
void nodestatus_clear(struct nodestatus *status);

/* Copies the name. 0, or -ENOMEM: nothing is known then until the next nodestatus_clear. */
int nodestatus_add(struct nodestatus *status, const char *name, int64_t capacity,
                   int64_t allocatable);

/* The resource in the Node's status; zeroes if it is absent. False = nothing is known. */
bool nodestatus_find(const struct nodestatus *status, const char *resource, int64_t *ret_capacity,
                     int64_t *ret_allocatable);
