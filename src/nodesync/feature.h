// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Our NodeFeature object (nodefeature.h) at the server: found out whether the API has such, read
 * once, and from then on written when it should be another. */

#include "kube/writer.h"
#include "nodesync/observed.h"
#include "nodesync/owner.h"

enum feature_step { FEATURE_DISCOVER, FEATURE_READ, FEATURE_WRITE, FEATURE_DELETE };

struct feature {
    const struct observed *observed;
    const struct owner *owner;
    struct writer writer;
    enum feature_step step; /* what the open request does */
    bool is_discovered, is_offered, is_read;
    json_t *current; /* as the server has it; NULL = there is none, or not read */
    json_t *found;   /* {label: value}: what it said when it was read last; NULL = nothing */
};

void feature_init(struct feature *feature, uv_loop_t *loop, const struct observed *observed,
                  const struct owner *owner, void (*on_change)(void *userdata), void *userdata);

/* NFD may have come, or somebody may have deleted our object: ask anew. */
void feature_check(struct feature *feature);

void feature_deinit(struct feature *feature);
