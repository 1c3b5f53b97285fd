// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Who runs us: our pod's DaemonSet. It owns the objects we create, and its end is our uninstall,
 * as it is when its nodeSelector no longer matches our Node. A pod that ends otherwise is
 * restarted, upgraded or evicted, and what it wrote must stay for the next one.
 */

#include "kube/writer.h"
#include "nodesync/observed.h"

struct owner {
    const struct observed *observed;
    struct writer writer;  /* looks it up once */
    char *daemonset, *uid; /* NULL = unknown, or run by nothing */
    bool is_looked_up;
};

void owner_init(struct owner *owner, uv_loop_t *loop, const struct observed *observed,
                void (*on_change)(void *userdata), void *userdata);

/* Known, or not to be known for now. */
bool owner_is_settled(const struct owner *owner);

/* 0 and the path of its DaemonSet, to be freed; -ENOENT without one; -ENOMEM. */
int owner_path(const struct owner *owner, char **ret_path);

/* The DaemonSet's answer: has it been deleted, or is it to run on this node no more? */
bool owner_leaves(const struct owner *owner, const struct kube_response *response);

void owner_deinit(struct owner *owner);
