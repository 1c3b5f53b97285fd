// SPDX-License-Identifier: Apache-2.0
#pragma once

/* `gpuslice check --cluster`: reads a cluster (clusterfacts.h), judges it and prints that. It sends
 * nothing but GET. */

#include "cli/request.h"
#include "cli/verb.h"

enum exit_status clustercheck(const struct request *request);
