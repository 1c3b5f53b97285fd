// SPDX-License-Identifier: Apache-2.0
#include "shim/overhead.h"

#include <errno.h>

#include "shim/amount.h"
#include "shim/reservation.h"

enum {
    WAITED_MS = 1000,    /* that readings are waited for on suspicion alone, and */
    WAITED_PART = 10,    /* which part of the time since the first suspicion */
    HIDDEN_READINGS = 2, /* the second one that ends began later for sure */
};

/* What is in the driver already may be as much beyond the limit. */
#define GRANULE_BYTES (UINT64_C(2) << 20)

/* A context without an arbiter that knows what it costs. */
#define CONTEXT_BYTES (UINT64_C(512) << 20)

/* --- contexts --- */

static uint64_t context_bytes(const struct uplink *uplink, const struct slot *slot)
{
    const struct limits_device *device = uplink_device(uplink, slot);
    const uint32_t mib = device ? limits_load(device->context_bytes_mib) : 0;

    return mib ? (uint64_t)mib << 20 : CONTEXT_BYTES;
}

bool overhead_enter(struct overhead *overhead, struct slot *slot)
{
    struct uplink *uplink = overhead->uplink;
    uint64_t granted;
    int r = -ENOTCONN;

    reservation_make_room(uplink, slot, context_bytes(uplink, slot));
    if (uplink->state == UPLINK_UP)
        r = slot->position < 0 ? 0 : uplink_ask(uplink, slot, LIMITS_ENTER, 0, 0, &granted);
    return r < 0 ? reservation_take_alone(uplink, slot, context_bytes(uplink, slot)) : r == 0;
}

void overhead_entered(struct overhead *overhead, struct slot *slot)
{
    if (overhead->uplink->state == UPLINK_UP)
        uplink_tell(overhead->uplink, slot, LIMITS_ENTERED, 0);
}

void overhead_left(struct overhead *overhead, struct slot *slot)
{
    struct uplink *uplink = overhead->uplink;

    if (uplink_is_alone(uplink))
        slot->allowance_bytes += context_bytes(uplink, slot);
    if (uplink->state == UPLINK_UP)
        uplink_tell(uplink, slot, LIMITS_LEFT, 0);
}

/* --- modules --- */

static bool is_told(const struct uplink *uplink, const struct slot *slot)
{
    return slot->position >= 0 && limits_knows(uplink->wire.revision, LIMITS_SHRANK);
}

uint64_t overhead_returned(struct overhead *overhead, struct slot *slot)
{
    struct uplink *uplink = overhead->uplink;
    uint64_t nothing;

    if (uplink->state == UPLINK_UP && is_told(uplink, slot))
        uplink_ask(uplink, slot, LIMITS_RESERVE, 0, 0, &nothing);
    return uplink->state == UPLINK_UP && is_told(uplink, slot)
               ? limits_load(uplink_device(uplink, slot)->returned_bytes)
               : 0;
}

/* As uplink_ask; an arbiter that does not take it sees it by its readings alone. */
static int tell_growth(struct uplink *uplink, struct slot *slot, uint64_t bytes,
                       uint64_t most_bytes, uint64_t *ret_reading)
{
    reservation_make_room(uplink, slot, most_bytes);
    if (uplink->state != UPLINK_UP)
        return -ENOTCONN;
    return is_told(uplink, slot)
               ? uplink_ask(uplink, slot, LIMITS_GREW, bytes, most_bytes, ret_reading)
               : 0;
}

/* An arbiter that tells what was returned takes what is suspected as that. */
static bool counts_hidden(const struct uplink *uplink, const struct slot *slot)
{
    return uplink->state == UPLINK_UP && is_told(uplink, slot) &&
           limits_load(uplink_device(uplink, slot)->returned_bytes) > 0;
}

static void hide(struct overhead *overhead, struct slot *slot, uint64_t bytes)
{
    if (bytes == 0 || !counts_hidden(overhead->uplink, slot))
        return;
    slot->hidden_bytes = amount_add(slot->hidden_bytes, bytes);
    slot->hidden_since = limits_load(overhead->uplink->wire.page->n_reading);
    if (!overhead->first_hidden_ms)
        overhead->first_hidden_ms = wire_now_ms();
}

/* What is hidden, if that and `bytes` may be beyond the limit, and there is time to wait. */
static uint64_t find_hidden(const struct overhead *overhead, struct slot *slot, uint64_t bytes)
{
    const struct uplink *uplink = overhead->uplink;

    if (slot->hidden_bytes == 0 || !counts_hidden(uplink, slot))
        return 0;
    if (limits_load(uplink->wire.page->n_reading) - slot->hidden_since >= HIDDEN_READINGS)
        slot->hidden_bytes = 0;
    if (uplink_free(uplink, slot) >= bytes + slot->hidden_bytes ||
        overhead->waited_ms > WAITED_MS + (wire_now_ms() - overhead->first_hidden_ms) / WAITED_PART)
        return 0;
    return slot->hidden_bytes;
}

/* In the eyes of the arbiter. */
static uint64_t overhead_of(const struct uplink *uplink, const struct slot *slot)
{
    const struct limits_device *device =
        uplink->state == UPLINK_UP ? uplink_device(uplink, slot) : NULL;

    return device ? limits_load(device->overhead_bytes) : 0;
}

/* Of what the driver took, and is about to take, and what may be hidden beside both. As uplink_ask.
 */
static int ask_beyond(struct overhead *overhead, struct slot *slot, uint64_t taken_bytes,
                      uint64_t more_bytes, struct overhead_pending *ret_pending)
{
    const uint64_t bytes = taken_bytes + more_bytes;
    int r = 0;

    *ret_pending = (struct overhead_pending){.bytes = find_hidden(overhead, slot, bytes),
                                             .overhead_bytes = overhead_of(overhead->uplink, slot)};
    if (taken_bytes + ret_pending->bytes > 0)
        r = tell_growth(overhead->uplink, slot, taken_bytes, bytes + ret_pending->bytes,
                        &ret_pending->reading);
    if (r != UPLINK_DENIED)
        ret_pending->reading = 0;
    return r;
}

bool overhead_grew(struct overhead *overhead, struct slot *slot, uint64_t bytes,
                   uint64_t hidden_bytes, struct overhead_pending *ret_pending)
{
    int r = -ENOTCONN;

    *ret_pending = (struct overhead_pending){0};
    hide(overhead, slot, hidden_bytes);
    if (overhead->uplink->state == UPLINK_UP)
        r = ask_beyond(overhead, slot, bytes, 0, ret_pending);
    if (r >= 0)
        return r == 0;
    if (reservation_take_alone(overhead->uplink, slot, bytes))
        return true;
    slot_spend(slot, bytes);
    return false;
}

void overhead_ask_hidden(struct overhead *overhead, struct slot *slot, uint64_t bytes,
                         struct overhead_pending *ret_pending)
{
    ask_beyond(overhead, slot, 0, bytes, ret_pending);
}

bool overhead_is_read(const struct overhead *overhead, const struct slot *slot,
                      const struct overhead_pending *pending, bool *ret_over)
{
    const struct uplink *uplink = overhead->uplink;
    const struct limits_device *device = uplink_device(uplink, slot);
    const bool is_enforced = uplink_mode(uplink) == LIMITS_ENFORCED;
    const bool is_read =
        uplink->state != UPLINK_UP || !device || !is_enforced ||
        (int32_t)(limits_load(uplink->wire.page->n_reading) - (uint32_t)pending->reading) >= 0;

    *ret_over = is_enforced &&
                (!device || limits_load(device->charged_bytes) > slot->limit_bytes + GRANULE_BYTES);
    return is_read;
}

void overhead_learn(struct overhead *overhead, struct slot *slot,
                    const struct overhead_pending *pending, uint64_t waited_ms, uint64_t *bytes)
{
    const struct uplink *uplink = overhead->uplink;

    if (uplink->state != UPLINK_UP)
        return;
    *bytes = amount_smaller(amount_minus(overhead_of(uplink, slot), pending->overhead_bytes),
                            *bytes + pending->bytes);
    if (pending->bytes > 0) {
        slot->hidden_bytes = 0;
        overhead->waited_ms += waited_ms;
    }
}

void overhead_shrank(struct overhead *overhead, struct slot *slot, uint64_t bytes)
{
    struct uplink *uplink = overhead->uplink;

    if (uplink_is_alone(uplink))
        slot_earn(slot, bytes);
    if (uplink->state == UPLINK_UP && is_told(uplink, slot))
        uplink_tell(uplink, slot, LIMITS_SHRANK, bytes);
}
