// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The command line of gpuslice-arbiter. */

#include <stdbool.h>

#include "arbiter/reaper.h"
#include "base/error.h"

struct arbiteroptions {
    struct reaper_policy policy;
    const char *root;        /* of the node's files; "" = ours */
    const char *state_dir;   /* where violations are kept */
    const char *channel_dir; /* where gpuslice-http finds us; NULL = nothing is served */
    const char *driver_root, *container_driver_root; /* NULL = none */
    unsigned driver_deadline_s;
    const char *log_level, *log_format; /* NULL = the default */
    bool help, version;
};

/* Flags, and GPUSLICE_STATE_DIR, NVIDIA_DRIVER_ROOT and CONTAINER_DRIVER_ROOT of the environment.
 * Strings are borrowed from both. -EINVAL with what to write instead. */
int arbiteroptions_parse(int argc, char *argv[], struct arbiteroptions *ret_options,
                         struct error *err);

void arbiteroptions_help(void);
