// SPDX-License-Identifier: Apache-2.0
#include "cli/migapply.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "cli/migholders.h"
#include "cli/migpods.h"
#include "cli/target.h"
#include "gpu/librarysearch.h"
#include "gpu/migchange.h"
#include "gpu/reset.h"
#include "slice/migstep.h"

enum { STEPS_MAX = 256, RESET_MS = 300000, NAMED_LENGTH = 250 };

static int open_session(struct migapply *apply, struct error *err)
{
    int r = librarysearch_open(&gpu_nvml, NULL, &apply->driver, err);

    if (r == 0)
        r = gpu_nvml.inventory(apply->driver, &apply->machine, err);
    return r == 0 ? target_know_boards(&apply->machine, err) : r;
}

static void close_session(struct migapply *apply)
{
    if (apply->driver)
        gpu_nvml.close(TAKE_PTR(apply->driver));
    inventory_deinit(&apply->machine);
}

int migapply_init(struct migapply *apply, struct error *err)
{
    return open_session(apply, err);
}

void migapply_deinit(struct migapply *apply)
{
    close_session(apply);
}

static int reopen(struct migapply *apply, struct error *err)
{
    close_session(apply);
    return open_session(apply, err);
}

/* Of that GPU, or (NULL) of all. */
static int look_again(struct migapply *apply, const char *uuid, struct error *err)
{
    int r = gpu_nvml.partitions(apply->driver, &apply->machine, uuid, err);

    return r == 0 ? target_know_boards(&apply->machine, err) : r;
}

static bool is_gpu_done(const struct migapply *apply, const struct gpu *gpu, bool mode_only)
{
    const struct mig_board *board = inventory_board(&apply->machine, gpu);
    struct mig_want want;
    int r = migchoice_want(apply->choice, &apply->machine, gpu, &want, NULL);

    if (r == MIGLABEL_NO_ENTRY || r == MIGLABEL_SKIPPED)
        return true;
    if (r < 0 || !board)
        return r == 0;
    want.mode_only = mode_only;
    return gpu->layout.pending == want.enabled && migwant_is_met(board, &want, &gpu->layout);
}

bool migapply_is_done(const struct migapply *apply, bool mode_only)
{
    bool done = true;

    for (size_t i = 0; i < apply->machine.n_gpus; i++)
        done &= is_gpu_done(apply, &apply->machine.gpus[i], mode_only);
    return done;
}

/* --- who uses it --- */

struct users {
    struct migholders holders; /* "pod default/train (MIG device 0:1)", "python (pid 12)" */
    struct gpu_changed found;  /* processes, also those that use no instance but watch the GPU */
};

static void users_deinit(struct users *users)
{
    migholders_deinit(&users->holders);
}
#define cleanup_users cleanup(users_deinit)

static void add_pod(struct device_instance instance, const char *who, const char *where,
                    void *userdata)
{
    cleanup_text struct text name = TEXT_INIT;

    text_addf(&name, "%s (%s)", who, where);
    migholders_add(userdata, instance, text_string(&name));
}

static void name_process(const struct gpu_holder *holder, struct text *text)
{
    text_addf(text, "%s (pid %u)", *holder->name ? holder->name : "a process", holder->pid);
}

/* Asked again before each step: a pod may have come meanwhile. */
static int find_users(struct migapply *apply, size_t gpu, struct users *users, struct error *err)
{
    cleanup_podrecords struct podrecords pods = PODRECORDS_INIT;
    struct gpu_change question = {.verb = GPU_FIND_HOLDERS,
                                  .instance = {DEVICE_NO_INSTANCE, DEVICE_NO_INSTANCE}};
    int r = podrecords_read(&apply->places, &pods, err);

    if (r < 0)
        return r;
    migpods_find(&pods, &apply->machine, gpu, add_pod, &users->holders);
    memcpy(question.uuid, apply->machine.gpus[gpu].uuid, sizeof(question.uuid));
    gpu_nvml.change(apply->driver, &question, &users->found);
    for (uint32_t i = 0; i < users->found.n_holders; i++) {
        const struct gpu_holder *holder = &users->found.holders[i];
        cleanup_text struct text name = TEXT_INIT;

        name_process(holder, &name);
        if (holder->instance.gpu != DEVICE_NO_INSTANCE)
            migholders_add(&users->holders, holder->instance, text_string(&name));
    }
    return 0;
}

/* Ends the sentence with "...: it is used by dcgm (pid 12), python (pid 3)". */
static int in_use(const struct gpu_changed *found, const char *what, struct error *err)
{
    cleanup_text struct text names = TEXT_INIT;

    for (uint32_t i = 0; i < found->n_holders && names.length < NAMED_LENGTH; i++) {
        text_add(&names, i ? ", " : "");
        name_process(&found->holders[i], &names);
    }
    return error_set(err, -EBUSY, "%s: it is used by %s", what,
                     names.length ? text_string(&names)
                                  : "a process that the driver does not name");
}

static int waits_for(const struct users *users, const struct mig_next *next, struct error *err)
{
    cleanup_text struct text names = TEXT_INIT;

    migholders_add_names(&users->holders, next->blockers, next->n_blockers, &names);
    return error_set(err, -EBUSY, "keeps its layout: it is used by %s", text_string(&names));
}

/* --- steps --- */

/* A reset needs every session closed, also ours. */
static int take(struct migapply *apply, const struct gpu_change *change, struct error *err)
{
    struct gpu_changed changed;
    int r;

    if (change->verb == GPU_RESET) {
        close_session(apply);
        reset_gpu(change->uuid, RESET_MS, &changed);
        r = open_session(apply, err);
    } else {
        gpu_nvml.change(apply->driver, change, &changed);
        r = change->verb == GPU_SET_MIG_MODE ? reopen(apply, err)
                                             : look_again(apply, change->uuid, err);
    }
    if (r < 0 || changed.outcome == 0 || changed.outcome == GPU_RESET_PENDING)
        return r;
    if (changed.outcome == GPU_IN_USE)
        return in_use(&changed, changed.reason, err);
    return error_set(err, -EIO, "cannot be partitioned: %s", changed.reason);
}

static const char *why_not_now(const struct mig_next *next)
{
    return next->step.kind == MIG_STEP_SET_MODE ? "its mode cannot change" : "it cannot be reset";
}

/* One step of one GPU, as long as *ret_more. */
static int step_gpu(struct migapply *apply, size_t i, bool mode_only, bool *ret_more,
                    struct error *err)
{
    const struct gpu *gpu = &apply->machine.gpus[i];
    const struct mig_board *board = inventory_board(&apply->machine, gpu);
    cleanup_users struct users users = {.holders.n = 0};
    struct gpu_change change;
    struct mig_next next;
    struct mig_want want;
    int r = migchoice_want(apply->choice, &apply->machine, gpu, &want, err);

    *ret_more = false;
    if (r != 0 || !board)
        return r < 0 ? r : 0;
    want.mode_only = mode_only;
    r = find_users(apply, i, &users, err);
    if (r < 0)
        return r;
    migstep_next(board, &gpu->layout, &want, users.holders.instances, users.holders.n, &next);
    if (next.step.kind == MIG_STEP_DONE)
        return 0;
    if (next.step.kind == MIG_STEP_IMPOSSIBLE)
        return error_set(err, -ENOENT, "%s", next.reason);
    if (next.step.kind == MIG_STEP_WAIT)
        return waits_for(&users, &next, err);
    if (next.step.kind == MIG_STEP_RESET && apply->skip_reset) {
        apply->n_pending++;
        apply->n_devices_pending += migwant_count(&want);
        return 0;
    }
    if ((next.step.kind == MIG_STEP_SET_MODE || next.step.kind == MIG_STEP_RESET) &&
        users.found.n_holders)
        return in_use(&users.found, why_not_now(&next), err);
    change = migchange_of(gpu, board, &next.step);
    if (apply->debug) {
        cleanup_text struct text text = TEXT_INIT;

        migstep_add_text(board, &gpu->layout, &next.step, &text);
        fprintf(stderr, "GPU %u: %s\n", gpu->index, text_string(&text));
    }
    *ret_more = true;
    return take(apply, &change, err);
}

static int run_gpu(struct migapply *apply, size_t i, bool mode_only, struct error *err)
{
    bool more = true;
    int r = look_again(apply, apply->machine.gpus[i].uuid, err);

    for (int n = 0; n < STEPS_MAX && more && r == 0; n++) {
        r = step_gpu(apply, i, mode_only, &more, err);
        if (r == 0 && i >= apply->machine.n_gpus)
            return error_set(err, -ENODEV, "has gone");
    }
    return r == 0 && more ? error_set(err, -ELOOP, "does not arrive in %d steps", STEPS_MAX) : r;
}

/* Why a GPU cannot have what is wanted of it, if nobody used it. 0, an outcome of miglabel.h, or a
 * negative errno. */
static int check_gpu(const struct migapply *apply, const struct gpu *gpu, struct error *err)
{
    const struct mig_board *board = inventory_board(&apply->machine, gpu);
    struct mig_next next;
    struct mig_want want;
    int r = migchoice_want(apply->choice, &apply->machine, gpu, &want, err);

    if (gpu->mig_capable && !board && !*gpu->unusable && r != MIGLABEL_NO_ENTRY)
        return error_set(err, -ENOENT,
                         "can be partitioned, but this driver does not tell how while MIG is off, "
                         "and the catalog does not know its model; switch MIG on with nvidia-smi");
    if (r != 0 || !board)
        return r;
    migstep_next(board, &gpu->layout, &want, NULL, 0, &next);
    return next.step.kind == MIG_STEP_IMPOSSIBLE ? error_set(err, -ENOENT, "%s", next.reason) : 0;
}

/* A label for all GPUs passes over those that cannot be partitioned, but not over all of them. */
int migapply_check(const struct migapply *apply, struct error *err)
{
    size_t n_skipped = 0, n_unable = 0, n = apply->machine.n_gpus;

    for (size_t i = 0; i < n; i++) {
        struct error why = ERROR_INIT;
        int r = check_gpu(apply, &apply->machine.gpus[i], &why);

        n_skipped += r == MIGLABEL_SKIPPED;
        n_unable += r < 0;
        if (r < 0)
            complain("GPU %u %s", apply->machine.gpus[i].index, error_text(&why));
    }
    if (n_skipped && n_skipped == n)
        return error_set(err, -ENOENT,
                         "no GPU here can be partitioned by MIG; sharing.timeSlicing shares them");
    if (n_unable)
        return error_set(err, -ENOENT,
                         "nothing was changed: %zu of %zu GPUs cannot have this layout", n_unable,
                         n);
    return 0;
}

int migapply_run(struct migapply *apply, bool mode_only, struct error *err)
{
    size_t n_failed = 0, n = apply->machine.n_gpus;
    int r = 0;

    for (size_t i = 0; i < apply->machine.n_gpus && apply->driver; i++) {
        struct error why = ERROR_INIT;
        const unsigned index = apply->machine.gpus[i].index;

        if (run_gpu(apply, i, mode_only, &why) == 0)
            continue;
        complain("GPU %u %s", index, error_text(&why));
        n_failed++;
    }
    if (apply->driver)
        r = look_again(apply, NULL, err);
    if (n_failed || !apply->driver)
        return error_set(err, -EIO, "%zu of %zu GPUs do not have the layout", n_failed, n);
    return r;
}
