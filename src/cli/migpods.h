// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The pods that have GPUs and MIG devices of this node, as far as its files tell, so that neither
 * the agent nor the API server needs to answer:
 *
 *  - the kubelet's device checkpoint, whatever device plugin gave the devices out;
 *  - the log of grants of our agent: an answer of the last moments that the kubelet has not
 *    recorded yet.
 *
 * A pod may have a device before any of its processes uses it, and then the driver knows of none.
 *
 * The kubelet removes an ended pod from its checkpoint late: with the next pod or the next device
 * list. So a pod without a folder below `pods` of the kubelet counts as ended, where that folder
 * can be seen.
 */

#include "base/error.h"
#include "grant/kubeletcheckpoint.h"
#include "grant/ledger.h"
#include "grant/places.h"
#include "slice/inventory.h"

struct migpods {
    struct kubeletcheckpoint checkpoint;
    bool has_checkpoint; /* else there is no kubelet to record a grant */
    bool has_log;        /* of grants */
    struct ledger ledger;
    struct places places;
    int64_t now_s; /* wall clock */
};

#define MIGPODS_INIT                                                 \
    {                                                                \
        .checkpoint = KUBELETCHECKPOINT_INIT, .ledger = LEDGER_INIT, \
    }

/* An absent file names no pod. 0, or a negative errno: who has the devices is unknown. */
int migpods_read(const struct places *places, struct migpods *ret_pods, struct error *err);
void migpods_deinit(struct migpods *pods);
#define cleanup_migpods cleanup(migpods_deinit)

/* As far as the kubelet's folders tell. */
bool migpods_has_ended(const struct migpods *pods, const char *pod_uid);

/* Before why the pods of a machine are not known. */
#define MIGPODS_UNKNOWN \
    "the steps are shown as if nobody used the MIG devices; which pods do is unknown: "

/* The pods of a simulated machine, or (NULL) of this node, as its agent or else the kubelet's
 * standard folder tells. 0, or a negative errno: nothing is known of them. */
int migpods_look(const char *machine, struct migpods *ret_pods, struct error *err);

/* who: "pod default/train", where: "MIG device 0:1". */
typedef void migpods_found_fn(struct device_instance instance, const char *who, const char *where,
                              void *userdata);

/* Calls found for each device of the GPU at that position that a pod has. */
void migpods_find(const struct migpods *pods, const struct inventory *machine, size_t gpu,
                  migpods_found_fn *found, void *userdata);
