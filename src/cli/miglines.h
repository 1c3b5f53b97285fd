// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A layout as lines for a script (userdata.sh), which has no table of profiles and does not search:
 *
 *     indices of GPUs or "all" | PCI ids, or none for any | on, off | GPU instances
 *
 * With a machine, each GPU instance has its place, and compute instances that do not fill it are
 * named. Without one the lines are the entries of the file, for whatever GPUs there will be; the
 * driver then chooses the places, larger instances first.
 */

#include "base/error.h"
#include "base/text.h"
#include "cli/migchoice.h"

struct miglines {
    struct line {
        char *text;
    } * items;
    size_t n_items, capacity;
};

#define MIGLINES_INIT \
    {                 \
        .items = NULL \
    }

void miglines_deinit(struct miglines *lines);
#define cleanup_miglines cleanup(miglines_deinit)

/* For the GPUs of a machine. What one cannot have is complained about, GPU by GPU. 0, -ENOENT (err
 * says of how many), -ENOMEM. */
int miglines_for(const struct migchoice *choice, const struct inventory *machine,
                 struct miglines *ret_lines, struct error *err);

/* For any GPUs. 0, -EINVAL with a sentence if the layout depends on the machine, -ENOMEM. */
int miglines_any(const struct migchoice *choice, struct miglines *ret_lines, struct error *err);
