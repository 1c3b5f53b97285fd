// SPDX-License-Identifier: Apache-2.0
#include "proc/frame.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_BODY_BYTES = 4096 };

static void put_number(uint8_t *at, uint32_t number, unsigned n_bytes)
{
    for (unsigned i = 0; i < n_bytes; i++)
        at[i] = (uint8_t)(number >> (8 * i));
}

static uint32_t get_number(const uint8_t *at, unsigned n_bytes)
{
    uint32_t number = 0;

    for (unsigned i = 0; i < n_bytes; i++)
        number |= (uint32_t)at[i] << (8 * i);
    return number;
}

void proc_frame_write_header(const struct proc_frame *frame,
                             uint8_t header[PROC_FRAME_HEADER_BYTES])
{
    header[0] = 'g';
    header[1] = 's';
    header[2] = PROC_FRAME_VERSION;
    header[3] = (uint8_t)frame->type;
    put_number(header + 4, frame->kind, 2);
    put_number(header + 6, 0, 2);
    put_number(header + 8, frame->id, 4);
    put_number(header + 12, (uint32_t)frame->size, 4);
}

void proc_frame_reader_deinit(struct proc_frame_reader *reader)
{
    free(reader->body);
    reader->body = NULL;
    reader->capacity = 0;
}

void proc_frame_reader_next(struct proc_frame_reader *reader)
{
    proc_frame_reader_deinit(reader); /* a large body may be far from the next one */
    reader->n_header = reader->n_body = 0;
}

static int grow_body(struct proc_frame_reader *reader)
{
    const size_t size = reader->frame.size;
    size_t capacity = reader->capacity ? 2 * reader->capacity : FIRST_BODY_BYTES;
    uint8_t *body;

    if (capacity > size)
        capacity = size;
    body = realloc(reader->body, capacity + 1);
    if (!body)
        return -ENOMEM;
    reader->body = body;
    reader->capacity = capacity;
    return 0;
}

void *proc_frame_reader_space(struct proc_frame_reader *reader, size_t *ret_size)
{
    if (reader->n_header < sizeof(reader->header)) {
        *ret_size = sizeof(reader->header) - reader->n_header;
        return reader->header + reader->n_header;
    }
    assert(reader->n_body < reader->frame.size); /* or a complete frame was not consumed */
    if (reader->n_body == reader->capacity && grow_body(reader) < 0)
        return NULL;
    *ret_size = reader->capacity - reader->n_body;
    return reader->body + reader->n_body;
}

static int parse_header(struct proc_frame_reader *reader, struct error *err)
{
    const uint8_t *header = reader->header;
    const uint32_t size = get_number(header + 12, 4);

    if (memcmp(header, "gs", 2) != 0)
        goto nonsense;
    if (header[2] != PROC_FRAME_VERSION) {
        error_set(err, -EPROTO, "the peer uses version %u of our protocol, not %d", header[2],
                  PROC_FRAME_VERSION);
        return PROC_FRAME_OTHER_VERSION;
    }
    if (header[3] < PROC_FRAME_HELLO || header[3] > PROC_FRAME_PONG ||
        get_number(header + 6, 2) != 0)
        goto nonsense;
    if (size > reader->max_body_bytes) {
        error_set(err, -EMSGSIZE, "the peer sends a message of %u bytes; the limit is %u", size,
                  reader->max_body_bytes);
        return PROC_FRAME_TOO_LARGE;
    }
    reader->frame = (struct proc_frame){
        .type = (enum proc_frame_type)header[3],
        .kind = (uint16_t)get_number(header + 4, 2),
        .id = get_number(header + 8, 4),
        .body = "",
        .size = size,
    };
    return size ? 0 : PROC_FRAME_COMPLETE;
nonsense:
    error_set(err, -EBADMSG, "the peer does not use our protocol");
    return PROC_FRAME_NONSENSE;
}

int proc_frame_reader_commit(struct proc_frame_reader *reader, size_t n, struct error *err)
{
    if (reader->n_header < sizeof(reader->header)) {
        assert(n <= sizeof(reader->header) - reader->n_header);
        reader->n_header += n;
        return reader->n_header < sizeof(reader->header) ? 0 : parse_header(reader, err);
    }
    assert(n <= reader->capacity - reader->n_body);
    reader->n_body += n;
    if (reader->n_body < reader->frame.size)
        return 0;
    reader->body[reader->n_body] = '\0';
    reader->frame.body = reader->body;
    return PROC_FRAME_COMPLETE;
}
