// SPDX-License-Identifier: Apache-2.0
#include "nvml/migstate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

const struct mig_board *migstate_board(const struct state *state, unsigned gpu)
{
    return &state->machine.gpus[gpu].model.mig;
}

void migstate_read(const struct state *state, unsigned gpu, struct mig_layout *ret_layout)
{
    migwords_read(&state->mig[gpu], migstate_board(state, gpu), ret_layout);
}

int migstate_refer(const struct state *state, unsigned gpu, uint32_t instance, uint32_t compute,
                   struct migstate_ref *ret_ref)
{
    const struct migwords *words = &state->mig[gpu];
    struct migstate_ref ref = {.gpu = gpu, .instance = instance, .compute = compute};

    if (!migwords_find(words, instance, MIGWORDS_NONE, &ref.generation) ||
        (compute != STATE_NO_INSTANCE &&
         !migwords_find(words, instance, compute, &ref.generation2)))
        return MIGSTATE_GONE;
    *ret_ref = ref;
    return 0;
}

struct mig_instance *migstate_resolve(const struct state *state, const struct migstate_ref *ref,
                                      struct mig_layout *layout, struct mig_compute **ret_compute)
{
    struct migstate_ref now;

    if (migstate_refer(state, ref->gpu, ref->instance, ref->compute, &now) != 0 ||
        now.generation != ref->generation || now.generation2 != ref->generation2)
        return NULL;
    migstate_read(state, ref->gpu, layout);
    for (uint32_t i = 0; i < layout->n_instances; i++) {
        struct mig_instance *instance = &layout->instances[i];

        if (instance->id != ref->instance)
            continue;
        if (ref->compute == STATE_NO_INSTANCE)
            return instance;
        for (uint32_t j = 0; j < instance->n_computes; j++)
            if (instance->computes[j].id == ref->compute) {
                *ret_compute = &instance->computes[j];
                return instance;
            }
    }
    return NULL;
}

/* One that computes on the whole GPU has all of it; a monitoring agent only has its node open. */
static bool holds_part(const struct state_process *p, uint32_t instance, uint32_t compute)
{
    if (p->gpu_instance == STATE_NO_INSTANCE)
        return p->kind != PROCESS_CLIENT;
    return p->gpu_instance == instance &&
           (compute == STATE_NO_INSTANCE || p->compute_instance == STATE_NO_INSTANCE ||
            p->compute_instance == compute);
}

/* A process that uses the GPU, or this part of it. */
static bool is_held(const struct state *state, unsigned gpu, uint32_t instance, uint32_t compute)
{
    for (unsigned i = 0; i < STATE_MAX_PROCESSES; i++) {
        const struct state_process *p = &state->processes[i];

        if (atomic_load(&p->pid) && p->gpu == gpu &&
            (instance == STATE_NO_INSTANCE || holds_part(p, instance, compute)))
            return true;
    }
    return false;
}

static int finish(struct state_file *file, int r)
{
    state_unlock(file);
    state_wake(file->state);
    return r;
}

static bool is_live(const struct state *state, unsigned gpu)
{
    return state->machine.gpus[gpu].model.architecture >= GPU_ARCHITECTURE_HOPPER;
}

static int set_mode(struct state *state, unsigned gpu, bool enabled)
{
    struct mig_layout layout;

    migstate_read(state, gpu, &layout);
    migwords_set_mode(&state->mig[gpu], layout.enabled, enabled);
    if (layout.enabled == enabled)
        return 0;
    if (layout.n_instances > 0 || is_held(state, gpu, STATE_NO_INSTANCE, STATE_NO_INSTANCE))
        return MIGSTATE_IN_USE;
    if (!is_live(state, gpu))
        return MIGSTATE_RESET_REQUIRED;
    migwords_set_mode(&state->mig[gpu], enabled, enabled);
    return 0;
}

int migstate_set_mode(struct state_file *file, unsigned gpu, bool enabled)
{
    const atomic_uint *mode = &file->state->mig[gpu].mode;
    unsigned before;
    int r;

    state_lock(file);
    before = atomic_load(mode);
    r = set_mode(file->state, gpu, enabled);
    if (atomic_load(mode) != before)
        state_add_change(file->state, gpu);
    return finish(file, r);
}

static int create(struct state *state, unsigned gpu, uint32_t profile, uint32_t wanted_start,
                  struct migstate_ref *ret_ref)
{
    const struct mig_board *board = migstate_board(state, gpu);
    struct mig_layout layout;
    uint32_t start = 0, id;
    int r;

    migstate_read(state, gpu, &layout);
    if (!layout.enabled)
        return MIGSTATE_OFF;
    r = migplace_find(board, &layout, profile, wanted_start, &start);
    if (r)
        return r;
    id = migplace_id(board, profile, start);
    if (id >= STATE_GPU_INSTANCES)
        return MIGSTATE_NO_ROOM;
    migwords_put(&state->mig[gpu], id, MIGWORDS_NONE, profile, start);
    state_add_change(state, gpu);
    return migstate_refer(state, gpu, id, STATE_NO_INSTANCE, ret_ref);
}

int migstate_create(struct state_file *file, unsigned gpu, uint32_t profile, uint32_t start,
                    struct migstate_ref *ret_ref)
{
    int r;

    state_lock(file);
    r = create(file->state, gpu, profile, start, ret_ref);
    return finish(file, r);
}

static int destroy(struct state *state, const struct migstate_ref *ref)
{
    struct mig_layout layout;
    struct mig_compute *none;
    const struct mig_instance *instance = migstate_resolve(state, ref, &layout, &none);

    if (!instance)
        return MIGSTATE_GONE;
    if (instance->n_computes > 0 || is_held(state, ref->gpu, ref->instance, STATE_NO_INSTANCE))
        return MIGSTATE_IN_USE;
    migwords_remove(&state->mig[ref->gpu], ref->instance, MIGWORDS_NONE);
    state_add_change(state, ref->gpu);
    return 0;
}

int migstate_destroy(struct state_file *file, const struct migstate_ref *ref)
{
    int r;

    state_lock(file);
    r = destroy(file->state, ref);
    return finish(file, r);
}

static int create_compute(struct state *state, const struct migstate_ref *ref, uint32_t profile,
                          uint32_t wanted_start, struct migstate_ref *ret_ref)
{
    struct mig_layout layout;
    struct mig_compute *none;
    struct mig_instance *instance = migstate_resolve(state, ref, &layout, &none);
    const struct mig_board *board = migstate_board(state, ref->gpu);
    uint32_t start = 0, id = 0;
    int r;

    if (!instance)
        return MIGSTATE_GONE;
    r = migplace_find_compute(board, instance, profile, wanted_start, &start);
    if (r)
        return r;
    while (id < instance->n_computes && instance->computes[id].id == id)
        id++;
    migwords_put(&state->mig[ref->gpu], ref->instance, id, profile, start);
    state_add_change(state, ref->gpu);
    return migstate_refer(state, ref->gpu, ref->instance, id, ret_ref);
}

int migstate_create_compute(struct state_file *file, const struct migstate_ref *instance,
                            uint32_t profile, uint32_t start, struct migstate_ref *ret_ref)
{
    int r;

    state_lock(file);
    r = create_compute(file->state, instance, profile, start, ret_ref);
    return finish(file, r);
}

int migstate_destroy_compute(struct state_file *file, const struct migstate_ref *ref)
{
    struct state *state = file->state;
    struct mig_layout layout;
    struct mig_compute *compute;
    int r = 0;

    state_lock(file);
    if (!migstate_resolve(state, ref, &layout, &compute)) {
        r = MIGSTATE_GONE;
    } else if (is_held(state, ref->gpu, ref->instance, ref->compute)) {
        r = MIGSTATE_IN_USE;
    } else {
        migwords_remove(&state->mig[ref->gpu], ref->instance, ref->compute);
        state_add_change(state, ref->gpu);
    }
    return finish(file, r);
}

int migstate_reset(struct state_file *file, unsigned gpu)
{
    struct state *state = file->state;

    if (atomic_load(&state->gpus[gpu].reset_refused))
        return MIGSTATE_RESET_REFUSED;
    if (is_held(state, gpu, STATE_NO_INSTANCE, STATE_NO_INSTANCE))
        return MIGSTATE_IN_USE;
    state_reset_gpu(file, gpu);
    return 0;
}

static uint64_t mix(uint64_t h, const char *text)
{
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * 0x100000001b3u;
    h = (h ^ h >> 32) * 0xd6e8feb86659fd93u;
    return h ^ h >> 29;
}

void migstate_uuid(const struct state *state, unsigned gpu, uint32_t instance, uint32_t compute,
                   char to[STATE_UUID])
{
    const char *uuid = state->machine.gpus[gpu].uuid;
    char seed[STATE_UUID];
    uint64_t a, b;

    if (strtoul(state->machine.driver, NULL, 10) < 470) {
        snprintf(to, STATE_UUID, "MIG-%s/%u/%u", uuid, instance, compute);
        return;
    }
    snprintf(seed, sizeof(seed), "%s/%u/%u", uuid, instance, compute);
    a = mix(0xcbf29ce484222325u, seed);
    b = mix(a, seed);
    snprintf(to, STATE_UUID, "MIG-%08x-%04x-5%03x-%04x-%012llx", (unsigned)(a >> 32),
             (unsigned)(a >> 16 & 0xffff), (unsigned)(a & 0xfff),
             (unsigned)(0x8000 | (b >> 48 & 0x3fff)), (unsigned long long)(b & 0xffffffffffffu));
}

bool migstate_find(const struct state *state, const char *uuid, unsigned *ret_gpu,
                   uint32_t *ret_instance, uint32_t *ret_compute)
{
    for (unsigned gpu = 0; gpu < state->machine.n_gpus; gpu++) {
        struct mig_layout layout;

        migstate_read(state, gpu, &layout);
        for (uint32_t i = 0; i < layout.n_instances; i++)
            for (uint32_t j = 0; j < layout.instances[i].n_computes; j++) {
                char own[STATE_UUID];

                migstate_uuid(state, gpu, layout.instances[i].id,
                              layout.instances[i].computes[j].id, own);
                if (strcasecmp(own, uuid) != 0)
                    continue;
                *ret_gpu = gpu;
                *ret_instance = layout.instances[i].id;
                *ret_compute = layout.instances[i].computes[j].id;
                return true;
            }
    }
    return false;
}

void migstate_name(const struct mig_profile *profile, uint32_t slices, char to[STATE_UUID])
{
    if (slices == profile->shape.gi_slices)
        snprintf(to, STATE_UUID, "%s", profile->name);
    else
        snprintf(to, STATE_UUID, "%uc.%s", slices, profile->name);
}
