// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What happened, as core/v1 Events on our Node and on pods: what correlator.h says is due is
 * written, one request at a time. An event about a pod carries the pod's uid, as `kubectl describe
 * pod` looks for it; a pod that is gone hears nothing.
 */

#include <uv.h>

#include "kube/client.h"
#include "kube/correlator.h"

struct recorder;

/* node is borrowed. What is said before recorder_start waits. */
int recorder_new(uv_loop_t *loop, const char *node, void (*on_rest)(void *userdata), void *userdata,
                 struct recorder **ret_recorder, struct error *err);

/* client is borrowed, and freed later than the events. */
void recorder_start(struct recorder *recorder, struct kube_client *client);

/* Borrowed during the call. */
void recorder_add(struct recorder *recorder, const struct correlator_event *event);

/* The server can be reached again. */
void recorder_kick(struct recorder *recorder);

/* Nothing is left that could be written now: all is said, or the server refuses. NULL: true. */
bool recorder_is_idle(const struct recorder *recorder);

/* NULL is allowed. */
void recorder_free(struct recorder *recorder);
