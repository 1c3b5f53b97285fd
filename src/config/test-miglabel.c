// SPDX-License-Identifier: Apache-2.0
#include "config/miglabel.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"
#include "config/load.h"

static struct migconfig *parse(const char *labels)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    cleanup_text struct text file = TEXT_INIT;
    struct migconfig *config = NULL;

    text_addf(&file, "version: v1\n%s", labels);
    assert_int_equal(config_parse_mig(text_string(&file), file.length,
                                      &(struct config_request){.source = "x.yaml"}, &problems,
                                      &config, NULL),
                     0);
    return config;
}

#define OFF "[{devices: all, mig-enabled: false}]"

static void test_a_label_by_its_name(void **state)
{
    struct migconfig *config = parse("mig-configs: {a: " OFF ", all-1g.5gb: " OFF "}\n");
    const struct migconfig_label *label = NULL;
    struct error err = ERROR_INIT;

    assert_int_equal(miglabel_select(config, "all-1g.5gb", &label, &err), 0);
    assert_ptr_equal(label, &config->labels[1]);
    assert_int_equal(miglabel_select(config, "all-1g.5g", &label, &err), -ENOENT);
    assert_string_equal(error_text(&err), "the file has no label 'all-1g.5g'; did you mean "
                                          "'all-1g.5gb'? It has: a, all-1g.5gb");
    assert_int_equal(miglabel_select(config, NULL, &label, &err), -ENOENT);
    assert_string_equal(error_text(&err), "the file has several labels; choose one: a, all-1g.5gb");
    migconfig_free(config);
}

static void test_the_only_label_needs_no_name(void **state)
{
    struct migconfig *config = parse("mig-configs: {a: " OFF "}\n"), *none = parse("");
    const struct migconfig_label *label = NULL;

    assert_int_equal(miglabel_select(config, "", &label, NULL), 0);
    assert_string_equal(label->name, "a");
    assert_int_equal(miglabel_select(config, "b", &label, NULL), -ENOENT);
    assert_int_equal(miglabel_select(none, "", &label, NULL), -ENOENT);
    migconfig_free(config);
    migconfig_free(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_label_by_its_name),
        cmocka_unit_test(test_the_only_label_needs_no_name),
    };

    return cmocka_run_group_tests_name("config/miglabel", tests, NULL, NULL);
}
