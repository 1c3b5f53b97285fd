// SPDX-License-Identifier: Apache-2.0
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/migminors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The kernel's list of capability nodes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct migminors minors = MIGMINORS_INIT;
    char *text = strndup((const char *)data, size);

    if (text && migminors_parse(text, &minors) == 0)
        for (size_t i = 0; i < minors.n_items; i++)
            if (minors.items[i].minor < 0)
                abort();
    migminors_deinit(&minors);
    free(text);
    return 0;
}
