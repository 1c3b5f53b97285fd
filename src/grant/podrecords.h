// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the pods of this node were given, as its files record it, so that neither the agent nor the
 * API server needs to answer:
 *
 *  - the kubelet's device checkpoint, whatever device plugin gave the devices out;
 *  - the log of grants of our agent: what a slice has, and an answer of the last moments that the
 *    kubelet has not recorded yet.
 *
 * The kubelet removes an ended pod from its checkpoint late: with the next pod or the next device
 * list. So a pod without a folder below `pods` of the kubelet counts as ended, where that folder
 * can be seen.
 */

#include "base/error.h"
#include "grant/kubeletcheckpoint.h"
#include "grant/ledger.h"
#include "grant/places.h"

struct podrecords {
    struct kubeletcheckpoint checkpoint;
    bool has_checkpoint; /* else there is no kubelet to record a grant */
    bool has_log;        /* of grants */
    struct ledger ledger;
    struct places places;
    int64_t now_s; /* wall clock */
};

#define PODRECORDS_INIT                                              \
    {                                                                \
        .checkpoint = KUBELETCHECKPOINT_INIT, .ledger = LEDGER_INIT, \
    }

/* An absent file names no pod. 0, or a negative errno: who has the devices is unknown. Blocks as
 * long as the disk does. */
int podrecords_read(const struct places *places, struct podrecords *ret_records, struct error *err);
void podrecords_deinit(struct podrecords *records);
#define cleanup_podrecords cleanup(podrecords_deinit)

/* As far as the kubelet's folders tell. */
bool podrecords_has_ended(const struct podrecords *records, const char *pod_uid);
