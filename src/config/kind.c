// SPDX-License-Identifier: Apache-2.0
#include "config/kind.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/address.h"
#include "base/array.h"
#include "base/text.h"
#include "config/quantity.h"
#include "slice/name.h"

const char *read_scalar(struct reader *reader, const struct yaml *node, const char *expected)
{
    if (node->kind == YAML_SCALAR)
        return node->text;
    reader_error(reader, node->at, "expected %s, got %s", expected, show_node(node).text);
    return NULL;
}

int read_by_parse(struct reader *reader, const struct option *option, const struct yaml *node,
                  void *slot)
{
    const char *text = read_scalar(reader, node, "a single value");
    struct error err = ERROR_INIT;
    int r = text ? option->kind->parse(option, text, slot, &err) : 0;

    if (r == -EINVAL) {
        reader_error(reader, node->at, "%s", error_text(&err));
        return 0;
    }
    return r;
}

/* --- booleans --- */

static bool read_yaml11_bool(const char *text, bool *ret_value)
{
    static const char *const words[] = {"n", "no", "off", "y", "yes", "on"};

    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        if (strcasecmp(text, words[i]) == 0) {
            *ret_value = i >= 3;
            return true;
        }
    }
    return false;
}

static int read_bool(struct reader *reader, const struct option *option, const struct yaml *node,
                     void *slot)
{
    bool value;

    if (yaml_as_bool(node, &value)) {
        *(bool *)slot = value;
    } else if (node->kind == YAML_SCALAR && !node->quoted && read_yaml11_bool(node->text, &value)) {
        reader_warning(reader, node->at, "'%s' counts as a boolean only in YAML 1.1; write %s",
                       show(node->text).text, value ? "true" : "false");
        *(bool *)slot = value;
    } else if (node->kind == YAML_SCALAR && node->quoted &&
               (str_equal(node->text, "true") || str_equal(node->text, "false"))) {
        reader_error(reader, node->at, "expected true or false, got a string; remove the quotes");
    } else {
        reader_error(reader, node->at, "expected true or false, got %s", show_node(node).text);
    }
    return 0;
}

/* The words of Go's strconv.ParseBool, which reads NVIDIA's flags. */
static int parse_bool(const struct option *option, const char *text, void *slot, struct error *err)
{
    static const char *const words[] = {"0", "f", "F", "false", "False", "FALSE",
                                        "1", "t", "T", "true",  "True",  "TRUE"};

    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        if (str_equal(text, words[i])) {
            *(bool *)slot = i >= ARRAY_SIZE(words) / 2;
            return 0;
        }
    }
    return error_set(err, -EINVAL, "expected true or false, got '%s'", show(text).text);
}

static void store_tristate(bool value, void *slot)
{
    *(enum tristate *)slot = value ? TRISTATE_TRUE : TRISTATE_FALSE;
}

static int read_tristate(struct reader *reader, const struct option *option,
                         const struct yaml *node, void *slot)
{
    size_t n_errors = problems_count(reader->problems, PROBLEM_ERROR);
    bool value = false;
    int r = read_bool(reader, option, node, &value);

    if (problems_count(reader->problems, PROBLEM_ERROR) == n_errors)
        store_tristate(value, slot);
    return r;
}

static int parse_tristate(const struct option *option, const char *text, void *slot,
                          struct error *err)
{
    bool value = false;
    int r = parse_bool(option, text, &value, err);

    if (r == 0)
        store_tristate(value, slot);
    return r;
}

const struct kind kind_bool = {.placeholder = "BOOL", .read = read_bool, .parse = parse_bool};
const struct kind kind_tristate = {
    .placeholder = "BOOL", .read = read_tristate, .parse = parse_tristate};
const struct kind kind_switch = {.parse = parse_bool};

/* --- texts --- */

static int parse_text(const struct option *option, const char *text, void *slot, struct error *err)
{
    char *copy = strdup(text);

    if (!copy)
        return -ENOMEM;
    free(*(char **)slot);
    *(char **)slot = copy;
    return 0;
}

static int read_path(struct reader *reader, const struct option *option, const struct yaml *node,
                     void *slot)
{
    if (node->kind == YAML_SCALAR && *node->text && *node->text != '/')
        reader_warning(reader, node->at, "'%s' is not an absolute path; start it with '/'",
                       show(node->text).text);
    return read_by_parse(reader, option, node, slot);
}

const struct kind kind_text = {.placeholder = "TEXT",
                               .read = read_by_parse,
                               .parse = parse_text,
                               .owns_text = true,
                               .empty_is_value = true};
const struct kind kind_path = {.placeholder = "PATH",
                               .read = read_path,
                               .parse = parse_text,
                               .owns_text = true,
                               .empty_is_value = true};

static int parse_borrowed(const struct option *option, const char *text, void *slot,
                          struct error *err)
{
    *(const char **)slot = text;
    return 0;
}

const struct kind kind_borrowed = {
    .placeholder = "TEXT", .parse = parse_borrowed, .empty_is_value = true};
const struct kind kind_borrowed_path = {
    .placeholder = "PATH", .parse = parse_borrowed, .empty_is_value = true};

static int parse_address(const struct option *option, const char *text, void *slot,
                         struct error *err)
{
    struct address address;

    if (*text && address_parse(text, &address, NULL) < 0)
        return error_set(err, -EINVAL,
                         "expected an address such as 127.0.0.1:19400, :19400 or nothing, got '%s'",
                         show(text).text);
    return parse_borrowed(option, text, slot, err);
}

const struct kind kind_address = {
    .placeholder = "HOST:PORT", .parse = parse_address, .empty_is_value = true};

/* --- words from a list --- */

struct word_list list_words(const struct word *words)
{
    struct word_list list = {.text = ""};
    size_t n = 0;

    for (const struct word *word = words; word->name && n < sizeof(list.text); word++)
        n += (size_t)snprintf(list.text + n, sizeof(list.text) - n, "%s%s", n ? ", " : "",
                              word->name);
    return list;
}

static const struct word *find_word(const struct word *words, const char *text, struct error *err)
{
    const char *candidates[16], *near;
    size_t n = 0;

    for (const struct word *word = words; word->name && n < ARRAY_SIZE(candidates); word++) {
        if (str_equal(word->name, text))
            return word;
        candidates[n++] = word->name;
    }
    near = str_suggest(text, candidates, n);
    error_set(err, -EINVAL, "'%s' is not one of: %s%s%s%s", show(text).text, list_words(words).text,
              near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    return NULL;
}

static int parse_word(const struct option *option, const char *text, void *slot, struct error *err)
{
    const struct word *word = find_word(option->detail, text, err);

    if (!word)
        return -EINVAL;
    memcpy(slot, &word->value, sizeof(word->value)); /* enums are as wide as unsigned */
    return 0;
}

static int parse_word_text(const struct option *option, const char *text, void *slot,
                           struct error *err)
{
    const struct word *word = find_word(option->detail, text, err);

    if (!word)
        return -EINVAL;
    *(const char **)slot = word->name;
    return 0;
}

const struct kind kind_word = {.placeholder = "WORD", .read = read_by_parse, .parse = parse_word};
const struct kind kind_word_text = {.placeholder = "WORD", .parse = parse_word_text};

static int parse_split(const struct option *option, const char *text, void *slot, struct error *err)
{
    unsigned permille = 0;
    int r = str_equal(text, "0%") ? 0 : quantity_percent(show(text).text, &permille, err);

    if (r == 0)
        *(unsigned *)slot = permille;
    return r;
}

const struct kind kind_split = {
    .placeholder = "PERCENT", .read = read_by_parse, .parse = parse_split};

static int parse_words_text(const struct option *option, const char *text, void *slot,
                            struct error *err)
{
    cleanup_free char *copy = strdup(text);
    char *rest = copy, *item;

    if (!copy)
        return -ENOMEM;
    while (*text && (item = strsep(&rest, ",")))
        if (!find_word(option->detail, item, err))
            return -EINVAL;
    return parse_borrowed(option, text, slot, err);
}

const struct kind kind_words_text = {
    .placeholder = "WORD,...", .parse = parse_words_text, .is_list = true, .empty_is_value = true};

static int parse_filled(const struct option *option, const char *text, void *slot,
                        struct error *err)
{
    if (!*text)
        return error_set(err, -EINVAL, "must not be empty; the default is %s", option->standard);
    return parse_borrowed(option, text, slot, err);
}

const struct kind kind_filled = {
    .placeholder = "TEXT", .parse = parse_filled, .empty_is_value = true};

/* --- deviceListStrategy: a set of words --- */

static int parse_strategies(const struct option *option, const char *text, void *slot,
                            struct error *err)
{
    cleanup_free char *copy = strdup(text);
    unsigned strategies = 0;
    char *rest = copy, *item;

    if (!copy)
        return -ENOMEM;
    while ((item = strsep(&rest, ","))) {
        const struct word *word = find_word(option->detail, item, err);

        if (!word)
            return -EINVAL;
        strategies |= word->value;
    }
    *(unsigned *)slot = strategies;
    return 0;
}

struct strategy_list {
    const struct option *option;
    unsigned value;
};

static int read_strategy(struct reader *reader, const struct yaml *node, void *context)
{
    struct strategy_list *list = context;
    const char *text = read_scalar(reader, node, "the name of a strategy");
    struct error err = ERROR_INIT;
    const struct word *word = text ? find_word(list->option->detail, text, &err) : NULL;

    if (word && list->value & word->value)
        reader_warning(reader, node->at, "'%s' is listed twice", word->name);
    if (word)
        list->value |= word->value;
    else if (text)
        reader_error(reader, node->at, "%s", error_text(&err));
    return 0;
}

static int read_strategies(struct reader *reader, const struct option *option,
                           const struct yaml *node, void *slot)
{
    struct strategy_list list = {option, 0};
    int r;

    if (node->kind == YAML_SCALAR && strchr(node->text, ',')) {
        reader_error(reader, node->at, "a file takes several strategies only as a list: write [%s]",
                     show(node->text).text);
        return 0;
    }
    r = node->kind == YAML_SCALAR
            ? read_strategy(reader, node, &list)
            : schema_read_list(reader, node, "strategies", read_strategy, &list);
    if (node->kind == YAML_LIST && node->n_children == 0)
        reader_error(reader, node->at, "with an empty list containers get no GPU; write one of: %s",
                     list_words(option->detail).text);
    if (list.value)
        *(unsigned *)slot = list.value;
    return r;
}

const struct kind kind_strategies = {
    .placeholder = "WORD,...", .read = read_strategies, .parse = parse_strategies, .is_list = true};

/* --- numbers --- */

/* 010 is octal in YAML 1.1 and in Go. */
static bool read_octal(const char *text, int64_t *ret_value)
{
    size_t length = strlen(text);

    if (length < 2 || length > 20 || *text != '0' || strspn(text, "01234567") != length)
        return false;
    *ret_value = strtoll(text, NULL, 8);
    return true;
}

static bool read_with_underscores(const char *text, int64_t *ret_value)
{
    char digits[24];
    size_t n = 0;

    for (; *text && n < sizeof(digits) - 1; text++)
        if (*text != '_')
            digits[n++] = *text;
    digits[n] = '\0';
    return !*text && quantity_integer(digits, INT64_MIN, INT64_MAX, ret_value, NULL) == 0;
}

/* What sigs.k8s.io/yaml would still pass to Go as an integer. */
static bool read_odd_integer(const struct yaml *node, int64_t *ret_value)
{
    double number;

    if (read_octal(node->text, ret_value))
        return true;
    if (strchr(node->text, '_'))
        return read_with_underscores(node->text, ret_value);
    if (!yaml_as_double(node, &number) || number < -1e15 || number > 1e15)
        return false;
    *ret_value = (int64_t)number;
    return (double)*ret_value == number;
}

/* A plain integer in any notation; false if it is none. */
static bool read_whole(struct reader *reader, const struct yaml *node, int64_t *ret_value)
{
    if (yaml_as_int(node, ret_value))
        return true;
    if (node->kind != YAML_SCALAR || node->quoted || !read_odd_integer(node, ret_value))
        return false;
    reader_warning(reader, node->at, "'%s' is read as %lld; write %lld", show(node->text).text,
                   (long long)*ret_value, (long long)*ret_value);
    return true;
}

static bool is_number(const char *text)
{
    size_t sign = *text == '-' || *text == '+';

    return text[sign] && strspn(text + sign, "0123456789") == strlen(text + sign);
}

bool read_integer(struct reader *reader, const struct yaml *node, int64_t min, int64_t max,
                  int64_t *ret_value)
{
    struct error err = ERROR_INIT;
    char digits[24];
    int64_t value;

    if (node->kind == YAML_SCALAR && node->quoted && is_number(node->text)) {
        reader_error(reader, node->at, "expected a whole number, got %s; remove the quotes",
                     show_node(node).text);
        return false;
    }
    if (node->kind != YAML_SCALAR || node->quoted) {
        reader_error(reader, node->at, "expected a whole number, got %s", show_node(node).text);
        return false;
    }
    if (read_whole(reader, node, &value)) {
        snprintf(digits, sizeof(digits), "%lld", (long long)value);
    } else if (is_number(node->text)) {
        snprintf(digits, sizeof(digits), "%.20s", node->text);
    } else {
        reader_error(reader, node->at, "expected a whole number, got %s", show_node(node).text);
        return false;
    }
    if (quantity_integer(digits, min, max, ret_value, &err) == 0)
        return true;
    reader_error(reader, node->at, "%s", error_text(&err));
    return false;
}

static int read_count(struct reader *reader, const struct option *option, const struct yaml *node,
                      void *slot)
{
    const struct bounds *bounds = option->detail;
    int64_t value;

    if (read_integer(reader, node, bounds->min, bounds->max, &value))
        *(unsigned *)slot = (unsigned)value;
    return 0;
}

static int parse_count(const struct option *option, const char *text, void *slot, struct error *err)
{
    const struct bounds *bounds = option->detail;
    int64_t value;
    int r = quantity_integer(text, bounds->min, bounds->max, &value, err);

    if (r == 0)
        *(unsigned *)slot = (unsigned)value;
    return r;
}

const struct kind kind_count = {.placeholder = "N", .read = read_count, .parse = parse_count};

static int parse_duration(const struct option *option, const char *text, void *slot,
                          struct error *err)
{
    return quantity_duration(text, slot, err);
}

/* NVIDIA accepts it, so such a file must not be rejected. */
static void warn_zero(struct reader *reader, const struct yaml *node, uint64_t ns)
{
    if (ns == 0)
        reader_warning(reader, node->at, "an interval of zero would never pause; write 60s");
}

static int read_duration(struct reader *reader, const struct option *option,
                         const struct yaml *node, void *slot)
{
    int64_t ns;

    if (!read_whole(reader, node, &ns)) {
        int r = read_by_parse(reader, option, node, slot);

        warn_zero(reader, node, *(uint64_t *)slot);
        return r;
    }
    if (ns < 0) {
        reader_error(reader, node->at, "a duration cannot be negative, got %lld", (long long)ns);
        return 0;
    }
    warn_zero(reader, node, (uint64_t)ns);
    if (ns > 0 && ns < 1000000)
        reader_warning(reader, node->at,
                       "a bare number is in nanoseconds; write %llds if seconds are meant",
                       (long long)ns);
    *(uint64_t *)slot = (uint64_t)ns;
    return 0;
}

const struct kind kind_duration = {
    .placeholder = "DURATION", .read = read_duration, .parse = parse_duration};

static int parse_milliseconds(const struct option *option, const char *text, void *slot,
                              struct error *err)
{
    uint64_t ns;
    int r = quantity_duration(text, &ns, err);

    if (r < 0)
        return r;
    if (ns < 1000000 || ns / 1000000 > 3600000)
        return error_set(err, -EINVAL, "'%s' is outside 1ms ... 1h", show(text).text);
    *(unsigned *)slot = (unsigned)(ns / 1000000);
    return 0;
}

const struct kind kind_milliseconds = {.placeholder = "DURATION", .parse = parse_milliseconds};

/* --- the rest --- */

static int parse_resource(const struct option *option, const char *text, void *slot,
                          struct error *err)
{
    return name_parse(show(text).text, slot, err);
}

const struct kind kind_resource = {
    .placeholder = "NAME", .read = read_by_parse, .parse = parse_resource};

static int read_version(struct reader *reader, const struct option *option, const struct yaml *node,
                        void *slot)
{
    if (node->kind != YAML_SCALAR || (*node->text && !str_equal(node->text, "v1")))
        reader_error(reader, node->at, "only version v1 is supported, got %s; write version: v1",
                     show_node(node).text);
    return 0;
}

const struct kind kind_version = {.read = read_version};

static int parse_ignored(const struct option *option, const char *text, void *slot,
                         struct error *err)
{
    return 0;
}

const struct kind kind_ignored = {
    .placeholder = "TEXT", .parse = parse_ignored, .is_list = true, .empty_is_value = true};
