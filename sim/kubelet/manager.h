// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The device manager's state: the node's devices, their health, and their allocations.
 *
 * Pure: no sockets, no clock, no log, so that the rules of the real kubelet (1.36,
 * pkg/kubelet/cm/devicemanager) can be tested by tables. The messages are the real ones, because
 * people search for them.
 *
 * An allocation takes three steps, with a plugin call in between:
 *
 *     manager_pick     what is needed, what is available, what is reused from init containers
 *     manager_choose   the plugin's preference is a hint: used where valid, completed where short
 *     manager_record   the Allocate response, kept for restarts of container and kubelet
 *
 * Only one admission runs at a time (the kubelet admits pods one by one), so nothing is reserved
 * between the steps. Devices of finished pods are reclaimed lazily, at the next pick:
 * manager_reclaim.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "ids.h"

/* How long a resource stays listed after its plugin went away (endpointStopGracePeriod). */
enum { MANAGER_STOP_GRACE_MS = 5 * 60 * 1000 };

struct managed_device {
    char *id;
    bool healthy;
    int64_t *numa_nodes; /* empty: the plugin reported no topology */
    size_t n_numa_nodes;
};

struct resource {
    char *name;                     /* "nvidia.com/gpu" */
    struct managed_device *devices; /* sorted by id */
    size_t n_devices;
    bool connected;         /* its plugin is connected */
    uint64_t stopped_at_ms; /* when the plugin went away, while not connected */
    bool offers_preference; /* GetPreferredAllocation */
    bool wants_pre_start;   /* PreStartContainer before each container start */
};

/* One completed Allocate. */
struct allocation {
    char *pod_uid, *container, *resource;
    struct managed_device *devices; /* their health is not meaningful here */
    size_t n_devices;
    void *answer; /* an encoded v1beta1.ContainerAllocateResponse */
    size_t answer_size;
};

struct manager {
    struct resource *resources; /* sorted by name */
    size_t n_resources, resources_capacity;
    struct allocation *allocations; /* in order of allocation */
    size_t n_allocations, allocations_capacity;
};

#define MANAGER_INIT      \
    {                     \
        .resources = NULL \
    }

void manager_deinit(struct manager *manager);

/* True if the API accepts the name as an extended resource: "vendor.example/thing". */
bool manager_is_extended_resource(const char *name);

/* The state of one resource, or NULL; valid until the next change. */
const struct resource *manager_find(const struct manager *manager, const char *name);

/* A plugin has connected: its old devices stay until its first list. 0 or -ENOMEM. */
int manager_connect(struct manager *manager, const char *name, bool offers_preference,
                    bool wants_pre_start);

/*
 * The plugin's latest list, which replaces the previous one; copied. Of duplicate ids the last one
 * wins, as in the kubelet's map. 0 or -ENOMEM.
 */
int manager_set_devices(struct manager *manager, const char *name,
                        const struct managed_device *devices, size_t n_devices);

/* The plugin is gone: its devices are Unhealthy from now on, and forgotten after the grace
 * period. */
void manager_disconnect(struct manager *manager, const char *name, uint64_t now_ms);

/* Forgets resources whose grace period is over. Returns how many; the next deadline in *ret_next_ms
 * (0 = none). */
size_t manager_expire(struct manager *manager, uint64_t now_ms, uint64_t *ret_next_ms);

/* Capacity counts every listed device, allocatable the healthy ones. */
size_t manager_capacity(const struct resource *resource);
size_t manager_allocatable(const struct resource *resource);

/* True if a plugin serves or served the resource, or devices of it are allocated. */
bool manager_knows(const struct manager *manager, const char *name);

struct device_request {
    const char *pod_uid, *container, *resource;
    size_t count;
};

struct pick {
    struct ids chosen;    /* reused from init containers, plus what manager_choose adds */
    struct ids available; /* healthy and free, excluding `chosen` */
};

#define PICK_INIT          \
    {                      \
        .chosen = IDS_INIT \
    }

void pick_deinit(struct pick *pick);
#define cleanup_pick cleanup(pick_deinit)

enum manager_outcome {
    MANAGER_NOTHING_NEEDED = 1, /* the container already holds its devices */
    MANAGER_ASK_PREFERENCE,     /* the plugin may state a preference among pick->available */
};

/*
 * Starts an allocation. `reusable`: ids released by the init containers of this pod. 0:
 * pick->chosen is complete; an outcome; or a negative errno with the kubelet's message.
 */
int manager_pick(const struct manager *manager, const struct device_request *request,
                 const struct ids *reusable, struct pick *ret_pick, struct error *err);

/* Completes pick->chosen: from `preferred` (NULL = no preference), then in order of the ids. */
int manager_choose(const struct device_request *request, const struct ids *preferred,
                   struct pick *pick, struct error *err);

/* Records a response. 0 or -ENOMEM. */
int manager_record(struct manager *manager, const struct device_request *request,
                   const struct ids *chosen, const void *answer, size_t answer_size);

/* As manager_record, with the topology from a checkpoint instead of that of the listed devices. */
int manager_restore(struct manager *manager, const struct device_request *request,
                    const struct managed_device *devices, const void *answer, size_t answer_size);

/* The allocation of one container for one resource, or NULL. */
const struct allocation *manager_find_allocation(const struct manager *manager, const char *pod_uid,
                                                 const char *container, const char *resource);

/* Drops the allocations of pods that are not active (updateAllocatedDevices); returns how many. */
typedef bool manager_is_active_fn(const char *pod_uid, void *userdata);
size_t manager_reclaim(struct manager *manager, manager_is_active_fn *is_active, void *userdata);

/*
 * Devices that init containers of a pod under admission release, per resource (devicesToReuse): add
 * after an init container, remove after a sidecar or an app container.
 */
struct reuse {
    struct {
        char *resource;
        struct ids ids;
    } * items;
    size_t n_items, capacity;
};

void reuse_deinit(struct reuse *reuse);
const struct ids *reuse_find(const struct reuse *reuse, const char *resource);
int reuse_add(struct reuse *reuse, const struct manager *manager, const char *pod_uid,
              const char *container);
void reuse_remove(struct reuse *reuse, const struct manager *manager, const char *pod_uid,
                  const char *container);
