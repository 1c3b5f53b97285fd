// SPDX-License-Identifier: Apache-2.0

/* Pages of claims of several containers, and who is together by what stands there. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "arbiter/exchanges.h"
#include "base/array.h"
#include "limits/exchange.h"

enum { N_CONTAINERS = 4, DEVICE = 1, N_MANY = 40 };

static struct exchanges *exchanges;
static struct claimspage pages[N_CONTAINERS];
static struct exchange *named[N_CONTAINERS]; /* as the process has it */
static size_t groups[N_CONTAINERS], owners[N_CONTAINERS];

static struct exchange *begin_process(struct claimspage *page)
{
    struct error err = ERROR_INIT;
    void *claims;

    assert_int_equal(claimspage_make(page, 2, &err), 0);
    claims = mmap(NULL, CLAIMS_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, page->fd, 0);
    assert_true(claims != MAP_FAILED);
    return exchange_of(claims);
}

static void end_process(struct claimspage *page, struct exchange *exchange)
{
    munmap((char *)exchange - EXCHANGE_OFFSET, CLAIMS_SIZE);
    claimspage_deinit(page);
}

static int set_up(void **state)
{
    (void)state;
    exchanges = exchanges_new();
    for (size_t i = 0; i < N_CONTAINERS; i++)
        owners[i] = i;
    for (int i = 0; i < N_CONTAINERS; i++)
        named[i] = begin_process(&pages[i]);
    return exchanges ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    for (int i = 0; i < N_CONTAINERS; i++)
        end_process(&pages[i], named[i]);
    exchanges_free(exchanges);
    return 0;
}

static void name_as(struct exchange *exchange, struct exchange_name name, uint64_t handle)
{
    name.handle[7] = handle;
    exchange->names[exchange->n_changes++ % EXCHANGE_NAMES] = name;
}

static void name(int container, enum exchange_side side, uint64_t handle)
{
    name_as(named[container],
            (struct exchange_name){.side = side, .device = DEVICE, .kind = EXCHANGE_MEMORY},
            handle);
}

static void match(void)
{
    struct exchanges_process processes[N_CONTAINERS];

    for (size_t i = 0; i < N_CONTAINERS; i++)
        processes[i] = (struct exchanges_process){&pages[i], i, DEVICE, owners[i]};
    assert_int_equal(exchanges_match(exchanges, processes, N_CONTAINERS, N_CONTAINERS, groups), 0);
}

static void assert_groups(size_t a, size_t b, size_t c, size_t d)
{
    const size_t expected[N_CONTAINERS] = {a, b, c, d};

    match();
    for (size_t i = 0; i < N_CONTAINERS; i++)
        assert_int_equal(groups[i], expected[i]);
}

static void test_both_sides_have_to_say_so(void **state)
{
    (void)state;
    assert_groups(0, 1, 2, 3);
    name(1, EXCHANGE_GAVE, 5);
    name(2, EXCHANGE_OPENED, 6);
    name(3, EXCHANGE_GAVE, 6 + (UINT64_C(1) << 63));
    name(0, EXCHANGE_OPENED, 7);
    name(3, EXCHANGE_OPENED, 7);
    assert_groups(0, 1, 2, 3);
    name(2, EXCHANGE_OPENED, 5);
    assert_groups(0, 1, 1, 3);
}

static void test_the_same_of_another_kind_or_device_is_another_handle(void **state)
{
    (void)state;
    name(0, EXCHANGE_GAVE, 5);
    name_as(named[1], (struct exchange_name){EXCHANGE_OPENED, DEVICE, EXCHANGE_EVENT, {0}}, 5);
    name_as(named[2], (struct exchange_name){EXCHANGE_OPENED, !DEVICE, EXCHANGE_MEMORY, {0}}, 5);
    name_as(named[3], (struct exchange_name){7, DEVICE, EXCHANGE_MEMORY, {0}}, 5);
    assert_groups(0, 1, 2, 3);
}

static void test_who_is_linked_by_way_of_others_is_in_the_group(void **state)
{
    (void)state;
    name(3, EXCHANGE_GAVE, 1);
    name(2, EXCHANGE_OPENED, 1);
    name(2, EXCHANGE_GAVE, 2);
    name(0, EXCHANGE_OPENED, 2);
    assert_groups(0, 1, 0, 0);
}

/* What a stranger says he gave out, too, joins nobody to him, nor to each other. */
static void test_a_handle_that_two_gave_out_links_nobody(void **state)
{
    (void)state;
    name(0, EXCHANGE_GAVE, 1);
    name(1, EXCHANGE_GAVE, 1);
    name(2, EXCHANGE_OPENED, 1);
    assert_groups(0, 1, 2, 3);
}

static void name_descriptor(int container, enum exchange_side side, uint64_t mark)
{
    const struct exchange_name claim = {
        .side = side, .device = DEVICE, .kind = EXCHANGE_DESCRIPTOR};

    name_as(named[container], claim, mark);
}

/* A stranger knows all the names, and can claim either side of each. */
static void test_descriptors_link_those_of_one_owner(void **state)
{
    (void)state;
    owners[1] = owners[3] = 1;
    name_descriptor(1, EXCHANGE_GAVE, 1);
    name_descriptor(0, EXCHANGE_OPENED, 1);
    name_descriptor(2, EXCHANGE_OPENED, 1);
    assert_groups(0, 1, 2, 3);
    name_descriptor(0, EXCHANGE_GAVE, 1);
    name_descriptor(3, EXCHANGE_OPENED, 1);
    assert_groups(0, 1, 2, 1);
}

static void test_a_link_lasts_as_long_as_its_processes(void **state)
{
    (void)state;
    name(0, EXCHANGE_GAVE, 1);
    name(1, EXCHANGE_OPENED, 1);
    assert_groups(0, 0, 2, 3);
    for (uint64_t i = 0; i < EXCHANGE_NAMES; i++)
        name(0, EXCHANGE_GAVE, 100 + i);
    assert_groups(0, 0, 2, 3);
    end_process(&pages[0], named[0]);
    named[0] = begin_process(&pages[0]);
    assert_groups(0, 1, 2, 3);
}

static void test_news_are_told_once_for_each_device(void **state)
{
    (void)state;
    assert_false(exchanges_has_news(&pages[0], 0));
    name(0, EXCHANGE_GAVE, 1);
    assert_true(exchanges_has_news(&pages[0], 0));
    assert_false(exchanges_has_news(&pages[0], 0));
    assert_true(exchanges_has_news(&pages[0], 1));
}

/* A container of many processes, each of which names as much as it can: what is beyond the limit
 * does not count, and others are linked all the same. */
static void test_a_flood_is_bounded(void **state)
{
    static struct claimspage many[N_MANY];
    struct exchange *of_many[N_MANY];
    struct exchanges_process processes[N_MANY + N_CONTAINERS];

    (void)state;
    for (size_t i = 0; i < N_MANY; i++) {
        of_many[i] = begin_process(&many[i]);
        processes[i] = (struct exchanges_process){&many[i], 0, DEVICE, 0};
        for (uint64_t j = 0; j < EXCHANGE_NAMES; j++)
            name_as(of_many[i], (struct exchange_name){EXCHANGE_GAVE, DEVICE, EXCHANGE_MEMORY, {0}},
                    1000 * i + j);
    }
    for (size_t i = 1; i < N_CONTAINERS; i++)
        processes[N_MANY + i - 1] = (struct exchanges_process){&pages[i], i, DEVICE, 0};
    name(1, EXCHANGE_OPENED, 1000 * (N_MANY - 1));
    name(2, EXCHANGE_GAVE, 77777);
    name(3, EXCHANGE_OPENED, 77777);
    assert_int_equal(
        exchanges_match(exchanges, processes, N_MANY + N_CONTAINERS - 1, N_CONTAINERS, groups), 0);
    assert_int_equal(groups[1], 1);
    assert_int_equal(groups[3], groups[2]);
    name(1, EXCHANGE_OPENED, 1000);
    assert_int_equal(
        exchanges_match(exchanges, processes, N_MANY + N_CONTAINERS - 1, N_CONTAINERS, groups), 0);
    assert_int_equal(groups[1], 0);
    for (size_t i = 0; i < N_MANY; i++)
        end_process(&many[i], of_many[i]);
}

/* Any bytes: groups stay groups. */
static void test_pages_of_nonsense(void **state)
{
    unsigned seed = 1;

    (void)state;
    for (int round = 0; round < 500; round++) {
        for (int i = 0; i < 64; i++)
            ((uint8_t *)
                 named[i % N_CONTAINERS])[(unsigned)rand_r(&seed) % sizeof(struct exchange)] =
                (uint8_t)(rand_r(&seed) % 3);
        match();
        for (size_t i = 0; i < N_CONTAINERS; i++)
            assert_true(groups[i] <= i && groups[groups[i]] == groups[i]);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_both_sides_have_to_say_so),
        TEST(test_the_same_of_another_kind_or_device_is_another_handle),
        TEST(test_who_is_linked_by_way_of_others_is_in_the_group),
        TEST(test_a_handle_that_two_gave_out_links_nobody),
        TEST(test_descriptors_link_those_of_one_owner),
        TEST(test_a_link_lasts_as_long_as_its_processes),
        TEST(test_news_are_told_once_for_each_device),
        TEST(test_a_flood_is_bounded),
        TEST(test_pages_of_nonsense),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
