// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The command line of gpuslice-controller. */

#include <stdbool.h>

#include "base/error.h"
#include "controller/drainplan.h"

#define OPTIONS_LEASE "gpuslice-controller"

/* What is done with SliceProfiles. */
enum profiles_mode {
    PROFILES_OFF,
    PROFILES_KEPT,
    PROFILES_LEFT, /* everything is taken back, and then it ends */
    PROFILES_MODES,
};

struct options {
    const char *kubeconfig;  /* "" = in-cluster */
    const char *namespace_;  /* of the Lease and the ConfigMaps; NULL = that of our pod or of the
                                kubeconfig */
    const char *lease;       /* its name */
    const char *identity;    /* NULL = made of the host's name */
    const char *channel_dir; /* where gpuslice-http finds us; NULL = nothing is served */
    unsigned lease_s;
    enum drain_consent drain_for_mig;
    enum profiles_mode profiles;
    unsigned node_limit_s;              /* until a node of a profile is overdue */
    unsigned replace_at_most;           /* such nodes at a time */
    const char *log_level, *log_format; /* NULL = the default */
    bool help, version;
};

/* Flags, and NAMESPACE, POD_NAME and KUBECONFIG of the environment. Strings are borrowed from both.
 * -EINVAL with what to write instead. */
int options_parse(int argc, char *argv[], struct options *ret_options, struct error *err);

void options_help(void);
