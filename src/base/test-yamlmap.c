// SPDX-License-Identifier: Apache-2.0
#include "base/yamlmap.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "base/text.h"

struct thing {
    char name[8];
    uint32_t count, power_mw, colour, version[2], hex;
    uint64_t size_bytes;
    uint8_t is_new;
};

static bool parse_hex(const char *text, void *to)
{
    uint32_t *value = to;

    if (!str_equal(text, "beef"))
        return false;
    *value = 0xbeef;
    return true;
}

static const struct yamlmap_choice colours[] = {{"red", 1}, {"green", 2}, {NULL, 0}};

static const struct yamlmap_field inner_fields[] = {
    {"power", .kind = YAMLMAP_MILLI, YAMLMAP_AT(thing, power_mw), .max = 9, .required = true},
    {"colour", .kind = YAMLMAP_CHOICE, YAMLMAP_AT(thing, colour), .choices = colours},
    {NULL},
};

static const struct yamlmap_field thing_fields[] = {
    {"name", YAMLMAP_TEXT_AT(thing, name), .required = true},
    {"count", YAMLMAP_NUMBER_AT(thing, count, 1, 5)},
    {"size", .kind = YAMLMAP_SIZE, YAMLMAP_AT(thing, size_bytes)},
    {"new", .kind = YAMLMAP_BOOL, YAMLMAP_AT(thing, is_new)},
    {"version", .kind = YAMLMAP_VERSION, YAMLMAP_AT(thing, version)},
    {"hex", .kind = YAMLMAP_WORD, YAMLMAP_AT(thing, hex), .parse = parse_hex, .expected = "beef"},
    {"inner", .kind = YAMLMAP_MAP, .fields = inner_fields},
    {"other", .kind = YAMLMAP_OTHER},
    {NULL},
};

static struct thing thing;

typedef void reader(struct problems *, const struct yamlmap_field *, const struct yaml *,
                    const char *, void *);

static int parse_with(reader *read, const char *text, struct problems *problems)
{
    struct yaml *document;
    int r = yamlmap_parse_document(text, strlen(text), problems, &document);

    if (r < 0)
        return r;
    read(problems, thing_fields, document, "", &thing);
    yaml_free(document, 1);
    return problems_count(problems, PROBLEM_ERROR) ? -EBADMSG : 0;
}

static void reads_every_kind(void **state)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;

    thing = (struct thing){.name = ""};
    assert_int_equal(parse_with(yamlmap_read,
                                "{name: a, count: 5, size: 2Ki, new: true, version: 7.5,\n"
                                " hex: beef, inner: {power: 3, colour: green}, other: [1]}",
                                &problems),
                     0);
    assert_string_equal(thing.name, "a");
    assert_int_equal(thing.count, 5);
    assert_int_equal(thing.size_bytes, 2048);
    assert_int_equal(thing.is_new, 1);
    assert_int_equal(thing.version[0], 7);
    assert_int_equal(thing.version[1], 5);
    assert_int_equal(thing.hex, 0xbeef);
    assert_int_equal(thing.power_mw, 3000);
    assert_int_equal(thing.colour, 2);
}

static void refuses_with_place_and_sentence(void **state)
{
    static const struct {
        const char *text, *line;
    } table[] = {
        {"", "1:1: the file is empty"},
        {"name: a\n---\nname: b\n", "1:1: expected one YAML document, not several"},
        {"[]", "1:1: expected a map"},
        {"count: 1", "1:1: 'name' is missing"},
        {"name: a\ncuont: 1", "2:1: cuont: unknown key; did you mean 'count'?"},
        {"name: a\nzzzzzz: 1", "2:1: zzzzzz: unknown key"},
        {"name: []", "1:7: name: expected a text"},
        {"name: '12345678'", "1:7: name: longer than 7 bytes"},
        {"{name: a, count: x}", "1:18: count: expected a whole number"},
        {"{name: a, count: 6}", "1:18: count: expected a number from 1 to 5"},
        {"{name: a, size: 1G}", "1:17: size: expected a size such as 16384Mi"},
        {"{name: a, new: 1}", "1:16: new: expected true or false"},
        {"{name: a, version: 7}", "1:20: version: expected two numbers such as 7.0"},
        {"{name: a, hex: ff}", "1:16: hex: expected beef"},
        {"{name: a, inner: 1}", "1:18: inner: expected a map"},
        {"{name: a, inner: {}}", "1:18: inner: 'power' is missing"},
        {"{name: a, inner: {power: 1, colour: gren}}",
         "1:37: inner.colour: 'gren' is not known; did you mean 'green'?"},
        {"{name: a, inner: {power: 1, colour: blue}}",
         "1:37: inner.colour: expected one of red, green"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        cleanup_problems struct problems problems = PROBLEMS_INIT;
        char line[200];

        assert_int_equal(problems_set_source(&problems, "m"), 0);
        assert_int_equal(parse_with(yamlmap_read, table[i].text, &problems), -EBADMSG);
        assert_int_equal(problems.n_items, 1);
        problem_format(&problems, &problems.items[0], line, sizeof(line));
        assert_string_equal(line + strlen("m:"), table[i].line);
    }
}

/* Also what is required in a map inside may then be left out. */
static void reads_over_what_is_there(void **state)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;

    thing = (struct thing){.name = "old", .count = 4, .power_mw = 9000};
    assert_int_equal(parse_with(yamlmap_read_over, "{count: 2, inner: {colour: red}}", &problems),
                     0);
    assert_string_equal(thing.name, "old");
    assert_int_equal(thing.count, 2);
    assert_int_equal(thing.power_mw, 9000);
    assert_int_equal(thing.colour, 1);
    assert_int_equal(parse_with(yamlmap_read_over, "{count: 9}", &problems), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_kind),
        cmocka_unit_test(refuses_with_place_and_sentence),
        cmocka_unit_test(reads_over_what_is_there),
    };

    return cmocka_run_group_tests_name("base/yamlmap", tests, NULL, NULL);
}
