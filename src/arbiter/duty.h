// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Whether a unit is heavy, by its duty: the part of the time in which it could launch that it had
 * work in flight.
 *
 * Beside others, waiting for a slice of the hardware looks like work: what is seen at any time is
 * the most that its duty can be. So a unit that is seen to be mostly idle is light. One that seems
 * to be busy is heavy if that was *clean* time, in which nobody else had work on the device, and
 * otherwise suspicious: it has to be seen alone.
 */

#include <stdbool.h>
#include <stdint.h>

enum {
    DUTY_HEAVY_PPM = 700000, /* heavy from there on: kernels of 40 us that are waited for ... */
    DUTY_LIGHT_PPM = 600000, /* ... and light again below: 270 us of 470 */
    DUTY_CLEAN_MS = 30,      /* of clean time for a verdict: some turns */
    DUTY_CLEAN_LOOKS = 40,   /* and as many looks: a fraction from fewer is a guess */
    DUTY_PROBED_MS = 12,     /* of clean time, when others waited for it */
    DUTY_SEEN_MS = 100,      /* of any time, to be light or suspicious: a pause of a training loop
                                is shorter */
    DUTY_SEEN_LOOKS = 20,
    DUTY_VAIN =
        3, /* after so many times in vain, each time twice as many of these are needed, ... */
    DUTY_VAIN_MOST = 9, /* ... up to this: */
    DUTY_GAPS = 3, /* as many times in a row with gaps, and then without: it does something else */
    DUTY_FULL_PPM = 920000, /* it leaves no gaps that others could fill */
    DUTY_LOOK_MS = 20,      /* what one look stands for, at most */
};

struct duty {
    uint64_t clean_ns, busy_ns; /* since the last verdict; with work in flight */
    uint32_t n_clean;
    uint64_t seen_ns, seen_busy_ns; /* the same of any time */
    uint32_t n_seen;
    bool seems_busy;
    uint32_t n_with_gaps; /* looks of DUTY_SEEN_MS in a row in which it was idle once */
    uint32_t n_in_vain;   /* times that it seemed to have changed, and had not */
    bool has_changed;     /* after some of those, there was one in which it was not */
    bool is_judged, is_heavy;
    bool is_presumed; /* it could not be seen alone yet */
    uint32_t ppm;     /* by the last verdict */
};

/* So much time is over in which it could launch, with work in flight or without. */
void duty_pass(struct duty *duty, uint64_t ns, bool is_busy, bool is_clean);

/* Drops what was clean and is not judged yet. */
void duty_begin(struct duty *duty);

/* It is taken for heavy, until it can be judged: it may have had but a long queue. */
void duty_presume(struct duty *duty);

/* A verdict from what there is. Whether there was enough. */
bool duty_judge(struct duty *duty);

/* Whether it may be heavy and is not known to be, or is taken for it. */
bool duty_is_suspicious(const struct duty *duty);
