// SPDX-License-Identifier: Apache-2.0
#include "slice/test-board.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"

#define COMPUTE(index_, slices_, count, sm)                                           \
    {                                                                                 \
        .index = (index_), .id = (index_), .slices = (slices_), .max_count = (count), \
        .multiprocessors = (sm)                                                       \
    }

static const struct mig_board a100 = {
    .n_slots = 8,
    .n_profiles = 7,
    .profiles =
        {
            {"1g.5gb",
             0,
             19,
             7,
             4864ULL << 20,
             {14, 1, 1, 1, 0, 0, 0, 0},
             1,
             0x7f,
             1,
             {COMPUTE(0, 1, 1, 14)}},
            {"2g.10gb",
             1,
             14,
             3,
             9856ULL << 20,
             {28, 2, 2, 2, 1, 0, 0, 0},
             2,
             0x15,
             2,
             {COMPUTE(0, 1, 2, 14), COMPUTE(1, 2, 1, 28)}},
            {"3g.20gb",
             2,
             9,
             2,
             19968ULL << 20,
             {42, 3, 3, 3, 2, 0, 0, 0},
             4,
             0x11,
             3,
             {COMPUTE(0, 1, 3, 14), COMPUTE(1, 2, 1, 28), COMPUTE(2, 3, 1, 42)}},
            {"4g.20gb",
             3,
             5,
             1,
             19968ULL << 20,
             {56, 4, 4, 4, 2, 0, 0, 0},
             4,
             0x01,
             3,
             {COMPUTE(0, 1, 4, 14), COMPUTE(1, 2, 2, 28), COMPUTE(3, 4, 1, 56)}},
            {"7g.40gb",
             4,
             0,
             1,
             40192ULL << 20,
             {98, 7, 7, 7, 5, 0, 1, 1},
             8,
             0x01,
             5,
             {COMPUTE(0, 1, 7, 14), COMPUTE(1, 2, 3, 28), COMPUTE(2, 3, 2, 42),
              COMPUTE(3, 4, 1, 56), COMPUTE(4, 7, 1, 98)}},
            {"1g.5gb+me",
             7,
             20,
             1,
             4864ULL << 20,
             {14, 1, 1, 1, 1, 0, 1, 1},
             1,
             0x7f,
             1,
             {COMPUTE(0, 1, 1, 14)}},
            {"1g.10gb",
             9,
             15,
             4,
             9856ULL << 20,
             {14, 1, 1, 1, 1, 0, 0, 0},
             2,
             0x55,
             1,
             {COMPUTE(0, 1, 1, 14)}},
        },
};

static const struct mig_board a30 = {
    .n_slots = 4,
    .n_profiles = 5,
    .profiles =
        {
            {"1g.6gb",
             0,
             14,
             4,
             5952ULL << 20,
             {14, 1, 1, 1, 0, 0, 0, 0},
             1,
             0x0f,
             1,
             {COMPUTE(0, 1, 1, 14)}},
            {"2g.12gb",
             1,
             5,
             2,
             11968ULL << 20,
             {28, 2, 2, 2, 2, 0, 0, 0},
             2,
             0x05,
             2,
             {COMPUTE(0, 1, 2, 14), COMPUTE(1, 2, 1, 28)}},
            {"4g.24gb",
             3,
             0,
             1,
             24000ULL << 20,
             {56, 4, 4, 4, 4, 0, 1, 1},
             4,
             0x01,
             3,
             {COMPUTE(0, 1, 4, 14), COMPUTE(1, 2, 2, 28), COMPUTE(3, 4, 1, 56)}},
            {"1g.6gb+me",
             7,
             21,
             1,
             5952ULL << 20,
             {14, 1, 1, 1, 1, 0, 1, 1},
             1,
             0x0f,
             1,
             {COMPUTE(0, 1, 1, 14)}},
            {"2g.12gb+me",
             8,
             6,
             1,
             11968ULL << 20,
             {28, 2, 2, 2, 2, 0, 1, 1},
             2,
             0x05,
             2,
             {COMPUTE(0, 1, 2, 14), COMPUTE(1, 2, 1, 28)}},
        },
};

const struct mig_board *board_a100(void)
{
    return &a100;
}

const struct mig_board *board_a30(void)
{
    return &a30;
}

static struct mig_kind find(const struct mig_board *board, const char *text)
{
    struct mig_name name;
    struct mig_kind kind;

    assert_int_equal(migname_parse(text, &name, NULL), 0);
    assert_int_equal(migkind_find(board, &name, &kind), 0);
    return kind;
}

static void add_compute(const struct mig_board *board, uint32_t slices, bool is_held,
                        struct board_layout *to)
{
    struct mig_instance *instance = &to->layout.instances[to->layout.n_instances - 1];
    const struct mig_profile *profile = &board->profiles[instance->profile];
    struct mig_compute *compute = &instance->computes[instance->n_computes];
    uint32_t i = 0;

    while (profile->computes[i].slices != slices)
        assert_true(++i < profile->n_computes);
    *compute = (struct mig_compute){.id = instance->n_computes, .profile = i, .slices = slices};
    if (instance->n_computes)
        compute->start = compute[-1].start + compute[-1].slices;
    instance->n_computes++;
    if (is_held)
        to->held[to->n_held++] = (struct device_instance){instance->id, compute->id};
}

/* One word, which is changed. */
static void add_instance(const struct mig_board *board, char *word, struct board_layout *to)
{
    struct mig_instance *instance = &to->layout.instances[to->layout.n_instances];
    bool is_held = strchr(word, '!') != NULL;
    char *start = strchr(word, '@'), *computes = strchr(word, '='), *part;

    assert_non_null(start);
    *start++ = '\0';
    *instance = (struct mig_instance){.id = to->layout.n_instances++,
                                      .profile = find(board, word).profile,
                                      .start = (uint32_t)strtoul(start, NULL, 10)};
    if (!computes) {
        add_compute(board, board->profiles[instance->profile].shape.gi_slices, is_held, to);
        return;
    }
    computes++;
    while ((part = strsep(&computes, "+")))
        if (*part)
            add_compute(board, (uint32_t)strtoul(part, NULL, 10), strchr(part, '!') != NULL, to);
}

struct board_layout board_layout(const struct mig_board *board, const char *text)
{
    struct board_layout layout = {.layout = {.enabled = true, .pending = true}};
    char copy[256], *rest = copy, *word;

    snprintf(copy, sizeof(copy), "%s", text);
    while ((word = strsep(&rest, " ")))
        if (*word)
            add_instance(board, word, &layout);
    return layout;
}

struct mig_want board_want(const struct mig_board *board, const char *text)
{
    struct mig_want want = {.enabled = true};
    char copy[256], *rest = copy, *word;

    snprintf(copy, sizeof(copy), "%s", text);
    while ((word = strsep(&rest, " ")))
        if (*word)
            assert_int_equal(migwant_add(&want, board, word, 1, NULL), 0);
    return want;
}
