// SPDX-License-Identifier: Apache-2.0
#include "cuda/engine.h"

#include <errno.h>
#include <time.h>

#include "base/clock.h"
#include "nvml/alive.h"
#include "nvml/client.h"
#include "nvml/state.h"

enum {
    /* A prediction holds while the others stay as they are; they end sooner when they are killed,
     * which is looked for this often. */
    LOOK_MS = 4 * TIMESLICE_SLICE_US / 1000,
    LOOK_ALONE_MS = 1000, /* others can only make it later */
};

#define MS UINT64_C(1000000)

static void sleep_until(uint64_t end_ns)
{
    const struct timespec at = {(time_t)(end_ns / 1000000000u), (long)(end_ns % 1000000000u)};

    cuda_leave();
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
        ;
    cuda_reenter();
}

static struct timeshare *share_of(const struct engine *engine)
{
    return &cuda_state()->shares[engine->device->index];
}

static bool publish(const struct engine *engine, uint64_t number, const struct timeslices *record)
{
    return client_publish(cuda_state(), engine->device->index, number, record);
}

/* Is it still in the record? Not when the machine was reset. */
static bool is_in(const struct engine *engine, const struct timeslices *record)
{
    const struct timeslice_context *c = &record->contexts[engine->index];

    return engine->state == ENGINE_SHARED && engine->index < record->n_contexts &&
           c->client == alive_self() && c->number == engine->number;
}

/* Takes away whose processes have ended: their slices are the others'. */
static bool sweep(const struct state *state, struct timeslices *record)
{
    bool found = false;

    for (unsigned i = 0; i < record->n_contexts; i++) {
        const struct timeslice_context *c = &record->contexts[i];

        if (!c->client || c->client == alive_self() || state_has_client(state, c->slot, c->client))
            continue;
        timeslice_leave(record, i);
        found = true;
    }
    return found;
}

/* Its clock goes on from what was given to it before. */
static unsigned join_record(struct engine *engine, struct timeslices *record)
{
    const struct state *state = cuda_state();
    struct timeslice_context self = {
        .client = alive_self(), .number = engine->number, .origin_ns = engine->given_ns};
    int slot = client_slot(state, engine->device->index);
    unsigned index;

    if (slot < 0)
        return TIMESLICE_NONE;
    self.slot = (uint32_t)slot;
    (void)sweep(state, record);
    index = timeslice_join(record, &self);
    if (index != TIMESLICE_NONE)
        record->contexts[index].n_before = atomic_load(&share_of(engine)->n_kernels[index]);
    return index;
}

/* With too many contexts of a device, the next ones have all of it. */
static bool join(struct engine *engine, struct timeslices *record)
{
    if (engine->state == ENGINE_ALONE)
        return false;
    if (is_in(engine, record))
        return true;
    engine->index = join_record(engine, record);
    engine->state = engine->index == TIMESLICE_NONE ? ENGINE_ALONE : ENGINE_SHARED;
    return engine->state == ENGINE_SHARED;
}

static uint64_t latest(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

uint64_t engine_give(struct engine *engine, uint64_t begin_ns, uint64_t duration_ns)
{
    struct timeslices record;
    uint64_t number, end;

    do {
        number = timeshare_read(share_of(engine), &record);
        if (!join(engine, &record))
            return latest(begin_ns, clock_now_ns()) + duration_ns;
        end = latest(begin_ns, record.contexts[engine->index].received_ns) + duration_ns;
        timeslice_give(&record, engine->index, end);
    } while (!publish(engine, number, &record));
    engine->given_ns = latest(engine->given_ns, end);
    return end;
}

/* When the clock will be there, or when to look again; 0: it is. */
static uint64_t predict(const struct engine *engine, uint64_t end_ns)
{
    const unsigned index = engine->index;
    struct timeslices record;
    uint64_t number;
    bool is_contested;

    number = timeshare_read(share_of(engine), &record);
    if (!is_in(engine, &record) || record.contexts[index].received_ns >= end_ns)
        return 0;
    is_contested = timeslice_is_contested(&record, index);
    if (is_contested && sweep(cuda_state(), &record))
        (void)publish(engine, number, &record);
    timeslice_advance_until(&record, index, end_ns,
                            record.now_ns + (is_contested ? LOOK_MS : LOOK_ALONE_MS) * MS);
    return record.now_ns;
}

void engine_wait(struct engine *engine, uint64_t end_ns)
{
    uint64_t until;

    if (engine->state == ENGINE_ALONE)
        sleep_until(end_ns);
    while (engine->state == ENGINE_SHARED && (until = predict(engine, end_ns)) > 0)
        sleep_until(until);
}

void engine_count_kernel(struct engine *engine)
{
    if (engine->state == ENGINE_NEW)
        (void)engine_give(engine, 0, 0);
    if (engine->state == ENGINE_SHARED)
        atomic_fetch_add(&share_of(engine)->n_kernels[engine->index], 1);
}

void engine_end(struct engine *engine)
{
    struct timeslices record;
    uint64_t number;

    while (engine->state == ENGINE_SHARED) {
        number = timeshare_read(share_of(engine), &record);
        if (!is_in(engine, &record))
            break;
        timeslice_leave(&record, engine->index);
        if (publish(engine, number, &record))
            break;
    }
    engine->state = ENGINE_NEW;
}
