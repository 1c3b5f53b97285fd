// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * `mig.devices` of a SliceProfile: how many MIG devices of each profile every GPU has. They are
 * kept in one order, so that two ways of writing them are the same layout.
 */

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/problem.h"
#include "base/yaml.h"
#include "slice/device.h"

enum {
    PROFILEDEVICES_MAX = 8,
    PROFILEDEVICES_TEXT = 384, /* room for the longest */
};

struct profiledevices {
    struct profiledevice {
        char profile[DEVICE_PROFILE_SIZE]; /* "1g.5gb" */
        uint32_t count;
    } items[PROFILEDEVICES_MAX]; /* by their profiles */
    size_t n_items;
};

/* Reads a map of profiles to counts; whatever is wrong becomes a problem. */
void profiledevices_read(struct problems *problems, const struct yaml *map,
                         struct profiledevices *devices);

/* "2 x 1g.5gb, 1 x 3g.20gb" */
void profiledevices_format(const struct profiledevices *devices, char text[PROFILEDEVICES_TEXT]);

/* The map that reads back as these. NULL without memory. */
json_t *profiledevices_json(const struct profiledevices *devices);
