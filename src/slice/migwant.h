// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What one GPU is to be partitioned into: a mode, and how many MIG devices of each profile. Where
 * they lie is left to the search (migfit.h), so that instances that exist can stay where they are.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "slice/mig.h"
#include "slice/migkind.h"

enum { MIGWANT_COUNT_MAX = 255 };

/* The end of a sentence about a GPU, as are all of this room's errors that concern a board. */
#define MIGWANT_NO_MIG "cannot be partitioned by MIG; sharing.timeSlicing shares it"

struct mig_want {
    bool enabled;
    bool mode_only;                                           /* whatever its instances are */
    uint8_t counts[MIG_GI_PROFILES_MAX][MIG_CI_PROFILES_MAX]; /* by position in the board */
};

enum migwant_outcome {
    MIGWANT_OTHER = 1, /* no built-in name */
};

/*
 * Adds `count` devices of a profile that a person named. 0; -EINVAL: no profile name, with a whole
 * sentence; -ENOENT: the board does not have it, with the end of a sentence about the GPU that
 * lists what it has; -ERANGE: more than any GPU has, with such an end.
 */
int migwant_add(struct mig_want *want, const struct mig_board *board, const char *profile,
                uint64_t count, struct error *err);

/*
 * The names that need no file. The built-in ones are those of NVIDIA's generated configuration:
 * "all-disabled", "all-enabled", "all-balanced", and "all-1g.5gb.me" for as many as fit of a
 * profile ('.' for '+'). And counts of profiles, "2 x 1g.5gb, 1 x 3g.20gb", of every GPU.
 * 0; MIGWANT_OTHER; -ENOENT or -ERANGE when this board cannot have it (one without memory slices
 * can only be disabled), with the end of a sentence about the GPU that lists what it has.
 */
int migwant_builtin(const struct mig_board *board, const char *name, struct mig_want *ret_want,
                    struct error *err);

/* True if it is such a name on some board; which profiles there are, depends on that. */
bool migwant_is_builtin(const char *name);

/* The built-in names of a board, separated. */
void migwant_add_builtins(const struct mig_board *board, const char *separator, struct text *text);

/* What a layout has. */
void migwant_of_layout(const struct mig_board *board, const struct mig_layout *layout,
                       struct mig_want *ret_want);

/* True if mode and devices are as wanted, wherever they lie: what mig-parted asserts. */
bool migwant_is_met(const struct mig_board *board, const struct mig_want *want,
                    const struct mig_layout *layout);

uint32_t migwant_count(const struct mig_want *want);

/* "3g.20gb, 2 x 1g.5gb", largest first; "MIG disabled", "no MIG device". */
void migwant_add_text(const struct mig_board *board, const struct mig_want *want,
                      struct text *text);

/* Reads what that wrote. 0; -EINVAL: it is something else; -ENOENT, -ERANGE as migwant_add. */
int migwant_parse(const struct mig_board *board, const char *text, struct mig_want *ret_want);
