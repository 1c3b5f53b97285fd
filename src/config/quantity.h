// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Numbers with a unit, parsed exactly: what would need rounding is rejected with a message that
 * says what to write instead.
 */

#include <stdint.h>

#include "base/error.h"

/* An infinite Go duration ("infinite"). */
#define DURATION_INFINITE UINT64_MAX

/*
 * "50%", "12.5%" -> permille, 1...1000. Steps of 0.1 %.
 * 0 or -EINVAL.
 */
int quantity_percent(const char *text, unsigned *ret_permille, struct error *err);

/*
 * A Kubernetes quantity of bytes: "4Gi", "512Mi", "1.5Gi", "4G", "4000000000", "4e9".
 * 0 or -EINVAL; never 0 bytes.
 */
int quantity_bytes(const char *text, uint64_t *ret_bytes, struct error *err);

/* A Go duration ("1h30m", "500ms", "0s"), or "infinite". 0 or -EINVAL. */
int quantity_duration(const char *text, uint64_t *ret_ns, struct error *err);

/* A decimal integer within the bounds. 0 or -EINVAL. */
int quantity_integer(const char *text, int64_t min, int64_t max, int64_t *ret_value,
                     struct error *err);
