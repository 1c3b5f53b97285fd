// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What we keep on our own Node, each a job of a writer of its own, so that one that is refused does
 * not hold up the others. Their userdata is the struct scene. */

#include "cluster/scene.h"
#include "cluster/writer.h"

extern const struct writer_job upkeep_labels, upkeep_taints, upkeep_condition;
