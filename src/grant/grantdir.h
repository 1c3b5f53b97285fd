// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One directory for each grant of slices, `<folder>/grants/<grant id>`: what a container mounts,
 * read-only, where limits are served. They follow from the journal and may be rebuilt at any time.
 * In each lies GRANTDIR_LIMITS, which the preloaded library reads while it cannot reach the
 * arbiter; what else lies in one is the arbiter's, and goes with it.
 *
 * Names that are no grant's id are left alone. Every function may block as long as the disk does.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "grant/grant.h"

#define GRANTDIR_LIMITS "limits"

struct grantdir {
    char id[GRANT_ID_SIZE];
    char *limits; /* content of the file; owned */
};

/* A grant of unshared devices has no limits, and no directory. */
bool grantdir_is_wanted(const struct grant *grant);

/* For a grant, with `mode` (a word of gpuslice.memory). 0 or -ENOMEM. */
int grantdir_init(const struct grant *grant, const char *mode, struct grantdir *ret_dir);
void grantdir_deinit(struct grantdir *dir);

/* An existing one is fine: its file is replaced if it says something else. */
int grantdir_make(const char *folder, const struct grantdir *dir, struct error *err);

/* With what lies in it; an absent one is fine. */
int grantdir_remove(const char *folder, const char *grant_id, struct error *err);

/* Makes those that are missing and removes those of other grants. */
int grantdir_rebuild(const char *folder, const struct grantdir *dirs, size_t n, struct error *err);

/* Of all that are there the file says another mode, and is otherwise as before; it is the end of an
 * agent that no other follows. */
int grantdir_set_mode(const char *folder, const char *mode, struct error *err);
