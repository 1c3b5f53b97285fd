// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the API server has, for a program that runs once: each call blocks until it is answered. It
 * only ever sends GET, so that nothing that is built on it can change a cluster.
 *
 * Lists come in pages and are cut into objects while they stream, so memory is bounded by the
 * largest object and not by their number. A list that takes longer than the server keeps its
 * version goes on from a newer one: an object may then be missing or old, never twice.
 */

#include <jansson.h>

#include "kube/client.h"

struct kube_reader;

enum kube_read_outcome {
    KUBE_READ_FORBIDDEN = 1, /* our user may not; err has the server's sentence */
    KUBE_READ_ABSENT,        /* no such object, or a kind that is not served */
};

/* Access as client.h takes it. */
int kube_reader_new(const struct kube_access *access, const char *manager,
                    struct kube_reader **ret_reader, struct error *err);

/* NULL is allowed. */
void kube_reader_free(struct kube_reader *reader);
DEFINE_CLEANUP(struct kube_reader *, kube_reader_free)

/* One object, or whatever JSON object the path has. 0, an outcome, or a negative errno. */
int kube_read(struct kube_reader *reader, const char *path, json_t **ret_object, struct error *err);

/* Nonzero ends the list, and is returned by kube_read_list. */
typedef int kube_item_fn(const json_t *item, void *userdata);

/* Every object of a collection. query: "fieldSelector=..."; NULL = all. */
int kube_read_list(struct kube_reader *reader, const char *path, const char *query,
                   kube_item_fn *on_item, void *userdata, struct error *err);
