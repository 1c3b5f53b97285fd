// SPDX-License-Identifier: Apache-2.0
#include "node/status.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/array.h"
#include "base/exposition.h"
#include "base/log.h"
#include "node/verdict.h"
#include "proc/httplink.h"
#include "slice/unknown.h"

#ifndef GPUSLICE_VERSION
#error "the build passes GPUSLICE_VERSION"
#endif

static void write_build(const struct facts *facts, struct text *out)
{
    (void)facts;
    exposition_family(out, "gpuslice_build_info", "gauge", "Constant 1, labelled by version.");
    exposition_sample(out, "gpuslice_build_info", 1, "version", GPUSLICE_VERSION, NULL);
}

static void write_verdict(const struct facts *facts, struct text *out)
{
    struct verdict verdict;

    verdict_make(facts, &verdict);
    exposition_family(out, "gpuslice_ready", "gauge",
                      "1 if /readyz and the condition GPUSlicesReady say so, labelled by reason.");
    exposition_sample(out, "gpuslice_ready", verdict_is_ready(&verdict) ? 1 : 0, "reason",
                      verdict.reason, NULL);
}

static size_t count_elsewhere(const struct offer *offer, const struct plan_resource *resource)
{
    size_t n = 0;

    for (size_t i = 0; i < resource->n_slices; i++)
        n += offer_slice_is_elsewhere(offer, resource, &resource->slices[i]);
    return n;
}

static void write_devices(const struct facts *facts, struct text *out)
{
    exposition_family(out, "gpuslice_devices", "gauge",
                      "Devices announced, by resource and health.");
    for (size_t i = 0; facts->offer && i < facts->offer->plan->n_resources; i++) {
        const struct plan_resource *resource = &facts->offer->plan->resources[i];
        size_t healthy = offer_count_healthy(facts->offer, resource);
        size_t elsewhere = count_elsewhere(facts->offer, resource);

        exposition_sample(out, "gpuslice_devices", (double)healthy, "resource", resource->name,
                          "health", "Healthy", NULL);
        exposition_sample(out, "gpuslice_devices",
                          (double)(resource->n_slices - healthy - elsewhere), "resource",
                          resource->name, "health", "Unhealthy", NULL);
        if (elsewhere)
            exposition_sample(out, "gpuslice_devices", (double)elsewhere, "resource",
                              resource->name, "health", "Elsewhere", NULL);
    }
}

/* Nobody is to be alerted for a GPU that is excluded on purpose. */
static void write_gpus(const struct facts *facts, struct text *out)
{
    exposition_family(out, "gpuslice_gpu_healthy", "gauge",
                      "1 if the GPU is healthy; none if it is excluded.");
    for (size_t i = 0; facts->offer && i < facts->offer->plan->n_devices; i++) {
        const struct plan_device *on = &facts->offer->plan->devices[i];
        const struct gpu *gpu = plan_gpu(facts->offer->plan, on);
        const bool mig = on->device.kind == DEVICE_MIG;
        char device[DEVICE_INDEX_SIZE];
        struct log_digits index;

        if (on->excluded)
            continue;
        device_format_index(&on->device, gpu->index, device, sizeof(device));
        exposition_sample(out, "gpuslice_gpu_healthy", facts->offer->device_healthy[i] ? 1 : 0,
                          "gpu", log_number_format(&index, gpu->index), "uuid", on->device.uuid,
                          "model", gpu->model, mig ? "device" : NULL, device, "profile",
                          on->device.profile, NULL);
    }
}

/* Of a GPU that is not, faults show only by what probes of it find. */
static void write_watched(const struct facts *facts, struct text *out)
{
    exposition_family(out, "gpuslice_gpu_watched", "gauge",
                      "1 if XID events of the GPU are seen, 0 while the driver reports none.");
    for (size_t i = 0; facts->offer && facts->health && i < facts->offer->plan->n_gpus; i++) {
        const struct gpu *gpu = &facts->offer->plan->gpus[i];
        const struct devicehealth *device = health_find(facts->health, gpu->uuid);
        struct log_digits index;

        if (*gpu->uuid)
            exposition_sample(out, "gpuslice_gpu_watched", device && !*device->unwatched, "gpu",
                              log_number_format(&index, gpu->index), "uuid", gpu->uuid, NULL);
    }
}

static void write_unknown(const struct facts *facts, struct text *out)
{
    exposition_family(out, "gpuslice_gpu_fact_unknown", "gauge",
                      "Constant 1 for each fact of a GPU that the driver does not tell.");
    for (size_t i = 0; facts->offer && i < facts->offer->plan->n_gpus; i++) {
        const struct gpu *gpu = &facts->offer->plan->gpus[i];
        struct log_digits index;

        for (unsigned fact = 0; fact < N_FACTS; fact++)
            if (!*gpu->unusable && gpu->gaps[fact])
                exposition_sample(out, "gpuslice_gpu_fact_unknown", 1, "gpu",
                                  log_number_format(&index, gpu->index), "uuid", gpu->uuid, "fact",
                                  unknown_fact_name((enum fact)fact), NULL);
    }
}

/* One row per counter that every service has. */
static const struct {
    const char *name, *help;
    size_t offset;
} service_rows[] = {
    {"gpuslice_allocations_total", "Allocate calls, including rejected ones.",
     offsetof(struct service_counters, calls.allocations)},
    {"gpuslice_failed_allocations_total", "Allocate calls that were rejected.",
     offsetof(struct service_counters, calls.failed_allocations)},
    {"gpuslice_lost_names_total",
     "Allocate calls that were rejected because the device had changed its name.",
     offsetof(struct service_counters, calls.lost_names)},
    {"gpuslice_preferences_total", "GetPreferredAllocation calls.",
     offsetof(struct service_counters, calls.preferences)},
    {"gpuslice_device_lists_total", "Device lists sent to the kubelet.",
     offsetof(struct service_counters, calls.lists_sent)},
    {"gpuslice_cancelled_calls_total", "Calls cancelled by the kubelet, including ended streams.",
     offsetof(struct service_counters, calls.cancelled)},
    {"gpuslice_protocol_errors_total", "Connections from the kubelet that were not valid gRPC.",
     offsetof(struct service_counters, calls.protocol_errors)},
    {"gpuslice_registrations_total", "Successful registrations with the kubelet.",
     offsetof(struct service_counters, registrations)},
    {"gpuslice_failed_registrations_total", "Registrations that failed and were retried.",
     offsetof(struct service_counters, failed_registrations)},
};

static void write_services(const struct facts *facts, struct text *out)
{
    for (size_t row = 0; row < ARRAY_SIZE(service_rows); row++) {
        exposition_family(out, service_rows[row].name, "counter", service_rows[row].help);
        for (size_t i = 0; i < facts->services->n; i++) {
            const struct service_counters counters = service_counters(facts->services->items[i]);
            uint64_t value;

            memcpy(&value, (const char *)&counters + service_rows[row].offset, sizeof(value));
            exposition_sample(out, service_rows[row].name, (double)value, "resource",
                              service_resource(facts->services->items[i]), NULL);
        }
    }
    exposition_family(out, "gpuslice_registered", "gauge",
                      "1 if the resource is registered with the kubelet.");
    for (size_t i = 0; i < facts->services->n; i++)
        exposition_sample(out, "gpuslice_registered",
                          service_is_ready(facts->services->items[i]) ? 1 : 0, "resource",
                          service_resource(facts->services->items[i]), NULL);
}

static const struct {
    const char *name, *help;
    size_t offset;
} fact_rows[] = {
    {"gpuslice_config_reloads_total", "Configuration files applied.",
     offsetof(struct facts_counters, reloads)},
    {"gpuslice_config_failed_reloads_total", "Configuration files rejected; the old plan was kept.",
     offsetof(struct facts_counters, failed_reloads)},
    {"gpuslice_xid_events_total", "XID events reported by the driver.",
     offsetof(struct facts_counters, xids)},
    {"gpuslice_driver_hangs_total", "Driver calls that exceeded their deadline.",
     offsetof(struct facts_counters, hangs)},
};

static void write_facts(const struct facts *facts, struct text *out)
{
    for (size_t row = 0; row < ARRAY_SIZE(fact_rows); row++) {
        uint64_t value;

        memcpy(&value, (const char *)&facts->counters + fact_rows[row].offset, sizeof(value));
        exposition_family(out, fact_rows[row].name, "counter", fact_rows[row].help);
        exposition_sample(out, fact_rows[row].name, (double)value, NULL);
    }
    exposition_family(
        out, "gpuslice_config_refused", "gauge",
        "1 while the selected configuration is invalid; another one, or none, is in force.");
    exposition_sample(out, "gpuslice_config_refused", *facts->refusal ? 1 : 0, NULL);
    exposition_family(out, "gpuslice_config_info", "gauge",
                      "Constant 1, labelled by the file in force; empty if there is none.");
    exposition_sample(out, "gpuslice_config_info", 1, "file", facts->config_path, NULL);
}

static void write_partitioner(const struct facts *facts, struct text *out)
{
    const struct partitioner_counters counters = partitioner_counters(facts->partitioner);
    const char *word = migreport_state_name(partitioner_state(facts->partitioner));

    if (!facts->partitioner)
        return;
    exposition_family(
        out, "gpuslice_mig_layout", "gauge",
        "1 if the wanted MIG layout is in force, 0 while it is not, labelled by state; "
        "none if no layout is wanted.");
    if (word)
        exposition_sample(out, "gpuslice_mig_layout",
                          partitioner_state(facts->partitioner) == MIGREPORT_SUCCESS, "state", word,
                          NULL);
    exposition_family(out, "gpuslice_mig_steps_total", "counter",
                      "Requests to the driver that change a MIG layout.");
    exposition_sample(out, "gpuslice_mig_steps_total", (double)counters.steps, NULL);
    exposition_family(out, "gpuslice_mig_failed_steps_total", "counter",
                      "Those that failed and are retried.");
    exposition_sample(out, "gpuslice_mig_failed_steps_total", (double)counters.failed_steps, NULL);
}

static const struct {
    const char *name, *type, *help;
    size_t offset;
} grant_rows[] = {
    {"gpuslice_grants_adopted", "gauge",
     "Grants of device ids that a pod already held when they were first recorded; they have no "
     "limits.",
     offsetof(struct grants_counters, grants.n_adopted)},
    {"gpuslice_grants_waiting", "gauge", "Kubelet calls waiting for the disk.",
     offsetof(struct grants_counters, waiting)},
    {"gpuslice_grant_log_bytes", "gauge", "Size of the grant log.",
     offsetof(struct grants_counters, log_bytes)},
    {"gpuslice_grant_syncs_total", "counter", "Successful writes of the grant log.",
     offsetof(struct grants_counters, syncs)},
    {"gpuslice_grant_failed_syncs_total", "counter", "Failed writes of the grant log.",
     offsetof(struct grants_counters, failed_syncs)},
};

static void write_grants(const struct facts *facts, struct text *out)
{
    struct grants_counters counters;

    if (!facts->grants)
        return;
    counters = grants_counters(facts->grants);
    exposition_family(out, "gpuslice_grants", "gauge",
                      "Grants: current ones hold a device id, ending ones no longer do.");
    exposition_sample(out, "gpuslice_grants", (double)counters.grants.n_current, "state", "current",
                      NULL);
    exposition_sample(out, "gpuslice_grants", (double)counters.grants.n_ending, "state", "ending",
                      NULL);
    for (size_t row = 0; row < ARRAY_SIZE(grant_rows); row++) {
        uint64_t value;

        memcpy(&value, (const char *)&counters + grant_rows[row].offset, sizeof(value));
        exposition_family(out, grant_rows[row].name, grant_rows[row].type, grant_rows[row].help);
        exposition_sample(out, grant_rows[row].name, (double)value, NULL);
    }
    exposition_family(out, "gpuslice_grant_sync_seconds_total", "counter",
                      "Duration of grant log writes.");
    exposition_sample(out, "gpuslice_grant_sync_seconds_total", counters.sync_seconds, NULL);
    exposition_family(
        out, "gpuslice_grants_writable", "gauge",
        "0 while no new grants are possible: devices that no pod holds are Unhealthy.");
    exposition_sample(out, "gpuslice_grants_writable", *grants_problem(facts->grants) ? 0 : 1,
                      NULL);
}

static void write_cluster(const struct publisher *publisher, struct text *out)
{
    if (!publisher_has_cluster(publisher))
        return;
    exposition_family(out, "gpuslice_cluster_connected", "gauge",
                      "1 while the API server is reachable through gpuslice-nodesync.");
    exposition_sample(out, "gpuslice_cluster_connected", publisher_is_connected(publisher) ? 1 : 0,
                      NULL);
    exposition_family(out, "gpuslice_cluster_lost_events_total", "counter",
                      "Events for the cluster that were dropped because the queue was full.");
    exposition_sample(out, "gpuslice_cluster_lost_events_total",
                      (double)publisher_lost_events(publisher), NULL);
}

unsigned status_answer(enum httplink_page page, struct text *body, void *userdata)
{
    static void (*const families[])(const struct facts *, struct text *) = {
        write_build,   write_verdict,  write_devices, write_gpus,   write_watched,
        write_unknown, write_services, write_facts,   write_grants, write_partitioner,
    };
    const struct status *status = userdata;
    struct verdict verdict;

    if (page == HTTPLINK_METRICS) {
        for (size_t i = 0; i < ARRAY_SIZE(families); i++)
            families[i](status->facts, body);
        write_cluster(status->publisher, body);
        return 200;
    }
    verdict_make(status->facts, &verdict);
    if (page == HTTPLINK_READY && !verdict_is_ready(&verdict)) {
        verdict_explain(&verdict, status->facts, body);
        return 503;
    }
    text_add(body, "ok\n"); /* a process that responds is healthy */
    return 200;
}
