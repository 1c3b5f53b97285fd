// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A simulated machine: its GPUs, how they are wired, and its scheduled faults.
 *
 * A machine is a file of its own (which may say "type: p4d.24xlarge" and adds what an instance type
 * cannot know), or just a name of the catalog: "g5.2xlarge", "4xA10G".
 *
 * Everything here is plain data of fixed size, without pointers: the simulator copies it into a
 * file that processes share (state.h), so a change of layout needs a new STATE_VERSION there.
 *
 * A file is read completely: all its problems are reported at once, each with its position. Models
 * of GPU are the catalog's; a file may bring others in models/NAME.yaml beside it.
 */

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/problem.h"
#include "catalog/catalog.h"
#include "nvml/word.h"

enum {
    MACHINE_MAX_GPUS = CATALOG_MAX_GPUS,
    MACHINE_MAX_LINKS = GPU_MODEL_MAX_NVLINKS,
    MACHINE_MAX_SWITCHES = CATALOG_MAX_SWITCHES,
    MACHINE_MAX_NODES = 8,
    MACHINE_MAX_CPUS = 1024,
    MACHINE_MAX_FAULTS = 32,
    MACHINE_MAX_PROCESSES = 64,
    MACHINE_NAME = 64,
    MACHINE_ALL_GPUS = -1, /* where a fault names a GPU */
};

#define MACHINE_NO_INSTANCE UINT32_MAX /* on the whole GPU, or the whole GPU instance */

enum link_end { LINK_NONE, LINK_GPU, LINK_SWITCH };

struct link {
    uint32_t end;  /* enum link_end */
    uint32_t peer; /* index of a GPU or of a switch */
};

struct machine_gpu {
    struct gpu_model model;
    char uuid[48];
    char serial[32];
    struct pci_address pci;
    int32_t node;   /* NUMA node, -1 = unknown */
    int32_t bridge; /* GPUs with the same number are on one PCIe switch; -1 = on none */
    uint32_t minor, pad[2];
    struct link links[MACHINE_MAX_LINKS];
    struct mig_layout mig; /* how it is partitioned at first */
};

struct machine_node {
    uint64_t cpus[MACHINE_MAX_CPUS / 64];
};

enum fault_kind {
    FAULT_XID,
    FAULT_HANG,
    FAULT_LOST,
    FAULT_BACK,
    FAULT_ERROR,
    FAULT_MISSING,
    FAULT_DEATH,         /* the calling process is killed */
    FAULT_RESET_REFUSED, /* code: 1, or 0 for its end */
};

struct machine_fault {
    uint64_t after_ns; /* since the machine was started */
    uint32_t kind;     /* enum fault_kind */
    int32_t gpu;       /* or MACHINE_ALL_GPUS */
    uint32_t code;     /* XID: its number; ERROR: an nvmlReturn_t */
    uint32_t nth;      /* HANG, ERROR, DEATH: only this call, from 1; 0 = each */
    uint32_t gpu_instance, compute_instance; /* XID: or MACHINE_NO_INSTANCE */
    char call[MACHINE_NAME]; /* HANG, ERROR, MISSING, DEATH: the NVML function; "" = every one */
};

/* NVML does not list the last two. A client has the GPU open and computes nothing: a monitoring
 * agent, or one that has memory without a context. A raw one has memory, and not even a subdevice.
 */
enum process_kind { PROCESS_COMPUTE, PROCESS_GRAPHICS, PROCESS_MPS, PROCESS_CLIENT, PROCESS_RAW };

struct machine_process {
    uint32_t gpu, kind, pid, pad;
    uint32_t gpu_instance, compute_instance; /* or MACHINE_NO_INSTANCE */
    uint64_t memory_bytes;
    char name[MACHINE_NAME];
};

struct machine {
    char name[MACHINE_NAME]; /* as reported by the BIOS: "p3.8xlarge" */
    char driver[32];         /* "550.163.01" */
    uint32_t cuda;           /* 12040 */
    uint32_t n_gpus, n_nodes, n_switches, n_faults, n_processes;
    struct machine_gpu gpus[MACHINE_MAX_GPUS];
    struct machine_node nodes[MACHINE_MAX_NODES];
    struct pci_address switches[MACHINE_MAX_SWITCHES];
    struct machine_fault faults[MACHINE_MAX_FAULTS];
    struct machine_process processes[MACHINE_MAX_PROCESSES];
};

static_assert(sizeof(struct machine_gpu) == 7464, "shared layout");
static_assert(sizeof(struct machine_fault) == 96, "shared layout");
static_assert(sizeof(struct machine_process) == 96, "shared layout");
static_assert(sizeof(struct machine) == 129976, "shared layout");

/*
 * Finds the machine given by GPUSLICE_MACHINE or on a command line: a path (it has a '/' or ends in
 * .yaml); the name of a file in the directories of `search` (colon-separated; NULL =
 * GPUSLICE_MACHINE_PATH from the environment, then the built-in directories); a name from the
 * catalog. 0 and *ret_found, a path or a name as spelled in the catalog (free it); -ENOENT with a
 * problem; or -ENOMEM.
 */
int machine_find(const char *name, const char *search, struct problems *problems, char **ret_found);

/* Only the file of that name: 0, -ENOENT if no directory has it, or -ENOMEM. */
int machine_find_file(const char *name, const char *search, char **ret_path);

/* True if it is a path rather than a name. */
bool machine_is_file(const char *name);

/* The directories that machine_find searches by default, colon-separated. Free it; NULL = no
 * memory. */
char *machine_search_path(void);

/* The catalog's directory: GPUSLICE_CATALOG, or the source tree's, or the installed one. Free it;
 * NULL = no memory. */
char *machine_catalog_folder(void);

/* Reads the result of machine_find. -EBADMSG if `problems` got an error, or another negative
 * errno. */
int machine_load(const char *found, struct problems *problems, struct machine *ret_machine);

/* How the names in a file are resolved. */
struct machine_source {
    const char *directory;         /* models/ is searched here first; NULL = nowhere */
    const struct catalog *catalog; /* NULL = loaded on demand, if there is a directory */
};

/* The same for a file's text. */
int machine_parse(const char *text, size_t size, const struct machine_source *source,
                  struct problems *problems, struct machine *ret_machine);
