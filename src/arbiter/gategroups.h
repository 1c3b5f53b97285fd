// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The containers of a device whose processes exchange handles (exchanges.h): a group is one unit of
 * turns (party.h), within a tenth of a second from when both sides said so, until one of the two
 * processes is gone. Who left a group is in none for ten seconds.
 */

#include <stdbool.h>
#include <stdint.h>

#include "arbiter/gateddevice.h"

/* Before the device is run: looks at who exchanged handles, where there is news of it. Whether
 * somebody joined a group, or left one. Without memory all stay as they are. */
bool gategroups_update(struct gateddevice *device, uint64_t now_ns);

/* Divides what each group received, before so much was launched that nobody knows whose it was. */
void gategroups_settle(struct gateddevice *device);
