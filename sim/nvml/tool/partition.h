// SPDX-License-Identifier: Apache-2.0
#pragma once

/* `gpuslice-sim mig`: how the running machine is partitioned. */

#include "base/error.h"
#include "base/text.h"
#include "nvml/state.h"

/* words[0] says what to do. -EINVAL with a message for invalid arguments; -EBUSY where something is
 * in use; -ENOSPC where there is no room. */
int partition(struct state_file *file, char **words, int n_words, struct text *out,
              struct error *err);

/* One line for each thing to do. */
void partition_usage(struct text *out);

/* The instances of one GPU, a line each; nothing while it is not in MIG mode. */
void partition_list(struct text *out, const struct state *state, unsigned gpu);

/* The same as a JSON object. */
void partition_json(struct text *out, const struct state *state, unsigned gpu);
