// SPDX-License-Identifier: Apache-2.0
#include "arbiter/batchend.h"

#include <assert.h>
#include <stdlib.h>

struct batchend {
    uv_check_t check; /* libuv calls it after the sockets of a batch */
    batchend_fn *fn;
    struct batchend_item *items, **tail; /* tail: the last one's `next` */
    size_t n;
};

struct batchend *batchend_new(uv_loop_t *loop, batchend_fn *fn)
{
    struct batchend *end = calloc(1, sizeof(*end));

    if (!end)
        return NULL;
    uv_check_init(loop, &end->check);
    end->check.data = end;
    end->fn = fn;
    end->tail = &end->items;
    return end;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void batchend_free(struct batchend *end)
{
    if (!end)
        return;
    assert(!end->items);
    uv_close((uv_handle_t *)&end->check, on_closed);
}

/* Those that are added meanwhile are of the next batch. */
static void on_check(uv_check_t *check)
{
    struct batchend *end = check->data;

    for (size_t n = end->n; n > 0 && end->items; n--) {
        struct batchend_item *item = end->items;

        batchend_remove(end, item);
        end->fn(item);
    }
}

void batchend_add(struct batchend *end, struct batchend_item *item)
{
    if (item->link)
        return;
    *item = (struct batchend_item){.link = end->tail};
    *end->tail = item;
    end->tail = &item->next;
    end->n++;
    uv_check_start(&end->check, on_check);
}

void batchend_remove(struct batchend *end, struct batchend_item *item)
{
    if (!item->link)
        return;
    *item->link = item->next;
    if (item->next)
        item->next->link = item->link;
    else
        end->tail = item->link;
    *item = (struct batchend_item){.link = NULL};
    if (--end->n == 0)
        uv_check_stop(&end->check);
}
