// SPDX-License-Identifier: Apache-2.0
#pragma once

/* `gpuslice-sim inject`: changes to the running machine. */

#include "base/error.h"
#include "base/text.h"
#include "nvml/state.h"

/* words[0] names what to inject. -EINVAL with a message for invalid arguments. */
int inject(struct state_file *file, char **words, int n_words, struct error *err);

/* One line for each injectable fault. */
void inject_usage(struct text *out);
