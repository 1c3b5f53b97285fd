// SPDX-License-Identifier: Apache-2.0
#include "config/helmvalues.h"

#include <stdio.h>

#include "base/array.h"
#include "base/text.h"
#include "config/options.h"

/* Where charts have the texts: under this key of this section. */
static const struct {
    const char *parent, *section, *map;
} places[] = {{NULL, "config", "map"}, {"devicePlugin", "config", "data"}};

/*
 * Keys of our chart's, NVIDIA's and the GPU Operator's values. Keys that are options as well
 * (`resources`, `gpuslice`) or that have an option's name (`migStrategy`) prove nothing.
 */
static const char *const chart_keys[] = {
    "admissionPolicy",
    "affinity",
    "allowDefaultNamespace",
    "ccManager",
    "cdi",
    "compatWithCPUManager",
    "config",
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
    "sysAdmin",
    "tolerations",
    "toolkit",
    "uninstall",
    "updateStrategy",
    "validator",
};

/* One place of `places`, in `root` or below a key of it (a subchart's name). */
static bool find_at(const struct yaml *root, const char *subchart, size_t place,
                    struct helm_values *values)
{
    const char *parent = places[place].parent;
    const struct yaml *section =
        yaml_get(parent ? yaml_get(root, parent) : root, places[place].section);
    const struct yaml *map = yaml_get(section, places[place].map);

    if (!map || map->kind != YAML_MAP || !map->n_children)
        return false;
    values->map = map;
    values->chosen = yaml_get_text(section, "default");
    values->evidence = places[place].section;
    snprintf(values->path, sizeof(values->path), "%.24s%s%s%s%s.%s", subchart, *subchart ? "." : "",
             parent ? parent : "", parent ? "." : "", places[place].section, places[place].map);
    return true;
}

static bool find_texts(const struct yaml *document, struct helm_values *values)
{
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        if (find_at(document, "", i, values))
            return true;
        for (size_t j = 0; j < document->n_children; j++)
            if (find_at(&document->children[j], document->children[j].key, i, values))
                return true;
    }
    return false;
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
    struct helm_values values = {.map = NULL};

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
