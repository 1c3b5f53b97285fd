// SPDX-License-Identifier: Apache-2.0
#include "arbiter/exchanges.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "limits/exchange.h"

/* Processes by the numbers of their pages, which no two pages ever have. */
struct link {
    uint64_t gave, opened;
    size_t from, to; /* their containers, in the last match */
};

struct exchanges {
    size_t n_links;
    struct link links[EXCHANGES_LINKS_MAX];
};

/* As it was read. */
struct name {
    struct exchange_name claim;
    uint64_t process;
    size_t container;
    size_t owner; /* 0 where that does not matter */
};

struct exchanges *exchanges_new(void)
{
    return calloc(1, sizeof(struct exchanges));
}

void exchanges_free(struct exchanges *exchanges)
{
    free(exchanges);
}

bool exchanges_has_news(struct claimspage *page, size_t device)
{
    struct claimspage_past *past = &page->pasts[device];
    const uint32_t n_changes = limits_load(exchange_of(page->claims)->n_changes);
    const bool has_news = n_changes != past->n_exchanged;

    past->n_exchanged = n_changes;
    return has_news;
}

/* --- links --- */

/* False: it is gone. */
static bool find_container(const struct exchanges_process *processes, size_t n_processes,
                           uint64_t number, size_t *ret_container)
{
    for (size_t i = 0; i < n_processes; i++)
        if (processes[i].page->number == number) {
            *ret_container = processes[i].container;
            return true;
        }
    return false;
}

static void keep_links(struct exchanges *exchanges, const struct exchanges_process *processes,
                       size_t n_processes)
{
    size_t n = 0;

    for (size_t i = 0; i < exchanges->n_links; i++) {
        struct link link = exchanges->links[i];

        if (find_container(processes, n_processes, link.gave, &link.from) &&
            find_container(processes, n_processes, link.opened, &link.to))
            exchanges->links[n++] = link;
    }
    exchanges->n_links = n;
}

static void add_link(struct exchanges *exchanges, const struct name *gave,
                     const struct name *opened)
{
    const size_t a = gave->container, b = opened->container;

    if (a == b || exchanges->n_links == EXCHANGES_LINKS_MAX)
        return;
    for (size_t i = 0; i < exchanges->n_links; i++) {
        const struct link *link = &exchanges->links[i];

        if ((link->from == a && link->to == b) || (link->from == b && link->to == a))
            return;
    }
    exchanges->links[exchanges->n_links++] =
        (struct link){gave->process, opened->process, gave->container, opened->container};
}

/* --- names --- */

/* Each word once: they may change meanwhile. */
static struct exchange_name read_name(const struct exchange_name *from)
{
    struct exchange_name name = {.side = limits_load(from->side),
                                 .device = limits_load(from->device),
                                 .kind = limits_load(from->kind)};

    for (size_t i = 0; i < sizeof(name.handle) / sizeof(*name.handle); i++)
        name.handle[i] = limits_load(from->handle[i]);
    return name;
}

static size_t read_names(const struct exchanges_process *process, struct name *to, size_t room)
{
    const struct exchange *from = exchange_of(process->page->claims);
    size_t n = 0;

    for (size_t i = 0; i < EXCHANGE_NAMES && n < room; i++) {
        const struct exchange_name claim = read_name(&from->names[i]);

        const size_t owner = claim.kind == EXCHANGE_DESCRIPTOR ? process->owner : 0;

        if ((claim.side == EXCHANGE_GAVE || claim.side == EXCHANGE_OPENED) &&
            claim.device == process->device)
            to[n++] = (struct name){claim, process->page->number, process->container, owner};
    }
    return n;
}

/* to: has room for EXCHANGES_OF_CONTAINER of each. */
static size_t read_all(const struct exchanges_process *processes, size_t n_processes,
                       struct name *to)
{
    size_t n = 0, n_own = 0;

    for (size_t i = 0; i < n_processes; i++) {
        size_t more;

        if (i > 0 && processes[i].container != processes[i - 1].container)
            n_own = 0;
        more = read_names(&processes[i], to + n, EXCHANGES_OF_CONTAINER - n_own);
        n += more;
        n_own += more;
    }
    return n;
}

static int compare_handles(const struct name *a, const struct name *b)
{
    if (a->claim.kind != b->claim.kind)
        return a->claim.kind < b->claim.kind ? -1 : 1;
    if (a->owner != b->owner)
        return a->owner < b->owner ? -1 : 1;
    return memcmp(a->claim.handle, b->claim.handle, sizeof(a->claim.handle));
}

/* By handle; who gave it out comes first. */
static int compare(const void *a, const void *b)
{
    const struct name *x = a, *y = b;
    const int r = compare_handles(x, y);

    return r ? r : (int)x->claim.side - (int)y->claim.side;
}

/* All names of one handle. */
static void match_one(struct exchanges *exchanges, const struct name *names, size_t n)
{
    size_t n_gave = 0;

    for (; n_gave < n && names[n_gave].claim.side == EXCHANGE_GAVE; n_gave++)
        if (names[n_gave].container != names[0].container)
            return;
    for (size_t i = n_gave; n_gave > 0 && i < n; i++)
        add_link(exchanges, &names[0], &names[i]);
}

static void match_all(struct exchanges *exchanges, struct name *names, size_t n)
{
    size_t n_same;

    qsort(names, n, sizeof(*names), compare);
    for (size_t i = 0; i < n; i += n_same) {
        n_same = 1;
        while (i + n_same < n && compare_handles(&names[i], &names[i + n_same]) == 0)
            n_same++;
        match_one(exchanges, &names[i], n_same);
    }
}

/* --- groups --- */

/* Each link brings the greater group's number down to the other one's, until none does. */
static void make_groups(const struct exchanges *exchanges, size_t n_containers, size_t *ret_groups)
{
    bool is_changed = true;

    for (size_t i = 0; i < n_containers; i++)
        ret_groups[i] = i;
    while (is_changed) {
        is_changed = false;
        for (size_t i = 0; i < exchanges->n_links; i++) {
            size_t *a = &ret_groups[exchanges->links[i].from];
            size_t *b = &ret_groups[exchanges->links[i].to];

            is_changed = is_changed || *a != *b;
            *a = *b = *a < *b ? *a : *b;
        }
    }
}

int exchanges_match(struct exchanges *exchanges, const struct exchanges_process *processes,
                    size_t n_processes, size_t n_containers, size_t *ret_groups)
{
    const size_t of_processes = n_processes * EXCHANGE_NAMES,
                 of_containers = n_containers * EXCHANGES_OF_CONTAINER,
                 most = of_processes < of_containers ? of_processes : of_containers;
    cleanup_free struct name *names = calloc(most + 1, sizeof(*names));

    keep_links(exchanges, processes, n_processes);
    if (names)
        match_all(exchanges, names, read_all(processes, n_processes, names));
    make_groups(exchanges, n_containers, ret_groups);
    return names ? 0 : -ENOMEM;
}
