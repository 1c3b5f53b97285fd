// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Memory that the driver takes in steps of its own and keeps, and tells how much it has: pools, and
 * what the graphs of a device share. It is charged as the driver has it reserved, not as it is
 * used; nothing waits for a stream to find out.
 *
 * Before a call that may make it grow, growth_prepare charges what it may grow by; growth_settle
 * corrects that afterwards. Calls at once are charged each by itself, as if the others took what
 * the pool has unused. What the driver gives back by itself, when a stream is synchronised, is
 * seen then, if memory was freed shortly before: other processes may want it. Else it is seen by
 * the next call of either, by one that asks how much is free, and before anything is denied.
 */

#include <stdbool.h>
#include <stdint.h>

#include "shim/driver.h"

struct growth_source {
    CUmemoryPool pool; /* NULL: the graphs of the device */
    CUdevice device;
    int slot;
};

/* 0 or SESSION_DENIED; unless it is the last attempt, the arbiter is not asked for what is known to
 * be more than there is. */
int growth_prepare(const struct cuda_functions *driver, const struct growth_source *source,
                   uint64_t bytes, bool is_last);

/* After growth_prepare of as many bytes, whatever became of the call. SESSION_DENIED: it has grown
 * by more than was to be had, which is charged all the same. */
int growth_settle(const struct cuda_functions *driver, const struct growth_source *source,
                  uint64_t bytes);

/* Without such a call: charges what there is. */
void growth_look(const struct cuda_functions *driver, const struct growth_source *source);
void growth_look_at_all(const struct cuda_functions *driver, int slot);

/* Memory of a pool was freed, perhaps in a stream that is not there yet; a stream was waited for.
 * The second costs a look at a flag, but for the first few times after the first. */
void growth_freed(void);
void growth_waited(const struct cuda_functions *driver);

/* False: nothing is charged for that pool, or it was destroyed. */
bool growth_find(CUmemoryPool pool, struct growth_source *ret_source);

/* It was destroyed: returns what was charged for it, and still is. */
uint64_t growth_forget(const struct growth_source *source);
