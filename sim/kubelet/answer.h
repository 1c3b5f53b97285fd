// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The device access a container gets: the Allocate responses of all its resources, merged as the
 * kubelet does.
 *
 * Where two answers name the same variable, annotation, device path or mount path, the first one
 * wins and the other is dropped; if they differ, that is a conflict, which the kubelet only logs.
 * The real kubelet iterates over a Go map, so its "first" is random; here resources are ordered by
 * name.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "manager.h"

struct pair {
    char *key, *value;
};

struct answer_mount {
    char *container_path, *host_path;
    bool read_only;
};

struct answer_node {
    char *container_path, *host_path, *permissions;
};

struct answer {
    struct pair *envs;
    size_t n_envs, envs_capacity;
    struct pair *annotations;
    size_t n_annotations, annotations_capacity;
    struct answer_mount *mounts;
    size_t n_mounts, mounts_capacity;
    struct answer_node *nodes;
    size_t n_nodes, nodes_capacity;
    struct pair *cdi_devices; /* key: the qualified name; value NULL */
    size_t n_cdi_devices, cdi_devices_capacity;
    size_t n_conflicts; /* dropped entries that differed from the one kept */
};

#define ANSWER_INIT  \
    {                \
        .envs = NULL \
    }

void answer_deinit(struct answer *answer);
#define cleanup_answer cleanup(answer_deinit)

/* Merges one encoded v1beta1.ContainerAllocateResponse. 0, -ENOMEM, or -EBADMSG. */
int answer_merge(struct answer *answer, const void *data, size_t size);

/* Merges all responses that this container of this pod has received. 0, -ENOMEM, or -EBADMSG. */
int answer_collect(const struct manager *manager, const char *pod_uid, const char *container,
                   struct answer *ret_answer);
