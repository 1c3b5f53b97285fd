// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The hooks of CDI specs: calls of NVIDIA's program on the host, by the runtime, before a
 * container's own program runs.
 *
 * A program that does not know a hook ends with status 3 ("No help topic for ..."), and the
 * container does not start: enable-cuda-compat came with version 1.17.5 of the container toolkit,
 * disable-device-node-modification later. Later versions only warn. So where the program can be
 * read, its own bytes say which hooks it has: it is one binary, with their names in it.
 */

#include "base/problem.h"
#include "config/config.h"

/* "create-symlinks" for CDI_HOOK_LINKS (config.h); NULL for a number that is no single hook of
 * ours. */
const char *cdihooks_name(unsigned hook);

/*
 * The hooks of ours (CDI_HOOK_*) that the host's program does not have, which is a warning; less
 * those that the configuration leaves out. 0 without CDI, when the program cannot be read here, and
 * for what is not this program, such as a script that starts it.
 */
unsigned cdihooks_missing(const struct config *config, struct problems *problems);
