// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * How many there are of each of NVIDIA's resources: what a node was promised to have, what
 * Karpenter believes, what is configured, what the kubelet advertises. Few numbers, since there may
 * be thousands of nodes. A resource that is not named counts as 0.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "slice/policy.h"

enum { AMOUNTS_MAX = 32 };

struct amount {
    char name[RESOURCE_NAME_SIZE];
    int64_t count;
};

struct amounts {
    struct amount *items;
    size_t n_items, capacity;
};

void amounts_deinit(struct amounts *amounts);
#define cleanup_amounts cleanup(amounts_deinit)

/* Sets one. 0, -E2BIG or -ENOMEM. */
int amounts_set(struct amounts *amounts, const char *name, int64_t count);

/* Adds those of an object, resource to quantity, whose names are NVIDIA's; what is no count is left
 * out. 0 or -ENOMEM. */
int amounts_read(const json_t *object, struct amounts *amounts);

int64_t amounts_get(const struct amounts *amounts, const char *name);

/* Of each resource that `promised` names there are as many. */
bool amounts_meet(const struct amounts *amounts, const struct amounts *promised);

bool amounts_equal(const struct amounts *a, const struct amounts *b);

/* "nvidia.com/gpu 0, nvidia.com/gpu.shared 16"; "nothing" */
void amounts_add_text(const struct amounts *amounts, struct text *out);
