// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What becomes of the wanted MIG layout, on all GPUs together: one state and one message, and which
 * of its changes are news.
 *
 * A look at all GPUs is one round: migreport_begin, a finding for each GPU (migreport_add), and
 * migreport_conclude. A round that ends early, because a request is under way, has not seen all of
 * them: then questions, retries, and what takes a pending mode back are no news.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"
#include "slice/inventory.h"

enum { MIGREPORT_MESSAGE_SIZE = 1024 };

/* The most severe last. */
enum migreport_state {
    MIGREPORT_NONE,     /* no layout is wanted, or no GPU could have one */
    MIGREPORT_SUCCESS,  /* it is in force, or concerns no GPU, as for mig-parted */
    MIGREPORT_STARTING, /* it is not known yet whether one is wanted */
    MIGREPORT_PENDING,
    MIGREPORT_FAILED,
    MIGREPORT_REBOOTING, /* the node is about to be rebooted for it */
};

/* "pending", as NVIDIA's MIG manager writes it into a label; NULL for NONE and STARTING. */
const char *migreport_state_name(enum migreport_state state);

/* What is under way when a round ends. */
enum migreport_work {
    MIGREPORT_IDLE,
    MIGREPORT_ASKS,       /* who uses a GPU */
    MIGREPORT_STEPS,      /* a step, */
    MIGREPORT_RETRIES,    /* again after it failed or was refused, */
    MIGREPORT_TAKES_BACK, /* or one that takes a pending mode back */
};

/* How a round ends. */
struct migreport_end {
    enum migreport_work work;
    bool
        still_fails; /* a GPU that failed when it was looked at last has not been looked at since */
    uint64_t n_steps; /* taken so far */
    bool is_for_none; /* what is wanted concerns no GPU */
    const char *wish; /* "all-1g.5gb (label nvidia.com/mig.config)" */
};

/* Outcomes of migreport_conclude. */
enum {
    MIGREPORT_CHANGED = 1, /* state or message */
    MIGREPORT_EVENT = 2,   /* that, and it will stay so: an event */
};

/* All zero = nothing was looked at. */
struct migreport {
    enum migreport_state state;
    char message[MIGREPORT_MESSAGE_SIZE];  /* sentences; "" in NONE and STARTING */
    bool waits;                            /* somebody holds what has to go */
    char reported[MIGREPORT_MESSAGE_SIZE]; /* the message of the last event, */
    uint64_t reported_steps;               /* and the steps until then */
    struct {
        enum migreport_state state;
        bool waits;
        struct text text;   /* sentences, each about the GPUs that it begins with */
        struct text gpus;   /* "GPU 0, GPU 1": of the last one, */
        char sentence[512]; /* and what it is */
    } round;
};

void migreport_deinit(struct migreport *report);

void migreport_begin(struct migreport *report);

/* before, what: a sentence about the GPU; NULL = there is nothing to say. */
void migreport_add(struct migreport *report, enum migreport_state state, const struct gpu *gpu,
                   const char *before, const char *what);

/* Somebody holds what has to go; `then`: what follows when they have ended, or "". */
void migreport_add_wait(struct migreport *report, const struct gpu *gpu, const char *holders,
                        const char *then);

/* 0 or an outcome above. */
int migreport_conclude(struct migreport *report, const struct migreport_end *end);

/* Of the event. */
const char *migreport_reason(const struct migreport *report);
bool migreport_warns(const struct migreport *report);
