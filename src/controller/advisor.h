// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Answers pods that request MIG devices by a name which no Node has for them (nameadvice.h), each
 * once, by an event.
 *
 * Whether some Node has it is asked of all Nodes, of which nothing is kept: one list, when a Node
 * that has such devices under another name makes it likely. A pod that is served by another Node is
 * asked for again later, and ever more rarely.
 */

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "kube/recorder.h"
#include "kube/store.h"

enum {
    ADVISOR_QUESTIONS_MAX = 25, /* of one list: so many events are written until the next one */
    ADVISOR_AGAIN_FIRST_S = 60,
    ADVISOR_AGAIN_LAST_S = 3600,
};

struct advisor;

struct advisor_setup {
    uv_loop_t *loop;
    struct kube_client *client;
    struct recorder *recorder;
    bool (*may_write)(void *userdata);
    void *userdata;
    uint64_t *n_answered; /* counts */
};

/* NULL without memory. */
struct advisor *advisor_new(const struct advisor_setup *setup);

/* NULL is allowed. */
void advisor_free(struct advisor *advisor);

/* Looks at all pods (as podneed.h reduces them), unless it is still asking. nodes: as namenode.h
 * does. now: s of the wall clock. */
void advisor_look(struct advisor *advisor, const struct kube_store *pods,
                  const struct kube_store *nodes, int64_t now);

/* That pod waits no more. */
void advisor_forget(struct advisor *advisor, const char *uid);
