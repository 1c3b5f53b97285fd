// SPDX-License-Identifier: Apache-2.0
#include "node/reach.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "gpu/gpu.h"

enum { N = 2 };

/*
 * Steps: i an inventory, its GPUs in the letters that follow (. usable, l lost, o out of reach, h
 * hung: neither); u the driver cannot be opened; h a hang; 0 and 1 a probe of that GPU with the
 * outcome that follows (. well, l lost, e fails, p no power, x not listed).
 */
static const struct {
    const char *steps;
    bool is_lost;
} rows[] = {
    {"", false},
    {"u", true}, /* never was there */
    {"u i..", false},
    {"i.. 0. 1.", false},
    {"i.. 0. 1. u", true},
    {"i.. 0. 1. u i..", true}, /* not proven by an inventory alone */
    {"i.. 0. 1. u i.. 0.", false},
    {"i.. 0e", false}, /* the other is reached */
    {"i.. 0e 1e", true},
    {"i.. 0e 1e i..", true},
    {"i.. 0e 1e i.. 1.", false},
    {"i.. 0e 1l", false}, /* a fault of its own */
    {"i.. 0x 1x", false},
    {"i.. 0e 1p", false},
    {"i.. 0e 1e 0x", true},
    {"ioo", true},
    {"iol", false},
    {"ill", false},
    {"ihh", false},
    {"ioh", false},
    {"io. 1e", true},
    {"ioo i..", false}, /* they had no UUID before: nothing is known of them */
    {"i.. 0e 1e h", false},
    {"u h", false},
};

static void see(struct reach *reach, const char *letters)
{
    struct gpu gpus[N] = {{.index = 0, .uuid = "GPU-0"}, {.index = 1, .uuid = "GPU-1"}};
    const struct inventory seen = {.gpus = gpus, .n_gpus = N};

    for (size_t i = 0; i < N; i++) {
        if (letters[i] == '.')
            continue;
        snprintf(gpus[i].unusable, sizeof(gpus[i].unusable), "it does not work");
        gpus[i].is_out_of_reach = letters[i] == 'o';
        if (letters[i] == 'o')
            gpus[i].uuid[0] = '\0';
    }
    assert_int_equal(reach_inventory(reach, &seen), 0);
}

static int outcome_of(char letter)
{
    static const struct {
        char letter;
        int outcome;
    } outcomes[] = {{'.', 0}, {'l', GPU_LOST}, {'e', -EIO}, {'x', -ENXIO}, {'p', -EREMOTEIO}};

    for (size_t i = 0; i < ARRAY_SIZE(outcomes); i++)
        if (outcomes[i].letter == letter)
            return outcomes[i].outcome;
    fail_msg("no outcome %c", letter);
    return 0;
}

static void step(struct reach *reach, const char *words)
{
    const char uuid[] = {'G', 'P', 'U', '-', *words, '\0'};

    if (*words == 'i')
        see(reach, words + 1);
    else if (*words == 'u')
        reach_unavailable(reach);
    else if (*words == 'h')
        reach_reset(reach);
    else
        reach_probe(reach, uuid, outcome_of(words[1]));
}

static void it_is_lost_when_nothing_is_reached(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct reach reach = {.n_gpus = 0};

        for (const char *at = rows[i].steps; *at; at += strspn(at, " ")) {
            step(&reach, at);
            at += strcspn(at, " ");
        }
        if (reach_is_lost(&reach) != rows[i].is_lost)
            fail_msg("row %zu: %s", i, rows[i].steps);
        reach_deinit(&reach);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_lost_when_nothing_is_reached),
    };

    return cmocka_run_group_tests_name("node/reach", tests, NULL, NULL);
}
