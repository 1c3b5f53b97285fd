// SPDX-License-Identifier: Apache-2.0
#include "slice/migname.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"

enum { MAX_DIGITS = 9, MAX_ATTRIBUTES = 8, SHOWN = 64 };

/* NVML_GPU_INSTANCE_PROFILE_*, in its order (R580). */
static const struct {
    uint32_t slices;
    const char *suffix;
} gpu_profiles[] = {
    {1, ""},     {2, ""},    {3, ""},    {4, ""},        {7, ""},        {8, ""},
    {6, ""},     {1, "+me"}, {2, "+me"}, {1, ""},        {1, "+gfx"},    {2, "+gfx"},
    {4, "+gfx"}, {1, "-me"}, {2, "-me"}, {1, "+me.all"}, {2, "+me.all"},
};

/* NVML_COMPUTE_INSTANCE_PROFILE_*. */
static const uint32_t compute_profiles[] = {1, 2, 3, 4, 7, 8, 6, 1, 7};

static uint32_t gpu_slices(uint32_t gpu_index)
{
    return gpu_index < ARRAY_SIZE(gpu_profiles) ? gpu_profiles[gpu_index].slices : 0;
}

uint32_t migname_compute_slices(uint32_t compute_index)
{
    return compute_index < ARRAY_SIZE(compute_profiles) ? compute_profiles[compute_index] : 0;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Advances *text over a number and the unit behind it. */
static bool read_field(const char **text, const char *unit, uint32_t *ret_value)
{
    const char *c = *text;
    uint32_t value = 0;

    while (is_digit(*c) && c - *text < MAX_DIGITS)
        value = value * 10 + (uint32_t)(*c++ - '0');
    if (c == *text || !str_starts_with(c, unit))
        return false;
    *text = c + strlen(unit);
    *ret_value = value;
    return true;
}

static bool read_sizes(const char **text, struct mig_name *name)
{
    const char *c = *text;

    if (read_field(&c, "c.", &name->compute_slices))
        *text = c;
    else
        c = NULL;
    if (!read_field(text, "g.", &name->gpu_slices) || !read_field(text, "gb", &name->gb))
        return false;
    if (!c)
        name->compute_slices = name->gpu_slices;
    return true;
}

/* "me", "me.all": a letter first, then letters, digits and dots, but no dot at the end. */
static bool is_attribute(const char *attribute)
{
    const char *c = attribute;

    if (!is_letter(*c))
        return false;
    while (is_letter(*c) || is_digit(*c) || *c == '.')
        c++;
    return !*c && c[-1] != '.';
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorts "+b,a" into "+a,b". NULL, or what is wrong. */
static const char *read_suffix(const char *text, char ret_suffix[MIGNAME_SUFFIX_SIZE])
{
    char copy[MIGNAME_SUFFIX_SIZE], *rest = copy + 1;
    const char *attributes[MAX_ATTRIBUTES];
    size_t n = 0, length = 1;

    if (str_copy(copy, sizeof(copy), text) < 0)
        return "is too long";
    while (rest && n < MAX_ATTRIBUTES) {
        attributes[n] = strsep(&rest, ",");
        if (!is_attribute(attributes[n++]))
            return "has an attribute that is no word of letters and digits";
    }
    if (rest)
        return "has too many attributes";
    qsort(attributes, n, sizeof(*attributes), compare_strings);
    *ret_suffix = *text;
    for (size_t i = 0; i < n; i++) {
        if (i && str_equal(attributes[i], attributes[i - 1]))
            return "has an attribute twice";
        length += (size_t)snprintf(ret_suffix + length, MIGNAME_SUFFIX_SIZE - length, "%s%s",
                                   i ? "," : "", attributes[i]);
    }
    return NULL;
}

static int name_length(const struct mig_name *name, char *text, size_t size)
{
    int n = 0;

    if (name->compute_slices != name->gpu_slices)
        n = snprintf(text, size, "%uc.", name->compute_slices);
    return n + snprintf(text + n, size - (size_t)n, "%ug.%ugb%s", name->gpu_slices, name->gb,
                        name->suffix);
}

static const char *read_name(const char *text, struct mig_name *name)
{
    char whole[64];
    const char *fault = NULL;

    if (!read_sizes(&text, name))
        return "is not of the form <slices>g.<memory>gb or <slices>c.<slices>g.<memory>gb";
    if (*text && *text != '+' && *text != '-')
        return "has something behind 'gb' that is no attribute like '+me'";
    if (*text)
        fault = read_suffix(text, name->suffix);
    if (!fault && name_length(name, whole, sizeof(whole)) >= DEVICE_PROFILE_SIZE)
        fault = "is too long";
    return fault;
}

int migname_parse(const char *text, struct mig_name *ret_name, struct error *err)
{
    struct mig_name name = {.suffix = ""};
    const char *fault = read_name(text, &name);

    if (fault)
        return error_set(err, -EINVAL, "the MIG profile '%.*s' %s; write for example '1g.5gb'",
                         SHOWN, text, fault);
    *ret_name = name;
    return 0;
}

void migname_format(const struct mig_name *name, char ret_text[DEVICE_PROFILE_SIZE])
{
    name_length(name, ret_text, DEVICE_PROFILE_SIZE);
}

bool migname_equal(const struct mig_name *a, const struct mig_name *b)
{
    return a->compute_slices == b->compute_slices && a->gpu_slices == b->gpu_slices &&
           a->gb == b->gb && str_equal(a->suffix, b->suffix);
}

/*
 * Memory is named by eighths of the GPU, rounded up: ceil(mem * 8 / total) / 8 of the total in
 * whole GiB, rounded to the nearest (halves up). So 4864 MiB of an A100 are "5gb". NVIDIA computes
 * it with floating point; every step is exact there as well, but for the quotient of sizes above
 * 2^53 bytes.
 */
static uint32_t named_gb(uint64_t mem_mib, uint64_t total_bytes)
{
    unsigned __int128 eighths, gib = total_bytes / (1 << 30) + (total_bytes % (1 << 30) != 0);

    if (!total_bytes)
        return 0;
    eighths = (((unsigned __int128)mem_mib << 23) + total_bytes - 1) / total_bytes;
    eighths = (eighths * gib + 4) / 8;
    return eighths > 999999 ? 999999 : (uint32_t)eighths;
}

int migname_compute(uint32_t gpu_index, uint32_t compute_index, uint64_t mem_mib,
                    uint64_t total_bytes, struct mig_name *ret_name)
{
    struct mig_name name = {.gpu_slices = gpu_slices(gpu_index),
                            .compute_slices = migname_compute_slices(compute_index),
                            .gb = named_gb(mem_mib, total_bytes)};

    if (!name.gpu_slices || !name.compute_slices)
        return MIGNAME_UNKNOWN;
    snprintf(name.suffix, sizeof(name.suffix), "%s", gpu_profiles[gpu_index].suffix);
    *ret_name = name;
    return 0;
}
