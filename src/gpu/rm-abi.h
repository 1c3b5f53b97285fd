// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The part of the ioctl interface of NVIDIA's kernel module that we call and that the simulator
 * acts out, declared by ourselves: requests to its resource manager (RM) on /dev/nvidiactl.
 *
 * Sources are the headers of NVIDIA's open kernel modules, whose names the comments have: nvos.h,
 * nv_escape.h, cl0080.h, ctrl0000gpu.h, ctrl2080gpu.h. Nobody promises that it stays. Compared were
 * 515.43, the first release of those modules, and 580: the parameters of each control are the same.
 * A control whose size is not the module's is refused with a status, so that a later release does
 * not answer with rubbish. In 515.43 the status of `struct rm_alloc` lies in place of `size`: an
 * object that was refused there is noticed by the next control.
 */

#include <stdint.h>
#include <sys/ioctl.h>

#define RM_PATH "/dev/nvidiactl"

enum {
    RM_OK = 0,
    RM_NO_PERMISSION = 0x1b,  /* NV_ERR_INSUFFICIENT_PERMISSIONS */
    RM_BAD_PARAMETERS = 0x3a, /* NV_ERR_INVALID_PARAM_STRUCT */
    RM_NOT_SUPPORTED = 0x56,  /* NV_ERR_NOT_SUPPORTED */
    RM_NOT_FOUND = 0x57,      /* NV_ERR_OBJECT_NOT_FOUND */

    RM_CLASS_CLIENT = 0x41,      /* NV01_ROOT_CLIENT */
    RM_CLASS_DEVICE = 0x80,      /* NV01_DEVICE_0 */
    RM_CLASS_SUBDEVICE = 0x2080, /* NV20_SUBDEVICE_0 */

    RM_ATTACHED_MAX = 32,
    RM_UUID_SIZE = 256, /* NV0000_GPU_MAX_GID_LENGTH */
    RM_PIDS_MAX = 950,
    RM_PID_INFO_MAX = 200,
};

#define RM_NO_GPU UINT32_MAX /* NV0000_CTRL_GPU_INVALID_ID */

/* Of `struct rm_control`. */
enum rm_command {
    RM_GET_ATTACHED = 0x201,      /* NV0000_CTRL_CMD_GPU_GET_ATTACHED_IDS */
    RM_GET_ID_INFO = 0x205,       /* NV0000_CTRL_CMD_GPU_GET_ID_INFO_V2 */
    RM_GET_UUID = 0x275,          /* NV0000_CTRL_CMD_GPU_GET_UUID_FROM_GPU_ID */
    RM_GET_PIDS = 0x2080018d,     /* NV2080_CTRL_CMD_GPU_GET_PIDS */
    RM_GET_PID_INFO = 0x2080018e, /* NV2080_CTRL_CMD_GPU_GET_PID_INFO */
};

struct rm_alloc { /* NVOS21_PARAMETERS */
    uint32_t root, parent, object, object_class;
    uint64_t parameters; /* an address; 0 = none */
    uint32_t size, status;
};

struct rm_control { /* NVOS54_PARAMETERS */
    uint32_t client, object, command, flags;
    uint64_t parameters;
    uint32_t size, status;
};

#define RM_ALLOC   _IOWR('F', 0x2b, struct rm_alloc)   /* NV_ESC_RM_ALLOC */
#define RM_CONTROL _IOWR('F', 0x2a, struct rm_control) /* NV_ESC_RM_CONTROL */

struct rm_device { /* NV0080_ALLOC_PARAMETERS */
    uint32_t device, client_share, target_client, target_device, flags, pad;
    uint64_t va_size, va_start, va_limit;
    uint32_t va_mode, pad2;
};

struct rm_subdevice { /* NV2080_ALLOC_PARAMETERS */
    uint32_t subdevice;
};

struct rm_attached {
    uint32_t gpus[RM_ATTACHED_MAX]; /* RM_NO_GPU after the last one */
};

struct rm_id_info {
    uint32_t gpu; /* in */
    uint32_t flags, device, subdevice, sli_status, board, instance;
    int32_t numa_node;
};

struct rm_uuid {
    uint32_t gpu;   /* in */
    uint32_t flags; /* in; 0 = as text, of SHA-1: NVML's */
    char uuid[RM_UUID_SIZE];
    uint32_t length;
};

struct rm_pids {
    uint32_t id_type; /* in; 0 = a class */
    uint32_t id;      /* in; RM_CLASS_SUBDEVICE: "PIDs with or without GPU contexts" */
    uint32_t n;
    uint32_t pids[RM_PIDS_MAX];
};

struct rm_pid_info {
    uint32_t pid;   /* in */
    uint32_t index; /* in; 0 = the use of video memory */
    uint32_t result, pad;
    /* `owned`: and others have it too; `duped`: others own it. The protected parts are in them. */
    uint64_t private_bytes, owned_bytes, duped_bytes;
    uint64_t protected_private_bytes, protected_owned_bytes, protected_duped_bytes;
    uint32_t compute_instance, gpu_instance; /* UINT32_MAX = none */
};

struct rm_pid_infos {
    uint32_t n; /* in */
    uint32_t pad;
    struct rm_pid_info infos[RM_PID_INFO_MAX];
};

_Static_assert(sizeof(struct rm_alloc) == 32 && sizeof(struct rm_control) == 32, "NVOS21, NVOS54");
_Static_assert(sizeof(struct rm_device) == 56 && sizeof(struct rm_id_info) == 32,
               "NV0080, ID_INFO");
_Static_assert(sizeof(struct rm_uuid) == 268 && sizeof(struct rm_pids) == 3812, "UUID, PIDS");
_Static_assert(sizeof(struct rm_pid_info) == 72, "NV2080_CTRL_GPU_PID_INFO");
_Static_assert(sizeof(struct rm_pid_infos) == 14408, "NV2080_CTRL_GPU_GET_PID_INFO_PARAMS");

/* As in libc. A library that acts out the driver acts out its kernel module too, and has this under
 * the name RM_KERNEL: nobody is to ask one machine's library and another machine's kernel. */
struct rm_kernel {
    int (*open)(const char *path, int flags);
    int (*ioctl)(int fd, unsigned long request, void *argument);
    int (*close)(int fd);
};

#define RM_KERNEL "gpuslice_rm_kernel"
