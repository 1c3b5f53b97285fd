// SPDX-License-Identifier: Apache-2.0
#include "base/kubename.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGIT "0123456789"

enum { LABEL_MAX = 63, SUBDOMAIN_MAX = 253 };

/* One part of a name: begins and ends with one of `ends`, consists of `ends` and `inner`. */
static bool is_part(const char *text, size_t length, const char *ends, const char *inner)
{
    if (length == 0 || !strchr(ends, text[0]) || !strchr(ends, text[length - 1]))
        return false;
    for (size_t i = 0; i < length; i++)
        if (!strchr(ends, text[i]) && !strchr(inner, text[i]))
            return false;
    return true;
}

bool kubename_is_dns_label(const char *text)
{
    const size_t length = strlen(text);

    return length <= LABEL_MAX && is_part(text, length, LOWER DIGIT, "-");
}

/* The name part of a key, or a value. */
static bool is_word(const char *text)
{
    const size_t length = strlen(text);

    return length <= LABEL_MAX && is_part(text, length, LOWER UPPER DIGIT, "-_.");
}

/* The API server limits the total length only: a part may be longer than DNS allows. */
static bool is_dns_subdomain(const char *text, size_t length)
{
    const char *end = text + length;

    if (length > SUBDOMAIN_MAX)
        return false;
    for (;;) {
        const char *dot = memchr(text, '.', (size_t)(end - text));

        if (!is_part(text, (size_t)((dot ? dot : end) - text), LOWER DIGIT, "-"))
            return false;
        if (!dot)
            return true;
        text = dot + 1;
    }
}

int kubename_check_key(const char *key, struct error *err)
{
    const char *slash = strchr(key, '/');
    const char *name = slash ? slash + 1 : key;

    if (slash && !is_dns_subdomain(key, (size_t)(slash - key)))
        return error_set(err, -EINVAL,
                         "'%.80s' is not a valid key: the part before '/' must be a DNS name", key);
    if (!is_word(name))
        return error_set(err, -EINVAL,
                         "'%.80s' is not a valid key: use up to %d letters, digits and inner '-', "
                         "'_' or '.', with an optional DNS name and '/' before them",
                         key, LABEL_MAX);
    return 0;
}

int kubename_check_value(const char *value, struct error *err)
{
    if (*value && !is_word(value))
        return error_set(err, -EINVAL,
                         "'%.80s' is not a valid label value: use up to %d letters, digits and "
                         "inner '-', '_' or '.'",
                         value, LABEL_MAX);
    return 0;
}
