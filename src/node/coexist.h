// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Who else on this node cares for GPUs, and what to say about it.
 *
 * Rivals are told by the services (service_foreign_plugin); their pods are looked for by the names
 * that NVIDIA's charts and operator give them. gpu-feature-discovery and mig-manager are found in
 * the same way. Each change is said once: in the log, and to the owner, who makes an event of it.
 * Nothing is done about any of them.
 */

#include <stdbool.h>
#include <uv.h>

#include "plugin/podresources.h"

struct coexist;

struct coexist_news {
    bool warning;
    const char *reason;   /* "ForeignDevicePlugin": CamelCase, of few kinds */
    const char *sentence; /* what is, and what to do; without a full stop */
};

typedef void coexist_fn(const struct coexist_news *news, void *userdata);

/* All of it is borrowed. */
struct coexist_setup {
    uv_loop_t *loop;
    struct podresources *podresources;   /* freed first */
    const char *own_namespace, *own_pod; /* our own pod does not count; NULL = unknown */
    coexist_fn *on_news;
    void *userdata;
};

int coexist_new(const struct coexist_setup *setup, struct coexist **ret_coexist, struct error *err);

/* NULL is allowed. */
void coexist_free(struct coexist *coexist);

/* The rival of a resource as it is now; NULL = none. What did not change is passed over. */
void coexist_foreign_plugin(struct coexist *coexist, const char *resource, const char *socket);

/* Looks for pods, at most once a minute. */
void coexist_sync(struct coexist *coexist);

/* What to say of a resource's rival; NULL = it has none. */
const char *coexist_message(const struct coexist *coexist, const char *resource);
