// SPDX-License-Identifier: Apache-2.0
#include "proc/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LIMIT = 20000 };

static struct proc_frame_reader reader;
static struct error err;

static int set_up(void **state)
{
    (void)state;
    reader = (struct proc_frame_reader)PROC_FRAME_READER_INIT(LIMIT);
    err = (struct error)ERROR_INIT;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    proc_frame_reader_deinit(&reader);
    return 0;
}

static size_t write_frame(const struct proc_frame *frame, uint8_t *to)
{
    proc_frame_write_header(frame, to);
    if (frame->size)
        memcpy(to + PROC_FRAME_HEADER_BYTES, frame->body, frame->size);
    return PROC_FRAME_HEADER_BYTES + frame->size;
}

/* Feeds pieces of at most `piece` bytes until something comes of it. */
static int feed(const uint8_t **bytes, size_t *size, size_t piece)
{
    int r = 0;

    while (*size && r == 0) {
        size_t n;
        void *space = proc_frame_reader_space(&reader, &n);

        assert_non_null(space);
        n = n < piece ? n : piece;
        n = n < *size ? n : *size;
        memcpy(space, *bytes, n);
        *bytes += n;
        *size -= n;
        r = proc_frame_reader_commit(&reader, n, &err);
    }
    return r;
}

static void frames_come_through_in_whatever_pieces(void **state)
{
    static char body[LIMIT];
    static uint8_t stream[3 * (LIMIT + PROC_FRAME_HEADER_BYTES)];
    static const size_t pieces[] = {1, 7, 16, 4096, sizeof(stream)};
    struct proc_frame frames[] = {
        {PROC_FRAME_HELLO, 0, 0, "http", 4},
        {PROC_FRAME_REQUEST, 65535, UINT32_MAX, body, sizeof(body)},
        {PROC_FRAME_PONG, 258, 7, NULL, 0},
    };
    size_t total = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(body); i++)
        body[i] = (char)i;
    for (size_t i = 0; i < 3; i++)
        total += write_frame(&frames[i], stream + total);
    for (size_t p = 0; p < 5; p++) {
        const uint8_t *at = stream;
        size_t left = total;

        for (size_t i = 0; i < 3; i++) {
            assert_int_equal(feed(&at, &left, pieces[p]), PROC_FRAME_COMPLETE);
            assert_int_equal(reader.frame.type, frames[i].type);
            assert_int_equal(reader.frame.kind, frames[i].kind);
            assert_int_equal(reader.frame.id, frames[i].id);
            assert_int_equal(reader.frame.size, frames[i].size);
            if (frames[i].size)
                assert_memory_equal(reader.frame.body, frames[i].body, frames[i].size);
            assert_int_equal(((const char *)reader.frame.body)[frames[i].size], '\0');
            proc_frame_reader_next(&reader);
        }
        assert_int_equal(left, 0);
    }
}

static void what_is_no_frame_has_a_name(void **state)
{
    static const struct {
        const char *bytes; /* a header */
        int outcome;
        const char *sentence;
    } cases[] = {
        {"{\"kind\":\"setup\"}", PROC_FRAME_NONSENSE, "does not use our protocol"},
        {"gs\2\1\0\0\0\0\0\0\0\0\0\0\0", PROC_FRAME_OTHER_VERSION, "version 2 of our protocol"},
        {"gs\1\0\0\0\0\0\0\0\0\0\0\0\0", PROC_FRAME_NONSENSE, "does not use"},
        {"gs\1\7\0\0\0\0\0\0\0\0\0\0\0", PROC_FRAME_NONSENSE, "does not use"},
        {"gs\1\1\0\0\1\0\0\0\0\0\0\0\0", PROC_FRAME_NONSENSE, "does not use"},
        {"gs\1\1\0\0\0\0\0\0\0\0\x21\x4e\0", PROC_FRAME_TOO_LARGE,
         "20001 bytes; the limit is 20000"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        const uint8_t *at = (const uint8_t *)cases[i].bytes;
        size_t left = PROC_FRAME_HEADER_BYTES;

        set_up(state);
        assert_int_equal(feed(&at, &left, 5), cases[i].outcome);
        assert_non_null(strstr(error_text(&err), cases[i].sentence));
    }
}

/* A header alone makes nobody allocate what it promises. */
static void memory_grows_with_what_came(void **state)
{
    const struct proc_frame frame = {PROC_FRAME_NOTICE, 1, 0, NULL, LIMIT};
    uint8_t header[PROC_FRAME_HEADER_BYTES];
    const uint8_t *at = header;
    size_t left = sizeof(header), n;

    (void)state;
    proc_frame_write_header(&frame, header);
    assert_int_equal(feed(&at, &left, sizeof(header)), 0);
    assert_non_null(proc_frame_reader_space(&reader, &n));
    assert_in_range(n, 1, LIMIT / 2);
    assert_in_range(reader.capacity, 1, LIMIT / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(frames_come_through_in_whatever_pieces, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_frame_has_a_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(memory_grows_with_what_came, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("proc/frame", tests, NULL, NULL);
}
