// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One Node of a slice profile: takes its startup taint when it has what was promised, tells what is
 * wrong, and deletes its NodeClaim when it is reported to. What is judged is nodegate.h's.
 *
 * What it remembers is only for how long something has been so, and what it told. With another
 * leader both begin again, and so an event may come a second time.
 */

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "controller/nodegate.h"
#include "kube/client.h"
#include "kube/recorder.h"

enum {
    GATE_RETRY_MS = 1000, /* after a conflict, and at first after a failure */
    GATE_RETRY_MAX_MS = 60000,
    GATE_CONFLICTS = 4,     /* so many in a row are no coincidence: something refuses the write */
    GATE_UNSEEN_MS = 10000, /* until the watch shows that it is open */
    GATE_GOING_MS = 60000,  /* until its Node goes too, after a NodeClaim was deleted */
    GATE_CALLS = 32, /* requests of all gates at a time, of which each takes tens of KiB: a thousand
                        nodes may come at once */
    GATE_SEEN_S = 30, /* so long this leader itself has seen a node short before it replaces it */
};

struct gate_counters {
    uint64_t opened, replaced, failed; /* requests */
    unsigned n_open;                   /* those under way */
};

/* Common to all; borrowed. */
struct gate_setup {
    struct kube_client *client;
    struct recorder *recorder;
    int64_t limit_s;
    bool (*may_write)(void *userdata); /* asked before each write */
    void (*on_opened)(const char *node, void *userdata);
    void *userdata;
    struct gate_counters *counters;
};

struct gate_now {
    uint64_t ms; /* monotonic */
    time_t wall;
};

struct gate;

/* is_new: the Node came while it was watched for, so that it is as old as it is known. Of another
 * one its creation tells, by our clock. NULL without memory. */
struct gate *gate_new(const struct gate_setup *setup, const char *node, bool is_new);

/* NULL is allowed. */
void gate_free(struct gate *gate);

const char *gate_node(const struct gate *gate);

/*
 * The Node as it is at this moment: judges it, tells what there is to tell, and opens it if that is
 * due. True: nothing follows as long as the Node and its kind stay as they are.
 */
bool gate_see(struct gate *gate, const struct nodeview *node, const struct nodekind *kind,
              bool has_dra, const struct gate_now *now);

/* As of the last time that it was seen. */
enum nodegate_state gate_state(const struct gate *gate);
bool gate_is_overdue(const struct gate *gate);    /* and was seen so for long enough */
const char *gate_reason(const struct gate *gate); /* NULL = nothing was reported, or it is over */
const char *gate_message(const struct gate *gate);

/* It is overdue, and is not replaced: told once for each `why`, the end of a sentence. */
void gate_keep(struct gate *gate, const char *why);

/* Deletes its NodeClaim, the very one of the view. Does nothing while a request of it is under way.
 */
void gate_replace(struct gate *gate, const struct nodeview *node, const struct gate_now *now);
