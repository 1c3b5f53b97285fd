// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The connection to the arbiter: finding it, losing it, finding the next one, and reporting to each
 * what this process has.
 *
 *     NEW  -> UP     an arbiter answers: its page and its answers are what holds
 *          -> AWAY   none did in time
 *          -> OFF    there is no grant: nothing is limited, for good
 *     UP   -> AWAY   a message failed, or an answer is late
 *     AWAY -> UP     looked for by the calls that come, one step each, and never waited for long
 *
 * A new arbiter is charged at once with all that is allocated. Until it has answered something its
 * page may not show that yet: the process is as alone as without it (uplink_is_alone), and what is
 * taken goes out of the slot's allowance as well (slot.h).
 *
 * Any message may find the arbiter gone: `state` is looked at again behind each. Nothing here
 * locks; session.c does.
 */

#include <stdbool.h>
#include <stdint.h>

#include "limits/claims.h"
#include "limits/message.h"
#include "limits/page.h"
#include "shim/grantdir.h"
#include "shim/slot.h"
#include "shim/wire.h"

enum uplink_outcome {
    UPLINK_DENIED = 1, /* by the arbiter */
};

enum uplink_state {
    UPLINK_NEW,  /* nothing was tried */
    UPLINK_OFF,  /* no grant: nothing is limited */
    UPLINK_UP,   /* the arbiter answers */
    UPLINK_AWAY, /* it does not; allowances hold */
};

struct uplink {
    enum uplink_state state;
    struct wire wire;
    bool is_pending;   /* connected, and not welcome yet */
    bool is_untold;    /* messages without an answer, which the page may not show yet */
    bool has_answered; /* this arbiter: its page shows what was allocated before its welcome */
    uint64_t tried_ms;
    struct grantdir_terms terms;             /* for UPLINK_AWAY without a page */
    uint64_t part_bytes[LIMITS_DEVICES_MAX]; /* of each device in the page, when it went */
    unsigned n_slots;
    struct slot slots[LIMITS_DEVICES_MAX];
    struct claims *claims; /* of this connection; NULL: not asked for, or denied */
    bool is_denied_claims; /* by this arbiter, when the page had */
    uint64_t denied_computes;
    unsigned n_claims;     /* pages, ever: each stays mapped */
    unsigned n_unanswered; /* requests for one, in a row */
};

/* Empties it, also a parent's in a forked child. */
void uplink_start_over(struct uplink *uplink);

/* Before anything else: looks for the arbiter if it is not there. False: UPLINK_OFF. */
bool uplink_is_on(struct uplink *uplink);

/* For who needs an answer now: one step, at most every tenth of a second. */
void uplink_try_again(struct uplink *uplink);

/* Has it ended the connection? For who sends nothing that would show it. */
void uplink_look(struct uplink *uplink);

/* --- what is known --- */

/* The slot of a device, the same one for good; NULL: no slice is known of it. */
struct slot *uplink_find(struct uplink *uplink, const uint8_t *uuid);

/* Its part of the page, which stays as it was while the arbiter is away; NULL: it has none. */
const struct limits_device *uplink_device(const struct uplink *uplink, const struct slot *slot);

/* A mode that is not known is of a later release: it is taken as LIMITS_ENFORCED. */
enum limits_mode uplink_mode(const struct uplink *uplink);

/* Is it away, or may its page not show yet what was allocated before? */
bool uplink_is_alone(const struct uplink *uplink);

/* What may be taken, the credit included; UINT64_MAX: as much as there is. */
uint64_t uplink_free(const struct uplink *uplink, const struct slot *slot);

/* --- messages of a slot, while it is UPLINK_UP --- */

/* With a position. 0, UPLINK_DENIED, or a negative errno: it has just gone. */
int uplink_ask(struct uplink *uplink, struct slot *slot, enum limits_kind kind, uint64_t bytes,
               uint64_t wanted_bytes, uint64_t *ret_bytes);

/* Without an answer. */
void uplink_tell(struct uplink *uplink, struct slot *slot, enum limits_kind kind, uint64_t bytes);

/* Gives back what was reserved, and what could not be told before. Whatever the state is. */
void uplink_release(struct uplink *uplink, struct slot *slot, uint64_t bytes);

/* The page then shows what all messages before said, if it is still there. Whatever the state is.
 */
void uplink_await_page(struct uplink *uplink, struct slot *slot);

/* --- the page of claims (turns) --- */

/* How the devices' time is shared, of all of them in one word; without a lock, too. */
uint64_t uplink_computes(const struct uplink *uplink);

/* May uplink_claim get another answer than the last one, by what is in the page? Without a lock,
 * too. */
bool uplink_may_claim(const struct uplink *uplink);

/* Asks for `claims` where that was not tried at this arbiter, or the page changed since it denied
 * them. */
void uplink_claim(struct uplink *uplink);
