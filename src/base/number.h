// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Numbers in our own files: digits, binary sizes, versions. No sign, no fraction. */

#include <stdbool.h>
#include <stdint.h>

/* Decimal digits at *text, which is advanced; false if there are none or too many. */
bool number_digits(const char **text, uint64_t *ret_value);

/* The whole text is one number below 2^32. */
bool number_parse(const char *text, uint32_t *ret_value);

/* "1Gi", "512Mi", "4Ki", "1000000": bytes. */
bool number_parse_size(const char *text, uint64_t *ret_bytes);

/* A count as the API server writes it, in its shortest form: "16", "2k", "1M"; -1 if it is not a
 * whole number. */
int64_t number_quantity(const char *text);

/* "7.0": two numbers, at most 999.99. */
bool number_parse_version(const char *text, uint32_t *ret_major, uint32_t *ret_minor);
