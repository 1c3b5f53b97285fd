// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Fields of the API server's objects. Reading one never fails: where the object, the member or the
 * type of its value is not what it should be, the result is empty, as each function says. What is
 * returned is borrowed from the object. Pure.
 */

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* A member of an object; "" = it has no such text. */
const char *kube_text(const json_t *object, const char *key);

/* A member is this text. One that is missing is "". */
bool kube_says(const json_t *object, const char *key, const char *text);

/* Seconds since 1970 of a member such as creationTimestamp, "2026-01-31T23:59:59Z"; 0 = it has no
 * such time. */
int64_t kube_time(const json_t *object, const char *key);

/* The metadata of an object of the API, NULL = it has none; and what they say: "" or 0 = nothing.
 */
json_t *kube_metadata(const json_t *object);
const char *kube_name(const json_t *object);
const char *kube_uid(const json_t *object);
int64_t kube_generation(const json_t *object);

/* NULL = it has none of this key. */
const char *kube_label(const json_t *object, const char *key);
const char *kube_annotation(const json_t *object, const char *key);

/* The condition of this type in its status; NULL = it has none. */
const json_t *kube_condition(const json_t *object, const char *type);

/* A quantity that counts something: a text such as "12", "2k" or "1M", as the API server writes
 * them, or a number, as people do. -1 = it is missing, or no whole number. */
int64_t kube_count(const json_t *quantity);
