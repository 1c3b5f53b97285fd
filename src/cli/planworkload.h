// SPDX-License-Identifier: Apache-2.0
#pragma once

/* `gpuslice plan --workload FILE`: how many GPUs the pods of a file need, by how the GPUs are
 * sliced, and the slices for which they need the fewest. */

#include "cli/request.h"
#include "cli/verb.h"

enum exit_status planworkload_print(const struct request *request);
