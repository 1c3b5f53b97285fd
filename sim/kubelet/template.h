// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A pod template: its containers, their commands, variables and extended resources.
 *
 * Read once from a manifest and shared by its pods. cpu, memory and storage are not tracked: the
 * node always has enough of them. Fields that would matter to a container but are not simulated
 * (volumes, probes, node selectors ...) are named in a note.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

struct fieldreader;
struct yaml;

enum restart_policy { RESTART_ALWAYS, RESTART_ON_FAILURE, RESTART_NEVER };

enum container_role {
    CONTAINER_INIT,    /* runs to completion before the next one starts */
    CONTAINER_SIDECAR, /* an init container with restartPolicy Always: keeps running */
    CONTAINER_APP,
};

struct quantity {
    char *resource; /* an extended resource */
    int64_t count;
};

struct variable {
    char *name;
    char *value;      /* NULL if it comes from a field */
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

/* Shared by the pods created from it. */
struct pod_template {
    unsigned n_references;
    char *source; /* the pod spec as compact JSON: equal text, equal template */
    enum restart_policy restart_policy;
    int64_t grace_period_s;            /* terminationGracePeriodSeconds; default 30 */
    struct container_spec *containers; /* init containers and sidecars first, in order */
    size_t n_containers, containers_capacity;
};

/* The restart policies that the owner's kind allows. */
enum restart_rule { RESTART_ANY, RESTART_ONLY_ALWAYS, RESTART_NOT_ALWAYS };

/* Reads a pod spec; NULL only without memory. Errors are added to the reader's problems. */
struct pod_template *pod_template_read(struct fieldreader *reader, const struct yaml *spec,
                                       const char *path, enum restart_rule rule);

struct pod_template *pod_template_ref(struct pod_template *template);
/* Frees it with the last reference; NULL is allowed. */
void pod_template_unref(struct pod_template *template);

/*
 * The demand of a pod for a resource: the larger of what finally runs together (apps and sidecars)
 * and each init container plus the sidecars started before it.
 */
int64_t pod_template_demand(const struct pod_template *template, const char *resource);

/* Copies JSON so that a YAML reader reads it identically: YAML 1.1 has line breaks that JSON does
 * not have. */
void template_add_json(struct text *text, const char *json);
