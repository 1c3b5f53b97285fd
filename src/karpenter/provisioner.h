// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A Provisioner (karpenter.sh/v1alpha5), as it was until Karpenter 0.32: what guides in circulation
 * still show. Every field of it is read; an unknown one is refused, with its place.
 *
 * The requirement on `nvidia.com/gpu` is kept apart: such guides mean GPUs by it (a100, a10), but
 * to Karpenter it was a label like any other and chose no hardware.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/problem.h"
#include "base/yaml.h"

enum { PROVISIONER_NAME = 54, PROVISIONER_GPUS_MAX = 16, PROVISIONER_UNSET = -1 };

struct provisioner_gpu {
    char name[16]; /* as written, in lower case: "a10" */
    struct position at;
};

struct provisioner {
    char name[PROVISIONER_NAME];
    struct position at;
    json_t *labels, *annotations, *taints, *startup_taints, *requirements, *limits, *kubelet;
    struct provisioner_gpu gpus[PROVISIONER_GPUS_MAX]; /* values of nvidia.com/gpu */
    size_t n_gpus;
    bool is_docker_gone;        /* kubeletConfiguration.containerRuntime was there */
    bool is_annotation_renamed; /* do-not-consolidate, do-not-evict */
    int64_t empty_seconds;      /* ttlSecondsAfterEmpty, or PROVISIONER_UNSET */
    int64_t expire_seconds;     /* ttlSecondsUntilExpired, or PROVISIONER_UNSET */
    int64_t weight;             /* or PROVISIONER_UNSET */
    bool consolidates;
    const struct yaml *provider; /* borrowed from the document; NULL = none */
    char provider_ref[254];      /* "" = none */
};

void provisioner_deinit(struct provisioner *provisioner);
#define cleanup_provisioner cleanup(provisioner_deinit)

/* 0, or -EBADMSG when `problems` got an error. */
int provisioner_read(const struct yaml *document, struct problems *problems,
                     struct provisioner *ret_provisioner);

/* True if a requirement has this key. */
bool provisioner_requires(const struct provisioner *provisioner, const char *key);
