// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The controller's duty of making SliceProfiles of ConfigMaps: watches those of our namespace with
 * the label CONFIGPROFILE_LABEL, and all SliceProfiles; makes, changes and deletes the ones that
 * are of a ConfigMap (configplan.h). What becomes of a profile is profiles.h's, and its status has
 * it; what cannot be made is an event of the ConfigMap.
 */

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "controller/sharedstores.h"
#include "kube/client.h"
#include "kube/recorder.h"

/* Borrowed, all of it. */
struct configprofiles_setup {
    uv_loop_t *loop;
    struct kube_client *client;
    struct sharedstores *stores;
    struct recorder *recorder;
    const char *namespace_; /* of the ConfigMaps */
    uint64_t grace_ms; /* how long a profile outlives its key, which may come back in a moment */
    bool is_leaving;   /* deletes what was made at once, as if there were no ConfigMaps */
    bool (*may_write)(void *userdata); /* asked before each write */
    /* While it is leaving: nothing is left, or no more can be done. why: what hinders; "" = nothing
     * is left. */
    void (*on_left)(const char *why, void *userdata);
    void *userdata;
};

struct configprofiles;

/* Starts watching. setup is copied. */
int configprofiles_new(const struct configprofiles_setup *setup,
                       struct configprofiles **ret_profiles, struct error *err);

/* Stops at once: what is left is the next leader's. NULL is allowed. */
void configprofiles_free(struct configprofiles *profiles);
