// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * gRPC's message framing: one flag byte, four bytes of length (big endian), then the message.
 *
 * Pure: bytes in, messages out. Memory grows with the bytes received, never with the announced
 * length, and a length over the limit is rejected as soon as the prefix is known.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FRAME_PREFIX_BYTES = 5 };

/* Outcomes of frame_read besides 0 (all input used, no message complete yet) and -ENOMEM. */
enum frame_outcome {
    FRAME_MESSAGE = 1, /* `data` holds a complete message; call frame_next before reading on */
    FRAME_TOO_LARGE,   /* longer than the limit */
    FRAME_COMPRESSED,  /* flag 1: we never offer compression */
    FRAME_BAD_FLAG,    /* flag 2..255 */
};

struct frame_reader {
    uint8_t prefix[FRAME_PREFIX_BYTES];
    size_t prefix_bytes; /* bytes of the prefix received so far */
    uint8_t *data;       /* the message so far; NULL while it is empty */
    size_t size, capacity;
};

#define FRAME_READER_INIT \
    {                     \
        .data = NULL      \
    }

void frame_reader_deinit(struct frame_reader *reader);

/* True between messages: no byte of the next one has arrived. */
bool frame_is_between(const struct frame_reader *reader);

/* Consumes *bytes, *size up to the end of one message. max_bytes limits its length. */
int frame_read(struct frame_reader *reader, const uint8_t **bytes, size_t *size, size_t max_bytes);

/* Discards the completed message and frees its memory. */
void frame_next(struct frame_reader *reader);

/* size must fit 32 bits. */
void frame_write_prefix(uint8_t prefix[FRAME_PREFIX_BYTES], size_t size);
