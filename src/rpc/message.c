// SPDX-License-Identifier: Apache-2.0
#include "rpc/message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pb_common.h>
#include <pb_decode.h>
#include <pb_encode.h>

#include "base/cleanup.h"

int message_encode(const pb_msgdesc_t *fields, const void *message, void **ret_data,
                   size_t *ret_size)
{
    cleanup_free void *data = NULL;
    pb_ostream_t stream;
    size_t size;

    if (!pb_get_encoded_size(&size, fields, message))
        return -EINVAL;
    data = malloc(size ? size : 1);
    if (!data)
        return -ENOMEM;
    stream = pb_ostream_from_buffer(data, size);
    if (!pb_encode(&stream, fields, message))
        return -EINVAL;
    *ret_size = stream.bytes_written;
    *ret_data = TAKE_PTR(data);
    return 0;
}

static int scan_fields(pb_istream_t *stream, const pb_msgdesc_t *fields, size_t *budget);

static int scan_delimited(pb_istream_t *stream, const pb_field_iter_t *field, size_t *budget)
{
    pb_istream_t inner;
    int r = 0;

    if (!pb_make_string_substream(stream, &inner))
        return -EBADMSG;
    if (PB_LTYPE(field->type) == PB_LTYPE_STRING) {
        /* The state of a buffer stream is its read position. */
        if (memchr(inner.state, 0, inner.bytes_left))
            return -EBADMSG;
    } else if (PB_LTYPE_IS_SUBMSG(field->type)) {
        r = scan_fields(&inner, field->submsg_desc, budget);
    }
    if (r < 0)
        return r;
    return pb_close_string_substream(stream, &inner) ? 0 : -EBADMSG;
}

/* The messages of proto/ are not recursive, so their descriptors bound the recursion. */
static int scan_fields(pb_istream_t *stream, const pb_msgdesc_t *fields, size_t *budget)
{
    for (size_t n = 0; stream->bytes_left > 0; n++) {
        pb_field_iter_t field;
        pb_wire_type_t wire_type;
        uint32_t tag;
        bool eof;
        int r = 0;

        if (!pb_decode_tag(stream, &wire_type, &tag, &eof))
            return eof ? 0 : -EBADMSG;
        if (n == MESSAGE_MAX_ENTRIES || (*budget)-- == 0)
            return -E2BIG;
        if (wire_type == PB_WT_STRING && pb_field_iter_begin(&field, fields, NULL) &&
            pb_field_iter_find(&field, tag))
            r = scan_delimited(stream, &field, budget);
        else if (!pb_skip_field(stream, wire_type))
            r = -EBADMSG;
        if (r < 0)
            return r;
    }
    return 0;
}

/* nanopb's own initialisation of a message: decode nothing. */
static void make_empty(const pb_msgdesc_t *fields, void *message)
{
    static const uint8_t nothing[1] = {0};
    pb_istream_t stream = pb_istream_from_buffer(nothing, 0);

    (void)pb_decode(&stream, fields, message);
}

int message_decode(const pb_msgdesc_t *fields, const void *data, size_t size, void *message)
{
    pb_istream_t stream = pb_istream_from_buffer(data ? data : "", size);
    pb_istream_t scanned = stream;
    size_t budget = MESSAGE_MAX_FIELDS;
    int r;

    r = scan_fields(&scanned, fields, &budget);
    if (r == 0 && !pb_decode(&stream, fields, message))
        r = strstr(PB_GET_ERROR(&stream), "realloc") ? -ENOMEM : -EBADMSG;
    /* pb_decode releases the memory, but leaves the counts; a cleanup may release it again. */
    if (r < 0)
        make_empty(fields, message);
    return r;
}

size_t message_part(const void *data, size_t size, size_t max_fields)
{
    pb_istream_t stream = pb_istream_from_buffer(data ? data : "", size);

    for (size_t n = 0; n < max_fields && stream.bytes_left > 0; n++) {
        pb_wire_type_t wire_type;
        uint32_t tag;
        bool eof;

        if (!pb_decode_tag(&stream, &wire_type, &tag, &eof) || !pb_skip_field(&stream, wire_type))
            return size;
    }
    return size - stream.bytes_left;
}

void message_release(const pb_msgdesc_t *fields, void *message)
{
    pb_release(fields, message);
}

int message_entries(void *ret_items, pb_size_t *ret_count, size_t n, size_t item_size)
{
    void *items;

    if (n > MESSAGE_MAX_ENTRIES)
        return -E2BIG;
    *ret_count = (pb_size_t)n;
    if (n == 0) {
        memset(ret_items, 0, sizeof(items));
        return 0;
    }
    items = calloc(n, item_size);
    if (!items) {
        *ret_count = 0;
        return -ENOMEM;
    }
    memcpy(ret_items, &items, sizeof(items));
    return 0;
}
