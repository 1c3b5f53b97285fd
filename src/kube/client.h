// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Requests to the API server over libcurl, on the caller's loop: nothing blocks, all requests share
 * one HTTP/2 connection when the server allows it. Token and CA are read anew for each request, so
 * a rotation needs no restart.
 *
 * One request is one try. Who wants it done for sure tries again with backoff.h, since only the
 * caller knows whether it still matters. After a try that timed out, later ones get a connection of
 * their own: the old one may lead nowhere.
 *
 * Callbacks may do anything with this client, free it too. Redirects are answers like any other.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "kube/access.h"

enum {
    KUBE_BODY_MAX = 4 << 20, /* a larger answer fails with -EMSGSIZE; an object is below 1.5 MiB */
};

struct kube_client;
struct kube_call;

struct kube_response {
    int error; /* 0 = the server answered; else a negative errno: it did not, or not whole */
    unsigned http_status; /* 0 when error */
    const char *body;     /* NUL-terminated; "" for a stream's 2xx and errors */
    size_t size;
    unsigned retry_after_s; /* 0 = not said */
    const char
        *reason; /* a sentence for people, from the Status object or the transport; "" = fine */
};

/* Has the server done what was asked? Every 2xx says so; no answer has status 0. */
static inline bool kube_is_success(unsigned http_status)
{
    return http_status >= 200 && http_status < 300;
}

struct kube_request {
    const char *method;       /* "GET" */
    const char *path;         /* "/api/v1/nodes/x?fieldManager=y"; the caller has escaped it */
    const char *content_type; /* of body; NULL without one */
    const char *body;
    size_t body_size;
    unsigned timeout_ms; /* of the whole, of a stream until its answer begins; 0 = 30 s */
    unsigned idle_ms;    /* a stream's, from then on: so long may nothing come; 0 = 30 s */
    /* Not NULL = a stream: a 2xx body goes here piece by piece and is not kept. Nonzero ends the
     * call with -EBADMSG. */
    int (*on_data)(const char *data, size_t size, void *userdata);
    /* A stream's 2xx answer begins. May be NULL. */
    void (*on_open)(void *userdata);
    /* Called once, from the loop, never from within kube_send; the call is gone afterwards. */
    void (*on_done)(const struct kube_response *response, void *userdata);
};

/*
 * manager names the program: the field manager of all it writes, and its user agent with our
 * version. Takes a copy of what it needs of access, and of manager.
 */
int kube_client_new(uv_loop_t *loop, const struct kube_access *access, const char *manager,
                    struct kube_client **ret_client, struct error *err);

/* The field manager. Borrowed. */
const char *kube_client_manager(const struct kube_client *client);

/*
 * Cancels what is open (no on_done): calls are gone with their client. The loop must turn once more
 * to close what it holds. NULL is fine.
 */
void kube_client_free(struct kube_client *client);

/*
 * Everything in request is copied. ret_call may be NULL. -EACCES and the like when the token cannot
 * be read: a try that failed, as on_done would say it.
 */
int kube_send(struct kube_client *client, const struct kube_request *request, void *userdata,
              struct kube_call **ret_call, struct error *err);

/* No on_done follows. NULL is fine. */
void kube_cancel(struct kube_call *call);
