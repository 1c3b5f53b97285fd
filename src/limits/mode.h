// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The modes by name, as the configuration, messages and files have them. */

#include <stdbool.h>

#include "limits/page.h"

/* "none", "observe", "enforced" */
const char *limits_mode_name(enum limits_mode mode);

/* False: it is none of them, and *ret_mode is as before. */
bool limits_parse_mode(const char *word, enum limits_mode *ret_mode);

/* The same of how a device's time is shared: "none", "observe", "elastic", "strict" */
const char *limits_compute_name(enum limits_compute compute);
bool limits_parse_compute(const char *word, enum limits_compute *ret_compute);
