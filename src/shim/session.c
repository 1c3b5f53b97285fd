// SPDX-License-Identifier: Apache-2.0
#include "shim/session.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "shim/amount.h"
#include "shim/grantdir.h"
#include "shim/ownlock.h"
#include "shim/slot.h"
#include "shim/wire.h"

enum {
    ANSWER_MS = 150,    /* what an arbiter that is there may take; others are away */
    FIRST_MS = 5000,    /* until there is one, at the start */
    REFUSED_MS = 1000,  /* where one is that refuses */
    FIRST_TRY_MS = 50,  /* between two attempts of those */
    AGAIN_MS = 100,     /* between two attempts later */
    WELCOME_MS = 20,    /* that such an attempt waits */
    READING_MS = 3000,  /* until the arbiter has asked the driver, and */
    LOOK_MS = 5,        /* how often the page is looked at meanwhile */
    DOUBT_MS = 1000,    /* that readings are waited for on suspicion alone, and */
    DOUBT_PART = 10,    /* which part of the time since the first suspicion */
    DOUBT_READINGS = 2, /* the second one that ends began later for sure */
    CLAIMS_MAX = 256,   /* pages of claims, one for each arbiter */
    UNANSWERED_MAX = 3,
};

#define SMALL_BYTES  (UINT64_C(2) << 20)  /* up to it, it comes out of the credit */
#define CREDIT_BYTES (UINT64_C(16) << 20) /* more than twice of it is given back */

/* What is in the driver already may be as much beyond the limit. */
#define GRANULE_BYTES (UINT64_C(2) << 20)

/* A context without an arbiter that knows what it costs. */
#define CONTEXT_BYTES (UINT64_C(512) << 20)

enum state {
    STATE_NEW,  /* nothing was tried */
    STATE_OFF,  /* no grant: nothing is limited */
    STATE_UP,   /* the arbiter answers */
    STATE_AWAY, /* it does not; allowances hold */
};

static struct ownlock lock = OWNLOCK_NEW;

static struct {
    enum state state;
    struct wire wire;
    bool is_pending;   /* connected, and not welcome yet */
    bool is_untold;    /* messages without an answer, which the page may not show yet */
    bool has_answered; /* this arbiter: its page shows what was allocated before its welcome */
    uint64_t tried_ms;
    uint64_t doubted_ms;                     /* since when anything was hidden; 0: never */
    uint64_t doubt_ms;                       /* that readings were waited for because of that */
    struct grantdir_terms terms;             /* for STATE_AWAY without a page */
    uint64_t part_bytes[LIMITS_DEVICES_MAX]; /* of each device in the page, when it went */
    unsigned n_slots;
    struct slot slots[SESSION_SLOTS];
    struct claims *claims; /* of this connection; NULL: not asked for, or denied */
    bool is_denied_claims; /* by this arbiter, when the page had */
    uint64_t denied_computes;
    unsigned n_claims;     /* pages, ever: each stays mapped */
    unsigned n_unanswered; /* requests for one, in a row */
} session;

static void start_over(void)
{
    if (session.state != STATE_NEW)
        wire_close(&session.wire); /* the parent's, in a child */
    memset(&session, 0, sizeof(session));
    session.wire = WIRE_NONE;
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

/* --- the page --- */

static const struct limits_device *device_of(const struct slot *slot)
{
    return slot->position >= 0 ? &session.wire.page->devices[slot->position] : NULL;
}

/* A mode that is not known is of a later release: more may be free there, but not everything. */
static enum limits_mode mode_now(void)
{
    const enum limits_mode mode =
        session.wire.page ? limits_load(session.wire.page->mode) : session.terms.mode;

    return mode < LIMITS_ENFORCED ? mode : LIMITS_ENFORCED;
}

static int find_in_page(const uint8_t *uuid)
{
    const struct limits_page *page = session.wire.page;

    for (uint32_t i = 0; page && i < page->n_devices && i < LIMITS_DEVICES_MAX; i++)
        if (memcmp(page->devices[i].uuid, uuid, LIMITS_UUID_SIZE) == 0)
            return (int)i;
    return -1;
}

static uint64_t free_of(const struct slot *slot)
{
    const struct limits_device *device = device_of(slot);

    if (!slot->limit_bytes || mode_now() != LIMITS_ENFORCED)
        return UINT64_MAX;
    if (session.state == STATE_UP && device)
        return amount_minus(slot->limit_bytes, limits_load(device->charged_bytes)) +
               slot->credit_bytes;
    return slot->allowance_bytes;
}

/* --- the arbiter goes and comes --- */

/* Each of the container's processes may have an equal part of what was free. */
static uint64_t part_of(const struct limits_device *device)
{
    const uint32_t n_processes = limits_load(device->n_processes);

    return amount_minus(device->limit_bytes, limits_load(device->charged_bytes)) /
           (n_processes ? n_processes : 1);
}

/* The page is read before the connection is closed: an arbiter that is only slow takes us out of it
 * then. */
static void lost(void)
{
    const struct limits_page *page = session.wire.page;

    session.state = STATE_AWAY;
    session.is_pending = false;
    session.claims = NULL;
    for (uint32_t i = 0; page && i < page->n_devices && i < LIMITS_DEVICES_MAX; i++)
        session.part_bytes[i] = part_of(&page->devices[i]);
    for (struct slot *slot = session.slots; slot < session.slots + session.n_slots; slot++)
        slot_detach(slot, slot->position >= 0 ? session.part_bytes[slot->position] : 0,
                    session.has_answered);
    wire_close(&session.wire);
}

static void tell(struct slot *slot, enum limits_kind kind, uint64_t bytes)
{
    struct limits_request request = {.kind = kind,
                                     .device = (uint32_t)slot->position,
                                     .bytes = bytes,
                                     .allocated_bytes = slot->allocated_bytes};
    const int r = slot->position < 0 ? 0 : wire_tell(&session.wire, &request);

    session.is_untold = true;
    if (r == -EAGAIN && kind == LIMITS_RELEASE)
        slot->unsent_bytes += bytes; /* goes along with the next one */
    else if (r < 0)
        lost();
}

static void release(struct slot *slot, uint64_t bytes)
{
    bytes += slot->unsent_bytes;
    slot->unsent_bytes = 0;
    if (bytes > 0 && session.state == STATE_UP)
        tell(slot, LIMITS_RELEASE, bytes);
}

/* What is allocated is charged again; the arbiter knew nothing of it, or knows it as overhead. */
static void welcome(void)
{
    session.state = STATE_UP;
    session.is_pending = false;
    session.has_answered = false;
    session.claims = NULL;
    __atomic_store_n(&session.is_denied_claims, false, __ATOMIC_RELAXED);
    for (struct slot *slot = session.slots; slot < session.slots + session.n_slots; slot++) {
        const int position = find_in_page(slot->uuid);

        slot_attach(slot, position,
                    position >= 0 ? session.wire.page->devices[position].limit_bytes : 0);
        if (session.state == STATE_UP && slot->allocated_bytes > 0)
            tell(slot, LIMITS_CHARGE, slot->allocated_bytes);
    }
}

/* One step: what takes longer is looked at by the next call. */
static void try_again(void)
{
    const uint64_t now_ms = wire_now_ms();
    int r = 0;

    if (!session.is_pending) {
        if (now_ms - session.tried_ms < AGAIN_MS)
            return;
        session.tried_ms = now_ms;
        session.wire.refused = 0;
        if (wire_connect(&session.wire) != 0)
            return;
        session.is_pending = true;
        r = wire_await(&session.wire, WELCOME_MS);
    } else
        r = wire_await(&session.wire, 0);
    if (r == 0)
        welcome();
    else if (r != -EAGAIN || now_ms - session.tried_ms > FIRST_MS) {
        wire_close(&session.wire);
        session.is_pending = false;
    }
}

static void go_on_alone(const char *why)
{
    fprintf(stderr, "gpuslice: %s; GPU memory is limited by this process alone\n", why);
    grantdir_read(&session.terms);
    session.state = STATE_AWAY;
    session.tried_ms = wire_now_ms();
}

/* Who has just been started may be refused for a moment: its grant is older than what is known of
 * its container. */
static int first_connection(int timeout_ms)
{
    const int r = wire_connect(&session.wire);

    if (r == WIRE_REFUSED)
        session.wire.refused = 0;
    return r == 0 ? wire_await(&session.wire, timeout_ms) : r;
}

static const char *const reasons[] = {
    [0] = "no arbiter of this node's GPUs answered",
    [WIRE_REFUSED] = "the arbiter of this node's GPUs does not know this container",
    [WIRE_FOREIGN] = "the arbiter of this node's GPUs is of a release that this library does not "
                     "understand",
};

static void connect_first(void)
{
    const uint64_t begin_ms = wire_now_ms();
    uint64_t spent_ms = 0;
    int reason = 0;

    while (spent_ms < (reason ? REFUSED_MS : FIRST_MS)) {
        const int r = first_connection((int)(FIRST_MS - spent_ms));

        if (r == 0)
            return welcome();
        if (r == WIRE_NO_GRANT) {
            session.state = STATE_OFF;
            return;
        }
        wire_close(&session.wire);
        reason = r > 0 ? r : reason;
        poll(NULL, 0, FIRST_TRY_MS);
        spent_ms = wire_now_ms() - begin_ms;
    }
    go_on_alone(reasons[reason]);
}

static bool is_on(void)
{
    if (session.state == STATE_NEW)
        connect_first();
    else if (session.state == STATE_AWAY)
        try_again();
    return session.state != STATE_OFF;
}

bool session_start(void)
{
    bool on;

    if (__atomic_load_n(&session.state, __ATOMIC_RELAXED) == STATE_OFF)
        return false; /* holds for a forked child, too */
    enter();
    on = is_on();
    leave();
    return on;
}

/* --- devices --- */

static bool is_known_device(const uint8_t *uuid, uint64_t *ret_limit_bytes)
{
    const int position = find_in_page(uuid);

    if (position >= 0)
        *ret_limit_bytes = session.wire.page->devices[position].limit_bytes;
    for (size_t i = 0; !session.wire.page && i < session.terms.n_devices; i++)
        if (memcmp(session.terms.devices[i].uuid, uuid, LIMITS_UUID_SIZE) == 0) {
            *ret_limit_bytes = session.terms.devices[i].bytes;
            return true;
        }
    return position >= 0;
}

static int find_slot(const uint8_t *uuid)
{
    uint64_t limit_bytes = 0;
    struct slot *slot = &session.slots[session.n_slots];

    for (unsigned i = 0; i < session.n_slots; i++)
        if (memcmp(session.slots[i].uuid, uuid, LIMITS_UUID_SIZE) == 0)
            return (int)i;
    if (session.n_slots == SESSION_SLOTS || !is_known_device(uuid, &limit_bytes))
        return SESSION_NO_SLOT;
    *slot = (struct slot){.position = find_in_page(uuid), .limit_bytes = limit_bytes};
    memcpy(slot->uuid, uuid, LIMITS_UUID_SIZE);
    session.n_slots++;
    slot->allowance_bytes = session.state == STATE_AWAY && slot->position >= 0
                                ? session.part_bytes[slot->position]
                                : limit_bytes;
    return (int)session.n_slots - 1;
}

int session_find(const uint8_t uuid[static LIMITS_UUID_SIZE])
{
    int slot;

    enter();
    slot = is_on() ? find_slot(uuid) : SESSION_NO_SLOT;
    leave();
    return slot;
}

/* --- bytes --- */

/* 0, SESSION_DENIED, or a negative errno: it has just gone. */
static int ask(struct slot *slot, enum limits_kind kind, uint64_t bytes, uint64_t wanted_bytes,
               uint64_t *ret_bytes)
{
    struct limits_request request = {.kind = kind,
                                     .device = (uint32_t)slot->position,
                                     .bytes = bytes,
                                     .wanted_bytes = wanted_bytes,
                                     .allocated_bytes = slot->allocated_bytes};
    struct limits_answer answer;
    const int r = wire_ask(&session.wire, &request, &answer, ANSWER_MS);

    if (r != 0) {
        lost();
        return r;
    }
    session.is_untold = false;
    session.has_answered = true;
    *ret_bytes = answer.bytes;
    return answer.kind == LIMITS_GRANTED ? 0 : SESSION_DENIED;
}

static int reserve(struct slot *slot, uint64_t bytes)
{
    const uint64_t wanted = bytes <= SMALL_BYTES ? bytes + CREDIT_BYTES : bytes;
    uint64_t granted = 0;
    int r;

    release(slot, 0);
    if (session.state != STATE_UP)
        return -ENOTCONN;
    r = ask(slot, LIMITS_RESERVE, bytes, wanted, &granted);
    if (r == 0 && granted < bytes) { /* it has to be a denial then */
        release(slot, granted);
        return SESSION_DENIED;
    }
    if (r == 0)
        slot->credit_bytes += amount_smaller(granted, wanted) - bytes;
    return r;
}

/* A credit that stands in the way of a request is given up for it. */
static void give_up_credit(struct slot *slot, uint64_t bytes)
{
    const uint64_t credit = slot->credit_bytes;

    if (session.state == STATE_UP && credit > 0 && free_of(slot) < bytes + credit) {
        slot->credit_bytes = 0;
        release(slot, credit);
    }
}

static int reserve_at_limit(struct slot *slot, uint64_t bytes)
{
    give_up_credit(slot, bytes);
    return session.state == STATE_UP ? reserve(slot, bytes) : -ENOTCONN;
}

/* While the arbiter is away, or its page may not show what was allocated before. */
static bool is_alone(void)
{
    return session.state != STATE_UP || !session.has_answered;
}

static int take_allowance(struct slot *slot, uint64_t bytes)
{
    if (mode_now() == LIMITS_ENFORCED && slot->limit_bytes > 0 && bytes > slot->allowance_bytes)
        return SESSION_DENIED;
    slot_spend(slot, bytes);
    return 0;
}

static int take(struct slot *slot, uint64_t bytes)
{
    int r = -ENOTCONN;

    if (session.state == STATE_UP && slot->position < 0)
        return 0; /* a new arbiter that knows nothing of the device */
    if (session.state == STATE_UP && bytes <= SMALL_BYTES && slot->credit_bytes >= bytes) {
        slot->credit_bytes -= bytes;
        if (is_alone())
            slot_spend(slot, bytes);
        return 0;
    }
    if (session.state == STATE_UP)
        r = reserve_at_limit(slot, bytes);
    if (r < 0)
        try_again();
    if (r < 0 && session.state == STATE_UP && slot->position >= 0)
        r = reserve(slot, bytes);
    return r < 0 ? take_allowance(slot, bytes) : r;
}

void session_charge(int slot, uint64_t bytes)
{
    enter();
    if (is_on()) {
        struct slot *at = &session.slots[slot];

        at->allocated_bytes += bytes;
        if (is_alone())
            slot_spend(at, bytes);
        if (session.state == STATE_UP)
            tell(at, LIMITS_CHARGE, bytes);
    }
    leave();
}

static void give(struct slot *slot, uint64_t bytes)
{
    slot->allocated_bytes = amount_minus(slot->allocated_bytes, bytes);
    if (is_alone())
        slot_earn(slot, bytes);
    if (session.state != STATE_UP)
        return;
    if (bytes > SMALL_BYTES) {
        release(slot, bytes);
    } else {
        slot->credit_bytes += bytes;
        if (slot->credit_bytes > 2 * CREDIT_BYTES) {
            const uint64_t back = slot->credit_bytes - CREDIT_BYTES;

            slot->credit_bytes = CREDIT_BYTES;
            release(slot, back);
        }
    }
}

void session_give(int slot, uint64_t bytes)
{
    enter();
    if (is_on())
        give(&session.slots[slot], bytes);
    leave();
}

/* --- what the driver took by itself --- */

static bool is_told(const struct slot *slot)
{
    return slot->position >= 0 && limits_knows(session.wire.revision, LIMITS_SHRANK);
}

uint64_t session_returned(int slot)
{
    uint64_t returned = 0, nothing;

    enter();
    if (is_on()) {
        struct slot *at = &session.slots[slot];

        if (session.state == STATE_UP && is_told(at))
            ask(at, LIMITS_RESERVE, 0, 0, &nothing);
        if (session.state == STATE_UP && is_told(at))
            returned = limits_load(device_of(at)->returned_bytes);
    }
    leave();
    return returned;
}

/* As ask; an arbiter that does not take it sees it by its readings alone. */
static int grew(struct slot *slot, uint64_t bytes, uint64_t most_bytes, uint64_t *ret_reading)
{
    give_up_credit(slot, most_bytes);
    if (session.state != STATE_UP)
        return -ENOTCONN;
    return is_told(slot) ? ask(slot, LIMITS_GREW, bytes, most_bytes, ret_reading) : 0;
}

/* Is the reading over, or nobody there to take it? Then *ret_over is what it shows. */
static bool has_read(int slot, uint32_t reading, bool *ret_over)
{
    bool has = true;

    *ret_over = true;
    enter();
    if (is_on()) {
        const struct limits_device *device = device_of(&session.slots[slot]);

        has = session.state != STATE_UP || !device || mode_now() != LIMITS_ENFORCED ||
              (int32_t)(limits_load(session.wire.page->n_reading) - reading) >= 0;
        *ret_over = mode_now() == LIMITS_ENFORCED &&
                    (!device || limits_load(device->charged_bytes) >
                                    session.slots[slot].limit_bytes + GRANULE_BYTES);
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
    return session.state == STATE_UP && is_told(slot) &&
           limits_load(device_of(slot)->returned_bytes) > 0;
}

static void hide(struct slot *slot, uint64_t bytes)
{
    if (bytes == 0 || !hears_doubts(slot))
        return;
    slot->hidden_bytes = amount_add(slot->hidden_bytes, bytes);
    slot->hidden_since = limits_load(session.wire.page->n_reading);
    if (!session.doubted_ms)
        session.doubted_ms = wire_now_ms();
}

/* What is hidden, if that and `bytes` may be beyond the limit, and there is time to wait. */
static uint64_t doubt_of(struct slot *slot, uint64_t bytes)
{
    if (slot->hidden_bytes == 0 || !hears_doubts(slot))
        return 0;
    if (limits_load(session.wire.page->n_reading) - slot->hidden_since >= DOUBT_READINGS)
        slot->hidden_bytes = 0;
    if (free_of(slot) >= bytes + slot->hidden_bytes ||
        session.doubt_ms > DOUBT_MS + (wire_now_ms() - session.doubted_ms) / DOUBT_PART)
        return 0;
    return slot->hidden_bytes;
}

/* What the driver took by itself, in the eyes of the arbiter. */
static uint64_t overhead_of(const struct slot *slot)
{
    const struct limits_device *device = session.state == STATE_UP ? device_of(slot) : NULL;

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
    if (is_on() && session.state == STATE_UP) {
        struct slot *at = &session.slots[slot];
        const uint64_t shown = amount_minus(overhead_of(at), doubt->overhead_bytes);

        *bytes = amount_smaller(shown, *bytes + doubt->bytes);
        if (doubt->bytes > 0) {
            at->hidden_bytes = 0;
            session.doubt_ms += wire_now_ms() - begin_ms;
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
    if (is_on()) {
        struct slot *at = &session.slots[slot];

        hide(at, hidden_bytes);
        r = session.state == STATE_UP ? ask_beyond(at, *bytes, 0, &doubt) : -ENOTCONN;
        if (r < 0) {
            r = take_allowance(at, *bytes);
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

    if (__atomic_load_n(&session.slots[slot].hidden_bytes, __ATOMIC_RELAXED) == 0)
        return;
    enter();
    if (is_on())
        r = ask_beyond(&session.slots[slot], 0, bytes, &doubt);
    leave();
    if (r == SESSION_DENIED && doubt.reading > 0)
        await_truth(slot, &doubt, &shown);
}

int session_take(int slot, uint64_t bytes)
{
    int r = 0;

    show_hidden(slot, bytes);
    enter();
    if (is_on()) {
        r = take(&session.slots[slot], bytes);
        if (r == 0)
            session.slots[slot].allocated_bytes += bytes;
    }
    leave();
    return r;
}

void session_shrank(int slot, uint64_t bytes)
{
    enter();
    if (is_on()) {
        struct slot *at = &session.slots[slot];

        if (is_alone())
            slot_earn(at, bytes);
        if (session.state == STATE_UP && is_told(at))
            tell(at, LIMITS_SHRANK, bytes);
    }
    leave();
}

/* An answer comes after all that was sent before it, and the page with it. */
static void await_page(struct slot *slot)
{
    uint64_t nothing;

    release(slot, 0);
    if (session.is_untold && session.state == STATE_UP && slot->position >= 0)
        ask(slot, LIMITS_RESERVE, 0, 0, &nothing);
}

bool session_has(int slot, uint64_t bytes)
{
    bool has = true;

    enter();
    if (is_on()) {
        struct slot *at = &session.slots[slot];

        if (free_of(at) < bytes)
            await_page(at);
        has = free_of(at) >= bytes;
    }
    leave();
    return has;
}

/* --- turns --- */

/* How the devices' time is shared, of all of them in one word. */
static uint64_t computes_now(void)
{
    const struct limits_page *page = session_page();
    uint64_t computes = 0;

    for (uint32_t i = 0; page && i < page->n_devices && i < LIMITS_DEVICES_MAX; i++)
        computes |= (uint64_t)(limits_load(page->devices[i].compute) & 3) << 2 * i;
    return computes;
}

/* Of an arbiter that answers everything else: more pages than a process will ever see arbiters, or
 * silence again and again. */
static bool is_hopeless(void)
{
    return session.n_claims == CLAIMS_MAX || session.n_unanswered == UNANSWERED_MAX;
}

/* Once for each connection, and again after a denial when the page changed. */
static void claim(void)
{
    int r = WIRE_DENIED;

    if (session.state != STATE_UP || session.claims || !session_may_claim())
        return;
    if (!is_hopeless())
        r = wire_claim(&session.wire, &session.claims, ANSWER_MS);
    session.n_claims += r == 0;
    session.has_answered = session.has_answered || r == 0;
    session.n_unanswered = r < 0 ? session.n_unanswered + 1 : 0;
    if (r < 0)
        return lost();
    session.denied_computes = computes_now();
    __atomic_store_n(&session.is_denied_claims, r != 0, __ATOMIC_RELEASE);
}

const struct limits_page *session_page(void)
{
    return __atomic_load_n(&session.wire.page, __ATOMIC_ACQUIRE);
}

uint64_t session_page_number(void)
{
    return __atomic_load_n(&session.wire.page_number, __ATOMIC_RELAXED);
}

int session_position(int slot)
{
    return __atomic_load_n(&session.slots[slot].position, __ATOMIC_RELAXED);
}

bool session_may_claim(void)
{
    return !__atomic_load_n(&session.is_denied_claims, __ATOMIC_ACQUIRE) ||
           __atomic_load_n(&session.denied_computes, __ATOMIC_RELAXED) != computes_now();
}

int session_claims(struct claims **ret_claims)
{
    int r = -ENOTCONN;

    enter();
    if (is_on()) {
        claim();
        if (session.state == STATE_UP) {
            r = session.claims ? 0 : SESSION_DENIED;
            *ret_claims = session.claims;
        }
    }
    leave();
    return r;
}

void session_look(void)
{
    enter();
    if (is_on() && session.state == STATE_UP && wire_is_ended(&session.wire))
        lost();
    leave();
}

/* --- contexts --- */

static uint64_t context_bytes(const struct slot *slot)
{
    const struct limits_device *device = device_of(slot);
    const uint32_t mib = device ? limits_load(device->context_bytes_mib) : 0;

    return mib ? (uint64_t)mib << 20 : CONTEXT_BYTES;
}

int session_enter(int slot)
{
    uint64_t granted;
    int r = 0;

    enter();
    if (is_on()) {
        struct slot *at = &session.slots[slot];

        r = -ENOTCONN;
        if (session.state == STATE_UP)
            r = at->position < 0 ? 0 : ask(at, LIMITS_ENTER, 0, 0, &granted);
        if (r < 0)
            r = take_allowance(at, context_bytes(at));
    }
    leave();
    return r;
}

static void tell_context(int slot, enum limits_kind kind)
{
    enter();
    if (is_on()) {
        struct slot *at = &session.slots[slot];

        if (is_alone() && kind == LIMITS_LEFT)
            at->allowance_bytes += context_bytes(at);
        if (session.state == STATE_UP)
            tell(at, kind, 0);
        if (kind == LIMITS_ENTERED && session.state == STATE_UP && computes_now() != 0)
            claim();
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
    if (is_on()) {
        struct slot *at = &session.slots[slot];

        await_page(at);
        view.is_limited = mode_now() == LIMITS_ENFORCED && at->limit_bytes > 0;
        view.limit_bytes = at->limit_bytes;
        view.free_bytes = free_of(at) < at->limit_bytes ? free_of(at) : at->limit_bytes;
    }
    leave();
    return view;
}
