// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Finds the configuration in a file: bare, or as the text under a data key of a ConfigMap, alone,
 * in a `kind: List`, or among other manifests. Positions always refer to the outer file; if the
 * inner text has no lines of its own there (a JSON string), messages name its line.
 */

#include "base/error.h"
#include "config/schema.h"

struct manifest {
    struct yaml *documents, *inner; /* owned */
    size_t n_documents, n_inner;
    const struct yaml *config; /* borrowed from `documents`; NULL = an empty configuration */
};

#define MANIFEST_INIT  \
    {                  \
        .config = NULL \
    }

void manifest_deinit(struct manifest *manifest);
#define cleanup_manifest cleanup(manifest_deinit)

/*
 * Parses the file and finds the configuration. key: see config_load. Problems are added to the
 * reader. 0 (possibly with errors: then config is NULL), or -ENOMEM.
 */
int manifest_read(struct reader *reader, const char *data, size_t size, const char *key,
                  struct manifest *manifest);
