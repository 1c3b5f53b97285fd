// SPDX-License-Identifier: Apache-2.0

/* A message of the system bus: the whole of what was read after its length was known. */

#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "node/busmessage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = ERROR_INIT;
    struct bus_reply reply;
    size_t whole;

    if (size >= BUSMESSAGE_HEAD && busmessage_size(data, &whole, &err) == 0)
        assert(whole >= BUSMESSAGE_HEAD && whole <= BUSMESSAGE_MAX);
    if (busmessage_read(data, size, &reply, &err) < 0) {
        assert(*error_text(&err));
        return 0;
    }
    assert(strlen(reply.error) < sizeof(reply.error) && strlen(reply.text) < sizeof(reply.text));
    assert(!strchr(reply.text, '\n') && !strchr(reply.error, '\n'));
    return 0;
}
