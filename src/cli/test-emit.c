// SPDX-License-Identifier: Apache-2.0
#include "cli/emit.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/yaml.h"

static void test_shape(void **state)
{
    cleanup(json_decrefp) json_t *tree = json_pack(
        "{s:{s:i}, s:{}, s:[{s:i, s:n, s:[{s:s},{s:s}]}, {s:[]}], s:[[i,i],s], s:b, s:f}",
        "resources", "nvidia.com/gpu", 16, "labels", "gpus", "index", 0, "left_out", "slices", "id",
        "a::0", "id", "a::1", "slices", "nested", 1, 2, "x y", "on", 1, "real", 0.5);
    cleanup_text struct text text = TEXT_INIT;

    emit_yaml(&text, tree);
    assert_string_equal(text_string(&text), "resources:\n"
                                            "  nvidia.com/gpu: 16\n"
                                            "labels: {}\n"
                                            "gpus:\n"
                                            "- index: 0\n"
                                            "  left_out: null\n"
                                            "  slices:\n"
                                            "  - id: a::0\n"
                                            "  - id: a::1\n"
                                            "- slices: []\n"
                                            "nested:\n"
                                            "-\n"
                                            "  - 1\n"
                                            "  - 2\n"
                                            "- x y\n"
                                            "\"on\": true\n"
                                            "real: 0.5\n");
}

/* Whatever the text, a reader gets the same text back, and as a string. */
static void test_texts_survive(void **state)
{
    static const char *const texts[] = {"",
                                        "true",
                                        "No",
                                        "null",
                                        "~",
                                        "12",
                                        "1.5",
                                        "0x1f",
                                        "a: b",
                                        "a #b",
                                        "- a",
                                        " lead",
                                        "trail ",
                                        "two  spaces",
                                        "a:",
                                        "{}",
                                        "it's",
                                        "\"q\"",
                                        "back\\sl",
                                        "tab\there",
                                        "line\nfeed",
                                        "\x7f",
                                        "\xc2\x85",
                                        "gr\xc3\xbc\xc3\x9f",
                                        "GPU-5a1c::0",
                                        "Tesla V100-SXM2-16GB",
                                        "*x",
                                        "&x",
                                        "!x",
                                        "%x",
                                        "@x",
                                        "`x",
                                        "|",
                                        ">",
                                        "y"};

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        cleanup(json_decrefp) json_t *tree = json_pack("{s:[s]}", texts[i], texts[i]);
        cleanup_problems struct problems problems = PROBLEMS_INIT;
        cleanup_text struct text text = TEXT_INIT;
        struct yaml *documents;
        const struct yaml *list;
        size_t n_documents;
        int64_t number;
        bool yes;

        emit_yaml(&text, tree);
        assert_int_equal(yaml_parse(text_string(&text), text.length, (struct position){0, 0},
                                    &problems, &documents, &n_documents),
                         0);
        list = yaml_get(&documents[0], texts[i]);
        assert_non_null(list);
        assert_int_equal(list->n_children, 1);
        assert_int_equal(list->children[0].kind, YAML_SCALAR);
        assert_string_equal(list->children[0].text, texts[i]);
        assert_false(yaml_as_int(&list->children[0], &number));
        assert_false(yaml_as_bool(&list->children[0], &yes));
        yaml_free(documents, n_documents);
    }
}

static void test_scalars_alone(void **state)
{
    static const struct {
        const char *json, *yaml;
    } table[] = {{"{}", "{}\n"},   {"[]", "[]\n"},     {"null", "null\n"}, {"-7", "-7\n"},
                 {"\"x\"", "x\n"}, {"[[]]", "- []\n"}, {"[{}]", "- {}\n"}};

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        cleanup(json_decrefp) json_t *tree = json_loads(table[i].json, JSON_DECODE_ANY, NULL);
        cleanup_text struct text text = TEXT_INIT;

        emit_yaml(&text, tree);
        assert_string_equal(text_string(&text), table[i].yaml);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shape),
        cmocka_unit_test(test_texts_survive),
        cmocka_unit_test(test_scalars_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
