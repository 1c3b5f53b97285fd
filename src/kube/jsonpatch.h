// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The operations of a JSON patch (RFC 6902), for what server-side apply cannot do: atomic lists,
 * and changes that must fail when somebody else was faster.
 *
 * Operations are collected in a JSON array, which kube_json_patch sends. After -ENOMEM the array is
 * incomplete and must not be sent.
 */

#include <jansson.h>

/*
 * Appends a test that path still holds `old` (NULL = nothing) and the change to `new` (NULL =
 * nothing). Borrows old, takes over new. 0 or -ENOMEM.
 */
int jsonpatch_change(json_t *operations, const char *path, const json_t *old, json_t *new);
