// SPDX-License-Identifier: Apache-2.0
#include "config/quantity.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"
#include "config/schema.h"

/* value = digits / divisor; a decimal fraction, exactly as written. */
struct decimal {
    uint64_t digits, divisor;
};

/*
 * Parses "12", "12.5" or ".5"; *ret_end is the first character after it. Trailing zeros of the
 * fraction are dropped, so that 1.50000000000000000000 still fits.
 */
static bool read_decimal(const char *text, struct decimal *ret_decimal, const char **ret_end)
{
    struct decimal d = {0, 1};
    size_t whole = strspn(text, "0123456789"), fraction = 0, kept;
    const char *tail = text + whole;

    if (*tail == '.')
        fraction = strspn(tail + 1, "0123456789");
    if (whole + fraction == 0)
        return false;
    for (kept = fraction; kept > 0 && tail[kept] == '0';)
        kept--;
    for (size_t i = 0; i < whole + kept; i++) {
        char c = i < whole ? text[i] : tail[1 + i - whole];

        if (__builtin_mul_overflow(d.digits, 10, &d.digits) ||
            __builtin_add_overflow(d.digits, (uint64_t)(c - '0'), &d.digits) ||
            (i >= whole && __builtin_mul_overflow(d.divisor, 10, &d.divisor)))
            return false;
    }
    *ret_decimal = d;
    *ret_end = *tail == '.' ? tail + 1 + fraction : tail;
    return true;
}

/* decimal * unit, if the result is an integer and fits. */
static bool scale(struct decimal d, uint64_t unit, uint64_t *ret_value)
{
    unsigned __int128 product = (unsigned __int128)d.digits * unit;

    if (product % d.divisor || product / d.divisor > UINT64_MAX)
        return false;
    *ret_value = (uint64_t)(product / d.divisor);
    return true;
}

int quantity_percent(const char *text, unsigned *ret_permille, struct error *err)
{
    struct decimal d;
    const char *end;
    uint64_t permille;

    if (!read_decimal(text, &d, &end) || (*end && !str_equal(end, "%")))
        return error_set(err, -EINVAL, "expected a percentage such as 50%%, got '%s'",
                         show(text).text);
    if (!*end)
        return error_set(err, -EINVAL, "a share needs a unit: write %.40s%% if that is meant",
                         text);
    if (!scale(d, 10, &permille))
        return error_set(err, -EINVAL, "'%.40s' is finer than 0.1%%, the smallest step of a share",
                         text);
    if (permille == 0 || permille > 1000)
        return error_set(err, -EINVAL, "'%.40s' is outside 0.1%% ... 100%%", text);
    *ret_permille = (unsigned)permille;
    return 0;
}

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit byte_units[] = {
    {"", 1},
    {"k", 1000},
    {"M", 1000000},
    {"G", 1000000000},
    {"T", 1000000000000},
    {"P", 1000000000000000},
    {"Ki", 1ULL << 10},
    {"Mi", 1ULL << 20},
    {"Gi", 1ULL << 30},
    {"Ti", 1ULL << 40},
    {"Pi", 1ULL << 50},
};

static const struct unit *find_unit(const struct unit *units, size_t n_units, const char *name,
                                    size_t length)
{
    for (size_t i = 0; i < n_units; i++)
        if (strlen(units[i].name) == length && strncmp(units[i].name, name, length) == 0)
            return &units[i];
    return NULL;
}

/* "e9", "E3": the exponent of a Kubernetes quantity, which replaces a unit. */
static bool read_exponent(const char *text, uint64_t *ret_factor)
{
    size_t n = text[0] == 'e' || text[0] == 'E' ? strspn(text + 1, "0123456789") : 0;
    uint64_t factor = 1;

    if (n == 0 || n > 2 || text[1 + n])
        return false;
    for (int power = n == 1 ? text[1] - '0' : (text[1] - '0') * 10 + text[2] - '0'; power > 0;
         power--)
        if (__builtin_mul_overflow(factor, 10, &factor))
            return false;
    *ret_factor = factor;
    return true;
}

int quantity_bytes(const char *text, uint64_t *ret_bytes, struct error *err)
{
    const struct unit *unit;
    struct decimal d;
    const char *end;
    uint64_t factor, bytes;

    if (!read_decimal(text, &d, &end))
        return error_set(err, -EINVAL, "expected an amount of memory such as 4Gi, got '%s'",
                         show(text).text);
    unit = find_unit(byte_units, ARRAY_SIZE(byte_units), end, strlen(end));
    if (unit)
        factor = unit->factor;
    else if (!read_exponent(end, &factor))
        return error_set(err, -EINVAL,
                         "'%.20s' is not a unit of memory; use Mi or Gi (powers of two), or M or G",
                         end);
    if (!scale(d, factor, &bytes))
        return error_set(err, -EINVAL, "'%.40s' is not a whole number of bytes below 2^64", text);
    if (bytes == 0)
        return error_set(err, -EINVAL, "memory must be more than zero, got '%s'", show(text).text);
    *ret_bytes = bytes;
    return 0;
}

static const struct unit time_units[] = {
    {"ns", 1},           {"us", 1000},      {"\xc2\xb5s", 1000}, /* micro sign */
    {"\xce\xbcs", 1000},                                         /* Greek mu */
    {"ms", 1000000},     {"s", 1000000000}, {"m", 60000000000},  {"h", 3600000000000},
};

static bool add_time(uint64_t *ns, struct decimal d, uint64_t factor)
{
    uint64_t part;

    /* Go truncates fractions of a nanosecond; so do we. */
    while (!scale(d, factor, &part)) {
        if (d.divisor == 1)
            return false;
        d.digits /= 10;
        d.divisor /= 10;
    }
    return !__builtin_add_overflow(*ns, part, ns) && *ns <= INT64_MAX;
}

int quantity_duration(const char *text, uint64_t *ret_ns, struct error *err)
{
    const char *p = text + (*text == '+');
    uint64_t ns = 0;

    if (str_equal(text, "infinite")) {
        *ret_ns = DURATION_INFINITE;
        return 0;
    }
    do {
        const struct unit *unit;
        struct decimal d;
        size_t length;

        if (!read_decimal(p, &d, &p))
            return error_set(err, -EINVAL,
                             "expected a duration such as 60s, 1h30m or infinite, got '%s'",
                             show(text).text);
        length = strcspn(p, "0123456789.");
        unit = find_unit(time_units, ARRAY_SIZE(time_units), p, length);
        if (!unit)
            return error_set(err, -EINVAL,
                             "the duration '%.40s' needs units: h, m, s, ms, us or ns, as in 1m30s",
                             text);
        if (!add_time(&ns, d, unit->factor))
            return error_set(err, -EINVAL, "the duration '%.40s' is longer than 292 years", text);
        p += length;
    } while (*p);
    *ret_ns = ns;
    return 0;
}

int quantity_integer(const char *text, int64_t min, int64_t max, int64_t *ret_value,
                     struct error *err)
{
    const char *digits = text + (*text == '-' || *text == '+');
    size_t length = strlen(digits);
    int64_t value = 0;

    if (length == 0 || strspn(digits, "0123456789") != length)
        return error_set(err, -EINVAL, "expected a whole number, got '%s'", show(text).text);
    for (; *digits; digits++) {
        int64_t digit = *text == '-' ? '0' - *digits : *digits - '0';

        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, digit, &value)) {
            value = *text == '-' ? INT64_MIN : INT64_MAX;
            break;
        }
    }
    if (value < min && min == 0 && max == INT64_MAX)
        return error_set(err, -EINVAL, "must not be negative, got %.40s", text);
    if (value < min)
        return error_set(err, -EINVAL, "must be at least %lld, got %.40s", (long long)min, text);
    if (value > max)
        return error_set(err, -EINVAL, "must be at most %lld, got %.40s", (long long)max, text);
    *ret_value = value;
    return 0;
}
