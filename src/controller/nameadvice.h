// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A pod that requests MIG devices by a name that belongs to another strategy than that of the Nodes
 * it may run on: what it should request instead.
 *
 *  - nvidia.com/mig-<profile>, where such devices are nvidia.com/gpu (migStrategy: single);
 *  - nvidia.com/gpu, where all GPUs are nvidia.com/mig-<profile> (migStrategy: mixed).
 *
 * As long as some Node has what is requested, or may have it soon, there is nothing to say: that
 * pod waits for its turn. A new Node may bring it, too, so it must have waited for a while. Pure.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"

enum {
    NAMEADVICE_MIG_S = 30,  /* after that long; no autoscaler knows these names by itself */
    NAMEADVICE_GPU_S = 300, /* an autoscaler may be starting a Node with whole GPUs */
};

/* The resource of the pod (podneed.h) that there may be something to say about, and since when (s).
 * NULL = none. */
const char *nameadvice_resource(const json_t *pod, int64_t *ret_from);

enum nameadvice {
    NAMEADVICE_NOTHING, /* the Node says nothing about it: the pod may not run there, for one */
    NAMEADVICE_SERVED,  /* it has that resource, or may have it soon */
    NAMEADVICE_OTHER,   /* it has such devices under another name */
};

/* node: the API's object, or as namenode.h reduces it. */
enum nameadvice nameadvice_judge(const json_t *pod, const char *resource, const json_t *node);

/* The sentence. node: one whose verdict is NAMEADVICE_OTHER. */
void nameadvice_write(const char *resource, const json_t *node, struct text *out);
