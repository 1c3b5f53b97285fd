// SPDX-License-Identifier: Apache-2.0

/*
 * Any bytes as a request to the agent for a MIG layout: refused, or one that is written as it was
 * read; with a file that is then read as any other.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/migrequest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cleanup_text struct text body = TEXT_INIT, again = TEXT_INIT;
    struct error err = ERROR_INIT;
    struct migrequest request;

    text_add(&body, "");
    text_add_bytes(&body, data, size);
    if (text_failed(&body) || size > MIGREQUEST_MAX)
        return 0;
    if (migrequest_parse(body.data ? body.data : "", size, &request, &err) < 0)
        return 0;
    if (!*request.label || strlen(request.label) >= MIGREQUEST_NAME_SIZE ||
        request.file + request.size != body.data + size)
        abort();
    if (migrequest_write(&request, &again, &err) < 0 || again.length != size ||
        memcmp(again.data, data, size) != 0)
        abort();
    return 0;
}
