// SPDX-License-Identifier: Apache-2.0
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/logline.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PAIRS_MAX = 8 };

/* One line, as a terminal may show it. */
static void check_line(struct text *line)
{
    char *copy = strdup(text_string(line)), *feed = strchr(copy, '\n');

    if (!feed || feed[1])
        abort();
    *feed = '\0';
    str_make_line(copy);
    *feed = '\n';
    if (!str_equal(copy, text_string(line)))
        abort();
    free(copy);
}

/* A valid line is written unchanged. */
static void check_json(const struct text *line, const char *const *words, size_t n_words)
{
    json_t *object = json_loadb(line->data, line->length, 0, NULL);

    if (!object)
        abort();
    for (size_t i = 0; i + 1 < n_words; i += 2) {
        char *key = strdup(words[i]), *value = strdup(words[i + 1]);
        const char *got;

        str_make_line(key);
        str_make_line(value);
        got = json_string_value(json_object_get(object, key));
        if (n_words == 2 && str_equal(key, words[i]) && str_equal(value, words[i + 1]) &&
            (!got || !str_equal(got, value)))
            abort();
        free(key);
        free(value);
    }
    json_decref(object);
}

/* Keys and values in turn, each with a NUL behind it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *words[2 * PAIRS_MAX];
    char *bytes = malloc(size + 2);
    size_t n = 0;

    memcpy(bytes, data, size);
    memcpy(bytes + size, "\0", 2);
    for (char *at = bytes; n < 2 * PAIRS_MAX && at <= bytes + size; at += strlen(at) + 1)
        words[n++] = at;
    n &= ~(size_t)1;
    for (int format = LOG_LOGFMT; n && format <= LOG_JSON; format++) {
        struct text line = TEXT_INIT;

        for (size_t i = 0; i < n; i += 2)
            logline_add(&line, (enum log_format)format, words[i], words[i + 1]);
        logline_end(&line, (enum log_format)format);
        check_line(&line);
        if (format == LOG_JSON)
            check_json(&line, words, n);
        text_deinit(&line);
    }
    free(bytes);
    return 0;
}
