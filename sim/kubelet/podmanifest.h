// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Kubernetes manifests, as far as the stand-in runs them.
 *
 * Reads Deployment, ReplicaSet, Job, Pod and List, several documents to a file. Other kinds are
 * skipped with a warning; pod fields that would matter to a container but are not simulated
 * (volumes, probes, node selectors ...) are named in a note. What the API server rejects is
 * rejected with its message. Same limits as base/yaml.h, and at most MANIFEST_MAX_PODS replicas.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/problem.h"
#include "template.h"

enum { MANIFEST_MAX_PODS = 10000 };

enum manifest_kind { MANIFEST_POD, MANIFEST_REPLICA_SET, MANIFEST_DEPLOYMENT, MANIFEST_JOB };

struct podmanifest {
    enum manifest_kind kind;
    char *name, *namespace;
    int64_t replicas;      /* of a Deployment or ReplicaSet; parallelism of a Job; 1 for a Pod */
    int64_t completions;   /* of a Job */
    int64_t backoff_limit; /* of a Job */
    struct pod_template *template;
};

struct podmanifests {
    struct podmanifest *items;
    size_t n_items, capacity;
};

#define MANIFESTS_INIT \
    {                  \
        .items = NULL  \
    }

void podmanifest_deinit(struct podmanifest *manifest);
void podmanifests_deinit(struct podmanifests *manifests);
#define cleanup_podmanifests cleanup(podmanifests_deinit)

/* "Pod", "Deployment" ... */
const char *podmanifest_kind_name(enum manifest_kind kind);

/*
 * Reads all documents of data. 0, -EBADMSG if `problems` got at least one error (nothing is kept
 * then), or -ENOMEM. default_namespace applies where a manifest names none.
 */
int podmanifests_parse(const char *data, size_t size, const char *default_namespace,
                       struct problems *problems, struct podmanifests *ret_manifests);
