// SPDX-License-Identifier: Apache-2.0
#include "shim/uplink.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "shim/amount.h"

enum {
    ANSWER_MS = 150,   /* what an arbiter that is there may take; others are away */
    FIRST_MS = 5000,   /* until there is one, at the start */
    REFUSED_MS = 1000, /* where one is that refuses */
    FIRST_TRY_MS = 50, /* between two attempts of those */
    AGAIN_MS = 100,    /* between two attempts later */
    WELCOME_MS = 20,   /* that such an attempt waits */
    CLAIMS_MAX = 256,  /* pages of claims, one for each arbiter */
    UNANSWERED_MAX = 3,
};

void uplink_start_over(struct uplink *uplink)
{
    if (uplink->state != UPLINK_NEW)
        wire_close(&uplink->wire); /* the parent's, in a child */
    memset(uplink, 0, sizeof(*uplink));
    uplink->wire = WIRE_NONE;
}

/* --- what is known --- */

const struct limits_device *uplink_device(const struct uplink *uplink, const struct slot *slot)
{
    return slot->position >= 0 ? &uplink->wire.page->devices[slot->position] : NULL;
}

/* More may be free in a mode of a later release, but not everything. */
enum limits_mode uplink_mode(const struct uplink *uplink)
{
    const enum limits_mode mode =
        uplink->wire.page ? limits_load(uplink->wire.page->mode) : uplink->terms.mode;

    return mode < LIMITS_ENFORCED ? mode : LIMITS_ENFORCED;
}

bool uplink_is_alone(const struct uplink *uplink)
{
    return uplink->state != UPLINK_UP || !uplink->has_answered;
}

uint64_t uplink_free(const struct uplink *uplink, const struct slot *slot)
{
    const struct limits_device *device = uplink_device(uplink, slot);

    if (!slot->limit_bytes || uplink_mode(uplink) != LIMITS_ENFORCED)
        return UINT64_MAX;
    if (uplink->state == UPLINK_UP && device)
        return amount_minus(slot->limit_bytes, limits_load(device->charged_bytes)) +
               slot->credit_bytes;
    return slot->allowance_bytes;
}

static int find_in_page(const struct uplink *uplink, const uint8_t *uuid)
{
    const struct limits_page *page = uplink->wire.page;

    for (uint32_t i = 0; page && i < page->n_devices && i < LIMITS_DEVICES_MAX; i++)
        if (memcmp(page->devices[i].uuid, uuid, LIMITS_UUID_SIZE) == 0)
            return (int)i;
    return -1;
}

static bool is_known_device(const struct uplink *uplink, const uint8_t *uuid,
                            uint64_t *ret_limit_bytes)
{
    const struct grantdir_terms *terms = &uplink->terms;
    const int position = find_in_page(uplink, uuid);

    if (position >= 0)
        *ret_limit_bytes = uplink->wire.page->devices[position].limit_bytes;
    for (size_t i = 0; !uplink->wire.page && i < terms->n_devices; i++)
        if (memcmp(terms->devices[i].uuid, uuid, LIMITS_UUID_SIZE) == 0) {
            *ret_limit_bytes = terms->devices[i].bytes;
            return true;
        }
    return position >= 0;
}

struct slot *uplink_find(struct uplink *uplink, const uint8_t *uuid)
{
    struct slot *slot = uplink->slots, *const end = slot + uplink->n_slots;
    uint64_t limit_bytes = 0;

    for (; slot < end; slot++)
        if (memcmp(slot->uuid, uuid, LIMITS_UUID_SIZE) == 0)
            return slot;
    if (uplink->n_slots == LIMITS_DEVICES_MAX || !is_known_device(uplink, uuid, &limit_bytes))
        return NULL;
    *slot = (struct slot){.position = find_in_page(uplink, uuid), .limit_bytes = limit_bytes};
    memcpy(slot->uuid, uuid, LIMITS_UUID_SIZE);
    uplink->n_slots++;
    slot->allowance_bytes = uplink->state == UPLINK_AWAY && slot->position >= 0
                                ? uplink->part_bytes[slot->position]
                                : limit_bytes;
    return slot;
}

/* --- the arbiter goes --- */

/* Each of the container's processes may have an equal part of what was free. */
static uint64_t part_of(const struct limits_device *device)
{
    const uint32_t n_processes = limits_load(device->n_processes);

    return amount_minus(device->limit_bytes, limits_load(device->charged_bytes)) /
           (n_processes ? n_processes : 1);
}

/* The page is read before the connection is closed: an arbiter that is only slow takes us out of it
 * then. */
static void lost(struct uplink *uplink)
{
    const struct limits_page *page = uplink->wire.page;

    uplink->state = UPLINK_AWAY;
    uplink->is_pending = false;
    uplink->claims = NULL;
    for (uint32_t i = 0; page && i < page->n_devices && i < LIMITS_DEVICES_MAX; i++)
        uplink->part_bytes[i] = part_of(&page->devices[i]);
    for (struct slot *slot = uplink->slots; slot < uplink->slots + uplink->n_slots; slot++)
        slot_detach(slot, slot->position >= 0 ? uplink->part_bytes[slot->position] : 0,
                    uplink->has_answered);
    wire_close(&uplink->wire);
}

void uplink_look(struct uplink *uplink)
{
    if (uplink->state == UPLINK_UP && wire_is_ended(&uplink->wire))
        lost(uplink);
}

/* --- messages --- */

int uplink_ask(struct uplink *uplink, struct slot *slot, enum limits_kind kind, uint64_t bytes,
               uint64_t wanted_bytes, uint64_t *ret_bytes)
{
    struct limits_request request = {.kind = kind,
                                     .device = (uint32_t)slot->position,
                                     .bytes = bytes,
                                     .wanted_bytes = wanted_bytes,
                                     .allocated_bytes = slot->allocated_bytes};
    struct limits_answer answer;
    const int r = wire_ask(&uplink->wire, &request, &answer, ANSWER_MS);

    if (r != 0) {
        lost(uplink);
        return r;
    }
    uplink->is_untold = false;
    uplink->has_answered = true;
    *ret_bytes = answer.bytes;
    return answer.kind == LIMITS_GRANTED ? 0 : UPLINK_DENIED;
}

void uplink_tell(struct uplink *uplink, struct slot *slot, enum limits_kind kind, uint64_t bytes)
{
    struct limits_request request = {.kind = kind,
                                     .device = (uint32_t)slot->position,
                                     .bytes = bytes,
                                     .allocated_bytes = slot->allocated_bytes};
    const int r = slot->position < 0 ? 0 : wire_tell(&uplink->wire, &request);

    uplink->is_untold = true;
    if (r == -EAGAIN && kind == LIMITS_RELEASE)
        slot->unsent_bytes += bytes; /* goes along with the next one */
    else if (r < 0)
        lost(uplink);
}

void uplink_release(struct uplink *uplink, struct slot *slot, uint64_t bytes)
{
    bytes += slot->unsent_bytes;
    slot->unsent_bytes = 0;
    if (bytes > 0 && uplink->state == UPLINK_UP)
        uplink_tell(uplink, slot, LIMITS_RELEASE, bytes);
}

/* An answer comes after all that was sent before it, and the page with it. */
void uplink_await_page(struct uplink *uplink, struct slot *slot)
{
    uint64_t nothing;

    uplink_release(uplink, slot, 0);
    if (uplink->is_untold && uplink->state == UPLINK_UP && slot->position >= 0)
        uplink_ask(uplink, slot, LIMITS_RESERVE, 0, 0, &nothing);
}

/* --- the arbiter comes --- */

/* What is allocated is charged again; the arbiter knew nothing of it, or knows it as overhead. */
static void welcome(struct uplink *uplink)
{
    uplink->state = UPLINK_UP;
    uplink->is_pending = false;
    uplink->has_answered = false;
    uplink->claims = NULL;
    __atomic_store_n(&uplink->is_denied_claims, false, __ATOMIC_RELAXED);
    for (struct slot *slot = uplink->slots; slot < uplink->slots + uplink->n_slots; slot++) {
        const int position = find_in_page(uplink, slot->uuid);

        slot_attach(slot, position,
                    position >= 0 ? uplink->wire.page->devices[position].limit_bytes : 0);
        if (uplink->state == UPLINK_UP && slot->allocated_bytes > 0)
            uplink_tell(uplink, slot, LIMITS_CHARGE, slot->allocated_bytes);
    }
}

/* What takes longer is looked at by the next call. */
void uplink_try_again(struct uplink *uplink)
{
    const uint64_t now_ms = wire_now_ms();
    int r = 0;

    if (!uplink->is_pending) {
        if (now_ms - uplink->tried_ms < AGAIN_MS)
            return;
        uplink->tried_ms = now_ms;
        uplink->wire.refused = 0;
        if (wire_connect(&uplink->wire) != 0)
            return;
        uplink->is_pending = true;
        r = wire_await(&uplink->wire, WELCOME_MS);
    } else
        r = wire_await(&uplink->wire, 0);
    if (r == 0)
        welcome(uplink);
    else if (r != -EAGAIN || now_ms - uplink->tried_ms > FIRST_MS) {
        wire_close(&uplink->wire);
        uplink->is_pending = false;
    }
}

static void go_on_alone(struct uplink *uplink, const char *why)
{
    grantdir_read(&uplink->terms);
    fprintf(stderr, "gpuslice: %s; GPU memory is %s\n", why,
            uplink->terms.mode >= LIMITS_ENFORCED && uplink->terms.n_devices > 0
                ? "limited by this process alone"
                : "not limited");
    uplink->state = UPLINK_AWAY;
    uplink->tried_ms = wire_now_ms();
}

/* Who has just been started may be refused for a moment: its grant is older than what is known of
 * its container. */
static int first_connection(struct wire *wire, int timeout_ms)
{
    const int r = wire_connect(wire);

    if (r == WIRE_REFUSED)
        wire->refused = 0;
    return r == 0 ? wire_await(wire, timeout_ms) : r;
}

static const char *const reasons[] = {
    [0] = "no arbiter of this node's GPUs answered",
    [WIRE_REFUSED] = "the arbiter of this node's GPUs does not know this container",
    [WIRE_FOREIGN] = "the arbiter of this node's GPUs is of a release that this library does not "
                     "understand",
};

static void connect_first(struct uplink *uplink)
{
    const uint64_t begin_ms = wire_now_ms();
    uint64_t spent_ms = 0;
    int reason = 0;

    while (spent_ms < (reason ? REFUSED_MS : FIRST_MS)) {
        const int r = first_connection(&uplink->wire, (int)(FIRST_MS - spent_ms));

        if (r == 0)
            return welcome(uplink);
        if (r == WIRE_NO_GRANT) {
            uplink->state = UPLINK_OFF;
            return;
        }
        wire_close(&uplink->wire);
        reason = r > 0 ? r : reason;
        poll(NULL, 0, FIRST_TRY_MS);
        spent_ms = wire_now_ms() - begin_ms;
    }
    go_on_alone(uplink, reasons[reason]);
}

bool uplink_is_on(struct uplink *uplink)
{
    if (uplink->state == UPLINK_NEW)
        connect_first(uplink);
    else if (uplink->state == UPLINK_AWAY)
        uplink_try_again(uplink);
    return uplink->state != UPLINK_OFF;
}

/* --- the page of claims --- */

uint64_t uplink_computes(const struct uplink *uplink)
{
    const struct limits_page *page = __atomic_load_n(&uplink->wire.page, __ATOMIC_ACQUIRE);
    uint64_t computes = 0;

    for (uint32_t i = 0; page && i < page->n_devices && i < LIMITS_DEVICES_MAX; i++)
        computes |= (uint64_t)(limits_load(page->devices[i].compute) & 3) << 2 * i;
    return computes;
}

bool uplink_may_claim(const struct uplink *uplink)
{
    return !__atomic_load_n(&uplink->is_denied_claims, __ATOMIC_ACQUIRE) ||
           __atomic_load_n(&uplink->denied_computes, __ATOMIC_RELAXED) != uplink_computes(uplink);
}

/* Of an arbiter that answers everything else: more pages than a process will ever see arbiters, or
 * silence again and again. */
static bool is_hopeless(const struct uplink *uplink)
{
    return uplink->n_claims == CLAIMS_MAX || uplink->n_unanswered == UNANSWERED_MAX;
}

void uplink_claim(struct uplink *uplink)
{
    int r = WIRE_DENIED;

    if (uplink->state != UPLINK_UP || uplink->claims || !uplink_may_claim(uplink))
        return;
    if (!is_hopeless(uplink))
        r = wire_claim(&uplink->wire, &uplink->claims, ANSWER_MS);
    uplink->n_claims += r == 0;
    uplink->has_answered = uplink->has_answered || r == 0;
    uplink->n_unanswered = r < 0 ? uplink->n_unanswered + 1 : 0;
    if (r < 0)
        return lost(uplink);
    uplink->denied_computes = uplink_computes(uplink);
    __atomic_store_n(&uplink->is_denied_claims, r != 0, __ATOMIC_RELEASE);
}
