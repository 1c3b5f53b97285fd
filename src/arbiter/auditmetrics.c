// SPDX-License-Identifier: Apache-2.0
#include "arbiter/auditmetrics.h"

#include <stddef.h>

#include "base/array.h"
#include "base/exposition.h"

#define UNKNOWN (-1.0)

struct device_labels {
    char index[DEVICE_INDEX_SIZE];
    const char *uuid;
};

static struct device_labels label_device(const struct audit *audit, size_t place)
{
    const struct audit_device *device = &audit->devices[place];
    struct device_labels labels = {.uuid = device->device.uuid};

    device_format_index(&device->device, device->gpu_index, labels.index, sizeof(labels.index));
    return labels;
}

/* --- containers --- */

static bool holds_slices(const struct audit_use *use)
{
    return use->n_slices && use->limit_bytes;
}

static bool is_of_pod(const struct audit_use *use)
{
    return *use->owner.pod_uid != '\0';
}

static double used_bytes(const struct audit_use *use)
{
    return (double)use->used_bytes;
}

static double limit_bytes(const struct audit_use *use)
{
    return (double)use->limit_bytes;
}

static double count_processes(const struct audit_use *use)
{
    return (double)use->n_processes;
}

static const struct {
    const char *name, *help;
    bool (*applies)(const struct audit_use *use);
    double (*value)(const struct audit_use *use);
} use_rows[] = {
    {"gpuslice_audit_memory_used_bytes",
     "GPU memory of the processes of a container on a device, as the driver tells.", is_of_pod,
     used_bytes},
    {"gpuslice_audit_memory_limit_bytes",
     "GPU memory that the slices of a container on a device give.", holds_slices, limit_bytes},
    {"gpuslice_audit_processes", "Processes of a container that use a device.", is_of_pod,
     count_processes},
};

static void add_uses(const struct audit *audit, struct text *out)
{
    for (size_t row = 0; row < ARRAY_SIZE(use_rows); row++) {
        exposition_family(out, use_rows[row].name, "gauge", use_rows[row].help);
        for (size_t i = 0; i < audit->n_uses; i++) {
            const struct audit_use *use = &audit->uses[i];
            const struct device_labels device = label_device(audit, use->device);

            if (use_rows[row].applies(use))
                exposition_sample(out, use_rows[row].name, use_rows[row].value(use), "gpu",
                                  device.index, "uuid", device.uuid, "namespace",
                                  use->owner.namespace_, "pod", use->owner.pod, "pod_uid",
                                  use->owner.pod_uid, "container", use->owner.container, "resource",
                                  use->resource, NULL);
        }
    }
}

/* --- devices --- */

static double sum_others(const struct audit *audit, size_t device, bool of_bytes)
{
    double sum = 0;

    for (size_t i = 0; i < audit->n_uses; i++) {
        const struct audit_use *use = &audit->uses[i];

        if (use->device == device && !is_of_pod(use))
            sum += of_bytes ? used_bytes(use) : count_processes(use);
    }
    return sum;
}

static double device_used(const struct audit *audit, size_t device)
{
    return (double)audit->devices[device].used_bytes;
}

static double device_other_bytes(const struct audit *audit, size_t device)
{
    return sum_others(audit, device, true);
}

static double device_others(const struct audit *audit, size_t device)
{
    return sum_others(audit, device, false);
}

static double device_unread(const struct audit *audit, size_t device)
{
    return audit->devices[device].is_unread;
}

/* 0 = unknown. */
static double device_total(const struct audit *audit, size_t device)
{
    const uint64_t bytes = audit->devices[device].device.mem_total_bytes;

    return bytes ? (double)bytes : UNKNOWN;
}

static double device_free(const struct audit *audit, size_t device)
{
    const uint64_t bytes = audit->devices[device].free_bytes;

    return bytes ? (double)bytes : UNKNOWN;
}

static double device_reserved(const struct audit *audit, size_t device)
{
    const struct device *one = &audit->devices[device].device;

    return one->mem_total_bytes ? (double)one->mem_reserved_bytes : UNKNOWN;
}

/* What of a GPU is neither reserved, nor free, nor a process's, also not one's of its MIG devices.
 */
static double device_unlisted(const struct audit *audit, size_t device)
{
    const struct audit_device *of = &audit->devices[device];
    double left = (double)of->device.mem_total_bytes - (double)of->device.mem_reserved_bytes -
                  (double)of->free_bytes;

    if (!of->free_bytes || !of->device.mem_total_bytes || of->is_unread)
        return UNKNOWN;
    for (size_t i = 0; i < audit->n_devices; i++)
        if (audit->devices[i].device.gpu == of->device.gpu)
            left -= (double)audit->devices[i].used_bytes;
    return left > 0 ? left : 0;
}

static const struct {
    const char *name, *help;
    double (*value)(const struct audit *audit, size_t device); /* UNKNOWN: there is no sample */
} device_rows[] = {
    {"gpuslice_audit_device_memory_bytes", "GPU memory of a device.", device_total},
    {"gpuslice_audit_device_memory_free_bytes",
     "GPU memory of a whole GPU that the driver could still give.", device_free},
    {"gpuslice_audit_device_memory_reserved_bytes", "GPU memory that the driver keeps for itself.",
     device_reserved},
    {"gpuslice_audit_device_memory_unlisted_bytes",
     "GPU memory of a whole GPU that is in use, and that the driver lists for no process.",
     device_unlisted},
    {"gpuslice_audit_device_memory_used_bytes", "GPU memory of all processes on a device.",
     device_used},
    {"gpuslice_audit_other_memory_used_bytes",
     "GPU memory of processes that are in no pod, or in none that could be found out.",
     device_other_bytes},
    {"gpuslice_audit_other_processes",
     "Processes on a device that are in no pod, or in none that could be found out.",
     device_others},
    {"gpuslice_audit_device_unread", "1 while the driver does not tell the processes of a device.",
     device_unread},
};

static void add_devices(const struct audit *audit, struct text *out)
{
    for (size_t row = 0; row < ARRAY_SIZE(device_rows); row++) {
        exposition_family(out, device_rows[row].name, "gauge", device_rows[row].help);
        for (size_t i = 0; i < audit->n_devices; i++) {
            const struct device_labels device = label_device(audit, i);

            const double value = device_rows[row].value(audit, i);

            if (value > UNKNOWN)
                exposition_sample(out, device_rows[row].name, value, "gpu", device.index, "uuid",
                                  device.uuid, NULL);
        }
    }
}

/* --- violations --- */

static void add_violations(const struct violations *violations, struct text *out)
{
    static const char now[] = "gpuslice_audit_finding", ever[] = "gpuslice_audit_findings_total";

    exposition_family(out, now, "gauge",
                      "Constant 1 for each finding that lasts, labelled by what is wrong.");
    for (size_t i = 0; i < violations->n; i++) {
        const struct violation *one = &violations->items[i];

        if (one->has_begun && one->verdict != AUDIT_UNKNOWN)
            exposition_sample(out, now, 1, "finding", audit_verdict_name(one->verdict), "uuid",
                              one->device, "namespace", one->owner.namespace_, "pod",
                              one->owner.pod, "pod_uid", one->owner.pod_uid, "container",
                              one->owner.container, NULL);
    }
    exposition_family(out, ever, "counter", "Findings that have begun, by what is wrong.");
    for (int i = 0; i < N_AUDIT_VERDICTS; i++)
        if (audit_verdict_is_wrong((enum audit_verdict)i))
            exposition_sample(out, ever, (double)violations->n_begun[i], "finding",
                              audit_verdict_name((enum audit_verdict)i), NULL);
}

static void add_counters(const struct auditmetrics *metrics, struct text *out)
{
    static const char audits[] = "gpuslice_audits_total", kills[] = "gpuslice_audit_kills_total";

    exposition_family(out, audits, "counter", "Audits of this node.");
    exposition_sample(out, audits, (double)metrics->n_audits, "result", "done", NULL);
    exposition_sample(out, audits, (double)metrics->n_failed, "result", "failed", NULL);
    exposition_family(out, kills, "counter", "Processes of pods that were to be killed.");
    exposition_sample(out, kills, (double)metrics->n_killed, "result", "killed", NULL);
    exposition_sample(out, kills, (double)metrics->n_kills_failed, "result", "failed", NULL);
}

void auditmetrics_add(const struct auditmetrics *metrics, struct text *out)
{
    add_counters(metrics, out);
    add_violations(metrics->violations, out);
    if (metrics->is_expected) {
        exposition_family(out, "gpuslice_audit_age_seconds", "gauge",
                          "Since the last audit, or since the start.");
        exposition_sample(out, "gpuslice_audit_age_seconds", metrics->age_s, NULL);
    }
    if (!metrics->audit)
        return;
    add_devices(metrics->audit, out);
    add_uses(metrics->audit, out);
}
