// SPDX-License-Identifier: Apache-2.0
#include "node/partgpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"

void partgpu_init(struct partgpu *gpu, const char *uuid)
{
    memset(gpu, 0, sizeof(*gpu));
    snprintf(gpu->uuid, sizeof(gpu->uuid), "%s", uuid);
}

void partgpu_deinit(struct partgpu *gpu)
{
    free(TAKE_PTR(gpu->waits));
}

bool partgpu_set_waits(struct partgpu *gpu, char *waits)
{
    const bool changes = !str_equal(waits ? waits : "", gpu->waits ? gpu->waits : "");

    free(gpu->waits);
    gpu->waits = waits;
    return changes;
}

void partgpu_report(struct partgpu *own, struct migreport *report, enum migreport_state state,
                    const struct gpu *gpu, const char *before, const char *what)
{
    own->has_failed = state == MIGREPORT_FAILED;
    migreport_add(report, state, gpu, before, what);
}

/* --- what is withheld --- */

bool partgpu_withhold(struct partgpu *gpu, bool whole, const struct mig_next *next)
{
    const uint32_t n = whole || !next ? 0 : next->n_going;

    if (whole == gpu->is_withheld && n == gpu->n_going &&
        (!n || memcmp(gpu->going, next->going, n * sizeof(*gpu->going)) == 0))
        return false;
    gpu->is_withheld = whole;
    gpu->n_going = n;
    if (n)
        memcpy(gpu->going, next->going, n * sizeof(*gpu->going));
    return true;
}

bool partgpu_is_going(const struct partgpu *gpu, struct device_instance instance)
{
    for (uint32_t i = 0; i < gpu->n_going; i++)
        if (device_instances_overlap(gpu->going[i], instance))
            return true;
    return gpu->is_withheld;
}

bool partgpu_is_used(const struct partgpu *gpu, struct device_instance instance)
{
    for (size_t i = 0; i < gpu->holders.n; i++)
        if (device_instances_overlap(gpu->holders.instances[i], instance))
            return true;
    return false;
}

void partgpu_explain(const struct partgpu *gpu, char *text, size_t size)
{
    if (!gpu->is_withheld && !gpu->n_going)
        snprintf(text, size, "%s", "");
    else if (gpu->is_unknown)
        snprintf(text, size, "the cluster has not told yet how it is to be partitioned");
    else if ((size_t)snprintf(text, size, "it is being partitioned%s%s",
                              *gpu->problem ? ", which fails: " : "", gpu->problem) >= size)
        str_mark_cut(text, size);
}

/* --- how requests ended --- */

/* The delay before a retry, which doubles. */
static uint64_t back_off(uint64_t first_ms, unsigned n)
{
    const uint64_t delay_ms = first_ms << (n < 6 ? n : 6);

    return delay_ms < PARTGPU_RETRY_LAST_MS ? delay_ms : PARTGPU_RETRY_LAST_MS;
}

void partgpu_succeed(struct partgpu *gpu)
{
    gpu->needs_reboot = false;
    gpu->n_failures = 0;
    gpu->n_refusals = 0;
    gpu->problem[0] = '\0';
}

void partgpu_fail(struct partgpu *gpu, const char *reason, uint64_t now_ms)
{
    gpu->retry_at_ms = now_ms + back_off(PARTGPU_RETRY_FIRST_MS, gpu->n_failures++);
    gpu->is_examined = false;
    snprintf(gpu->problem, sizeof(gpu->problem), "%s", reason);
}

/* Whether a process that the driver does not name has gone is known by trying alone, so that is
 * done ever more rarely. */
void partgpu_refuse(struct partgpu *gpu, const struct gpu_changed *refusal, uint64_t now_ms)
{
    static const struct gpu_changed somebody = {
        .n_holders = 1, .holders = {{.instance = {DEVICE_NO_INSTANCE, DEVICE_NO_INSTANCE}}}};
    const bool is_named = refusal->n_holders > 0;

    gpu->holders.n = 0;
    gpuholders_add_processes(&gpu->holders, is_named ? refusal : &somebody, true);
    gpu->is_examined = false;
    gpu->n_failures = 0;
    gpu->problem[0] = '\0';
    gpu->n_refusers = refusal->n_holders;
    gpu->examine_at_ms = now_ms + back_off(PARTGPU_WAIT_MS, is_named ? 0 : gpu->n_refusals);
    gpu->retry_at_ms = gpu->examine_at_ms;
    gpu->n_refusals++;
}

bool partgpu_backs_off(const struct partgpu *gpu, uint64_t now_ms)
{
    return (gpu->n_failures || gpu->n_refusals) && gpu->retry_at_ms > now_ms;
}

/* Not each process that has the whole GPU open is in the way of a reset, so a reset is tried once,
 * and after a refusal not before one of those who were named with it has gone. */
static bool concerns_whole(const struct partgpu *gpu, const struct gpu_changed *found)
{
    return gpu->changes_mode && gpu->n_refusals && found->n_holders >= gpu->n_refusers;
}

void partgpu_found(struct partgpu *gpu, const struct gpu_changed *found, uint64_t now_ms)
{
    gpu->is_examined = gpu->was_withheld;
    gpu->examine_at_ms = now_ms + PARTGPU_WAIT_MS;
    gpuholders_add_processes(&gpu->holders, found, concerns_whole(gpu, found));
}

void partgpu_settle(struct partgpu *gpu, const struct mig_layout *layout)
{
    gpu->has_offered = true;
    gpu->offered = *layout;
    gpu->is_examined = false;
    gpu->holders.n = 0;
    gpu->examine_at_ms = 0;
    gpu->retry_at_ms = 0;
    partgpu_succeed(gpu);
}

void partgpu_forget(struct partgpu *gpu)
{
    gpu->has_failed = false;
    gpu->retry_at_ms = 0;
    partgpu_succeed(gpu);
}

bool partgpu_is_untouched(const struct partgpu *gpu, const struct mig_layout *layout)
{
    struct mig_layout offered = gpu->offered;

    offered.pending = layout->pending;
    return !layout->enabled || (gpu->has_offered && mig_layout_equal(&offered, layout));
}
