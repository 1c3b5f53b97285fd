// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Who holds MIG devices of one GPU, for sentences and for migstep_next.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"
#include "cli/migpods.h"
#include "slice/migwant.h"

enum { MIGHOLDERS_MAX = 128, MIGHOLDERS_NAMED_LENGTH = 250 };

/* All zero = nobody. */
struct migholders {
    struct device_instance instances[MIGHOLDERS_MAX];
    char *names[MIGHOLDERS_MAX]; /* "pod default/train" */
    size_t n;
};

void migholders_deinit(struct migholders *holders);
#define cleanup_migholders cleanup(migholders_deinit)

/* One more than there is room for takes the last place as one that has the whole GPU. */
void migholders_add(struct migholders *holders, struct device_instance instance, const char *name);

/* The pods that have devices of the GPU at that position. */
void migholders_add_pods(struct migholders *holders, const struct podrecords *pods,
                         const struct inventory *machine, size_t gpu);

/* Appends the names of those at these places: "pod default/train and 3 more". */
void migholders_add_names(const struct migholders *holders, const uint32_t *places, size_t n,
                          struct text *text);

/* Appends what the agent would report of the way to a layout: "waits for pod default/train; there
 * is room for all when pod default/train moves from memory slice 5 to 1". Nothing if nobody is in
 * its way. */
void migholders_add_wait(const struct migholders *holders, const struct mig_board *board,
                         const struct mig_layout *layout, const struct mig_want *want,
                         struct text *text);
