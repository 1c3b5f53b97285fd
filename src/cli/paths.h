// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The location of the simulator (base/installed.h), and the agent's; the catalog's is
 * boards_folder. */

/* The simulator's libnvidia-ml.so.1; the variable GPUSLICE_SIM_LIBRARY takes precedence. */
const char *paths_sim_library(void);

/* The directory of the machine files that come with gpuslice. */
const char *paths_machines(void);

/* The state folder of this node's agent: its --state-dir, by GPUSLICE_STATE_DIR. */
const char *paths_state_dir(void);
