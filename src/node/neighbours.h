// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Who else on this node cares for GPUs, and what to say about it.
 *
 * Rivals are told by the services (service_rival); their pods are looked for by the names that
 * NVIDIA's charts and operator give them. gpu-feature-discovery and mig-manager are found in the
 * same way. Each change is said once: in the log, and to the owner, who makes an event of it.
 * Nothing is done about any of them.
 */

#include <stdbool.h>
#include <uv.h>

#include "node/holders.h"

struct neighbours;

struct neighbour_news {
    bool warning;
    const char *reason;   /* "ForeignDevicePlugin": CamelCase, of few kinds */
    const char *sentence; /* what is, and what to do; without a full stop */
};

typedef void neighbours_fn(const struct neighbour_news *news, void *userdata);

/* holders is borrowed, and freed first. own_namespace and own_pod name our own pod, which is no
 * neighbour; NULL = unknown. */
int neighbours_new(uv_loop_t *loop, struct holders *holders, const char *own_namespace,
                   const char *own_pod, neighbours_fn *on_news, void *userdata,
                   struct neighbours **ret_neighbours, struct error *err);

/* NULL is fine. */
void neighbours_free(struct neighbours *neighbours);

/* The rival of a resource as it is now; NULL = none. What did not change is passed over. */
void neighbours_rival(struct neighbours *neighbours, const char *resource, const char *socket);

/* Looks for pods, at most once a minute. */
void neighbours_look(struct neighbours *neighbours);

/* What to say of a resource's rival; NULL = it has none. */
const char *neighbours_sentence(const struct neighbours *neighbours, const char *resource);
