// SPDX-License-Identifier: Apache-2.0

/*
 * The pure halves of the gRPC layer. First byte: the size of the pieces. Then message framing of
 * the whole rest, and the rest once more as header fields "name\0value\0name\0...".
 */

#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "rpc/frame.h"
#include "rpc/headers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_BYTES = 4096 };

static void read_frames(const uint8_t *data, size_t size, size_t step)
{
    struct frame_reader reader = FRAME_READER_INIT;
    int r = 0;

    while (size > 0 && (r == 0 || r == FRAME_MESSAGE)) {
        const uint8_t *bytes = data;
        size_t left = step < size ? step : size, taken = left;

        r = frame_read(&reader, &bytes, &left, MAX_BYTES);
        assert(bytes == data + (taken - left));
        assert(reader.size <= MAX_BYTES && reader.capacity <= MAX_BYTES);
        data += taken - left;
        size -= taken - left;
        if (r == FRAME_MESSAGE)
            frame_next(&reader);
    }
    frame_reader_deinit(&reader);
}

static const uint8_t *next_string(const uint8_t **data, size_t *size, size_t *ret_length)
{
    const uint8_t *string = *data;
    const uint8_t *end = memchr(string, 0, *size);

    *ret_length = end ? (size_t)(end - string) : *size;
    *data += *ret_length + (end ? 1 : 0);
    *size -= *ret_length + (end ? 1 : 0);
    return string;
}

static void read_headers(const uint8_t *data, size_t size)
{
    struct request_headers request = REQUEST_HEADERS_INIT;
    struct response_headers response = RESPONSE_HEADERS_INIT;
    int r = 0, s = 0;

    while (size > 0 && (r == 0 || s == 0)) {
        size_t name_length, value_length;
        const uint8_t *name = next_string(&data, &size, &name_length);
        const uint8_t *value = next_string(&data, &size, &value_length);

        if (r == 0)
            r = request_headers_add(&request, name, name_length, value, value_length);
        if (s == 0)
            s = response_headers_add(&response, name, name_length, value, value_length);
    }
    if (r == 0) {
        struct headers_verdict verdict = request_headers_judge(&request);

        assert(verdict.malformed || request.path);
        assert(verdict.status == RPC_OK || verdict.text);
    }
    request_headers_deinit(&request);
    response_headers_deinit(&response);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    read_frames(data + 1, size - 1, (size_t)data[0] + 1);
    read_headers(data + 1, size - 1);
    return 0;
}
