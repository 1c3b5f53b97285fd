// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * JSON patch operations (RFC 6902), for what server-side apply cannot do: atomic lists, and changes
 * that must fail if somebody else was faster.
 *
 * Operations are collected in a JSON array, which kube_json_patch sends. After -ENOMEM the array is
 * incomplete and must not be sent.
 */

#include <jansson.h>

/*
 * Appends a test that path still is `old` (NULL = absent) and the change to `new` (NULL = absent).
 * Borrows old, consumes new. 0 or -ENOMEM.
 */
int jsonpatch_change(json_t *operations, const char *path, const json_t *old, json_t *new);

/* The same for one annotation of an object. value NULL = absent; nothing is appended when it is so
 * already. 0 or -ENOMEM. */
int jsonpatch_annotation(json_t *operations, const json_t *object, const char *key,
                         const char *value);
