// SPDX-License-Identifier: Apache-2.0
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "slice/migname.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is accepted is written in one way, and that is accepted as the same name. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1), formatted[DEVICE_PROFILE_SIZE], again[DEVICE_PROFILE_SIZE];
    struct error err = ERROR_INIT;
    struct mig_name name, parsed;

    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    if (migname_parse(text, &name, &err) == 0) {
        migname_format(&name, formatted);
        if (migname_parse(formatted, &parsed, NULL) < 0 || !migname_equal(&name, &parsed))
            abort();
        migname_format(&parsed, again);
        if (!str_equal(formatted, again))
            abort();
    } else if (!*err.message) {
        abort();
    }
    free(text);
    return 0;
}
