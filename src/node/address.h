// SPDX-License-Identifier: Apache-2.0
#pragma once

/* An address to listen on, as people write it: "host:port", ":port" (all addresses) or "[v6]:port".
 */

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* host gets "" for all addresses. 0, or -EINVAL with a sentence that says what to write. */
int address_parse(const char *address, char *host, size_t host_size, uint16_t *ret_port,
                  struct error *err);
