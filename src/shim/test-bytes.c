// SPDX-License-Identifier: Apache-2.0

/* Reading ends where memory does, and the program goes on. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "shim/bytes.h"

enum { PAGES = 3 };

static size_t page_size;
static char *pages, *end; /* the last one can be read up to there; behind it is one that cannot */

static int setup(void **state)
{
    (void)state;
    page_size = (size_t)sysconf(_SC_PAGESIZE);
    pages = mmap(NULL, (PAGES + 1) * page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                 -1, 0);
    end = pages + PAGES * page_size;
    return pages != MAP_FAILED && mprotect(end, page_size, PROT_NONE) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    return munmap(pages, (PAGES + 1) * page_size);
}

static void test_what_can_be_read(void **state)
{
    (void)state;
    for (size_t size = 0; size < 20; size++) {
        assert_true(bytes_are_readable(end - size, size));
        assert_false(bytes_are_readable(end - size, size + 1));
    }
    assert_true(bytes_are_readable(pages, PAGES * page_size));
    assert_false(bytes_are_readable(pages, PAGES * page_size + 1));
    assert_false(bytes_are_readable(end - 1, SIZE_MAX)); /* around the end of all addresses */
}

static void test_a_hole_is_found(void **state)
{
    (void)state;
    assert_int_equal(mprotect(pages + page_size, page_size, PROT_NONE), 0);
    assert_false(bytes_are_readable(pages, PAGES * page_size));
    assert_true(bytes_are_readable(pages + 2 * page_size, page_size));
}

static void test_copies_are_whole_or_none(void **state)
{
    char to[4] = "old";

    (void)state;
    memcpy(end - 4, "new", 4);
    assert_false(bytes_copy(&(struct bytes){end - 4, 3}, to, 4));
    assert_false(bytes_copy(&(struct bytes){end - 3, BYTES_UNTOLD}, to, 4));
    assert_string_equal(to, "old");
    assert_true(bytes_copy(&(struct bytes){end - 4, BYTES_UNTOLD}, to, 4));
    assert_string_equal(to, "new");
}

static void test_texts_end_with_nul_or_their_size(void **state)
{
    const size_t length = 2 * page_size + 5;
    char *text = end - length - 1;

    (void)state;
    memset(text, 'x', length);
    text[length] = '\0';
    assert_int_equal(bytes_text_length(&(struct bytes){text, BYTES_UNTOLD}), length);
    assert_int_equal(bytes_text_length(&(struct bytes){text, length + 1}), length);
    assert_int_equal(bytes_text_length(&(struct bytes){text, 7}), 7);
    assert_int_equal(bytes_text_length(&(struct bytes){text, length + 2}), 0);
    text[length] = 'x';
    assert_int_equal(bytes_text_length(&(struct bytes){text, BYTES_UNTOLD}), 0);
    assert_int_equal(bytes_text_length(&(struct bytes){end, BYTES_UNTOLD}), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_can_be_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_hole_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(test_copies_are_whole_or_none, setup, teardown),
        cmocka_unit_test_setup_teardown(test_texts_end_with_nul_or_their_size, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
