// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Where there is room for one more MIG device, and which instances would have to move for it. Who
 * holds them is not known here, so every move counts alike.
 */

#include <jansson.h>
#include <stdio.h>

#include "base/error.h"
#include "cli/target.h"

/* 0; -EINVAL: no profile name; -ENOENT: no GPU is partitioned, or none has the profile. */
int migspace_check(const struct target *target, const char *profile, struct error *err);

/* After a migspace_check without an error. NULL without memory. */
json_t *migspace_tree(const struct target *target, const char *profile);
void migspace_print(const struct target *target, const char *profile, FILE *out);
