// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * How GPUs are to be sliced: the part of the configuration that a plan depends on, typed and
 * validated. config/ fills it; nothing here knows YAML. Positions in the file are included, so that
 * the plan's problems can refer to them.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/problem.h"

enum { RESOURCE_NAME_SIZE = 64 }; /* the kubelet's limit of 63 characters, and a NUL */

enum mig_strategy { MIG_STRATEGY_NONE, MIG_STRATEGY_SINGLE, MIG_STRATEGY_MIXED };

/* Under which names `single` offers MIG devices: nvidia.com/gpu, or that and
 * nvidia.com/mig-<profile> too. */
enum mig_names { MIG_NAMES_STRATEGY, MIG_NAMES_BOTH };

enum sharing_strategy { SHARING_NONE, SHARING_TIME_SLICING, SHARING_MPS };

enum isolation { ISOLATION_BY_SHARING, ISOLATION_ISOLATED, ISOLATION_COOPERATIVE };
enum memory_mode { MEMORY_ENFORCED, MEMORY_OBSERVE, MEMORY_NONE };
enum compute_mode { COMPUTE_NONE, COMPUTE_OBSERVE, COMPUTE_ELASTIC, COMPUTE_STRICT };

/* One item of a `devices:` list; a PCI address only in gpuslice.excludeDevices. */
struct device_ref {
    enum { DEVICE_REF_INDEX, DEVICE_REF_MIG_INDEX, DEVICE_REF_UUID, DEVICE_REF_PCI } kind;
    unsigned index, mig_index;
    char uuid[96]; /* DEVICE_REF_PCI: the GPU's address as sysfs has it, "0000:00:1b.0" */
    struct position at;
};

/* True if both name one device in the same way; an index and a UUID are never equal. */
bool device_ref_equal(const struct device_ref *a, const struct device_ref *b);

/* `devices:` of a sharing entry. */
struct device_selector {
    enum { DEVICES_ALL, DEVICES_COUNT, DEVICES_LIST } kind;
    unsigned count; /* DEVICES_COUNT: that many, lowest indices first */
    struct device_ref *refs;
    size_t n_refs;
    struct position at;
};

/* One entry of sharing.timeSlicing.resources or sharing.mps.resources. */
struct sharing_entry {
    enum sharing_strategy strategy;
    char name[RESOURCE_NAME_SIZE];   /* with its domain: "nvidia.com/gpu" */
    char rename[RESOURCE_NAME_SIZE]; /* effective: explicit, or name + ".shared" by renameByDefault;
                                        "" = none */
    struct device_selector devices;
    unsigned replicas; /* >= 1; 1: not shared, policy_sharing */
    bool served;       /* MPS: a control daemon answers for it; set by who plans, not by the file */
    struct position at;
    char path[64]; /* "sharing.timeSlicing.resources[0]" */
};

/* How the devices of an entry are shared: with one replica they are not, whatever its section. */
enum sharing_strategy policy_sharing(const struct sharing_entry *entry);

/* The name of the entry's slices, after renaming. Borrowed. */
const char *policy_resource(const struct sharing_entry *entry);

/* One entry of resources.gpus or resources.mig: models (or profiles) that get a custom name. */
struct resource_rule {
    char pattern[128];             /* `*` matches any run; on the product name or the MIG profile */
    char name[RESOURCE_NAME_SIZE]; /* with its domain */
    struct position at;
};

/* One entry of gpuslice.slices: unequal slices, the same on every GPU that no sharing entry took.
 */
struct slice_size {
    char name[RESOURCE_NAME_SIZE]; /* resource: "nvidia.com/gpu-half" for the name `half` */
    unsigned share_permille;       /* 1...1000 */
    uint64_t mem_bytes;            /* 0 = by share */
    unsigned count;                /* per GPU, >= 1 */
    bool served;                   /* as of a sharing entry, if they are shared by MPS */
    struct position at;
};

struct policy {
    enum mig_strategy mig_strategy;
    struct position mig_strategy_at; /* line 0: no file sets it */
    struct resource_rule *gpu_rules, *mig_rules;
    size_t n_gpu_rules, n_mig_rules;
    struct sharing_entry *sharing; /* in file order, time slicing before MPS */
    size_t n_sharing;
    bool time_slicing_fail_multi, mps_fail_multi; /* failRequestsGreaterThanOne */
    struct slice_size *slices;
    size_t n_slices;
    struct device_ref *excluded; /* gpuslice.excludeDevices */
    size_t n_excluded;
    struct position excluded_at; /* line 0: no file sets it */
    bool unique; /* a container's slices of one resource must be on different devices */
    struct position unique_at;
    enum isolation isolation;
    enum memory_mode memory;
    struct position memory_at; /* line 0: no file sets it */
    bool overcommits;          /* the memory of slices may add up to more than a device has */
    struct position overcommits_at;
    enum compute_mode compute;
    struct position compute_at;
    char *mig_layout;              /* NULL = none is wanted */
    struct position mig_layout_at; /* line 0: no file sets it */
    bool mig_on_demand;
    struct position mig_on_demand_at; /* line 0: no file sets it */
    enum mig_names mig_names;
    struct position mig_names_at; /* line 0: no file sets it */
    unsigned mig_split_permille;  /* of the devices with two names: under nvidia.com/mig-<profile>
                                     while no pod waits for either */
    bool needs_nodes; /* devices reach containers by CDI alone, so their device nodes must be known
                       */
};

#define POLICY_INIT     \
    {                   \
        .sharing = NULL \
    }

/* Some devices are shared by MPS, by an entry or by gpuslice.slices. */
bool policy_uses_mps(const struct policy *policy);

/*
 * Sets `served` of every entry and size that is shared by MPS: whether `answers` says that a
 * control daemon of its resource is there, below root. True if one of them changed.
 */
bool policy_refresh_mps(struct policy *policy, const char *root,
                        bool (*answers)(const char *root, const char *resource));

void policy_deinit(struct policy *policy);
