// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Reading the configuration: from a YAML or JSON file, a ConfigMap manifest, NVIDIA's command-line
 * flags and their environment variables.
 *
 * Precedence, field by field: command line > environment > file > default (an explicit `false` in
 * the file counts as given). All mistakes are collected with their positions; parsing never stops
 * at the first one.
 */

#include <stddef.h>

#include "base/error.h"
#include "base/problem.h"
#include "config/config.h"
#include "config/overrides.h"

struct config_request {
    const char *source; /* the file; NULL or "" = an empty configuration (all defaults) */
    const char *key;    /* the data key of a ConfigMap manifest; NULL or "" = its only key */
    enum config_strictness strictness;
    const struct config_overrides *overrides; /* of flags and environment, or NULL */
};

/*
 * Reads a file. problems (NULL = not wanted) gets its source set, unless there is none, and is
 * sorted by place. 0 (there may be warnings), -EBADMSG (problems has errors, err the first), or why
 * the file cannot be read (err).
 */
int config_load(const struct config_request *request, struct problems *problems,
                struct config **ret_config, struct error *err);

/* The same for bytes in memory (a stream, a fuzzer); `source` is only the name shown. */
int config_parse(const char *data, size_t size, const struct config_request *request,
                 struct problems *problems, struct config **ret_config, struct error *err);

void config_free(struct config *config);
