// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Objects for the API server as a file that kubectl takes: YAML documents, each with its comments
 * above it. */

#include <stdio.h>

#include "karpenter/document.h"

/* 0 or -ENOMEM. */
int objects_print(const struct documents *documents, FILE *out);
