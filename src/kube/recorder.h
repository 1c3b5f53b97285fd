// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Records events, as core/v1 Events on Nodes, on pods and on objects of other kinds: writes what
 * correlator.h returns, one request at a time. An event about a pod carries the pod's uid, as
 * `kubectl describe pod` expects; a deleted pod gets none.
 */

#include <uv.h>

#include "kube/client.h"
#include "kube/correlator.h"

struct recorder;

/* node is borrowed: ours, which reports the events and which they are about unless they name
 * another. A program that is of no Node gives its own name, and names a Node in each event. Events
 * before recorder_start wait. */
int recorder_new(uv_loop_t *loop, const char *node, void (*on_idle)(void *userdata), void *userdata,
                 struct recorder **ret_recorder, struct error *err);

/* client is borrowed, and must outlive the recorder. */
void recorder_start(struct recorder *recorder, struct kube_client *client);

/* Borrowed during the call. */
void recorder_add(struct recorder *recorder, const struct correlator_event *event);

/* The server is reachable again. */
void recorder_kick(struct recorder *recorder);

/* Nothing is left that could be written now: everything is written, or the server rejects it. NULL:
 * true. */
bool recorder_is_idle(const struct recorder *recorder);

/* NULL is allowed. */
void recorder_free(struct recorder *recorder);
