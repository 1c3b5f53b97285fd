// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Values of a Helm chart, which people take for the configuration: they carry it, as text under
 * config.map.NAME (our chart and NVIDIA's) or devicePlugin.config.data.NAME (the GPU Operator's),
 * also below the name of a subchart. The GPU Operator's carry mig-parted's under
 * migManager.config.data.NAME. A configuration has none of their keys.
 */

#include <stdbool.h>

#include "base/yaml.h"

enum { HELM_TEXTS_MAX = 2 }; /* the agent's, and mig-parted's */

struct helm_texts {
    const struct yaml *map; /* the texts by name; borrowed */
    char path[64];          /* "config.map", "nvdp.config.map" */
};

struct helm_values {
    struct helm_texts texts[HELM_TEXTS_MAX];
    size_t n_texts;              /* 0: the values have none */
    const char *chosen;          /* config.default: the text of nodes without a label; or NULL */
    const char *config_map_name; /* config.name: the texts are in that ConfigMap; or NULL */
    const char *evidence;        /* a key that only values have */
};

/* True if the document is a chart's values. */
bool helmvalues_find(const struct yaml *document, struct helm_values *ret_values);
