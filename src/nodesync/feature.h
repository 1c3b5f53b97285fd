// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Our NodeFeature object (nodefeature.h) at the server: checks whether the API has the type, reads
 * the object once, and writes it whenever it differs. */

#include "kube/writer.h"
#include "nodesync/observed.h"
#include "nodesync/owner.h"

enum feature_step { FEATURE_DISCOVER, FEATURE_READ, FEATURE_WRITE, FEATURE_DELETE };

struct feature {
    const struct observed *observed;
    const struct owner *owner;
    struct writer writer;
    enum feature_step step; /* what the pending request does */
    bool is_discovered, is_offered, is_read;
    json_t *current; /* as on the server; NULL = there is none, or not read */
    json_t *found;   /* {label: value}: its content when last read; NULL = none */
};

void feature_init(struct feature *feature, uv_loop_t *loop, const struct observed *observed,
                  const struct owner *owner, void (*on_change)(void *userdata), void *userdata);

/* NFD may have been installed, or our object deleted: check again. */
void feature_check(struct feature *feature);

void feature_deinit(struct feature *feature);
