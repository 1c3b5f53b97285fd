// SPDX-License-Identifier: Apache-2.0
#include "node/partitioner.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "node/gpuholders.h"
#include "node/partgpus.h"
#include "node/partrequest.h"
#include "node/partwait.h"
#include "slice/migstep.h"

struct partitioner {
    uv_timer_t look; /* the next time that something is looked at without a cause */
    const struct inventory *machine;
    const struct partitioner_backend *backend;
    void *owner;
    struct partgpus gpus;
    struct partwait wait;
    struct partrequest request;
    char wish[PARTITIONER_WISH_SIZE];         /* the last one: another begins without failures */
    char settled[PARTITIONER_WISH_SIZE];      /* the one of the last round that was not cut short */
    bool is_wanting;                          /* in this round, of some GPU; else */
    bool has_passed;                          /* what is wanted is not for some GPU; or */
    char resumed[PARTITIONER_WISH_SIZE + 64]; /* what was wanted of one in between; "" = of none */
    struct migreport report;
    uint64_t look_at_ms; /* the earliest of what has to be looked at again; UINT64_MAX = nothing */
};

/* --- what is withheld --- */

static void withhold(struct partitioner *p, struct partgpu *gpu, bool whole,
                     const struct mig_next *next)
{
    partgpus_withhold(&p->gpus, gpu, whole, next);
}

static void announce_withheld(struct partitioner *p)
{
    if (partgpus_take_withheld(&p->gpus))
        p->backend->on_withheld(p->owner);
}

void partitioner_mask(const struct partitioner *p, struct inventory *copy)
{
    if (p)
        partgpus_mask(&p->gpus, copy, p->backend->is_granted, p->owner);
}

void partitioner_add_waits(const struct partitioner *p, struct text *out)
{
    if (p)
        partgpus_add_waits(&p->gpus, p->machine, p->backend->wish(p->owner), out);
}

/* --- reports --- */

/* A finding about a GPU, in this round; NULL = there is nothing to say. */
static void note(struct partitioner *p, struct partgpu *own, enum migreport_state state,
                 const struct gpu *gpu, const char *before, const char *what)
{
    partgpu_report(own, &p->report, state, gpu, before, what);
}

static void conclude(struct partitioner *p)
{
    const bool resumes = *p->resumed && !p->is_wanting;
    const struct migreport_end end = {.work = p->request.is_busy ? p->request.work : MIGREPORT_IDLE,
                                      .still_fails = partgpus_have_failed(&p->gpus),
                                      .n_steps = p->request.n_steps,
                                      .is_for_none = p->has_passed && !p->is_wanting && !resumes,
                                      .wish = resumes ? p->resumed : p->backend->wish(p->owner)};
    const int r = migreport_conclude(&p->report, &end);
    const bool warns = migreport_warns(&p->report);

    if (r != 0)
        p->backend->on_state(p->owner);
    if (r != MIGREPORT_EVENT)
        return;
    log_event(warns ? LOG_WARNING : LOG_INFO, "MIG layout", "state",
              migreport_state_name(p->report.state), "reason", p->report.message, NULL);
    p->backend->on_event(warns, migreport_reason(&p->report), p->report.message, p->owner);
}

/* --- requests --- */

static void look_at(struct partitioner *p, uint64_t at_ms)
{
    if (at_ms < p->look_at_ms)
        p->look_at_ms = at_ms;
}

static uint64_t now_ms(const struct partitioner *p)
{
    return p->backend->now_ms(p->owner);
}

static void take_step(struct partitioner *p, struct partgpu *own, const struct mig_board *board,
                      const struct mig_step *step, enum migreport_work work)
{
    if (partrequest_step(&p->request, own, board, step, work) < 0)
        look_at(p, own->retry_at_ms);
}

static void examine(struct partitioner *p, struct partgpu *own)
{
    if (partrequest_examine(&p->request, own) < 0)
        look_at(p, own->retry_at_ms);
}

static void on_end(void *userdata)
{
    partitioner_touch(userdata);
}

/* --- one GPU --- */

static void settle(struct partitioner *p, struct partgpu *own, const struct gpu *gpu)
{
    withhold(p, own, false, NULL);
    partgpu_settle(own, &gpu->layout);
}

/* As it is wanted, or nothing is wanted of it. */
static void be_done(const struct partitioner *p, const struct gpu *gpu)
{
    if (p->backend->on_settled)
        p->backend->on_settled(gpu->uuid, p->owner);
}

static bool may_change(const struct partitioner *p)
{
    return p->backend->may_change(p->owner);
}

/* Nobody wants it otherwise, or it cannot be otherwise. A mode that was wanted and waits for a
 * reset would come with the next reboot all the same. Nothing is offered of a GPU in between. */
static void leave(struct partitioner *p, struct partgpu *own, const struct gpu *gpu,
                  const struct mig_board *board)
{
    const struct mig_step step = {.kind = MIG_STEP_SET_MODE, .enable = gpu->layout.enabled};
    const bool pends = gpu->layout.pending != gpu->layout.enabled;
    struct mig_want goal;

    if (migbegun_is_amid(p->backend->begun, gpu, board, &goal)) {
        withhold(p, own, true, NULL);
        return;
    }
    if (!pends || !migbegun_find(p->backend->begun, gpu->uuid)) {
        if (may_change(p))
            migbegun_drop(p->backend->begun, gpu->uuid);
        settle(p, own, gpu);
        return;
    }
    withhold(p, own, false, NULL);
    own->is_examined = false;
    if (!may_change(p))
        return;
    if (partgpu_backs_off(own, now_ms(p))) {
        look_at(p, own->retry_at_ms);
        return;
    }
    announce_withheld(p);
    take_step(p, own, board, &step, MIGREPORT_TAKES_BACK);
}

/* Who has gone is noticed by asking again: a process tells nobody that it ends. */
static void wait_for(struct partitioner *p, const struct partwait_way *way)
{
    partwait_for_holders(&p->wait, way, &p->gpus, &p->report);
    if (way->own->examine_at_ms <= now_ms(p))
        examine(p, way->own);
    else
        look_at(p, way->own->examine_at_ms);
}

/* A mode that changes takes all instances with it. */
static bool destroys(const struct mig_next *next)
{
    return next->step.kind != MIG_STEP_CREATE_GPU && next->step.kind != MIG_STEP_CREATE_COMPUTE;
}

/* A mode that waits for a reset is replaced by the current one: nothing in use changes. */
static bool takes_back(const struct mig_next *next, const struct gpu *gpu)
{
    return next->step.kind == MIG_STEP_SET_MODE && next->step.enable == gpu->layout.enabled;
}

/* With the ways to end a failure that lasts. */
static void note_progress(struct partitioner *p, struct partgpu *own, const struct gpu *gpu,
                          bool resumes)
{
    cleanup_text struct text text = TEXT_INIT;

    if (!own->n_failures) {
        note(p, own, MIGREPORT_PENDING, gpu, "is being partitioned", "");
        return;
    }
    text_add(&text, own->problem);
    if (own->is_amid && !resumes)
        text_add(&text, "; not offered until a retry succeeds, another layout is chosen, or none "
                        "(then what was there comes back)");
    note(p, own, MIGREPORT_FAILED, gpu, "cannot be partitioned: ", text_string(&text));
}

/* Withholds it, asks who uses it, and takes the step. Between the tries of a step that fails it is
 * offered, unless an earlier step has changed it. */
static void proceed(struct partitioner *p, struct partgpu *own, const struct gpu *gpu,
                    const struct mig_board *board, const struct mig_want *want,
                    const struct mig_next *next)
{
    const bool is_retry = own->n_failures || own->n_refusals;

    if (own->n_failures && partgpu_backs_off(own, now_ms(p))) {
        withhold(p, own, !partgpu_is_untouched(own, &gpu->layout), NULL);
        look_at(p, own->retry_at_ms);
        return;
    }
    withhold(p, own, !takes_back(next, gpu) || !partgpu_is_untouched(own, &gpu->layout), NULL);
    announce_withheld(p);
    if (destroys(next) && !takes_back(next, gpu) && !own->is_examined) {
        examine(p, own);
        return;
    }
    migbegun_note(p->backend->begun, gpu, board, want, p->backend->wish(p->owner));
    take_step(p, own, board, &next->step, is_retry ? MIGREPORT_RETRIES : MIGREPORT_STEPS);
}

/* It would end as they do, and pods can use it as it is. */
static bool is_spared(struct partitioner *p, struct partgpu *own, const struct gpu *gpu)
{
    const size_t n_stuck = partgpus_count_stuck(&p->gpus, p->machine);

    if (own->is_amid || n_stuck < PARTITIONER_STUCK || !partgpu_is_untouched(own, &gpu->layout))
        return false;
    withhold(p, own, false, NULL);
    note(p, own, MIGREPORT_PENDING, gpu, "waits until steps no longer fail on other GPUs", "");
    return true;
}

static bool takes_reboot(const struct partitioner *p, const struct partgpu *own,
                         const struct mig_next *next)
{
    return p->backend->reboot && own->needs_reboot && next->step.kind == MIG_STEP_RESET;
}

/* It is reported at the end of the round, with all that need it. False: the step is to be tried. */
static bool awaits_reboot(struct partitioner *p, const struct partgpu *own, const struct gpu *gpu,
                          const struct mig_next *next)
{
    return takes_reboot(p, own, next) && partwait_for_reboot(&p->wait, gpu);
}

/* What is known of who uses it; where it was not asked for, what we gave. */
static void collect_holders(const struct partitioner *p, const struct partgpu *own, size_t position,
                            struct gpuholders *holders)
{
    *holders = own->holders;
    gpuholders_add_grants(holders, p->machine, position, p->backend->is_granted, p->owner);
}

/* Until the cluster has told how it is to be, it may be halfway to another layout. */
static void await_wish(struct partitioner *p, struct partgpu *own, const struct gpu *gpu)
{
    own->is_unknown = true;
    withhold(p, own, true, NULL);
    note(p, own, MIGREPORT_STARTING, gpu, "", NULL);
}

static void be_as_wanted(struct partitioner *p, struct partgpu *own, const struct gpu *gpu,
                         bool resumes)
{
    migbegun_drop(p->backend->begun, gpu->uuid);
    settle(p, own, gpu);
    be_done(p, gpu);
    note(p, own, resumes ? MIGREPORT_NONE : MIGREPORT_SUCCESS, gpu, "", NULL);
}

/* Why what was begun, and nobody wants any more, cannot be finished; NULL = it may be. */
static const char *why_hopeless(const struct partitioner *p, const struct partgpu *own,
                                const struct mig_next *next)
{
    if (next->step.kind == MIG_STEP_IMPOSSIBLE)
        return next->reason;
    return own->n_failures >= PARTGPU_TRIES && !takes_reboot(p, own, next) ? own->problem : NULL;
}

static void turn_back(struct partitioner *p, struct partgpu *own, const struct gpu *gpu,
                      const struct mig_board *board, const char *why)
{
    char sentence[sizeof(own->problem) + 160];

    log_warning("a MIG layout that is no longer wanted cannot be finished", "gpu", gpu->uuid,
                "reason", why);
    if (migbegun_turn_back(p->backend->begun, gpu->uuid)) {
        note(p, own, MIGREPORT_PENDING, gpu, "is being partitioned", "");
        partgpu_forget(own);
        partitioner_touch(p);
        return;
    }
    snprintf(
        sentence, sizeof(sentence),
        "GPU %u is offered with the MIG devices that it has, since neither the layout that was "
        "begun nor the one before can be made: %s",
        gpu->index, why);
    p->backend->on_event(true, "MIGLayoutFailed", sentence, p->owner);
    migbegun_drop(p->backend->begun, gpu->uuid);
    partgpu_forget(own);
    own->is_amid = false;
    leave(p, own, gpu, board);
}

/* The way to what is wanted of it. */
static void approach(struct partitioner *p, struct partgpu *own, size_t position,
                     const struct mig_board *board, const struct mig_want *want, bool resumes)
{
    static const struct mig_board unread = {.n_slots = MIG_SLOTS_MAX};
    const struct gpu *gpu = &p->machine->gpus[position];
    struct gpuholders holders;
    struct mig_want goal;
    struct mig_next next;

    own->changes_mode = gpu->layout.enabled != want->enabled;
    own->is_amid = migbegun_is_amid(p->backend->begun, gpu, board, &goal);
    collect_holders(p, own, position, &holders);
    migstep_next(want->mode_only && !board->n_slots ? &unread : board, &gpu->layout, want,
                 holders.instances, holders.n, &next);
    if (next.step.kind != MIG_STEP_WAIT)
        partgpus_set_waits(&p->gpus, own, NULL);
    if (next.step.kind == MIG_STEP_DONE) {
        be_as_wanted(p, own, gpu, resumes);
        return;
    }
    if (resumes && may_change(p) && why_hopeless(p, own, &next)) {
        turn_back(p, own, gpu, board, why_hopeless(p, own, &next));
        return;
    }
    if (next.step.kind == MIG_STEP_IMPOSSIBLE) {
        note(p, own, MIGREPORT_FAILED, gpu, "cannot have it: it ", next.reason);
        leave(p, own, gpu, board);
        return;
    }
    if (!may_change(p)) {
        await_wish(p, own, gpu);
        return;
    }
    if (gpu->layout.pending != gpu->layout.enabled && gpu->layout.pending == want->enabled)
        migbegun_note(p->backend->begun, gpu, board, want, p->backend->wish(p->owner));
    if (is_spared(p, own, gpu)) {
        partgpus_set_waits(&p->gpus, own, NULL);
    } else if (next.step.kind == MIG_STEP_WAIT) {
        wait_for(p, &(struct partwait_way){own, gpu, board, want, &holders, &next});
    } else if (!awaits_reboot(p, own, gpu, &next)) {
        note_progress(p, own, gpu, resumes);
        proceed(p, own, gpu, board, want, &next);
    }
    if (resumes)
        partgpus_set_waits(&p->gpus, own, NULL); /* nobody is to be evicted for it */
}

/* Nothing is wanted of it any more; but what was begun has to end somewhere. */
static bool is_resumed(struct partitioner *p, const struct gpu *gpu, const struct mig_board *board,
                       struct mig_want *ret_want)
{
    if (!migbegun_is_amid(p->backend->begun, gpu, board, ret_want))
        return false;
    snprintf(p->resumed, sizeof(p->resumed), "%s, which is no longer wanted but was begun,",
             migbegun_find(p->backend->begun, gpu->uuid)->wish);
    return true;
}

static void advance(struct partitioner *p, struct partgpu *own, size_t position)
{
    static const struct mig_board none;
    const struct gpu *gpu = &p->machine->gpus[position];
    const struct mig_board *board = inventory_board(p->machine, gpu);
    struct error err = ERROR_INIT;
    struct mig_want want;
    int r;

    board = board ? board : &none;
    r = p->backend->want(gpu, board, &want, &err, p->owner);
    own->is_unknown = false;
    p->has_passed |= r == PARTITIONER_PASSED;
    r = r == PARTITIONER_PASSED ? PARTITIONER_ADOPT : r;
    partgpus_note_wanted(&p->gpus, own, r != PARTITIONER_ADOPT);
    if (r == PARTITIONER_UNKNOWN && board != &none) {
        await_wish(p, own, gpu);
    } else if (r == 0) {
        p->is_wanting = true;
        approach(p, own, position, board, &want, false);
    } else if (r == PARTITIONER_ADOPT && is_resumed(p, gpu, board, &want)) {
        approach(p, own, position, board, &want, true);
    } else {
        if (r == PARTITIONER_ADOPT)
            be_done(p, gpu);
        partgpus_set_waits(&p->gpus, own, NULL);
        own->is_amid = false;
        note(p, own, r < 0 ? MIGREPORT_FAILED : MIGREPORT_NONE, gpu,
             "cannot have it: ", r < 0 ? error_text(&err) : NULL);
        leave(p, own, gpu, board);
    }
}

/* --- all GPUs --- */

/* What failed on the way to another layout says nothing about this one. */
static void note_wish(struct partitioner *p)
{
    const char *wish = p->backend->wish(p->owner);

    if (str_equal(wish, p->wish))
        return;
    snprintf(p->wish, sizeof(p->wish), "%s", wish);
    partgpus_forget(&p->gpus);
}

static void evaluate(struct partitioner *p)
{
    note_wish(p);
    migreport_begin(&p->report);
    partwait_begin(&p->wait);
    p->is_wanting = p->has_passed = false;
    p->resumed[0] = '\0';
    for (size_t i = 0; i < p->machine->n_gpus && !p->request.is_busy; i++) {
        const struct gpu *gpu = &p->machine->gpus[i];
        struct partgpu *own;

        if (!*gpu->uuid || *gpu->unusable)
            continue;
        own = partgpus_add(&p->gpus, gpu->uuid);
        if (own)
            advance(p, own, i);
        else
            log_error("out of memory for partitioning", "gpu", gpu->uuid);
    }
    if (!p->request.is_busy && p->backend->reboot)
        partwait_reboot(&p->wait, p->machine, &p->gpus, &p->report, p->backend->reboot, p->owner);
    announce_withheld(p);
    conclude(p);
    if (partgpus_take_waits(&p->gpus))
        p->backend->on_waits(p->owner);
    if (!p->request.is_busy && p->report.state != MIGREPORT_PENDING)
        partwait_end_for_clients(&p->wait);
    if (partwait_take_clients(&p->wait))
        p->backend->on_state(p->owner);
    if (p->request.is_busy)
        return;
    memcpy(p->settled, p->wish, sizeof(p->settled));
    p->backend->on_idle(p->owner);
}

static void on_look(uv_timer_t *timer)
{
    struct partitioner *p = timer->data;
    const uint64_t now = now_ms(p);

    if (p->request.is_busy)
        return; /* its end is a cause to look */
    p->look_at_ms = UINT64_MAX;
    evaluate(p);
    if (!p->request.is_busy && p->look_at_ms != UINT64_MAX &&
        (!uv_is_active((uv_handle_t *)timer) || uv_timer_get_due_in(timer) > 0))
        uv_timer_start(timer, on_look, p->look_at_ms > now ? p->look_at_ms - now : 1, 0);
}

void partitioner_touch(struct partitioner *p)
{
    if (p)
        uv_timer_start(&p->look, on_look, 0, 0);
}

/* --- life --- */

int partitioner_new(uv_loop_t *loop, const struct inventory *machine,
                    const struct partitioner_backend *backend, void *owner,
                    struct partitioner **ret_partitioner)
{
    struct partitioner *p = calloc(1, sizeof(*p));

    if (!p)
        return -ENOMEM;
    p->machine = machine;
    p->backend = backend;
    p->owner = owner;
    p->request.setup = (struct partrequest_setup){.machine = machine,
                                                  .gpus = &p->gpus,
                                                  .now_ms = backend->now_ms,
                                                  .pod_uid = backend->pod_uid,
                                                  .list_pods = backend->list_pods,
                                                  .change = backend->change,
                                                  .owner = owner,
                                                  .may_reboot = backend->reboot != NULL,
                                                  .on_end = on_end,
                                                  .userdata = p};
    uv_timer_init(loop, &p->look);
    p->look.data = p;
    *ret_partitioner = p;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct partitioner *p = handle->data;

    migreport_deinit(&p->report);
    partwait_deinit(&p->wait);
    partgpus_deinit(&p->gpus);
    free(p);
}

void partitioner_free(struct partitioner *p)
{
    if (p)
        uv_close((uv_handle_t *)&p->look, on_closed);
}

enum migreport_state partitioner_state(const struct partitioner *p)
{
    return p ? p->report.state : MIGREPORT_NONE;
}

/* Of the machine as it is now. */
static bool any_is_new(const struct partitioner *p)
{
    for (size_t i = 0; i < p->machine->n_gpus; i++) {
        const struct gpu *gpu = &p->machine->gpus[i];

        if (*gpu->uuid && !*gpu->unusable && !partgpus_find(&p->gpus, gpu->uuid))
            return true;
    }
    return false;
}

bool partitioner_is_settled(const struct partitioner *p)
{
    if (!p)
        return true;
    if (p->request.is_busy || any_is_new(p) || !str_equal(p->settled, p->backend->wish(p->owner)))
        return false;
    return p->report.state < MIGREPORT_STARTING || p->report.state == MIGREPORT_FAILED;
}

bool partitioner_waits_for_clients(const struct partitioner *p)
{
    return p && p->wait.for_clients;
}

static bool is_wanted_of(const struct partitioner *p, const struct gpu *gpu)
{
    static const struct mig_board none;
    const struct mig_board *board = inventory_board(p->machine, gpu);
    struct error err = ERROR_INIT;
    struct mig_want want;

    const int r = p->backend->want(gpu, board ? board : &none, &want, &err, p->owner);

    return r != PARTITIONER_ADOPT && r != PARTITIONER_PASSED;
}

bool partitioner_is_wanted(const struct partitioner *p)
{
    for (size_t i = 0; p && i < p->machine->n_gpus; i++)
        if (is_wanted_of(p, &p->machine->gpus[i]))
            return true;
    return false;
}

bool partitioner_is_wanted_of(const struct partitioner *p, const char *uuid)
{
    const struct gpu *gpu = p ? inventory_find(p->machine, uuid) : NULL;

    return gpu && is_wanted_of(p, gpu);
}

const char *partitioner_message(const struct partitioner *p)
{
    return p ? p->report.message : "";
}

struct partitioner_counters partitioner_counters(const struct partitioner *p)
{
    return p ? (struct partitioner_counters){p->request.n_steps, p->request.n_failed_steps}
             : (struct partitioner_counters){0};
}
