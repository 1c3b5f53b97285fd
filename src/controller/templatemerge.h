// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What a profile adds to the template of a NodePool that somebody else made, and how it is taken
 * away again: labels and annotations are merged key by key, taints are appended.
 *
 * What was added is recorded with what was there before, in the pool's own annotation
 * gpuslice.dev/applied, so that nothing else is ever taken away. Taking away comes first, so that a
 * profile that changes leaves nothing of what it said earlier. Pure.
 */

#include <jansson.h>

#define TEMPLATEMERGE_RECORD "gpuslice.dev/applied"

/* A profile's parts: {"labels": {}, "annotations": {}, "taints": [], "startupTaints": []}. */

/*
 * *ret_template: `template` without what `record` (NULL = nothing) says and with `parts` (NULL =
 * nothing). *ret_record: what is to be recorded, NULL = nothing was added. Both owned. 0 or
 * -ENOMEM.
 */
int templatemerge(const json_t *template, const json_t *record, const json_t *parts,
                  const char *profile, json_t **ret_template, json_t **ret_record);

/* The operations of a JSON patch that make a pool's template another, each with a test of what was
 * there. NULL without memory. */
json_t *templatemerge_operations(const json_t *template, const json_t *wanted);

/* The record of a pool, owned; NULL = it has none, or somebody broke it. */
json_t *templatemerge_record(const json_t *pool);

/* Whose it is; "" = nobody's. Borrowed from the record. */
const char *templatemerge_profile(const json_t *record);
