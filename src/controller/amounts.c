// SPDX-License-Identifier: Apache-2.0
#include "controller/amounts.h"

#include <errno.h>
#include <stdlib.h>

#include "base/array.h"
#include "kube/field.h"
#include "slice/name.h"

void amounts_deinit(struct amounts *amounts)
{
    free(amounts->items);
    *amounts = (struct amounts){.items = NULL};
}

static const struct amount *find(const struct amounts *amounts, const char *name)
{
    for (size_t i = 0; i < amounts->n_items; i++)
        if (str_equal(amounts->items[i].name, name))
            return &amounts->items[i];
    return NULL;
}

int amounts_set(struct amounts *amounts, const char *name, int64_t count)
{
    struct amount *amount = (struct amount *)(uintptr_t)find(amounts, name);

    if (!amount && (amounts->n_items == AMOUNTS_MAX || strlen(name) >= RESOURCE_NAME_SIZE))
        return -E2BIG;
    if (!amount)
        amount =
            array_push(&amounts->items, &amounts->n_items, &amounts->capacity, sizeof(*amount));
    if (!amount)
        return -ENOMEM;
    str_copy(amount->name, sizeof(amount->name), name);
    amount->count = count;
    return 0;
}

int amounts_read(const json_t *object, struct amounts *amounts)
{
    const char *name;
    json_t *quantity;

    json_object_foreach((json_t *)(uintptr_t)object, name, quantity)
    {
        const int64_t count = kube_count(quantity);

        if (str_starts_with(name, NAME_DOMAIN) && count >= 0 &&
            amounts_set(amounts, name, count) == -ENOMEM)
            return -ENOMEM;
    }
    return 0;
}

int64_t amounts_get(const struct amounts *amounts, const char *name)
{
    const struct amount *amount = find(amounts, name);

    return amount ? amount->count : 0;
}

bool amounts_meet(const struct amounts *amounts, const struct amounts *promised)
{
    for (size_t i = 0; i < promised->n_items; i++)
        if (amounts_get(amounts, promised->items[i].name) != promised->items[i].count)
            return false;
    return true;
}

bool amounts_equal(const struct amounts *a, const struct amounts *b)
{
    return amounts_meet(a, b) && amounts_meet(b, a);
}

void amounts_add_text(const struct amounts *amounts, struct text *out)
{
    for (size_t i = 0; i < amounts->n_items; i++)
        text_addf(out, "%s%s %lld", i ? ", " : "", amounts->items[i].name,
                  (long long)amounts->items[i].count);
    if (!amounts->n_items)
        text_add(out, "nothing");
}
