// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * An orderly shutdown, requested by the agent: at a restart, an upgrade and an eviction, when what
 * we wrote must stay for the next agent, and at an uninstall, when nothing may stay: no label,
 * taint, annotation, condition or NodeFeature of ours. Our DaemonSet tells which (owner.h); without
 * its response, everything stays.
 *
 * It takes slightly less than SYNC_SHUTDOWN_MS at most: the agent does not wait longer.
 */

#include "kube/recorder.h"
#include "nodesync/feature.h"
#include "nodesync/nodewriters.h"
#include "nodesync/observed.h"
#include "nodesync/owner.h"

/* The parts need not be initialised before shutdown_begin, and before observed->client is set
 * neither then. */
struct shutdown_setup {
    struct observed *observed; /* borrowed, like the rest */
    const struct owner *owner;
    struct nodewriters *nodewriters;
    struct feature *feature;
    void (*on_done)(
        void *userdata); /* nothing is left to do, or the time is up; may be called repeatedly */
    void *userdata;
};

struct shutdown {
    struct shutdown_setup setup;
    const struct recorder *events; /* borrowed */
    uv_timer_t limit;
    struct kube_call *call; /* NULL = none pending */
    bool is_begun;
    bool is_asked; /* the DaemonSet was queried, or there is none */
    bool is_known; /* whether it is an uninstall */
    bool is_uninstall;
};

void shutdown_init(struct shutdown *shutdown, uv_loop_t *loop, const struct shutdown_setup *setup);

/* The agent asked us to shut down. Its earlier events (may be NULL) may still be pending. */
void shutdown_begin(struct shutdown *shutdown, const struct recorder *events);

/* A part changed: the owner is known, or something became idle. */
void shutdown_sync(struct shutdown *shutdown);

/* Stops; the memory may be freed once the loop has run. */
void shutdown_deinit(struct shutdown *shutdown);
