// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Opens our Node when there is no controller to do it: removes the startup taint with which
 * Karpenter starts nodes of slice profiles, once the Node advertises exactly what was promised.
 *
 * That is the controller's to do. So its Lease is looked at, while our Node has the taint and the
 * numbers are right, and only then: as long as it is renewed, the taint is left alone. Abandoned or
 * absent it means that no replica is at work. That the Lease cannot be read means nothing. A
 * controller that keeps no profiles holds its Lease and opens nothing: then the Lease is called
 * OPENER_ALONE, and none is looked at.
 */

#include "kube/leaseview.h"
#include "kube/writer.h"
#include "nodesync/observed.h"

#define OPENER_ALONE "-"

enum {
    OPENER_FIRST_MS = 2000, /* a controller that is there is faster */
    OPENER_RETRY_MS = 5000,
};

struct opener {
    const struct observed *observed;
    struct writer writer; /* removes the taint */
    char *path;           /* of the Lease; NULL = it is not known which: the Node is not opened */
    bool is_alone;        /* no controller opens nodes */
    struct leaseview lease;
    bool is_stale; /* nobody holds the Lease, when it was last read */
    uv_timer_t timer;
    struct kube_call *call; /* that reads it; NULL = none pending */
    struct lograte trouble;
    uint64_t (*now_ms)(void); /* monotonic */
    void (*on_opened)(const char *sentence, void *userdata);
    void *userdata;
};

/* on_opened: the taint is gone by our doing. 0 or -ENOMEM. */
int opener_init(struct opener *opener, uv_loop_t *loop, const struct observed *observed,
                void (*on_opened)(const char *sentence, void *userdata), void *userdata);

/* The Node or the state changed. */
void opener_sync(struct opener *opener);

/* The server is reachable again. */
void opener_kick(struct opener *opener);

/* Stops; the memory may be freed once the loop has run. */
void opener_deinit(struct opener *opener);
