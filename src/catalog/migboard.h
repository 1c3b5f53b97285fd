// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * How a model of GPU can be partitioned: the part `mig` of its file. A driver reports the same of a
 * real GPU, so this is what a plan uses before a machine exists, and what the simulator reports.
 *
 * The file has what differs between models. Compute instances follow from it: a GPU instance of g
 * compute slices takes compute instances of 1, 2, 3, 4 or 7 slices that fill it or leave at least
 * half of it, less a slice (NVIDIA/mig-parted leaves out the same ones, and so does `nvidia-smi mig
 * -lcip` of an A100).
 */

#include <stdbool.h>

#include "base/problem.h"
#include "base/yaml.h"
#include "slice/mig.h"

/* Reads the map over *board, all of it. False when `problems` got an error. */
bool migboard_read(struct problems *problems, const struct yaml *map, const char *path,
                   struct mig_board *board);
