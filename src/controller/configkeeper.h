// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One SliceProfile that is made of a ConfigMap: has it written, or deleted. The same is not sent
 * twice within a few seconds, in which the watch sees what was sent. What is to be deleted may be
 * wanted again in a moment (kubectl replace --force deletes a ConfigMap and creates it), and with
 * the profile would go what people added to it: it is deleted when nobody has wanted it for
 * grace_ms.
 */

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "controller/change.h"
#include "kube/client.h"

/* Common to all; borrowed. */
struct configkeeper_setup {
    uv_loop_t *loop;
    struct kube_client *client;
    bool (*may_write)(void *userdata);
    void *userdata;
    void (*on_change)(void *userdata); /* a request has ended: look again. Never from within a
                                          function of this header */
    void *on_change_userdata;
    uint64_t grace_ms;
};

enum configkeeper_news { CONFIGKEEPER_NO_NEWS, CONFIGKEEPER_MADE, CONFIGKEEPER_CHANGED };

struct configkeeper;

/* NULL without memory. */
struct configkeeper *configkeeper_new(const struct configkeeper_setup *setup, const char *name);

const char *configkeeper_name(const struct configkeeper *keeper);

/* What is to be written now; taken over. Nothing is done with it while a request is open, after
 * which on_change is called. True: not yet, look again soon. */
bool configkeeper_want(struct configkeeper *keeper, struct change *change);

/* Why the API server refused the last request, for a person; "" = it did not. Borrowed. */
const char *configkeeper_refusal(const struct configkeeper *keeper);

/* What the API server has written since the last call of this function. */
enum configkeeper_news configkeeper_take_news(struct configkeeper *keeper);

/* The loop must run once more. NULL is allowed. */
void configkeeper_free(struct configkeeper *keeper);
