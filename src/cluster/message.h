// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the agent and gpuslice-cluster tell each other over their socket pair: one JSON object per
 * line.
 *
 * The agent speaks first (setup), then tells what should be (state, whole each time: what is not in
 * it any more goes away) and what happened (event). The program tells what it sees of our Node
 * (news, whole each time), once it has been looked for and whenever a part of it changed. Either
 * may be started anew: the agent then says setup and state again. Before the agent ends in good
 * order it says bye; the program finds out whether that is an uninstall, cleans up if so, tells the
 * agent (uninstall), and ends by itself within CLUSTER_FAREWELL_MS. A pair that closes without bye
 * ends the program at once and changes nothing.
 *
 * A line that is none of these is refused with a sentence. Unknown members are ignored and missing
 * ones are empty, so that the two may be of neighbouring versions during an upgrade.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

enum {
    CLUSTER_FD = 3, /* the program's end of the pair */
    CLUSTER_LINE_MAX = 1 << 20,
    CLUSTER_FAREWELL_MS = 3000,
};

struct cluster_setup {
    char *node;         /* our Node's name */
    char *kubeconfig;   /* "" = in-cluster */
    char *namespace_;   /* of our pod; "" = unknown */
    char *pod;          /* our pod's name; "" = unknown */
    char *config_label; /* the Node label that chooses a configuration; "" = none does */
};

struct cluster_label {
    char *key, *value;
};

struct cluster_taint {
    char *key, *value, *effect;
};

enum cluster_labels_by {
    CLUSTER_LABELS_AUTO /* NodeFeature once it is seen to work, else the Node */,
    CLUSTER_LABELS_NODE,
    CLUSTER_LABELS_NONE /* somebody else publishes them */
};

struct cluster_state {
    enum cluster_labels_by labels_by;
    struct cluster_label *labels; /* gpu-feature-discovery's, published by labels_by */
    size_t n_labels, labels_capacity;
    struct cluster_label *extra_labels; /* gpuslice.labels: on the Node itself, always */
    size_t n_extra_labels, extra_labels_capacity;
    struct cluster_taint *taints; /* gpuslice.taints */
    size_t n_taints, taints_capacity;
    bool has_condition; /* false: this node has no GPU; no condition is kept */
    bool ready;         /* GPUSlicesReady */
    char *reason;       /* "AllResourcesRegistered" */
    char *message;
};

struct cluster_pod {
    char *namespace_, *name;
};

struct cluster_event {
    bool warning;
    char *reason, *message;
    struct cluster_pod *pods; /* said on each of them too; the Node always hears it */
    size_t n_pods, pods_capacity;
};

struct cluster_resource {
    char *name; /* "nvidia.com/gpu" */
    int64_t capacity, allocatable;
};

struct cluster_news {
    bool heard; /* the API server is heard; false: what follows is what was seen last */
    bool gone;  /* the cluster has no Node of our name: what follows is empty and says nothing */
    char *config_label_value; /* NULL = the Node does not have it */
    struct cluster_resource
        *resources; /* of the Node's status: integers with a domain in the name */
    size_t n_resources, resources_capacity;
    char **
        labels_held_by_others; /* "nvidia.com/gpu.count (nfd-master)": ours, left to who holds it */
    size_t n_labels_held, labels_held_capacity;
};

enum cluster_message_kind {
    CLUSTER_SETUP,
    CLUSTER_STATE,
    CLUSTER_EVENT,
    CLUSTER_NEWS,
    CLUSTER_BYE,      /* nothing but its kind */
    CLUSTER_UNINSTALL /* likewise: the answer to a bye, when the DaemonSet runs us no more */
};

struct cluster_message {
    enum cluster_message_kind kind;
    union {
        struct cluster_setup setup;
        struct cluster_state state;
        struct cluster_event event;
        struct cluster_news news;
    };
};

/*
 * Appends one line, newline included. A NULL text is written as "" (config_label_value: as absent),
 * bytes that are no UTF-8 as '?'. -EMSGSIZE (nothing is appended) above CLUSTER_LINE_MAX.
 */
int cluster_message_write(const struct cluster_message *message, struct text *out);

/* One line without its newline. -EBADMSG with a sentence. No text is NULL but config_label_value.
 */
int cluster_message_read(const char *line, size_t length, struct cluster_message *ret_message,
                         struct error *err);

/* For those who keep or build one without a message around it; what is in it was malloc'ed. */
void cluster_setup_deinit(struct cluster_setup *setup);
void cluster_state_deinit(struct cluster_state *state);
void cluster_event_deinit(struct cluster_event *event);
void cluster_news_deinit(struct cluster_news *news);
void cluster_message_deinit(struct cluster_message *message);

#define cleanup_cluster_message cleanup(cluster_message_deinit)
