// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Who uses the memory of each device, and with what right.
 *
 * Three sources, none of which is a claim of the process itself: the driver says which process has
 * how much memory; the kernel says which pod and container a process belongs to (podcgroup.h); the
 * kubelet's checkpoint, and our grants, say which container holds which slices. So it works beside
 * any device plugin, with nothing in any pod.
 *
 * The unit is a container on a device, however many processes it has: its limit is the sum of its
 * slices there. A grant of ours says what a slice has. Without one, a device that is held whole is
 * its own limit, and slice n of "<uuid>::<n>" has its equal part among the ids that the kubelet
 * has registered of that device (as NVIDIA's time-slicing means it).
 *
 * Pure: no file, no clock, no driver.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arbiter/podcgroup.h"
#include "base/cleanup.h"
#include "gpu/gpu.h"
#include "grant/kubeletcheckpoint.h"
#include "grant/ledger.h"
#include "slice/inventory.h"

enum {
    AUDIT_NAMESPACE_SIZE = 64,
    AUDIT_POD_SIZE = 254,
    AUDIT_CONTAINER_SIZE = 64,
    AUDIT_RESOURCE_SIZE = 128, /* a longer name is cut */
};

/* In the order of how grave they are. */
enum audit_verdict {
    AUDIT_WITHIN,        /* it uses at most what its slices give */
    AUDIT_NO_LIMIT,      /* it holds slices, and nothing says how much memory they have */
    AUDIT_HOST,          /* a process of the node, or of a plain container */
    AUDIT_UNKNOWN,       /* whose process it is could not be found out */
    AUDIT_OTHER_DEVICE,  /* in a pod that holds slices, but it has none of this device */
    AUDIT_ASKED_NOTHING, /* a pod that holds no slice of any device */
    AUDIT_OVER,          /* it uses more than its slices give */
    N_AUDIT_VERDICTS,
};

/* Whose a process is, as the caller found out. */
struct audit_owner {
    int outcome; /* of podcgroup_parse: 0, PODCGROUP_NO_POD or PODCGROUP_HIDDEN; negative: unknown
                  */
    char pod_uid[PODCGROUP_UID_SIZE];
    char namespace_[AUDIT_NAMESPACE_SIZE], pod[AUDIT_POD_SIZE]; /* "" = unknown */
    char container[AUDIT_CONTAINER_SIZE];                       /* "" = unknown */
    char process[GPU_PROCESS_NAME_SIZE];                        /* "" = unknown */
};

/* A container on a device, or one process that is in no pod. */
struct audit_use {
    size_t device; /* position in the audit's devices */
    struct audit_owner owner;
    uint32_t pid;        /* of its only process, or the lowest; 0 = it has none there */
    size_t n_processes;  /* 0: it holds slices and uses nothing */
    uint64_t used_bytes; /* of those whose memory is known */
    bool is_used_partly; /* the driver does not tell the memory of one of them */
    char resource[AUDIT_RESOURCE_SIZE]; /* of its slices; "" = it has none; of several the first */
    size_t n_slices;
    uint64_t limit_bytes; /* of those; 0 = unknown, or there are none */
    enum audit_verdict verdict;
};

/* A process on a device, with its pod. */
struct audit_process {
    size_t device; /* position in the audit's devices */
    uint32_t pid;
    uint64_t mem_bytes;                   /* GPU_MEMORY_UNKNOWN */
    char pod_uid[PODCGROUP_UID_SIZE];     /* "" = in none, or unknown */
    char container[AUDIT_CONTAINER_SIZE]; /* "" = unknown */
};

struct audit_device {
    struct device device;
    unsigned gpu_index;  /* of its GPU, as the driver counts */
    uint64_t used_bytes; /* by all processes */
    bool is_used_partly; /* there may be more */
    bool is_unread;      /* its processes are not known */
    uint64_t free_bytes; /* as the driver tells; 0 = unknown, of a MIG device always */
};

struct audit {
    struct audit_device *devices; /* each GPU, and behind it its MIG devices */
    size_t n_devices;
    struct audit_use *uses; /* by device; those that use most first */
    size_t n_uses, capacity;
    struct audit_process *processes;
    size_t n_processes, processes_capacity;
    size_t n_pods, n_pods_over; /* that hold slices or use a device; of those, over a limit */
};

#define AUDIT_INIT      \
    {                   \
        .devices = NULL \
    }

void audit_deinit(struct audit *audit);
#define cleanup_audit cleanup(audit_deinit)

/* Into an empty audit. 0 or -ENOMEM. */
int audit_begin(struct audit *audit, const struct inventory *machine);

/* Adds what containers hold. has_ended: of a pod that has ended (the kubelet removes it from its
 * checkpoint late); NULL: none has. 0 or -ENOMEM. */
int audit_add_holders(struct audit *audit, const struct kubeletcheckpoint *checkpoint,
                      const struct ledger *ledger,
                      bool (*has_ended)(const char *pod_uid, void *userdata), void *userdata);

/* Adds a process of the GPU at that position of the inventory. 0 or -ENOMEM. */
int audit_add_process(struct audit *audit, size_t gpu, const struct gpu_process *process,
                      const struct audit_owner *owner);

/* The processes of that GPU are not known. */
void audit_note_unread(struct audit *audit, size_t gpu);

/* What the driver tells of the whole GPU; 0 = unknown. */
void audit_note_free(struct audit *audit, size_t gpu, uint64_t free_bytes);

/* When everything is added: verdicts, sums, order. */
void audit_end(struct audit *audit);

/* The device at that position: the MIG device of that instance, else the GPU. n_devices: none. */
size_t audit_find_device(const struct audit *audit, size_t gpu, struct device_instance instance);

/* The same by its UUID, and the device itself. NULL: none. */
const struct audit_device *audit_find_uuid(const struct audit *audit, const char *uuid);

/* Whether it is a finding: a process of the node is not judged. */
bool audit_verdict_is_wrong(enum audit_verdict verdict);
bool audit_is_wrong(const struct audit_use *use);

/* "asked-nothing" */
const char *audit_verdict_name(enum audit_verdict verdict);

/* "2 of nvidia.com/gpu"; nothing where it holds none. */
void audit_add_slices(const struct audit_use *use, struct text *text);

/*
 * What is wrong with a use, as a sentence that names pod, container, device and what to do; ""
 * where nothing is: a process of the node is not judged.
 */
void audit_add_finding(const struct audit *audit, const struct audit_use *use, struct text *text);
