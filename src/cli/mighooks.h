// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The hooks file of mig-parted (version v1): commands to run at four points of `mig apply`, such as
 * to stop what uses the GPUs.
 *
 * A command gets the variables of its hook and of `mig apply` (MIG_PARTED_...), and nothing else of
 * our environment. Its output is shown with --debug alone.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/problem.h"

enum mighook {
    MIGHOOK_START,
    MIGHOOK_BEFORE_MODE,
    MIGHOOK_BEFORE_CONFIG,
    MIGHOOK_EXIT,
    N_MIGHOOKS
};

struct mighook_command {
    char *program;    /* looked for on PATH if it has no slash */
    char **arguments; /* ended by NULL, the program first */
    char **variables; /* "NAME=value", ended by NULL */
    char *folder;     /* to run in; NULL: ours */
};

struct mighooks {
    struct mighook_list {
        struct mighook_command *items;
        size_t n_items, capacity;
    } lists[N_MIGHOOKS];
};

#define MIGHOOKS_INIT                \
    {                                \
        .lists = { {.items = NULL} } \
    }

void mighooks_deinit(struct mighooks *hooks);
#define cleanup_mighooks cleanup(mighooks_deinit)

/* 0, -EBADMSG (problems has errors), -ENOMEM. */
int mighooks_parse(const char *data, size_t size, struct problems *problems,
                   struct mighooks *ret_hooks);

/* Runs those of one point in turn, each until it ends. `variables` ("NAME=value", ended by NULL)
 * outrank a hook's own. 0, or a negative errno with the first failure. */
int mighooks_run(const struct mighooks *hooks, enum mighook when, const char *const *variables,
                 bool show_output, struct error *err);
