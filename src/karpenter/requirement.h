// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Requirements on labels, `{key, operator, values}`, as NodeOverlays and node affinities have them.
 * A label that is not there meets NotIn and DoesNotExist alone.
 */

#include <jansson.h>
#include <stdbool.h>

/* labels: key -> text. An operator that nobody knows is not met. */
bool requirement_is_met(const json_t *requirement, const json_t *labels);

/* All of a list; an empty one is met. */
bool requirements_are_met(const json_t *requirements, const json_t *labels);
