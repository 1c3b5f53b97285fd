// SPDX-License-Identifier: Apache-2.0
#pragma once

/* A model of GPU: written out in a machine's file, or by the name of a file that machines share. */

#include "base/yaml.h"
#include "nvml/machine.h"

struct model_source {
    struct problems *problems;
    const char *directory; /* models/ is looked for here first; NULL = no models by name */
};

/* False when it could not be read; then the problems say why. */
bool model_read(const struct model_source *source, const struct yaml *node, const char *path,
                struct gpu_model *model);
