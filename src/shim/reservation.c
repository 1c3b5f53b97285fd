// SPDX-License-Identifier: Apache-2.0
#include "shim/reservation.h"

#include <errno.h>

#include "shim/amount.h"

#define SMALL_BYTES  (UINT64_C(2) << 20)  /* up to it, it comes out of the credit */
#define CREDIT_BYTES (UINT64_C(16) << 20) /* more than twice of it is given back */

/* As uplink_ask. */
static int reserve(struct uplink *uplink, struct slot *slot, uint64_t bytes)
{
    const uint64_t wanted = bytes <= SMALL_BYTES ? bytes + CREDIT_BYTES : bytes;
    uint64_t granted = 0;
    int r;

    uplink_release(uplink, slot, 0);
    if (uplink->state != UPLINK_UP)
        return -ENOTCONN;
    r = uplink_ask(uplink, slot, LIMITS_RESERVE, bytes, wanted, &granted);
    if (r == 0 && granted < bytes) { /* it has to be a denial then */
        uplink_release(uplink, slot, granted);
        return UPLINK_DENIED;
    }
    if (r == 0)
        slot->credit_bytes += amount_smaller(granted, wanted) - bytes;
    return r;
}

void reservation_make_room(struct uplink *uplink, struct slot *slot, uint64_t bytes)
{
    const uint64_t credit = slot->credit_bytes;

    if (uplink->state == UPLINK_UP && credit > 0 && uplink_free(uplink, slot) < bytes + credit) {
        slot->credit_bytes = 0;
        uplink_release(uplink, slot, credit);
    }
}

static int reserve_at_limit(struct uplink *uplink, struct slot *slot, uint64_t bytes)
{
    reservation_make_room(uplink, slot, bytes);
    return uplink->state == UPLINK_UP ? reserve(uplink, slot, bytes) : -ENOTCONN;
}

bool reservation_take_alone(const struct uplink *uplink, struct slot *slot, uint64_t bytes)
{
    if (uplink_mode(uplink) == LIMITS_ENFORCED && slot->limit_bytes > 0 &&
        bytes > slot->allowance_bytes)
        return false;
    slot_spend(slot, bytes);
    return true;
}

/* An arbiter that follows does not know of it, and gives that memory to others. */
static bool has_credit(struct uplink *uplink, const struct slot *slot, uint64_t bytes)
{
    if (bytes > SMALL_BYTES || slot->credit_bytes < bytes)
        return false;
    uplink_look(uplink);
    return uplink->state == UPLINK_UP;
}

static bool take(struct uplink *uplink, struct slot *slot, uint64_t bytes)
{
    int r = -ENOTCONN;

    if (uplink->state == UPLINK_UP && slot->position < 0)
        return true; /* a new arbiter that knows nothing of the device */
    if (has_credit(uplink, slot, bytes)) {
        slot->credit_bytes -= bytes;
        if (uplink_is_alone(uplink))
            slot_spend(slot, bytes);
        return true;
    }
    if (uplink->state == UPLINK_UP)
        r = reserve_at_limit(uplink, slot, bytes);
    if (r < 0)
        uplink_try_again(uplink);
    if (r < 0 && uplink->state == UPLINK_UP && slot->position >= 0)
        r = reserve(uplink, slot, bytes);
    return r < 0 ? reservation_take_alone(uplink, slot, bytes) : r == 0;
}

bool reservation_take(struct uplink *uplink, struct slot *slot, uint64_t bytes)
{
    if (!take(uplink, slot, bytes))
        return false;
    slot->allocated_bytes += bytes;
    return true;
}

void reservation_charge(struct uplink *uplink, struct slot *slot, uint64_t bytes)
{
    slot->allocated_bytes += bytes;
    if (uplink_is_alone(uplink))
        slot_spend(slot, bytes);
    if (uplink->state == UPLINK_UP)
        uplink_tell(uplink, slot, LIMITS_CHARGE, bytes);
}

void reservation_give(struct uplink *uplink, struct slot *slot, uint64_t bytes)
{
    slot->allocated_bytes = amount_minus(slot->allocated_bytes, bytes);
    if (uplink_is_alone(uplink))
        slot_earn(slot, bytes);
    if (uplink->state != UPLINK_UP)
        return;
    if (bytes > SMALL_BYTES) {
        uplink_release(uplink, slot, bytes);
        return;
    }
    slot->credit_bytes += bytes;
    if (slot->credit_bytes > 2 * CREDIT_BYTES) {
        const uint64_t back = slot->credit_bytes - CREDIT_BYTES;

        slot->credit_bytes = CREDIT_BYTES;
        uplink_release(uplink, slot, back);
    }
}
