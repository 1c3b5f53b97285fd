// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Bytes that a program hands over, as an image of a module. They may end before they say so, where
 * nothing can be read, or refer to what is not there: that is for the driver to refuse, and no
 * reason to end the program. A reader asks here first.
 *
 * In memory they come without their size: it is BYTES_UNTOLD then, and what is in them says where
 * they end.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BYTES_UNTOLD SIZE_MAX

struct bytes {
    const char *at; /* borrowed */
    size_t size;
};

/* Can all of it be read? at: not NULL. */
bool bytes_are_readable(const void *at, size_t size);

/* The first ones. False: there are not as many. */
bool bytes_copy(const struct bytes *bytes, void *to, size_t size);

/* Of a text, to the NUL that ends it, or to its end; 0 as well where it cannot be read to there. */
size_t bytes_text_length(const struct bytes *bytes);
