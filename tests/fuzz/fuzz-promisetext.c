// SPDX-License-Identifier: Apache-2.0

/* The annotation of a Node that says what it will advertise: any text is read, or refused in one
 * line. */

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "karpenter/promisetext.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { N_GPUS = 8 };
    cleanup_free char *text = strndup((const char *)data, size);
    struct error err = ERROR_INIT;
    struct namedemand counts;
    int r;

    if (!text)
        return 0;
    r = promisetext_read(text, "NVIDIA A10G", N_GPUS, &counts, &err);
    if (r < 0) {
        assert(r == -EINVAL || r == -ENOENT);
        assert(*error_text(&err) && !strchr(error_text(&err), '\n'));
        return 0;
    }
    assert(counts.n_items > 0 && counts.n_items <= NAMEDEMAND_MAX);
    for (size_t i = 0; i < counts.n_items; i++)
        assert(counts.items[i].count % N_GPUS == 0);
    return 0;
}
