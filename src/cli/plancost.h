// SPDX-License-Identifier: Apache-2.0
#pragma once

/* `gpuslice plan --cost N`: what the slices of a profile cost on each instance type, and the
 * cheapest nodes for N of them. */

#include "cli/request.h"
#include "cli/verb.h"

enum exit_status plancost_print(const struct request *request);
