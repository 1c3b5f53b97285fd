// SPDX-License-Identifier: Apache-2.0
#include "nvml/timeshare.h"

#include <assert.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>

#include "base/clock.h"

enum { INDEX_BITS = 8, INDEX_MASK = (1 << INDEX_BITS) - 1 };

static_assert((int)TIMESHARE_BUFFERS <= (int)INDEX_MASK, "an index has to fit");
static_assert(sizeof(struct timeslice_context) == 80, "shared layout");
static_assert(sizeof(struct timeslices) == 80 + TIMESLICE_CONTEXTS * 80, "shared layout");

static unsigned index_of(uint64_t number)
{
    return (unsigned)(number & INDEX_MASK) % TIMESHARE_BUFFERS;
}

static void copy(struct timeslices *to, const struct timeslices *from)
{
    memcpy(to, from, offsetof(struct timeslices, contexts));
    if (to->n_contexts > TIMESLICE_CONTEXTS)
        to->n_contexts = 0;
    memcpy(to->contexts, from->contexts, to->n_contexts * sizeof(to->contexts[0]));
}

/* Of a machine that is new, the first buffer is current and all zero. */
static void read_copy(const struct timeslices *from, struct timeslices *to)
{
    copy(to, from);
    if (to->now_ns == 0)
        timeslice_init(to);
    timeslice_repair(to);
}

uint64_t timeshare_read(const struct timeshare *share, struct timeslices *ret_record)
{
    uint64_t number, again = atomic_load(&share->current);

    do {
        number = again;
        read_copy(&share->buffers[index_of(number)], ret_record);
        atomic_thread_fence(memory_order_seq_cst);
        again = atomic_load(&share->current);
    } while (again != number);
    timeslice_advance(ret_record, clock_now_ns());
    return number;
}

static bool take(atomic_ullong *owner, unsigned long long before, uint64_t self)
{
    return atomic_compare_exchange_strong(owner, &before, self);
}

/* A free buffer, which is this process's then. Never the current one: that has an owner, or is the
 * first of a new machine. */
static unsigned take_free(struct timeshare *share, uint64_t self)
{
    for (unsigned i = 0; i < TIMESHARE_BUFFERS; i++)
        if (i != index_of(atomic_load(&share->current)) && take(&share->owners[i], 0, self))
            return i;
    return TIMESHARE_BUFFERS;
}

/* One whose owner was killed before it could give it back. */
static unsigned take_abandoned(struct timeshare *share, const struct timeshare_clients *clients)
{
    for (unsigned i = 0; i < TIMESHARE_BUFFERS; i++) {
        unsigned long long owner = atomic_load(&share->owners[i]);

        if (owner && owner != clients->self && !clients->exist(clients->data, owner) &&
            i != index_of(atomic_load(&share->current)) &&
            take(&share->owners[i], owner, clients->self))
            return i;
    }
    return TIMESHARE_BUFFERS;
}

static unsigned take_buffer(struct timeshare *share, const struct timeshare_clients *clients)
{
    unsigned i;

    for (;;) {
        i = take_free(share, clients->self);
        if (i == TIMESHARE_BUFFERS)
            i = take_abandoned(share, clients);
        if (i < TIMESHARE_BUFFERS)
            return i;
        sched_yield();
    }
}

bool timeshare_publish(struct timeshare *share, uint64_t number, const struct timeslices *record,
                       const struct timeshare_clients *clients)
{
    const unsigned old = index_of(number);
    const uint64_t old_owner = atomic_load(&share->owners[old]);
    unsigned long long before = number;
    unsigned i = take_buffer(share, clients);

    atomic_thread_fence(
        memory_order_seq_cst); /* no reader may take what follows for the last one */
    copy(&share->buffers[i], record);
    if (!atomic_compare_exchange_strong(&share->current, &before,
                                        ((number >> INDEX_BITS) + 1) << INDEX_BITS | i)) {
        atomic_store(&share->owners[i], 0);
        return false;
    }
    (void)take(&share->owners[old], old_owner, 0); /* unless somebody already has it */
    return true;
}

uint64_t timeshare_kernels(const struct timeshare *share, const struct timeslices *record,
                           unsigned context)
{
    return atomic_load(&share->n_kernels[context]) - record->contexts[context].n_before;
}

void timeshare_of_client(const struct timeshare *share, uint64_t client, uint64_t *ret_received_ns,
                         uint64_t *ret_kernels)
{
    struct timeslices record;

    (void)timeshare_read(share, &record);
    *ret_received_ns = *ret_kernels = 0;
    for (unsigned i = 0; client && i < record.n_contexts; i++) {
        if (record.contexts[i].client != client)
            continue;
        *ret_received_ns += record.contexts[i].received_ns - record.contexts[i].origin_ns;
        *ret_kernels += timeshare_kernels(share, &record, i);
    }
}
