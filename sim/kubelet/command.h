// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The process that runs for a container, since there are no images here.
 *
 * The container's own `command` and `args`, if it has a command; else the shell command that --run
 * gives for its image, with `args` as "$@"; else a pause process that exits with 0 on SIGTERM.
 *
 * The environment, later entries overriding earlier ones, as a container runtime sees it: PATH,
 * HOME, HOSTNAME; --env of the stand-in; the plugins' Allocate responses; the container's own
 * `env`. So a pod that sets a variable itself overrides the plugin, as on a real node. `$(NAME)` is
 * expanded in values, command and args.
 *
 * Nothing is mounted: a process here has the files of this machine. What the mounts of a memory
 * limit would have loader and library find is set in variables: LD_PRELOAD in place of
 * /etc/ld.so.preload, and the directory of its (first) grant. Not for the pause process, which uses
 * no GPU.
 */

#include "pod.h"

struct run_rule {
    const char *image_glob;
    const char *command;
};

struct command_options {
    struct run_rule *rules; /* the first match wins */
    size_t n_rules, rules_capacity;
    char **variables; /* "NAME=value" */
    size_t n_variables, variables_capacity;
    const char *node_name;
};

struct command {
    char **argv;        /* NULL-terminated */
    struct pair *pairs; /* the environment as pairs */
    size_t n_pairs, pairs_capacity;
    size_t
        n_base; /* how many of them come from the stand-in itself rather than from pod or plugin */
    char **environment; /* the same as NAME=value, NULL-terminated */
};

#define COMMAND_INIT \
    {                \
        .argv = NULL \
    }

void command_deinit(struct command *command);
#define cleanup_command cleanup(command_deinit)

/* Parses "IMAGE_GLOB=COMMAND". False if there is no '='. The rule points into text, which is
 * modified. */
bool run_rule_parse(char *text, struct run_rule *ret_rule);

/* 0 or -ENOMEM. */
int command_build(const struct command_options *options, const struct pod *pod,
                  const struct container_spec *container, const struct answer *answer,
                  struct command *ret_command);
