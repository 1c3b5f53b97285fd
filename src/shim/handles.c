// SPDX-License-Identifier: Apache-2.0
#include "shim/handles.h"

#include <string.h>

#include "shim/devices.h"
#include "shim/filemark.h"
#include "shim/ownlock.h"
#include "shim/session.h"

static struct ownlock lock = OWNLOCK_NEW;

/* A device's position may be another one with another arbiter: names have the session's slot. */
static struct {
    struct exchange *shown; /* NULL: there is no page */
    uint64_t mark;          /* of descriptors that are given out; 0: none yet */
    unsigned n_noted;       /* ever; those are in a ring */
    struct exchange_name names[EXCHANGE_NAMES];
} table;

static void enter(void)
{
    if (ownlock_enter(&lock))
        memset(&table, 0, sizeof(table));
}

static void leave(void)
{
    ownlock_leave(&lock);
}

/* Nobody reads one that has a side before all of it is there. */
static void show(unsigned number)
{
    const struct exchange_name *from = &table.names[number];
    struct exchange_name *to = &table.shown->names[number];
    const int position = session_position(from->device);

    __atomic_store_n(&to->side, EXCHANGE_NONE, __ATOMIC_RELEASE);
    if (position < 0)
        return;
    limits_store(to->device, (uint16_t)position);
    limits_store(to->kind, from->kind);
    for (size_t i = 0; i < sizeof(to->handle) / sizeof(*to->handle); i++)
        limits_store(to->handle[i], from->handle[i]);
    __atomic_store_n(&to->side, from->side, __ATOMIC_RELEASE);
}

static void tell_news(void)
{
    __atomic_add_fetch(&table.shown->n_changes, 1, __ATOMIC_RELEASE);
}

static unsigned count(void)
{
    return table.n_noted < EXCHANGE_NAMES ? table.n_noted : EXCHANGE_NAMES;
}

static bool is_noted(const struct exchange_name *name)
{
    for (unsigned i = 0; i < count(); i++)
        if (memcmp(&table.names[i], name, sizeof(*name)) == 0)
            return true;
    return false;
}

static void note(const struct exchange_name *name)
{
    const unsigned number = table.n_noted % EXCHANGE_NAMES;

    if (is_noted(name))
        return;
    table.names[number] = *name;
    table.n_noted = table.n_noted + 1 < 2 * EXCHANGE_NAMES ? table.n_noted + 1 : EXCHANGE_NAMES;
    if (!table.shown)
        return;
    show(number);
    tell_news();
}

void handles_note(const struct cuda_functions *driver, enum exchange_side side,
                  enum exchange_kind kind, const void *handle)
{
    struct exchange_name name = {.side = side, .kind = (uint16_t)kind};
    CUcontext context;
    CUdevice device;
    int slot;

    if (!session_start() || !devices_current(driver, &device, &context))
        return;
    slot = devices_slot(driver, device);
    if (slot == SESSION_NO_SLOT)
        return;
    name.device = (uint16_t)slot;
    memcpy(name.handle, handle, sizeof(name.handle));
    enter();
    note(&name);
    leave();
}

/* 0: there is none. */
static uint64_t get_mark(void)
{
    uint64_t mark;

    enter();
    if (!table.mark)
        table.mark = filemark_make();
    mark = table.mark;
    leave();
    return mark;
}

static void note_mark(const struct cuda_functions *driver, enum exchange_side side, uint64_t mark)
{
    const uint64_t handle[EXCHANGE_HANDLE_SIZE / sizeof(uint64_t)] = {mark};

    handles_note(driver, side, EXCHANGE_DESCRIPTOR, handle);
}

/* What it gave out itself is no news. */
static void note_opened(const struct cuda_functions *driver, int fd)
{
    uint64_t marks[FILEMARK_MOST], own;
    const size_t n = filemark_find(fd, marks);

    enter();
    own = table.mark;
    leave();
    for (size_t i = 0; i < n; i++)
        if (marks[i] != own)
            note_mark(driver, EXCHANGE_OPENED, marks[i]);
}

void handles_note_descriptor(const struct cuda_functions *driver, enum exchange_side side, int fd)
{
    const uint64_t mark = side == EXCHANGE_GAVE ? get_mark() : 0;

    if (side == EXCHANGE_OPENED)
        note_opened(driver, fd);
    else if (mark && filemark_put(fd, mark) == 0)
        note_mark(driver, side, mark);
}

void handles_show(struct claims *claims)
{
    enter();
    table.shown = exchange_of(claims);
    for (unsigned i = 0; i < count(); i++)
        show(i);
    if (table.n_noted)
        tell_news();
    leave();
}
