// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What a pod is made from: its containers, their commands, variables and extended resources.
 *
 * Read once from a manifest and shared by its pods. cpu, memory and storage are not counted: the
 * node always has enough of them. Fields that would change what a container meets, and that nobody
 * plays here (volumes, probes, node selectors ...), are named in a note.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

struct reader;
struct yaml;

enum restart_policy { RESTART_ALWAYS, RESTART_ON_FAILURE, RESTART_NEVER };

enum container_role {
    CONTAINER_INIT,    /* runs to its end before the next one starts */
    CONTAINER_SIDECAR, /* an init container with restartPolicy Always: stays */
    CONTAINER_APP,
};

struct quantity {
    char *resource; /* an extended resource */
    int64_t count;
};

struct variable {
    char *name;
    char *value;      /* NULL when it comes from a field */
    char *field_path; /* "metadata.name" ... */
};

struct container_spec {
    enum container_role role;
    char *name, *image;
    char **command, **args; /* NULL-terminated; NULL = not given */
    struct variable *variables;
    size_t n_variables, variables_capacity;
    struct quantity *limits; /* extended resources only, sorted by name, counts may be 0 */
    size_t n_limits, limits_capacity;
};

/* Shared by the pods made from it. */
struct pod_template {
    unsigned n_references;
    char *source; /* the pod spec as compact JSON: equal text, equal template */
    enum restart_policy restart_policy;
    int64_t grace_period_s;            /* terminationGracePeriodSeconds; default 30 */
    struct container_spec *containers; /* init containers and sidecars first, in order */
    size_t n_containers, containers_capacity;
};

/* What the kind of the owner allows. */
enum restart_rule { RESTART_ANY, RESTART_ONLY_ALWAYS, RESTART_NOT_ALWAYS };

/* Reads a pod spec; never NULL unless memory ran out. Errors land in the reader's problems. */
struct pod_template *pod_template_read(struct reader *reader, const struct yaml *spec,
                                       const char *path, enum restart_rule rule);

struct pod_template *pod_template_ref(struct pod_template *template);
/* Frees it with the last reference; NULL is fine. */
void pod_template_unref(struct pod_template *template);

/*
 * What a pod of this template needs of a resource: the larger of what runs together at the end
 * (apps and sidecars) and of each init container beside the sidecars started before it.
 */
int64_t pod_template_demand(const struct pod_template *template, const char *resource);

/* Copies JSON so that a YAML reader takes it alike: YAML 1.1 has line breaks that JSON has not. */
void template_add_json(struct text *text, const char *json);
