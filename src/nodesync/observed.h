// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Observed and desired state: the newest Node, and the newest state from the agent. */

#include <jansson.h>
#include <time.h>

#include "kube/client.h"
#include "nodesync/message.h"

struct observed {
    struct kube_client *client;     /* borrowed */
    const struct sync_setup *setup; /* borrowed */
    char *node_path;                /* "/api/v1/nodes/gpu-1" */
    json_t *node;                   /* NULL = not read yet, or gone */
    bool is_synced;                 /* it was read, or is known not to exist */
    struct sync_state state;        /* what the agent wants; empty before has_state */
    bool has_state;
    time_t state_since;              /* when the agent sent it; every retry writes the same time */
    const json_t *nfd_left;          /* see labels.h; borrowed */
    const json_t *nfd_lost;          /* see labels.h; borrowed */
    json_t *yielded;                 /* see labels.h; ours, until the Node changes */
    void (*on_node)(void *userdata); /* node, or what is known about it, changed */
    void *userdata;
};

/* 0 or -ENOMEM. */
int observed_init(struct observed *observed, struct kube_client *client,
                  const struct sync_setup *setup, void (*on_node)(void *userdata), void *userdata);

/* A Node from a watch or from the response to a write, which may be out of order: an older version
 * than the known one changes nothing. */
void observed_update(struct observed *observed, const json_t *node);

/* A Node from a list. It is current even if its version is lower: after etcd is restored from a
 * backup, versions start again from there. */
void observed_see_listed(struct observed *observed, const json_t *node);

/* The same from a response body; anything but a Node is ignored. */
void observed_update_from_answer(struct observed *observed, const struct kube_response *response);

void observed_deinit(struct observed *observed);
