// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The device plugin of one resource: an endpoint (endpoint.h) that is kept registered with the
 * kubelet. This is the state machine that decides when to register.
 *
 * A service is active until it is withdrawn: it registers when a kubelet's socket shows up, again
 * when that socket is a new one, when its own socket was deleted, when the kubelet stopped
 * watching, when a foreign socket came and went unnoticed, and when the Node keeps showing none of
 * its devices (regcheck.h). Failures are retried with back-off. It reads the current offer through
 * the pointer that the agent keeps up to date.
 *
 * It never fights: while another plugin serves the resource (standby.h) the service stands back,
 * and takes over as soon as that one is gone. Its device ids are unchanged then, so pods keep their
 * devices.
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

/* Shared by all services of an agent; borrowed, and must outlive them. */
struct service_context {
    uv_loop_t *loop;
    const struct kubeletdir *kubelet;
    const struct offer *offer;   /* the current offer; replaced by the agent */
    const struct offer *earlier; /* the previous one, or NULL: see allocation.h */
    struct grants *grants;       /* NULL = grants are not recorded */
    const struct nodestatus *node;
    void (*on_state)(
        void *userdata); /* registered, no longer registered, or another foreign plugin */
    void *userdata;
};

struct service_counters {
    struct endpoint_counters calls;
    uint64_t registrations, failed_registrations;
};

int service_new(const struct service_context *context, const char *resource,
                struct service **ret_service, struct error *err);

/* Stops immediately, as when the agent exits: the socket is removed, the kubelet sees the stream
 * end. */
void service_free(struct service *service);

/*
 * Stops for good: the kubelet first gets an empty list, so that the resource's capacity is 0
 * immediately and not after its grace period of 5 minutes. Frees the service when that was read, or
 * after half a second.
 */
void service_withdraw(struct service *service);

/* Sends the current list to all watches, unless the service stands back; registers again if the
 * kubelet is to call before starts of containers now, or no longer. */
void service_announce(struct service *service);

/* The entry `name` (NULL = any) of the kubelet's directory changed: listens and registers again if
 * needed. */
void service_check(struct service *service, const char *name);

/* Registered with the current kubelet (or serving, if there is none to register with). */
bool service_is_ready(const struct service *service);

/* The socket of the plugin it stands back for: NVIDIA's "nvidia-gpu.sock", or its own name if that
 * is another agent's; NULL = none. */
const char *service_foreign_plugin(const struct service *service);

/* The Node's status is updated. */
void service_node_changed(struct service *service);

const char *service_resource(const struct service *service);
struct service_counters service_counters(const struct service *service);
