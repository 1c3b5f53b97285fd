// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * libcurl's multi interface on a uv loop: transfers that share connections. libcurl names sockets
 * and a timeout; the loop watches them and calls on_ready, and the owner then runs libcurl with
 * curlmulti_act. The owner decides when because libcurl forbids adding and removing transfers from
 * within its own callbacks.
 */

#include <curl/curl.h>
#include <stdbool.h>
#include <uv.h>

struct curlmulti;

typedef void curlmulti_ready_fn(struct curlmulti *hub, curl_socket_t fd, int events,
                                void *userdata);

/* -ENOMEM. */
int curlmulti_new(uv_loop_t *loop, curlmulti_ready_fn *on_ready, void *userdata,
                  struct curlmulti **ret_hub);

/* Closes its connections; transfers must have been removed. NULL is allowed. */
void curlmulti_free(struct curlmulti *hub);

/* Add and remove transfers; curlmulti_add returns -ENOMEM. Not from within curlmulti_act. */
int curlmulti_add(struct curlmulti *hub, CURL *easy);
void curlmulti_remove(struct curlmulti *hub, CURL *easy);

/* Handles what on_ready reported: runs libcurl, and through it the transfers' callbacks. */
void curlmulti_act(struct curlmulti *hub, curl_socket_t fd, int events);

/* The next finished transfer; false = none. */
bool curlmulti_next_ended(struct curlmulti *hub, CURL **ret_easy, CURLcode *ret_code);
