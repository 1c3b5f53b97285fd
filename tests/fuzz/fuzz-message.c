// SPDX-License-Identifier: Apache-2.0
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "nodesync/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever can be read can be written, and reads back the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sync_message first, second;
    cleanup_text struct text once = TEXT_INIT, twice = TEXT_INIT;

    if (sync_message_read((const char *)data, size, &first, NULL) < 0)
        return 0;
    if (sync_message_write(&first, &once) == 0) {
        if (sync_message_read(once.data, once.length, &second, NULL) < 0 ||
            sync_message_write(&second, &twice) < 0 || strcmp(once.data, twice.data) != 0)
            abort();
        sync_message_deinit(&second);
    }
    sync_message_deinit(&first);
    return 0;
}
