// SPDX-License-Identifier: Apache-2.0
#pragma once

/* A cluster's judged facts (clusterjudge.h) for people: what is the cluster's, then each group of
 * nodes with its guarantees. */

#include <jansson.h>
#include <stdio.h>

void clusterprint(const json_t *facts, FILE *out);
