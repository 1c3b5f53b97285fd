// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the agent makes known beside the kubelet: to our Node through gpuslice-nodesync
 * (synclink.h), and to node-feature-discovery's file (labelfile.h).
 *
 * It looks at the facts when it is told that something changed, and passes on what differs. While
 * resources are still on their way to the kubelet it waits up to PUBLISHER_SETTLE_MS, so that a
 * restart, or a new configuration, is no news to the cluster unless it goes wrong. Without a node's
 * name there is no cluster: then only the file is written.
 */

#include <stdbool.h>
#include <uv.h>

#include "base/error.h"
#include "node/facts.h"
#include "node/synclink.h"
#include "plugin/podresources.h"

enum { PUBLISHER_SETTLE_MS = 5000 };

struct publisher;

struct publisher_options {
    const struct facts *facts;         /* borrowed */
    struct podresources *podresources; /* borrowed, and freed before the publisher */
    struct listener *listener;         /* borrowed; see synclink.h */
    synclink_news_fn *on_news;
    void *userdata; /* of on_news, and of what publisher_leave calls */
};

int publisher_new(uv_loop_t *loop, const struct publisher_options *options,
                  struct publisher **ret_publisher, struct error *err);

/* NULL is fine, here and below. */
void publisher_free(struct publisher *publisher);

/* The facts changed, perhaps. */
void publisher_touch(struct publisher *publisher);

/* Something happened; said on the Node, and on the pods. */
void publisher_event(struct publisher *publisher, bool warning, const char *reason,
                     const char *message, const struct sync_pod *pods, size_t n_pods);

/* The same for a GPU, on the pods that hold a device of it. */
void publisher_device_event(struct publisher *publisher, const char *uuid, bool warning,
                            const char *reason, const char *message);

/* The program for the API server runs and hears it; false also without a node's name. */
bool publisher_is_connected(const struct publisher *publisher);
bool publisher_has_cluster(const struct publisher *publisher);
uint64_t publisher_lost_events(const struct publisher *publisher);

/*
 * The agent ends in good order: the labels' file goes, and the cluster is told. True when on_gone
 * will run (once, with the userdata): free the publisher then. False: nobody is there to be told.
 */
bool publisher_leave(struct publisher *publisher, synclink_gone_fn *on_gone);
