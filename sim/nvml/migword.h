// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Instances as a person writes them, in machine files and for `gpuslice-sim mig create`:
 *
 *     3g.20gb        a GPU instance, and the compute instance that fills it
 *     3g.20gb@4      the same, at memory slice 4
 *     1c.3g.20gb     a compute instance of one slice, in the first GPU instance of 3g.20gb that has
 *                    room, else in a new one
 *     gi:3g.20gb     a GPU instance without a compute instance
 */

#include "base/error.h"
#include "slice/mig.h"

#define MIGWORD_NONE UINT32_MAX

struct migword {
    uint32_t profile; /* position in the board */
    uint32_t compute; /* position in the profile's computes, or MIGWORD_NONE */
    uint32_t start;   /* MIGPLACE_ANY: the driver chooses */
};

/* 0, or -EINVAL with a sentence that lists the profiles. */
int migword_parse(const struct mig_board *board, const char *text, struct migword *ret_word,
                  struct error *err);

/* Adds it to a layout: 0, or -ENOSPC with a sentence. */
int migword_add(const struct mig_board *board, const char *text, struct mig_layout *layout,
                struct error *err);
