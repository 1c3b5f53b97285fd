// SPDX-License-Identifier: Apache-2.0
#include "config/overrides.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "config/schema.h"

struct override {
    const struct option *option; /* NULL: the text is only stored */
    char *text;
};

struct config_overrides {
    struct override *items;
    size_t n_items, capacity;
};

struct config_overrides *config_overrides_new(void)
{
    return calloc(1, sizeof(struct config_overrides));
}

void config_overrides_free(struct config_overrides *overrides)
{
    if (!overrides)
        return;
    for (size_t i = 0; i < overrides->n_items; i++)
        free(overrides->items[i].text);
    free(overrides->items);
    free(overrides);
}

static const char *keep(struct config_overrides *overrides, const struct option *option,
                        const char *text, size_t length)
{
    char *copy = strndup(text, length);
    struct override *item = NULL;

    if (copy)
        item =
            array_push(&overrides->items, &overrides->n_items, &overrides->capacity, sizeof(*item));
    if (!item) {
        free(copy);
        return NULL;
    }
    item->option = option;
    item->text = copy;
    return copy;
}

int config_overrides_add(struct config_overrides *overrides, const struct option *option,
                         const char *text)
{
    return keep(overrides, option, text, strlen(text)) ? 0 : -ENOMEM;
}

const char *config_overrides_keep(struct config_overrides *overrides, const char *text,
                                  size_t length)
{
    return keep(overrides, NULL, text, length);
}

/* The one of these that has flags; which devices are left out is the node's to say. */
static bool is_about_slices(const struct option *option)
{
    return option->offset == offsetof(struct config, policy.mig_strategy);
}

int config_overrides_apply(const struct config_overrides *overrides, bool but_slices,
                           struct config *config)
{
    for (size_t i = 0; overrides && i < overrides->n_items; i++) {
        const struct option *option = overrides->items[i].option;
        int r;

        if (!option || (but_slices && is_about_slices(option)))
            continue;
        r = option->kind->parse(option, overrides->items[i].text, (char *)config + option->offset,
                                NULL);
        assert(r != -EINVAL); /* validated when it was added */
        if (r < 0)
            return r;
        if (option->place)
            *(struct position *)(void *)((char *)config + option->place) = (struct position){0, 0};
    }
    return 0;
}
