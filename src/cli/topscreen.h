// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A terminal that shows a text which changes: it is read again after each interval, and scrolled by
 * the arrow and page keys, until somebody presses q.
 */

#include <stddef.h>

#include "base/error.h"

/* Where this terminal has no description, nothing was shown. */
enum topscreen_outcome { TOPSCREEN_NO_TERMINAL = 1 };

/* The text, of lines of at most `width` characters; free it. NULL without memory. */
typedef char *topscreen_text_fn(size_t width, void *userdata);

/* 0 when it was ended by a key, SIGINT or SIGTERM, or an outcome above. */
int topscreen_run(double interval_s, topscreen_text_fn *text, void *userdata);
