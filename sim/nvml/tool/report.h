// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The simulated machine in words: for people as a table, for programs as JSON. */

#include <stdbool.h>

#include "base/text.h"
#include "nvml/state.h"

/* The machine as its file has it. */
void report_machine(struct text *out, const struct machine *machine, bool json);

/* The machine as it runs: what was injected, who uses it. */
void report_state(struct text *out, const struct state_file *file, bool json);
