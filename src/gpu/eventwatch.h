// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The helper's wait for XID events: which GPUs of a session are registered for them, and the thread
 * that waits.
 *
 * A registration may fail for a moment, and so may the first wait; who took that as final would see
 * no XID any more. So a GPU that cannot be watched is tried again with a back-off. The wait that is
 * under way need not see a GPU that is registered later, so what succeeds then only shows that a
 * new session is worth it.
 *
 * The thread owns nothing but its guard: it reads the driver, which stays open until the process
 * executes itself again. `trouble`, which GPUs have changed, and the two descriptors are its only
 * messages to the other thread.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gpu/gpu.h"
#include "gpu/guard.h"

enum eventwatch_outcome {
    EVENTWATCH_RENEW = 1, /* a new session with the driver is due */
};

struct eventwatch_gpu;

struct eventwatch {
    const struct gpu_backend *backend;
    struct gpu_driver *driver;
    struct guard *guard;                             /* of the thread */
    void (*on_event)(const struct gpu_event *event); /* in either thread */
    /* Whether a GPU is watched changed: why it is not, or "" = it is. */
    void (*on_watch)(const char *uuid, const char *reason);
    /* The rest is internal. */
    struct eventwatch_gpu *gpus;
    size_t n_gpus;
    bool refused;             /* the wait is not supported */
    int trouble_fd;           /* eventfd: the wait failed */
    int changes_fd;           /* eventfd: how some GPU is partitioned has changed, */
    _Atomic bool any_changed; /* and the driver did not tell which */
    _Atomic int trouble;      /* its outcome */
    char why[256];            /* written before trouble */
    uint64_t due_ms;
    uint64_t backoff_ms; /* may be set: a session that comes soon after another waits longer */
};

/* The first five members are set; the watch stays where it is until the process ends. 0 or
 * -errno. */
int eventwatch_init(struct eventwatch *watch);

/* Registers one more GPU, so that nothing is missed from now on; reports nothing yet. 0,
 * EVENTWATCH_RENEW (it is lost), or -ENOMEM. */
int eventwatch_add(struct eventwatch *watch, const char *uuid);

/* Reports for each GPU whether it is watched, and starts to wait. 0, EVENTWATCH_RENEW or -errno. */
int eventwatch_start(struct eventwatch *watch, struct error *err);

/* The file descriptor is readable: the wait failed. 0 or EVENTWATCH_RENEW. */
int eventwatch_take_trouble(struct eventwatch *watch);

/* changes_fd is readable, no longer after this. True: a GPU other than this one (NULL = any) has
 * changed. */
bool eventwatch_take_changes(struct eventwatch *watch, const char *but_uuid);

/* When those not watched are to be tried again; UINT64_MAX = all are. */
uint64_t eventwatch_due_ms(const struct eventwatch *watch);

/* Tries again if that is due. 0 or EVENTWATCH_RENEW. */
int eventwatch_retry(struct eventwatch *watch);
