// SPDX-License-Identifier: Apache-2.0
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A packet from a helper corrupted by the driver's library; type and version are given. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct record record;

    if (size < 1)
        return 0;
    memset(&record, 0, sizeof(record));
    size = size - 1 < sizeof(record) ? size - 1 : sizeof(record);
    memcpy(&record, data + 1, size);
    record.version = RECORD_VERSION;
    record.type = data[0] & 15;
    if (record_check(&record, record_size(record.type)) == 0 && record.type == RECORD_GPU &&
        (strlen(record.gpu.gpu.uuid) >= GPU_UUID_SIZE || (int)record.gpu.gpu.mig_capable > 1))
        abort();
    (void)record_check(&record, size);
    return 0;
}
