// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Items that wait until the loop has handled all sockets that it found ready at once.
 *
 * epoll has an order of its own: the socket that it returned last comes first again. So a message
 * may be handled before one that another process sent earlier. An answer at the end of the batch
 * comes after all messages that were there when it was asked for.
 */

#include <uv.h>

struct batchend;

struct batchend_item {
    struct batchend_item *next, **link; /* link: what points to it; NULL = it does not wait */
};

/* It waits no more; it may be added again, for the next batch. */
typedef void batchend_fn(struct batchend_item *item);

/* NULL without memory. */
struct batchend *batchend_new(uv_loop_t *loop, batchend_fn *fn);

/* Nobody waits any more; its handle closes in a later turn of the loop. NULL is allowed. */
void batchend_free(struct batchend *end);

/* Once in each batch; in the order in which they came. */
void batchend_add(struct batchend *end, struct batchend_item *item);

/* Of one that does not wait as well. */
void batchend_remove(struct batchend *end, struct batchend_item *item);
