// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The arbiter's status document as `gpuslice top` shows it: a few sentences about the node, then a
 * row for each container on a device, and four for the rest of the device.
 *
 * What is missing in the document is shown as '-': it may be of an older arbiter, or of one that
 * only audits. Pure.
 */

#include <jansson.h>
#include <stdio.h>

/* max_width: of a line; 0 = any. */
void topview_print(const json_t *status, size_t max_width, FILE *out);
