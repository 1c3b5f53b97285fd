// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Reports on the simulated machine: a table for people, JSON for programs. */

#include <stdbool.h>

#include "base/text.h"
#include "nvml/state.h"

/* The machine as defined by its file. */
void report_machine(struct text *out, const struct machine *machine, bool json);

/* The machine's run-time state: injected faults, processes. */
void report_state(struct text *out, const struct state_file *file, bool json);
