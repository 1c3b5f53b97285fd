// SPDX-License-Identifier: Apache-2.0
#include "base/yaml.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"

struct parsed {
    struct yaml *documents;
    size_t n_documents;
    struct problems problems;
    int r;
};

static struct parsed parse_at(const char *text, size_t size, struct position origin)
{
    struct parsed p = {.problems = PROBLEMS_INIT};

    assert_int_equal(problems_set_source(&p.problems, "f.yaml"), 0);
    p.r = yaml_parse(text, size, origin, &p.problems, &p.documents, &p.n_documents);
    return p;
}

static struct parsed parse(const char *text)
{
    return parse_at(text, strlen(text), (struct position){0, 0});
}

static void release(struct parsed *p)
{
    yaml_free(p->documents, p->n_documents);
    problems_deinit(&p->problems);
}

static void assert_place(struct position at, unsigned line, unsigned column)
{
    assert_int_equal(at.line, line);
    assert_int_equal(at.column, column);
}

static void test_tree_and_places(void **state)
{
    struct parsed p = parse("version: v1\n"
                            "sharing:\n"
                            "  resources:\n"
                            "  - {name: nvidia.com/gpu, replicas: 4}\n"
                            "  - name: 'two'\n"
                            "none: ~\n");
    const struct yaml *list, *item;

    assert_int_equal(p.r, 0);
    assert_int_equal(p.n_documents, 1);
    assert_string_equal(yaml_get_text(&p.documents[0], "version"), "v1");
    list = yaml_get(yaml_get(&p.documents[0], "sharing"), "resources");
    assert_int_equal(list->kind, YAML_LIST);
    assert_int_equal(list->n_children, 2);
    item = yaml_get(&list->children[0], "replicas");
    assert_place(item->key_at, 4, 28);
    assert_place(item->at, 4, 38);
    assert_true(yaml_get(&list->children[1], "name")->quoted);
    assert_int_equal(yaml_get(&p.documents[0], "none")->kind, YAML_NULL);
    assert_null(yaml_get(&p.documents[0], "absent"));
    assert_null(yaml_get(NULL, "x"));
    release(&p);
}

static void test_columns_count_characters_and_bom_is_nothing(void **state)
{
    struct parsed p = parse("\xef\xbb\xbf\"gr\xc3\xb6\xc3\x9f"
                            "e\": 1\n");

    assert_int_equal(p.r, 0);
    assert_place(p.documents[0].children[0].key_at, 1, 1);
    assert_place(p.documents[0].children[0].at, 1, 10);
    release(&p);
}

static void test_empty_inputs(void **state)
{
    static const struct {
        const char *text;
        size_t n_documents;
    } table[] = {
        {"", 0}, {"# only a remark\n", 0}, {"---\n", 1}, {"---\n---\na: 1\n", 2}, {"{}", 1}};

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct parsed p = parse(table[i].text);

        assert_int_equal(p.r, 0);
        assert_int_equal(p.n_documents, table[i].n_documents);
        release(&p);
    }
}

static void test_json_is_read(void **state)
{
    struct parsed p = parse("{\"a\":[1,true,\"1\"],\n\t\"b\":\"x\\/\\u00e4\"}");
    const struct yaml *a;
    int64_t n;
    bool yes;

    assert_int_equal(p.r, 0);
    a = yaml_get(&p.documents[0], "a");
    assert_true(yaml_as_int(&a->children[0], &n));
    assert_int_equal(n, 1);
    assert_true(yaml_as_bool(&a->children[1], &yes));
    assert_true(yes);
    assert_false(yaml_as_int(&a->children[2], &n)); /* quoted: a string */
    assert_string_equal(yaml_get_text(&p.documents[0], "b"), "x/\xc3\xa4");
    release(&p);
}

static void test_numbers_and_booleans(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        int64_t value;
    } ints[] = {
        {"0", true, 0},
        {"-7", true, -7},
        {"+7", true, 7},
        {"0x1DB110DE", true, 0x1DB110DE},
        {"0o17", true, 15},
        {"017", false, 0},
        {"1e3", false, 0},
        {"9223372036854775807", true, INT64_MAX},
        {"9223372036854775808", false, 0},
        {"-9223372036854775808", true, INT64_MIN},
        {"ten", false, 0},
        {"0x", false, 0},
        {"'1'", false, 0},
        {"!!str 1", false, 0},
        {"1_000", false, 0},
        {"-", false, 0},
    };
    static const struct {
        const char *text;
        bool ok;
        double value;
    } doubles[] = {{"12.5", true, 12.5}, {"1e3", true, 1000}, {".5", true, 0.5},
                   {"-", false, 0},      {".inf", false, 0},  {"1e999", false, 0},
                   {"1.2.3", false, 0},  {"0x1p3", false, 0}};
    bool b;

    for (size_t i = 0; i < sizeof(ints) / sizeof(ints[0]); i++) {
        struct parsed p = parse(ints[i].text);
        int64_t value = 0;

        assert_int_equal(yaml_as_int(p.documents, &value), ints[i].ok);
        assert_int_equal(value, ints[i].value);
        release(&p);
    }
    for (size_t i = 0; i < sizeof(doubles) / sizeof(doubles[0]); i++) {
        struct parsed p = parse(doubles[i].text);
        double value = 0;

        assert_int_equal(yaml_as_double(p.documents, &value), doubles[i].ok);
        assert_true(value == doubles[i].value);
        release(&p);
    }
    struct parsed p = parse("yes");
    assert_false(yaml_as_bool(p.documents, &b)); /* YAML 1.1; the schema says what to write */
    release(&p);
}

static void test_aliases_and_merge_keys(void **state)
{
    struct parsed p = parse("base: &b {replicas: 4, devices: all}\n"
                            "more: &m {devices: 2, extra: 1}\n"
                            "one: *b\n"
                            "two: {<<: *b, replicas: 8}\n"
                            "three:\n  <<: [*b, *m]\n");
    const struct yaml *one, *two, *three;

    assert_int_equal(p.r, 0);
    one = yaml_get(&p.documents[0], "one");
    assert_place(one->key_at, 3, 1);
    assert_string_equal(yaml_get_text(one, "replicas"), "4");
    two = yaml_get(&p.documents[0], "two");
    assert_int_equal(two->n_children, 2);
    assert_string_equal(yaml_get_text(two, "replicas"), "8");
    assert_string_equal(yaml_get_text(two, "devices"), "all");
    three = yaml_get(&p.documents[0], "three");
    assert_string_equal(yaml_get_text(three, "devices"),
                        "all"); /* the earlier map of a list wins */
    assert_string_equal(yaml_get_text(three, "extra"), "1");
    release(&p);
}

static void test_document_inside_a_block(void **state)
{
    static const struct {
        const char *text;
        unsigned line, column; /* where to report the inner 'b' key */
    } table[] = {
        {"data:\n  k: |-\n    a: 1\n    b: 2\n", 4, 5},
        {"data:\n  k: |\n\n    a: 1\n    b: 2\n", 5, 5},
        {"data:\n  k: |4\n      a: 1\n      b: 2\n", 4, 7},
        {"data:\n  k: '{a: 1, b: 2}'\n", 2, 14},
        {"data:\n  k: \"a: 1\\nb: 2\"\n", 2, 1}, /* only its inner position is known */
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct parsed p = parse(table[i].text), inner;
        const struct yaml *k = yaml_get(yaml_get(&p.documents[0], "data"), "k");

        inner = parse_at(k->text, strlen(k->text), k->content_at);
        assert_int_equal(inner.r, 0);
        assert_place(yaml_get(&inner.documents[0], "b")->key_at, table[i].line, table[i].column);
        release(&inner);
        release(&p);
    }
}

static void assert_problem(const struct parsed *p, size_t i, const char *line)
{
    char buffer[512];

    assert_int_equal(p->r, -EBADMSG);
    assert_null(p->documents);
    assert_true(i < p->problems.n_items);
    problem_format(&p->problems, &p->problems.items[i], buffer, sizeof(buffer));
    assert_string_equal(buffer, line);
}

static void test_each_fault_has_place_and_sentence(void **state)
{
    static const struct {
        const char *text, *line;
    } table[] = {
        {"a: 1\nb: 2\na: 3\n", "f.yaml:3:1: duplicate key 'a' (first at line 1)"},
        {"a: *x\n", "f.yaml:1:4: the alias '*x' has no preceding anchor '&x'"},
        {"a: &x [*x]\n", "f.yaml:1:8: the alias '*x' is inside its own anchor"},
        {"a: !mine 1\n", "f.yaml:1:4: the tag '!mine' is not supported; remove it"},
        {"[a]: 1\n", "f.yaml:1:1: a key must be a plain word or a quoted text"},
        {"a: {{ .Values.b }}\n", "f.yaml:1:5: a key must be a plain word or a quoted text; '{{' is "
                                 "of a template, which has "
                                 "to be rendered first"},
        {"a:\n\tb: 1\n",
         "f.yaml:2:1: YAML does not allow tabs for indentation; use spaces instead"},
        {"a: [1, 2\nb: 3\n",
         "f.yaml:2:2: not valid YAML: write ',' or ']' here, or earlier: a list "
         "in brackets is open; the list began at line 1"},
        {"a: 1\nb: \xff\n", "f.yaml:2:4: not UTF-8 text: a byte that begins no character; save the "
                            "file as UTF-8"},
        {"a: \"x\\0y\"\n", "f.yaml:1:4: a text cannot contain the character NUL"},
        {"a: {<<: 1}\n", "f.yaml:1:9: the merge key '<<' takes a map, or a list of maps"},
        {"<<: {}\n<<: {}\n", "f.yaml:2:1: duplicate key '<<' (first at line 1)"},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct parsed p = parse(table[i].text);

        assert_problem(&p, 0, table[i].line);
        release(&p);
    }
}

/* The last line is the one that there is; a text that ends with a line break has one more, empty.
 */
static void test_a_fault_at_the_end_is_in_the_text(void **state)
{
    static const struct {
        const char *text;
        unsigned line, column;
    } rows[] = {{"{\"version\":\"v1\",", 1, 17},
                {"{\"version\":\"v1\",\n", 2, 1},
                {"a: [\n  gr\xc3\xbc\xc3\x9f", 2, 7},
                {"a: 'x", 1, 6}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct parsed p = parse(rows[i].text);

        assert_int_equal(p.r, -EBADMSG);
        assert_place(p.problems.items[0].at, rows[i].line, rows[i].column);
        release(&p);
    }
}

static void test_all_duplicates_at_once(void **state)
{
    struct parsed p = parse("a: 1\na: 2\nb: {c: 1, c: 2}\na: 3\n");

    assert_int_equal(problems_count(&p.problems, PROBLEM_ERROR), 3);
    assert_problem(&p, 0, "f.yaml:3:11: duplicate key 'c' (first at line 3)");
    assert_problem(&p, 2, "f.yaml:4:1: duplicate key 'a' (first at line 1)");
    release(&p);
}

static void test_a_line_by_its_number(void **state)
{
    static const char text[] = "\xef\xbb\xbf"
                               "a\r\nbc\xe2\x80\xa8"
                               "d\n";
    static const char *const lines[] = {"a", "bc", "d", ""};
    const char *start;
    size_t length;

    for (unsigned i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        assert_true(yaml_find_line(text, strlen(text), i + 1, &start, &length));
        assert_int_equal(length, strlen(lines[i]));
        assert_memory_equal(start, lines[i], length);
    }
    assert_false(yaml_find_line(text, strlen(text), 5, &start, &length));
    assert_false(yaml_find_line(text, strlen(text), 0, &start, &length));
}

static void test_nothing_but_brackets_is_empty(void **state)
{
    static const struct {
        const char *text;
        bool is_empty;
    } table[] = {{"null", true},
                 {"{}", true},
                 {"{a: , b: [{}, []]}", true},
                 {"[0]", false},
                 {"{a: {b: \"\"}}", false}};

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct parsed p = parse(table[i].text);

        assert_int_equal(yaml_is_empty(&p.documents[0]), table[i].is_empty);
        release(&p);
    }
}

static void test_bombs_are_refused(void **state)
{
    struct text laughs = TEXT_INIT, nested = TEXT_INIT;
    struct parsed p;

    text_add(&laughs, "a0: &a0 lol\n");
    for (int i = 1; i < 10; i++) {
        text_addf(&laughs, "a%d: &a%d [", i, i);
        for (int j = 0; j < 10; j++)
            text_addf(&laughs, "%s*a%d", j ? "," : "", i - 1);
        text_add(&laughs, "]\n");
    }
    p = parse(text_string(&laughs));
    assert_int_equal(p.r, -EBADMSG);
    assert_non_null(strstr(p.problems.items[0].text, "too large: more than 65536 values"));
    release(&p);
    for (int i = 0; i < 200000; i++)
        text_add_char(&nested, '[');
    p = parse(text_string(&nested));
    assert_problem(&p, 0, "f.yaml:1:33: nested deeper than 32 levels");
    release(&p);
    text_deinit(&laughs);
    text_deinit(&nested);
}

static void test_nul_and_size(void **state)
{
    struct parsed p = parse_at("a: 1\nb: \0", 9, (struct position){0, 0});
    char *big = test_malloc(YAML_MAX_BYTES + 1);

    assert_problem(&p, 0, "f.yaml:2:4: not a text file: it contains the character NUL");
    release(&p);
    p = parse_at("a\0:\0", 4, (struct position){0, 0});
    assert_problem(&p, 0,
                   "f.yaml:1:2: not a text file: it contains the character NUL; it looks "
                   "like UTF-16, save it as UTF-8");
    release(&p);
    memset(big, ' ', YAML_MAX_BYTES + 1);
    p = parse_at(big, YAML_MAX_BYTES + 1, (struct position){0, 0});
    assert_problem(&p, 0, "f.yaml:1:1: too large: 1048577 bytes, the limit is 1048576");
    release(&p);
    test_free(big);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tree_and_places),
        cmocka_unit_test(test_columns_count_characters_and_bom_is_nothing),
        cmocka_unit_test(test_empty_inputs),
        cmocka_unit_test(test_json_is_read),
        cmocka_unit_test(test_numbers_and_booleans),
        cmocka_unit_test(test_aliases_and_merge_keys),
        cmocka_unit_test(test_document_inside_a_block),
        cmocka_unit_test(test_each_fault_has_place_and_sentence),
        cmocka_unit_test(test_a_fault_at_the_end_is_in_the_text),
        cmocka_unit_test(test_all_duplicates_at_once),
        cmocka_unit_test(test_a_line_by_its_number),
        cmocka_unit_test(test_nothing_but_brackets_is_empty),
        cmocka_unit_test(test_bombs_are_refused),
        cmocka_unit_test(test_nul_and_size),
    };

    return cmocka_run_group_tests_name("base/yaml", tests, NULL, NULL);
}
