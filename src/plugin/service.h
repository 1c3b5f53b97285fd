// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The device plugin of one resource: an endpoint (endpoint.h) that is registered with the kubelet
 * and kept so. This is the state machine that decides when to register.
 *
 * A service is offered, and stays so until it is withdrawn: it registers when a kubelet's socket
 * shows up, again when that socket is a new one, when its own socket was deleted, when the kubelet
 * stopped watching, when somebody else's socket came and went unseen, and when the Node goes on to
 * show nothing of its devices (regcheck.h). What fails is tried again, less and less often. It
 * reads the current offer through the pointer that the agent keeps up to date.
 *
 * It never fights: while somebody else serves the resource (standby.h) the service stands back, and
 * is back in a moment when that one is gone. Its device ids are then the ones from before, so pods
 * keep what they hold.
 */

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "plugin/endpoint.h"
#include "plugin/kubeletdir.h"
#include "plugin/nodestatus.h"
#include "plugin/offer.h"

struct service;

/* What all services of an agent share; borrowed, and must outlive them. */
struct service_context {
    uv_loop_t *loop;
    const struct kubeletdir *kubelet;
    const struct offer *offer;   /* what is offered now; replaced by the agent */
    const struct offer *earlier; /* the one before, or NULL: see allocation.h */
    struct grants *grants;       /* NULL = no record is kept of what is given */
    const struct nodestatus *node;
    void (*on_state)(void *userdata); /* registered, or no more, or another rival */
    void *userdata;
};

struct service_counters {
    struct endpoint_counters calls;
    uint64_t registrations, failed_registrations;
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

/* Sends the current list to whoever watches, unless the service stands back. */
void service_announce(struct service *service);

/* The kubelet's folder changed, by the entry `name` (NULL = any): listen and register again where
 * that is needed. */
void service_check(struct service *service, const char *name);

/* Registered with the kubelet that is there now (or serving, when there is none to register with).
 */
bool service_is_ready(const struct service *service);

/* The socket of whom it stands back for: NVIDIA's "nvidia-gpu.sock", or its own name when that is
 * another agent's; NULL = nobody. */
const char *service_foreign_plugin(const struct service *service);

/* There is news of what the Node shows. */
void service_node_changed(struct service *service);

const char *service_resource(const struct service *service);
struct service_counters service_counters(const struct service *service);
