// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The limits of containers in the kernel (dmem.h), beside those that the library keeps: written
 * before a process of a container gets its page, when the mode changes, and at each reading, for
 * processes that do not run the library. With another mode than `enforced` there are none.
 *
 * What cannot be limited in the kernel is logged, and stays limited by the library.
 */

#include <stddef.h>

#include "arbiter/audit.h"
#include "arbiter/tenant.h"
#include "base/lograte.h"
#include "limits/page.h"
#include "slice/inventory.h"

struct kernellimits_gpu;

struct kernellimits {
    const char *root; /* of the node's files */
    struct kernellimits_gpu *gpus;
    size_t n_gpus;
    struct lograte trouble;
};

void kernellimits_deinit(struct kernellimits *limits);

/* The GPUs of a reading. Before the first one nothing is limited. Without memory they stay. */
void kernellimits_set_gpus(struct kernellimits *limits, const struct audit *audit,
                           const struct inventory *machine);

/* A container that has processes, on all its GPUs; again and again, since one that starts again
 * has a new cgroup. */
void kernellimits_apply(struct kernellimits *limits, const struct tenant *tenant,
                        enum limits_mode mode);
