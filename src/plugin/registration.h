// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One Register call: announces to the kubelet that a resource is served on a socket beside its own.
 *
 * Each call uses a new connection, because the kubelet may be a new one. Whether to call, and when
 * again, is service.h's subject.
 */

#include <stdbool.h>
#include <uv.h>

#include "base/error.h"

struct rpc_client;

/* `why` it was rejected or failed, one sentence; NULL = the resource is registered. */
typedef void registration_done_fn(const char *why, void *userdata);

/* All zero = no call is pending. */
struct registration {
    struct rpc_client *client;
    registration_done_fn *on_done;
    void *userdata;
};

/* All of it is borrowed; the texts only for the call. */
struct registration_setup {
    uv_loop_t *loop;
    const char *kubelet_path; /* of its socket */
    const char *endpoint;     /* the name of our socket in the same folder */
    const char *resource;
    bool wants_pre_start; /* as the endpoint answers it, see deviceplugin_options */
    registration_done_fn *on_done;
    void *userdata;
};

/*
 * Calls the kubelet. on_done runs once within 5 seconds, never inside this function. -ECONNREFUSED
 * or -ENOENT: there is no kubelet behind its socket; what fails at once runs no on_done.
 */
int registration_call(struct registration *registration, const struct registration_setup *setup,
                      struct error *err);

/* Cancels a pending call: on_done does not run any more. Without one it does nothing. */
void registration_cancel(struct registration *registration);
