// SPDX-License-Identifier: Apache-2.0
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "grant/kubeletcheckpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever is believed has a pod, a resource, and a grant id that may be a file's name; what is
 * shared has slices. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kubeletcheckpoint checkpoint = KUBELETCHECKPOINT_INIT;

    if (kubeletcheckpoint_parse((const char *)data, size, &checkpoint, NULL) != 0)
        return 0;
    for (size_t i = 0; i < checkpoint.n_entries; i++) {
        const struct kubeletcheckpoint_entry *entry = &checkpoint.entries[i];

        if (!*entry->pod_uid || !entry->resource || (*entry->grant && !grant_is_id(entry->grant)))
            abort();
    }
    for (size_t i = 0; i < checkpoint.n_shared; i++)
        if (!checkpoint.shared[i].n_ids || strstr(checkpoint.shared[i].uuid, "::"))
            abort();
    kubeletcheckpoint_deinit(&checkpoint);
    return 0;
}
