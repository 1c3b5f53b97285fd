// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Changes the simulated machine of a test: runs gpuslice-sim, the program in GPUSLICE_TEST_SIM. */

enum { SIMTOOL_WORDS_MAX = 8 };

/* Fails the test if it fails. Words end with the first NULL. */
void simtool_run(const char *const words[SIMTOOL_WORDS_MAX]);

#define SIM(...) simtool_run((const char *const[SIMTOOL_WORDS_MAX]){__VA_ARGS__})
