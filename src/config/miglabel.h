// SPDX-License-Identifier: Apache-2.0
#pragma once

/* One label of a mig-parted file, as a Node or a command line names it, and what it means for a
 * GPU.
 */

#include "base/error.h"
#include "config/migconfig.h"
#include "slice/inventory.h"
#include "slice/migwant.h"

enum miglabel_outcome {
    MIGLABEL_NO_ENTRY = 1, /* no entry is for this GPU */
    MIGLABEL_SKIPPED,      /* one for all GPUs, with MIG on, and this one cannot be partitioned */
};

/* The label of that name; without a name ("" or NULL) the only one. 0 and *ret_label (borrowed), or
 * -ENOENT with a sentence that lists the labels. */
int miglabel_select(const struct migconfig *config, const char *name,
                    const struct migconfig_label **ret_label, struct error *err);

/* The last entry that is for this GPU (board NULL: it cannot be partitioned). 0, an outcome, or as
 * migwant_add: the end of a sentence about the GPU. */
int miglabel_want(const struct migconfig_label *label, const struct gpu *gpu,
                  const struct mig_board *board, struct mig_want *ret_want, struct error *err);
