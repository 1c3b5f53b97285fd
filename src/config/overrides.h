// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What the command line and the environment set, kept until a file is read. */

#include <stdbool.h>
#include <stddef.h>

struct config;
struct option;

/* Opaque; NULL = nothing was given. */
struct config_overrides;

/* An empty set, or NULL without memory. */
struct config_overrides *config_overrides_new(void);

/* Stores a copy of a text that the option's kind has accepted. 0 or -ENOMEM. */
int config_overrides_add(struct config_overrides *overrides, const struct option *option,
                         const char *text);

/* Stores a copy of a text for as long as the overrides live; NULL without memory. */
const char *config_overrides_keep(struct config_overrides *overrides, const char *text,
                                  size_t length);

/* Applies the overrides, which may be NULL; but_slices: except those of how GPUs are sliced. 0 or
 * -ENOMEM. */
int config_overrides_apply(const struct config_overrides *overrides, bool but_slices,
                           struct config *config);

/* NULL is allowed. */
void config_overrides_free(struct config_overrides *overrides);
