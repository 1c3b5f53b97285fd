// SPDX-License-Identifier: Apache-2.0
#include "rpc/frame.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_CAPACITY = 256 };

void frame_reader_deinit(struct frame_reader *reader)
{
    free(reader->data);
    *reader = (struct frame_reader)FRAME_READER_INIT;
}

bool frame_is_between(const struct frame_reader *reader)
{
    return reader->prefix_bytes == 0;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t message_length(const struct frame_reader *reader)
{
    const uint8_t *p = reader->prefix;

    return (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
}

static int check_prefix(const struct frame_reader *reader, size_t max_bytes)
{
    if (reader->prefix[0] > 1)
        return FRAME_BAD_FLAG;
    if (reader->prefix[0] == 1)
        return FRAME_COMPRESSED;
    return message_length(reader) > max_bytes ? FRAME_TOO_LARGE : 0;
}

static int make_room(struct frame_reader *reader, size_t more, size_t length)
{
    size_t capacity = reader->capacity ? reader->capacity : FIRST_CAPACITY;
    uint8_t *data;

    if (reader->size + more <= reader->capacity)
        return 0;
    while (capacity < reader->size + more)
        capacity *= 2;
    capacity = smaller(capacity, length);
    data = realloc(reader->data, capacity);
    if (!data)
        return -ENOMEM;
    reader->data = data;
    reader->capacity = capacity;
    return 0;
}

int frame_read(struct frame_reader *reader, const uint8_t **bytes, size_t *size, size_t max_bytes)
{
    size_t n = smaller(FRAME_PREFIX_BYTES - reader->prefix_bytes, *size);
    size_t length;
    int r;

    if (n > 0) {
        memcpy(reader->prefix + reader->prefix_bytes, *bytes, n);
        reader->prefix_bytes += n;
        *bytes += n;
        *size -= n;
    }
    if (reader->prefix_bytes < FRAME_PREFIX_BYTES)
        return 0;
    r = check_prefix(reader, max_bytes);
    if (r != 0)
        return r;
    length = message_length(reader);
    n = smaller(length - reader->size, *size);
    if (n > 0) {
        r = make_room(reader, n, length);
        if (r < 0)
            return r;
        memcpy(reader->data + reader->size, *bytes, n);
        reader->size += n;
        *bytes += n;
        *size -= n;
    }
    return reader->size == length ? FRAME_MESSAGE : 0;
}

void frame_next(struct frame_reader *reader)
{
    frame_reader_deinit(reader);
}

void frame_write_prefix(uint8_t prefix[FRAME_PREFIX_BYTES], size_t size)
{
    assert(size <= UINT32_MAX);
    prefix[0] = 0;
    prefix[1] = (uint8_t)(size >> 24);
    prefix[2] = (uint8_t)(size >> 16);
    prefix[3] = (uint8_t)(size >> 8);
    prefix[4] = (uint8_t)size;
}
