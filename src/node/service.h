// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The device plugin of one resource: a gRPC server on `gpuslice-<resource>.sock`, registered with
 * the kubelet and kept so.
 *
 * A service is offered, and stays so until it is withdrawn: it registers when a kubelet's socket
 * shows up, again when that socket is a new one, when its own socket was deleted, and when the
 * kubelet stopped watching. What fails is tried again, less and less often. It reads the current
 * offer through the pointer that the agent keeps up to date.
 *
 * It never fights: while a foreign device plugin serves the resource (rival.h), or another agent
 * has put its socket in the place of ours, the service stands back, and is back in a moment when
 * that one is gone. Its device ids are then the ones from before, so pods keep what they hold.
 */

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "node/kubelet.h"
#include "node/nodeview.h"
#include "node/offer.h"

struct service;

/* What all services of an agent share; borrowed, and must outlive them. */
struct service_context {
    uv_loop_t *loop;
    const struct kubelet *kubelet;
    const struct offer *offer;   /* what is offered now; replaced by the agent */
    const struct offer *earlier; /* the one before, or NULL: see allocation.h */
    const struct nodeview *node;
    void (*on_state)(void *userdata); /* registered, or no more, or another rival */
    void *userdata;
};

struct service_counters {
    uint64_t allocations, failed_allocations, preferences, lists_sent, registrations,
        failed_registrations;
};

int service_new(const struct service_context *context, const char *resource,
                struct service **ret_service, struct error *err);

/* Stops at once, as when the agent ends: the socket is removed, the kubelet sees the stream end. */
void service_free(struct service *service);

/*
 * Stops for good: the kubelet first gets an empty list, so that the resource's capacity is 0 at
 * once and not after its grace of 5 minutes. Frees the service when that was read, or after half a
 * second.
 */
void service_withdraw(struct service *service);

/* Sends the current list to whoever watches. */
void service_announce(struct service *service);

/* The kubelet's folder changed: listen and register again where that is needed. */
void service_check(struct service *service);

/* Registered with the kubelet that is there now (or serving, when there is none to register with).
 */
bool service_is_ready(const struct service *service);

/* The socket of whom it stands back for: NVIDIA's "nvidia-gpu.sock", or its own name when that is
 * another agent's; NULL = nobody. */
const char *service_rival(const struct service *service);

/* There is news of what the Node shows: a service registers anew when that goes on to be nothing of
 * its devices (doubt.h). */
void service_node_changed(struct service *service);

const char *service_resource(const struct service *service);
const struct service_counters *service_counters(const struct service *service);

/* "gpuslice-gpu.sock" for "nvidia.com/gpu". NVIDIA's plugin unlinks its own nvidia-*.sock names. */
void service_socket_name(const char *resource, char *buffer, size_t size);
