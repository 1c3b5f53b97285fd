// SPDX-License-Identifier: Apache-2.0
#include "base/trouble.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void a_lasting_trouble_is_said_once(void **state)
{
    struct trouble trouble = {.n_said = 0};

    (void)state;
    assert_true(trouble_is_news(&trouble, "no kubelet", 0));
    for (uint64_t now_ms = 50; now_ms < 3600000; now_ms += 5000)
        assert_false(trouble_is_news(&trouble, "no kubelet", now_ms));
}

static void another_reason_is_news(void **state)
{
    struct trouble trouble = {.n_said = 0};

    (void)state;
    assert_true(trouble_is_news(&trouble, "no kubelet", 1000));
    assert_true(trouble_is_news(&trouble, "refused", 2000));
    assert_true(trouble_is_news(&trouble, "no kubelet", 3000));
}

static void what_comes_back_is_news(void **state)
{
    struct trouble trouble = {.n_said = 0};

    (void)state;
    assert_true(trouble_is_news(&trouble, "no kubelet", 1000));
    trouble_forget(&trouble);
    assert_true(trouble_is_news(&trouble, "no kubelet", 2000));
    assert_false(trouble_is_news(&trouble, "no kubelet", 3000));
}

/* 20 refusals a second, each with another number in it, for five minutes. */
static void ever_new_words_do_not_fill_the_log(void **state)
{
    struct trouble trouble = {.n_said = 0};
    unsigned n_said = 0;
    char why[40];

    (void)state;
    for (unsigned i = 0; i < 6000; i++) {
        snprintf(why, sizeof(why), "refused, number %u", i);
        n_said += trouble_is_news(&trouble, why, i * 50);
        if (i == 100)
            assert_int_equal(n_said, TROUBLE_SAY_MAX);
    }
    assert_int_equal(n_said, 5 * TROUBLE_SAY_MAX);
}

static void a_reason_of_any_length_is_said_once(void **state)
{
    struct trouble trouble = {.n_said = 0};
    char why[2000];

    (void)state;
    memset(why, 'x', sizeof(why));
    for (size_t length = sizeof(why) - 1; length > TROUBLE_WHY_SIZE - 2; length /= 2) {
        why[length] = '\0';
        trouble_forget(&trouble);
        assert_true(trouble_is_news(&trouble, why, 60000 * length));
        assert_false(trouble_is_news(&trouble, why, 60000 * length + 1));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lasting_trouble_is_said_once),
        cmocka_unit_test(another_reason_is_news),
        cmocka_unit_test(what_comes_back_is_news),
        cmocka_unit_test(ever_new_words_do_not_fill_the_log),
        cmocka_unit_test(a_reason_of_any_length_is_said_once),
    };

    return cmocka_run_group_tests_name("base/trouble", tests, NULL, NULL);
}
