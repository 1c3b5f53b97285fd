// SPDX-License-Identifier: Apache-2.0
#include "node/address.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int bad(const char *address, struct error *err)
{
    return error_set(err, -EINVAL,
                     "\"%s\" is no address to listen on: write host:port, :port or [ipv6]:port",
                     address);
}

int address_parse(const char *address, char *host, size_t host_size, uint16_t *ret_port,
                  struct error *err)
{
    const char *colon = strrchr(address, ':'), *start = address;
    size_t length = colon ? (size_t)(colon - address) : 0;
    unsigned long port;
    char *end;

    if (!colon || colon[1] < '0' || colon[1] > '9')
        return bad(address, err);
    port = strtoul(colon + 1, &end, 10);
    if (*end || port == 0 || port > UINT16_MAX)
        return bad(address, err);
    if (length && *address == '[') {
        if (address[length - 1] != ']')
            return bad(address, err);
        start++;
        length -= 2;
    } else if (memchr(address, ':', length)) {
        return bad(address, err);
    }
    if (length >= host_size)
        return bad(address, err);
    memcpy(host, start, length);
    host[length] = '\0';
    *ret_port = (uint16_t)port;
    return 0;
}
