// SPDX-License-Identifier: Apache-2.0
#include "arbiter/statusdocument.h"

#include <jansson.h>

#include "arbiter/turnwords.h"
#include "limits/mode.h"
#include "proc/arbitermessage.h"

static json_t *known(uint64_t value)
{
    return value ? json_integer((json_int_t)value) : json_null();
}

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static const char *word(const char *text)
{
    return text && *text ? text : NULL;
}

/* --- a container --- */

static bool is_of_pod(const struct audit_use *use)
{
    return *use->owner.pod_uid != '\0';
}

static const struct limituse *find_limited(const struct statusdocument *status,
                                           const struct audit_use *use, const char *uuid)
{
    const size_t found = limituse_find(status->uses, status->n_uses, use, uuid);

    return found < status->n_uses ? &status->uses[found] : NULL;
}

/* NULL without memory. */
static json_t *account_tree(const struct limituse *limited)
{
    if (limited->is_ungranted)
        return json_pack("{s:b}", "is_unenforced", limituse_count_unenforced(limited) > 0);
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:b, s:b}", "charged_bytes",
                     number(limited->charged_bytes), "overhead_bytes",
                     number(limited->overhead_bytes), "peak_bytes", number(limited->peak_bytes),
                     "denials", number(limited->n_denied), "registered",
                     number(limited->n_registered), "is_unenforced",
                     limituse_count_unenforced(limited) > 0, "is_starved", limited->is_starved);
}

/* What the arbiter's account has of it; nothing where there is none. */
static void add_account(json_t *tree, const struct limituse *limited)
{
    json_t *account = limited ? account_tree(limited) : NULL;

    if (account)
        json_object_update_new(tree, account);
}

/* NULL bins: nobody waited. */
static json_t *wait_us(const struct claimspage_sum *claims, unsigned permille)
{
    const unsigned bin = claimspage_find_bin(claims, permille);

    return bin < CLAIMS_WAIT_BINS ? number(claimspage_bin_us(bin)) : json_null();
}

/* null: it takes no part. */
static json_t *turns_tree(const struct limituse *limited)
{
    const struct turns_view *turns = &limited->turns.turns;
    const struct claimspage_sum *claims = &limited->turns.claims;

    if (!limited->has_turns)
        return json_null();
    return json_pack(
        "{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:b, s:b, s:o}",
        "weight", turnwords_weight(turns->weight), "duty_ppm", number(turns->duty_ppm),
        "entitled_ns", number(turns->entitled_ns), "received_ns", number(turns->received_ns),
        "borrowed_ns", number(turns->borrowed_ns), "lent_ns", number(turns->lent_ns), "waited_ns",
        number(claims->waited_ns), "wait_p50_us", wait_us(claims, 500), "wait_p99_us",
        wait_us(claims, 990), "launched", number(claims->n_launched), "late",
        number(claims->n_late), "turns", number(turns->n_turns), "overdue_turns",
        number(turns->n_overdue), "is_overdue", turns->is_overdue, "is_capped", turns->is_capped,
        "is_suspect", turns->is_suspect, "group", known(limited->turns.group));
}

static void add_turns(json_t *tree, const struct limituse *limited)
{
    json_t *members = limited && !limited->is_ungranted
                          ? json_pack("{s:o, s:o, s:o}", "share_ppm", known(limited->share_ppm),
                                      "turns", turns_tree(limited), "unenforced_compute",
                                      number(limited->n_unenforced_compute))
                          : NULL;

    if (members)
        json_object_update_new(tree, members);
}

static json_t *container_tree(const struct statusdocument *status, const struct audit_use *use,
                              const char *uuid)
{
    const struct limituse *limited = find_limited(status, use, uuid);
    const uint64_t limit_bytes =
        limited && limited->limit_bytes ? limited->limit_bytes : use->limit_bytes;
    json_t *tree = json_pack(
        "{s:s?, s:s?, s:s?, s:s?, s:s?, s:o, s:o, s:o, s:b, s:o, s:s}", "namespace",
        word(use->owner.namespace_), "pod", word(use->owner.pod), "container",
        word(use->owner.container), "pod_uid", word(use->owner.pod_uid), "resource",
        word(use->resource), "slices", number(use->n_slices), "limit_bytes", known(limit_bytes),
        "used_bytes", number(use->used_bytes), "is_complete", !use->is_used_partly, "processes",
        number(use->n_processes), "verdict", audit_verdict_name(use->verdict));

    add_account(tree, limited);
    add_turns(tree, limited);
    return tree;
}

/* --- a device --- */

struct sums {
    uint64_t pods_bytes, others_bytes; /* of processes */
    size_t n_others;
};

/* What is used of a MIG device is used of its GPU. */
static bool is_on(const struct audit *audit, size_t used, size_t device)
{
    return used == device || (audit->devices[device].device.kind == DEVICE_WHOLE &&
                              audit->devices[used].device.gpu == audit->devices[device].device.gpu);
}

static struct sums sum_up(const struct audit *audit, size_t device)
{
    struct sums sums = {.n_others = 0};

    for (size_t i = 0; i < audit->n_uses; i++) {
        const struct audit_use *use = &audit->uses[i];

        if (!is_on(audit, use->device, device))
            continue;
        if (is_of_pod(use)) {
            sums.pods_bytes += use->used_bytes;
        } else {
            sums.others_bytes += use->used_bytes;
            sums.n_others += use->n_processes;
        }
    }
    return sums;
}

static uint64_t rest(uint64_t total, uint64_t taken)
{
    return taken < total ? total - taken : 0;
}

/* What is in use and belongs to no pod: also what no process is listed with. */
static void divide(const struct audit_device *device, const struct sums *sums,
                   uint64_t *ret_not_ours, uint64_t *ret_idle)
{
    const uint64_t total = rest(device->device.mem_total_bytes, device->device.mem_reserved_bytes);

    if (device->free_bytes) {
        *ret_idle = device->free_bytes;
        *ret_not_ours = rest(total, sums->pods_bytes + device->free_bytes);
        return;
    }
    *ret_not_ours = sums->others_bytes;
    *ret_idle = rest(total, sums->pods_bytes + sums->others_bytes);
}

/* By plan; 0: not measured. */
static json_t *progress_tree(const struct turns_state *state)
{
    json_t *tree = json_object();

    for (unsigned i = 0; i < TURNS_N_PLANS; i++)
        json_object_set_new(tree, turnwords_plan((enum turns_plan)i),
                            json_real(state->progress[i]));
    return tree;
}

/* What holds for all that share it; null: nobody takes part. */
static json_t *plan_tree(const struct statusdocument *status, const char *uuid)
{
    const struct turns_state *state = NULL;

    for (size_t i = 0; i < status->n_uses && !state; i++)
        if (status->uses[i].has_turns && str_equal(status->uses[i].uuid, uuid))
            state = &status->uses[i].turns.device;
    if (!state)
        return json_null();
    return json_pack("{s:s, s:s, s:s, s:b, s:o, s:o, s:o, s:o}", "plan",
                     turnwords_plan(state->plan), "reason", turnwords_reason(state->reason), "why",
                     turnwords_explain(state->reason), "is_probing", state->is_probing, "active",
                     number(state->n_active), "heavy", number(state->n_heavy), "trials",
                     number(state->n_trials), "progress", progress_tree(state));
}

static json_t *device_tree(const struct statusdocument *status, size_t place)
{
    const struct audit_device *device = &status->audit->devices[place];
    const struct sums sums = sum_up(status->audit, place);
    json_t *containers = json_array();
    char index[DEVICE_INDEX_SIZE];
    uint64_t not_ours, idle;

    divide(device, &sums, &not_ours, &idle);
    device_format_index(&device->device, device->gpu_index, index, sizeof(index));
    for (size_t i = 0; i < status->audit->n_uses; i++) {
        const struct audit_use *use = &status->audit->uses[i];

        if (use->device == place && is_of_pod(use))
            json_array_append_new(containers, container_tree(status, use, device->device.uuid));
    }
    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:o}", "uuid",
                     device->device.uuid, "index", index, "memory_bytes",
                     known(device->device.mem_total_bytes), "reserved_bytes",
                     number(device->device.mem_reserved_bytes), "not_ours_bytes", number(not_ours),
                     "not_ours_processes", number(sums.n_others), "idle_bytes",
                     device->device.mem_total_bytes ? number(idle) : json_null(), "is_complete",
                     !device->is_used_partly, "turns", plan_tree(status, device->device.uuid),
                     "containers", containers);
}

/* --- the node --- */

static json_t *devices_tree(const struct statusdocument *status)
{
    json_t *devices = json_array();

    for (size_t i = 0; status->audit && i < status->audit->n_devices; i++)
        json_array_append_new(devices, device_tree(status, i));
    return devices;
}

void statusdocument_add(const struct statusdocument *status, struct text *out)
{
    json_t *tree = json_pack(
        "{s:s, s:b, s:s?, s:s?, s:s?, s:s?, s:b, s:b, s:s?, s:s?, s:s?, s:s?, s:o, s:o}", "version",
        status->version, "has_limits", status->has_limits, "mode",
        status->has_limits ? limits_mode_name(status->mode) : NULL, "configured",
        status->has_limits ? limits_mode_name(status->wished) : NULL, "compute",
        status->has_limits ? limits_compute_name(status->compute) : NULL, "compute_configured",
        status->has_limits ? limits_compute_name(status->wished_compute) : NULL, "is_off",
        status->is_off, "is_overcommitted", status->overcommits, "library", word(status->library),
        "trouble", word(status->trouble), "unverified", word(status->unverified), "no_driver",
        word(status->no_driver), "age_seconds",
        status->audit ? json_real(status->age_s) : json_null(), "devices", devices_tree(status));
    char *text = tree ? json_dumps(tree, JSON_COMPACT) : NULL;

    json_decref(tree);
    if (text)
        text_add(out, text);
    else
        out->failed = true;
    free(text);
}
