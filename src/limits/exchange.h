// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What one process says of handles by which processes share memory and events of a device: at the
 * end of its page of claims (claims.h, doc/design/0028).
 *
 * Two containers are one unit of turns where one says that it gave a handle out, and the other one
 * that it opened the same, on the same device. A handle is 64 bytes that the driver makes and both
 * sides have. A descriptor has no such bytes. Its name is a number that the exporter puts on
 * the open file, where the importer finds it: the same for all that one process gives out, and no
 * secret, so it only counts among containers of one owner.
 *
 * The last ones are named, in a ring, each once. Claims as the rest of the page: what is written
 * here costs or gains turns of those who name the same handle. The process writes a name and then
 * raises n_changes, which a reader looks at for news. An older library leaves zeros, which name
 * nothing; an older arbiter does not look.
 */

#include <assert.h>
#include <stdint.h>

#include "limits/claims.h"

enum {
    EXCHANGE_NAMES = 48, /* of one process */
    EXCHANGE_HANDLE_SIZE = 64,
    EXCHANGE_OFFSET = CLAIMS_SIZE - 4096,
};

enum exchange_side {
    EXCHANGE_NONE = 0, /* an empty name; so is a side that a reader does not know */
    EXCHANGE_GAVE = 1,
    EXCHANGE_OPENED = 2,
};

/* Handles of different kinds are different. */
enum exchange_kind {
    EXCHANGE_MEMORY = 1,     /* CUipcMemHandle */
    EXCHANGE_EVENT = 2,      /* CUipcEventHandle */
    EXCHANGE_FABRIC = 3,     /* CUmemFabricHandle */
    EXCHANGE_DESCRIPTOR = 4, /* the first word is the number of the process, the others are 0 */
};

struct exchange_name {
    uint32_t side;   /* enum exchange_side */
    uint16_t device; /* by its position in limits_page.devices */
    uint16_t kind;   /* enum exchange_kind */
    uint64_t handle[EXCHANGE_HANDLE_SIZE / sizeof(uint64_t)];
};

struct exchange {
    uint32_t n_changes;
    uint8_t unused[12];
    struct exchange_name names[EXCHANGE_NAMES];
};

static_assert(sizeof(struct exchange_name) == 72, "the same in every release");
static_assert(sizeof(struct exchange) <= CLAIMS_SIZE - EXCHANGE_OFFSET, "the end of the page");
static_assert(sizeof(struct claims) <= EXCHANGE_OFFSET, "behind the claims of all devices");

/* Where it is in a page of claims. */
#define exchange_of(claims) \
    ((struct exchange *)(uintptr_t)((const char *)(claims) + EXCHANGE_OFFSET))
