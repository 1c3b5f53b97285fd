// SPDX-License-Identifier: Apache-2.0
#include "controller/test-json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

json_t *read_json(const char *text)
{
    char *copy = strdup(text);
    json_t *json;

    assert_non_null(copy);
    for (char *at = copy; *at; at++)
        if (*at == '\'')
            *at = '"';
    json = json_loads(copy, JSON_DECODE_ANY, NULL);
    free(copy);
    if (!json)
        fail_msg("no JSON: %s", text);
    return json;
}

void assert_json(const json_t *json, const char *expected)
{
    json_t *wanted = read_json(expected);
    char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);

    if (!json_equal(json, wanted))
        fail_msg("%s, not %s", text ? text : "(none)", expected);
    free(text);
    json_decref(wanted);
}
