// SPDX-License-Identifier: Apache-2.0
#include "shim/session.h"

#include <errno.h>
#include <poll.h>

#include "shim/amount.h"
#include "shim/overhead.h"
#include "shim/ownlock.h"
#include "shim/reservation.h"
#include "shim/uplink.h"

enum {
    READING_MS = 3000, /* until the arbiter has asked the driver, and */
    LOOK_MS = 5,       /* how often the page is looked at meanwhile */
};

static struct ownlock lock = OWNLOCK_NEW;

static struct uplink uplink;
static struct overhead overhead;

static void enter(void)
{
    if (ownlock_enter(&lock)) {
        uplink_start_over(&uplink);
        overhead = (struct overhead){.uplink = &uplink};
    }
}

static void leave(void)
{
    ownlock_leave(&lock);
}

/* Enters, to be left in any case. NULL: nothing is limited. */
static struct slot *enter_at(int slot)
{
    enter();
    return uplink_is_on(&uplink) ? &uplink.slots[slot] : NULL;
}

bool session_start(void)
{
    bool on;

    if (__atomic_load_n(&uplink.state, __ATOMIC_RELAXED) == UPLINK_OFF)
        return false; /* holds for a forked child, too */
    enter();
    on = uplink_is_on(&uplink);
    leave();
    return on;
}

int session_find(const uint8_t uuid[static LIMITS_UUID_SIZE])
{
    const struct slot *slot;

    enter();
    slot = uplink_is_on(&uplink) ? uplink_find(&uplink, uuid) : NULL;
    leave();
    return slot ? (int)(slot - uplink.slots) : SESSION_NO_SLOT;
}

/* --- what is hidden --- */

static bool has_read(int slot, const struct overhead_pending *pending, bool *ret_over)
{
    const struct slot *at = enter_at(slot);
    bool is_read = true;

    *ret_over = true;
    if (at)
        is_read = overhead_is_read(&overhead, at, pending, ret_over);
    leave();
    return is_read;
}

/* Without the lock: other threads go on. 0, or SESSION_DENIED; *bytes, of those that were asked
 * for, is what the reading has shown. */
static int await_reading(int slot, const struct overhead_pending *pending, uint64_t *bytes)
{
    const uint64_t begin_ms = wire_now_ms();
    struct slot *at;
    bool is_over;

    while (!has_read(slot, pending, &is_over) && wire_now_ms() < begin_ms + READING_MS)
        poll(NULL, 0, LOOK_MS);
    at = enter_at(slot);
    if (at)
        overhead_learn(&overhead, at, pending, wire_now_ms() - begin_ms, bytes);
    leave();
    return is_over ? SESSION_DENIED : 0;
}

/* Before `bytes` are taken: shows what is hidden, if that matters. */
static void show_hidden(int slot, uint64_t bytes)
{
    struct overhead_pending pending = {0};
    uint64_t shown = 0;
    struct slot *at;

    if (__atomic_load_n(&uplink.slots[slot].hidden_bytes, __ATOMIC_RELAXED) == 0)
        return;
    at = enter_at(slot);
    if (at)
        overhead_ask_hidden(&overhead, at, bytes, &pending);
    leave();
    if (pending.reading > 0)
        await_reading(slot, &pending, &shown);
}

/* --- bytes --- */

int session_take(int slot, uint64_t bytes)
{
    bool is_taken;
    struct slot *at;

    show_hidden(slot, bytes);
    at = enter_at(slot);
    is_taken = !at || reservation_take(&uplink, at, bytes);
    leave();
    return is_taken ? 0 : SESSION_DENIED;
}

void session_charge(int slot, uint64_t bytes)
{
    struct slot *at = enter_at(slot);

    if (at)
        reservation_charge(&uplink, at, bytes);
    leave();
}

void session_give(int slot, uint64_t bytes)
{
    struct slot *at = enter_at(slot);

    if (at)
        reservation_give(&uplink, at, bytes);
    leave();
}

uint64_t session_returned(int slot)
{
    struct slot *at = enter_at(slot);
    const uint64_t returned = at ? overhead_returned(&overhead, at) : 0;

    leave();
    return returned;
}

int session_grew(int slot, uint64_t *bytes, uint64_t hidden_bytes)
{
    struct overhead_pending pending = {0};
    struct slot *at = enter_at(slot);
    const bool is_within = !at || overhead_grew(&overhead, at, *bytes, hidden_bytes, &pending);

    leave();
    if (pending.reading > 0)
        return await_reading(slot, &pending, bytes);
    return is_within ? 0 : SESSION_DENIED;
}

void session_shrank(int slot, uint64_t bytes)
{
    struct slot *at = enter_at(slot);

    if (at)
        overhead_shrank(&overhead, at, bytes);
    leave();
}

bool session_has(int slot, uint64_t bytes)
{
    struct slot *at = enter_at(slot);
    bool has = true;

    if (at) {
        if (uplink_free(&uplink, at) < bytes)
            uplink_await_page(&uplink, at);
        has = uplink_free(&uplink, at) >= bytes;
    }
    leave();
    return has;
}

/* --- contexts --- */

int session_enter(int slot)
{
    struct slot *at = enter_at(slot);
    const bool may = !at || overhead_enter(&overhead, at);

    leave();
    return may ? 0 : SESSION_DENIED;
}

void session_entered(int slot)
{
    struct slot *at = enter_at(slot);

    if (at) {
        overhead_entered(&overhead, at);
        if (uplink_computes(&uplink) != 0)
            uplink_claim(&uplink);
    }
    leave();
}

void session_left(int slot)
{
    struct slot *at = enter_at(slot);

    if (at)
        overhead_left(&overhead, at);
    leave();
}

/* --- what programs see --- */

struct session_view session_see(int slot)
{
    struct session_view view = {.is_limited = false};

    enter();
    uplink_look(&uplink); /* of one that is gone, the page tells nothing */
    if (uplink_is_on(&uplink)) {
        struct slot *at = &uplink.slots[slot];

        uplink_await_page(&uplink, at);
        view.is_limited = uplink_mode(&uplink) == LIMITS_ENFORCED && at->limit_bytes > 0;
        view.limit_bytes = at->limit_bytes;
        view.free_bytes = amount_smaller(uplink_free(&uplink, at), at->limit_bytes);
    }
    leave();
    return view;
}

/* --- turns --- */

const struct limits_page *session_page(void)
{
    return __atomic_load_n(&uplink.wire.page, __ATOMIC_ACQUIRE);
}

uint64_t session_page_number(void)
{
    return __atomic_load_n(&uplink.wire.page_number, __ATOMIC_RELAXED);
}

int session_position(int slot)
{
    return __atomic_load_n(&uplink.slots[slot].position, __ATOMIC_RELAXED);
}

bool session_may_claim(void)
{
    return uplink_may_claim(&uplink);
}

int session_claims(struct claims **ret_claims)
{
    int r = -ENOTCONN;

    enter();
    if (uplink_is_on(&uplink)) {
        uplink_claim(&uplink);
        if (uplink.state == UPLINK_UP) {
            r = uplink.claims ? 0 : SESSION_DENIED;
            *ret_claims = uplink.claims;
        }
    }
    leave();
    return r;
}

void session_look(void)
{
    enter();
    if (uplink_is_on(&uplink)) {
        uplink_look(&uplink);
        uplink_is_on(&uplink); /* to another one at once */
    }
    leave();
}
