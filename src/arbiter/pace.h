// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * How fast a unit gets on: commands per second, as it claims, while it had the device for itself.
 * It is what its progress beside others is compared with, and a fall of it tells that somebody
 * unseen uses the device.
 */

#include <stdint.h>

struct pace {
    uint64_t n_done, ns; /* of the current window */
    uint32_t n_windows;
    double recent_per_s; /* of the last window; 0: none yet */
    double alone_per_s;  /* the best of them, slowly forgotten; 0: not known */
};

/* So much of its was done within so much time that was its own. */
void pace_pass(struct pace *pace, uint64_t n_done, uint64_t ns);

/* What is not a window yet is one, if it is long enough to mean something, or is dropped. */
void pace_end(struct pace *pace);
