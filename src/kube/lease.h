// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One of several replicas holds a Lease (coordination.k8s.io/v1) and works; the others wait. As
 * client-go's leader election does it, with the same object, so either may wait for the other.
 *
 * Clocks of others are not trusted (leaseview.h). Its times are for people.
 *
 * The holder renews it, and counts as holder until `deadline_ms` after it sent the last renewal
 * that succeeded: less than the duration, so it stops before another one begins. A process that was
 * stopped for longer finds that out by lease_is_held, which has to be asked before each write.
 */

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "kube/client.h"

enum {
    LEASE_DURATION_S = 15,
    LEASE_DEADLINE_MS = 10000,
    LEASE_RETRY_MS = 2000, /* how often it is renewed, or looked at */
};

struct lease;

struct lease_setup {
    struct kube_client *client;    /* borrowed */
    const char *namespace_, *name; /* of the Lease, which is created if there is none */
    const char *identity;          /* ours: unique among the replicas */
    unsigned duration_s, deadline_ms, retry_ms; /* 0 = as above */
    uint64_t (*now_ms)(void);                   /* monotonic; NULL = clock_now_ms */
    /* We hold it. Called from the loop, as the others, never from within lease_*; none of them may
     * free the lease. */
    void (*on_acquired)(void *userdata);
    /* No longer, but it is tried again. Not after lease_release. */
    void (*on_lost)(void *userdata);
    /* After lease_release: nobody waits for us any more, or could not be told so. */
    void (*on_released)(void *userdata);
    void *userdata;
};

/* Strings are copied. */
int lease_new(uv_loop_t *loop, const struct lease_setup *setup, struct lease **ret_lease,
              struct error *err);

/* Nobody else holds it at this moment. False for NULL. */
bool lease_is_held(const struct lease *lease);

/* The last try to read or write the Lease succeeded. */
bool lease_is_reachable(const struct lease *lease);

/* Who holds it as far as we know; "" = nobody, or it was not read yet. Borrowed until the loop
 * runs. */
const char *lease_holder(const struct lease *lease);

/* Gives it up, so that another replica need not wait for its end. */
void lease_release(struct lease *lease);

/* Without a word to the server: others wait for its end. NULL is allowed. */
void lease_free(struct lease *lease);
