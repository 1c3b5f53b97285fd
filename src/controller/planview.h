// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The cluster as the plans of profiles see it. All borrowed. */

#include <jansson.h>
#include <time.h>

#include "catalog/catalog.h"
#include "controller/fleet.h"

struct planview {
    const struct catalog *catalog;
    const json_t *profiles, *pools, *overlays; /* arrays of objects */
    const json_t *classes;                     /* EC2NodeClasses: name and DRA's annotation */
    const struct fleet *fleet;                 /* all NodeClaims */
    bool is_leaving; /* the controller goes for good: as if there were no profiles */
    time_t now;
};
