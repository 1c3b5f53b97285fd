// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What is executed for a container, since there are no images here.
 *
 * Its own `command` and `args`, if it has a command; else the command that --run gives for its
 * image, as a shell line with `args` as "$@"; else a stand-in that waits for SIGTERM and ends with
 * 0.
 *
 * The environment, the later winning over the earlier, as a container runtime sees it: PATH, HOME,
 * HOSTNAME; --env of the stand-in; what the plugins' Allocate answered; the container's own `env`.
 * So a pod that sets a variable itself overrides the plugin, as on a real node. `$(NAME)` is
 * expanded in values, command and args.
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
    size_t n_base;      /* so many of them come from the stand-in itself, not from pod or plugin */
    char **environment; /* the same as NAME=value, NULL-terminated */
};

#define COMMAND_INIT \
    {                \
        .argv = NULL \
    }

void command_deinit(struct command *command);
#define cleanup_command cleanup(command_deinit)

/* Reads "IMAGE_GLOB=COMMAND". False when there is no '='. The rule borrows from text, which it
 * cuts. */
bool run_rule_parse(char *text, struct run_rule *ret_rule);

/* 0 or -ENOMEM. */
int command_build(const struct command_options *options, const struct pod *pod,
                  const struct container_spec *container, const struct answer *answer,
                  struct command *ret_command);
