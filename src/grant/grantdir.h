// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One directory for each grant, `<folder>/grants/<grant id>`: what a container mounts, read-only,
 * where limits are enforced. They follow from the journal and may be rebuilt at any time; what
 * lies in one is its owner's, and goes with it.
 *
 * Names that are no grant's id are left alone. Every function may block as long as the disk does.
 */

#include <stddef.h>

#include "base/error.h"
#include "grant/grant.h"

/* An existing one is fine. */
int grantdir_make(const char *folder, const char *grant_id, struct error *err);

/* With what lies in it; an absent one is fine. */
int grantdir_remove(const char *folder, const char *grant_id, struct error *err);

/* Makes those that are missing and removes those of other grants. */
int grantdir_rebuild(const char *folder, const char (*grant_ids)[GRANT_ID_SIZE], size_t n,
                     struct error *err);
