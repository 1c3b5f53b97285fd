// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What a unit received of a device's time, and what it is owed.
 *
 * Who is owed most, by its share, has the next turn. Time is owed only against others that want it
 * at the same time: what one is charged, all of those are owed by their shares, so that the sum is
 * zero. Neither debt nor credit is ever more than the unit's part of a second: who was alone for
 * minutes does not pay for it, and who was idle has nothing saved.
 *
 * strict: an allowance grows with time by the share, and what is received is taken from it.
 */

#include <stdbool.h>
#include <stdint.h>

enum {
    RATION_CAP_MS = 1000,  /* of credit and debt */
    RATION_BURST_MS = 20,  /* of an allowance that is saved: more would show in a second */
    RATION_RESUME_MS = 20, /* who has had his share goes on with what grows in so long, ... */
    RATION_RESUME_LEAST_US = 1000, /* ... or this: each turn costs some 0.1 ms */
};

struct ration {
    uint32_t share_ppm;
    int64_t owed_ns;
    int64_t aside_ns; /* owed of when all ran free for a trial: to be added when it is over */
    int64_t allowance_ns;
    bool is_used_up; /* the allowance, and it has not grown enough since */
    uint64_t received_ns, entitled_ns, borrowed_ns, lent_ns;
    uint64_t window_received_ns, window_entitled_ns; /* of the current second */
};

/* Nothing is owed, and nothing saved. */
void ration_begin(struct ration *ration);

/* It received so much while `ns` were over, which is its share's part. */
void ration_receive(struct ration *ration, uint64_t received_ns);
void ration_pass(struct ration *ration, uint64_t ns);

/* Nobody owes anybody; or it owes the others what it had of theirs, and they owe it nothing. */
void ration_forget(struct ration *ration);
void ration_forget_credit(struct ration *ration);

/* What is owed is put aside for the time of a trial, and back. */
void ration_put_aside(struct ration *ration);
void ration_put_back(struct ration *ration);

/* It wanted turns and was charged own_ns; all who did were charged charged_ns, and their shares add
 * up to shares_ppm. */
void ration_owe(struct ration *ration, uint64_t own_ns, uint64_t charged_ns, uint64_t shares_ppm);

/* A second is over. has_borrowers: somebody received more than his share. */
void ration_close_window(struct ration *ration, bool has_borrowers);

/* What is owed, by share: the greater one has the next turn. */
double ration_urgency(const struct ration *ration);
