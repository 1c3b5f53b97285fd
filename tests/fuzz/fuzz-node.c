// SPDX-License-Identifier: Apache-2.0
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/array.h"
#include "nodesync/condition.h"
#include "nodesync/labels.h"
#include "nodesync/nfd.h"
#include "nodesync/node.h"
#include "nodesync/taints.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char a[] = "nvidia.com/a", b[] = "b", c[] = "c", one[] = "1", effect[] = "NoSchedule";

static void plan_all(const json_t *node, const struct sync_state *state)
{
    struct nfd nfd = {.followed = NULL};
    struct labels_plan labels;
    json_t *out = NULL;

    for (int is_silent = 0; is_silent < 2; is_silent++) {
        nfd_update(&nfd, node, state, NULL);
        if (labels_make_plan(node, "n", state,
                             &(struct labels_known){nfd_left(&nfd), nfd_lost(&nfd), NULL},
                             &labels) == 0)
            labels_plan_deinit(&labels);
        nfd_give_up(&nfd, node);
    }
    nfd_deinit(&nfd);
    if (taints_plan(node, state->taints, state->n_taints, &out) == 0)
        json_decref(out);
    out = NULL;
    if (condition_plan(node, "n", state, 0, &out) == 0)
        json_decref(out);
}

/* A Node from an API server that returns nonsense. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sync_label labels[] = {{a, one}, {b, one}}, extra[] = {{c, one}};
    struct sync_taint taints[] = {{a, one, effect}, {b, one, effect}};
    const struct sync_state full = {.labels = labels,
                                    .n_labels = ARRAY_SIZE(labels),
                                    .extra_labels = extra,
                                    .n_extra_labels = ARRAY_SIZE(extra),
                                    .taints = taints,
                                    .n_taints = ARRAY_SIZE(taints),
                                    .has_condition = true,
                                    .reason = b,
                                    .message = c};
    const struct sync_state empty = {.labels_by = SYNC_LABELS_NONE};
    json_t *node = json_loadb((const char *)data, size, 0, NULL), *kept;
    char *keys[] = {b};
    const struct sync_setup setup = {.watched_labels = keys,
                                     .n_watched_labels = 1,
                                     .watched_annotations = keys,
                                     .n_watched_annotations = 1};
    struct sync_news news;

    if (!node)
        return 0;
    kept = node_keep(node);
    if (!kept)
        abort();
    plan_all(kept, &full);
    plan_all(kept, &empty);
    (void)node_is_later(node, kept);
    if (node_news(kept, &setup, &news) == 0)
        sync_news_deinit(&news);
    json_decref(kept);
    json_decref(node);
    return 0;
}
