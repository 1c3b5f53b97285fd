// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Two boards as drivers report them, and layouts and counts as short texts. */

#include "slice/mig.h"
#include "slice/migwant.h"

const struct mig_board *board_a100(void); /* 40 GB */
const struct mig_board *board_a30(void);

/*
 * "1g.5gb@0 1g.5gb@1! 3g.20gb@4=1c!+2c": GPU instances at memory slices, each with a compute
 * instance that fills it, or with those behind '='; "3g.20gb@4=" has none. '!': it is held. Ids
 * count from 0.
 */
struct board_layout {
    struct mig_layout layout;
    struct device_instance held[MIG_INSTANCES_MAX * MIG_INSTANCES_MAX];
    size_t n_held;
};

struct board_layout board_layout(const struct mig_board *board, const char *text);

/* "3g.20gb 1g.5gb 1g.5gb", each one device. */
struct mig_want board_want(const struct mig_board *board, const char *text);
