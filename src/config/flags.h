// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Command-line flags and environment variables: nvidia-device-plugin's and gpu-feature-discovery's
 * by their own names, so that an existing DaemonSet's argument list works, and ours. One table row
 * per option holds its spellings, variables, type, default and help; usage text and man page use it
 * too.
 */

#include <stdio.h>

#include "base/error.h"
#include "config/config.h"

/* What only the program itself uses; strings are borrowed from argv/environ, static, or live as
 * long as the overrides that came with them. */
struct agent_flags {
    const char *config_file; /* --config-file, CONFIG_FILE; NULL = none, never "" */
    const char *config_key;  /* --config-key, GPUSLICE_CONFIG_KEY: key of a ConfigMap manifest; NULL
                                = its only one */
    const char *kubelet_socket; /* --kubelet-socket; "" = serve but do not register */
    const char *plugin_dir;     /* --device-plugin-dir: where our sockets go; default: the kubelet
                                   socket's folder */
    const char
        *http_address;     /* --http-address, GPUSLICE_HTTP_ADDRESS: "127.0.0.1:9400"; "" = none */
    const char *cdi_dir;   /* --cdi-dir: "/var/run/cdi" */
    const char *state_dir; /* --state-dir: "/run/gpuslice" */
    const char *grant_dir; /* --grant-dir: "/var/lib/gpuslice"; NULL = nothing is written down */
    const char *log_level, *log_format;
    const char *disable_health_checks; /* DP_DISABLE_HEALTHCHECKS; NULL = unset */
    const char *enable_health_checks;  /* DP_ENABLE_HEALTHCHECKS */
    const char *channel_dir; /* --channel-dir, GPUSLICE_CHANNEL_DIR: where our programs connect to;
                                NULL = they are children */
    unsigned peer_deadline_ms;   /* --peer-deadline, GPUSLICE_PEER_DEADLINE: a program of ours that
                                    is silent for longer hangs */
    unsigned driver_deadline_ms; /* --driver-deadline, GPUSLICE_DRIVER_DEADLINE: a call that takes
                                    longer hangs */
    /* Which of a folder's files is this node's configuration; never "". */
    const char *config_folder;  /* --config-file-srcdir, CONFIG_FILE_SRCDIR; NULL = none */
    const char *default_config; /* --default-config, DEFAULT_CONFIG; NULL = none */
    const char
        *fallback_strategies; /* --fallback-strategies: known words, joined by commas; NULL */
    const char *node_label;   /* --node-label, NODE_LABEL */
    /* The cluster; never "". */
    const char *node_name;  /* --node-name, NODE_NAME; NULL = nobody talks to the API server */
    const char *namespace_; /* of our pod: --namespace, NAMESPACE, POD_NAMESPACE; NULL = unknown */
    const char *pod_name;   /* --pod-name, POD_NAME; NULL = unknown */
    const char *kubeconfig; /* --kubeconfig, KUBECONFIG; NULL = in-cluster */
    const char *pod_resources_socket; /* --pod-resources-socket; NULL = not asked */
    bool help, version;
};

/*
 * Parses both. Environment variables are read from envp ("NAME=value" strings, NULL-terminated;
 * NULL = none). An empty variable says something only where an empty value means something. 0
 * (there may be warnings), -EINVAL with problems (each names the flag or variable and what to write
 * instead), or -ENOMEM. --help and --version count even beside errors: then 0, and the rest is
 * unsaid.
 */
int flags_parse(int argc, char *const argv[], char *const envp[], struct agent_flags *ret_flags,
                struct config_overrides **ret_overrides, struct problems *problems);

void config_overrides_free(struct config_overrides *overrides);

/* One option, for whoever writes help, manual pages or completions. Strings are static or "". */
struct flag_info {
    char flags[80];          /* "--driver-root, --nvidia-driver-root"; "" = only by environment */
    char variables[80];      /* "GFD_ONESHOT, ONESHOT" */
    char words[160];         /* allowed words, "none, single, mixed"; "" = any */
    const char *placeholder; /* "PATH"; "" = a flag without a value */
    const char *path;        /* in the configuration file */
    const char *standard;    /* default */
    const char *help;
    bool is_bool; /* --flag alone means true */
    bool ignored; /* taken for NVIDIA's sake; does nothing */
    bool not_yet; /* read and checked; does nothing in this release */
};

/* Calls for every option that has a flag or a variable, in the order of the help. */
void flags_each(void (*visit)(const struct flag_info *info, void *context), void *context);

/* The options' help, at most 80 columns, one block per option. */
void flags_help(FILE *out);
