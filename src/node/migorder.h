// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The layout that `gpuslice mig apply` asked this agent for (gpu/migrequest.h), while it is being
 * made. It lies in the folder of grants as well, so that an agent that follows goes on with it,
 * also after a reboot that the layout needs.
 */

#include "base/error.h"
#include "config/migconfig.h"
#include "gpu/migrequest.h"

struct migorder {
    char name[MIGREQUEST_NAME_SIZE];
    bool mode_only;
    struct migconfig *config;            /* NULL: it is built in */
    const struct migconfig_label *label; /* of config */
};

/* Reads a request. 0, or a negative errno with a sentence for the sender. */
int migorder_parse(const char *data, size_t size, struct migorder **ret_order, struct error *err);

/* NULL is allowed. */
void migorder_free(struct migorder *order);

/* Notes it in that folder. 0 or a negative errno. */
int migorder_store(const char *folder, const char *data, size_t size, struct error *err);

/* The one that is noted there; NULL: there is none. One that cannot be read is logged, and goes. */
struct migorder *migorder_recall(const char *folder);

/* Removes it from there. */
void migorder_forget(const char *folder);
