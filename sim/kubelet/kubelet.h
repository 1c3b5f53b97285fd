// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The stand-in as a whole: one kubelet with the little of a cluster that it needs around it.
 *
 * Everything that happens (a list from a plugin, a process that ended, a command of a user, a
 * moment that has come) changes the books and wakes kubelet_sync, which looks at the books alone
 * and moves every workload, pod and container one step on, until nothing moves. So no order of
 * events matters.
 *
 * Who acts: registration.h (plugins come and go), admission.h (devices for one pod at a time),
 * runner.h (containers), podresources.h and control.h (who asks), state.h (what a restart needs).
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

struct registration;
struct podresources;
struct control;

struct kubelet_options {
    const char *root_dir;         /* "/var/lib/kubelet" */
    bool keep_pods;               /* SIGTERM leaves the containers running, for the next start */
    uint64_t restart_back_off_ms; /* of the second restart of a container; then it doubles */
    struct command_options command;
};

struct kubelet {
    uv_loop_t *loop;
    const struct kubelet_options *options;
    struct manager manager;
    struct pods pods;
    struct workloads workloads;
    struct admission admission;
    struct registration *registration;
    struct podresources *podresources;
    struct control *control;
    uv_timer_t timer;   /* the next look at the books: at once, or at due_ms */
    uint64_t due_ms;    /* 0 = nothing is waiting for the clock */
    bool books_changed; /* the checkpoint on disk is older than the books */
    bool state_changed; /* the state file is older than pods and workloads */
    bool stopping;      /* all pods are to end, then on_stopped runs */
    void (*on_stopped)(struct kubelet *kubelet);
};

/*
 * Takes over what an earlier life left (checkpoint, state, running processes), wipes the folder of
 * the plugins' sockets as the real one does, and listens. `options` are borrowed.
 */
int kubelet_new(uv_loop_t *loop, const struct kubelet_options *options,
                struct kubelet **ret_kubelet, struct error *err);

/* Runs kubelet_sync from the loop, soon. */
void kubelet_wake(struct kubelet *kubelet);
/* Asks for a look at the books at now_ms or earlier. */
void kubelet_wake_at(struct kubelet *kubelet, uint64_t at_ms);

/* Writes what has changed; kubelet_sync does it too. For who answers a user before the next round:
 * a stand-in that is killed then has not forgotten what it confirmed. */
void kubelet_save(struct kubelet *kubelet);

/* Ends all pods (or, with keep_pods, leaves them) and calls on_stopped when nothing is left. A
 * second call kills what has not ended yet. */
void kubelet_stop(struct kubelet *kubelet, void (*on_stopped)(struct kubelet *kubelet));
/* Closes all sockets and stops watching. The loop must run once more for the memory to go. */
void kubelet_free(struct kubelet *kubelet);

/* Devices of a resource that active pods hold: what the books say, less what is reclaimed at the
 * next allocation. */
size_t kubelet_allocated(const struct kubelet *kubelet, const char *resource);

/* For manager_reclaim: userdata is the kubelet. */
bool kubelet_is_active(const char *pod_uid, void *userdata);
