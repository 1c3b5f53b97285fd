// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Pods and workloads: the few API objects that the stand-in keeps.
 *
 * A pod's life: created -> scheduled (it fits) -> admitted (its devices are allocated) ->
 * containers run -> terminal phase, or deleted. A workload (Deployment, ReplicaSet, Job, or a bare
 * Pod) determines how many pods there should be; workload.h does the counting. Pods are named as in
 * Kubernetes; the suffix comes from a counter, so that a demo looks the same each time.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "answer.h"
#include "podmanifest.h"

enum pod_phase { POD_PENDING, POD_RUNNING, POD_SUCCEEDED, POD_FAILED };

enum container_state { CONTAINER_WAITING, CONTAINER_RUNNING, CONTAINER_TERMINATED };

struct process;

struct container {
    const struct container_spec *spec; /* of the pod's template */
    enum container_state state;
    char *reason; /* why it waits or ended: "CrashLoopBackOff", "Completed" ...; NULL = none */
    int exit_code;
    unsigned n_restarts;
    uint64_t not_before_ms; /* back-off: no start before this */
    uint64_t kill_at_ms; /* SIGTERM was sent, SIGKILL follows at this time; 0 = not being stopped */
    size_t n_pre_started;    /* of its limits: PreStartContainer has completed for this start */
    struct process *process; /* while running */
    struct answer answer;    /* the merged Allocate responses; empty before its first start */
};

struct pod {
    char *namespace, *name, *uid;
    char *owner; /* name of the workload in the same namespace that created it */
    enum manifest_kind owner_kind;
    struct pod_template *template;
    enum pod_phase phase;
    char *reason, *message; /* of the phase; NULL = none */
    bool scheduled, admitted, deleting;
    uint64_t deadline_ms;         /* while deleting: when SIGKILL follows */
    struct container *containers; /* as in the template */
    size_t n_containers;
};

struct pods {
    struct pod **items; /* in order of creation */
    size_t n_items, capacity;
};

/* 0, -EEXIST, or -ENOMEM. uid NULL = generate one. */
int pods_add(struct pods *pods, const struct podmanifest *owner, const char *name, const char *uid,
             struct pod **ret_pod);
/* Frees a pod whose containers have all ended. */
void pods_remove(struct pods *pods, struct pod *pod);
void pods_deinit(struct pods *pods);

struct pod *pods_find(const struct pods *pods, const char *namespace, const char *name);
struct pod *pods_find_uid(const struct pods *pods, const char *uid);

const char *pod_phase_name(enum pod_phase phase);
bool pod_is_terminal(const struct pod *pod);
/* True if it holds its devices: not terminal, or some container still runs. */
bool pod_is_active(const struct pod *pod);
bool pod_has_running(const struct pod *pod);

/* Copies; NULL = none. 0 or -ENOMEM. */
int pod_set_phase(struct pod *pod, enum pod_phase phase, const char *reason, const char *message);
int container_set_reason(struct container *container, const char *reason);

/* The STATUS column of kubectl: "Running", "Init:0/1", "CrashLoopBackOff" ...; the result is buffer
 * or valid until the pod changes. */
const char *pod_status(const struct pod *pod, char *buffer, size_t size);
