// SPDX-License-Identifier: Apache-2.0
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A record from a helper corrupted by the driver's library; its type is given. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct record record;
    uint8_t body[sizeof(record)] = {0};
    const uint32_t type = size ? data[0] & 15 : 0;

    if (size < 1)
        return 0;
    size = size - 1 < sizeof(body) ? size - 1 : sizeof(body);
    memcpy(body, data + 1, size);
    if (record_load(type, body, record_size(type), &record) == 0 && type == RECORD_GPU &&
        (strlen(record.gpu.gpu.uuid) >= GPU_UUID_SIZE || (int)record.gpu.gpu.mig_capable > 1))
        abort();
    if (record_load(type, body, record_size(type), &record) == 0 && type == RECORD_MIG &&
        (strlen(record.mig.device.profile) >= DEVICE_PROFILE_SIZE ||
         record.mig.device.kind != DEVICE_MIG))
        abort();
    (void)record_load(type, body, size, &record);
    return 0;
}
