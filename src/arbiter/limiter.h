// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The memory limits of this node's containers (doc/design/0026-memory-limits.md): a socket in the
 * directory of each grant, a tenant (tenant.h) for each container that has grants, and the mode;
 * and their turns on devices (devicegates.h), for which it has a timer.
 *
 * The auditor says once a second what the driver shows, and the agent at any time which mode holds.
 * Processes that use a device without ever having connected are charged to their container as well.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "arbiter/arbiteroptions.h"
#include "arbiter/audit.h"
#include "arbiter/limituse.h"
#include "arbiter/violations.h"
#include "base/error.h"
#include "grant/podrecords.h"
#include "limits/page.h"
#include "slice/inventory.h"

struct limiter;

/* Options are borrowed. Both modes are those of the options until they are set. -EOPNOTSUPP: this
 * kernel cannot make pages that a container only reads (before Linux 5.1); nothing is limited then.
 */
int limiter_new(uv_loop_t *loop, const struct arbiteroptions *options, struct limiter **ret_limiter,
                struct error *err);

/* Its sockets are removed, and its handles close in later turns of the loop. NULL is allowed. */
void limiter_free(struct limiter *limiter);

/* Live: the pages of all containers have it when this returns, and each request is answered by it
 * from now on. */
void limiter_set_mode(struct limiter *limiter, enum limits_mode mode);
enum limits_mode limiter_get_mode(const struct limiter *limiter);

/* The same of how a device's time is shared; gates are open where there are no turns any more. */
void limiter_set_compute(struct limiter *limiter, enum limits_compute compute);
enum limits_compute limiter_get_compute(const struct limiter *limiter);

/* There may be other directories of grants than before; else it looks once a second. */
void limiter_look(struct limiter *limiter);

/* --- for the auditor --- */

/* What is called when a process waits for a reading; at any rate, however often tenants want. fn
 * NULL: nothing any more. */
typedef void limiter_unread_fn(void *userdata);
void limiter_on_unread(struct limiter *limiter, limiter_unread_fn *fn, void *userdata);

/* The driver is about to be asked. */
void limiter_begin_reading(struct limiter *limiter);

/* What it showed since then, and what was read of grants and pods meanwhile; takes the records
 * over. A reading that was begun and never arrives changes nothing. */
void limiter_take_reading(struct limiter *limiter, const struct audit *audit,
                          const struct inventory *machine, struct podrecords *records);

/* Containers of pods of which a violation is starved get no more memory of any device while limits
 * are enforced; all others get it again. */
void limiter_starve(struct limiter *limiter, const struct violations *violations);

/* --- what there is to show --- */

/* Each container that has grants, with each of its devices. */
void limiter_each(const struct limiter *limiter, limituse_fn *fn, void *userdata);

/* Whether a process of the pod lives, as far as is known. */
bool limiter_has_process(const struct limiter *limiter, const char *pod_uid);

struct limiter_counts {
    size_t n_devices;     /* of the last reading of the driver; 0 = there was none */
    size_t n_sockets;     /* directories of grants that have one */
    size_t n_connections; /* of processes */
    uint64_t n_refused;   /* registrations, ever */
    uint64_t n_malformed; /* connections that were ended for what they sent, ever */
};

struct limiter_counts limiter_count(const struct limiter *limiter);
