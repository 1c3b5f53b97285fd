// SPDX-License-Identifier: Apache-2.0
#include "node/partwait.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"
#include "node/migwaits.h"
#include "slice/migmoves.h"

void partwait_deinit(struct partwait *wait)
{
    free(wait->needs);
    *wait = (struct partwait){.needs = NULL};
}

void partwait_begin(struct partwait *wait)
{
    wait->n_needs = 0;
    wait->for_pods = false;
}

/* --- for who uses a GPU --- */

static void set_for_clients(struct partwait *wait, bool for_clients)
{
    wait->clients_changed |= for_clients != wait->for_clients;
    wait->for_clients = for_clients;
}

void partwait_end_for_clients(struct partwait *wait)
{
    set_for_clients(wait, false);
}

bool partwait_take_clients(struct partwait *wait)
{
    const bool changed = wait->clients_changed;

    wait->clients_changed = false;
    return changed;
}

static void add_moves(const struct partwait_way *way, struct text *moves)
{
    const char *names[GPUHOLDERS_MAX];
    const struct migmoves_held held = {way->holders->instances, names, way->holders->n};

    for (size_t i = 0; i < held.n; i++)
        names[i] = way->holders->names[i];
    migmoves_add(way->board, &way->gpu->layout, way->want, &held, moves);
}

/*
 * While a pod has what has to go, its free parts are withheld: the kubelet would give them to the
 * next pod, and a busy GPU would never become free. A process that no pod of this node is, such as
 * a monitoring agent, may stay for good; the GPU is offered while it does.
 */
void partwait_for_holders(struct partwait *wait, const struct partwait_way *way,
                          struct partgpus *gpus, struct migreport *report)
{
    cleanup_text struct text names = TEXT_INIT, moves = TEXT_INIT;
    const struct mig_next *next = way->next;
    const bool is_foreign = gpuholders_are_foreign(way->holders, next->blockers, next->n_blockers);
    const bool is_offered = partgpu_is_untouched(way->own, &way->gpu->layout) && is_foreign;

    gpuholders_add_names(way->holders, next->blockers, next->n_blockers, &names);
    add_moves(way, &moves);
    wait->for_pods |= !is_foreign;
    set_for_clients(wait, is_foreign || wait->for_clients);
    partgpus_set_waits(gpus, way->own,
                       migwaits_of_gpu(way->gpu, way->holders, next->blockers, next->n_blockers));
    way->own->has_failed = false;
    migreport_add_wait(report, way->gpu, text_string(&names), text_string(&moves));
    /* A GPU with MIG off has no parts that could be offered meanwhile. */
    partgpus_withhold(gpus, way->own, !is_offered && !way->gpu->layout.enabled,
                      is_offered ? NULL : next);
    way->own->is_examined = false;
}

/* --- for a reboot --- */

bool partwait_for_reboot(struct partwait *wait, const struct gpu *gpu)
{
    struct rebooter_need *need =
        array_push(&wait->needs, &wait->n_needs, &wait->needs_capacity, sizeof(*need));

    if (!need)
        return false;
    memcpy(need->uuid, gpu->uuid, sizeof(need->uuid));
    need->enabled = gpu->layout.pending;
    return true;
}

/* One GPU that needs the reboot of which r is the state: an outcome of rebooter_need. */
static void report_gpu(struct migreport *report, struct partgpu *own, const struct gpu *gpu, int r,
                       const char *sentence)
{
    switch (r) {
    case 0:
        partgpu_report(own, report, MIGREPORT_REBOOTING, gpu,
                       "has the wanted MIG mode after a reboot of the node, which is under way",
                       "");
        return;
    case REBOOTER_WAITS:
        own->has_failed = false;
        migreport_add_wait(report, gpu, sentence, "; then the node is rebooted");
        return;
    case REBOOTER_LOOKS:
    case REBOOTER_QUIET:
        partgpu_report(own, report, MIGREPORT_PENDING, gpu, "needs a reboot of the node", "");
        return;
    default:
        partgpu_report(own, report, MIGREPORT_FAILED, gpu, "cannot be reset; ", sentence);
    }
}

/* Not before the modes of all GPUs wait for it: one that a pod has may need it next. While it waits
 * for pods a GPU that needs it is given to nobody, or the node would never be free; if there is no
 * reboot it is offered, unless a step has changed it. */
void partwait_reboot(struct partwait *wait, const struct inventory *machine, struct partgpus *gpus,
                     struct migreport *report,
                     int (*reboot)(const struct rebooter_need *needs, size_t n, struct error *err,
                                   void *owner),
                     void *owner)
{
    const size_t n = wait->for_pods ? 0 : wait->n_needs;
    struct error err = ERROR_INIT;
    int r = reboot(wait->needs, n, &err, owner);

    partgpus_withhold_all(gpus, n && (r == 0 || r == REBOOTER_QUIET));
    r = n ? r : REBOOTER_LOOKS;
    for (size_t i = 0; i < wait->n_needs; i++) {
        const struct gpu *gpu = inventory_find(machine, wait->needs[i].uuid);
        struct partgpu *own = partgpus_find(gpus, wait->needs[i].uuid);

        if (!own || !gpu)
            continue;
        partgpus_withhold(gpus, own, r >= 0 || !partgpu_is_untouched(own, &gpu->layout), NULL);
        report_gpu(report, own, gpu, r, error_text(&err));
    }
}
