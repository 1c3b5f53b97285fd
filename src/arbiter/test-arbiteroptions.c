// SPDX-License-Identifier: Apache-2.0
#include "arbiter/arbiteroptions.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"

static int parse(const char *flag, struct arbiteroptions *ret_options, struct error *err)
{
    static char word[64]; /* the options point into it */
    char program[] = "gpuslice-arbiter";
    char *argv[] = {program, word, NULL};

    *err = (struct error)ERROR_INIT;
    assert_true(strlen(flag) < sizeof(word));
    strcpy(word, flag);
    return arbiteroptions_parse(*flag ? 2 : 1, argv, ret_options, err);
}

static void reports_unless_told_otherwise(void **state)
{
    struct arbiteroptions options;
    struct error err;

    (void)state;
    unsetenv("GPUSLICE_STATE_DIR");
    assert_int_equal(parse("", &options, &err), 0);
    assert_int_equal(options.policy.action, VIOLATION_REPORT);
    assert_int_equal(options.policy.grace_ms, 30000);
    assert_string_equal(options.policy.spared, "kube-system");
    assert_string_equal(options.state_dir, "/run/gpuslice");
    assert_int_equal(parse("--on-violation=kill", &options, &err), 0);
    assert_int_equal(options.policy.action, VIOLATION_KILL);
    assert_int_equal(parse("--grace=0", &options, &err), 0);
    assert_int_equal(options.policy.grace_ms, 0);
    assert_int_equal(parse("--spare-namespaces=", &options, &err), 0);
    assert_int_equal(parse("--spare-namespaces=kube-system,team-2", &options, &err), 0);
    assert_string_equal(options.policy.spared, "kube-system,team-2");
}

static void limits_nothing_unless_told(void **state)
{
    static const struct {
        const char *flag;
        bool has_limits;
        enum limits_mode mode;
    } rows[] = {
        {"", false, LIMITS_NONE},
        {"--limits=none", true, LIMITS_NONE},
        {"--limits=observe", true, LIMITS_OBSERVE},
        {"--limits=enforced", true, LIMITS_ENFORCED},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct arbiteroptions options;
        struct error err;

        assert_int_equal(parse(rows[i].flag, &options, &err), 0);
        assert_int_equal(options.has_limits, rows[i].has_limits);
        assert_int_equal(options.limits, rows[i].mode);
    }
}

static void turns_are_given_if_told(void **state)
{
    char program[] = "gpuslice-arbiter", limits[] = "--limits=none", compute[] = "--compute=strict";
    char *argv[] = {program, limits, compute, NULL};
    struct arbiteroptions options;
    struct error err;

    (void)state;
    assert_int_equal(parse("--limits=enforced", &options, &err), 0);
    assert_int_equal(options.compute, LIMITS_COMPUTE_NONE);
    assert_int_equal(arbiteroptions_parse(3, argv, &options, &err), 0);
    assert_int_equal(options.compute, LIMITS_COMPUTE_STRICT);
    assert_int_equal(parse("--compute=none", &options, &err), 0);
}

static void limits_of_commands_are_roots_unless_told(void **state)
{
    struct arbiteroptions options;
    struct error err;

    (void)state;
    assert_int_equal(parse("--limits=enforced", &options, &err), 0);
    assert_false(options.has_run_group);
    assert_int_equal(parse("--run-group=44", &options, &err), 0);
    assert_true(options.has_run_group);
    assert_int_equal(options.run_group, 44);
}

static void says_what_to_write_instead(void **state)
{
    static const struct {
        const char *flag, *sentence;
    } rows[] = {
        {"--on-violation=starve", "--on-violation=starve: without --limits no pod has a library"},
        {"--on-violation=stop", "--on-violation=stop: write report, starve or kill"},
        {"--mode=enforce", "--mode=enforce: write audit, the only mode of this release"},
        {"--limits=strict", "--limits=strict: write enforced, observe or none"},
        {"--compute=fair", "--compute=fair: write elastic, strict, observe or none"},
        {"--compute=elastic", "--compute: without --limits no pod has a library that could wait"},
        {"--kernel-limits", "--kernel-limits: there are none without --limits: add --limits=enf"},
        {"--grace=soon", "--grace=soon: write a number of seconds from 0 to 86400"},
        {"--driver-deadline=0", "write a number of seconds from 1 to 86400"},
        {"--log-level=loud", "write debug, info, warning or error"},
        {"--log-format=xml", "write logfmt or json"},
        {"--spare-namespaces=a, b", "' b' is no namespace: write NAME,NAME"},
        {"--spare-namespaces=ml;ops", "'ml;ops' is no namespace: write NAME,NAME"},
        {"--spare-namespaces=a,,b", "'' is no namespace: write NAME,NAME"},
        {"--spare-namespaces=Ops", "'Ops' is no namespace: write NAME,NAME"},
        {"--run-group=video", "--run-group=video: write the number of a group"},
        {"--run-group=4294967295", "write the number of a group"},
        {"--quiet", "--quiet: unknown"},
        {"audit", "audit: no such argument"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct arbiteroptions options;
        struct error err;

        assert_int_equal(parse(rows[i].flag, &options, &err), -EINVAL);
        if (!strstr(error_text(&err), rows[i].sentence))
            fail_msg("%s: %s", rows[i].flag, error_text(&err));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reports_unless_told_otherwise),
        cmocka_unit_test(limits_nothing_unless_told),
        cmocka_unit_test(turns_are_given_if_told),
        cmocka_unit_test(limits_of_commands_are_roots_unless_told),
        cmocka_unit_test(says_what_to_write_instead),
    };

    return cmocka_run_group_tests_name("arbiter/options", tests, NULL, NULL);
}
