// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Objects for the API server that are made here, each with comments for the person who reads them
 * first. Printing and applying them is left to the programs.
 */

#include <jansson.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/text.h"

struct document {
    json_t *tree;         /* owned */
    struct text comments; /* whole lines, without a leading '#' */
};

struct documents {
    struct document *items;
    size_t n_items, capacity;
};

#define DOCUMENTS_INIT \
    {                  \
        .items = NULL  \
    }

void documents_deinit(struct documents *documents);
#define cleanup_documents cleanup(documents_deinit)

/* Takes the tree over, also on failure; NULL stands for memory that was missing. 0 or -ENOMEM. */
int documents_add(struct documents *documents, json_t *tree);

/* A comment on the last one that was added. */
void documents_comment(struct documents *documents, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* True if a comment was lost without memory. */
bool documents_failed(const struct documents *documents);
