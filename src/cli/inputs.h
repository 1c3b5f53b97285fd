// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The files that a command line names: as they are, and of each folder the configurations in it, at
 * any depth: *.yaml, *.yml and *.json, in natural order, without what begins with a dot. Of a
 * mounted ConfigMap (a folder with `..data`) every file, since its keys have no suffix.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct input {
    char *path;
    char *fault;   /* why this folder has nothing to read; NULL: there is a file to read */
    bool is_found; /* in a folder, rather than named: it may hold something else */
};

struct inputs {
    struct input *items;
    size_t n_items, capacity;
};

#define INPUTS_INIT   \
    {                 \
        .items = NULL \
    }

enum { INPUTS_MAX_DEPTH = 16, INPUTS_MAX = 65536 };

void inputs_deinit(struct inputs *inputs);
#define cleanup_inputs cleanup(inputs_deinit)

/* Adds what one word of the command line names; "-" is standard input. A missing file is added:
 * reading it reports that. A folder that is unreadable, too deep or without a configuration is an
 * input with a fault, so that the other words are still looked at. Of a folder, only files are
 * taken: opening a FIFO blocks. 0, -ENOMEM or -E2BIG. */
int inputs_add(struct inputs *inputs, const char *word, struct error *err);
