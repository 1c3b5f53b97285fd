// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the page of a container tells of turns (limits/page.h): for each of its devices the mode,
 * its share, and its gate, at which its threads wait.
 *
 * A gate that is not open comes with a beat that is as new. A thread that is woken by the gate's
 * number finds all that belongs to it, whatever process it is of. Gates of a container without a
 * page are open.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arbiter/tenant.h"
#include "arbiter/turnsterms.h"
#include "limits/page.h"

enum { GATEPAGE_WOKEN_MOST = 128 }; /* threads; those that are left look again by themselves */

extern const struct turns_gate gatepage_open;

/* Mode and shares, as they are from now on. */
void gatepage_show_mode(const struct tenant *tenant, enum limits_compute mode);

/* The gate of the device at that place. is_news: threads that wait are woken, even at the same
 * gate. False: it is open. */
bool gatepage_show(const struct tenant *tenant, size_t place, const struct turns_gate *gate,
                   bool is_news, uint64_t now_ns);
