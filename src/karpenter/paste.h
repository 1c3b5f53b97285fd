// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A manifest as people paste it: with the fences of the markdown that it stood in, and with the
 * word `yaml` that some guides print above it.
 *
 * Whatever is no manifest is blanked in place, so that positions stay those of the pasted text.
 * Text beside a pair of fences is prose then, and a fenced block without a line `kind:` an example
 * of something else; each block that stays is a document of its own. The same with a shell's here
 * documents (`cat <<EOF | kubectl apply -f -`), which Terraform has too: one that has a line
 * `kind:` is a manifest, and what is around it is not. One inside a manifest (user data) is a part
 * of it.
 */

#include <stddef.h>

/* Changes text in place. */
void paste_clean(char *text, size_t size);
