// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The Node's annotation gpuslice.dev/mig-waits: the pods that a MIG layout waits for, as the Node's
 * agent wrote it (src/node/migwaits.h has the form). It comes from outside: of what cannot be used
 * nothing is used.
 */

#include <stddef.h>

#include "base/error.h"

#define MIGWAITS_ANNOTATION "gpuslice.dev/mig-waits"

enum {
    MIGWAITS_SIZE_MAX = 256 << 10 /* of all annotations of an object */,
    MIGWAITS_PODS_MAX = 512
};

struct migwaits_pod {
    char *namespace_, *name;
    char *uid; /* "" = the agent does not know it yet */
};

struct migwaits {
    char *layout;              /* for sentences */
    struct migwaits_pod *pods; /* each once */
    size_t n_pods, capacity;
};

/* -EBADMSG with a sentence, or -ENOMEM. */
int migwaits_read(const char *text, struct migwaits *ret_waits, struct error *err);

void migwaits_deinit(struct migwaits *waits);

#define cleanup_migwaits cleanup(migwaits_deinit)
