// SPDX-License-Identifier: Apache-2.0
#include "config/migconfig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"
#include "config/load.h"

/* NULL if it is refused; then `problems` says why. */
static struct migconfig *parse(const char *text, struct problems *problems)
{
    struct migconfig *config = NULL;
    struct error err = ERROR_INIT;

    config_parse_mig(text, strlen(text), &(struct config_request){.source = "x.yaml"}, problems,
                     &config, &err);
    return config;
}

static bool is_accepted(const char *text)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    struct migconfig *config = parse(text, &problems);
    bool accepted = config;

    migconfig_free(config);
    return accepted;
}

/* The cases of mig-parted's own tests of whole files (api/spec/v1/spec_test.go). */
static void test_files_as_mig_parted_judges_them(void **state)
{
#define DISABLED "\"all-disabled\": [{\"devices\": \"all\", \"mig-enabled\": false}]"
    static const struct {
        const char *text;
        bool accepted;
    } cases[] = {
        {"", true},
        {"{\"version\": \"v1\", \"mig-configs\": {" DISABLED "}}", true},
        {"{\"version\": \"v1\"}", true},
        {"{\"version\": \"v2\", \"mig-configs\": {" DISABLED "}}", false},
        {"{\"version\": \"v2\"}", false},
        {"{\"mig-configs\": {" DISABLED "}}", false},
        {"{\"bogus\": \"field\", \"version\": \"v1\", \"mig-configs\": {" DISABLED "}}", false},
        {"{\"version\": \"v1\", \"mig-configs\": {}}", false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        if (is_accepted(cases[i].text) != cases[i].accepted)
            fail_msg("case %zu: %s", i, cases[i].text);
}

/* Its tests of entries: what stands between the braces of one. */
static void test_entries_as_mig_parted_judges_them(void **state)
{
    static const struct {
        const char *entry;
        bool accepted;
    } cases[] = {
        {"\"devices\": \"all\", \"mig-enabled\": true, \"mig-devices\": {\"1g.5gb\": 2}", true},
        {"\"device-filter\": \"MODEL\", \"devices\": \"all\", \"mig-enabled\": true, "
         "\"mig-devices\": {\"1g.5gb\": 2}",
         true},
        {"\"device-filter\": [\"MODEL1\", \"MODEL2\"], \"devices\": \"all\", \"mig-enabled\": "
         "true, \"mig-devices\": {\"1g.5gb\": 2}",
         true},
        {"\"mig-enabled\": true, \"mig-devices\": {\"1g.5gb\": 2}", false},
        {"\"devices\": \"all\", \"mig-devices\": {\"1g.5gb\": 2}", false},
        {"\"devices\": \"all\", \"mig-enabled\": false,", true},
        {"\"devices\": \"all\", \"mig-enabled\": true,", false},
        {"\"devices\": \"all\", \"mig-enabled\": true, \"mig-devices\": {\"bogus\": 2}", false},
        {"\"bogus\": \"field\", \"devices\": \"all\", \"mig-enabled\": false,", false},
        {"\"devices\": \"bogus\", \"mig-enabled\": false,", false},
        {"\"devices\": [0,1,2,3], \"mig-enabled\": false,", true},
        {"\"devices\": {}, \"mig-enabled\": false,", false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        cleanup_text struct text file = TEXT_INIT;

        text_addf(&file, "{\"version\": \"v1\", \"mig-configs\": {\"x\": [{%s}]}}", cases[i].entry);
        if (is_accepted(text_string(&file)) != cases[i].accepted)
            fail_msg("case %zu: %s", i, cases[i].entry);
    }
}

/* Its tests of profiles (pkg/types/types_test.go); slices are compared with the GPU's later. */
static void test_profiles_as_mig_parted_judges_them(void **state)
{
    static const char *const accepted[] = {
        "1g.5gb", "1c.1g.5gb", "1g.5gb+me", "1c.1g.5gb+me", "0g.0gb", "0c.0g.0gb", "7g.40gb",
    };
    static const char *const refused[] = {
        "",
        " 1c.1g.5gb",
        "1 c.1g.5gb",
        "1c .1g.5gb",
        "1c. 1g.5gb",
        "1c.1 g.5gb",
        "1c.1g .5gb",
        "1c.1g. 5gb",
        "1c.1g.5 gb",
        "1c.1g.5g b",
        "1c.1g.5gb ",
        "1c . 1g . 5gb",
        "1c.f1g.5gb",
        "1r.1g.5gb",
        "1g.5gbk",
        "1g.5",
        "g.5gb",
        "1g.gb",
        "1g.5gb+me,me",
        "1g.5gb+",
        "1g.5gb +",
        "1g.5gb+ ",
        "1g.5gb+ ,",
        "1g.5gb+,",
        "1g.5gb+,,",
        "1g.5gb+me,",
        "1g.5gb+me,,",
        "1g.5gb+me, ",
        "1g.5gb+2me",
        "1g.5gb*me",
        "1c.1g.5gb*me",
        "1g.5gb*me,you,them",
        "1c.1g.5gb*me,you,them",
        "bogus",
        "10000000000g.5gb",
        "1g.5gb+abcdefghijklmnopqrstuvwxyz",
    };

    for (size_t i = 0; i < ARRAY_SIZE(accepted) + ARRAY_SIZE(refused); i++) {
        bool is_good = i < ARRAY_SIZE(accepted);
        const char *profile = is_good ? accepted[i] : refused[i - ARRAY_SIZE(accepted)];
        cleanup_text struct text file = TEXT_INIT;

        text_addf(&file,
                  "version: v1\nmig-configs: {x: [{devices: all, mig-enabled: true, mig-devices: "
                  "{\"%s\": 1}}]}\n",
                  profile);
        if (is_accepted(text_string(&file)) != is_good)
            fail_msg("'%s'", profile);
    }
}

/* Labels, entries and counts as in the example that mig-parted ships (examples/config.yaml). */
static void test_every_value_of_a_file(void **state)
{
    static const char text[] = "version: v1\n"
                               "mig-configs:\n"
                               "  all-disabled:\n"
                               "    - devices: all\n"
                               "      mig-enabled: false\n"
                               "  all-enabled:\n"
                               "    - devices: all\n"
                               "      mig-enabled: true\n"
                               "      mig-devices: {}\n"
                               "  custom-config:\n"
                               "    - devices: [0,1,2,3]\n"
                               "      mig-enabled: false\n"
                               "    - devices: [7]\n"
                               "      device-filter: [\"0x20B010DE\", \"0x20B210DE:0x146310DE\"]\n"
                               "      mig-enabled: true\n"
                               "      mig-devices:\n"
                               "        \"1g.5gb\": 2\n"
                               "        \"2g.10gb\": 1\n"
                               "        \"3g.20gb\": 1\n";
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    struct migconfig *config = parse(text, &problems);
    const struct migconfig_label *custom;
    const struct migconfig_entry *off, *on;

    assert_non_null(config);
    assert_int_equal(problems.n_items, 0);
    assert_int_equal(config->n_labels, 3);
    assert_string_equal(config->labels[0].name, "all-disabled");
    assert_true(config->labels[0].entries[0].is_for_all);
    assert_false(config->labels[0].entries[0].enabled);
    assert_true(config->labels[1].entries[0].enabled);
    assert_int_equal(config->labels[1].entries[0].n_counts, 0);
    custom = &config->labels[2];
    assert_int_equal(custom->at.line, 10);
    assert_int_equal(custom->n_entries, 2);
    off = &custom->entries[0];
    on = &custom->entries[1];
    assert_false(off->is_for_all);
    assert_int_equal(off->n_gpus, 4);
    assert_int_equal(off->gpus[3], 3);
    assert_false(off->is_filtered);
    assert_int_equal(on->gpus[0], 7);
    assert_int_equal(on->at.line, 13);
    assert_int_equal(on->n_filters, 2);
    assert_int_equal(on->filters[0].device_id, 0x20b010de);
    assert_false(on->filters[0].has_subsystem);
    assert_int_equal(on->filters[1].subsystem_id, 0x146310de);
    assert_int_equal(on->n_counts, 3);
    assert_string_equal(on->counts[1].profile, "2g.10gb");
    assert_int_equal(on->counts[0].count, 2);
    migconfig_free(config);
}

/* `gpuslice check` goes on with what is left of a file with errors. */
static void test_what_is_refused_is_left_out(void **state)
{
    static const char text[] = "version: v1\n"
                               "mig-configs:\n"
                               "  bad: [{devices: all, mig-enabled: true}]\n"
                               "  good: [{devices: all, mig-enabled: false}, {devices: x}]\n";
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_config_list struct config_list list = CONFIG_LIST_INIT;
    const struct migconfig *mig;

    assert_int_equal(config_parse_every(text, strlen(text),
                                        &(struct config_request){.source = "x.yaml"}, &problems,
                                        &list, NULL),
                     0);
    assert_int_equal(list.n_items, 1);
    assert_null(list.items[0].config);
    mig = list.items[0].mig;
    assert_int_equal(mig->n_labels, 2);
    assert_int_equal(mig->labels[0].n_entries, 0);
    assert_int_equal(mig->labels[1].n_entries, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files_as_mig_parted_judges_them),
        cmocka_unit_test(test_entries_as_mig_parted_judges_them),
        cmocka_unit_test(test_profiles_as_mig_parted_judges_them),
        cmocka_unit_test(test_every_value_of_a_file),
        cmocka_unit_test(test_what_is_refused_is_left_out),
    };

    return cmocka_run_group_tests_name("config/migconfig", tests, NULL, NULL);
}
