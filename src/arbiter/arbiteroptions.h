// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The command line of gpuslice-arbiter. */

#include <stdbool.h>
#include <sys/types.h>

#include "arbiter/violationpolicy.h"
#include "base/error.h"
#include "limits/page.h"

struct arbiteroptions {
    struct violationpolicy policy;
    bool has_limits;             /* of memory */
    enum limits_mode limits;     /* to begin with */
    enum limits_compute compute; /* the same of how the time of devices is shared */
    bool kernel_limits;          /* as well */
    const char *local_grant;     /* folder of a localgrant; NULL = the node's grants */
    bool has_run_group;
    gid_t run_group;         /* who may ask for grants of commands besides root */
    int report_fd;           /* of localreport; -1 = none */
    const char *root;        /* of the node's files; "" = ours */
    const char *state_dir;   /* where violations are kept */
    const char *arbiter_dir; /* of the socket for agent and command line; NULL = `arbiter` in
                                state_dir */
    const char *library;     /* that new containers get; NULL = the one that comes with us */
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
