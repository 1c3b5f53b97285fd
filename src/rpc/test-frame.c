// SPDX-License-Identifier: Apache-2.0
#include "rpc/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"

enum { MAX_BYTES = 1000 };

static void test_one_message_in_any_pieces(void **state)
{
    static const uint8_t wire[] = {0, 0, 0, 0, 3, 'a', 'b', 'c'};

    for (size_t step = 1; step <= sizeof(wire); step++) {
        struct frame_reader reader = FRAME_READER_INIT;
        int r = 0;

        for (size_t at = 0; at < sizeof(wire); at += step) {
            const uint8_t *bytes = wire + at;
            size_t size = sizeof(wire) - at < step ? sizeof(wire) - at : step;

            assert_int_equal(r, 0);
            r = frame_read(&reader, &bytes, &size, MAX_BYTES);
            assert_int_equal(size, 0);
        }
        assert_int_equal(r, FRAME_MESSAGE);
        assert_int_equal(reader.size, 3);
        assert_memory_equal(reader.data, "abc", 3);
        assert_false(frame_is_between(&reader));
        frame_next(&reader);
        assert_true(frame_is_between(&reader));
        frame_reader_deinit(&reader);
    }
}

static void test_messages_in_one_piece(void **state)
{
    static const uint8_t wire[] = {0, 0, 0, 0, 1, 'a', 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 'b', 0};
    struct frame_reader reader = FRAME_READER_INIT;
    const uint8_t *bytes = wire;
    size_t size = sizeof(wire);

    assert_int_equal(frame_read(&reader, &bytes, &size, MAX_BYTES), FRAME_MESSAGE);
    assert_int_equal(reader.data[0], 'a');
    frame_next(&reader);
    assert_int_equal(frame_read(&reader, &bytes, &size, MAX_BYTES), FRAME_MESSAGE);
    assert_int_equal(reader.size, 0);
    frame_next(&reader);
    assert_int_equal(frame_read(&reader, &bytes, &size, MAX_BYTES), FRAME_MESSAGE);
    assert_int_equal(reader.data[0], 'b');
    frame_next(&reader);
    assert_int_equal(size, 1);
    assert_int_equal(frame_read(&reader, &bytes, &size, MAX_BYTES), 0);
    assert_false(frame_is_between(&reader));
    frame_reader_deinit(&reader);
}

static void test_prefixes(void **state)
{
    static const struct {
        uint8_t prefix[FRAME_PREFIX_BYTES];
        int outcome;
    } cases[] = {
        {{0, 0, 0, 0, 0}, FRAME_MESSAGE},
        {{0, 0, 0, 3, 232}, 0},
        {{0, 0, 0, 3, 233}, FRAME_TOO_LARGE},
        {{0, 255, 255, 255, 255}, FRAME_TOO_LARGE},
        {{1, 0, 0, 0, 0}, FRAME_COMPRESSED},
        {{2, 0, 0, 0, 0}, FRAME_BAD_FLAG},
        {{255, 255, 255, 255, 255}, FRAME_BAD_FLAG},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct frame_reader reader = FRAME_READER_INIT;
        const uint8_t *bytes = cases[i].prefix;
        size_t size = FRAME_PREFIX_BYTES;

        assert_int_equal(frame_read(&reader, &bytes, &size, MAX_BYTES), cases[i].outcome);
        /* An announced length alone allocates nothing. */
        assert_null(reader.data);
        frame_reader_deinit(&reader);
    }
}

static void test_memory_follows_what_arrived(void **state)
{
    static const uint8_t wire[] = {0, 0, 64, 0, 0, 'x'};
    struct frame_reader reader = FRAME_READER_INIT;
    const uint8_t *bytes = wire;
    size_t size = sizeof(wire);

    assert_int_equal(frame_read(&reader, &bytes, &size, 4 << 20), 0);
    assert_in_range(reader.capacity, 1, 4096);
    frame_reader_deinit(&reader);
}

static void test_written_prefix_is_read(void **state)
{
    struct frame_reader reader = FRAME_READER_INIT;
    uint8_t wire[FRAME_PREFIX_BYTES + 300] = {0};
    const uint8_t *bytes = wire;
    size_t size = sizeof(wire);

    frame_write_prefix(wire, 300);
    assert_int_equal(frame_read(&reader, &bytes, &size, MAX_BYTES), FRAME_MESSAGE);
    assert_int_equal(reader.size, 300);
    frame_reader_deinit(&reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_message_in_any_pieces),
        cmocka_unit_test(test_messages_in_one_piece),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_memory_follows_what_arrived),
        cmocka_unit_test(test_written_prefix_is_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
