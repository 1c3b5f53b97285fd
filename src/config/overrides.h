// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What the command line and the environment said about the configuration, kept until a file is
 * read. */

#include "config/schema.h"

/* An empty set, or NULL for want of memory. */
struct config_overrides *config_overrides_new(void);

/* Takes a copy of a text that the option's kind has accepted. 0 or -ENOMEM. */
int config_overrides_add(struct config_overrides *overrides, const struct option *option,
                         const char *text);

/* Keeps a copy of a text for as long as the overrides live; NULL for want of memory. */
const char *config_overrides_keep(struct config_overrides *overrides, const char *text,
                                  size_t length);

/* Sets what was said; overrides may be NULL. 0 or -ENOMEM. */
int config_overrides_apply(const struct config_overrides *overrides, struct config *config);
