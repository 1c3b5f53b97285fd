// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The connection to the arbiter: the socket in the directory of a grant, the page that it hands
 * out, and messages with a deadline (limits/message.h).
 *
 * The file descriptor is the program's as much as ours: one that closes all descriptors, and opens
 * others, ends the connection, and what stands there then is left alone.
 */

#include <stdbool.h>
#include <stdint.h>

#include "limits/claims.h"
#include "limits/message.h"

enum wire_outcome {
    WIRE_REFUSED = 1, /* by the arbiter of that directory */
    WIRE_NO_GRANT,    /* there is no directory of a grant */
    WIRE_FOREIGN,     /* it is of a release that this library does not understand */
    WIRE_UNKNOWN,     /* it is of a release that does not know the message: nothing is sent */
    WIRE_DENIED,      /* there is none to have */
};

struct wire {
    int fd;           /* -1 = not connected */
    uint64_t cookie;  /* the kernel's number of the socket */
    unsigned refused; /* directories that were */
    uint64_t sequence;
    uint64_t revision; /* the arbiter's, since its welcome: what it knows */
    /* Since the first connection; mapped at the same address for good, also when it ended. */
    const struct limits_page *page;
    uint64_t page_number; /* the kernel's: every container's page has another one */
};

/* An empty one. */
#define WIRE_NONE ((struct wire){.fd = -1})

/* Connects and says who we are; the answer comes with wire_await. 0, WIRE_NO_GRANT, WIRE_REFUSED if
 * all have, or a negative errno: there is no arbiter now. */
int wire_connect(struct wire *wire);

/* The arbiter's welcome. 0 with the page mapped, -EAGAIN: not yet, WIRE_REFUSED, WIRE_FOREIGN, or a
 * negative errno: the connection ended. */
int wire_await(struct wire *wire, int timeout_ms);

/* A request with its answer. 0, WIRE_UNKNOWN, -ETIMEDOUT: none came, and the connection is to be
 * closed, or a negative errno: it ended. */
int wire_ask(struct wire *wire, struct limits_request *request, struct limits_answer *ret_answer,
             int timeout_ms);

/* Asks for the process's page of claims, mapped then in this process alone, not in its children,
 * and never unmapped: the driver knows its address. 0, WIRE_DENIED, WIRE_UNKNOWN, WIRE_FOREIGN:
 * what came is no such page, or as wire_ask. */
int wire_claim(struct wire *wire, struct claims **ret_claims, int timeout_ms);

/* Has the arbiter ended the connection? Reads nothing. */
bool wire_is_ended(const struct wire *wire);

/* A message without an answer, at once. 0, WIRE_UNKNOWN, -EAGAIN: no room, nothing is sent; else it
 * ended. */
int wire_tell(struct wire *wire, struct limits_request *request);

void wire_close(struct wire *wire);

/* Milliseconds of a clock that only goes on. */
uint64_t wire_now_ms(void);
