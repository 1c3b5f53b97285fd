// SPDX-License-Identifier: Apache-2.0
#include "kube/reason.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"

enum { MESSAGE_SIZE = 360, FOREIGN_BYTES = 80 /* of a text not written by the API server */ };

static const struct {
    unsigned http_status;
    const char *means;
} meanings[] = {
    {401, "the API server rejects our token or certificate (401, RBAC was not checked)"},
    {403,
     "RBAC forbids it (403): a Role or ClusterRole bound to our service account must allow it"},
    {404, "not found (404)"},
    {409, "it conflicts with the existing object (409)"},
    {410, "the requested version has expired (410)"},
    {422, "the API server considers it invalid (422)"},
    {429, "the API server is overloaded (429)"},
};

/* One line of printable text, truncated if too long. */
static void tidy(char *text)
{
    char *to = text;

    for (const char *from = text; *from; from++) {
        bool is_space = (unsigned char)*from <= ' ' || *from == 0x7f;

        if (!is_space)
            *to++ = *from;
        else if (to > text && to[-1] != ' ')
            *to++ = ' ';
    }
    while (to > text && (to[-1] == ' ' || to[-1] == '.'))
        to--;
    *to = '\0';
}

/* The message of a Status object; else the beginning of the body. */
static void message_of(const char *body, size_t size, char message[static MESSAGE_SIZE])
{
    json_t *status = json_loadb(body, size, 0, NULL);
    const char *said = json_string_value(json_object_get(status, "message"));

    if (said)
        snprintf(message, MESSAGE_SIZE, "%s", said);
    else
        snprintf(message, MESSAGE_SIZE, "%.*s", (int)(size < FOREIGN_BYTES ? size : FOREIGN_BYTES),
                 body);
    json_decref(status);
    tidy(message);
}

void reason_of_answer(const char *method, const char *path, unsigned http_status, const char *body,
                      size_t size, char buffer[static REASON_SIZE])
{
    int path_length = (int)strcspn(path, "?");
    char message[MESSAGE_SIZE], other[40];
    const char *means = other;

    snprintf(other, sizeof(other), "the response is HTTP %u", http_status);
    for (size_t i = 0; i < ARRAY_SIZE(meanings); i++)
        if (meanings[i].http_status == http_status)
            means = meanings[i].means;
    message_of(body, size, message);
    snprintf(buffer, REASON_SIZE, "%s %.*s: %s%s%s", method, path_length, path, means,
             message[0] ? ": " : "", message);
}

/* libcurl reports how long a try took, which varies: "... port 443 after 17 ms: ...". */
static void drop_times(char *text)
{
    static const char after[] = " after ";
    static const char *const units[] = {" milliseconds", " ms"};

    while ((text = strstr(text, after))) {
        char *number = text + strlen(after);
        char *unit = number + strspn(number, "0123456789");
        size_t n_unit = 0;

        for (size_t i = 0; i < ARRAY_SIZE(units) && unit > number && n_unit == 0; i++)
            n_unit = str_starts_with(unit, units[i]) ? strlen(units[i]) : 0;
        if (n_unit > 0)
            memmove(text, unit + n_unit, strlen(unit + n_unit) + 1);
        else
            text = number;
    }
}

void reason_of_failure(const char *method, const char *path, const char *why,
                       char buffer[static REASON_SIZE])
{
    snprintf(buffer, REASON_SIZE, "%s %.*s: %s", method, (int)strcspn(path, "?"), path, why);
    drop_times(buffer);
    tidy(buffer);
}
