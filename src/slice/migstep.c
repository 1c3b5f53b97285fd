// SPDX-License-Identifier: Apache-2.0
#include "slice/migstep.h"

#include <stdio.h>
#include <string.h>

#include "slice/migheld.h"
#include "slice/migplan.h"

struct situation {
    const struct mig_board *board;
    const struct mig_layout *layout;
    const struct mig_want *want;
    const struct device_instance *held;
    size_t n_held;
    struct mig_held units;
};

static void block(const struct situation *s, uint32_t released, struct mig_next *next)
{
    for (uint32_t i = 0; i < s->n_held && next->n_blockers < MIG_BLOCKERS_MAX; i++)
        for (uint32_t u = 0; u < s->units.n_units; u++) {
            if (!(released >> u & 1) || !migheld_by(&s->held[i], &s->units.units[u]))
                continue;
            next->blockers[next->n_blockers++] = i;
            break;
        }
}

static void name_instance(const struct mig_board *board, const struct mig_instance *instance,
                          const struct mig_compute *compute, char name[DEVICE_PROFILE_SIZE])
{
    struct mig_kind kind;

    if (compute && migkind_of(board, instance, compute, &kind) == 0)
        migkind_format(board, kind, name);
    else
        snprintf(name, DEVICE_PROFILE_SIZE, "%s",
                 instance->profile < board->n_profiles ? board->profiles[instance->profile].name
                                                       : "unknown profile");
}

static void explain_wait(const struct situation *s, uint32_t released, struct mig_next *next)
{
    cleanup_text struct text list = TEXT_INIT;

    for (uint32_t i = 0; i < s->units.n_units; i++) {
        const struct mig_unit *unit = &s->units.units[i];
        const struct mig_instance *instance = &s->layout->instances[unit->instance];
        bool is_whole = unit->compute == DEVICE_NO_INSTANCE;
        char name[DEVICE_PROFILE_SIZE];

        if (!(released >> i & 1))
            continue;
        name_instance(s->board, instance, is_whole ? NULL : &instance->computes[unit->compute],
                      name);
        text_addf(&list, "%s%s in GPU instance %u", list.length ? ", " : "", name, instance->id);
    }
    next->step.kind = MIG_STEP_WAIT;
    snprintf(next->reason, sizeof(next->reason), "is in use where it has to change: %s",
             text_string(&list));
}

static void explain_impossible(const struct situation *s, struct mig_next *next)
{
    cleanup_text struct text wanted = TEXT_INIT, part = TEXT_INIT;
    uint64_t work = 0;
    struct mig_want largest;

    migfit_largest(s->board, NULL, 0, s->want, &work, &largest);
    migwant_add_text(s->board, s->want, &wanted);
    migwant_add_text(s->board, &largest, &part);
    next->step.kind = MIG_STEP_IMPOSSIBLE;
    /* That list can be of any length: last, so that nothing else is cut. */
    snprintf(next->reason, sizeof(next->reason),
             "has no room for all that is wanted; the most of it that fits is %s; wanted: %s",
             text_string(&part), text_string(&wanted));
}

static void list_going(const struct mig_layout *layout, const struct mig_subset *stays,
                       struct mig_next *next)
{
    for (uint32_t i = 0; i < layout->n_instances; i++)
        for (uint32_t j = 0; j < layout->instances[i].n_computes; j++)
            if (!(stays->computes[i] >> j & 1) && next->n_going < MIG_COMPUTES_MAX)
                next->going[next->n_going++] = (struct device_instance){
                    layout->instances[i].id, layout->instances[i].computes[j].id};
}

/* Compute instances before their GPU instances, and all that goes before anything that comes. A GPU
 * instance gets its compute instances before the next one is created. */
static struct mig_step first_step(const struct situation *s, const struct mig_plan *plan,
                                  const struct mig_next *next)
{
    const struct mig_layout *layout = s->layout;

    if (next->n_going)
        return (struct mig_step){.kind = MIG_STEP_DESTROY_COMPUTE,
                                 .instance = next->going[0].gpu,
                                 .compute = next->going[0].compute};
    for (uint32_t i = 0; i < layout->n_instances; i++)
        if (!(plan->stays.instances >> i & 1))
            return (struct mig_step){.kind = MIG_STEP_DESTROY_GPU,
                                     .instance = layout->instances[i].id};
    for (uint32_t i = 0; i < plan->n_computes; i++) {
        const struct mig_new_compute *new = &plan->computes[i];
        const struct mig_profile *profile = &s->board->profiles[new->profile];

        if (new->instance < MIG_INSTANCES_MAX)
            return (struct mig_step){
                .kind = MIG_STEP_CREATE_COMPUTE,
                .instance = layout->instances[new->instance].id,
                .profile = new->profile,
                .compute_profile = new->compute,
                .start = profile->computes[new->compute].starts ? new->start : MIG_START_ANY};
    }
    return (struct mig_step){.kind = MIG_STEP_CREATE_GPU,
                             .profile = plan->fit.spots[0].profile,
                             .start = s->board->profiles[plan->fit.spots[0].profile].starts
                                          ? plan->fit.spots[0].start
                                          : MIG_START_ANY};
}

static void step_devices(struct situation *s, struct mig_next *next)
{
    uint32_t released;
    uint64_t work = 0;
    struct mig_subset stay;
    struct mig_plan plan;

    migheld_collect(s->layout, s->held, s->n_held, &s->units);
    if (migheld_fewest(s->board, s->layout, s->want, &s->units, &work, &released)) {
        explain_impossible(s, next);
        return;
    }
    stay = migheld_stay(&s->units, released);
    if (migplan_make(s->board, s->layout, s->want, &stay, &work, &plan))
        return;
    list_going(s->layout, &plan.stays, next);
    next->n_steps = plan.n_steps;
    if (released) {
        block(s, released, next);
        explain_wait(s, released, next);
    } else if (plan.n_steps) {
        next->step = first_step(s, &plan, next);
    }
}

/* Mode changes and resets concern the whole GPU. False: something holds it. */
static bool is_idle(const struct situation *s, struct mig_next *next)
{
    for (uint32_t i = 0; i < s->n_held && i < MIG_BLOCKERS_MAX; i++)
        next->blockers[next->n_blockers++] = i;
    if (!s->n_held)
        return true;
    next->step.kind = MIG_STEP_WAIT;
    snprintf(next->reason, sizeof(next->reason),
             "is in use, and its MIG mode changes only while it is not");
    return false;
}

static bool fits_empty(const struct situation *s)
{
    struct mig_fit fit;
    uint64_t work = 0;

    return s->want->mode_only || migfit_place_want(s->board, NULL, 0, s->want, &work, &fit) == 0;
}

/* The current mode, or the one after a reset, is another than the wanted one. */
static void step_mode(struct situation *s, struct mig_next *next)
{
    static const struct mig_want nothing = {.enabled = true};
    const struct mig_layout *layout = s->layout;

    if (layout->enabled == s->want->enabled) {
        /* takes back a change that waits for a reset */
        next->step = (struct mig_step){.kind = MIG_STEP_SET_MODE, .enable = s->want->enabled};
        return;
    }
    if (s->want->enabled && !fits_empty(s)) {
        explain_impossible(s, next);
        return;
    }
    if (layout->enabled)
        list_going(layout, &(struct mig_subset){0}, next);
    if (!is_idle(s, next))
        return;
    if (layout->enabled && layout->n_instances) {
        next->n_going = 0;
        s->want = &nothing;
        step_devices(s, next);
    } else if (layout->pending != s->want->enabled) {
        next->step = (struct mig_step){.kind = MIG_STEP_SET_MODE, .enable = s->want->enabled};
    } else {
        next->step.kind = MIG_STEP_RESET;
    }
}

static uint32_t count_computes(const struct mig_layout *layout)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < layout->n_instances; i++)
        n += layout->instances[i].n_computes;
    return n;
}

void migstep_next(const struct mig_board *board, const struct mig_layout *actual,
                  const struct mig_want *want, const struct device_instance *held, size_t n_held,
                  struct mig_next *ret_next)
{
    struct situation s = {
        .board = board, .layout = actual, .want = want, .held = held, .n_held = n_held};

    memset(ret_next, 0, sizeof(*ret_next));
    if (!board->n_slots && want->enabled) {
        ret_next->step.kind = MIG_STEP_IMPOSSIBLE;
        snprintf(ret_next->reason, sizeof(ret_next->reason), "cannot be partitioned");
    } else if (count_computes(actual) > MIG_COMPUTES_MAX) {
        ret_next->step.kind = MIG_STEP_IMPOSSIBLE;
        snprintf(ret_next->reason, sizeof(ret_next->reason),
                 "has %u compute instances by its driver's account, and at most %d are possible",
                 count_computes(actual), MIG_COMPUTES_MAX);
    } else if (actual->enabled != want->enabled || actual->pending != want->enabled) {
        step_mode(&s, ret_next);
    } else if (want->enabled && !want->mode_only) {
        step_devices(&s, ret_next);
    }
}

static struct mig_instance *find_instance(struct mig_layout *layout, uint32_t id)
{
    for (uint32_t i = 0; i < layout->n_instances; i++)
        if (layout->instances[i].id == id)
            return &layout->instances[i];
    return NULL;
}

static uint32_t set_of(uint32_t start, uint32_t size)
{
    if (start > MIG_SLOTS_MAX || size > MIG_SLOTS_MAX)
        return 0;
    return ((1U << size) - 1) << start;
}

/* The lowest free place of that size. */
static uint32_t choose_start(uint32_t occupied, uint32_t size)
{
    uint32_t start = 0;

    while (start < MIG_SLOTS_MAX && occupied & set_of(start, size))
        start++;
    return start;
}

static uint32_t gpu_start(const struct mig_board *board, const struct mig_step *step,
                          const struct mig_layout *layout)
{
    uint32_t occupied = 0;

    if (step->start != MIG_START_ANY)
        return step->start;
    for (uint32_t i = 0; i < layout->n_instances; i++)
        if (layout->instances[i].profile < board->n_profiles)
            occupied |= set_of(layout->instances[i].start,
                               board->profiles[layout->instances[i].profile].slots);
    return choose_start(occupied, board->profiles[step->profile].slots);
}

static uint32_t compute_start(const struct mig_ci_profile *profile, const struct mig_step *step,
                              const struct mig_instance *instance)
{
    uint32_t occupied = 0;

    if (step->start != MIG_START_ANY)
        return step->start;
    for (uint32_t i = 0; i < instance->n_computes; i++)
        occupied |= set_of(instance->computes[i].start, instance->computes[i].slices);
    return choose_start(occupied, profile->slices);
}

/* Ids are in rising order, here and below, so the first gap is the lowest free one. */
static void create_gpu(const struct mig_board *board, const struct mig_step *step,
                       struct mig_layout *layout)
{
    uint32_t at = 0, start = gpu_start(board, step, layout);

    if (layout->n_instances == MIG_INSTANCES_MAX)
        return;
    while (at < layout->n_instances && layout->instances[at].id <= at)
        at++;
    memmove(&layout->instances[at + 1], &layout->instances[at],
            (layout->n_instances - at) * sizeof(*layout->instances));
    layout->instances[at] =
        (struct mig_instance){.id = at, .profile = step->profile, .start = start};
    layout->n_instances++;
}

static void create_compute(const struct mig_board *board, const struct mig_step *step,
                           struct mig_instance *instance)
{
    const struct mig_ci_profile *profile =
        &board->profiles[step->profile].computes[step->compute_profile];
    uint32_t at = 0, start = compute_start(profile, step, instance);

    if (instance->n_computes == MIG_INSTANCES_MAX)
        return;
    while (at < instance->n_computes && instance->computes[at].id <= at)
        at++;
    memmove(&instance->computes[at + 1], &instance->computes[at],
            (instance->n_computes - at) * sizeof(*instance->computes));
    instance->computes[at] = (struct mig_compute){
        .id = at, .profile = step->compute_profile, .start = start, .slices = profile->slices};
    instance->n_computes++;
}

static void destroy_compute(struct mig_instance *instance, uint32_t id)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < instance->n_computes; i++)
        if (instance->computes[i].id != id)
            instance->computes[kept++] = instance->computes[i];
    instance->n_computes = kept;
}

static void destroy_gpu(struct mig_layout *layout, uint32_t id)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < layout->n_instances; i++)
        if (layout->instances[i].id != id)
            layout->instances[kept++] = layout->instances[i];
    layout->n_instances = kept;
}

void migstep_apply(const struct mig_board *board, const struct mig_step *step, bool needs_reset,
                   struct mig_layout *layout)
{
    struct mig_instance *instance = find_instance(layout, step->instance);

    switch (step->kind) {
    case MIG_STEP_SET_MODE:
        layout->pending = step->enable;
        layout->enabled = needs_reset ? layout->enabled : step->enable;
        break;
    case MIG_STEP_RESET:
        layout->enabled = layout->pending;
        layout->n_instances = 0;
        break;
    case MIG_STEP_DESTROY_COMPUTE:
        if (instance)
            destroy_compute(instance, step->compute);
        break;
    case MIG_STEP_DESTROY_GPU:
        destroy_gpu(layout, step->instance);
        break;
    case MIG_STEP_CREATE_GPU:
        create_gpu(board, step, layout);
        break;
    case MIG_STEP_CREATE_COMPUTE:
        if (instance)
            create_compute(board, step, instance);
        break;
    case MIG_STEP_DONE:
    case MIG_STEP_WAIT:
    case MIG_STEP_IMPOSSIBLE:
        break;
    }
}

static const struct mig_compute *find_compute(const struct mig_instance *instance, uint32_t id)
{
    for (uint32_t i = 0; i < instance->n_computes; i++)
        if (instance->computes[i].id == id)
            return &instance->computes[i];
    return NULL;
}

static void name_step(const struct mig_board *board, const struct mig_layout *layout,
                      const struct mig_step *step, char name[DEVICE_PROFILE_SIZE])
{
    bool creates = step->kind == MIG_STEP_CREATE_COMPUTE || step->kind == MIG_STEP_CREATE_GPU;
    bool is_compute =
        step->kind == MIG_STEP_CREATE_COMPUTE || step->kind == MIG_STEP_DESTROY_COMPUTE;

    *name = '\0';
    for (uint32_t i = 0; !creates && i < layout->n_instances; i++)
        if (layout->instances[i].id == step->instance)
            name_instance(board, &layout->instances[i],
                          is_compute ? find_compute(&layout->instances[i], step->compute) : NULL,
                          name);
    if (creates && is_compute)
        migkind_format(board, (struct mig_kind){step->profile, step->compute_profile}, name);
    else if (creates)
        snprintf(name, DEVICE_PROFILE_SIZE, "%s", board->profiles[step->profile].name);
}

static void add_parent(const struct mig_board *board, const struct mig_layout *layout,
                       const struct mig_step *step, struct text *text)
{
    const struct mig_instance *parent = NULL;

    for (uint32_t i = 0; i < layout->n_instances; i++)
        if (layout->instances[i].id == step->instance)
            parent = &layout->instances[i];
    if (!step->is_ahead)
        text_addf(text, "GPU instance %u", step->instance);
    else if (parent && board->profiles[step->profile].starts)
        text_addf(text, "the GPU instance at memory slice %u", parent->start);
    else
        text_add(text, "the new GPU instance");
}

void migstep_add_text(const struct mig_board *board, const struct mig_layout *layout,
                      const struct mig_step *step, struct text *text)
{
    char name[DEVICE_PROFILE_SIZE];

    name_step(board, layout, step, name);
    switch (step->kind) {
    case MIG_STEP_DONE:
        text_add(text, "nothing to do");
        break;
    case MIG_STEP_SET_MODE:
        text_add(text, step->enable ? "enable MIG" : "disable MIG");
        break;
    case MIG_STEP_RESET:
        text_add(text, "reset the GPU");
        break;
    case MIG_STEP_DESTROY_COMPUTE:
        text_addf(text, "destroy compute instance %u of GPU instance %u (%s)", step->compute,
                  step->instance, name);
        break;
    case MIG_STEP_DESTROY_GPU:
        text_addf(text, "destroy GPU instance %u (%s)", step->instance, name);
        break;
    case MIG_STEP_CREATE_GPU:
        text_addf(text, "create a GPU instance %s", name);
        if (step->start != MIG_START_ANY)
            text_addf(text, " at memory slice %u", step->start);
        break;
    case MIG_STEP_CREATE_COMPUTE:
        text_addf(text, "create a compute instance %s in ", name);
        add_parent(board, layout, step, text);
        break;
    case MIG_STEP_WAIT:
        text_add(text, "wait for what is in use");
        break;
    case MIG_STEP_IMPOSSIBLE:
        text_add(text, "stop: not possible");
        break;
    }
}
