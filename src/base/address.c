// SPDX-License-Identifier: Apache-2.0
#include "base/address.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int bad(const char *text, struct error *err)
{
    return error_set(
        err, -EINVAL,
        "expected an address such as 127.0.0.1:19400, :19400 or [::1]:19400, got \"%s\"", text);
}

int address_parse(const char *text, struct address *ret_address, struct error *err)
{
    const char *colon = strrchr(text, ':'), *start = text;
    size_t length = colon ? (size_t)(colon - text) : 0;
    struct address address = {.port = 0};
    unsigned long port;
    char *end;

    if (!colon || colon[1] < '0' || colon[1] > '9')
        return bad(text, err);
    port = strtoul(colon + 1, &end, 10);
    if (*end || port == 0 || port > UINT16_MAX)
        return bad(text, err);
    if (length && *text == '[') {
        if (length < 3 || text[length - 1] != ']')
            return bad(text, err);
        start++;
        length -= 2;
    } else if (memchr(text, ':', length)) {
        return bad(text, err);
    }
    if (length >= sizeof(address.host))
        return bad(text, err);
    memcpy(address.host, start, length);
    address.port = (uint16_t)port;
    *ret_address = address;
    return 0;
}
