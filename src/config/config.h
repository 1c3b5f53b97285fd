// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The configuration as the programs use it: what NVIDIA's `v1` schema and our own section
 * `gpuslice:` set. load.h reads one. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/problem.h"
#include "slice/policy.h"
#include "slice/prefer.h"

enum {
    LIST_STRATEGY_ENVVAR = 1 << 0,
    LIST_STRATEGY_VOLUME_MOUNTS = 1 << 1,
    LIST_STRATEGY_CDI_ANNOTATIONS = 1 << 2,
    LIST_STRATEGY_CDI_CRI = 1 << 3,
    LIST_STRATEGIES_CDI = LIST_STRATEGY_CDI_ANNOTATIONS | LIST_STRATEGY_CDI_CRI,
};

enum device_id_strategy { DEVICE_ID_UUID, DEVICE_ID_INDEX };

/* Calls of NVIDIA's program that a CDI spec asks the runtime for. */
enum {
    CDI_HOOK_LINKS = 1 << 0,    /* create-symlinks */
    CDI_HOOK_COMPAT = 1 << 1,   /* enable-cuda-compat */
    CDI_HOOK_LDCACHE = 1 << 2,  /* update-ldcache */
    CDI_HOOK_NO_NODES = 1 << 3, /* disable-device-node-modification */
    CDI_HOOK_OTHER = 1 << 4,    /* one that NVIDIA's plugin has and we do not */
    CDI_HOOK_ALL = (1 << 5) - 1,
};

enum discovery_strategy { DISCOVERY_AUTO, DISCOVERY_NVML, DISCOVERY_TEGRA, DISCOVERY_VFIO };

struct plugin_flags {
    bool pass_device_specs;
    unsigned device_list_strategies; /* LIST_STRATEGY_* */
    enum device_id_strategy device_id_strategy;
    char *cdi_annotation_prefix;
    char *nvidia_cdi_hook_path; /* nvidiaCTKPath */
    unsigned disabled_hooks;    /* CDI_HOOK_* */
    char *container_driver_root;
    enum allocation_policy allocation_policy;
};

enum tristate { TRISTATE_UNSET, TRISTATE_FALSE, TRISTATE_TRUE };

struct gfd_flags {
    bool oneshot;
    enum tristate no_timestamp;
    uint64_t sleep_interval_ns; /* UINT64_MAX = infinite; NVIDIA accepts 0 */
    char *output_file;          /* NULL = not given; "" = standard output */
    char *machine_type_file;
};

struct extra_label {
    char *key, *value;
    struct position at;
};

struct extra_taint {
    char *key, *value, *effect;
    struct position at;
};

struct config {
    bool fail_on_init_error;
    char *mps_root;
    char *driver_root, *dev_root; /* dev_root defaults to driver_root */
    bool gdrcopy_enabled, gds_enabled, mofed_enabled;
    bool use_node_feature_api;
    enum discovery_strategy discovery_strategy;
    struct position discovery_at; /* in the file; line 0 = set elsewhere */
    struct plugin_flags plugin;
    struct gfd_flags gfd;
    struct policy policy;
    int64_t *imex_channel_ids;
    size_t n_imex_channel_ids;
    bool imex_required;
    struct extra_label *labels;
    size_t n_labels;
    struct extra_taint *taints;
    size_t n_taints;
};

/* Unknown keys outside `gpuslice:` are warnings for the agent and errors for `gpuslice check`;
 * notes on how NVIDIA's plugin behaves differently are for `check` only. */
enum config_strictness { CONFIG_AGENT, CONFIG_CHECK };
