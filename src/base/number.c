// SPDX-License-Identifier: Apache-2.0
#include "base/number.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"

bool number_digits(const char **text, uint64_t *ret_value)
{
    uint64_t value = 0;

    if (!isdigit((unsigned char)**text))
        return false;
    for (; isdigit((unsigned char)**text); (*text)++)
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(**text - '0'), &value))
            return false;
    *ret_value = value;
    return true;
}

bool number_parse(const char *text, uint32_t *ret_value)
{
    uint64_t value;

    if (!number_digits(&text, &value) || *text || value > UINT32_MAX)
        return false;
    *ret_value = (uint32_t)value;
    return true;
}

bool number_parse_size(const char *text, uint64_t *ret_bytes)
{
    static const struct {
        const char *name;
        uint64_t factor;
    } units[] = {
        {"", 1}, {"Ki", 1ull << 10}, {"Mi", 1ull << 20}, {"Gi", 1ull << 30}, {"Ti", 1ull << 40}};
    uint64_t value;

    if (!number_digits(&text, &value))
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        if (!str_equal(text, units[i].name))
            continue;
        if (__builtin_mul_overflow(value, units[i].factor, &value))
            return false;
        *ret_bytes = value;
        return true;
    }
    return false;
}

int64_t number_quantity(const char *text)
{
    static const char suffixes[] = "kMGTPE";
    const char *suffix;
    int64_t number, factor = 1;
    char *end;

    if (*text < '0' || *text > '9')
        return -1;
    errno = 0;
    number = strtoll(text, &end, 10);
    if (errno != 0)
        return -1;
    suffix = *end ? strchr(suffixes, *end) : NULL;
    if (*end && (!suffix || end[1]))
        return -1;
    for (const char *s = suffixes; suffix && s <= suffix; s++)
        factor *= 1000;
    return __builtin_mul_overflow(number, factor, &number) ? -1 : number;
}

bool number_parse_version(const char *text, uint32_t *ret_major, uint32_t *ret_minor)
{
    uint64_t major, minor;

    if (!number_digits(&text, &major) || *text++ != '.' || !number_digits(&text, &minor) || *text ||
        major > 999 || minor > 99)
        return false;
    *ret_major = (uint32_t)major;
    *ret_minor = (uint32_t)minor;
    return true;
}
