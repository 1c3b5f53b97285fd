// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What `gpuslice verify` prints: a line with PASS or FAIL for each check, as soon as it is known.
 */

#include <stdbool.h>

#include "base/error.h"

struct verdicts {
    unsigned n_failed, n_checks;
};

/* what: at most 34 characters. format: what was found, and what must be. */
void verdicts_add(struct verdicts *all, bool passed, const char *what, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The check itself failed. */
void verdicts_broke(struct verdicts *all, const char *what, const struct error *err);

/* There is nothing to check here, and why. Counts as none. */
void verdicts_skip(const char *what, const char *why);
