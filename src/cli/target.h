// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The machine given on the command line, observed once: this node through its driver, or a
 * simulated one: a machine file, an instance type of the catalog, or a count of a model ("4xA10G").
 * A simulated machine takes the same path as a real one, through gpu/nvml.c, but with the
 * simulator's library and a private, temporary state, so that changes others make to a simulated
 * machine do not affect a plan.
 *
 * Driver calls may hang, and this program with them: it is short-lived, and Ctrl-C ends it.
 */

#include "base/error.h"
#include "base/text.h"
#include "catalog/catalog.h"
#include "cli/request.h"
#include "config/config.h"
#include "gpu/usage.h"
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

/* 0, or why the machine cannot be observed. Call only if target_given. This node's driver is looked
 * for where the configuration (NULL: none) says. */
int target_observe(const struct request *request, const struct config *config,
                   struct target *ret_target, struct error *err);

/* This node, and who uses its GPUs, in one session. 0, or why its driver cannot be queried. */
int target_observe_usage(struct target *ret_target, struct usage *ret_usage, struct error *err);

/* Takes from the catalog how GPUs can be partitioned whose driver does not report it: one before
 * R535 does not while MIG is off. */
int target_know_boards(struct inventory *inventory, struct error *err);

/* Names the machine as the agent does under this configuration. A problem is added if that depends
 * on a file that is not here. */
void target_name_machine(struct target *target, const struct config *config,
                         struct problems *problems);

/* The catalog of paths.h. 0, or the first thing that is wrong with it. */
int target_load_catalog(struct catalog *ret_catalog, struct error *err);

/* The names that --machine accepts, files first, separated by `separator`. */
void target_names(struct text *text, const char *separator);
