// SPDX-License-Identifier: Apache-2.0
#include "slice/migwant.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "slice/test-board.h"

static const struct mig_board no_mig = {.n_slots = 0};

static void assert_text(const struct mig_board *board, const struct mig_want *want,
                        const char *expected)
{
    cleanup_text struct text text = TEXT_INIT;
    struct mig_want again;

    migwant_add_text(board, want, &text);
    assert_string_equal(text_string(&text), expected);
    assert_int_equal(migwant_parse(board, text_string(&text), &again), 0);
    assert_int_equal(again.enabled, want->enabled);
    assert_int_equal(again.mode_only, want->mode_only);
    assert_true(!want->enabled || want->mode_only ||
                memcmp(again.counts, want->counts, sizeof(again.counts)) == 0);
}

static void test_what_a_person_names(void **state)
{
    struct mig_want want = {.enabled = true};
    struct error err = ERROR_INIT;

    assert_int_equal(migwant_add(&want, board_a100(), "1g.5gb", 2, &err), 0);
    assert_int_equal(migwant_add(&want, board_a100(), "1c.1g.5gb", 1, &err), 0);
    assert_int_equal(migwant_add(&want, board_a100(), "1c.3g.20gb", 1, &err), 0);
    assert_int_equal(migwant_add(&want, board_a100(), "3c.3g.20gb", 1, &err), 0);
    assert_int_equal(migwant_add(&want, board_a100(), "2g.10gb", 0, &err), 0);
    assert_int_equal(migwant_count(&want), 5);
    assert_text(board_a100(), &want, "3g.20gb, 1c.3g.20gb, 3 x 1g.5gb");
    assert_int_equal(migwant_add(&want, board_a100(), "1g5gb", 1, &err), -EINVAL);
    assert_int_equal(migwant_add(&want, board_a100(), "1g.5gb", 253, &err), -ERANGE);
    assert_int_equal(migwant_add(&want, board_a100(), "1g.5gb", UINT64_MAX, &err), -ERANGE);
    /* what the syntax allows and no GPU has */
    assert_int_equal(migwant_add(&want, board_a100(), "0g.0gb", 1, &err), -ENOENT);
    assert_int_equal(migwant_add(&want, board_a100(), "10000g.500000gb", 1, &err), -ENOENT);
    assert_int_equal(migwant_add(&want, board_a100(), "3c.4g.20gb", 1, &err), -ENOENT);
    assert_int_equal(migwant_add(&want, board_a100(), "1g.5gb+me,you,them", 1, &err), -ENOENT);
    assert_int_equal(migwant_add(&want, board_a100(), "1g.6gb", 1, &err), -ENOENT);
    assert_string_equal(err.message,
                        "has no MIG profile 1g.6gb; it has 1g.5gb (7), 2g.10gb (3), 3g.20gb (2), "
                        "4g.20gb (1), 7g.40gb (1), 1g.5gb+me (1), 1g.10gb (4)");
    assert_int_equal(migwant_add(&want, &no_mig, "1g.5gb", 1, &err), -ENOENT);
    assert_string_equal(err.message, MIGWANT_NO_MIG);
    assert_int_equal(migwant_count(&want), 5);
}

static void test_builtin_names(void **state)
{
    const struct {
        const struct mig_board *board;
        const char *name;
        int outcome;
        const char *text; /* or of the error */
    } table[] = {
        {board_a100(), "all-disabled", 0, "MIG disabled"},
        {board_a100(), "all-enabled", 0, "no MIG device"},
        {board_a100(), "all-balanced", 0, "3g.20gb, 2g.10gb, 2 x 1g.5gb"},
        {board_a100(), "all-1g.5gb", 0, "7 x 1g.5gb"},
        {board_a100(), "all-1g.5gb.me", 0, "1g.5gb+me"},
        {board_a30(), "all-balanced", 0, "2g.12gb, 2 x 1g.6gb"},
        {&no_mig, "all-disabled", 0, "MIG disabled"},
        {&no_mig, "all-enabled", -ENOENT, MIGWANT_NO_MIG},
        {&no_mig, "all-balanced", -ENOENT, MIGWANT_NO_MIG},
        {&no_mig, "all-1g.5gb", -ENOENT, MIGWANT_NO_MIG},
        {board_a30(), "all-1g.5gb", -ENOENT,
         "has no MIG layout all-1g.5gb; it has all-disabled, all-enabled, all-balanced, "
         "all-1g.6gb, "
         "all-2g.12gb, all-4g.24gb, all-1g.6gb.me, all-2g.12gb.me"},
        {board_a100(), "all-", MIGWANT_OTHER, NULL},
        {board_a100(), "all", MIGWANT_OTHER, NULL},
        {board_a100(), "", MIGWANT_OTHER, NULL},
        {board_a100(), "all-of-mine", MIGWANT_OTHER, NULL},
        {board_a100(), "1g.5gb", MIGWANT_OTHER, NULL},
        {board_a100(), "2 x 1g.5gb, 1 x 3g.20gb", 0, "3g.20gb, 2 x 1g.5gb"},
        {board_a100(), "1 x 1g.5gb+me", 0, "1g.5gb+me"},
        {board_a100(), "1 x 1g.5gb, 2 x 1g.5gb", 0, "3 x 1g.5gb"},
        {board_a100(), "1 x 1g.6gb", -ENOENT,
         "has no MIG profile 1g.6gb; it has 1g.5gb (7), 2g.10gb (3), 3g.20gb (2), 4g.20gb (1), "
         "7g.40gb (1), 1g.5gb+me (1), 1g.10gb (4)"},
        {board_a100(), "200 x 1g.5gb, 200 x 1g.5gb", -ERANGE,
         "has room for no 200 MIG devices of the profile 1g.5gb"},
        {&no_mig, "2 x 1g.5gb", -ENOENT, MIGWANT_NO_MIG},
        {board_a100(), "0 x 1g.5gb", MIGWANT_OTHER, NULL},
        {board_a100(), "256 x 1g.5gb", MIGWANT_OTHER, NULL},
        {board_a100(), "-1 x 1g.5gb", MIGWANT_OTHER, NULL},
        {board_a100(), "2 x 1g.5gb,", MIGWANT_OTHER, NULL},
        {board_a100(), "2 x 1g.5gb, ", MIGWANT_OTHER, NULL},
        {board_a100(), "2 x 1g.5gb,1 x 3g.20gb", MIGWANT_OTHER, NULL},
        {board_a100(), "2 x 1g.5gb, 3g.20gb", MIGWANT_OTHER, NULL},
        {board_a100(), "2 x of mine", MIGWANT_OTHER, NULL},
        {board_a100(), "2x1g.5gb", MIGWANT_OTHER, NULL},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct mig_want want;
        struct error err = ERROR_INIT;

        assert_int_equal(migwant_builtin(table[i].board, table[i].name, &want, &err),
                         table[i].outcome);
        if (table[i].outcome == 0)
            assert_text(table[i].board, &want, table[i].text);
        else if (table[i].outcome < 0)
            assert_string_equal(err.message, table[i].text);
    }
}

/* mig-parted's rule, and without its quirk: a count of 0 is as good as none. */
static void test_is_met(void **state)
{
    static const struct {
        const char *layout, *want;
        bool met;
    } table[] = {
        {"", "", true},
        {"1g.5gb@0 3g.20gb@4", "3g.20gb 1g.5gb", true},
        {"1g.5gb@6 3g.20gb@0", "3g.20gb 1g.5gb", true},
        {"1g.5gb@0 1g.5gb@1", "1g.5gb", false},
        {"1g.5gb@0", "1g.5gb 1g.5gb", false},
        {"1g.5gb+me@0", "1g.5gb", false},
        {"3g.20gb@0=1+2", "1c.3g.20gb 2c.3g.20gb", true},
        {"3g.20gb@0=1+2", "3g.20gb", false},
        {"1g.5gb@0 3g.20gb@4=", "1g.5gb", true},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct board_layout from = board_layout(board_a100(), table[i].layout);
        struct mig_want want = board_want(board_a100(), table[i].want);
        const struct mig_want on = {.enabled = true, .mode_only = true}, off = {.enabled = false};

        assert_int_equal(migwant_is_met(board_a100(), &want, &from.layout), table[i].met);
        assert_true(migwant_is_met(board_a100(), &on, &from.layout));
        assert_false(migwant_is_met(board_a100(), &off, &from.layout));
        from.layout.pending = false;
        assert_false(migwant_is_met(board_a100(), &want, &from.layout));
        assert_false(migwant_is_met(board_a100(), &off, &from.layout));
        from.layout.enabled = false;
        assert_false(migwant_is_met(board_a100(), &want, &from.layout));
        assert_true(migwant_is_met(board_a100(), &off, &from.layout));
    }
}

static void test_what_is_no_text_of_a_want(void **state)
{
    static const char *const texts[] = {
        "",
        "MIG",
        "2 x",
        "x 1g.5gb",
        "2 x 9g.99gb",
        "256 x 1g.5gb",
        "-1 x 1g.5gb",
        "1g.5gb,",
        "1g.5gb 1g.5gb",
        "no MIG device, 1g.5gb",
    };
    struct mig_want want;

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        assert_true(migwant_parse(board_a100(), texts[i], &want) < 0);
}

static void test_of_a_layout(void **state)
{
    struct board_layout from = board_layout(board_a100(), "1g.5gb@0 3g.20gb@4=1+2");
    struct mig_want want, one = board_want(board_a100(), "1g.5gb");

    migwant_of_layout(board_a100(), &from.layout, &want);
    assert_text(board_a100(), &want, "2c.3g.20gb, 1c.3g.20gb, 1g.5gb");
    from.layout.instances[1].profile = 99; /* unknown to the board: no device that can be wanted */
    migwant_of_layout(board_a100(), &from.layout, &want);
    assert_text(board_a100(), &want, "1g.5gb");
    assert_false(migwant_is_met(board_a100(), &one, &from.layout));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_a_person_names),
        cmocka_unit_test(test_builtin_names),
        cmocka_unit_test(test_is_met),
        cmocka_unit_test(test_of_a_layout),
        cmocka_unit_test(test_what_is_no_text_of_a_want),
    };

    return cmocka_run_group_tests_name("slice/migwant", tests, NULL, NULL);
}
