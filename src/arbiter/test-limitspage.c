// SPDX-License-Identifier: Apache-2.0

/* What a process can do with the descriptor that it gets; limits/test-limits.c has the seals. */

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "arbiter/limitspage.h"

static void test_a_reader_sees_what_is_written(void **state)
{
    struct limitspage page = LIMITSPAGE_INIT;
    const struct limits_page *theirs;

    assert_int_equal(limitspage_make(&page, NULL), 0);
    theirs = mmap(NULL, LIMITS_PAGE_SIZE, PROT_READ, MAP_SHARED, page.fd, 0);
    assert_ptr_not_equal(theirs, MAP_FAILED);
    assert_int_equal(theirs->magic, LIMITS_MAGIC);
    assert_int_equal(theirs->version, LIMITS_VERSION);
    limits_store(page.page->devices[3].charged_bytes, 12345);
    assert_int_equal(limits_load(theirs->devices[3].charged_bytes), 12345);
    limitspage_deinit(&page);
    assert_int_equal(limits_load(theirs->devices[3].charged_bytes), 12345); /* as it was last */
    munmap((void *)theirs, LIMITS_PAGE_SIZE);
}

static void test_the_descriptor_only_reads(void **state)
{
    struct limitspage page = LIMITSPAGE_INIT;

    assert_int_equal(limitspage_make(&page, NULL), 0);
    assert_int_equal(fcntl(page.fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    assert_int_equal(fcntl(page.fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(fcntl(page.fd, F_GET_SEALS), LIMITS_SEALS);
    assert_ptr_equal(mmap(NULL, LIMITS_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, page.fd, 0),
                     MAP_FAILED);
    limitspage_deinit(&page);
    limitspage_deinit(&page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_reader_sees_what_is_written),
        cmocka_unit_test(test_the_descriptor_only_reads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
