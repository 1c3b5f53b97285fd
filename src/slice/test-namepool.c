// SPDX-License-Identifier: Apache-2.0
#include "slice/namepool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"

enum { N_MAX = 12 };

/* A device is a letter: g and m have the first and the second name and are free, G and M are held
 * under it, - has none, x and y are g and m that cannot be used. */
static size_t read_devices(const char *text, struct namepool_device *devices)
{
    const size_t n = strlen(text);

    for (size_t i = 0; i < n; i++) {
        const char c = text[i];

        devices[i] = (struct namepool_device){
            .now = strchr("gGx", c)   ? NAMEPOOL_FIRST
                   : strchr("mMy", c) ? NAMEPOOL_SECOND
                                      : NAMEPOOL_NEITHER,
            .held = c == 'G'   ? NAMEPOOL_FIRST
                    : c == 'M' ? NAMEPOOL_SECOND
                               : NAMEPOOL_NEITHER,
            .is_usable = c != 'x' && c != 'y',
        };
    }
    return n;
}

static void free_devices_go_where_pods_wait_else_as_configured(void **state)
{
    static const struct {
        const char *before;
        struct namepool_rule rule;
        const char *after;
    } rows[] = {
        /* By the split alone; the odd one has the first name. */
        {"------", {500, {0, 0}, false}, "gggmmm"},
        {"-----", {500, {0, 0}, false}, "gggmm"},
        {"---", {0, {0, 0}, false}, "ggg"},
        {"---", {1000, {0, 0}, false}, "mmm"},
        {"gggggg", {500, {0, 0}, false}, "gggmmm"},
        {"mmmmmm", {500, {0, 0}, false}, "gggmmm"},
        {"gmgmgm", {500, {0, 0}, false}, "gmgmgm"},
        /* Held ones stay, and count for their name. */
        {"GGGGGm", {500, {0, 0}, false}, "GGGGGm"},
        {"MMMMgg", {500, {0, 0}, false}, "MMMMgg"},
        {"Mggggg", {500, {0, 0}, false}, "Mgggmm"},
        /* Pods wait. */
        {"gggmmm", {500, {0, 5}, false}, "gmmmmm"},
        {"gggmmm", {500, {0, 50}, false}, "mmmmmm"},
        {"gggmmm", {500, {4, 0}, false}, "ggggmm"},
        {"gggmmm", {500, {4, 1}, false}, "ggggmm"},
        {"GGgmmm", {500, {0, 4}, false}, "GGmmmm"},
        {"MMMggg", {500, {0, 1}, false}, "MMMggm"},
        /* More than there are, for both: neither has more than it waits for. */
        {"gggmmm", {500, {5, 5}, false}, "gggmmm"},
        {"gggmmm", {0, {2, 9}, false}, "ggmmmm"},
        {"gggmmm", {1000, {2, 9}, false}, "mmmmmm"},
        {"mmmmmm", {0, {5, 5}, false}, "gggggm"},
        /* The split alone moves nothing while it keeps. */
        {"mmmmmm", {0, {0, 0}, true}, "mmmmmm"},
        {"gggg--", {500, {0, 0}, true}, "ggggmm"},
        {"gg----", {0, {0, 0}, true}, "gggggg"},
        {"ggggg-", {0, {0, 1}, true}, "gggggm"},
        {"gggggg", {500, {0, 1}, true}, "gggggm"},
        /* What cannot be used stays, and counts for neither. */
        {"xxxggg", {500, {0, 0}, false}, "xxxggm"},
        {"yyyggg", {500, {0, 3}, false}, "yyymmm"},
        {"", {500, {1, 1}, false}, ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct namepool_device devices[N_MAX];
        enum namepool_name names[N_MAX];
        char after[N_MAX + 1] = "";
        const size_t n = read_devices(rows[i].before, devices);

        namepool_divide(devices, n, &rows[i].rule, names);
        for (size_t k = 0; k < n; k++)
            after[k] = rows[i].before[k] == 'x' || rows[i].before[k] == 'y' ? rows[i].before[k]
                       : names[k] == NAMEPOOL_NEITHER                       ? '-'
                       : devices[k].held != NAMEPOOL_NEITHER                ? "GM"[names[k]]
                                                                            : "gm"[names[k]];
        if (strcmp(after, rows[i].after) != 0)
            fail_msg("row %zu: %s becomes %s, not %s", i, rows[i].before, after, rows[i].after);
    }
}

static uint64_t next(uint64_t *seed, uint64_t limit)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (*seed >> 33) % limit;
}

/* Counted without the code under test: by a search over every number of devices. */
static size_t moves_needed(const struct namepool_device *devices, size_t n, size_t target)
{
    size_t n_named[2] = {0, 0}, n_free = 0, too_many;

    for (size_t i = 0; i < n; i++) {
        if (!devices[i].is_usable || devices[i].held != NAMEPOOL_NEITHER)
            continue;
        n_free++;
        if (devices[i].now != NAMEPOOL_NEITHER)
            n_named[devices[i].now]++;
    }
    too_many = n_named[1] > target ? n_named[1] - target : 0;
    return too_many + (n_named[0] > n_free - target ? n_named[0] - (n_free - target) : 0);
}

struct outcome {
    size_t n_free[2], n_moved;
};

static struct outcome check_each(const struct namepool_device *devices, size_t n,
                                 const enum namepool_name *names)
{
    struct outcome outcome = {0};

    for (size_t i = 0; i < n; i++) {
        if (!devices[i].is_usable) {
            assert_int_equal(names[i], devices[i].now);
        } else if (devices[i].held != NAMEPOOL_NEITHER) {
            assert_int_equal(names[i], devices[i].held);
        } else {
            assert_in_range(names[i], NAMEPOOL_FIRST, NAMEPOOL_SECOND);
            outcome.n_free[names[i]]++;
            outcome.n_moved += devices[i].now != NAMEPOOL_NEITHER && devices[i].now != names[i];
        }
    }
    return outcome;
}

/* Every usable device has one name; held ones keep theirs; each name has what waits for it as far
 * as there is enough for both; no device moves that need not; and asking again changes nothing. */
static void whatever_happens_a_device_has_one_name(void **state)
{
    uint64_t seed = 1;

    (void)state;
    for (int round = 0; round < 20000; round++) {
        struct namepool_device devices[N_MAX];
        enum namepool_name names[N_MAX], again[N_MAX];
        const size_t n = next(&seed, N_MAX + 1);
        const struct namepool_rule rule = {
            (unsigned)next(&seed, 1001), {next(&seed, 5), next(&seed, 5)}, next(&seed, 2)};
        struct outcome outcome;
        size_t n_free;

        for (size_t i = 0; i < n; i++)
            devices[i] =
                (struct namepool_device){(enum namepool_name)next(&seed, 3),
                                         (enum namepool_name)next(&seed, 3), next(&seed, 4) != 0};
        namepool_divide(devices, n, &rule, names);
        outcome = check_each(devices, n, names);
        n_free = outcome.n_free[0] + outcome.n_free[1];
        for (int k = 0; k < 2; k++)
            if (rule.n_wanted[0] + rule.n_wanted[1] <= n_free)
                assert_true(outcome.n_free[k] >= rule.n_wanted[k]);
            else
                assert_true(outcome.n_free[k] <= rule.n_wanted[k]);
        assert_int_equal(outcome.n_moved, moves_needed(devices, n, outcome.n_free[1]));
        for (size_t i = 0; i < n; i++)
            devices[i].now = names[i];
        namepool_divide(devices, n, &rule, again);
        assert_memory_equal(again, names, n * sizeof(*names));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(free_devices_go_where_pods_wait_else_as_configured),
        cmocka_unit_test(whatever_happens_a_device_has_one_name),
    };

    return cmocka_run_group_tests_name("slice/namepool", tests, NULL, NULL);
}
