// SPDX-License-Identifier: Apache-2.0
#pragma once

/* How the time of GPUs was shared, for people and programs. */

#include "base/text.h"
#include "nvml/state.h"

/* The value of the member "time" of a GPU. */
void shares_json(struct text *out, const struct state *state, unsigned gpu);

/* A line, if the GPU ever worked. */
void shares_list(struct text *out, const struct state *state, unsigned gpu);

/* What one process received of a GPU: members that end with a comma, and words for people. */
void shares_process_json(struct text *out, const struct state *state,
                         const struct state_process *process);
void shares_process_list(struct text *out, const struct state *state,
                         const struct state_process *process);
