// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A sorted set of device ids.
 *
 * The kubelet keeps device ids in Go sets, whose iteration order is random; here ids are in byte
 * order, so that every run makes the same decisions.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

struct ids {
    char **items; /* sorted, unique */
    size_t n_items, capacity;
};

#define IDS_INIT      \
    {                 \
        .items = NULL \
    }

void ids_deinit(struct ids *ids);
#define cleanup_ids cleanup(ids_deinit)

/* 0 (also if it was already there), or -ENOMEM. */
int ids_add(struct ids *ids, const char *id);
int ids_add_all(struct ids *ids, const struct ids *more);

bool ids_has(const struct ids *ids, const char *id);
void ids_remove(struct ids *ids, const char *id);
