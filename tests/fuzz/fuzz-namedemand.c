// SPDX-License-Identifier: Apache-2.0

/* The annotation of the Node that says what pods wait for: any text is read, or refused in one
 * line. */

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "slice/namedemand.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cleanup_free char *text = strndup((const char *)data, size);
    struct error err = ERROR_INIT;
    struct namedemand demand;
    int r;

    if (!text)
        return 0;
    r = namedemand_parse(text, &demand, &err);
    if (r < 0) {
        assert(*error_text(&err) && !strchr(error_text(&err), '\n'));
        return 0;
    }
    assert(demand.n_items <= NAMEDEMAND_MAX);
    for (size_t i = 0; i < demand.n_items; i++)
        assert(namedemand_count(&demand, demand.items[i].name) == demand.items[i].count);
    return 0;
}
