// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The configuration: NVIDIA's `v1` schema and our own section `gpuslice:`, from a YAML or JSON
 * file, a ConfigMap manifest, NVIDIA's command-line flags and their environment variables.
 *
 * Precedence, field by field: command line > environment > file > default (an explicit `false` in
 * the file counts as said). Everything a person got wrong is collected with its place; the reading
 * never stops at the first problem.
 */

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
};

enum device_id_strategy { DEVICE_ID_UUID, DEVICE_ID_INDEX };

enum discovery_strategy { DISCOVERY_AUTO, DISCOVERY_NVML, DISCOVERY_TEGRA, DISCOVERY_VFIO };

struct plugin_flags {
    bool pass_device_specs;
    unsigned device_list_strategies; /* LIST_STRATEGY_* */
    enum device_id_strategy device_id_strategy;
    char *cdi_annotation_prefix;
    char *nvidia_cdi_hook_path; /* nvidiaCTKPath */
    char *container_driver_root;
    enum allocation_policy allocation_policy;
};

enum said_bool { SAID_NOTHING, SAID_FALSE, SAID_TRUE };

struct gfd_flags {
    bool oneshot;
    enum said_bool no_timestamp;
    uint64_t sleep_interval_ns; /* UINT64_MAX = infinite; NVIDIA takes 0 */
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
    char *driver_root, *dev_root; /* dev_root: driver_root when not given */
    bool gdrcopy_enabled, gds_enabled, mofed_enabled;
    bool use_node_feature_api;
    enum discovery_strategy discovery_strategy;
    struct position discovery_at; /* in the file; line 0 = elsewhere */
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

/* What the command line and the environment said; outranks the file. Opaque; NULL = nothing. */
struct config_overrides;

/* Unknown keys outside `gpuslice:` warn the agent and are errors for `gpuslice check`; notes on
 * what NVIDIA's plugin would do otherwise are for `check` alone. */
enum config_strictness { CONFIG_AGENT, CONFIG_CHECK };

/*
 * Reads a file. path NULL or "" = an empty configuration (all defaults). key chooses the data key
 * of a ConfigMap manifest; NULL = its only key. problems (NULL = nobody cares) gets its source set,
 * unless there is no path, and is sorted by place.
 * 0 (there may be warnings), -EBADMSG (problems has errors, err the first), or why the file cannot
 * be read (err).
 */
int config_load(const char *path, const char *key, enum config_strictness strictness,
                const struct config_overrides *overrides, struct problems *problems,
                struct config **ret_config, struct error *err);

/* The same for bytes in memory (a stream, a fuzzer); `source` is the name shown, NULL = none. */
int config_parse(const char *data, size_t size, const char *source, const char *key,
                 enum config_strictness strictness, const struct config_overrides *overrides,
                 struct problems *problems, struct config **ret_config, struct error *err);

void config_free(struct config *config);
