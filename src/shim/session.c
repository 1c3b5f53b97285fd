// SPDX-License-Identifier: Apache-2.0
#include "shim/session.h"

#include <errno.h>
#include <poll.h>

#include "shim/amount.h"
#include "shim/ownlock.h"
#include "shim/reservation.h"
#include "shim/uplink.h"

enum {
    READING_MS = 3000,  /* until the arbiter has asked the driver, and */
    LOOK_MS = 5,        /* how often the page is looked at meanwhile */
    DOUBT_MS = 1000,    /* that readings are waited for on suspicion alone, and */
    DOUBT_PART = 10,    /* which part of the time since the first suspicion */
    DOUBT_READINGS = 2, /* the second one that ends began later for sure */
};

/* What is in the driver already may be as much beyond the limit. */
#define GRANULE_BYTES (UINT64_C(2) << 20)

/* A context without an arbiter that knows what it costs. */
#define CONTEXT_BYTES (UINT64_C(512) << 20)

static struct ownlock lock = OWNLOCK_NEW;

static struct uplink uplink;
static uint64_t doubted_ms; /* since when anything was hidden; 0: never */
static uint64_t doubt_ms;   /* that readings were waited for because of that */

static void start_over(void)
{
    uplink_start_over(&uplink);
    doubted_ms = doubt_ms = 0;
}

static void enter(void)
{
    if (ownlock_enter(&lock))
        start_over();
}

static void leave(void)
{
    ownlock_leave(&lock);
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

/* --- bytes --- */

void session_charge(int slot, uint64_t bytes)
{
    enter();
    if (uplink_is_on(&uplink))
        reservation_charge(&uplink, &uplink.slots[slot], bytes);
    leave();
}

void session_give(int slot, uint64_t bytes)
{
    enter();
    if (uplink_is_on(&uplink))
        reservation_give(&uplink, &uplink.slots[slot], bytes);
    leave();
}

/* --- what the driver took by itself --- */

static bool is_told(const struct slot *slot)
{
    return slot->position >= 0 && limits_knows(uplink.wire.revision, LIMITS_SHRANK);
}

uint64_t session_returned(int slot)
{
    uint64_t returned = 0, nothing;

    enter();
    if (uplink_is_on(&uplink)) {
        struct slot *at = &uplink.slots[slot];

        if (uplink.state == UPLINK_UP && is_told(at))
            uplink_ask(&uplink, at, LIMITS_RESERVE, 0, 0, &nothing);
        if (uplink.state == UPLINK_UP && is_told(at))
            returned = limits_load(uplink_device(&uplink, at)->returned_bytes);
    }
    leave();
    return returned;
}

/* As ask; an arbiter that does not take it sees it by its readings alone. */
static int grew(struct slot *slot, uint64_t bytes, uint64_t most_bytes, uint64_t *ret_reading)
{
    reservation_make_room(&uplink, slot, most_bytes);
    if (uplink.state != UPLINK_UP)
        return -ENOTCONN;
    return is_told(slot) ? uplink_ask(&uplink, slot, LIMITS_GREW, bytes, most_bytes, ret_reading)
                         : 0;
}

/* Is the reading over, or nobody there to take it? Then *ret_over is what it shows. */
static bool has_read(int slot, uint32_t reading, bool *ret_over)
{
    bool has = true;

    *ret_over = true;
    enter();
    if (uplink_is_on(&uplink)) {
        const struct limits_device *device = uplink_device(&uplink, &uplink.slots[slot]);

        has = uplink.state != UPLINK_UP || !device || uplink_mode(&uplink) != LIMITS_ENFORCED ||
              (int32_t)(limits_load(uplink.wire.page->n_reading) - reading) >= 0;
        *ret_over = uplink_mode(&uplink) == LIMITS_ENFORCED &&
                    (!device || limits_load(device->charged_bytes) >
                                    uplink.slots[slot].limit_bytes + GRANULE_BYTES);
    }
    leave();
    return has;
}

/* Without the lock: other threads go on. */
static int await_reading(int slot, uint32_t reading)
{
    const uint64_t deadline_ms = wire_now_ms() + READING_MS;
    bool is_over;

    while (!has_read(slot, reading, &is_over) && wire_now_ms() < deadline_ms)
        poll(NULL, 0, LOOK_MS);
    return is_over ? SESSION_DENIED : 0;
}

/* An arbiter that tells what was returned takes what is suspected as that. */
static bool hears_doubts(const struct slot *slot)
{
    return uplink.state == UPLINK_UP && is_told(slot) &&
           limits_load(uplink_device(&uplink, slot)->returned_bytes) > 0;
}

static void hide(struct slot *slot, uint64_t bytes)
{
    if (bytes == 0 || !hears_doubts(slot))
        return;
    slot->hidden_bytes = amount_add(slot->hidden_bytes, bytes);
    slot->hidden_since = limits_load(uplink.wire.page->n_reading);
    if (!doubted_ms)
        doubted_ms = wire_now_ms();
}

/* What is hidden, if that and `bytes` may be beyond the limit, and there is time to wait. */
static uint64_t doubt_of(struct slot *slot, uint64_t bytes)
{
    if (slot->hidden_bytes == 0 || !hears_doubts(slot))
        return 0;
    if (limits_load(uplink.wire.page->n_reading) - slot->hidden_since >= DOUBT_READINGS)
        slot->hidden_bytes = 0;
    if (uplink_free(&uplink, slot) >= bytes + slot->hidden_bytes ||
        doubt_ms > DOUBT_MS + (wire_now_ms() - doubted_ms) / DOUBT_PART)
        return 0;
    return slot->hidden_bytes;
}

/* What the driver took by itself, in the eyes of the arbiter. */
static uint64_t overhead_of(const struct slot *slot)
{
    const struct limits_device *device =
        uplink.state == UPLINK_UP ? uplink_device(&uplink, slot) : NULL;

    return device ? limits_load(device->overhead_bytes) : 0;
}

/* A question that was denied, and the reading that tells. */
struct doubt {
    uint64_t bytes;          /* that may be hidden */
    uint64_t overhead_bytes; /* before it was asked */
    uint64_t reading;        /* 0: it was granted, or there is none */
};

/* Of what the driver took, and is about to take, and what may be hidden beside both. As ask. */
static int ask_beyond(struct slot *slot, uint64_t taken_bytes, uint64_t more_bytes,
                      struct doubt *ret_doubt)
{
    const uint64_t bytes = taken_bytes + more_bytes;

    *ret_doubt =
        (struct doubt){.bytes = doubt_of(slot, bytes), .overhead_bytes = overhead_of(slot)};
    if (taken_bytes + ret_doubt->bytes == 0)
        return 0;
    return grew(slot, taken_bytes, bytes + ret_doubt->bytes, &ret_doubt->reading);
}

/* Returns as await_reading; *bytes, of those that were asked for, is what the reading has shown. */
static int await_truth(int slot, const struct doubt *doubt, uint64_t *bytes)
{
    const uint64_t begin_ms = wire_now_ms();
    const int r = await_reading(slot, (uint32_t)doubt->reading);

    enter();
    if (uplink_is_on(&uplink) && uplink.state == UPLINK_UP) {
        struct slot *at = &uplink.slots[slot];
        const uint64_t shown = amount_minus(overhead_of(at), doubt->overhead_bytes);

        *bytes = amount_smaller(shown, *bytes + doubt->bytes);
        if (doubt->bytes > 0) {
            at->hidden_bytes = 0;
            doubt_ms += wire_now_ms() - begin_ms;
        }
    }
    leave();
    return r;
}

int session_grew(int slot, uint64_t *bytes, uint64_t hidden_bytes)
{
    struct doubt doubt = {0};
    int r = 0;

    enter();
    if (uplink_is_on(&uplink)) {
        struct slot *at = &uplink.slots[slot];

        hide(at, hidden_bytes);
        r = uplink.state == UPLINK_UP ? ask_beyond(at, *bytes, 0, &doubt) : -ENOTCONN;
        if (r < 0) {
            r = reservation_take_alone(&uplink, at, *bytes) ? 0 : SESSION_DENIED;
            if (r != 0)
                slot_spend(at, *bytes);
            doubt.reading = 0;
        }
    }
    leave();
    return r == SESSION_DENIED && doubt.reading > 0 ? await_truth(slot, &doubt, bytes) : r;
}

/* Before `bytes` are taken: shows what is hidden, if that matters. */
static void show_hidden(int slot, uint64_t bytes)
{
    struct doubt doubt = {0};
    uint64_t shown = 0;
    int r = 0;

    if (__atomic_load_n(&uplink.slots[slot].hidden_bytes, __ATOMIC_RELAXED) == 0)
        return;
    enter();
    if (uplink_is_on(&uplink))
        r = ask_beyond(&uplink.slots[slot], 0, bytes, &doubt);
    leave();
    if (r == SESSION_DENIED && doubt.reading > 0)
        await_truth(slot, &doubt, &shown);
}

int session_take(int slot, uint64_t bytes)
{
    int r = 0;

    show_hidden(slot, bytes);
    enter();
    if (uplink_is_on(&uplink) && !reservation_take(&uplink, &uplink.slots[slot], bytes))
        r = SESSION_DENIED;
    leave();
    return r;
}

void session_shrank(int slot, uint64_t bytes)
{
    enter();
    if (uplink_is_on(&uplink)) {
        struct slot *at = &uplink.slots[slot];

        if (uplink_is_alone(&uplink))
            slot_earn(at, bytes);
        if (uplink.state == UPLINK_UP && is_told(at))
            uplink_tell(&uplink, at, LIMITS_SHRANK, bytes);
    }
    leave();
}

bool session_has(int slot, uint64_t bytes)
{
    bool has = true;

    enter();
    if (uplink_is_on(&uplink)) {
        struct slot *at = &uplink.slots[slot];

        if (uplink_free(&uplink, at) < bytes)
            uplink_await_page(&uplink, at);
        has = uplink_free(&uplink, at) >= bytes;
    }
    leave();
    return has;
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
    if (uplink_is_on(&uplink))
        uplink_look(&uplink);
    leave();
}

/* --- contexts --- */

static uint64_t context_bytes(const struct slot *slot)
{
    const struct limits_device *device = uplink_device(&uplink, slot);
    const uint32_t mib = device ? limits_load(device->context_bytes_mib) : 0;

    return mib ? (uint64_t)mib << 20 : CONTEXT_BYTES;
}

int session_enter(int slot)
{
    uint64_t granted;
    int r = 0;

    enter();
    if (uplink_is_on(&uplink)) {
        struct slot *at = &uplink.slots[slot];

        r = -ENOTCONN;
        if (uplink.state == UPLINK_UP)
            r = at->position < 0 ? 0 : uplink_ask(&uplink, at, LIMITS_ENTER, 0, 0, &granted);
        if (r < 0)
            r = reservation_take_alone(&uplink, at, context_bytes(at)) ? 0 : SESSION_DENIED;
    }
    leave();
    return r;
}

static void tell_context(int slot, enum limits_kind kind)
{
    enter();
    if (uplink_is_on(&uplink)) {
        struct slot *at = &uplink.slots[slot];

        if (uplink_is_alone(&uplink) && kind == LIMITS_LEFT)
            at->allowance_bytes += context_bytes(at);
        if (uplink.state == UPLINK_UP)
            uplink_tell(&uplink, at, kind, 0);
        if (kind == LIMITS_ENTERED && uplink.state == UPLINK_UP && uplink_computes(&uplink) != 0)
            uplink_claim(&uplink);
    }
    leave();
}

void session_entered(int slot)
{
    tell_context(slot, LIMITS_ENTERED);
}

void session_left(int slot)
{
    tell_context(slot, LIMITS_LEFT);
}

/* --- what programs see --- */

struct session_view session_see(int slot)
{
    struct session_view view = {.is_limited = false};

    enter();
    if (uplink_is_on(&uplink)) {
        struct slot *at = &uplink.slots[slot];

        uplink_await_page(&uplink, at);
        view.is_limited = uplink_mode(&uplink) == LIMITS_ENFORCED && at->limit_bytes > 0;
        view.limit_bytes = at->limit_bytes;
        view.free_bytes =
            uplink_free(&uplink, at) < at->limit_bytes ? uplink_free(&uplink, at) : at->limit_bytes;
    }
    leave();
    return view;
}
