// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What our Node shows of extended resources, by the last news from the cluster. Who never hears
 * from a cluster knows nothing, and no service is judged by it.
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

/* Forgets every resource; what the Node shows is known, until more is added: nothing. */
void nodestatus_clear(struct nodestatus *status);

/* Copies the name. 0, or -ENOMEM: then nothing is known until the next nodestatus_clear. */
int nodestatus_add(struct nodestatus *status, const char *name, int64_t capacity,
                   int64_t allocatable);

/* The resource as the Node shows it; zeroes when it does not. False = nothing is known. */
bool nodestatus_find(const struct nodestatus *status, const char *resource, int64_t *ret_capacity,
                     int64_t *ret_allocatable);
