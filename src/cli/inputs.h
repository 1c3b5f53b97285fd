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

/* Adds what one word of the command line names; "-" is standard input. 0; -ENOENT for a folder
 * without any file; or why a folder cannot be read (err). A missing file is added: reading it will
 * say so. */
int inputs_add(struct inputs *inputs, const char *word, struct error *err);
