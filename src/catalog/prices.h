// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What instance types cost by the hour, on demand: prices.yaml of the catalog, a file with a date,
 * a region and a source. Read as strictly as the rest of the catalog.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/problem.h"
#include "catalog/catalog.h"

struct price {
    char type[CATALOG_NAME];
    uint64_t micro; /* of the currency, for an hour */
};

struct prices {
    char date[12]; /* "2026-07-06" */
    char region[32];
    char currency[8];
    struct price *items; /* in the order of the file */
    size_t n_items, capacity;
};

#define PRICES_INIT   \
    {                 \
        .items = NULL \
    }

void prices_deinit(struct prices *prices);
#define cleanup_prices cleanup(prices_deinit)

/* The file of a catalog's folder, or its text. 0, -EBADMSG when `problems` got an error, or
 * -ENOMEM. */
int prices_load(const char *folder, struct problems *problems, struct prices *ret_prices);
int prices_parse(const char *text, size_t size, struct problems *problems,
                 struct prices *ret_prices);

/* Of an instance type; 0 = not known. */
uint64_t prices_find(const struct prices *prices, const char *type);
