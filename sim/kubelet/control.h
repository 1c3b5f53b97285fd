// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * How the stand-in is spoken to: one JSON object per connection, one JSON object back.
 *
 * Request: {"verb": "apply", "source": "x.yaml", "namespace": "default", "text": "..."}, or delete,
 * scale, get, logs, wait with their fields. Answer: {"status": exit status, "output": text}. A wait
 * is answered when its condition holds or its time is over; nothing is polled, kubelet_sync calls
 * control_notify after each round.
 */

#include "base/error.h"

#define CONTROL_NAME "gpuslice-kubelet.sock"

enum { CONTROL_MAX_BYTES = 4 << 20 };

struct kubelet;
struct control;

/* Listens on `path`, which it replaces when nobody answers there (-EADDRINUSE when somebody does).
 */
int control_new(struct kubelet *kubelet, const char *path, struct control **ret_control,
                struct error *err);

/* The books changed: answers the waits whose condition holds now. */
void control_notify(struct control *control);

/* NULL is fine. */
void control_free(struct control *control);

/*
 * A condition of `wait`: "pods=8" (Running), "pods.Failed=1" (a phase, or `all`),
 * "nvidia.com/gpu=16" (allocatable), "capacity:nvidia.com/gpu=16", "allocated:nvidia.com/gpu=8",
 * "settled=1" (each pod runs, is over, or was told why it has to wait). 1 it holds, 0 it does not,
 * -EINVAL for no condition.
 */
int control_check(const struct kubelet *kubelet, const char *condition, struct error *err);
