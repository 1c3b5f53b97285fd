// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The controller's duty of keeping NodeOverlays and NodePools as the SliceProfiles say: watches the
 * three and NodeClaims, plans each profile (profileplan.h), makes one change after the other, and
 * writes the profile's status and events. Karpenter launches the nodes. EC2NodeClasses are watched,
 * too, where there are any: one may have Karpenter promise the same GPUs by DRA (nodeclass.h).
 *
 * A change is not made on the ground of something older than the last one: after each, a profile
 * waits until its watch has seen what was written.
 */

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/text.h"
#include "catalog/catalog.h"
#include "controller/profilekeeper.h"
#include "controller/sharedstores.h"
#include "kube/client.h"
#include "kube/recorder.h"

/* Borrowed, all of it. */
struct profiles_setup {
    uv_loop_t *loop;
    struct kube_client *client;
    struct sharedstores *stores;
    struct recorder *recorder;
    const struct catalog *catalog;
    bool is_leaving;                   /* takes everything back, as if there were no profiles */
    bool (*may_write)(void *userdata); /* asked before each write */
    /* While it is leaving: nothing more can be taken back. waits: the consent or the right that is
     * missing, "" = none: what is left goes by itself. May be NULL. */
    void (*on_left)(const char *waits, void *userdata);
    void *userdata;
    struct profilekeeper_counters *counters;
};

/* How the kind SliceProfile gets into a cluster. */
#define PROFILES_KIND_HINT \
    "upgrade gpuslice with sliceProfiles.enabled=true: its chart has the kind as a template"

struct profiles;

/* Starts watching. setup is copied. */
int profiles_new(const struct profiles_setup *setup, struct profiles **ret_profiles,
                 struct error *err);

/* Metrics; NULL = this replica does not lead: there are none. */
void profiles_add_metrics(const struct profiles *profiles, struct text *out);

/* Stops at once: what is left is the next leader's. NULL is allowed. */
void profiles_free(struct profiles *profiles);
