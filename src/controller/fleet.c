// SPDX-License-Identifier: Apache-2.0
#include "controller/fleet.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"
#include "controller/owned.h"
#include "karpenter/sliceprofile.h"

/* -- a node ------------------------------------------------------------------------------------ */

static void node_deinit(struct fleet_node *node)
{
    free(node->pool);
    free(node->profile);
    free(node->hash);
}

static bool node_set(struct fleet_node *node, const char *pool, const char *profile,
                     const char *hash)
{
    *node = (struct fleet_node){strdup(pool), strdup(profile), strdup(hash)};
    if (node->pool && node->profile && node->hash)
        return true;
    node_deinit(node);
    return false;
}

struct fleet_node *fleet_node_new(const json_t *object)
{
    struct fleet_node *node = calloc(1, sizeof(*node));

    if (!node)
        return NULL;
    if (node_set(node, owned_label(object, OWNED_POOL_LABEL),
                 owned_label(object, SLICEPROFILE_LABEL),
                 owned_label(object, SLICEPROFILE_HASH_LABEL)))
        return node;
    free(node);
    return NULL;
}

bool fleet_node_is_equal(const struct fleet_node *a, const struct fleet_node *b)
{
    return str_equal(a->pool, b->pool) && str_equal(a->profile, b->profile) &&
           str_equal(a->hash, b->hash);
}

void fleet_node_free(struct fleet_node *node)
{
    if (!node)
        return;
    node_deinit(node);
    free(node);
}

/* -- all of them ------------------------------------------------------------------------------- */

static struct fleet_count *find(struct fleet *fleet, const struct fleet_node *node)
{
    for (size_t i = 0; i < fleet->n_counts; i++)
        if (fleet_node_is_equal(&fleet->counts[i].of, node))
            return &fleet->counts[i];
    return NULL;
}

void fleet_add(struct fleet *fleet, const struct fleet_node *node)
{
    struct fleet_count *count = find(fleet, node);
    struct fleet_node of;

    if (count) {
        count->n++;
        return;
    }
    if (!node_set(&of, node->pool, node->profile, node->hash)) {
        fleet->failed = true;
        return;
    }
    count = array_push(&fleet->counts, &fleet->n_counts, &fleet->capacity, sizeof(*count));
    if (!count) {
        node_deinit(&of);
        fleet->failed = true;
        return;
    }
    *count = (struct fleet_count){.of = of, .n = 1};
}

void fleet_remove(struct fleet *fleet, const struct fleet_node *node)
{
    struct fleet_count *count = find(fleet, node);

    if (!count) {
        assert(fleet->failed);
        return;
    }
    if (--count->n > 0)
        return;
    node_deinit(&count->of);
    *count = fleet->counts[--fleet->n_counts];
}

static bool has(const char *value, const char *wanted)
{
    return !wanted || str_equal(value, wanted);
}

size_t fleet_count(const struct fleet *fleet, const char *pool, const char *profile,
                   const char *hash)
{
    size_t n = 0;

    for (size_t i = 0; i < fleet->n_counts; i++) {
        const struct fleet_node *of = &fleet->counts[i].of;

        if (has(of->pool, pool) && has(of->profile, profile) && has(of->hash, hash))
            n += fleet->counts[i].n;
    }
    return n;
}

void fleet_deinit(struct fleet *fleet)
{
    for (size_t i = 0; i < fleet->n_counts; i++)
        node_deinit(&fleet->counts[i].of);
    free(fleet->counts);
    *fleet = (struct fleet){.counts = NULL};
}
