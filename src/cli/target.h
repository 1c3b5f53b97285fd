// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The machine that a command line names, observed once: this node through its driver, or a
 * simulated one: a machine file, an instance type of the catalog, or a count of a model ("4xA10G").
 * A simulated machine goes the same way as a real one, through gpu/nvml.c, on the
 * simulator's library and in a private state that is gone afterwards, so that what others do to a
 * simulated machine does not show in a plan.
 *
 * Driver calls may hang, and so may this program then: it is short-lived, and Ctrl-C ends it.
 */

#include "base/error.h"
#include "base/text.h"
#include "cli/request.h"
#include "slice/inventory.h"

struct target {
    char title[160]; /* "p3.8xlarge (simulated)", "this node" */
    struct inventory inventory;
};

#define TARGET_INIT \
    {               \
        .title = "" \
    }

void target_deinit(struct target *target);
#define cleanup_target cleanup(target_deinit)

/* True if the command line names a machine. */
bool target_given(const struct request *request);

/* 0, or why the machine cannot be observed. Call only if target_given. */
int target_observe(const struct request *request, struct target *ret_target, struct error *err);

/* The names that --machine knows, files first, each followed by `separator` but the last. */
void target_names(struct text *text, const char *separator);
