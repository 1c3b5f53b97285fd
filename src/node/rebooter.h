// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Reboots the node for a MIG mode that waits for a reset which is impossible (in a guest of a
 * hypervisor that does not let it reset GPUs).
 *
 * It waits until no pod has a GPU of this node. Then everything is withheld, so that nobody can
 * begin, and looked at once more; then the host is asked.
 *
 * Never twice for the same change: which GPUs a reboot is for is written to a file that outlives
 * it, with this boot's id. Where such a GPU still does not have its mode in another boot, the
 * reboot did not help, and there is none again. A GPU is struck out once it is as it is wanted, or
 * nothing is wanted of it.
 */

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "node/hostreboot.h"
#include "plugin/podresources.h"
#include "slice/inventory.h"

enum {
    REBOOTER_WAIT_MS = 5000,       /* how often is looked whether pods have gone, or a file that
                                      cannot be read */
    REBOOTER_GRACE_MS = 2000,      /* from the state `rebooting` until the host is asked: it
                                      reaches the cluster meanwhile */
    REBOOTER_PATIENCE_MS = 600000, /* of the host, after it said that it reboots; and until it is
                                      asked again after it said no */
    REBOOTER_RETRY_MS = 60000,     /* after another failure */
};

/* A GPU that needs it. */
struct rebooter_need {
    char uuid[GPU_UUID_SIZE];
    bool enabled; /* the mode that it is to have */
};

/* Outcomes of rebooter_need. */
enum {
    REBOOTER_LOOKS = 1, /* whether a pod has a GPU */
    REBOOTER_WAITS = 2, /* for pods, which the sentence names */
    REBOOTER_QUIET = 3, /* none has: everything is to be withheld until there is another outcome */
};

/* Everything that it asks and does. */
struct rebooter_backend {
    bool (*is_granted)(const char *device_uuid, void *owner);
    int (*list_pods)(podresources_list_fn *on_listed, void *userdata, void *owner);
    /* As hostreboot_start; at most one at a time. */
    int (*ask)(hostreboot_done_fn *done, void *userdata, void *owner);
    void (*cancel)(void *owner);     /* frees what `ask` started */
    void (*on_changed)(void *owner); /* rebooter_need has another result */
};

struct rebooter;

/* folder: of the file; boot: this boot's id, "" = unknown. Everything is borrowed but these. */
int rebooter_new(uv_loop_t *loop, const struct inventory *machine, const char *folder,
                 const char *boot, const struct rebooter_backend *backend, void *owner,
                 struct rebooter **ret_rebooter);

/* Free what lists pods first. NULL is allowed. */
void rebooter_free(struct rebooter *rebooter);

/*
 * Called whenever the GPUs were looked at, with all that need a reboot; with none, what was begun
 * is given up. 0: the host is asked to reboot, or has been, and everything is to be withheld. An
 * outcome above, or a negative errno; err has a sentence for those and for REBOOTER_WAITS.
 */
int rebooter_need(struct rebooter *rebooter, const struct rebooter_need *needs, size_t n,
                  struct error *err);

/* The GPU is as it is wanted, or nothing is wanted of it. */
void rebooter_settle(struct rebooter *rebooter, const char *uuid);
