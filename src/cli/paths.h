// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Where the simulator lies: beside this program in the build folder, else where it was installed.
 * A program that was installed never looks into the folder it was built in.
 */

/* The simulator's libnvidia-ml.so.1; the variable GPUSLICE_SIM_LIBRARY outranks both places. */
const char *paths_sim_library(void);

/* The folder of the machine files that come with gpuslice. */
const char *paths_machines(void);
