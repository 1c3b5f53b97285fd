// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The control protocol: one JSON request per connection, one JSON response.
 *
 * Request: {"verb": "apply", "source": "x.yaml", "namespace": "default", "text": "..."}, or delete,
 * scale, get, logs, wait with their fields. Response: {"status": exit status, "output": text}. A
 * wait returns when its condition holds or it times out; nothing is polled: kubelet_sync calls
 * control_notify after each round.
 */

#include "base/error.h"

#define CONTROL_NAME "gpuslice-kubelet.sock"

enum { CONTROL_MAX_BYTES = 4 << 20 };

struct kubelet;
struct control;

/* Listens on `path`, in a root directory that rootdir_check accepted: replaces a stale socket. */
int control_new(struct kubelet *kubelet, const char *path, struct control **ret_control,
                struct error *err);

/* The state changed: completes the waits whose condition holds now. */
void control_notify(struct control *control);

/* NULL is allowed. */
void control_free(struct control *control);

/*
 * A condition of `wait`: "pods=8" (Running), "pods.Failed=1" (a phase, or `all`),
 * "nvidia.com/gpu=16" (allocatable), "capacity:nvidia.com/gpu=16", "allocated:nvidia.com/gpu=8",
 * "settled=1" (each pod runs, has finished, or is known to be blocked). 1 if it holds, 0 if not,
 * -EINVAL if malformed.
 */
int control_check(const struct kubelet *kubelet, const char *condition, struct error *err);
