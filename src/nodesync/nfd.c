// SPDX-License-Identifier: Apache-2.0
#include "nodesync/nfd.h"

#include <stdlib.h>

#include "kube/field.h"
#include "nodesync/nodefeature.h"

static bool is_value(const json_t *map, const char *key, const char *value)
{
    const char *text = json_string_value(json_object_get(map, key));

    return text && str_equal(text, value);
}

/* The value of the label when NFD last followed us; NULL = never. */
static const char *follows(const struct nfd *nfd, const struct sync_label *label, const char *live,
                           const json_t *found)
{
    if (str_equal(live, label->value) || is_value(found, label->key, live))
        return live;
    return json_string_value(json_object_get(nfd->followed, label->key));
}

/* {label: value}, both. */
struct sight {
    json_t *followed, *lost;
};

/* 0 or -1. */
static int look_at(struct nfd *nfd, const json_t *node, const struct sync_label *label,
                   const json_t *found, const struct sight *sight)
{
    const char *live = kube_label(node, label->key);
    const char *last;

    if (!live || !nodefeature_serves(node, label->key))
        return 0;
    nfd->n_served++;
    last = follows(nfd, label, live, found);
    if (last && str_equal(last, live))
        nfd->lags = nfd->lags || !str_equal(live, label->value);
    else if (json_object_set_new(sight->lost, label->key, json_string(live)) < 0)
        return -1;
    return last ? json_object_set_new(sight->followed, label->key, json_string(last)) : 0;
}

static bool has_stirred(const struct nfd *nfd, const json_t *node)
{
    cleanup_free char *trace = nodefeature_trace(node);

    return trace && !str_equal(trace, nfd->trace ? nfd->trace : "");
}

void nfd_update(struct nfd *nfd, const json_t *node, const struct sync_state *state,
                const json_t *found)
{
    const size_t n_labels = state->labels_by == SYNC_LABELS_AUTO ? state->n_labels : 0;
    const struct sight sight = {json_object(), json_object()};
    bool is_whole = sight.followed && sight.lost;

    nfd->was_here = nodefeature_was_here(node);
    nfd->is_silent = nfd->is_silent && !has_stirred(nfd, node);
    nfd->n_served = 0;
    nfd->lags = false;
    for (size_t i = 0; i < n_labels; i++)
        is_whole = look_at(nfd, node, &state->labels[i], found, &sight) == 0 && is_whole;
    if (is_whole) {
        json_decref(nfd->followed);
        json_decref(nfd->lost);
        nfd->followed = json_incref(sight.followed);
        nfd->lost = json_incref(sight.lost);
    }
    json_decref(sight.followed);
    json_decref(sight.lost);
}

void nfd_give_up(struct nfd *nfd, const json_t *node)
{
    free(nfd->trace);
    nfd->trace = nodefeature_trace(node);
    nfd->is_silent = true;
}

const json_t *nfd_left(const struct nfd *nfd)
{
    return nfd->is_silent ? nfd->followed : NULL;
}

const json_t *nfd_lost(const struct nfd *nfd)
{
    return !nfd->is_silent && json_object_size(nfd->lost) ? nfd->lost : NULL;
}

void nfd_deinit(struct nfd *nfd)
{
    json_decref(nfd->lost);
    json_decref(nfd->followed);
    free(nfd->trace);
    *nfd = (struct nfd){.followed = NULL};
}
