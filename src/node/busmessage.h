// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The messages of D-Bus, as far as one call needs them: a method call is written, and what comes
 * back is read. Version 1 of the protocol; little-endian, as the bus and we are on one host.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

enum {
    BUSMESSAGE_HEAD = 16,      /* bytes that tell how long a message is */
    BUSMESSAGE_MAX = 64 << 10, /* of what comes back; a longer one is refused */
    BUSMESSAGE_ARGUMENTS = 2,
};

/* Everything is borrowed. */
struct bus_call {
    const char *destination, *path, *interface, *member;
    const char *arguments[BUSMESSAGE_ARGUMENTS]; /* strings; NULL ends them */
    bool has_false;                              /* instead of strings: one boolean, false */
};

enum bus_reply_kind { BUS_RETURN, BUS_ERROR, BUS_OTHER /* a signal, or somebody's call */ };

struct bus_reply {
    enum bus_reply_kind kind;
    uint32_t reply_to; /* the serial of the call; 0 = none */
    char error[128];   /* "org.freedesktop.DBus.Error.ServiceUnknown"; "" = none */
    char text[256];    /* what an error says; "" = nothing */
};

/* Appends the call; `serial` is not 0. Fails like `out`. */
void busmessage_add_call(const struct bus_call *call, uint32_t serial, struct text *out);

/* How long the message is that begins with these BUSMESSAGE_HEAD bytes: the whole of it. */
int busmessage_size(const uint8_t *head, size_t *ret_size, struct error *err);

/* A whole message. -EBADMSG. */
int busmessage_read(const uint8_t *data, size_t size, struct bus_reply *ret_reply,
                    struct error *err);
