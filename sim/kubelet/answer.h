// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What a container gets: the answers to Allocate of all its resources, merged as the kubelet does.
 *
 * Where two answers name the same variable, annotation, device path or mount path, the first one
 * holds and the other is left out; when they differ, that is a conflict, which the kubelet only
 * logs. The real one walks a Go map, so "first" is chance there; here it is the order of the
 * resource names.
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
    size_t n_conflicts; /* entries left out that differed from the one kept */
};

#define ANSWER_INIT  \
    {                \
        .envs = NULL \
    }

void answer_deinit(struct answer *answer);
#define cleanup_answer cleanup(answer_deinit)

/* Merges one encoded v1beta1.ContainerAllocateResponse. 0, -ENOMEM, or -EBADMSG. */
int answer_merge(struct answer *answer, const void *data, size_t size);

/* All answers that this container of this pod has got. 0, -ENOMEM, or -EBADMSG. */
int answer_collect(const struct manager *manager, const char *pod_uid, const char *container,
                   struct answer *ret_answer);
