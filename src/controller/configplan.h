// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The ConfigMaps that are slice profiles (karpenter/configprofile.h) and the SliceProfiles that
 * there are: which are to be made, changed and deleted, and what is to be said about each key.
 *
 * Ours is what says so: it names us as its manager and the ConfigMap that it is of, with its
 * namespace and key. A SliceProfile of somebody else is never touched. One whose key is wrong at
 * the moment stays as it is. Pure.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "controller/change.h"

#define CONFIGPLAN_PROFILES "/apis/gpuslice.dev/v1alpha1", "sliceprofiles"

/* A hash of what we wrote into it: by owned_has alone something that is no longer wanted would not
 * be seen. */
#define CONFIGPLAN_CONTENT "gpuslice.dev/content"

enum { CONFIGPLAN_MESSAGE = 1024 };

/* One SliceProfile of ours, or to be. */
struct configplan_item {
    char name[CHANGE_NAME_SIZE];
    struct change change;
    const json_t *config_map; /* NULL = it has none any more; borrowed */
    const char *key;          /* of the ConfigMap; "" = none any more; borrowed */
};

/* An event of the ConfigMap, about one of its keys. */
struct configplan_remark {
    const json_t *config_map; /* borrowed */
    const char *reason;       /* of the event */
    bool is_warning;
    char message[CONFIGPLAN_MESSAGE];
};

struct configplan {
    struct configplan_item *items;
    size_t n_items, items_capacity;
    struct configplan_remark *remarks; /* in the order of ConfigMaps and keys */
    size_t n_remarks, remarks_capacity;
};

#define CONFIGPLAN_INIT \
    {                   \
        .items = NULL   \
    }

/* The namespace of the ConfigMaps, and arrays of objects; borrowed as long as the plan. 0 or
 * -ENOMEM. */
int configplan_make(const char *namespace_, const json_t *config_maps, const json_t *profiles,
                    struct configplan *ret_plan);

void configplan_deinit(struct configplan *plan);
#define cleanup_configplan cleanup(configplan_deinit)
