// SPDX-License-Identifier: Apache-2.0
#pragma once

/* An address to listen on, as users write it: "host:port", ":port" (all addresses) or "[v6]:port".
 * The single rule for options, configuration and the programs that listen. */

#include <stdint.h>

#include "base/error.h"

struct address {
    char host[256]; /* "" = all addresses */
    uint16_t port;  /* never 0 */
};

/* 0, or -EINVAL with a message that says what to write. */
int address_parse(const char *text, struct address *ret_address, struct error *err);
