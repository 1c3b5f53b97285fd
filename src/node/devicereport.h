// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Describes devices for log and events: "GPU 3 (GPU-...) is Unhealthy: ...", "MIG device 3:1
 * (MIG-...) is usable again". Log lines name a MIG device by `device`, and its GPU by `gpu`.
 */

#include <stdbool.h>
#include <stddef.h>

#include "slice/plan.h"

enum { DEVICEREPORT_SIZE = 800 };

/* Fills a buffer of DEVICEREPORT_SIZE, for an event. reason "" = none is known. */
void devicereport_format(const struct plan *plan, const struct plan_device *on, bool healthy,
                         const char *reason, char *buffer);

/*
 * The same for a device in no resource, with all others that are left out for the same reason, but
 * for those of `meant`, of which nothing is to be said: "GPUs 0, 1 are not offered: ...".
 */
void devicereport_format_left_out(const struct plan *plan, const struct plan_device *on,
                                  const bool *meant, char *buffer);

/* One line each. reason NULL = none is known. */
void devicereport_log_health(const struct plan *plan, const struct plan_device *on, bool healthy,
                             const char *reason);
void devicereport_log_left_out(const struct plan *plan, const struct plan_device *on);
