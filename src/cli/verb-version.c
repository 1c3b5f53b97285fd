// SPDX-License-Identifier: Apache-2.0
#include "cli/request.h"
#include "cli/verb.h"

enum exit_status verb_version(const struct request *request)
{
    puts("gpuslice " GPUSLICE_VERSION);
    return EXIT_CLEAN;
}
