// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Devices whose turns depend on each other, since a container is on several of them: its units
 * there are a ring (gangs.h). Such devices are a set, and are run at once.
 *
 * A group stands for several containers, which may be on other devices each, so it is tied to
 * nothing. A set has DEVICESETS_MOST devices: a container that would connect more than that has
 * turns on those beyond as if it were another one there.
 */

#include "arbiter/gateddevice.h"

enum { DEVICESETS_MOST = 64 }; /* devices of one */

/* Of all devices from the first one on. From the beginning: who begins, ends, joins a group or
 * leaves one is rare. */
void devicesets_tie(struct gateddevice *all);
