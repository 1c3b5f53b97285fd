// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Command-line flags and environment variables: those of nvidia-device-plugin and
 * gpu-feature-discovery under their own names, so that an existing DaemonSet's arguments work, and
 * ours. One table row per option holds its flags, variables, type, default and help; the usage text
 * and the man page use it too.
 */

#include <stdio.h>

#include "base/error.h"
#include "base/problem.h"
#include "config/agentflags.h"
#include "config/overrides.h"

/*
 * Parses both. Environment variables are read from envp ("NAME=value" strings, NULL-terminated;
 * NULL = none). An empty variable counts only where an empty value is meaningful. 0 (possibly with
 * warnings), -EINVAL with problems (each names the flag or variable and what to write instead), or
 * -ENOMEM. --help and --version win over errors: then 0, without problems.
 */
int flags_parse(int argc, char *const argv[], char *const envp[], struct agent_flags *ret_flags,
                struct config_overrides **ret_overrides, struct problems *problems);

/* One option, for generators of help, man pages or completions. Strings are static or "". */
struct flag_info {
    char flags[80];          /* "--driver-root, --nvidia-driver-root"; "" = environment only */
    char variables[80];      /* "GFD_ONESHOT, ONESHOT" */
    char words[160];         /* allowed words, "none, single, mixed"; "" = any */
    const char *placeholder; /* "PATH"; "" = a flag without a value */
    const char *path;        /* its path in the configuration file */
    const char *standard;    /* default */
    const char *help;
    bool is_bool; /* --flag alone means true */
    bool ignored; /* accepted for compatibility with NVIDIA; does nothing */
    bool not_yet; /* parsed and validated; does nothing in this release */
};

/* Called for every option that has a flag or a variable, in the order of the help. */
void flags_each(void (*visit)(const struct flag_info *info, void *context), void *context);

/* The options' help, at most 80 columns, one block per option. */
void flags_help(FILE *out);
