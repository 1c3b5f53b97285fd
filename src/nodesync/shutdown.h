// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The end in good order: the agent said bye. It does so at a restart, an upgrade and an eviction,
 * when what we wrote must stay for who comes next, and at an uninstall, when nothing may stay: no
 * label, taint, annotation, condition or NodeFeature of ours. The DaemonSet that runs us knows
 * which it is (owner.h); without its answer, everything stays.
 *
 * All of it takes a little less than SYNC_SHUTDOWN_MS at most: the agent waits no longer.
 */

#include "kube/recorder.h"
#include "nodesync/feature.h"
#include "nodesync/nodewriters.h"
#include "nodesync/observed.h"
#include "nodesync/owner.h"

struct shutdown {
    struct observed *observed; /* borrowed, like all up to events */
    const struct owner *owner;
    struct nodewriters *nodewriters;
    struct feature *feature;
    const struct recorder *events;
    void (*on_done)(void *userdata);
    void *userdata;
    uv_timer_t limit;
    struct kube_call *call; /* NULL = none is open */
    bool is_begun;
    bool is_asked; /* the DaemonSet, or there is none to be asked */
    bool is_known; /* whether it is an uninstall */
    bool is_uninstall;
};

/* The parts need not be initialised before shutdown_begin, and before scene->client is set neither
 * then. on_done: nothing is left to be done, or there is no time left; it may come more than once.
 */
void shutdown_init(struct shutdown *shutdown, uv_loop_t *loop, struct observed *observed,
                   const struct owner *owner, struct nodewriters *nodewriters,
                   struct feature *feature, void (*on_done)(void *userdata), void *userdata);

/* The agent said bye. What it said before, events (may be NULL) may still be writing. */
void shutdown_begin(struct shutdown *shutdown, const struct recorder *events);

/* A part of it changed: the owner is known, or something came to rest. */
void shutdown_sync(struct shutdown *shutdown);

/* Stops; the memory may go when the loop has run. */
void shutdown_deinit(struct shutdown *shutdown);
