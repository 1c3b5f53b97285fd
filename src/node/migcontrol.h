// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The agent's partitioner with all that it asks: the Node's labels and the file of layouts
 * (migwish.h), the grants, the kubelet, and the driver.
 *
 * Without --mig-partition there is none, and layouts stay as they are.
 */

#include <uv.h>

#include "base/error.h"
#include "node/driverwatch.h"
#include "node/facts.h"
#include "node/publisher.h"
#include "nodesync/message.h"

struct migcontrol;

/* Everything is borrowed. */
struct migcontrol_setup {
    uv_loop_t *loop;
    struct facts *facts; /* its `partitioner` is lent */
    struct publisher *publisher;
    struct driverwatch *driverwatch;
    struct podresources *podresources;
    void (*on_withheld)(void *userdata); /* see partitioner.h, as the next */
    void (*on_idle)(void *userdata);
    void (*look_for_ended)(void *userdata); /* grants may be waited for */
    void *userdata;
};

/* *ret_control is NULL without --mig-partition. */
int migcontrol_new(const struct migcontrol_setup *setup, struct migcontrol **ret_control,
                   struct error *err);

/* After the driver's helper and podresources, which run its requests. NULL is allowed, here and
 * below. */
void migcontrol_free(struct migcontrol *control);

/* Machine, configuration or grants changed. */
void migcontrol_touch(struct migcontrol *control);

/* What the cluster says of our Node. */
void migcontrol_news(struct migcontrol *control, const struct sync_news *news);
