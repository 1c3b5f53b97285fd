// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which name each device of a pool has. The MIG devices of a node that are published under two
 * names (gpuslice.mig.names: both) are one pool: each is Healthy under one name at a time, so that
 * the two together never offer more than there is.
 *
 * A device that a pod holds keeps the name under which it is held. The free ones go where pods
 * wait, and the others are divided as configured. No more of them change their name than has to.
 */

#include <stdbool.h>
#include <stddef.h>

#include "slice/plan.h"

enum namepool_name {
    NAMEPOOL_FIRST,   /* nvidia.com/gpu */
    NAMEPOOL_SECOND,  /* nvidia.com/mig-<profile> */
    NAMEPOOL_NEITHER, /* on its way from one to the other, or not decided yet */
};

struct namepool_device {
    enum namepool_name now;
    enum namepool_name held; /* the name under which pods hold it; NEITHER = it is free */
    bool is_usable;          /* false: it keeps what it has, and counts for neither */
};

struct namepool_rule {
    unsigned split_permille; /* of the devices: under the second name */
    size_t n_wanted[2];      /* devices that waiting pods request, by name: more than are held */
    bool keeps;              /* only waiting pods make a device change its name */
};

/* Sets ret_names[i] to FIRST or SECOND for each device that is usable, else to what it has now. */
void namepool_divide(const struct namepool_device *devices, size_t n,
                     const struct namepool_rule *rule, enum namepool_name *ret_names);

/* How many devices are under the second name when none is held and no pod waits. */
size_t namepool_split(size_t n, unsigned permille);
