// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The node's labels as a file for node-feature-discovery, as gpu-feature-discovery writes it: one
 * key=value a line, for everybody to read. Here it is sorted, written only when it differs, and a
 * reader never sees a half of it (what is written first has a name with a dot, which
 * node-feature-discovery skips).
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/lograte.h"
#include "nodesync/message.h"

#define LABELFILE_TIMESTAMP "nvidia.com/gfd.timestamp"

struct labelfile {
    char *path;    /* NULL = there is none; "" = standard output */
    char *content; /* as written last; NULL = nothing was */
    struct lograte failure;
};

/* Writes the labels to path (NULL = nowhere); a file at another path written before goes away. */
void labelfile_write(struct labelfile *file, const char *path, const struct sync_label *labels,
                     size_t n_labels);

/* Forgets the file, and removes it unless it is to be kept. */
void labelfile_end(struct labelfile *file, bool keep);
