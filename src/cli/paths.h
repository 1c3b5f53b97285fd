// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Where the simulator and the catalog lie: beside this program in the build folder, else where they
 * were installed. A program that was installed never looks into the folder it was built in.
 */

/* The simulator's libnvidia-ml.so.1; the variable GPUSLICE_SIM_LIBRARY takes precedence over
 * both. */
const char *paths_sim_library(void);

/* The directory of the machine files that come with gpuslice. */
const char *paths_machines(void);

/* The folder of the catalog (catalog/catalog.h); the variable GPUSLICE_CATALOG outranks the places.
 * A program that was moved with its folders, as into an image, finds ../share/gpuslice/catalog. */
const char *paths_catalog(void);
