// SPDX-License-Identifier: Apache-2.0
#include "slice/name.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"

typedef int (*maker)(const char *, char[RESOURCE_NAME_SIZE], struct error *);

#define LONG_52 "a123456789b123456789c123456789d123456789e123456789ab"

static void test_good_names(void **state)
{
    static const struct {
        maker make;
        const char *word, *name;
    } table[] = {
        {name_parse, "gpu", "nvidia.com/gpu"},
        {name_parse, "nvidia.com/gpu", "nvidia.com/gpu"},
        {name_parse, "nvidia.com/a100.shared", "nvidia.com/a100.shared"},
        {name_parse, "4", "nvidia.com/4"},
        {name_parse, LONG_52, "nvidia.com/" LONG_52},
        {name_shared, "nvidia.com/gpu", "nvidia.com/gpu.shared"},
        {name_slice, "half", "nvidia.com/gpu-half"},
        {name_slice, "1-2", "nvidia.com/gpu-1-2"},
        {name_mig, "1g.5gb", "nvidia.com/mig-1g.5gb"},
        {name_mig, "1g.10gb+me", "nvidia.com/mig-1g.10gb.me"},
        {name_mig, "1g.12gb-me", "nvidia.com/mig-1g.12gb-me"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        char name[RESOURCE_NAME_SIZE];
        struct error err = ERROR_INIT;

        assert_int_equal(table[i].make(table[i].word, name, &err), 0);
        assert_string_equal(name, table[i].name);
    }
}

static void assert_proposal_is_accepted(maker make, const char *message)
{
    const char *proposal = strstr(message, "; write ");
    char word[128], name[RESOURCE_NAME_SIZE];

    if (!proposal)
        return;
    proposal += strlen("; write ");
    if (strncmp(proposal, "for example ", strlen("for example ")) == 0)
        proposal += strlen("for example ");
    proposal += *proposal == '\'';
    snprintf(word, sizeof(word), "%.*s", (int)strcspn(proposal, "'"), proposal);
    if (make(word, name, NULL) < 0)
        fail_msg("%s", message);
}

static void test_bad_names_say_why(void **state)
{
    static const struct {
        maker make;
        const char *word, *words;
    } table[] = {
        {name_parse, "", "is empty; write for example nvidia.com/gpu"},
        {name_parse, "nvidia.com/", "is empty"},
        {name_parse, "amd.com/gpu", "has a domain of its own; write nvidia.com/gpu"},
        {name_parse, "a/b/c", "has a domain of its own; write for example nvidia.com/gpu"},
        {name_parse, "example.com/My_GPU", "; write for example nvidia.com/gpu"},
        {name_parse, "a/", "; write for example nvidia.com/gpu"},
        {name_parse, "a/" LONG_52, "; write nvidia.com/" LONG_52},
        {name_parse, "a/" LONG_52 "x", "; write for example nvidia.com/gpu"},
        {name_parse, "/gpu", "starts with '/'; write nvidia.com/gpu"},
        {name_parse, "/", "starts with '/'; write for example nvidia.com/gpu"},
        {name_parse, "GPU", "lower case letters"},
        {name_parse, "g pu", "lower case letters"},
        {name_parse, "gpu_half", "lower case letters"},
        {name_parse, "nvidia.com/a/b", "lower case letters"},
        {name_parse, "-gpu", "start and end"},
        {name_parse, "gpu-", "start and end"},
        {name_parse, "gpu.", "start and end"},
        {name_parse, "a..b", "start and end"},
        {name_parse, "a-.b", "start and end"},
        {name_parse, "a.-b", "start and end"},
        {name_parse, LONG_52 "x", "longer than 63 characters"},
        {name_shared, "nvidia.com/" LONG_52, "longer than 63 characters"},
        {name_slice, "", "write for example 'half'"},
        {name_slice, "Half", "lower case letters"},
        {name_slice, ".", "start and end"},
        {name_mig, "", "no MIG profile"},
        {name_mig, "1g.5gb+", "start and end"},
        {name_mig, LONG_52 LONG_52, "no MIG profile"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        char name[RESOURCE_NAME_SIZE] = "untouched";
        struct error err = ERROR_INIT;

        assert_int_equal(table[i].make(table[i].word, name, &err), -EINVAL);
        assert_string_equal(name, "untouched");
        if (!strstr(err.message, table[i].words))
            fail_msg("'%s': %s", table[i].word, err.message);
        assert_proposal_is_accepted(table[i].make, err.message);
    }
}

static void test_names_of_models(void **state)
{
    struct resource_rule rules[] = {{.pattern = "Tesla T4", .name = "nvidia.com/t4"},
                                    {.pattern = "*A100*40GB*", .name = "nvidia.com/a100"},
                                    {.pattern = "*A100*", .name = "nvidia.com/a100-big"}};
    struct resource_rule slim = {.pattern = "1g.*", .name = "nvidia.com/slim"};
    struct policy policy = {
        .gpu_rules = rules, .n_gpu_rules = 3, .mig_rules = &slim, .n_mig_rules = 1};

    assert_string_equal(name_of_model(&policy, "Tesla T4"), "nvidia.com/t4");
    assert_string_equal(name_of_model(&policy, "Tesla T4G"), "nvidia.com/gpu");
    assert_string_equal(name_of_model(&policy, "NVIDIA A100-SXM4-40GB"), "nvidia.com/a100");
    assert_string_equal(name_of_model(&policy, "NVIDIA A100-SXM4-80GB"), "nvidia.com/a100-big");
    assert_ptr_equal(name_find_rule(&policy, "Tesla T4"), &rules[0]);
    assert_null(name_find_rule(&policy, ""));
    assert_true(name_is_mig(&policy, "nvidia.com/mig-1g.5gb"));
    assert_true(name_is_mig(&policy, "nvidia.com/slim"));
    assert_false(name_is_mig(&policy, "nvidia.com/gpu"));
}

static void test_names_of_profiles(void **state)
{
    static const struct {
        enum mig_strategy strategy;
        const char *profile, *name; /* NULL: none */
    } table[] = {
        {MIG_STRATEGY_MIXED, "2g.10gb", "nvidia.com/mig-2g.10gb"},
        {MIG_STRATEGY_MIXED, "1g.5gb", "nvidia.com/slim"},
        {MIG_STRATEGY_SINGLE, "2g.10gb", "nvidia.com/gpu"},
        {MIG_STRATEGY_SINGLE, "1g.5gb", "nvidia.com/slim"},
        {MIG_STRATEGY_MIXED, "", NULL},
        {MIG_STRATEGY_MIXED, "2g 5gb", NULL},
        {MIG_STRATEGY_SINGLE, "2g?", NULL},
        {MIG_STRATEGY_SINGLE, "1g.?", NULL}, /* though a rule matches */
    };
    struct resource_rule slim = {.pattern = "1g.*", .name = "nvidia.com/slim"};

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct policy policy = {
            .mig_strategy = table[i].strategy, .mig_rules = &slim, .n_mig_rules = 1};
        char name[RESOURCE_NAME_SIZE] = "untouched";
        int r = name_of_profile(&policy, table[i].profile, name, NULL);

        assert_int_equal(r, table[i].name ? 0 : -EINVAL);
        assert_string_equal(name, table[i].name ? table[i].name : "untouched");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_names),
        cmocka_unit_test(test_bad_names_say_why),
        cmocka_unit_test(test_names_of_models),
        cmocka_unit_test(test_names_of_profiles),
    };

    return cmocka_run_group_tests_name("slice/name", tests, NULL, NULL);
}
