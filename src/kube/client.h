// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Requests to the API server over libcurl, on the caller's loop: nothing blocks, all requests share
 * one HTTP/2 connection when the server allows it. Token and CA are read for each request, so a
 * rotation needs no restart.
 *
 * One request is one try. Callers retry with backoff.h, since only they know whether the request
 * still matters. After a timeout, later requests use a new connection: the old one may be dead.
 *
 * Callbacks may do anything with this client, including freeing it. Redirects are not followed.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "kube/access.h"

enum {
    KUBE_BODY_MAX =
        4 << 20, /* a larger response fails with -EMSGSIZE; an object is below 1.5 MiB */
};

struct kube_client;
struct kube_call;

struct kube_response {
    int error; /* 0 = the server responded; else a negative errno: no response, or an incomplete one
                */
    unsigned http_status; /* 0 if error */
    const char *body;     /* NUL-terminated; "" for a stream's 2xx and for errors */
    size_t size;
    unsigned retry_after_s; /* 0 = not given */
    const char
        *reason; /* a message for people, from the Status object or the transport; "" = success */
};

/* True for every 2xx; a request without a response has status 0. */
static inline bool kube_is_success(unsigned http_status)
{
    return http_status >= 200 && http_status < 300;
}

struct kube_request {
    const char *method;       /* "GET" */
    const char *path;         /* "/api/v1/nodes/x?fieldManager=y"; escaped by the caller */
    const char *content_type; /* of body; NULL if there is none */
    const char *body;
    size_t body_size;
    unsigned timeout_ms; /* for everything, for a stream until its response begins; 0 = 30 s */
    unsigned idle_ms;    /* for a stream after that: the longest silence; 0 = 30 s */
    /* Not NULL = a stream: a 2xx body is passed on piecewise and not kept. Nonzero ends the call
     * with -EBADMSG. */
    int (*on_data)(const char *data, size_t size, void *userdata);
    /* A stream's 2xx response begins. May be NULL. */
    void (*on_open)(void *userdata);
    /* Called once, from the loop, never from within kube_send; the call is invalid afterwards. */
    void (*on_done)(const struct kube_response *response, void *userdata);
};

/*
 * manager names the program: the field manager of everything it writes, and its user agent with our
 * version. Copies what it needs of access, and manager.
 */
int kube_client_new(uv_loop_t *loop, const struct kube_access *access, const char *manager,
                    struct kube_client **ret_client, struct error *err);

/* The field manager. Borrowed. */
const char *kube_client_manager(const struct kube_client *client);

/*
 * Cancels open calls (no on_done). The loop must run once more to close its handles. NULL is
 * allowed.
 */
void kube_client_free(struct kube_client *client);

/*
 * Everything in request is copied. ret_call may be NULL. -EACCES and the like if the token cannot
 * be read: treat it like a failed try in on_done.
 */
int kube_send(struct kube_client *client, const struct kube_request *request, void *userdata,
              struct kube_call **ret_call, struct error *err);

/* No on_done follows. NULL is allowed. */
void kube_cancel(struct kube_call *call);
