// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Brings the GPUs of this node into the layout that is wanted, one driver request at a time.
 *
 * What is there, what is wanted and what is held give the next step (slice/migstep.h). It is
 * requested, the machine is read again, and the same question is asked again. Nothing is remembered
 * of a sequence, so after a failure, a kill -9 or a reboot at any step the next step follows from
 * what the driver reports.
 *
 * A GPU is withheld before it is changed: what no pod has of it is no longer offered, what a pod
 * has is Unhealthy, and Allocate refuses all of it. Only then the kubelet and the driver are asked
 * who uses the GPU, so nobody can begin to between the answer and the step. What is in use stays,
 * and is waited for. A GPU for which nothing is wanted keeps the layout that it has; a mode that
 * was wanted for it and still waits for a reset is taken back, and one that is in between is
 * finished, by the next agent if need be (migbegun.h). Where that fails it becomes what it was
 * before, and where that fails too, it is offered with the MIG devices that it has.
 *
 * A step that fails is retried with back-off; other GPUs are changed meanwhile, until several are
 * in between with a step that fails: then it is no single GPU's fault, and those that were not
 * begun stay as they are. A GPU that no step has changed yet is offered between the tries, and
 * while only processes that belong to no pod are waited for.
 *
 * A GPU whose reset is impossible has its mode after a reboot of the node (rebooter.h), if that is
 * allowed; else the reset fails like any other step.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "base/text.h"
#include "gpu/driver.h"
#include "node/migbegun.h"
#include "node/migreport.h"
#include "node/rebooter.h"
#include "plugin/podresources.h"
#include "slice/migwant.h"

enum {
    PARTITIONER_DEADLINE_MS = 300000, /* of one driver request; a reset takes longest */
    PARTITIONER_WISH_SIZE = 256,
    PARTITIONER_STUCK = 2, /* GPUs in between whose step fails: no other is begun */
};

/* Outcomes of `want`. */
enum {
    PARTITIONER_ADOPT = 1,   /* nothing is wanted for this GPU */
    PARTITIONER_UNKNOWN = 2, /* cluster or configuration have not told yet what is wanted */
    PARTITIONER_PASSED = 3   /* a layout is wanted, but not of this GPU: it has no entry for it */
};

/* Everything that the partitioner does outside of it, and asks for. */
struct partitioner_backend {
    /* What is wanted of a GPU: 0, an outcome above, or a negative errno with a sentence. */
    int (*want)(const struct gpu *gpu, const struct mig_board *board, struct mig_want *ret_want,
                struct error *err, void *owner);
    /* The name of the wanted layout and where it comes from, for sentences. */
    const char *(*wish)(void *owner);
    /* False: what `want` says may be out of date. What is as wanted is offered, nothing is changed,
     * and what would have to be is withheld. */
    bool (*may_change)(void *owner);
    struct migbegun *begun; /* borrowed */
    uint64_t (*now_ms)(void *owner);
    bool (*is_granted)(const char *device_uuid, void *owner); /* a grant has it */
    /* The uid of the pod that has an id of the kubelet's; "" = not known yet. */
    const char *(*pod_uid)(const char *resource, const char *id, void *owner);
    int (*list_pods)(podresources_list_fn *on_listed, void *userdata, void *owner);
    int (*change)(const struct gpu_change *change, driver_changed_fn *done, void *userdata,
                  void *owner);
    /* As rebooter_need; NULL = the node is not rebooted. */
    int (*reboot)(const struct rebooter_need *needs, size_t n, struct error *err, void *owner);
    /* The GPU is as it is wanted, or nothing is wanted of it; may be NULL. */
    void (*on_settled)(const char *uuid, void *owner);
    /* partitioner_mask or partitioner_is_wanted_of has another result. Nothing that is withheld may
     * be given out after this. */
    void (*on_withheld)(void *owner);
    void (*on_waits)(void *owner); /* what partitioner_add_waits adds changed */
    void (*on_state)(void *owner); /* state or message changed */
    /* All GPUs were looked at, and nothing is under way: the state is what there is for now. */
    void (*on_idle)(void *owner);
    void (*on_event)(bool warning, const char *reason, const char *message, void *owner);
};

struct partitioner;

/* machine and backend are borrowed. Nothing happens before partitioner_touch. */
int partitioner_new(uv_loop_t *loop, const struct inventory *machine,
                    const struct partitioner_backend *backend, void *owner,
                    struct partitioner **ret_partitioner);

/* Free what runs its requests first. NULL is allowed, here and below. */
void partitioner_free(struct partitioner *partitioner);

/* The machine, what is wanted or what is held may have changed: looked at soon. */
void partitioner_touch(struct partitioner *partitioner);

enum migreport_state partitioner_state(const struct partitioner *partitioner);

/* Each GPU was looked at since another layout was wanted, and nothing is under way: it is in force,
 * or what could be made of it, or none is wanted. NULL: true. */
bool partitioner_is_settled(const struct partitioner *partitioner);

/* Processes of no pod are, or were, in the way of the layout that is being made: they should not
 * come back before it is. NULL: false. */
bool partitioner_waits_for_clients(const struct partitioner *partitioner);

/* A layout is wanted of a GPU, or it is not known yet whether one is. NULL: false. */
bool partitioner_is_wanted(const struct partitioner *partitioner);

/* The same of the GPU of that UUID. */
bool partitioner_is_wanted_of(const struct partitioner *partitioner, const char *uuid);

/* What it does, waits for, or cannot do: sentences. See migreport.h. */
const char *partitioner_message(const struct partitioner *partitioner);

/* The pods that are waited for, as migwaits.h describes; nothing if there are none. */
void partitioner_add_waits(const struct partitioner *partitioner, struct text *out);

/*
 * Marks in a copy of the machine what is withheld, and removes MIG devices that are withheld and
 * that nobody has.
 */
void partitioner_mask(const struct partitioner *partitioner, struct inventory *copy);

struct partitioner_counters {
    uint64_t steps, failed_steps; /* driver requests, without questions */
};

struct partitioner_counters partitioner_counters(const struct partitioner *partitioner);
