// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Reading the configuration: from a YAML or JSON file, a ConfigMap manifest, NVIDIA's command-line
 * flags and their environment variables.
 *
 * Precedence, field by field: command line > environment > file > default (an explicit `false` in
 * the file counts as given). Everything a person got wrong is collected with its place; the reading
 * never stops at the first problem.
 */

#include <stddef.h>

#include "base/error.h"
#include "base/problem.h"
#include "config/config.h"
#include "config/overrides.h"

/*
 * Reads a file. path NULL or "" = an empty configuration (all defaults). key chooses the data key
 * of a ConfigMap manifest; NULL = its only key. problems (NULL = nobody cares) gets its source set,
 * unless there is no path, and is sorted by place.
 * 0 (there may be warnings), -EBADMSG (problems has errors, err the first), or why the file cannot
 * be read (err).
 */
int config_load(const char *path, const char *key, enum config_strictness strictness,
                const struct config_overrides *overrides, struct problems *problems,
                struct config **ret_config, struct error *err);

/* The same for bytes in memory (a stream, a fuzzer); `source` is the name shown, NULL = none. */
int config_parse(const char *data, size_t size, const char *source, const char *key,
                 enum config_strictness strictness, const struct config_overrides *overrides,
                 struct problems *problems, struct config **ret_config, struct error *err);

void config_free(struct config *config);
