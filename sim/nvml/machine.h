// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A machine as a YAML file describes it: its GPUs, how they are wired, and the faults that await
 * it.
 *
 * Everything here is plain data of fixed size, without pointers: the simulator copies it into a
 * file that processes share (state.h), so a change of layout needs a new STATE_VERSION there.
 *
 * A file is read whole: all its problems are found at once, each with its place. What a model of
 * GPU is stands in a file of its own (models/NAME.yaml beside the machine), so that machines share
 * it.
 */

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/problem.h"
#include "base/yaml.h"
#include "nvml/word.h"

enum {
    MACHINE_MAX_GPUS = 16,
    MACHINE_MAX_LINKS = 18,
    MACHINE_MAX_SWITCHES = 16,
    MACHINE_MAX_NODES = 8,
    MACHINE_MAX_CPUS = 1024,
    MACHINE_MAX_FAULTS = 32,
    MACHINE_MAX_PROCESSES = 64,
    MACHINE_NAME = 64,
    MACHINE_ALL_GPUS = -1, /* where a fault names a GPU */
};

/* What NVIDIA builds; the same on every machine that has it. */
struct gpu_model {
    char name[MACHINE_NAME];
    char vbios[32];
    char part[32];
    uint32_t brand, architecture; /* NVML's numbers */
    uint32_t compute_major, compute_minor;
    uint32_t cores, memory_bus_bits;
    uint32_t pci_device, pci_subsystem, pci_class; /* 0x1db110de, ..., 0x0302 */
    uint32_t pcie_generation, pcie_width;
    uint64_t memory_bytes, reserved_bytes, bar1_bytes;
    uint32_t power_idle_mw, power_limit_mw, power_min_mw, power_max_mw;
    uint32_t graphics_mhz, memory_mhz, video_mhz, idle_mhz;
    uint32_t idle_celsius, slowdown_celsius, shutdown_celsius, max_celsius, memory_max_celsius;
    uint32_t nvlink_count, nvlink_version, nvlink_mbps; /* 0 = none; NVML's version number */
    uint32_t fans, mig_slices;                          /* mig_slices 0 = not capable */
    uint8_t ecc, row_remapping, gsp, fabric, idle_p8, encoder, decoder, jpeg, ofa, pad[7];
};

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
    int32_t bridge; /* GPUs with the same number hang on one PCIe switch; -1 = on none */
    uint32_t minor, pad[2];
    struct link links[MACHINE_MAX_LINKS];
};

struct machine_node {
    uint64_t cpus[MACHINE_MAX_CPUS / 64];
};

enum fault_kind { FAULT_XID, FAULT_HANG, FAULT_LOST, FAULT_BACK, FAULT_ERROR, FAULT_MISSING };

struct machine_fault {
    uint64_t after_ns; /* since the machine was started */
    uint32_t kind;     /* enum fault_kind */
    int32_t gpu;       /* or MACHINE_ALL_GPUS */
    uint32_t code;     /* XID: its number; ERROR: an nvmlReturn_t */
    uint32_t pad;
    char call[MACHINE_NAME]; /* HANG, ERROR, MISSING: the NVML function; "" = every one */
};

enum process_kind { PROCESS_COMPUTE, PROCESS_GRAPHICS, PROCESS_MPS };

struct machine_process {
    uint32_t gpu, kind, pid, pad;
    uint64_t memory_bytes;
    char name[MACHINE_NAME];
};

struct machine {
    char name[MACHINE_NAME]; /* as the BIOS tells it: "p3.8xlarge" */
    char driver[32];         /* "550.163.01" */
    uint32_t cuda;           /* 12040 */
    uint32_t n_gpus, n_nodes, n_switches, n_faults, n_processes;
    struct machine_gpu gpus[MACHINE_MAX_GPUS];
    struct machine_node nodes[MACHINE_MAX_NODES];
    struct pci_address switches[MACHINE_MAX_SWITCHES];
    struct machine_fault faults[MACHINE_MAX_FAULTS];
    struct machine_process processes[MACHINE_MAX_PROCESSES];
};

static_assert(sizeof(struct gpu_model) == 288, "shared layout");
static_assert(sizeof(struct machine_gpu) == 544, "shared layout");
static_assert(sizeof(struct machine_fault) == 88, "shared layout");
static_assert(sizeof(struct machine_process) == 88, "shared layout");
static_assert(sizeof(struct machine) == 18488, "shared layout");

/*
 * Finds what GPUSLICE_MACHINE or a command line named: a path (it has a '/' or ends in .yaml), or
 * the name of a file in the directories of `search` (colon-separated; NULL = GPUSLICE_MACHINE_PATH
 * from the environment, then the directories that were built in). 0 and *ret_path (free it),
 * -ENOENT with a problem, or -ENOMEM.
 */
int machine_find(const char *name, const char *search, struct problems *problems, char **ret_path);

/* The directories that machine_find looks in by default, colon-separated. Free it; NULL = no
 * memory. */
char *machine_search_path(void);

/* One YAML document, no more and no less; free it with yaml_free(document, 1). */
int machine_parse_yaml(const char *text, size_t size, struct problems *problems,
                       struct yaml **ret_document);

/* Reads a file and its models. -EBADMSG when `problems` got an error, or another negative errno. */
int machine_load(const char *path, struct problems *problems, struct machine *ret_machine);

/* The same for text in memory; models are looked for in `directory`/models and in the default
 * directories, with NULL nowhere. */
int machine_parse(const char *text, size_t size, const char *directory, struct problems *problems,
                  struct machine *ret_machine);
