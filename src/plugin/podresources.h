// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which pods of this node hold which devices: the kubelet's pod-resources socket is asked.
 *
 * Words depend on it: an event that names the pods of a broken GPU, a sentence that names the pod
 * of another plugin. Trouble with the socket is logged once, and queries then return no pods.
 * An answer is bounded (16 MiB, see rpc/client.h; rpc/message.h bounds its fields), and so is the
 * time it may take.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"

#define PODRESOURCES_SOCKET "/var/lib/kubelet/pod-resources/kubelet.sock"

enum {
    PODRESOURCES_DEADLINE_MS = 3000,
    PODRESOURCES_PODS_MAX = 256,
    PODRESOURCES_QUESTIONS_MAX = 64
};

struct podresources;

/* Names assigned by the API server; "" if the kubelet returned none. */
struct podresources_pod {
    const char *namespace_, *name;
};

/*
 * The result, valid during the call: at most PODRESOURCES_PODS_MAX pods in the kubelet's order,
 * none if the kubelet did not respond.
 */
typedef void podresources_done_fn(const struct podresources_pod *pods, size_t n_pods,
                                  void *userdata);

/* Nothing is sent before the first query. socket_path "" = there is no kubelet to ask. */
int podresources_new(uv_loop_t *loop, const char *socket_path,
                     struct podresources **ret_podresources, struct error *err);

/* Open queries are dropped without a callback. NULL is allowed. */
void podresources_free(struct podresources *podresources);

/*
 * Queries the pods that hold one of these devices (by their ids, whatever the resource). The ids
 * are copied; ids NULL asks for every pod. on_done runs exactly once, and never inside this
 * function. 0; -ENOMEM, or -EAGAIN with PODRESOURCES_QUESTIONS_MAX queries open: then it does not
 * run.
 */
int podresources_ask(struct podresources *podresources, const char *const *ids, size_t n_ids,
                     podresources_done_fn *on_done, void *userdata);

/* A device id and the container that holds it. "" where the kubelet gave no name. */
struct podresources_device {
    const char *resource, *id, *container;
    struct podresources_pod pod;
};

/* Valid during the call. */
struct podresources_list {
    bool is_complete;  /* false: the kubelet did not answer, and the list is empty */
    uint64_t began_ms; /* when it was asked, by uv_now */
    const struct podresources_device *devices; /* one with several NUMA nodes once for each */
    size_t n_devices;
};

typedef void podresources_list_fn(const struct podresources_list *list, void *userdata);

/* Asks for every device of every pod. As podresources_ask otherwise. */
int podresources_list(struct podresources *podresources, podresources_list_fn *on_listed,
                      void *userdata);

/*
 * The pure part: passes the pods of an encoded ListPodResourcesResponse that hold one of the sorted
 * `ids` (NULL = every pod) to on_done, which runs once if the message is valid. 0, -EBADMSG or
 * -E2BIG (invalid), or -ENOMEM.
 */
int podresources_read(const void *data, size_t size, const char *const *ids, size_t n_ids,
                      podresources_done_fn *on_done, void *userdata);
