// SPDX-License-Identifier: Apache-2.0
#include "cli/clusterprint.h"

#include <string.h>

#include "base/array.h"
#include "base/text.h"
#include "cli/style.h"
#include "kube/field.h"

enum { INDENT = 2, NAMES = 12 };

static void print_line(FILE *out, const char *name, const char *value)
{
    fprintf(out, "%*s%-*s %s\n", INDENT, "", NAMES, name, value);
}

/* "580.95.05 (2), unknown (1): why" when there is more than one value. */
static void add_counts(const json_t *counts, const char *unknown, struct text *text)
{
    bool is_one = json_object_size(counts) == 1;
    const char *value, *separator = "";
    json_t *n;

    json_object_foreach((json_t *)counts, value, n)
    {
        text_addf(text, "%s%s", separator, *value ? value : unknown);
        if (!is_one)
            text_addf(text, " (%lld)", (long long)json_integer_value(n));
        separator = ", ";
    }
}

static void print_counts(FILE *out, const json_t *group, const char *key, const char *name,
                         const char *unknown)
{
    const json_t *counts = json_object_get(group, key);
    cleanup_text struct text text = TEXT_INIT;

    if (!json_object_size(counts))
        return;
    add_counts(counts, unknown, &text);
    print_line(out, name, text_string(&text));
}

static void print_sums(FILE *out, const json_t *group)
{
    cleanup_text struct text text = TEXT_INIT;
    const char *name;
    json_t *sum;

    json_object_foreach(json_object_get(group, "advertised"), name, sum) text_addf(
        &text, "%s%lld %s", text.length ? ", " : "", (long long)json_integer_value(sum), name);
    print_line(out, "advertised", text.length ? text_string(&text) : "nothing of nvidia.com");
}

static void print_guarantees(FILE *out, const json_t *group)
{
    static const char *const names[][2] = {{"memory", "memory"},
                                           {"compute", "compute"},
                                           {"scheduling", "scheduling"},
                                           {"scaling", "scaling"},
                                           {"mig", "MIG"}};

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        const json_t *guarantee =
            json_object_get(json_object_get(group, "guarantees"), names[i][0]);
        cleanup_text struct text text = TEXT_INIT;

        text_addf(&text, "%s: %s", kube_text(guarantee, "answer"), kube_text(guarantee, "why"));
        print_line(out, names[i][1], text_string(&text));
    }
}

static void print_group(FILE *out, const json_t *group)
{
    static const char *const facts[][3] = {
        {"types", "types", "unknown"},
        {"kubernetes", "Kubernetes", "unknown"},
        {"driver", "driver", "unknown: no label nvidia.com/cuda.driver-version.full"},
        {"cgroup", "cgroup", "unknown: no Node tells it, and its image may have either"},
        {"runtime", "runtime", "unknown"},
        {"system", "system", "unknown"},
        {"kernel", "kernel", "unknown"},
        {"agent", "gpuslice", "absent"},
        {"plugins", "beside it", ""},
        {"migManagers", "beside it", ""},
    };
    json_int_t n = json_integer_value(json_object_get(group, "nodes"));

    fputc('\n', out);
    style_begin(out, STYLE_BOLD);
    fprintf(out, "%s %s, %lld node%s", kube_text(group, "kind"), kube_text(group, "name"),
            (long long)n, n == 1 ? "" : "s");
    style_end(out);
    fputc('\n', out);
    for (size_t i = 0; i < ARRAY_SIZE(facts); i++)
        print_counts(out, group, facts[i][0], facts[i][1], facts[i][2]);
    print_sums(out, group);
    print_guarantees(out, group);
}

/* "DaemonSet kube-system/nvdp" with its version. */
static void add_workload(const json_t *part, struct text *text)
{
    const char *version = kube_text(part, "version");

    text_addf(text, "%s%s%s (%s %s/%s)", kube_text(part, "what"), *version ? " " : "", version,
              kube_text(part, "kind"), kube_text(part, "namespace"), kube_text(part, "name"));
}

static void print_agent(FILE *out, const json_t *facts)
{
    const json_t *agent = json_object_get(facts, "agent"),
                 *level = json_object_get(agent, "podSecurity");
    cleanup_text struct text text = TEXT_INIT;

    if (!json_is_object(agent)) {
        print_line(out, "gpuslice", "not found");
        return;
    }
    add_workload(agent, &text);
    text_addf(&text, " for %lld nodes; Pod Security of its namespace: %s",
              (long long)json_integer_value(json_object_get(agent, "nodes")),
              json_is_null(level)                ? "unknown"
              : *kube_text(agent, "podSecurity") ? kube_text(agent, "podSecurity")
                                                 : "no label (the API server's default)");
    print_line(out, "gpuslice", text_string(&text));
}

static void print_karpenter(FILE *out, const json_t *facts)
{
    const json_t *karpenter = json_object_get(facts, "karpenter"),
                 *served = json_object_get(facts, "overlaysServed");
    const char *gate = kube_text(karpenter, "gate");
    cleanup_text struct text text = TEXT_INIT;

    if (json_is_object(karpenter))
        add_workload(karpenter, &text);
    else
        text_add(&text, json_object_size(json_object_get(facts, "pools"))
                            ? "no Deployment of it, but NodePools (as in EKS Auto Mode)"
                            : "not found");
    if (json_is_object(karpenter))
        text_addf(&text, "; NodeOverlays: %s, %zu of them, gate %s",
                  json_is_true(served)    ? "known"
                  : json_is_false(served) ? "not known to the API server"
                                          : "unknown",
                  json_array_size(json_object_get(facts, "overlays")), *gate ? gate : "unknown");
    print_line(out, "Karpenter", text_string(&text));
}

/* None is not the same as that there can be none. */
static void print_profiles(FILE *out, const json_t *facts)
{
    const json_t *served = json_object_get(facts, "profilesServed");
    const json_int_t n = json_integer_value(json_object_get(facts, "sliceProfiles"));
    const bool is_wanted = json_is_object(json_object_get(facts, "karpenter")) ||
                           json_object_size(json_object_get(facts, "pools"));
    cleanup_text struct text text = TEXT_INIT;

    if (json_is_true(served))
        text_addf(&text, "%lld SliceProfile%s", (long long)n, n == 1 ? "" : "s");
    else
        text_addf(&text, "SliceProfiles are %s",
                  json_is_false(served) ? "not known to the API server" : "unknown");
    if (is_wanted || json_is_true(served))
        print_line(out, "profiles", text_string(&text));
}

static void print_dra(FILE *out, const json_t *facts)
{
    const json_t *classes = json_object_get(facts, "deviceClasses");
    cleanup_text struct text text = TEXT_INIT;
    const char *driver;
    json_t *n;

    json_object_foreach(json_object_get(facts, "draDrivers"), driver, n)
        text_addf(&text, "%s%s on %lld nodes", text.length ? ", " : "", driver,
                  (long long)json_integer_value(n));
    for (size_t i = 0; i < json_array_size(classes); i++)
        text_addf(&text, "%s%s%s",
                  i             ? ", "
                  : text.length ? "; "
                                : "",
                  i ? "" : "DeviceClasses ", json_string_value(json_array_get(classes, i)));
    if (text.length)
        print_line(out, "DRA", text_string(&text));
}

static void print_parts(FILE *out, const json_t *facts)
{
    const json_t *parts = json_object_get(facts, "components");

    for (size_t i = 0; i < json_array_size(parts); i++) {
        cleanup_text struct text text = TEXT_INIT;

        add_workload(json_array_get(parts, i), &text);
        print_line(out, i ? "" : "beside it", text_string(&text));
    }
}

void clusterprint(const json_t *facts, FILE *out)
{
    const json_t *groups = json_object_get(facts, "groups"),
                 *others = json_object_get(facts, "nodesWithoutGPU");
    const char *version = kube_text(facts, "kubernetes");

    style_begin(out, STYLE_BOLD);
    fprintf(out, "The cluster");
    style_end(out);
    fputc('\n', out);
    print_line(out, "Kubernetes", *version ? version : "unknown");
    print_agent(out, facts);
    print_karpenter(out, facts);
    print_profiles(out, facts);
    print_parts(out, facts);
    print_dra(out, facts);
    if (json_is_integer(others))
        fprintf(out, "%*s%-*s %lld\n", INDENT, "", NAMES, "without GPU",
                (long long)json_integer_value(others));
    for (size_t i = 0; i < json_array_size(groups); i++)
        print_group(out, json_array_get(groups, i));
}
