// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * libcurl's multi interface on a uv loop: transfers that share connections. libcurl names sockets
 * and a time; the loop watches them; when one is due, the owner hears on_ready and lets libcurl act
 * with hub_act. The owner decides when because libcurl forbids adding and removing transfers from
 * within its own callbacks.
 */

#include <curl/curl.h>
#include <stdbool.h>
#include <uv.h>

struct hub;

typedef void hub_ready_fn(struct hub *hub, curl_socket_t fd, int events, void *userdata);

/* -ENOMEM. */
int hub_new(uv_loop_t *loop, hub_ready_fn *on_ready, void *userdata, struct hub **ret_hub);

/* Closes its connections; transfers must have been removed. NULL is fine. */
void hub_free(struct hub *hub);

/* Transfers; hub_add gives -ENOMEM. Neither from within hub_act. */
int hub_add(struct hub *hub, CURL *easy);
void hub_remove(struct hub *hub, CURL *easy);

/* What on_ready named: runs libcurl, and through it the transfers' callbacks. */
void hub_act(struct hub *hub, curl_socket_t fd, int events);

/* A transfer that has ended since; false = none. */
bool hub_next_ended(struct hub *hub, CURL **ret_easy, CURLcode *ret_code);
