// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What pods hold, from the kubelet: its pod-resources list, and its checkpoint as read after the
 * list, in a thread of libuv's pool. Both are lent together, since each is wrong in cases that the
 * other covers (ledger.h).
 *
 * Never two lists at once, nor more often than each HOLDINGS_LIST_MS.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "grant/ledger.h"
#include "plugin/podresources.h"

enum { HOLDINGS_LIST_MS = LEDGER_SETTLE_MS };

struct holdings;

/* Borrowed by the callback alone. */
struct holdings_view {
    bool is_complete;  /* the kubelet responded: the entries are all that pods hold */
    uint64_t began_ms; /* when the list was requested */
    const struct ledger_entry *entries;
    size_t n_entries;
    const struct kubeletcheckpoint *checkpoint; /* NULL = unreadable */
};

/* Everything but the folder is borrowed and must outlive the holdings. */
struct holdings_setup {
    uv_loop_t *loop;
    const char *folder; /* of the kubelet's checkpoint */
    /* Queries the kubelet's device assignments: podresources_list, or a test's. */
    int (*list)(struct podresources *podresources, podresources_list_fn *on_listed, void *userdata);
    struct podresources *podresources;
    /* No list arrived: whether the checkpoint is worth reading without one. */
    bool (*wants_checkpoint)(void *userdata);
    void (*on_view)(const struct holdings_view *view, void *userdata);
    void *userdata;
};

/* Nothing is asked before holdings_soon. */
int holdings_new(const struct holdings_setup *setup, struct holdings **ret_holdings,
                 struct error *err);

/*
 * No callback runs any more. A thread that reads the checkpoint continues, and keeps the loop alive
 * until the disk responds. Free podresources in the same loop iteration: it may have a query of
 * ours. NULL is allowed.
 */
void holdings_free(struct holdings *holdings);

/* A list is wanted, as soon as one may be asked for. */
void holdings_soon(struct holdings *holdings);
