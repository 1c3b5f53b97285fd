// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * For the tests of this room: services, and what else the facts are about, played. A program that
 * has test-played.c among its sources gets these instead of service.h, grants.h, coexist.h and
 * publisher.h. What is done to them is noted, in order.
 */

#include <stdbool.h>

#include "base/text.h"
#include "node/facts.h"

struct service {
    const char *resource;
    bool ready;
    const char *foreign; /* the socket of the plugin it stands back for; NULL = none */
    struct service_counters counters;
    char name[RESOURCE_NAME_SIZE]; /* where resource points, of one that was started */
};

struct played {
    struct text done;            /* "+nvidia.com/gpu ": see test-played.c */
    struct text events;          /* "!GPULeftOut: sentence\n"; ! = a warning */
    int new_result;              /* of service_new */
    const char *coexist_message; /* about nvidia.com/gpu; NULL = no foreign plugin serves it */
    const char *grants_problem;
    const char *held; /* "MIG-0 nvidia.com/gpu;", a device and the resource as which pods have it */
    bool grants_wait; /* the journal is not read yet */
    size_t n_grants_waiting;
    void (*on_drained)(void *userdata); /* what grants_drain was given */
    void *drained_userdata;
    bool config_is_missing;
    const char *config_problem; /* NULL = none */
    bool has_profile;
    bool has_cluster;
};
extern struct played played;

/* With no problem, and nothing done. */
void played_reset(void);

/* What was done since the last time, or the events. */
void played_assert_done(const char *expected);
void played_assert_events(const char *expected);

/* A node that knows its machine, with two registered services: nvidia.com/gpu and
 * nvidia.com/gpu-half. */
struct played_node {
    struct facts facts;
    struct gpu gpu;
    struct service services[2];
    struct service *items[2];
    struct serviceset set;
};
void played_node_init(struct played_node *node);
