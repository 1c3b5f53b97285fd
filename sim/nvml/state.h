// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The running machine: what processes share while they use the simulator.
 *
 * The state is a file that every process maps. The first one makes it from the machine file; it
 * stays until `gpuslice-sim reset` or a reboot. Rules that keep it usable when any process dies at
 * any moment, also by SIGKILL:
 *  - The machine itself never changes. What changes is words that stand alone: a reader takes no
 *    lock, and no two words have to agree.
 *  - Writers hold the kernel's lock on the file (flock), which ends with its holder.
 *  - A slot (process, rule, event) becomes visible by the last store into it, and is taken away by
 *    the first.
 * Waiting is by futex on words of the file, so it works across processes and needs no polling.
 *
 * Faults of the machine file become due by the clock: the first reader of the state applies them.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "nvml/machinefile.h"
#include "nvml/migwords.h"
#include "nvml/timeshare.h"

enum {
    STATE_VERSION =
        8, /* of the layout below, and of everything in machinefile.h and catalog/model.h */
    STATE_MAX_RULES = 64,
    STATE_MAX_PROCESSES = 256,
    STATE_MAX_EVENTS = 256, /* a slower waiter loses the oldest */
    STATE_GPU_INSTANCES = MIGWORDS_INSTANCES,
    STATE_COMPUTE_INSTANCES = MIGWORDS_COMPUTES,
    STATE_UUID = 80, /* of a MIG device, and for its name */
};

#define STATE_NO_INSTANCE MACHINE_NO_INSTANCE

#define STATE_MAGIC 0x314d495355504755u /* "UGPUSIM1" */

struct state_gpu {
    atomic_uint lost;
    atomic_uint utilization_gpu, utilization_memory, utilization_encoder, utilization_decoder;
    atomic_uint temperature_celsius; /* 0 = by load */
    atomic_uint compute_mode, persistence, recovery_action;
    atomic_uint resets; /* how often it was reset */
    atomic_uint reset_refused, pad;
    atomic_ullong reset_ns;         /* last reset, CLOCK_MONOTONIC; 0 = never */
    atomic_ullong used_bytes;       /* in addition to that of processes */
    atomic_ullong ecc_errors[2][2]; /* [corrected, uncorrected][volatile, aggregate] */
    atomic_ullong xids;
};

struct state_process {
    atomic_uint pid; /* 0 = free; of a client, as it sees itself */
    uint32_t gpu, kind, utilization;
    uint32_t gpu_instance, compute_instance; /* STATE_NO_INSTANCE: on the whole of it */
    uint64_t client; /* alive_self() of a process that registered itself; 0 = acted out */
    atomic_ullong memory_bytes;
    char name[MACHINE_NAME];
};

/* How a call misbehaves. */
struct state_rule {
    atomic_uint active;
    uint32_t kind; /* FAULT_HANG, FAULT_ERROR, FAULT_MISSING or FAULT_DEATH */
    int32_t gpu;   /* or MACHINE_ALL_GPUS */
    uint32_t code;
    uint32_t nth;            /* only this call, counted from 1; 0 = each */
    atomic_uint n_called;    /* while it is active */
    char call[MACHINE_NAME]; /* "" = every call of NVML */
};

struct state_event {
    atomic_ullong
        number; /* from 1; a different number than expected: not (or no longer) this event */
    uint32_t gpu;
    uint16_t gpu_instance, compute_instance; /* UINT16_MAX: of the whole of it */
    uint64_t type, data;                     /* NVML's event type; an XID */
};

/* An event as it is written and read. */
struct state_happening {
    uint32_t gpu, gpu_instance, compute_instance; /* STATE_NO_INSTANCE: of the whole of it */
    uint64_t type, data;
};

struct state {
    uint64_t magic;
    uint32_t version, size;
    atomic_uint ready; /* stored last by the writer */
    uint32_t pad;
    uint64_t key; /* of the machine file: path and time of change */
    char boot[40];
    uint64_t started_ns; /* CLOCK_MONOTONIC */
    struct machine machine;
    atomic_ullong next_fault_ns; /* when the next fault is due; UINT64_MAX = never */
    atomic_uint fault_done[MACHINE_MAX_FAULTS];
    atomic_uint rules_changed; /* futex */
    atomic_uint n_rules;
    struct state_rule rules[STATE_MAX_RULES];
    struct state_gpu gpus[MACHINE_MAX_GPUS];
    struct migwords mig[MACHINE_MAX_GPUS]; /* migstate.h changes them */
    struct state_process processes[STATE_MAX_PROCESSES];
    atomic_uint events_changed; /* futex */
    uint32_t pad2;
    atomic_ullong n_events;
    struct state_event events[STATE_MAX_EVENTS];
    struct timeshare shares[MACHINE_MAX_GPUS]; /* timeshare.h changes them */
};

/* A process's reference to it. */
struct state_file {
    int fd;
    struct state *state;
    char *path;
};

#define STATE_FILE_INIT \
    {                   \
        .fd = -1        \
    }

/*
 * The path of a machine file's state: GPUSLICE_SIM_STATE, or a name derived from the user, the file
 * and its modification time, in /dev/shm (else /tmp). Free it.
 */
int state_path(const char *machine_path, char **ret_path, struct error *err);

/*
 * Opens the machine's state; creates it if there is none. -EBADMSG if the file there is not a state
 * of this machine and this version, or the machine file has problems (added to `problems`).
 */
int state_open(const char *machine_path, struct problems *problems, struct state_file *ret_file,
               struct error *err);

void state_close(struct state_file *file);
#define cleanup_state_file cleanup(state_close)

/* False if the file at its path was removed or replaced since. */
bool state_is_same_file(const struct state_file *file);

/*
 * Resets the machine to its file, even while it is in use, and even if the existing state is of
 * another machine file or version. A file that is not a state is left alone, with an error.
 */
int state_reset(const char *machine_path, struct problems *problems, struct error *err);

/* Applies due faults. Cheap if none is due. */
void state_tick(struct state_file *file);

/* The effects on one call on one GPU (MACHINE_ALL_GPUS = no particular one): blocks while it
 * hangs. */
uint32_t state_meet(struct state_file *file, const char *call, int gpu);

/* True while a fault names the entry point as missing. */
bool state_is_missing(const struct state *state, const char *call);

/* The changes made by `gpuslice-sim inject` and fault lists. -ENOSPC if a table is full. */
int state_inject(struct state_file *file, const struct machine_fault *fault);

/* Ends matching hangs, errors and missing functions; call "" and MACHINE_ALL_GPUS = all of them. */
void state_clear(struct state_file *file, uint32_t kind, const char *call, int gpu);

/* The effects of `nvidia-smi --gpu-reset`: faults, recovery action, volatile counters,
 * processes. */
void state_reset_gpu(struct state_file *file, unsigned gpu);

int state_add_process(struct state_file *file, const struct machine_process *process);

/* -ENOENT if no such process is on the GPU. */
int state_remove_process(struct state_file *file, unsigned gpu, unsigned pid);

/* The PID in a slot as this process sees it. 0: the slot is free, its process ended, or it is in a
 * PID namespace that cannot be seen from here. */
unsigned state_process_pid(const struct state *state, unsigned slot);

/* Does the process in this slot, if any, still use memory? */
bool state_process_exists(const struct state *state, unsigned slot);

/* Is it this client's (alive_self() of its process), and does that still exist? */
bool state_has_client(const struct state *state, unsigned slot, uint64_t client);

/* The share of time in which a GPU is busy, in percent: what was set for it, or what it does for
 * CUDA programs, whichever is more. */
unsigned state_utilization(const struct state *state, unsigned gpu);

/* Bytes used by processes and `used_bytes`, at most the total. */
uint64_t state_used_bytes(const struct state *state, unsigned gpu);

/* Around changes of several words. Readers need no lock. */
void state_lock(struct state_file *file);
void state_unlock(struct state_file *file);

/* Wakes all who wait for an event or for the end of a hang. */
void state_wake(struct state *state);

/* Adds an event, while locked; state_wake after that. */
void state_add_event(struct state *state, const struct state_happening *happening);

/* Bytes used by the processes on a GPU instance, at most `most`. */
uint64_t state_instance_used_bytes(const struct state *state, unsigned gpu, uint32_t instance,
                                   uint64_t most);

/* The event that a GPU is partitioned otherwise; as above. */
void state_add_change(struct state *state, unsigned gpu);

/* The event with this number: false if it does not exist yet, or was overwritten. */
bool state_event(const struct state *state, uint64_t number, struct state_happening *ret_happening);

/* The number of the next event. */
uint64_t state_next_event(const struct state *state);

/*
 * Sleeps until events_changed differs from `seen` or the timeout, whichever is first; also wakes
 * for due faults. Never longer than timeout_ns (UINT64_MAX = no limit).
 */
void state_wait_event(struct state_file *file, unsigned seen, uint64_t timeout_ns);
