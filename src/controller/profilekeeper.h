// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One SliceProfile, or what is left of one: has the change made that its plan wants, and its status
 * written, each by a writer of its own, so that a change that is refused can be told.
 */

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "controller/owned.h"
#include "controller/profileplan.h"
#include "kube/client.h"
#include "kube/recorder.h"

struct profilekeeper_counters {
    uint64_t written, failed; /* changes of NodeOverlays and NodePools */
};

/* Common to all; borrowed. */
struct profilekeeper_setup {
    uv_loop_t *loop;
    struct kube_client *client;
    struct recorder *recorder;
    bool (*may_write)(void *userdata);
    void *userdata;
    struct profilekeeper_counters *counters;
    void (*on_change)(void *userdata); /* a request has ended: look again. Never from within a
                                          function of this header */
    void *on_change_userdata;
};

struct profilekeeper;

struct profilekeeper *profilekeeper_new(const struct profilekeeper_setup *setup, const char *name);

const char *profilekeeper_name(const struct profilekeeper *keeper);

/* Plans again, and goes on from there. True: look again soon, also if nothing changes. */
bool profilekeeper_look(struct profilekeeper *keeper, const struct planview *view,
                        const struct profileplan_trouble *trouble);

/* There is nothing to be written at the moment. */
bool profilekeeper_is_idle(const struct profilekeeper *keeper);

/* The consent that the end of a profile waits for, a sentence; "" = none. Borrowed. */
const char *profilekeeper_waits_for(const struct profilekeeper *keeper);

/* The profile has gone, and nothing is left of it. */
bool profilekeeper_is_over(const struct profilekeeper *keeper);

enum profilekeeper_number {
    PROFILEKEEPER_READY,
    PROFILEKEEPER_NODES,
    PROFILEKEEPER_ROLLS,
    PROFILEKEEPER_OVERLAYS,
};

double profilekeeper_number(const struct profilekeeper *keeper, enum profilekeeper_number number);

/* NULL is allowed. */
void profilekeeper_free(struct profilekeeper *keeper);
