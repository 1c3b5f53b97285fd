// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What happened, as core/v1 Events on our Node and on pods: what tally.h says is due is written,
 * one request at a time. An event about a pod carries the pod's uid, as `kubectl describe pod`
 * looks for it; a pod that is gone hears nothing.
 */

#include <uv.h>

#include "cluster/message.h"
#include "kube/client.h"

struct events;

/* node is borrowed. What is said before events_start waits. */
int events_new(uv_loop_t *loop, const char *node, void (*on_rest)(void *userdata), void *userdata,
               struct events **ret_events, struct error *err);

/* client is borrowed, and freed later than the events. */
void events_start(struct events *events, struct kube_client *client);

/* On the Node and on each pod named. */
void events_say(struct events *events, const struct cluster_event *event);

/* The server can be reached again. */
void events_hurry(struct events *events);

/* Nothing is left that could be written now: all is said, or the server refuses. NULL: true. */
bool events_are_at_rest(const struct events *events);

/* NULL is fine. */
void events_free(struct events *events);
