// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Prometheus' text format, version 0.0.4, generated from current state: a family is announced once,
 * then its samples follow. Nothing is registered and nothing is kept.
 */

#include <stdint.h>

#include "base/text.h"

/* type: "gauge" or "counter" (a counter's name ends in _total). */
void exposition_family(struct text *out, const char *name, const char *type, const char *help);

/* Labels are pairs of (const char *name, const char *value), terminated by a NULL name; values are
 * escaped. */
void exposition_sample(struct text *out, const char *name, double value, ...)
    __attribute__((sentinel));
