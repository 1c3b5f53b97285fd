// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Other GPU software on this node, and messages about it.
 *
 * Foreign plugins are reported by the services (service_foreign_plugin); their pods are found by
 * the names that NVIDIA's charts and operator use. gpu-feature-discovery and mig-manager are found
 * in the same way. Each change is reported once: in the log, and to the owner, which creates an
 * event; a foreign plugin whose pod the kubelet lists only later is reported again, with its name.
 * No other action is taken.
 */

#include <stdbool.h>
#include <uv.h>

#include "plugin/podresources.h"

#define COEXIST_FOREIGN "ForeignDevicePlugin"

struct coexist;

struct coexist_news {
    bool warning;
    const char *reason;   /* COEXIST_FOREIGN and others: CamelCase, of few kinds */
    const char *sentence; /* the fact, and what to do; without a full stop */
};

typedef void coexist_fn(const struct coexist_news *news, void *userdata);

/* All members are borrowed. */
struct coexist_setup {
    uv_loop_t *loop;
    struct podresources *podresources;   /* freed first */
    const char *own_namespace, *own_pod; /* our own pod is skipped; NULL = unknown */
    coexist_fn *on_news;
    void *userdata;
};

int coexist_new(const struct coexist_setup *setup, struct coexist **ret_coexist, struct error *err);

/* NULL is allowed. */
void coexist_free(struct coexist *coexist);

/* The current foreign plugin of a resource; NULL = none. Only changes have an effect. */
void coexist_foreign_plugin(struct coexist *coexist, const char *resource, const char *socket);

/* Looks for pods, at most once a minute. */
void coexist_sync(struct coexist *coexist);

/* The pod of NVIDIA's MIG manager on this node, "gpu-operator/nvidia-mig-manager-x"; NULL = there
 * is none, as far as is known. */
const char *coexist_mig_manager(const struct coexist *coexist);

/* The message about a resource's foreign plugin; NULL = it has none. */
const char *coexist_message(const struct coexist *coexist, const char *resource);
