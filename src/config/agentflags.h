// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The agent's own options, as opposed to those of the configuration: parsed by flags.h. */

#include <stdbool.h>

/* Strings are borrowed from argv/environ, static, or live as
 * long as the overrides that came with them. */
struct agent_flags {
    const char *config_file; /* --config-file, CONFIG_FILE; NULL = none, never "" */
    const char *config_key;  /* --config-key, GPUSLICE_CONFIG_KEY: key of a ConfigMap manifest; NULL
                                = its only one */
    const char *kubelet_socket; /* --kubelet-socket; "" = serve but do not register */
    const char *plugin_dir; /* --device-plugin-dir: directory of our sockets; default: that of the
                               kubelet socket */
    const char
        *http_address;     /* --http-address, GPUSLICE_HTTP_ADDRESS: "127.0.0.1:19400"; "" = none */
    const char *cdi_dir;   /* --cdi-dir: "/var/run/cdi" */
    const char *state_dir; /* --state-dir: "/run/gpuslice" */
    const char *grant_dir; /* --grant-dir: "/var/lib/gpuslice"; NULL = nothing is recorded */
    const char *log_level, *log_format;
    const char *disable_health_checks; /* DP_DISABLE_HEALTHCHECKS; NULL = unset */
    const char *enable_health_checks;  /* DP_ENABLE_HEALTHCHECKS */
    const char *channel_dir; /* --channel-dir, GPUSLICE_CHANNEL_DIR: where our programs connect to;
                                NULL = they are children */
    const char *arbiter_dir; /* --arbiter-dir, GPUSLICE_ARBITER_DIR: of the arbiter's socket; NULL =
                                memory limits are not served */
    const char *default_memory;  /* --default-memory, GPUSLICE_DEFAULT_MEMORY: gpuslice.memory where
                                    the configuration has none; NULL = the configuration's default */
    const char *default_compute; /* --default-compute, GPUSLICE_DEFAULT_COMPUTE: the same of
                                    gpuslice.compute */
    unsigned peer_deadline_ms; /* --peer-deadline, GPUSLICE_PEER_DEADLINE: a program of ours silent
                                  for longer counts as hung */
    unsigned driver_deadline_ms; /* --driver-deadline, GPUSLICE_DRIVER_DEADLINE: a call that takes
                                    longer counts as hung */
    unsigned driver_patience_ms; /* --driver-patience, GPUSLICE_DRIVER_PATIENCE: in a container, how
                                    long no GPU may be reached before the agent ends */
    /* Which file of a directory is this node's configuration; never "". */
    const char *config_folder;  /* --config-file-srcdir, CONFIG_FILE_SRCDIR; NULL = none */
    const char *default_config; /* --default-config, DEFAULT_CONFIG; NULL = none */
    const char
        *fallback_strategies; /* --fallback-strategies: known words, joined by commas; NULL */
    const char *node_label;   /* --node-label, NODE_LABEL */
    /* The cluster; never "". */
    const char *node_name;  /* --node-name, NODE_NAME; NULL = the API server is not used */
    const char *namespace_; /* of our pod: --namespace, NAMESPACE, POD_NAMESPACE; NULL = unknown */
    const char *pod_name;   /* --pod-name, POD_NAME; NULL = unknown */
    const char *controller_lease;     /* --controller-lease, GPUSLICE_CONTROLLER_LEASE: in our
                                         namespace; NULL = our Node is opened by others alone, "-" =
                                         by us alone */
    const char *kubeconfig;           /* --kubeconfig, KUBECONFIG; NULL = in-cluster */
    const char *pod_resources_socket; /* --pod-resources-socket; NULL = not used */
    bool mig_partition; /* --mig-partition, GPUSLICE_MIG_PARTITION: MIG layouts are changed */
    bool mig_reboot; /* --mig-reboot, GPUSLICE_MIG_REBOOT: for a mode, where no reset is possible */
    bool mig_pause_clients; /* --mig-pause-clients, GPUSLICE_MIG_PAUSE_CLIENTS: those that the GPU
                               Operator deploys */
    const char *system_bus; /* --system-bus, GPUSLICE_SYSTEM_BUS: the socket of the host's D-Bus */
    const char *mig_config_file; /* --mig-config-file, GPUSLICE_MIG_CONFIG_FILE: layouts by name;
                                    NULL = only the built-in ones */
    bool help, version;
};
