// SPDX-License-Identifier: Apache-2.0
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "health/health.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The saved state of an earlier agent: whatever is believed is written back the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct health health = HEALTH_INIT, again = HEALTH_INIT;
    struct text first = TEXT_INIT, second = TEXT_INIT;

    if (health_restore(&health, "boot", (const char *)data, size) == 0) {
        health_save(&health, "boot", &first);
        if (health_restore(&again, "boot", first.data, first.length) != 0)
            abort();
        health_save(&again, "boot", &second);
        if (strcmp(first.data, second.data) != 0)
            abort();
    }
    text_deinit(&first);
    text_deinit(&second);
    health_deinit(&health);
    health_deinit(&again);
    return 0;
}
