// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Shares out what pods wait for over the Nodes whose MIG devices have two names
 * (gpuslice.mig.names: both): how many slices under which name each of them is to offer.
 *
 *  - A pod counts on one Node: never do devices of several change their name for one pod.
 *  - On one that it may run on, where so many devices are free, under whatever name. All pods
 *    of a Node together count for no more than is free there.
 *  - It stays with its Node. If it is still Pending after a minute, something else is in the way
 *    there (another resource, affinity to pods): the next Node has its turn, with twice the
 *    patience each time.
 *
 * Pods come in order of their age, so old ones are not overtaken. Pure.
 */

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

enum {
    NAMESHARE_PODS_MAX = 1000, /* the oldest ones */
    NAMESHARE_PATIENCE_S = 60, /* of the first turn */
    NAMESHARE_TURNS_MAX = 10,  /* that double the patience: 17 hours at last */
};

struct nameshare {
    const json_t **pods; /* as podneed.h reduces them; sorted here */
    size_t n_pods;
    const json_t *const *nodes; /* as namenode.h reduces them, in any order that stays the same */
    size_t n_nodes;
    const json_t *places; /* of the last time: {uid: {"node", "since", "turns"}}; NULL = unknown */
    int64_t now;          /* s */
};

/*
 * ret_wanted: {node: "nvidia.com/mig-1g.5gb=2"} of each Node that is to be told something.
 * ret_places: for the next time. 0 or -ENOMEM.
 */
int nameshare_plan(const struct nameshare *share, json_t **ret_wanted, json_t **ret_places);
