// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What was promised of this node before it existed (karpenter/promisetext.h), in numbers of the
 * whole node: what its Node has to advertise before it may be opened.
 *
 * The promise counts per GPU. How many there are is known from the instance type and the catalog,
 * not from the driver: a node that lacks one does not keep its promise.
 */

#include <stdbool.h>

#include "slice/namedemand.h"

#define NODEPROMISE_TYPE "node.kubernetes.io/instance-type" /* the Node's label */

/* All zero = nothing is known. */
struct nodepromise {
    char *text, *type;        /* of the Node; NULL = it does not have it */
    struct namedemand counts; /* none = nothing was promised, or it cannot be read */
};

/* The Node's annotation and its label. True if the counts may have changed; that they cannot be
 * known is logged. */
bool nodepromise_set(struct nodepromise *promise, const char *text, const char *type);

void nodepromise_deinit(struct nodepromise *promise);
