// SPDX-License-Identifier: Apache-2.0
#include "objectview.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "process.h"
#include "runner.h"

DEFINE_CLEANUP(json_t *, json_decref)
#define cleanup_json cleanup(json_decref_p)

static const char *const role_names[] = {"init", "sidecar", "app"};
static const char *const state_names[] = {"waiting", "running", "terminated"};

bool objectview_format_parse(const char *name, enum view_format *ret_format)
{
    bool json = str_equal(name, "json");

    if (!json && !str_equal(name, "table"))
        return false;
    *ret_format = json ? VIEW_JSON : VIEW_TABLE;
    return true;
}

static int add_json(struct text *out, const json_t *json)
{
    cleanup_free char *text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;

    if (!text)
        return -ENOMEM;
    text_add(out, text);
    text_add_char(out, '\n');
    return text_failed(out) ? -ENOMEM : 0;
}

static json_t *node_json(const struct kubelet *kubelet)
{
    const struct manager *manager = &kubelet->manager;
    cleanup_json json_t *capacity = json_object(), *allocatable = json_object(),
                        *allocated = json_object();

    for (size_t i = 0; i < manager->n_resources; i++) {
        const struct resource *resource = &manager->resources[i];

        json_object_set_new(capacity, resource->name,
                            json_integer((json_int_t)manager_capacity(resource)));
        json_object_set_new(allocatable, resource->name,
                            json_integer((json_int_t)manager_allocatable(resource)));
        json_object_set_new(allocated, resource->name,
                            json_integer((json_int_t)kubelet_allocated(kubelet, resource->name)));
    }
    return json_pack("{s:s, s:O, s:O, s:O}", "name", kubelet->options->command.node_name,
                     "capacity", capacity, "allocatable", allocatable, "allocated", allocated);
}

int objectview_node(const struct kubelet *kubelet, enum view_format format, struct text *out)
{
    const struct manager *manager = &kubelet->manager;

    if (format == VIEW_JSON) {
        cleanup_json json_t *node = node_json(kubelet);

        return add_json(out, node);
    }
    text_addf(out, "%-24s %-32s %8s %11s %9s\n", "NODE", "RESOURCE", "CAPACITY", "ALLOCATABLE",
              "ALLOCATED");
    for (size_t i = 0; i < manager->n_resources; i++) {
        const struct resource *resource = &manager->resources[i];

        text_addf(out, "%-24s %-32s %8zu %11zu %9zu\n", kubelet->options->command.node_name,
                  resource->name, manager_capacity(resource), manager_allocatable(resource),
                  kubelet_allocated(kubelet, resource->name));
    }
    return text_failed(out) ? -ENOMEM : 0;
}

static json_t *env_json(const struct kubelet *kubelet, const struct pod *pod,
                        const struct container *container)
{
    cleanup_command struct command command = COMMAND_INIT;
    json_t *env = json_object();

    if (command_build(&kubelet->options->command, pod, container->spec, &container->answer,
                      &command) < 0)
        return env;
    /* Variables from plugin and pod only; PATH and the like tell nothing about either. */
    for (size_t i = command.n_base; i < command.n_pairs; i++)
        json_object_set_new(env, command.pairs[i].key, json_string(command.pairs[i].value));
    return env;
}

/* Active pods only: devices of finished ones are free, although they are released lazily. */
static json_t *devices_json(const struct manager *manager, const struct pod *pod,
                            const struct container_spec *container)
{
    json_t *devices = json_object();

    for (size_t i = 0; pod_is_active(pod) && i < manager->n_allocations; i++) {
        const struct allocation *one = &manager->allocations[i];
        json_t *ids;

        if (!str_equal(one->pod_uid, pod->uid) || !str_equal(one->container, container->name))
            continue;
        ids = json_array();
        for (size_t k = 0; k < one->n_devices; k++)
            json_array_append_new(ids, json_string(one->devices[k].id));
        json_object_set_new(devices, one->resource, ids);
    }
    return devices;
}

/* The status field that shows what a runtime would mount. */
static void add_answer(json_t *out, const struct answer *answer)
{
    json_t *mounts = json_array(), *nodes = json_array(), *cdi = json_array(),
           *annotations = json_object();

    for (size_t i = 0; i < answer->n_mounts; i++)
        json_array_append_new(mounts, json_pack("{s:s, s:s, s:b}", "container_path",
                                                answer->mounts[i].container_path, "host_path",
                                                answer->mounts[i].host_path, "read_only",
                                                answer->mounts[i].read_only));
    for (size_t i = 0; i < answer->n_nodes; i++)
        json_array_append_new(nodes, json_pack("{s:s, s:s, s:s}", "container_path",
                                               answer->nodes[i].container_path, "host_path",
                                               answer->nodes[i].host_path, "permissions",
                                               answer->nodes[i].permissions));
    for (size_t i = 0; i < answer->n_cdi_devices; i++)
        json_array_append_new(cdi, json_string(answer->cdi_devices[i].key));
    for (size_t i = 0; i < answer->n_annotations; i++)
        json_object_set_new(annotations, answer->annotations[i].key,
                            json_string(answer->annotations[i].value));
    json_object_set_new(out, "mounts", mounts);
    json_object_set_new(out, "device_nodes", nodes);
    json_object_set_new(out, "cdi_devices", cdi);
    json_object_set_new(out, "annotations", annotations);
}

static json_t *container_json(const struct kubelet *kubelet, const struct pod *pod,
                              const struct container *container)
{
    const struct container_spec *spec = container->spec;
    char log[PATH_MAX] = "";
    json_t *out;

    runner_log_path(kubelet, pod, spec->name, log, sizeof(log));
    out = json_pack("{s:s, s:s, s:s, s:s, s:s?, s:i, s:i, s:i, s:s, s:o, s:o}", "name", spec->name,
                    "image", spec->image, "role", role_names[spec->role], "state",
                    state_names[container->state], "reason", container->reason, "exit_code",
                    container->exit_code, "restarts", (int)container->n_restarts, "pid",
                    container->process ? (int)process_pid(container->process) : 0, "log", log,
                    "env", env_json(kubelet, pod, container), "devices",
                    devices_json(&kubelet->manager, pod, spec));
    if (out)
        add_answer(out, &container->answer);
    return out;
}

static json_t *pod_json(const struct kubelet *kubelet, const struct pod *pod)
{
    json_t *containers = json_array();
    char status[32];

    for (size_t i = 0; i < pod->n_containers; i++)
        json_array_append_new(containers, container_json(kubelet, pod, &pod->containers[i]));
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s?, s:s?, s:o}", "namespace", pod->namespace,
                     "name", pod->name, "uid", pod->uid, "owner", pod->owner, "phase",
                     pod_phase_name(pod->phase), "status", pod_status(pod, status, sizeof(status)),
                     "reason", pod->reason, "message", pod->message, "containers", containers);
}

/* "GPU-86e5c145::1" of "GPU-86e5c145-84c6-5b96-8ec9-e2e7d3c1b1a4::1": enough on one node. */
static void add_short(struct text *out, const char *id)
{
    const char *dash = strchr(id, '-'), *end = dash ? strchr(dash + 1, '-') : NULL;
    const char *rest = strstr(id, "::");

    if (!end || (!str_starts_with(id, "GPU-") && !str_starts_with(id, "MIG-"))) {
        text_add(out, id);
        return;
    }
    text_addf(out, "%.*s%s", (int)(end - id), id, rest ? rest : "");
}

/* The ids of all containers, without duplicates. */
static int add_ids(const struct manager *manager, const struct pod *pod, struct text *out)
{
    cleanup_ids struct ids ids = IDS_INIT;

    for (size_t i = 0; pod_is_active(pod) && i < manager->n_allocations; i++)
        for (size_t k = 0; k < manager->allocations[i].n_devices; k++)
            if (str_equal(manager->allocations[i].pod_uid, pod->uid) &&
                ids_add(&ids, manager->allocations[i].devices[k].id) < 0)
                return -ENOMEM;
    for (size_t i = 0; i < ids.n_items; i++) {
        text_add(out, i ? "," : "");
        add_short(out, ids.items[i]);
    }
    if (!ids.n_items)
        text_add(out, "-");
    return 0;
}

/* Below the table, each once: sentences would make it wider than any screen. */
static void add_reasons(const struct pods *pods, struct text *out)
{
    for (size_t i = 0; i < pods->n_items; i++) {
        const char *message = pods->items[i]->message;
        size_t n = 0, first = pods->n_items;

        for (size_t k = 0; message && k < pods->n_items; k++)
            if (pods->items[k]->message && str_equal(pods->items[k]->message, message)) {
                first = first < k ? first : k;
                n++;
            }
        if (message && first == i)
            text_addf(out, "%zu pod%s: %s\n", n, n == 1 ? "" : "s", message);
    }
}

/* Columns as wide as their longest entry, so that long pod names do not break the table. */
static int pods_table(const struct kubelet *kubelet, struct text *out)
{
    int namespace_width = 9, name_width = 4, status_width = 6;
    char status[32];

    for (size_t i = 0; i < kubelet->pods.n_items; i++) {
        const struct pod *pod = kubelet->pods.items[i];
        int lengths[] = {(int)strlen(pod->namespace), (int)strlen(pod->name),
                         (int)strlen(pod_status(pod, status, sizeof(status)))};
        int *const widths[] = {&namespace_width, &name_width, &status_width};

        for (size_t k = 0; k < ARRAY_SIZE(lengths); k++)
            if (lengths[k] > *widths[k])
                *widths[k] = lengths[k];
    }
    text_addf(out, "%-*s  %-*s  %-*s  RESTARTS  DEVICES\n", namespace_width, "NAMESPACE",
              name_width, "NAME", status_width, "STATUS");
    for (size_t i = 0; i < kubelet->pods.n_items; i++) {
        const struct pod *pod = kubelet->pods.items[i];
        unsigned n_restarts = 0;

        for (size_t k = 0; k < pod->n_containers; k++)
            n_restarts += pod->containers[k].n_restarts;
        text_addf(out, "%-*s  %-*s  %-*s  %8u  ", namespace_width, pod->namespace, name_width,
                  pod->name, status_width, pod_status(pod, status, sizeof(status)), n_restarts);
        if (add_ids(&kubelet->manager, pod, out) < 0)
            return -ENOMEM;
        text_add_char(out, '\n');
    }
    add_reasons(&kubelet->pods, out);
    return text_failed(out) ? -ENOMEM : 0;
}

int objectview_pods(const struct kubelet *kubelet, enum view_format format, struct text *out)
{
    cleanup_json json_t *list = NULL;

    if (format == VIEW_TABLE)
        return pods_table(kubelet, out);
    list = json_array();
    for (size_t i = 0; i < kubelet->pods.n_items; i++)
        json_array_append_new(list, pod_json(kubelet, kubelet->pods.items[i]));
    return add_json(out, list);
}
