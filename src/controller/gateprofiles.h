// SPDX-License-Identifier: Apache-2.0
#pragma once

/* All SliceProfiles as their nodes make them (gateprofile.h), by name. */

#include <stddef.h>

#include "controller/gateprofile.h"

struct gateprofiles {
    struct gateprofile **items;
    size_t n_items, capacity;
};

/* The loop must run once more. */
void gateprofiles_deinit(struct gateprofiles *profiles);

/* NULL = there is none of this name. */
struct gateprofile *gateprofiles_find(const struct gateprofiles *profiles, const char *name);

/* The object of this name as it is, NULL = it has gone; a new one is added with this setup, which
 * is borrowed. 0 or -ENOMEM. */
int gateprofiles_see(struct gateprofiles *profiles, const struct gateprofile_setup *setup,
                     const char *name, const json_t *object);

/* How many write a replacement down. */
size_t gateprofiles_count_recording(const struct gateprofiles *profiles);
