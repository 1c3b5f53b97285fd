// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The node's labels as a file for node-feature-discovery, as gpu-feature-discovery writes it: one
 * key=value per line, world-readable. Here it is sorted, written only if it differs, and replaced
 * atomically (the temporary name starts with a dot, which node-feature-discovery skips).
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/lograte.h"
#include "nodesync/message.h"

#define LABELFILE_TIMESTAMP "nvidia.com/gfd.timestamp"

struct labelfile {
    char *path;    /* NULL = there is none; "" = standard output */
    char *content; /* as last written; NULL = nothing was */
    struct lograte failure;
};

/* Writes the labels to path (NULL = nowhere); a file previously written elsewhere is removed. */
void labelfile_write(struct labelfile *file, const char *path, const struct sync_label *labels,
                     size_t n_labels);

/* Forgets the file, and removes it unless `keep`. */
void labelfile_end(struct labelfile *file, bool keep);
