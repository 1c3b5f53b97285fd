// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The API server, played: kube/client.h for tests that are linked with it. What is sent waits until
 * the test answers it, or is answered from the loop by a function of the test's.
 */

#include <jansson.h>
#include <stdint.h>

#include "kube/client.h"

/* One request as it was sent; a test looks, and changes nothing. */
struct kube_call {
    struct kube_call *next;
    char *method, *path, *content_type;
    json_t *body;                                                  /* NULL = none */
    int (*on_data)(const char *data, size_t size, void *userdata); /* NULL = no stream */
    void (*on_open)(void *userdata);
    void (*on_done)(const struct kube_response *response, void *userdata);
    void *userdata;
    bool is_opened;
    uv_timer_t timer;
    bool has_timer;
};

struct fake_answer {
    unsigned status; /* 0 = there is none: the connection is refused */
    const char *body;
};

/* A literal, for structs that own their words as a rule. */
static inline char *own(const char *text)
{
    return (char *)(uintptr_t)text;
}

/* The client that requests are sent with; from kube_client_new it is the same. */
struct kube_client *fake_api_client(void);

/* Forgets all. What is open is gone without an answer. */
void fake_api_reset(void);

/* kube_send fails with it, or does not (0). */
void fake_api_break(int error);

/* Sent so far, and of these open. */
unsigned fake_api_n_sent(void);
unsigned fake_api_n_open(void);

/* The open request that asks this; fails the test without one. */
struct kube_call *fake_api_expect(const char *method, const char *path);

/* The open request whose path begins so (a watch's has a random number); fails without one. */
struct kube_call *fake_api_expect_prefix(const char *method, const char *prefix);

/* A part of a stream's response, which goes on. */
void fake_api_stream(struct kube_call *call, const char *data);

/* The call is gone afterwards, as with a real one. */
void fake_api_answer(struct kube_call *call, unsigned status, const char *body);

/* expect and answer. */
void fake_api_serve(const char *method, const char *path, unsigned status, const char *body);

/* From now on each request is answered so, from the loop of kube_client_new. */
void fake_api_serve_by(struct fake_answer (*answer)(const struct kube_call *call));
