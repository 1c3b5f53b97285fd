// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * MIG devices that somebody else removed: Unhealthy at once, and dropped from the machine after a
 * while, unless a pod still holds them. So a resource goes to 0 allocatable and then away.
 *
 * Pure: time comes in as milliseconds of a clock that only goes forward.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slice/inventory.h"

enum { VANISHED_GRACE_MS = 10000 }; /* the one who reset the GPU may create them again */

struct vanished_device;

struct vanished {
    struct vanished_device *items;
    size_t n_items;
};

#define VANISHED_INIT \
    {                 \
        .items = NULL \
    }

void vanished_deinit(struct vanished *vanished);

/* What of the machine is missing on GPUs that answer. 0 or -ENOMEM. */
int vanished_update(struct vanished *vanished, const struct inventory *machine,
                    const struct inventory *seen, uint64_t now_ms);

/* When one is to be dropped, or looked at again; UINT64_MAX: there is none. */
uint64_t vanished_due_ms(const struct vanished *vanished);

/* Takes one that may be dropped now. What is held is due again later. False: none. */
bool vanished_take(struct vanished *vanished, bool (*is_held)(const char *uuid, void *userdata),
                   void *userdata, uint64_t now_ms, char ret_uuid[GPU_UUID_SIZE]);
