// SPDX-License-Identifier: Apache-2.0
#include "base/yamlerror.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/yaml.h"

#define TABS "2:1: YAML does not allow tabs for indentation; use spaces instead"
#define TAG  "not valid YAML: '!' begins a tag, and this is none; put the value in quotes"
#define ANCHOR \
    "not valid YAML: '&' begins an anchor and '*' an alias; put a value that begins so in quotes"
#define DIRECTIVE                                                                                  \
    "not valid YAML: a line that begins with '%' is a directive, and this is none; remove it, or " \
    "use quotes"

/* What people write by mistake, and where a sentence points. */
static const struct {
    const char *text, *problem;
} table[] = {
    {"a: b\n c: d\n", "2:3: not valid YAML: a ':' cannot stand here"},
    {"a: b: c\n", "1:5: not valid YAML: a ':' cannot stand here"},
    {"a: ? b\n", "1:4: not valid YAML: a key ('? ') cannot stand here"},
    {"a: - b\n", "1:4: not valid YAML: a list item ('- ') cannot stand here"},
    {"a: 1\nb\nc: 2\n", "3:1: not valid YAML: a key without ':'"},
    {"  a: 1\n b: 2\n", "2:2: not valid YAML: this does not belong to the value above it"},
    {"x:\n  a: 1\n b: 2\n",
     "3:2: not valid YAML: this line does not fit the map above it; align the "
     "keys of one map, and close quotes and brackets; the map began at line 1"},
    {"a: 'b' c\n", "1:8: not valid YAML: this line does not fit the map above it"},
    {"- a\nb: 1\n", "2:1: not valid YAML: this line does not fit the list above it; begin an item "
                    "with '- ', below the other items; the list began at line 1"},
    {"a: [1\nb: 2\n",
     "2:2: not valid YAML: write ',' or ']' here, or earlier: a list in brackets is "
     "open; the list began at line 1"},
    {"a: {b: 1\n",
     "2:1: not valid YAML: write ',' or '}' here, or earlier: a map in braces is open; "
     "the map began at line 1"},
    {"a: [\n", "2:1: not valid YAML: a value is missing before this"},
    {"a: ,\n", "1:4: not valid YAML: a value is missing before this"},
    {"a\n: b\n", "2:1: not valid YAML: this does not belong to the value above it"},
    {"'a\n",
     "2:1: not valid YAML: a quoted text is not closed; write its last quote; the text began "
     "at line 1"},
    {"a: 'b\n---\n", "2:1: not valid YAML: '---' or '...' inside a quoted text"},
    {"a: \"\\d\"\n", "1:5: not valid YAML: an unknown escape; write '\\\\' for a backslash"},
    {"a: \"\\xq\"\n", "1:7: not valid YAML: \\x takes 2 hexadecimal digits"},
    {"a: \"\\ud800\"\n", "1:7: not valid YAML: this escape is not a character"},
    {"a: @b\n", "1:4: not valid YAML: a value cannot begin with this character"},
    {"a: `b`\n", "1:4: not valid YAML: a value cannot begin with this character"},
    {"a:\n\tb: 1\n", TABS},
    {"a: |\n\tb\n", TABS},
    {"a: |0\n b\n", "1:5: not valid YAML: the digit after '|' or '>' is the indentation"},
    {"a: | b\n", "1:6: not valid YAML: text behind '|' or '>'"},
    {"a: *\n", ANCHOR},
    {"a: &\n", ANCHOR},
    {"a: !x!y 1\n", TAG},
    {"a: !<x 1\n", TAG},
    {"a: !<> 1\n", TAG},
    {"a: !x%zz 1\n", TAG},
    {"a: !x%80 1\n", TAG},
    {"a: !x%e0%20%20 1\n", TAG},
    {"a: !x{ 1\n", TAG},
    {"%FOO 1\n---\na\n", DIRECTIVE},
    {"% 1\n", DIRECTIVE},
    {"%YAML\n", DIRECTIVE},
    {"%YAML 1\n", DIRECTIVE},
    {"%YAML 1.1 x\n---\n", DIRECTIVE},
    {"%YAML 1234567890.1\n", DIRECTIVE},
    {"%Y#\n", DIRECTIVE},
    {"%TAG x\n", DIRECTIVE},
    {"%TAG !x!tag\n", DIRECTIVE},
    {"%TAG ! a{\n", DIRECTIVE},
    {"%YAML 2.0\n---\n", "1:1: not valid YAML: only YAML 1.1 and 1.2 are supported"},
    {"%YAML 1.1\n%YAML 1.1\n---\n", "2:1: not valid YAML: a second %YAML"},
    {"%TAG ! x\n%TAG ! y\n---\n", "2:1: not valid YAML: a second %TAG"},
    {"a: \x01\n", "1:4: a control character; remove it"},
    {"a: \xff\n", "1:4: not UTF-8 text: a byte that begins no character; save the file as UTF-8"},
    {"a: \xc3(\n", "not UTF-8 text: an incomplete character"},
    {"a: \xe2\x82", "not UTF-8 text: an incomplete character"},
    {"a: \xc0\x80\n", "not UTF-8 text: an overlong character"},
    {"a: \xed\xa0\x80\n", "not UTF-8 text: a number that is no character"},
    {"\xff\xfe"
     "a",
     "it looks like UTF-16"},
};

static void test_every_fault_is_a_sentence_of_ours(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        cleanup_problems struct problems problems = PROBLEMS_INIT;
        struct yaml *documents;
        size_t n_documents;
        char line[512];
        int r = yaml_parse(table[i].text, strlen(table[i].text), (struct position){0, 0}, &problems,
                           &documents, &n_documents);

        assert_int_equal(r, -EBADMSG);
        snprintf(line, sizeof(line), "%u:%u: %s", problems.items[0].at.line,
                 problems.items[0].at.column, problems.items[0].text);
        if (!strstr(line, table[i].problem))
            fail_msg("%s: %s, not %s", table[i].text, line, table[i].problem);
    }
}

static void test_an_unknown_fault_is_said_in_the_librarys_words(void **state)
{
    char line[128];

    assert_false(yamlerror_format("found a bug", "while parsing", 3, line, sizeof(line)));
    assert_string_equal(line, "found a bug while parsing");
    assert_false(yamlerror_format("found a bug", NULL, 0, line, sizeof(line)));
    assert_string_equal(line, "found a bug");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_fault_is_a_sentence_of_ours),
        cmocka_unit_test(test_an_unknown_fault_is_said_in_the_librarys_words),
    };

    return cmocka_run_group_tests_name("base/yamlerror", tests, NULL, NULL);
}
