// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Where in a file the configuration stands. People keep it bare, or as the text under a data key of
 * a ConfigMap, alone, in a `kind: List`, or among other manifests. Places always are the outer
 * file's; where the text inside has no lines of its own there (a JSON string), problems name its
 * line in words.
 */

#include "base/error.h"
#include "config/schema.h"

struct manifest {
    struct yaml *documents, *inner; /* owned */
    size_t n_documents, n_inner;
    const struct yaml *config; /* borrowed from them; NULL = an empty configuration */
};

#define MANIFEST_INIT  \
    {                  \
        .config = NULL \
    }

void manifest_deinit(struct manifest *manifest);
#define cleanup_manifest cleanup(manifest_deinit)

/*
 * Parses the file and finds the configuration. key: see config_load. Problems go to the reader.
 * 0 (problems may have errors: then config is NULL), or -ENOMEM.
 */
int manifest_read(struct reader *reader, const char *data, size_t size, const char *key,
                  struct manifest *manifest);
