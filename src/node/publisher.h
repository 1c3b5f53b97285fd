// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the agent publishes besides the kubelet's API: to our Node through gpuslice-nodesync
 * (synclink.h), and to node-feature-discovery's file (labelfile.h).
 *
 * On a change it evaluates the facts and publishes the differences. While resources are still being
 * registered it waits up to PUBLISHER_SETTLE_MS, so that a restart, or a new configuration, is
 * invisible to the cluster unless it fails. Without a node name there is no cluster: only the file
 * is written.
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

/* NULL is allowed, here and below. */
void publisher_free(struct publisher *publisher);

/* The facts may have changed. */
void publisher_touch(struct publisher *publisher);

/* An event on the Node, and on the pods. */
void publisher_event(struct publisher *publisher, bool warning, const char *reason,
                     const char *message, const struct sync_pod *pods, size_t n_pods);

/* A warning on a pod, and not on the Node. */
void publisher_pod_event(struct publisher *publisher, const char *reason, const char *message,
                         const struct sync_pod *pod);

/* The same for a GPU, on the pods that hold a device of it. */
void publisher_device_event(struct publisher *publisher, const char *uuid, bool warning,
                            const char *reason, const char *message);

/* The program for the API server runs and is connected; false also without a node name. */
bool publisher_is_connected(const struct publisher *publisher);
bool publisher_has_cluster(const struct publisher *publisher);
uint64_t publisher_lost_events(const struct publisher *publisher);

/*
 * The agent exits in an orderly way: the label file is removed, and the cluster is notified. True
 * if on_gone will run (once, with the userdata): free the publisher then. False: there is nobody to
 * notify.
 */
bool publisher_leave(struct publisher *publisher, synclink_gone_fn *on_gone);
