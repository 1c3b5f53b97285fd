// SPDX-License-Identifier: Apache-2.0
#include "catalog/prices.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/file.h"
#include "base/number.h"
#include "base/text.h"
#include "base/yaml.h"
#include "base/yamlmap.h"

enum { MICRO = 1000000, HIGHEST = 100000 };

void prices_deinit(struct prices *prices)
{
    free(prices->items);
    *prices = (struct prices)PRICES_INIT;
}

/* "2026-07-06" */
static bool parse_date(const char *text, void *to)
{
    static const char form[] = "dddd-dd-dd";

    for (size_t i = 0; i < sizeof(form); i++)
        if (form[i] == 'd' ? text[i] < '0' || text[i] > '9' : text[i] != form[i])
            return false;
    return str_copy(to, sizeof(form), text) == 0;
}

static const struct yamlmap_field fields[] = {
    {"date", .kind = YAMLMAP_WORD, YAMLMAP_AT(prices, date), .parse = parse_date,
     .expected = "a date such as 2026-07-06", .required = true},
    {"region", YAMLMAP_TEXT_AT(prices, region), .required = true},
    {"currency", YAMLMAP_TEXT_AT(prices, currency), .required = true},
    {"hourly", .kind = YAMLMAP_OTHER, .required = true},
    {NULL},
};

/* "21.957642": whole numbers of a millionth. */
static bool parse_price(const char *text, uint64_t *ret_micro)
{
    uint64_t whole, part = 0, unit = MICRO;

    if (!number_digits(&text, &whole) || whole > HIGHEST)
        return false;
    if (*text == '.') {
        if (!text[1])
            return false;
        for (text++; *text >= '0' && *text <= '9' && unit > 1; text++) {
            unit /= 10;
            part += (uint64_t)(*text - '0') * unit;
        }
    }
    *ret_micro = whole * MICRO + part;
    return !*text && *ret_micro > 0;
}

static int add_price(const struct yaml *node, struct problems *problems, struct prices *prices)
{
    struct price price, *added;
    char path[YAMLMAP_PATH];

    yamlmap_join(path, "hourly", node->key);
    if (str_copy(price.type, sizeof(price.type), node->key) < 0) {
        yamlmap_refuse(problems, node->key_at, path, "longer than %zu bytes",
                       sizeof(price.type) - 1);
        return 0;
    }
    if (!node->text || !parse_price(node->text, &price.micro)) {
        yamlmap_refuse(problems, node->at, path, "expected a price such as 12.24");
        return 0;
    }
    added = array_push(&prices->items, &prices->n_items, &prices->capacity, sizeof(*added));
    if (!added)
        return -ENOMEM;
    *added = price;
    return 0;
}

static int read_document(const struct yaml *document, struct problems *problems,
                         struct prices *prices)
{
    const struct yaml *hourly = yaml_get(document, "hourly");
    int r = 0;

    yamlmap_read(problems, fields, document, "", prices);
    if (!hourly || !yamlmap_check_kind(problems, hourly, YAML_MAP, "hourly"))
        return 0;
    for (size_t i = 0; i < hourly->n_children && r == 0; i++)
        r = add_price(&hourly->children[i], problems, prices);
    return r;
}

int prices_parse(const char *text, size_t size, struct problems *problems,
                 struct prices *ret_prices)
{
    size_t before = problems_count(problems, PROBLEM_ERROR);
    cleanup_prices struct prices prices = PRICES_INIT;
    struct yaml *document;
    int r = yamlmap_parse_document(text, size, problems, &document);

    if (r < 0)
        return r;
    r = read_document(document, problems, &prices);
    yaml_free(document, 1);
    if (r < 0)
        return r;
    if (problems_count(problems, PROBLEM_ERROR) > before)
        return -EBADMSG;
    *ret_prices = prices;
    prices = (struct prices)PRICES_INIT;
    return 0;
}

int prices_load(const char *folder, struct problems *problems, struct prices *ret_prices)
{
    cleanup_text struct text path = TEXT_INIT;
    cleanup_free char *text = NULL;
    struct error err = ERROR_INIT;
    size_t size;

    text_addf(&path, "%s/prices.yaml", folder);
    if (file_read(text_string(&path), YAML_MAX_BYTES, &text, &size, &err) < 0) {
        problem_add(problems, PROBLEM_ERROR, (struct position){0, 0}, "", "%s", error_text(&err));
        return -EBADMSG;
    }
    if (problems_set_source(problems, text_string(&path)) < 0)
        return -ENOMEM;
    return prices_parse(text, size, problems, ret_prices);
}

uint64_t prices_find(const struct prices *prices, const char *type)
{
    for (size_t i = 0; i < prices->n_items; i++)
        if (str_equal(prices->items[i].type, type))
            return prices->items[i].micro;
    return 0;
}
