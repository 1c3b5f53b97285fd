// SPDX-License-Identifier: Apache-2.0

/* What is made of a page that a process writes as it likes. */

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "arbiter/claimspage.h"
#include "base/array.h"

enum { N_DEVICES = 2, NOW_NS = 1000000 };

static struct claimspage page;
static struct claims *claims; /* as the process has it */
static struct claimspage_sum sum;

static int set_up(void **state)
{
    struct error err = ERROR_INIT;

    (void)state;
    page = (struct claimspage)CLAIMSPAGE_INIT;
    sum = (struct claimspage_sum){.n_launched = 0};
    if (claimspage_make(&page, N_DEVICES, &err) < 0)
        return -1;
    claims = mmap(NULL, CLAIMS_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, page.fd, 0);
    return claims == MAP_FAILED ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    munmap(claims, CLAIMS_SIZE);
    claimspage_deinit(&page);
    return 0;
}

static void test_its_size_cannot_change(void **state)
{
    struct stat status;

    (void)state;
    assert_int_equal(fcntl(page.fd, F_GET_SEALS), CLAIMS_SEALS);
    assert_int_equal(ftruncate(page.fd, 0), -1);
    assert_int_equal(ftruncate(page.fd, (off_t)CLAIMS_SIZE * 2), -1);
    assert_int_equal(fcntl(page.fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
    assert_int_equal(fstat(page.fd, &status), 0);
    assert_int_equal(status.st_size, CLAIMS_SIZE);
    /* What is cut out of the middle reads as 0. */
    claims->devices[0].n_launched = 7;
    assert_int_equal(fallocate(page.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, CLAIMS_SIZE),
                     0);
    claimspage_read(&page, 0, NOW_NS, &sum);
    assert_int_equal(sum.n_launched, 0);
}

static void test_counters_are_added_from_where_they_were(void **state)
{
    (void)state;
    claims->devices[1].n_launched = 10;
    claims->devices[1].n_done = 4;
    claims->devices[1].waited_ns = 1000;
    claims->devices[1].n_late = 1;
    claims->devices[1].waits[4] = 2;
    claimspage_read(&page, 1, NOW_NS, &sum);
    claimspage_read(&page, 1, NOW_NS, &sum);
    claims->devices[1].n_launched = 15;
    claims->devices[1].waits[4] = 3;
    claimspage_read(&page, 1, NOW_NS, &sum);
    assert_int_equal(sum.n_launched, 15);
    assert_int_equal(sum.n_done, 4);
    assert_int_equal(sum.waited_ns, 1000);
    assert_int_equal(sum.n_late, 1);
    assert_int_equal(sum.waits[4], 3);
    claimspage_read(&page, 0, NOW_NS, &sum); /* another device */
    assert_int_equal(sum.n_launched, 15);
}

/* Back, far ahead, and over its end: nothing that anybody would show as work. */
static void test_counters_that_are_written_over(void **state)
{
    (void)state;
    claims->devices[0].n_launched = 100;
    claims->devices[0].n_late = UINT32_MAX - 1;
    claimspage_read(&page, 0, NOW_NS, &sum);
    claims->devices[0].n_launched = 3;
    claims->devices[0].n_late = 1; /* ran over: three more */
    claimspage_read(&page, 0, NOW_NS, &sum);
    assert_int_equal(sum.n_launched, 100);
    assert_int_equal(sum.n_late, 3);
    claims->devices[0].n_launched = UINT64_MAX;
    claimspage_read(&page, 0, NOW_NS, &sum);
    assert_int_equal(sum.n_launched, 100);
    claims->devices[0].n_launched = 5;
    claimspage_read(&page, 0, NOW_NS, &sum);
    claims->devices[0].n_launched = 6;
    claimspage_read(&page, 0, NOW_NS, &sum);
    assert_int_equal(sum.n_launched, 101);
}

static void test_work_is_in_flight_while_fences_differ(void **state)
{
    struct claims_lane *last = &claims->devices[0].lanes[CLAIMS_LANES - 1];

    (void)state;
    claimspage_read(&page, 0, NOW_NS, &sum);
    assert_false(sum.is_in_flight);
    last->fence = 1;
    claimspage_read(&page, 0, NOW_NS, &sum);
    assert_true(sum.is_in_flight);
    sum.is_in_flight = false;
    last->done = 1;
    claimspage_read(&page, 0, NOW_NS, &sum);
    assert_false(sum.is_in_flight);
    assert_int_equal(sum.n_passed, 1);
    claims->devices[0].n_waiting = UINT32_MAX;
    claimspage_read(&page, 0, NOW_NS, &sum);
    assert_int_equal(sum.n_waiting, 1); /* one process */
}

/* One that never ends says nothing after a while, until it goes on. */
static void test_work_is_in_flight_while_it_is_awaited(void **state)
{
    static const struct {
        uint32_t n_awaiting, n_awaits;
        uint64_t at_ms;
        bool is_in_flight;
    } rows[] = {
        {1, 1, 1000, true},
        {1, 1, 1000 + CLAIMSPAGE_AWAIT_MS - 1, true},
        {1, 1, 1000 + CLAIMSPAGE_AWAIT_MS, false},
        {0, 2, 2000, false},
        {UINT32_MAX, 3, 2001, true},
        {0, 4, 2002, false},
        {1, 4, 3000, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        claims->devices[0].n_awaiting = rows[i].n_awaiting;
        claims->devices[0].n_awaits = rows[i].n_awaits;
        sum.is_in_flight = false;
        claimspage_read(&page, 0, rows[i].at_ms * 1000000, &sum);
        assert_int_equal(sum.is_in_flight, rows[i].is_in_flight);
    }
}

static void test_waits_by_their_bins(void **state)
{
    static const struct {
        uint64_t waits[CLAIMS_WAIT_BINS];
        unsigned p50, p99;
    } table[] = {
        {{0}, CLAIMS_WAIT_BINS, CLAIMS_WAIT_BINS},
        {{[0] = 1}, 0, 0},
        {{[0] = 98, [6] = 2}, 0, 6},
        {{[0] = 99, [6] = 1}, 0, 0},
        {{[3] = 1, [CLAIMS_WAIT_BINS - 1] = 5}, CLAIMS_WAIT_BINS - 1, CLAIMS_WAIT_BINS - 1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        memcpy(sum.waits, table[i].waits, sizeof(sum.waits));
        assert_int_equal(claimspage_find_bin(&sum, 500), table[i].p50);
        assert_int_equal(claimspage_find_bin(&sum, 990), table[i].p99);
    }
    assert_int_equal(claimspage_bin_us(0), 64);
    assert_int_equal(claimspage_bin_us(6), 4096);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_its_size_cannot_change),
        TEST(test_counters_are_added_from_where_they_were),
        TEST(test_counters_that_are_written_over),
        TEST(test_work_is_in_flight_while_fences_differ),
        TEST(test_work_is_in_flight_while_it_is_awaited),
        TEST(test_waits_by_their_bins),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
