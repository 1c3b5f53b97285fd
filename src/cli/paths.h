// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The location of the simulator (base/installed.h), and the agent's; the catalog's is
 * boards_folder. */

#include <limits.h>

#include "base/error.h"

/* The simulator's libnvidia-ml.so.1; the variable GPUSLICE_SIM_LIBRARY takes precedence. */
const char *paths_sim_library(void);

/* The library that is preloaded into programs; the variable GPUSLICE_LIBRARY takes precedence. */
const char *paths_library(void);

/* The value of LD_PRELOAD for a program that has it: ours comes first, since it asks those behind
 * it. NULL without memory. */
char *paths_preload(void);

/* The directory of the machine files that come with gpuslice. */
const char *paths_machines(void);

/* The state folder of this node's agent: its --state-dir, by GPUSLICE_STATE_DIR. */
const char *paths_state_dir(void);

/* A program of ours, beside this one. 0, or a negative errno if it cannot be executed. */
int paths_beside(const char *name, char path[PATH_MAX], struct error *err);
