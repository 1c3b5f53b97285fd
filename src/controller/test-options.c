// SPDX-License-Identifier: Apache-2.0
#include "controller/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"

static int parse(const char *const words[], struct options *options, struct error *err)
{
    char *argv[16] = {(char *)(uintptr_t) "gpuslice-controller"};
    int argc = 1;

    for (; *words; words++)
        argv[argc++] = (char *)(uintptr_t)*words;
    return options_parse(argc, argv, options, err);
}

static void nothing_given_evicts_nothing(void **state)
{
    static const char *const none[] = {NULL};
    struct options options;

    (void)state;
    unsetenv("NAMESPACE");
    unsetenv("POD_NAME");
    unsetenv("KUBECONFIG");
    assert_int_equal(parse(none, &options, NULL), 0);
    assert_int_equal(options.drain_for_mig, DRAIN_DENIED);
    assert_int_equal(options.profiles, PROFILES_OFF);
    assert_string_equal(options.lease, OPTIONS_LEASE);
    assert_int_equal(options.lease_s, 15);
    assert_int_equal(options.node_limit_s, 300);
    assert_int_equal(options.replace_at_most, 1);
    assert_null(options.identity);
    assert_null(options.namespace_);
    assert_null(options.channel_dir);
}

static void flags_outrank_the_environment(void **state)
{
    static const char *const some[] = {"--drain-for-mig=forced",
                                       "--profiles=leave",
                                       "--namespace",
                                       "b",
                                       "--lease-duration=30",
                                       "--channel-dir=/c",
                                       "--lease=l",
                                       "--log-level=debug",
                                       NULL};
    struct options options;

    (void)state;
    setenv("NAMESPACE", "a", 1);
    setenv("POD_NAME", "controller-1", 1);
    setenv("KUBECONFIG", "", 1);
    assert_int_equal(parse(some, &options, NULL), 0);
    assert_int_equal(options.drain_for_mig, DRAIN_FORCED);
    assert_int_equal(options.profiles, PROFILES_LEFT);
    assert_string_equal(options.namespace_, "b");
    assert_string_equal(options.identity, "controller-1");
    assert_string_equal(options.channel_dir, "/c");
    assert_string_equal(options.lease, "l");
    assert_string_equal(options.log_level, "debug");
    assert_int_equal(options.lease_s, 30);
    assert_null(options.kubeconfig);
}

static void mistakes_say_what_to_write(void **state)
{
    static const struct {
        const char *words[3], *remedy;
    } rows[] = {
        {{"--drain-for-mig=true"}, "denied, allowed or forced"},
        {{"--drain-for-mig"}, "--drain-for-mig"},
        {{"--profiles=on"}, "off, keep or leave"},
        {{"--lease-duration=1"}, "from 3 to 3600"},
        {{"--lease-duration=15s"}, "from 3 to 3600"},
        {{"--node-limit=0"}, "from 1 to 86400"},
        {{"--replace-at-most=all"}, "from 1 to 100"},
        {{"--log-level=loud"}, "debug, info"},
        {{"--log-format=xml"}, "logfmt or json"},
        {{"--nonsense"}, "--nonsense"},
        {{"word"}, "word"},
        {{"--help", "word"}, "word"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct error err = ERROR_INIT;
        struct options options;

        assert_true(parse(rows[i].words, &options, &err) < 0);
        if (!strstr(error_text(&err), rows[i].remedy))
            fail_msg("%s: %s", rows[i].words[0], error_text(&err));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_given_evicts_nothing),
        cmocka_unit_test(flags_outrank_the_environment),
        cmocka_unit_test(mistakes_say_what_to_write),
    };

    return cmocka_run_group_tests_name("controller/options", tests, NULL, NULL);
}
