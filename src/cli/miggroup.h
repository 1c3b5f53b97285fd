// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Sentences about the GPUs of a machine, where neighbours of one model with the same sentence share
 * a line: "GPUs 0-7 (NVIDIA A100-SXM4-40GB) have ...".
 */

#include "base/text.h"
#include "slice/inventory.h"

struct miggroup {
    struct text *texts; /* one for each GPU; empty: nothing is to be said of it */
    size_t n;
};

#define MIGGROUP_INIT \
    {                 \
        .texts = NULL \
    }

int miggroup_init(struct miggroup *group, const struct inventory *machine);
void miggroup_deinit(struct miggroup *group);
#define cleanup_miggroup cleanup(miggroup_deinit)

/* Calls print with "GPU 3 (model)" or "GPUs 0-3 (model)" and the text, in the order of the GPUs. */
void miggroup_print(const struct miggroup *group, const struct inventory *machine,
                    void (*print)(const char *gpus, const char *text, void *userdata),
                    void *userdata);
