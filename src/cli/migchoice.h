// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The layout that a command line chooses: a label of a mig-parted file, or without a file a
 * built-in one (migwant.h).
 */

#include "cli/request.h"
#include "cli/source.h"
#include "config/miglabel.h"

struct migchoice {
    struct source source; /* of config */
    struct migconfig *config;
    const struct migconfig_label *label; /* NULL: it is built in */
    const char *name;                    /* borrowed */
};

#define MIGCHOICE_INIT \
    {                  \
        .config = NULL \
    }

void migchoice_deinit(struct migchoice *choice);
#define cleanup_migchoice cleanup(migchoice_deinit)

/* Prints what is wrong with the file, or why there is no choice. 0 or a negative errno. */
int migchoice_read(const struct request *request, struct migchoice *ret_choice);

/* True if it is a built-in layout without its "all-". */
bool migchoice_lacks_all(const char *name);

/* What it means for a GPU: as miglabel_want. */
int migchoice_want(const struct migchoice *choice, const struct inventory *machine,
                   const struct gpu *gpu, struct mig_want *ret_want, struct error *err);
