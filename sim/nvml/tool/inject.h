// SPDX-License-Identifier: Apache-2.0
#pragma once

/* `gpuslice-sim inject`: changes to the running machine. */

#include "base/error.h"
#include "base/text.h"
#include "nvml/state.h"

/* words[0] names what is injected. -EINVAL with a sentence for words that are wrong. */
int inject(struct state_file *file, char **words, int n_words, struct error *err);

/* One line for each thing that can be injected. */
void inject_usage(struct text *out);
