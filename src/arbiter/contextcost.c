// SPDX-License-Identifier: Apache-2.0
#include "arbiter/contextcost.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"

/* Measured with one context of CUDA 13.0, by NVML's memory of the process. */
static const struct row {
    const char *model; /* part of the product name */
    long branch;       /* of the driver */
    uint64_t mebibytes;
} rows[] = {
    {"H200", 580, 518},
    {"H100", 580, 518},
};

static void format_name(char *name, size_t size, const char *model, const char *profile)
{
    snprintf(name, size, "%s %s", model, profile);
}

static uint64_t find_row(const char *model, const char *driver)
{
    const long branch = strtol(driver, NULL, 10);

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (branch == rows[i].branch && strstr(model, rows[i].model))
            return rows[i].mebibytes << 20;
    return 0;
}

uint64_t contextcost_get(const struct contextcost *cost, const char *model, const char *profile,
                         const char *driver)
{
    char name[sizeof(cost->learned[0].name)];
    uint64_t bytes = *profile ? 0 : find_row(model, driver);

    format_name(name, sizeof(name), model, profile);
    for (size_t i = 0; !bytes && i < cost->n; i++)
        if (str_equal(cost->learned[i].name, name))
            bytes = cost->learned[i].bytes;
    return bytes ? bytes : CONTEXTCOST_UNKNOWN_BYTES;
}

void contextcost_learn(struct contextcost *cost, const char *model, const char *profile,
                       uint64_t bytes)
{
    char name[sizeof(cost->learned[0].name)];

    format_name(name, sizeof(name), model, profile);
    for (size_t i = 0; i < cost->n; i++)
        if (str_equal(cost->learned[i].name, name))
            return;
    if (!bytes || cost->n == CONTEXTCOST_MODELS_MAX)
        return;
    if (bytes > CONTEXTCOST_UNKNOWN_BYTES)
        bytes = CONTEXTCOST_UNKNOWN_BYTES;
    if (bytes < CONTEXTCOST_LEAST_BYTES)
        bytes = CONTEXTCOST_LEAST_BYTES;
    memcpy(cost->learned[cost->n].name, name, sizeof(name));
    cost->learned[cost->n++].bytes = bytes;
}
