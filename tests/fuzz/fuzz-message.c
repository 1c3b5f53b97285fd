// SPDX-License-Identifier: Apache-2.0
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What can be read can be written, and is read as the same again. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cluster_message first, second;
    cleanup_text struct text once = TEXT_INIT, twice = TEXT_INIT;

    if (cluster_message_read((const char *)data, size, &first, NULL) < 0)
        return 0;
    if (cluster_message_write(&first, &once) == 0) {
        if (cluster_message_read(once.data, once.length - 1, &second, NULL) < 0 ||
            cluster_message_write(&second, &twice) < 0 || strcmp(once.data, twice.data) != 0)
            abort();
        cluster_message_deinit(&second);
    }
    cluster_message_deinit(&first);
    return 0;
}
