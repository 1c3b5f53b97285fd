// SPDX-License-Identifier: Apache-2.0
#include "config/helmvalues.h"

#include <stdio.h>

#include "base/array.h"
#include "base/text.h"
#include "config/options.h"

/* Where charts have the texts: under this key of this section. Of the agent's, `default` names one;
 * the MIG manager's names a label. */
static const struct place {
    const char *parent, *section, *map;
    bool is_mig;
} places[] = {{NULL, "config", "map", false},
              {"devicePlugin", "config", "data", false},
              {"migManager", "config", "data", true}};

/*
 * Keys of our chart's, NVIDIA's and the GPU Operator's values. Keys that are options as well
 * (`resources`, `gpuslice`) or that have an option's name (`migStrategy`) prove nothing.
 */
static const char *const chart_keys[] = {
    "admissionPolicy",
    "affinity",
    "allowDefaultNamespace",
    "arbiter",
    "ccManager",
    "cdi",
    "compatWithCPUManager",
    "config",
    "controller",
    "daemonsets",
    "dcgm",
    "dcgmExporter",
    "devicePlugin",
    "driver",
    "extraArgs",
    "extraEnv",
    "extraVolumeMounts",
    "extraVolumes",
    "fullnameOverride",
    "hostNetwork",
    "http",
    "httpAddress",
    "image",
    "imagePullSecrets",
    "kubeletDir",
    "legacyDaemonsetAPI",
    "logFormat",
    "logLevel",
    "migManager",
    "nameOverride",
    "namespaceOverride",
    "nfd",
    "nodeSelector",
    "nodeStatusExporter",
    "nodesync",
    "nvidiaDriverCapabilities",
    "openshift",
    "operator",
    "podAnnotations",
    "podLabels",
    "podMonitor",
    "podSecurityContext",
    "priorityClassName",
    "prometheusRule",
    "readinessPath",
    "runtimeClassName",
    "sandboxDevicePlugin",
    "securityContext",
    "selectorLabelsOverride",
    "sliceProfiles",
    "sysAdmin",
    "tolerations",
    "toolkit",
    "uninstall",
    "updateStrategy",
    "validator",
};

/* One place, in `root` or below a key of it (a subchart's name). */
static bool find_at(const struct yaml *root, const char *subchart, const struct place *place,
                    struct helm_values *values)
{
    const char *parent = place->parent;
    const struct yaml *section = yaml_get(parent ? yaml_get(root, parent) : root, place->section);
    const struct yaml *map = yaml_get(section, place->map);
    struct helm_texts *texts = &values->texts[values->n_texts];

    if (!map || map->kind != YAML_MAP || !map->n_children)
        return false;
    texts->map = map;
    snprintf(texts->path, sizeof(texts->path), "%.24s%s%s%s%s.%s", subchart, *subchart ? "." : "",
             parent ? parent : "", parent ? "." : "", place->section, place->map);
    values->n_texts++;
    if (!place->is_mig)
        values->chosen = yaml_get_text(section, "default");
    if (!values->evidence)
        values->evidence = place->section;
    return true;
}

static bool find_place(const struct yaml *document, const struct place *place,
                       struct helm_values *values)
{
    if (find_at(document, "", place, values))
        return true;
    for (size_t i = 0; i < document->n_children; i++)
        if (find_at(&document->children[i], document->children[i].key, place, values))
            return true;
    return false;
}

/* The first place that has any, of each of the two kinds. */
static bool find_texts(const struct yaml *document, struct helm_values *values)
{
    bool found[2] = {false, false};

    for (size_t i = 0; i < ARRAY_SIZE(places); i++)
        if (!found[places[i].is_mig])
            found[places[i].is_mig] = find_place(document, &places[i], values);
    return values->n_texts > 0;
}

/* A key that only values have; or one that is an option's elsewhere, with what only values have
 * below it. */
static const char *find_evidence(const struct yaml *document)
{
    for (size_t i = 0; i < ARRAY_SIZE(chart_keys); i++)
        if (yaml_get(document, chart_keys[i]))
            return chart_keys[i];
    return yaml_get(yaml_get(document, "gfd"), "enabled") ? "gfd.enabled" : NULL;
}

/* `resources` means something else in values, `gpuslice` may be the name of a subchart. */
static bool has_option(const struct yaml *document)
{
    for (size_t i = 0; i < document->n_children; i++) {
        const char *key = document->children[i].key;

        if (schema_knows(&config_schema, key) && !str_equal(key, "resources"))
            return true;
    }
    return false;
}

bool helmvalues_find(const struct yaml *document, struct helm_values *ret_values)
{
    struct helm_values values = {.n_texts = 0};

    if (document->kind != YAML_MAP)
        return false;
    if (find_texts(document, &values)) {
        *ret_values = values;
        return true;
    }
    if (has_option(document))
        return false;
    values.evidence = find_evidence(document);
    if (!values.evidence)
        return false;
    values.config_map_name = yaml_get_text(yaml_get(document, "config"), "name");
    if (values.config_map_name && !*values.config_map_name)
        values.config_map_name = NULL;
    *ret_values = values;
    return true;
}
