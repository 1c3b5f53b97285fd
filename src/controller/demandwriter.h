// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Writes on each Node what its agent is to know of waiting pods (NAMENODE_DEMAND), one Node after
 * the other: what is there already is not written, and what is wanted no more is taken off. The
 * patch tests what was there, so nobody's change is undone that was not seen.
 */

#include <jansson.h>
#include <stdbool.h>
#include <uv.h>

#include "kube/store.h"

struct demandwriter;

struct demandwriter_setup {
    uv_loop_t *loop;
    struct kube_client *client;
    bool (*may_write)(void *userdata); /* asked before each write */
    void *userdata;
};

/* NULL without memory. */
struct demandwriter *demandwriter_new(const struct demandwriter_setup *setup);

/* NULL is allowed. */
void demandwriter_free(struct demandwriter *writer);

/* That Node has left the selection, with what was written on it, or is gone: it is taken off. node
 * is borrowed during the call. */
void demandwriter_left(struct demandwriter *writer, const json_t *node);

/* Begins a round over all Nodes (as namenode.h reduces them). wanted: {node: text}; consumed. */
void demandwriter_begin(struct demandwriter *writer, const struct kube_store *nodes,
                        json_t *wanted);

/* That Node was seen as it is now. */
void demandwriter_seen(struct demandwriter *writer, const char *node);

/* Nodes that are to be told something. */
size_t demandwriter_count(const struct demandwriter *writer);
