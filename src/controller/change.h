// SPDX-License-Identifier: Apache-2.0
#pragma once

/* One change of an object of Karpenter's, as a plan wants it next. */

#include <jansson.h>
#include <stdbool.h>

#include "kube/object.h"

#define CHANGE_POOLS    "/apis/karpenter.sh/v1", "nodepools"
#define CHANGE_OVERLAYS "/apis/karpenter.sh/v1alpha1", "nodeoverlays"

enum { CHANGE_NAME_SIZE = 254, CHANGE_UID_SIZE = 64 };

enum change_verb { CHANGE_NOTHING, CHANGE_APPLY, CHANGE_PATCH, CHANGE_DELETE };

struct change {
    enum change_verb verb;
    const char *api, *collection; /* "/apis/karpenter.sh/v1", "nodepools" */
    char name[CHANGE_NAME_SIZE];
    char uid[CHANGE_UID_SIZE];   /* of what is deleted */
    enum kube_conflict conflict; /* of what is applied */
    json_t *body;                /* the object, or the operations; owned */
    bool is_counted;             /* one of the few times that somebody's changes are undone */
};

#define CHANGE_INIT                          \
    {                                        \
        .verb = CHANGE_NOTHING, .body = NULL \
    }

/* Takes body over; NULL stands for memory that was missing. 0 or -ENOMEM. */
int change_apply(struct change *change, const char *api, const char *collection, json_t *body,
                 enum kube_conflict conflict);
int change_patch(struct change *change, const char *api, const char *collection, const char *name,
                 json_t *operations);
void change_delete(struct change *change, const char *api, const char *collection,
                   const json_t *object);

/* Of a NodePool; else of a NodeOverlay. */
bool change_is_of_pool(const struct change *change);

/* kube_send, whatever it is. It is not CHANGE_NOTHING. */
int change_send(const struct change *change, struct kube_client *client,
                const struct kube_waiter *waiter, struct error *err);

void change_deinit(struct change *change);
#define cleanup_change cleanup(change_deinit)
