// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The directories of this container's grants, and what the agent wrote into them: the limits that
 * hold where there is no arbiter.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limits/page.h"

/* Calls `each` with the path of every grant's directory, until it returns false. */
void grantdir_each(bool (*each)(const char *directory, void *userdata), void *userdata);

struct grantdir_terms {
    enum limits_mode mode; /* the strictest of all grants */
    size_t n_devices;
    struct grantdir_device {
        uint8_t uuid[LIMITS_UUID_SIZE];
        uint64_t bytes; /* of all grants */
    } devices[LIMITS_DEVICES_MAX];
};

/* Without any file: LIMITS_NONE, and no device. */
void grantdir_read(struct grantdir_terms *ret_terms);

/* One file's text, added to `terms`; what cannot be read in it is passed over. */
void grantdir_parse(const char *text, struct grantdir_terms *terms);
