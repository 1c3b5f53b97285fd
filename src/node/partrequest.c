// SPDX-License-Identifier: Apache-2.0
#include "node/partrequest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "gpu/migchange.h"
#include "node/gpuholders.h"
#include "node/stepreason.h"

enum { REASON_SIZE = sizeof(((struct gpu_changed *)NULL)->reason) };

static struct partgpu *gpu_of(const struct partrequest *request)
{
    return partgpus_find(request->setup.gpus, request->uuid);
}

static uint64_t now_ms(const struct partrequest *request)
{
    return request->setup.now_ms(request->setup.owner);
}

static void begin(struct partrequest *request, const struct partgpu *own, enum gpu_verb verb,
                  enum migreport_work work)
{
    request->is_busy = true;
    request->verb = verb;
    request->work = work;
    memcpy(request->uuid, own->uuid, sizeof(request->uuid));
}

static void end(struct partrequest *request)
{
    request->is_busy = false;
    request->setup.on_end(request->setup.userdata);
}

static int fail(struct partrequest *request, struct partgpu *own, const char *reason)
{
    request->is_busy = false;
    partgpu_fail(own, reason, now_ms(request));
    return -ENOMEM;
}

/* --- steps --- */

/* The hypervisor forbids it, nothing is there that could do it, or it fails each time. */
static bool is_impossible(const struct partgpu *gpu, enum gpu_verb verb, int outcome)
{
    if (verb != GPU_RESET || outcome == GPU_IN_USE)
        return false;
    return outcome == GPU_UNSUPPORTED || outcome == -ENOENT || outcome == -EPERM ||
           gpu->n_failures >= PARTGPU_TRIES;
}

static void word_reason(const struct partrequest *request, const char *reason,
                        char words[REASON_SIZE])
{
    static const struct gpu unknown;
    const struct gpu *gpu = inventory_find(request->setup.machine, request->uuid);

    stepreason_write(gpu ? gpu : &unknown, reason, words, REASON_SIZE);
}

static void note_failure(struct partrequest *request, struct partgpu *gpu,
                         const struct gpu_changed *changed)
{
    char reason[REASON_SIZE];

    word_reason(request, changed->reason, reason);
    if (!str_equal(gpu->problem, reason))
        log_warning("a step to another MIG layout failed", "gpu", gpu->uuid, "reason",
                    changed->reason);
    if (changed->outcome == GPU_IN_USE)
        partgpu_refuse(gpu, changed, now_ms(request));
    else
        partgpu_fail(gpu, reason, now_ms(request));
    gpu->needs_reboot = is_impossible(gpu, request->verb, changed->outcome);
    if (gpu->needs_reboot && !request->setup.may_reboot)
        snprintf(gpu->problem, sizeof(gpu->problem),
                 "%.250s; reboot the node, or let the agent do so (mig.reboot of the chart, "
                 "--mig-reboot)",
                 reason);
}

static void on_changed(const struct gpu_changed *changed, void *userdata)
{
    struct partrequest *request = userdata;
    const bool failed = changed->outcome != 0 && changed->outcome != GPU_RESET_PENDING;

    request->n_failed_steps += failed;
    if (failed)
        note_failure(request, gpu_of(request), changed);
    else
        partgpu_succeed(gpu_of(request));
    end(request);
}

int partrequest_step(struct partrequest *request, struct partgpu *own,
                     const struct mig_board *board, const struct mig_step *step,
                     enum migreport_work work)
{
    const struct partrequest_setup *setup = &request->setup;
    const struct gpu *gpu = inventory_find(setup->machine, own->uuid);
    const struct gpu_change change = migchange_of(gpu, board, step);
    cleanup_text struct text text = TEXT_INIT;

    migstep_add_text(board, &gpu->layout, step, &text);
    log_info("MIG layout: next step", "gpu", gpu->uuid, "step", text_string(&text));
    begin(request, own, change.verb, work);
    request->n_steps++;
    if (setup->change(&change, on_changed, request, setup->owner) == 0)
        return 0;
    request->n_failed_steps++;
    return fail(request, own, "out of memory for asking the driver");
}

/* --- questions --- */

static void on_found(const struct gpu_changed *found, void *userdata)
{
    struct partrequest *request = userdata;

    partgpu_found(gpu_of(request), found, now_ms(request));
    end(request);
}

/* A driver that cannot tell refuses to destroy what is in use. */
static void find_processes(struct partrequest *request)
{
    static const struct gpu_changed nobody;
    const struct partrequest_setup *setup = &request->setup;
    struct gpu_change question = {.verb = GPU_FIND_HOLDERS,
                                  .instance = {DEVICE_NO_INSTANCE, DEVICE_NO_INSTANCE}};

    memcpy(question.uuid, request->uuid, sizeof(question.uuid));
    if (setup->change(&question, on_found, request, setup->owner) < 0)
        on_found(&nobody, request);
}

static void on_pods(const struct podresources_list *list, void *userdata)
{
    struct partrequest *request = userdata;
    const struct partrequest_setup *setup = &request->setup;
    const struct gpu *gpu = inventory_find(setup->machine, request->uuid);
    struct partgpu *own = gpu_of(request);

    if (!gpu || !list->is_complete) {
        partgpu_fail(own, "the kubelet does not tell which pods use it", now_ms(request));
        end(request);
        return;
    }
    own->holders.n = 0;
    gpuholders_add_pods(&own->holders, setup->machine, (size_t)(gpu - setup->machine->gpus), list,
                        setup->pod_uid, setup->owner);
    find_processes(request);
}

int partrequest_examine(struct partrequest *request, struct partgpu *own)
{
    const struct partrequest_setup *setup = &request->setup;

    begin(request, own, GPU_FIND_HOLDERS, MIGREPORT_ASKS);
    own->was_withheld = own->is_withheld;
    if (setup->list_pods(on_pods, request, setup->owner) == 0)
        return 0;
    return fail(request, own, "out of memory for asking which pods use it");
}
