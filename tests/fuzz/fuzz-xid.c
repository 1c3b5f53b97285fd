// SPDX-License-Identifier: Apache-2.0
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/problem.h"
#include "health/xid.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* DP_DISABLE_HEALTHCHECKS and DP_ENABLE_HEALTHCHECKS, separated by a NUL. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 2);
    struct problems problems = PROBLEMS_INIT;
    struct xid_filter filter = XID_FILTER_INIT;
    const char *enable;

    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = text[size + 1] = '\0';
    enable = text + strlen(text) + 1;
    if (xid_filter_parse(text, enable <= text + size ? enable : NULL, &problems, &filter) == 0) {
        if (xid_filter_class(&filter, 79) == XID_APPLICATION)
            abort();
        xid_filter_deinit(&filter);
    }
    problems_deinit(&problems);
    free(text);
    return 0;
}
