// SPDX-License-Identifier: Apache-2.0
#include "shim/allocations.h"

#include <stdlib.h>
#include <string.h>

#include "shim/ownlock.h"

enum { FIRST_SIZE = 1024 }; /* a power of two */

static struct ownlock lock = OWNLOCK_NEW;

/* Open addressing; kind 0 = empty. At most three quarters are used. */
static struct {
    struct allocated *places;
    size_t size, used;
    uint64_t serial;
} table;

static void enter(void)
{
    if (ownlock_enter(&lock))
        memset(&table, 0, sizeof(table)); /* a parent's may be half changed: left as it is */
}

static void leave(void)
{
    ownlock_leave(&lock);
}

/* Addresses are one space, whatever they are of. */
static unsigned space_of(enum allocation_kind kind)
{
    return kind == ALLOCATION_POOLED ? ALLOCATION_MEMORY : kind;
}

static size_t home_of(enum allocation_kind kind, uint64_t key, size_t size)
{
    const uint64_t mixed = (key ^ (uint64_t)space_of(kind) << 56) * UINT64_C(0x9e3779b97f4a7c15);

    return (size_t)(mixed >> 20) & (size - 1);
}

/* The entry, or the empty place where it would be. */
static struct allocated *find(enum allocation_kind kind, uint64_t key)
{
    size_t at = home_of(kind, key, table.size);

    while (table.places[at].kind &&
           (table.places[at].key != key || space_of(table.places[at].kind) != space_of(kind)))
        at = (at + 1) & (table.size - 1);
    return &table.places[at];
}

static bool grow(void)
{
    const size_t old_size = table.size;
    struct allocated *old = table.places;
    struct allocated *places;

    if (table.places && table.used < table.size / 4 * 3)
        return true;
    places = calloc(old_size ? old_size * 2 : FIRST_SIZE, sizeof(*places));
    if (!places)
        return table.places && table.used + 1 < table.size;
    table.places = places;
    table.size = old_size ? old_size * 2 : FIRST_SIZE;
    for (size_t i = 0; old && i < old_size; i++)
        if (old[i].kind)
            *find(old[i].kind, old[i].key) = old[i];
    free(old);
    return true;
}

bool allocations_put(const struct allocated *allocation, struct allocated *ret_older)
{
    struct allocated *place = NULL;

    *ret_older = (struct allocated){0};
    enter();
    if (grow()) {
        place = find(allocation->kind, allocation->key);
        *ret_older = *place;
        table.used += !place->kind;
        *place = *allocation;
        place->serial = ++table.serial;
    }
    leave();
    return place != NULL;
}

/* What stands behind moves up, so that it is still found. */
static void empty(struct allocated *place)
{
    size_t hole = (size_t)(place - table.places);

    table.used--;
    for (size_t at = (hole + 1) & (table.size - 1); table.places[at].kind;
         at = (at + 1) & (table.size - 1)) {
        const size_t home = home_of(table.places[at].kind, table.places[at].key, table.size);

        if (((at - home) & (table.size - 1)) < ((at - hole) & (table.size - 1)))
            continue;
        table.places[hole] = table.places[at];
        hole = at;
    }
    table.places[hole] = (struct allocated){0};
}

static bool look(enum allocation_kind kind, uint64_t key, uint64_t serial, bool is_taken,
                 struct allocated *ret_allocation)
{
    struct allocated *place;
    bool found = false;

    enter();
    if (table.places) {
        place = find(kind, key);
        found = place->kind && (!serial || place->serial == serial);
        if (found)
            *ret_allocation = *place;
        if (found && is_taken)
            empty(place);
    }
    leave();
    return found;
}

bool allocations_take(enum allocation_kind kind, uint64_t key, struct allocated *ret_allocation)
{
    return look(kind, key, 0, true, ret_allocation);
}

bool allocations_get(enum allocation_kind kind, uint64_t key, struct allocated *ret_allocation)
{
    return look(kind, key, 0, false, ret_allocation);
}

bool allocations_take_same(const struct allocated *allocation)
{
    struct allocated taken;

    return look(allocation->kind, allocation->key, allocation->serial, true, &taken);
}

uint64_t allocations_disown(uint64_t pool)
{
    uint64_t bytes = 0;

    enter();
    for (size_t i = 0; table.places && i < table.size; i++)
        if (table.places[i].kind == ALLOCATION_POOLED && table.places[i].owner == pool) {
            table.places[i].owner = 0;
            bytes += table.places[i].bytes;
        }
    leave();
    return bytes;
}

struct allocated *allocations_list(allocations_match_fn *match, const void *userdata, size_t *ret_n)
{
    struct allocated *list;
    size_t n = 0;

    enter();
    list = table.used ? malloc(table.used * sizeof(*list)) : NULL;
    for (size_t i = 0; list && i < table.size; i++)
        if (table.places[i].kind && match(&table.places[i], userdata))
            list[n++] = table.places[i];
    leave();
    *ret_n = n;
    return list;
}
