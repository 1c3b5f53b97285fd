// SPDX-License-Identifier: Apache-2.0
#include "nodesync/deploylabels.h"

#include <errno.h>
#include <stdio.h>

#include "base/array.h"
#include "base/text.h"
#include "kube/field.h"
#include "kube/jsonpatch.h"

#define PREFIX "nvidia.com/gpu.deploy."
#define RUNS   "true"
#define PAUSED "paused-for-mig-change"

/* What has GPUs open. The device plugin and gpu-feature-discovery are what we replace. */
static const char *const components[] = {"dcgm", "dcgm-exporter", "nvsm"};

static int change(const json_t *node, const char *component, bool pauses, json_t *operations)
{
    const char *from = pauses ? RUNS : PAUSED, *to = pauses ? PAUSED : RUNS, *live;
    char key[64], path[96];
    json_t *old;
    int r;

    snprintf(key, sizeof(key), PREFIX "%s", component);
    snprintf(path, sizeof(path), "/metadata/labels/nvidia.com~1gpu.deploy.%s", component);
    live = kube_label(node, key);
    if (!live || !str_equal(live, from))
        return 0;
    old = json_string(from);
    r = old ? jsonpatch_change(operations, path, old, json_string(to)) : -ENOMEM;
    json_decref(old);
    return r;
}

int deploylabels_plan(const json_t *node, bool pauses, json_t **ret_operations)
{
    json_t *operations = json_array();
    int r = operations ? 0 : -ENOMEM;

    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(components); i++)
        r = change(node, components[i], pauses, operations);
    if (r == 0 && json_array_size(operations)) {
        *ret_operations = operations;
        return 0;
    }
    json_decref(operations);
    return r < 0 ? r : DEPLOYLABELS_AS_WANTED;
}
