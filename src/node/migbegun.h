// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which GPUs the partitioner has begun to change and not finished, in a file that outlives a
 * reboot, so that an agent that follows finishes them or takes a pending mode back, even when the
 * layout is no longer wanted by then, or back to what they were where that fails.
 *
 * The next step never depends on it: it tells only what a GPU was to become. A GPU whose devices
 * cannot come from a way to there was changed by somebody else since, and is left as it is.
 */

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"
#include "slice/inventory.h"
#include "slice/migwant.h"

enum { MIGBEGUN_TEXT_SIZE = 256 };

struct migbegun_gpu {
    char uuid[GPU_UUID_SIZE];
    bool was_amid;                  /* it was in between already when this goal was chosen */
    char goal[MIGBEGUN_TEXT_SIZE];  /* as migwant_add_text writes it */
    char bound[MIGBEGUN_TEXT_SIZE]; /* what it had before, or at most had since */
    char wish[MIGBEGUN_TEXT_SIZE];  /* where the goal comes from, for sentences */
};

struct migbegun {
    char path[PATH_MAX]; /* "" = it is not kept */
    struct migbegun_gpu *gpus;
    size_t n, capacity;
};

/* Reads what an agent before this one has begun; NULL = it is not kept. A file that cannot be read
 * is logged, and counts as empty. */
void migbegun_init(struct migbegun *begun, const char *folder);
void migbegun_deinit(struct migbegun *begun);

/* The file's text, which is overwritten, and back. 0, or a negative errno and nothing was begun. */
int migbegun_parse(struct migbegun *begun, char *data, size_t size);
void migbegun_format(const struct migbegun *begun, struct text *text);

/* NULL: it was not begun. Borrowed until the next change. */
const struct migbegun_gpu *migbegun_find(const struct migbegun *begun, const char *uuid);

/* A step to that goal is about to be taken. A failure to write it down is logged. */
void migbegun_note(struct migbegun *begun, const struct gpu *gpu, const struct mig_board *board,
                   const struct mig_want *goal, const char *wish);

/* It cannot become its goal: it is to become what it had before. False: that is not known, or was
 * its goal already. */
bool migbegun_turn_back(struct migbegun *begun, const char *uuid);

/* It is finished, or as it was before. */
void migbegun_drop(struct migbegun *begun, const char *uuid);

/* True: it is in between, and was to become *ret_goal. */
bool migbegun_is_amid(const struct migbegun *begun, const struct gpu *gpu,
                      const struct mig_board *board, struct mig_want *ret_goal);
