// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The location of the simulator and the catalog: beside this program in the build directory, else
 * where they were installed, relative to this program (it may have been moved with its prefix, as
 * by DESTDIR or in an image) before the prefix it was configured for. An installed program never
 * looks into the directory it was built in.
 */

/* The simulator's libnvidia-ml.so.1; the variable GPUSLICE_SIM_LIBRARY takes precedence over
 * both. */
const char *paths_sim_library(void);

/* The directory of the machine files that come with gpuslice. */
const char *paths_machines(void);

/* The directory of the catalog (catalog/catalog.h); the variable GPUSLICE_CATALOG takes precedence.
 */
const char *paths_catalog(void);
