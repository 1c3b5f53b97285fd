// SPDX-License-Identifier: Apache-2.0
#pragma once

/* How models of GPU can be partitioned, by the installed catalog, for a GPU whose driver does not
 * report it: one before R535 does not while MIG is off. */

#include "base/error.h"
#include "slice/mig.h"

/* The directory of the catalog; the variable GPUSLICE_CATALOG takes precedence. */
const char *boards_folder(void);

struct boards;

/* NULL without memory: nothing is known then. */
struct boards *boards_new(void);
void boards_free(struct boards *boards);

/* By NVML's product name; NULL: the model is not known, or cannot be partitioned. Borrowed. The
 * catalog is read at the first question. NULL is allowed. */
const struct mig_board *boards_find(struct boards *boards, const char *model);
