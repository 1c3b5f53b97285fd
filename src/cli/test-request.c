// SPDX-License-Identifier: Apache-2.0
#include "cli/request.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"
#include "cli/verb.h"

enum { MAX_WORDS = 8 };

static int parse(const char *verb, const char *const *words, struct request *ret_request,
                 struct error *err)
{
    int argc = 0;

    while (argc < MAX_WORDS && words[argc])
        argc++;
    return request_parse(verb_find(verb), argc, (char *const *)words, ret_request, err);
}

static void test_spellings_of_a_value(void **state)
{
    static const char *const table[][MAX_WORDS] = {
        {"--output", "json", "-m", "p3.8xlarge"},
        {"--output=json", "--machine=p3.8xlarge"},
        {"-o", "json", "-m", "p3.8xlarge"},
        {"-ojson", "-mp3.8xlarge"},
        {"-lojson", "-lmp3.8xlarge"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        cleanup_request struct request request = REQUEST_INIT;

        assert_int_equal(parse("plan", table[i], &request, NULL), 0);
        assert_true(request_wants(&request, "json"));
        assert_false(request_wants(&request, "yaml"));
        assert_string_equal(request.machine, "p3.8xlarge");
    }
}

static void test_all_together(void **state)
{
    static const char *const words[MAX_WORDS] = {"any.yaml", "--key",        "any",
                                                 "-m",       "p4d.24xlarge", "-l"};
    cleanup_request struct request request = REQUEST_INIT;

    assert_int_equal(parse("plan", words, &request, NULL), 0);
    assert_string_equal(request.config, "any.yaml");
    assert_string_equal(request.key, "any");
    assert_string_equal(request.machine, "p4d.24xlarge");
    assert_true(request.labels);
    assert_false(request.node);
    assert_null(request.output);
}

static void test_switches_behind_one_dash(void **state)
{
    static const char *const words[MAX_WORDS] = {"-nl"};
    cleanup_request struct request request = REQUEST_INIT;

    assert_int_equal(parse("plan", words, &request, NULL), 0);
    assert_true(request.node);
    assert_true(request.labels);
}

static void test_dash_is_a_file_and_two_dashes_end_options(void **state)
{
    static const char *const words[MAX_WORDS] = {"-", "--", "--key"};
    cleanup_request struct request request = REQUEST_INIT;

    assert_int_equal(parse("check", words, &request, NULL), 0);
    assert_int_equal(request.n_operands, 2);
    assert_string_equal(request.operands[0], "-");
    assert_string_equal(request.operands[1], "--key");
}

static void test_many_operands_keep_their_order(void **state)
{
    static const char *const words[MAX_WORDS] = {"12", "--root", "/host", "7", "-ojson", "12"};
    cleanup_request struct request request = REQUEST_INIT;

    assert_int_equal(parse("who", words, &request, NULL), 0);
    assert_int_equal(request.n_operands, 3);
    assert_string_equal(request.operands[0], "12");
    assert_string_equal(request.operands[1], "7");
    assert_string_equal(request.operands[2], "12");
    assert_string_equal(request.root, "/host");
}

static void test_as_many_operands_as_a_shell_gives(void **state)
{
    static const char *words[20000];
    cleanup_request struct request request = REQUEST_INIT;

    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        words[i] = "9";
    assert_int_equal(
        request_parse(verb_find("check"), ARRAY_SIZE(words), (char *const *)words, &request, NULL),
        0);
    assert_int_equal(request.n_operands, ARRAY_SIZE(words));
}

static void test_help_outranks_what_is_missing(void **state)
{
    static const char *const words[MAX_WORDS] = {"--node", "--machine", "x", "-h"};
    cleanup_request struct request request = REQUEST_INIT;

    assert_int_equal(parse("plan", words, &request, NULL), 0);
    assert_true(request.help);
}

static void test_each_mistake_has_a_sentence(void **state)
{
    static const struct {
        const char *verb, *words[MAX_WORDS], *sentence;
    } table[] = {
        {"plan", {"--confg", "x"}, "'plan' has no option --confg; did you mean --config?"},
        {"plan", {"-config", "x"}, "'plan' has no option -config; did you mean --config?"},
        {"plan", {"-config=x"}, "'plan' has no option -config; did you mean --config?"},
        {"plan", {"-m=x"}, "after -m no '=': write -m x or --machine=x"},
        {"plan", {"-nq"}, "'plan' has no option -nq; 'gpuslice help plan' lists its options"},
        {"plan", {"-nm"}, "-nm needs a value; write --machine NAME|FILE"},
        {"plan",
         {"--qqqqqqqq=1"},
         "'plan' has no option --qqqqqqqq; 'gpuslice help plan' lists its options"},
        {"version",
         {"--node"},
         "'version' has no option --node; 'gpuslice help version' lists its options"},
        {"plan", {"-o"}, "-o needs a value; write --output table|json|yaml"},
        {"plan", {"-o", "xml"}, "--output cannot be 'xml'; use one of table|json|yaml"},
        {"plan", {"-o", "tab"}, "--output cannot be 'tab'; use one of table|json|yaml"},
        {"check", {"-o", "table"}, "--output cannot be 'table'; use one of text|json"},
        {"plan", {"--config="}, "--config has an empty value; write --config FILE"},
        {"plan", {"--node=yes"}, "--node takes no value; write --node alone"},
        {"plan",
         {"--node", "-m", "x"},
         "--node and --machine exclude each other; give only one of them"},
        {"plan", {"-k", "any"}, "--key selects a key of a file; give --config FILE as well"},
        {"plan", {"-c", "a", "-c", "b"}, "--config is given twice ('a' and 'b'); give it once"},
        {"plan", {"-c", "a", "b"}, "two files are given, 'a' and 'b'; give only one"},
        {"version", {"x"}, "'version' takes no argument; remove 'x'"},
        {"help", {"plan", "check"}, "'help' takes one argument; remove 'check'"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        struct error err = ERROR_INIT;
        struct request request = {.key = "untouched"};

        assert_int_equal(parse(table[i].verb, table[i].words, &request, &err), -EINVAL);
        assert_string_equal(error_text(&err), table[i].sentence);
        assert_string_equal(request.key, "untouched");
    }
}

static void test_misspelt_verbs_are_understood(void **state)
{
    assert_ptr_equal(verb_suggest("plna"), verb_find("plan"));
    assert_ptr_equal(verb_suggest("chek"), verb_find("check"));
    assert_null(verb_suggest("zzzzzzzz"));
    assert_null(verb_find("Plan"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spellings_of_a_value),
        cmocka_unit_test(test_all_together),
        cmocka_unit_test(test_switches_behind_one_dash),
        cmocka_unit_test(test_dash_is_a_file_and_two_dashes_end_options),
        cmocka_unit_test(test_many_operands_keep_their_order),
        cmocka_unit_test(test_as_many_operands_as_a_shell_gives),
        cmocka_unit_test(test_help_outranks_what_is_missing),
        cmocka_unit_test(test_each_mistake_has_a_sentence),
        cmocka_unit_test(test_misspelt_verbs_are_understood),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
