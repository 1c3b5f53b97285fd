// SPDX-License-Identifier: Apache-2.0
#include "cli/request.h"
#include "cli/verb.h"

#include <inttypes.h>

#include "arbiter/auditread.h"
#include "arbiter/procfs.h"
#include "base/text.h"
#include "cli/emit.h"
#include "cli/paths.h"
#include "cli/table.h"
#include "cli/target.h"

#define MIB (UINT64_C(1) << 20)

/* --- observe --- */

/* Beside a kubelet that has not met a device plugin there is none, nor without a kubelet. */
static void report_no_checkpoint(const struct places *places)
{
    complain("there is no %s in %s, so no pod is known to have a slice; set --root to the root of "
             "the node's files",
             KUBELETCHECKPOINT_NAME, places->plugin_dir);
}

static int observe(const char *root, struct target *target, struct usage *used, struct audit *audit,
                   struct error *err)
{
    cleanup_podrecords struct podrecords records = PODRECORDS_INIT;
    const struct localgrants none = LOCALGRANTS_INIT;
    struct places places;
    int r = target_observe_usage(target, used, err);

    if (r < 0)
        return error_wrap(err, r, "cannot query this machine's driver");
    r = places_find_below(root, paths_state_dir(), &places, err);
    if (r == 0)
        r = podrecords_read(&places, &records, err);
    if (r < 0)
        return r;
    if (!records.has_checkpoint)
        report_no_checkpoint(&places);
    r = auditread(root, &none, &target->inventory, used, &records, audit);
    return r < 0 ? error_set_errno(err, r, "cannot audit this node") : 0;
}

/* --- report --- */

static json_t *known(uint64_t bytes)
{
    return bytes ? json_integer((json_int_t)bytes) : json_null();
}

static const char *word(const char *text)
{
    return *text ? text : NULL;
}

static json_t *use_tree(const struct audit *audit, const struct audit_use *use)
{
    cleanup_text struct text finding = TEXT_INIT;

    audit_add_finding(audit, use, &finding);
    return json_pack(
        "{s:s, s:s?, s:s?, s:s?, s:s?, s:s?, s:I, s:I, s:s?, s:I, s:o, s:o, s:b, s:s, s:s?}",
        "device", audit->devices[use->device].device.uuid, "namespace", word(use->owner.namespace_),
        "pod", word(use->owner.pod), "container", word(use->owner.container), "pod_uid",
        word(use->owner.pod_uid), "process", word(use->owner.process), "pid", (json_int_t)use->pid,
        "processes", (json_int_t)use->n_processes, "resource", word(use->resource), "slices",
        (json_int_t)use->n_slices, "used_bytes", json_integer((json_int_t)use->used_bytes),
        "limit_bytes", known(use->limit_bytes), "is_complete", !use->is_used_partly, "verdict",
        audit_verdict_name(use->verdict), "problem", word(text_string(&finding)));
}

static void print_json(const struct audit *audit)
{
    cleanup(json_decrefp) json_t *tree =
        json_pack("{s:[], s:[], s:I, s:I}", "devices", "uses", "pods", (json_int_t)audit->n_pods,
                  "pods_over", (json_int_t)audit->n_pods_over);

    for (size_t i = 0; i < audit->n_devices; i++) {
        const struct audit_device *device = &audit->devices[i];
        char index[DEVICE_INDEX_SIZE];

        device_format_index(&device->device, device->gpu_index, index, sizeof(index));
        json_array_append_new(
            json_object_get(tree, "devices"),
            json_pack("{s:s, s:s, s:o, s:I, s:b}", "uuid", device->device.uuid, "index", index,
                      "memory_bytes", known(device->device.mem_total_bytes), "used_bytes",
                      (json_int_t)device->used_bytes, "is_complete", !device->is_used_partly));
    }
    for (size_t i = 0; i < audit->n_uses; i++)
        json_array_append_new(json_object_get(tree, "uses"), use_tree(audit, &audit->uses[i]));
    emit_json(stdout, tree);
}

static void add_owner(struct table *table, const struct audit_use *use)
{
    const struct audit_owner *owner = &use->owner;

    if (*owner->pod)
        table_add(table, "%s/%s", owner->namespace_, owner->pod);
    else if (*owner->pod_uid)
        table_add(table, "pod %s", owner->pod_uid);
    else
        table_add(table, "process %" PRIu32 " (%s)", use->pid,
                  *owner->process ? owner->process : "?");
    table_add(table, "%s", *owner->container ? owner->container : "-");
}

static void add_row(struct table *table, const struct audit *audit, const struct audit_use *use)
{
    const struct audit_device *device = &audit->devices[use->device];
    cleanup_text struct text slices = TEXT_INIT;
    char index[DEVICE_INDEX_SIZE];

    device_format_index(&device->device, device->gpu_index, index, sizeof(index));
    audit_add_slices(use, &slices);
    table_add(table, "%s", index);
    add_owner(table, use);
    table_add(table, "%s", slices.length ? text_string(&slices) : "-");
    table_add(table, "%s%" PRIu64 " MiB", use->is_used_partly ? ">= " : "", use->used_bytes / MIB);
    if (use->limit_bytes)
        table_add(table, "%" PRIu64 " MiB", use->limit_bytes / MIB);
    else
        table_add(table, "-");
    table_add(table, "%zu", use->n_processes);
}

static void print_table(const struct audit *audit)
{
    cleanup_table struct table table = {
        .headings = {"GPU", "POD", "CONTAINER", "SLICES", "USED", "LIMIT", "PROCESSES"},
        .right = {false, false, false, false, true, true, true}};

    for (size_t i = 0; i < audit->n_uses; i++)
        add_row(&table, audit, &audit->uses[i]);
    if (table.n_cells)
        table_print(&table, stdout);
    printf("%zu of %zu pods use%s more GPU memory than their slices give.\n", audit->n_pods_over,
           audit->n_pods, audit->n_pods_over == 1 ? "s" : "");
}

static enum exit_status report_findings(const struct audit *audit, bool is_silent)
{
    enum exit_status status = EXIT_CLEAN;

    for (size_t i = 0; i < audit->n_uses; i++) {
        cleanup_text struct text finding = TEXT_INIT;

        audit_add_finding(audit, &audit->uses[i], &finding);
        if (!finding.length)
            continue;
        status = EXIT_WARNINGS;
        if (!is_silent)
            complain("%s", text_string(&finding));
    }
    return status;
}

static enum exit_status report_unread(const struct target *target, const struct usage *used)
{
    enum exit_status status = EXIT_CLEAN;

    for (size_t i = 0; i < used->n; i++) {
        if (!*used->of_gpus[i].unread)
            continue;
        status = EXIT_WARNINGS;
        complain("who uses GPU %u is not known: %s", target->inventory.gpus[i].index,
                 used->of_gpus[i].unread);
    }
    return status;
}

enum exit_status verb_audit(const struct request *request)
{
    cleanup_usage struct usage used = USAGE_INIT;
    cleanup_target struct target target = TARGET_INIT;
    cleanup_audit struct audit audit = AUDIT_INIT;
    const bool as_json = request_wants(request, "json");
    const char *root = request->root ? request->root : "";
    struct error err = ERROR_INIT;
    enum exit_status status;

    if (observe(root, &target, &used, &audit, &err) < 0) {
        complain("%s", error_text(&err));
        return EXIT_UNREADABLE;
    }
    status = report_findings(&audit, as_json);
    if (report_unread(&target, &used) != EXIT_CLEAN)
        status = EXIT_WARNINGS;
    if (!procfs_is_node(root)) {
        complain("%s/proc shows the processes of a container, and the driver tells of no others; "
                 "run this on the node, or in a pod with hostPID",
                 root);
        status = EXIT_WARNINGS;
    }
    if (as_json)
        print_json(&audit);
    else
        print_table(&audit);
    return status;
}
