// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What pods wait for, as a controller tells it in an annotation of the Node:
 * "nvidia.com/gpu=2,nvidia.com/mig-1g.5gb=3", resources with the number that pods request and no
 * node has free.
 */

#include <stddef.h>

#include "base/error.h"
#include "slice/policy.h"

enum { NAMEDEMAND_MAX = 16, NAMEDEMAND_COUNT_MAX = 1000000 };

struct namedemand {
    struct namedemand_item {
        char name[RESOURCE_NAME_SIZE];
        unsigned count;
    } items[NAMEDEMAND_MAX];
    size_t n_items;
};

/* "" is no demand. 0, or -EINVAL with what to write instead. */
int namedemand_parse(const char *text, struct namedemand *ret_demand, struct error *err);

/* 0 for what is not named. */
unsigned namedemand_count(const struct namedemand *demand, const char *name);
