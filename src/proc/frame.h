// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * One frame of the protocol between our own processes: a header of fixed size and a body.
 *
 *     byte  0  'g', 's'
 *           2  version of this layout
 *           3  type (enum proc_frame_type)
 *           4  kind (16 bits), defined by the users of a channel
 *           6  zero (16 bits)
 *           8  id (32 bits): ties an answer to its request, a pong to its ping
 *          12  length of the body in bytes (32 bits)
 *
 * Numbers are little-endian. Bodies are limited by the reader's owner. The reader allocates as
 * bytes arrive, so a header alone cannot make it allocate.
 *
 * Pure: no I/O, no clock. Doc: doc/design/0006-processes-and-channels.md.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { PROC_FRAME_VERSION = 1, PROC_FRAME_HEADER_BYTES = 16 };

enum proc_frame_type {
    PROC_FRAME_HELLO = 1, /* the first frame of each side; the body names the program */
    PROC_FRAME_REQUEST,
    PROC_FRAME_ANSWER,
    PROC_FRAME_NOTICE,
    PROC_FRAME_PING,
    PROC_FRAME_PONG,
};

/* Outcomes of proc_frame_reader_commit besides 0 (the frame is not complete yet). After any but the
 * first the stream is unusable, and the error is set. */
enum proc_frame_outcome {
    PROC_FRAME_COMPLETE =
        1, /* reader->frame has it; call proc_frame_reader_next before reading on */
    PROC_FRAME_OTHER_VERSION, /* the peer uses another version of this protocol */
    PROC_FRAME_NONSENSE,      /* not one of our frames */
    PROC_FRAME_TOO_LARGE,     /* the body is above the limit */
};

struct proc_frame {
    enum proc_frame_type type;
    uint16_t kind;
    uint32_t id;
    const void *body; /* borrowed; from a reader it is NUL-terminated behind its last byte */
    size_t size;
};

struct proc_frame_reader {
    uint32_t max_body_bytes;
    uint8_t header[PROC_FRAME_HEADER_BYTES];
    size_t n_header, n_body; /* bytes received of each */
    uint8_t *body;           /* NULL while no body is being received */
    size_t capacity;
    struct proc_frame frame; /* valid once the header is complete */
};

/* The empty reader, with the limit for bodies. */
#define PROC_FRAME_READER_INIT(max)                       \
    {                                                     \
        .max_body_bytes = (max), .n_header = 0, .body = 0 \
    }

void proc_frame_reader_deinit(struct proc_frame_reader *reader);

/*
 * Where the next bytes of the stream go, and how many fit there (at least 1, and never more than
 * this frame needs). NULL without memory.
 */
void *proc_frame_reader_space(struct proc_frame_reader *reader, size_t *ret_size);

/* n bytes were stored there. 0, or an enum proc_frame_outcome. */
int proc_frame_reader_commit(struct proc_frame_reader *reader, size_t n, struct error *err);

/* Frees the complete frame, and starts the next one. */
void proc_frame_reader_next(struct proc_frame_reader *reader);

void proc_frame_write_header(const struct proc_frame *frame,
                             uint8_t header[PROC_FRAME_HEADER_BYTES]);
