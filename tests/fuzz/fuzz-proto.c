// SPDX-License-Identifier: Apache-2.0

/*
 * The kubelet's messages. First byte: which one. What decodes must encode, and what was encoded
 * must decode and encode to the same bytes.
 */

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "deviceplugin/v1beta1/api.pb.h"
#include "podresources/v1/api.pb.h"
#include "rpc/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

union any {
    v1beta1_RegisterRequest register_request;
    v1beta1_ListAndWatchResponse list;
    v1beta1_AllocateRequest allocate;
    v1beta1_AllocateResponse allocated;
    v1beta1_PreferredAllocationRequest prefer;
    v1beta1_PreferredAllocationResponse preferred;
    v1beta1_DevicePluginOptions options;
    v1_ListPodResourcesResponse pods;
    v1_AllocatableResourcesResponse allocatable;
    v1_GetPodResourcesResponse pod;
};

static const pb_msgdesc_t *const kinds[] = {
    v1beta1_RegisterRequest_fields,
    v1beta1_ListAndWatchResponse_fields,
    v1beta1_AllocateRequest_fields,
    v1beta1_AllocateResponse_fields,
    v1beta1_PreferredAllocationRequest_fields,
    v1beta1_PreferredAllocationResponse_fields,
    v1beta1_DevicePluginOptions_fields,
    v1_ListPodResourcesResponse_fields,
    v1_AllocatableResourcesResponse_fields,
    v1_GetPodResourcesResponse_fields,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cleanup_free void *once = NULL, *twice = NULL;
    const pb_msgdesc_t *fields;
    size_t once_size, twice_size;
    union any message;

    if (size == 0)
        return 0;
    fields = kinds[data[0] % ARRAY_SIZE(kinds)];
    for (size_t at = 0; at < size - 1;) { /* parts make progress, and end with the message */
        size_t part = message_part(data + 1 + at, size - 1 - at, 1 + data[0] % 3);

        assert(part > 0 && part <= size - 1 - at);
        at += part;
    }
    if (message_decode(fields, data + 1, size - 1, &message) < 0) {
        message_release(fields, &message);
        return 0;
    }
    assert(message_encode(fields, &message, &once, &once_size) == 0);
    message_release(fields, &message);
    assert(message_decode(fields, once, once_size, &message) == 0);
    assert(message_encode(fields, &message, &twice, &twice_size) == 0);
    message_release(fields, &message);
    assert(once_size == twice_size && memcmp(once, twice, once_size) == 0);
    return 0;
}
