// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The protocol between the agent and gpuslice-nodesync over their channel: each message is a
 * notice, a JSON object.
 *
 * The agent starts (setup), then sends the desired state (state, always complete: omitted parts are
 * removed) and events (event). The program sends its view of our Node (news, always complete), once
 * it was read and whenever a part of it changes. Either may be restarted: the agent then sends
 * setup and state again. Before an orderly exit the agent sends the shutdown message; the program
 * finds out whether that is an uninstall, cleans up if so, notifies the agent (uninstall), and
 * exits within SYNC_SHUTDOWN_MS. If the channel closes without it, the program exits immediately
 * and changes nothing.
 *
 * Any other message is rejected with a reason. Unknown members are ignored and missing ones are
 * empty, so that the two may be of neighbouring versions during an upgrade.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

enum {
    SYNC_MESSAGE_MAX = 1 << 20, /* bytes */
    SYNC_SHUTDOWN_MS = 3000,
};

#define SYNC_NAME "nodesync" /* the program's, for its hello */

/* The program's first argument if it is not a child; followed by the path of the agent's socket. */
#define SYNC_CONNECT "--connect="

struct sync_setup {
    char *node;       /* our Node's name */
    char *kubeconfig; /* "" = in-cluster */
    char *namespace_; /* of our pod; "" = unknown */
    char *pod;        /* our pod's name; "" = unknown */
    char *lease;      /* the controller's, in our namespace; "" = unknown, "-": see opener.h */
    /* Keys whose values the news contain. */
    char **watched_labels;
    size_t n_watched_labels, watched_labels_capacity;
    char **watched_annotations;
    size_t n_watched_annotations, watched_annotations_capacity;
};

struct sync_label {
    char *key, *value;
};

struct sync_taint {
    char *key, *value, *effect;
};

struct sync_count {
    char *name; /* of a resource */
    int64_t count;
};

enum sync_labels_by {
    SYNC_LABELS_AUTO /* NodeFeature once it is known to work, else the Node */,
    SYNC_LABELS_NODE,
    SYNC_LABELS_NONE /* somebody else publishes them */
};

struct sync_state {
    /* What should be on the Node is not known yet: its labels and taints stay as they are. */
    bool keeps_labels;
    enum sync_labels_by labels_by;
    struct sync_label *labels; /* gpu-feature-discovery's, published by labels_by */
    size_t n_labels, labels_capacity;
    struct sync_label *extra_labels; /* gpuslice.labels: on the Node itself, always */
    size_t n_extra_labels, extra_labels_capacity;
    struct sync_taint *taints; /* gpuslice.taints */
    size_t n_taints, taints_capacity;
    struct sync_count *promise; /* what the Node has to advertise before it is opened; none = it is
                                   not known */
    size_t n_promise, promise_capacity;
    bool handles_clients; /* nvidia.com/gpu.deploy.* are ours to change (deploylabels.h): */
    bool pauses_clients;  /* those components are in the way, else they run */
    bool has_condition;   /* false: this node has no GPU; no condition is set */
    bool ready;           /* GPUSlicesReady */
    char *reason;         /* "AllResourcesRegistered" */
    char *message;
    /* Annotations of the Node; "" = none. */
    char *mig_waits;  /* gpuslice.dev/mig-waits (migwaits.h of the agent) */
    char *advertises; /* gpuslice.dev/advertises (karpenter/nodekeys.h) */
    char *mig_names;  /* gpuslice.dev/mig-names (mignames.h) */
};

struct sync_pod {
    char *namespace_, *name;
};

struct sync_event {
    bool warning;
    char *reason, *message;
    bool is_of_pods;       /* the Node does not get it; an earlier nodesync gives it one all the
                              same */
    struct sync_pod *pods; /* pods that get the event too */
    size_t n_pods, pods_capacity;
};

struct sync_resource {
    char *name; /* "nvidia.com/gpu" */
    int64_t capacity, allocatable;
};

struct sync_news {
    bool reachable; /* the API server is reachable; false: the rest is the last known state */
    bool gone;      /* the cluster has no Node of our name: the rest is empty and meaningless */
    struct sync_label *labels; /* of the Node: the watched ones that it has */
    size_t n_labels, labels_capacity;
    struct sync_label *annotations; /* the watched ones that it has */
    size_t n_annotations, annotations_capacity;
    struct sync_resource *resources; /* of the Node's status: integers with a domain in the name */
    size_t n_resources, resources_capacity;
    char **labels_held_by_others; /* "nvidia.com/gpu.count (nfd-master)": ours, but left to its
                                     owner */
    size_t n_labels_held, labels_held_capacity;
};

enum sync_message_kind {
    SYNC_SETUP,
    SYNC_STATE,
    SYNC_EVENT,
    SYNC_NEWS,
    SYNC_SHUTDOWN, /* has no members */
    SYNC_UNINSTALL /* no members: answers a shutdown, if the DaemonSet no longer runs us here */
};

struct sync_message {
    enum sync_message_kind kind;
    union {
        struct sync_setup setup;
        struct sync_state state;
        struct sync_event event;
        struct sync_news news;
    };
};

/*
 * Appends one line, without a newline. A NULL text is written as "", invalid UTF-8 as '?'.
 * -EMSGSIZE (nothing is appended) above SYNC_MESSAGE_MAX.
 */
int sync_message_write(const struct sync_message *message, struct text *out);

/* -EBADMSG with a message. No text is NULL. */
int sync_message_read(const char *line, size_t length, struct sync_message *ret_message,
                      struct error *err);

/* The value of a watched label; NULL = the Node does not have it. Borrowed. */
const char *sync_news_label(const struct sync_news *news, const char *key);

/* The same of a watched annotation. */
const char *sync_news_annotation(const struct sync_news *news, const char *key);

/* For users that keep or build one without a message; its content was malloc'ed. */
void sync_setup_deinit(struct sync_setup *setup);
void sync_state_deinit(struct sync_state *state);
void sync_news_deinit(struct sync_news *news);
void sync_message_deinit(struct sync_message *message);

#define cleanup_sync_message cleanup(sync_message_deinit)
