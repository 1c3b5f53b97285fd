// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Our owner: our pod's DaemonSet. It owns the objects we create. We are being uninstalled when it
 * is deleted, or when its nodeSelector no longer matches our Node. In all other cases the pod is
 * restarted, upgraded or evicted, and what it wrote must stay for the next one.
 */

#include "kube/writer.h"
#include "nodesync/observed.h"

struct owner {
    const struct observed *observed;
    struct writer writer;  /* looks it up once */
    char *daemonset, *uid; /* NULL = unknown, or no owner */
    bool is_looked_up;
};

void owner_init(struct owner *owner, uv_loop_t *loop, const struct observed *observed,
                void (*on_change)(void *userdata), void *userdata);

/* Known, or known to be unavailable for now. */
bool owner_is_settled(const struct owner *owner);

/* 0 and the path of its DaemonSet, to be freed; -ENOENT without one; -ENOMEM. */
int owner_path(const struct owner *owner, char **ret_path);

/* Evaluates the DaemonSet's response: true if it is deleted, or no longer meant to run on this
 * node. */
bool owner_leaves(const struct owner *owner, const struct kube_response *response);

void owner_deinit(struct owner *owner);
