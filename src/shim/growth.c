// SPDX-License-Identifier: Apache-2.0
#include "shim/growth.h"

#include <stdlib.h>
#include <string.h>

#include "shim/amount.h"
#include "shim/ownlock.h"
#include "shim/session.h"

/* What a pool grows by, and the memory of graphs; an H200 under 580 does so. */
#define STEP_BYTES (UINT64_C(32) << 20)

enum {
    ATTEMPTS = 4, /* to read of a pool that is in use all the time */
    WAITS = 4,    /* after memory was freed: one of them is for the stream that frees it */
};

struct growth {
    struct growth_source source;
    uint64_t charged_bytes;
    uint64_t busy_bytes; /* what calls that have begun and not ended may make it grow by at most */
    unsigned n_changes;  /* how many have begun and ended, ever */
    struct growth *next;
};

static struct ownlock lock = OWNLOCK_NEW;
static struct growth *all;
static unsigned n_waits; /* that are still to be looked at */

static void enter(void)
{
    if (ownlock_enter(&lock))
        all = NULL;
}

static void leave(void)
{
    ownlock_leave(&lock);
}

static struct growth *find(const struct growth_source *source)
{
    for (struct growth *growth = all; growth; growth = growth->next)
        if (growth->source.pool == source->pool && growth->source.device == source->device)
            return growth;
    return NULL;
}

static struct growth *find_or_add(const struct growth_source *source)
{
    struct growth *growth = find(source);

    if (growth || !(growth = calloc(1, sizeof(*growth))))
        return growth;
    growth->source = *source;
    growth->next = all;
    all = growth;
    return growth;
}

static uint64_t value_of(const struct cuda_functions *driver, const struct growth_source *source,
                         CUmemPool_attribute of_pool, CUgraphMem_attribute of_graphs)
{
    uint64_t value = 0;
    CUresult r = CUDA_ERROR_NOT_SUPPORTED;

    if (source->pool && driver->cuMemPoolGetAttribute)
        r = driver->cuMemPoolGetAttribute(source->pool, of_pool, &value);
    else if (!source->pool && driver->cuDeviceGetGraphMemAttribute)
        r = driver->cuDeviceGetGraphMemAttribute(source->device, of_graphs, &value);
    return r == CUDA_SUCCESS ? value : 0;
}

static uint64_t reserved_of(const struct cuda_functions *driver, const struct growth_source *source)
{
    return value_of(driver, source, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT,
                    CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT);
}

static uint64_t used_of(const struct cuda_functions *driver, const struct growth_source *source)
{
    return value_of(driver, source, CU_MEMPOOL_ATTR_USED_MEM_CURRENT,
                    CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT);
}

static uint64_t most_growth(uint64_t bytes)
{
    return bytes > AMOUNT_MOST ? AMOUNT_MOST : (bytes + STEP_BYTES - 1) / STEP_BYTES * STEP_BYTES;
}

/* How many calls have begun or ended: what is read of the driver holds if that is the same after
 * it. */
static unsigned n_changes(const struct growth_source *source)
{
    const struct growth *growth;
    unsigned n;

    enter();
    growth = find(source);
    n = growth ? growth->n_changes : 0;
    leave();
    return n;
}

/* A pool first gives what it has and nobody uses; if that is in pieces, it grows all the same, and
 * growth_settle sees it. Other calls that go on may take it before this one, and what they make it
 * grow by is charged already, whether or not `reserved` shows it: this one's is added to that. */
static uint64_t missing_of(const struct growth *growth, uint64_t reserved, uint64_t unused,
                           uint64_t bytes, bool is_alone)
{
    const uint64_t most = most_growth(bytes);
    const bool fits = bytes <= unused && unused - bytes >= growth->busy_bytes;
    const uint64_t wanted = reserved + (fits ? 0 : most);

    if (!is_alone)
        return fits ? 0 : most;
    return wanted > growth->charged_bytes ? wanted - growth->charged_bytes : 0;
}

static void end(struct growth *growth, uint64_t bytes)
{
    const uint64_t most = most_growth(bytes);

    growth->busy_bytes -= most < growth->busy_bytes ? most : growth->busy_bytes;
    growth->n_changes++;
}

/* Returns what is missing, which it notes as charged. What was read while calls began or ended is
 * read again; at last it is taken that the pool has nothing unused. */
static uint64_t begin(const struct cuda_functions *driver, const struct growth_source *source,
                      uint64_t bytes)
{
    for (unsigned attempt = 1;; attempt++) {
        const unsigned before = n_changes(source);
        const uint64_t reserved = reserved_of(driver, source);
        const uint64_t used = source->pool ? used_of(driver, source) : reserved;
        uint64_t missing = 0;
        struct growth *growth;
        bool holds;

        enter();
        growth = find_or_add(source);
        holds = !growth || growth->n_changes == before;
        if (growth && (holds || attempt == ATTEMPTS)) {
            missing = missing_of(growth, reserved, holds && used < reserved ? reserved - used : 0,
                                 bytes, holds && growth->busy_bytes == 0);
            growth->charged_bytes += missing;
            growth->busy_bytes += most_growth(bytes);
            growth->n_changes++;
        }
        leave();
        if (holds || attempt == ATTEMPTS)
            return missing;
    }
}

int growth_prepare(const struct cuda_functions *driver, const struct growth_source *source,
                   uint64_t bytes, bool is_last)
{
    const uint64_t missing = begin(driver, source, bytes);
    struct growth *growth;

    if (missing == 0 || ((is_last || session_has(source->slot, missing)) &&
                         session_take(source->slot, missing) == 0))
        return 0;
    enter();
    growth = find(source);
    if (growth) {
        growth->charged_bytes -= missing;
        end(growth, bytes);
    }
    leave();
    return SESSION_DENIED;
}

/* Of what calls that go on may still make it grow by, nothing is given back. */
static int correct(const struct cuda_functions *driver, const struct growth_source *source,
                   bool is_ended, uint64_t bytes)
{
    const unsigned before = n_changes(source);
    const uint64_t reserved = reserved_of(driver, source);
    uint64_t more = 0, less = 0;
    struct growth *growth;

    enter();
    growth = find(source);
    if (growth) {
        const bool holds = growth->n_changes == before;

        if (is_ended)
            end(growth, bytes);
        if (reserved > growth->charged_bytes)
            more = reserved - growth->charged_bytes;
        else if (holds && growth->charged_bytes - reserved > growth->busy_bytes)
            less = growth->charged_bytes - reserved - growth->busy_bytes;
        growth->charged_bytes += more - less;
    }
    leave();
    if (less > 0)
        session_give(source->slot, less);
    if (more == 0 || session_take(source->slot, more) == 0)
        return 0;
    session_charge(source->slot, more);
    return SESSION_DENIED;
}

int growth_settle(const struct cuda_functions *driver, const struct growth_source *source,
                  uint64_t bytes)
{
    return correct(driver, source, true, bytes);
}

void growth_look(const struct cuda_functions *driver, const struct growth_source *source)
{
    correct(driver, source, false, 0);
}

/* The list only grows at its head; an entry that goes meanwhile is looked for by name. */
static void look_at_all(const struct cuda_functions *driver, bool is_any, int slot)
{
    enum { MANY = 64 };
    struct growth_source sources[MANY];
    unsigned n = 0;

    enter();
    for (const struct growth *growth = all; growth && n < MANY; growth = growth->next)
        if ((is_any || growth->source.slot == slot) && growth->charged_bytes > 0)
            sources[n++] = growth->source;
    leave();
    for (unsigned i = 0; i < n; i++)
        growth_look(driver, &sources[i]);
}

void growth_look_at_all(const struct cuda_functions *driver, int slot)
{
    look_at_all(driver, false, slot);
}

void growth_freed(void)
{
    __atomic_store_n(&n_waits, WAITS, __ATOMIC_RELAXED);
}

void growth_waited(const struct cuda_functions *driver)
{
    const unsigned n = __atomic_load_n(&n_waits, __ATOMIC_RELAXED);

    if (n == 0)
        return;
    __atomic_store_n(&n_waits, n - 1, __ATOMIC_RELAXED);
    look_at_all(driver, true, SESSION_NO_SLOT);
}

bool growth_find(CUmemoryPool pool, struct growth_source *ret_source)
{
    const struct growth *growth;

    enter();
    for (growth = all; growth && growth->source.pool != pool; growth = growth->next)
        ;
    if (growth)
        *ret_source = growth->source;
    leave();
    return growth != NULL;
}

uint64_t growth_forget(const struct growth_source *source)
{
    uint64_t charged = 0;
    struct growth **link = &all, *growth;

    enter();
    growth = find(source);
    if (growth) {
        while (*link != growth)
            link = &(*link)->next;
        *link = growth->next;
        charged = growth->charged_bytes;
        free(growth);
    }
    leave();
    return charged;
}
