// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The stand-in as a whole: one kubelet, and as much of a cluster as it needs.
 *
 * Every event (a plugin's list, an exited process, a user command, a timer) updates the state and
 * wakes kubelet_sync, which looks only at the state and advances every workload, pod and container
 * until nothing changes. So the order of events does not matter.
 *
 * The parts: registry.h (plugins come and go), admission.h (devices for one pod at a time),
 * runner.h (containers), podlister.h and control.h (queries), savefile.h (persistence).
 */

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "admission.h"
#include "base/error.h"
#include "command.h"
#include "manager.h"
#include "pod.h"
#include "workload.h"

struct registry;
struct podlister;
struct control;

struct kubelet_options {
    const char *root_dir;   /* "/var/lib/kubelet" */
    const char *plugin_dir; /* NULL = device-plugins in root_dir; a real kubelet's is a constant,
                               wherever its root is */
    const char *node_root;  /* of nodefiles.h; NULL = none */
    bool keep_pods;         /* on SIGTERM, leave the containers running for the next start */
    uint64_t restart_back_off_ms; /* before the second restart of a container; doubles from there */
    struct command_options command;
};

struct kubelet {
    uv_loop_t *loop;
    const struct kubelet_options *options;
    struct manager manager;
    struct pods pods;
    struct workloads workloads;
    struct admission admission;
    struct registry *registry;
    struct podlister *podlister;
    struct control *control;
    uv_timer_t timer;      /* the next sync: immediately, or at due_ms */
    uint64_t due_ms;       /* 0 = no timer needed */
    bool checkpoint_dirty; /* the checkpoint on disk is out of date */
    bool state_dirty;      /* the state file on disk is out of date */
    bool stopping;         /* all pods are being stopped; on_stopped runs when they are gone */
    void (*on_stopped)(struct kubelet *kubelet);
};

/*
 * Refuses a folder of somebody else (rootdir.h), else restores what a previous run left
 * (checkpoint, state, running processes), wipes the directory of plugin sockets as the real kubelet
 * does, and listens. `options` is borrowed.
 */
int kubelet_new(uv_loop_t *loop, const struct kubelet_options *options,
                struct kubelet **ret_kubelet, struct error *err);

/* Schedules kubelet_sync on the loop. */
void kubelet_wake(struct kubelet *kubelet);
/* Schedules kubelet_sync at at_ms, or earlier. */
void kubelet_wake_at(struct kubelet *kubelet, uint64_t at_ms);

/* Writes what has changed; kubelet_sync does so too. Call it before confirming something to a user
 * ahead of the next sync, so that a kill does not lose what was confirmed. */
void kubelet_save(struct kubelet *kubelet);

/* Stops all pods (or, with keep_pods, leaves them running) and calls on_stopped when none is left.
 * A second call kills the remaining ones. */
void kubelet_stop(struct kubelet *kubelet, void (*on_stopped)(struct kubelet *kubelet));
/* Closes all sockets and watches. Memory is freed in the next loop iteration. */
void kubelet_free(struct kubelet *kubelet);

/* Devices of a resource held by active pods: as recorded, minus those the next allocation
 * reclaims. */
size_t kubelet_allocated(const struct kubelet *kubelet, const char *resource);

/* For manager_reclaim: userdata is the kubelet. */
bool kubelet_is_active(const char *pod_uid, void *userdata);
