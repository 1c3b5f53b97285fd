// SPDX-License-Identifier: Apache-2.0
#include "slice/namedemand.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"

static void resources_and_their_numbers(void **state)
{
    struct namedemand demand;

    (void)state;
    assert_int_equal(
        namedemand_parse("nvidia.com/gpu=2,nvidia.com/mig-1g.5gb.me=30", &demand, NULL), 0);
    assert_int_equal(namedemand_count(&demand, "nvidia.com/gpu"), 2);
    assert_int_equal(namedemand_count(&demand, "nvidia.com/mig-1g.5gb.me"), 30);
    assert_int_equal(namedemand_count(&demand, "nvidia.com/mig-1g.5gb"), 0);
    assert_int_equal(namedemand_parse("", &demand, NULL), 0);
    assert_int_equal(demand.n_items, 0);
    assert_int_equal(namedemand_parse("gpu=99999999999999999999", &demand, NULL), 0);
    assert_int_equal(namedemand_count(&demand, "nvidia.com/gpu"), NAMEDEMAND_COUNT_MAX);
}

static void what_is_wrong_is_said(void **state)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"nvidia.com/gpu", "is not a resource with a number"},
        {"nvidia.com/gpu=", "has no number behind the '='"},
        {"nvidia.com/gpu=-1", "has no number"},
        {"nvidia.com/gpu=1,", "'' is not a resource"},
        {"nvidia.com/gpu=1,gpu=2", "'gpu=2' names the resource again"},
        {"amd.com/gpu=1", "has a domain of its own"},
        {"=1", "the resource name is empty"},
        {"nvidia.com/\ngpu=1", "lower case letters"},
        {"a=1,b=1,c=1,d=1,e=1,f=1,g=1,h=1,i=1,j=1,k=1,l=1,m=1,n=1,o=1,p=1,q=1",
         "'q=1' is one resource too many"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct error err = ERROR_INIT;
        struct namedemand demand;

        if (namedemand_parse(rows[i].text, &demand, &err) >= 0 ||
            !strstr(error_text(&err), rows[i].says) || strchr(error_text(&err), '\n') ||
            !strstr(error_text(&err), "; write for example 'nvidia.com/gpu=2,"))
            fail_msg("row %zu: '%s'", i, error_text(&err));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resources_and_their_numbers),
        cmocka_unit_test(what_is_wrong_is_said),
    };

    return cmocka_run_group_tests_name("slice/namedemand", tests, NULL, NULL);
}
