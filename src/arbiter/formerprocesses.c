// SPDX-License-Identifier: Apache-2.0
#include "arbiter/formerprocesses.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arbiter/procfs.h"
#include "base/array.h"
#include "base/file.h"
#include "base/number.h"
#include "base/text.h"

enum { FILE_MAX_BYTES = 1 << 20 };

#define TAKES_TURNS " turns"

void formerprocesses_deinit(struct formerprocesses *former)
{
    free(former->items);
    *former = (struct formerprocesses)FORMERPROCESSES_INIT;
}

static bool is_alive(const struct formerprocesses *former, const struct formerprocess *item)
{
    uint64_t start;

    return procfs_read_start(former->root, item->pid, &start, NULL) == 0 && start == item->start;
}

static void add(struct formerprocesses *former, const struct formerprocess *made)
{
    struct formerprocess *item =
        former->n < FORMERPROCESSES_MAX
            ? array_push(&former->items, &former->n, &former->capacity, sizeof(*former->items))
            : NULL;

    if (item)
        *item = *made;
}

/* --- the file --- */

static int format_path(const struct formerprocesses *former, char path[PATH_MAX])
{
    const int n = snprintf(path, PATH_MAX, "%s/" FORMERPROCESSES_NAME, former->folder);

    return n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* false: it is no line of ours, and no other one behind it. */
static bool read_line(struct formerprocesses *former, const char **at)
{
    struct formerprocess item = {.is_former = true};
    uint64_t pid;

    if (!number_digits(at, &pid) || !pid || pid > INT_MAX || *(*at)++ != ' ' ||
        !number_digits(at, &item.start))
        return false;
    item.takes_turns = str_starts_with(*at, TAKES_TURNS);
    *at += item.takes_turns ? strlen(TAKES_TURNS) : 0;
    if (*(*at)++ != '\n')
        return false;
    item.pid = (uint32_t)pid;
    if (is_alive(former, &item))
        add(former, &item);
    return true;
}

void formerprocesses_load(struct formerprocesses *former, const char *folder, const char *root)
{
    cleanup_free char *data = NULL;
    char path[PATH_MAX];
    const char *at;
    size_t size;

    former->folder = folder;
    former->root = root;
    if (format_path(former, path) < 0 || file_read(path, FILE_MAX_BYTES, &data, &size, NULL) < 0)
        return;
    at = data;
    while (*at && read_line(former, &at))
        ;
}

static void drop_ended(struct formerprocesses *former)
{
    size_t n = 0;

    for (size_t i = 0; i < former->n; i++)
        if (is_alive(former, &former->items[i]))
            former->items[n++] = former->items[i];
    former->n = n;
}

int formerprocesses_store(struct formerprocesses *former, struct error *err)
{
    cleanup_text struct text text = TEXT_INIT;
    char path[PATH_MAX];
    int r;

    if (!former->is_changed || !former->folder)
        return 0;
    drop_ended(former);
    for (size_t i = 0; i < former->n; i++)
        text_addf(&text, "%" PRIu32 " %" PRIu64 "%s\n", former->items[i].pid,
                  former->items[i].start, former->items[i].takes_turns ? TAKES_TURNS : "");
    r = text_failed(&text) ? -ENOMEM : format_path(former, path);
    if (r < 0)
        return error_set_errno(err, r, "cannot write " FORMERPROCESSES_NAME);
    former->is_changed = false; /* a disk that is full is no reason to try each second */
    return file_write_atomic(path, text_string(&text), text.length, 0600, err);
}

/* --- processes --- */

static struct formerprocess *find(const struct formerprocesses *former, uint32_t pid)
{
    for (size_t i = 0; i < former->n; i++)
        if (former->items[i].pid == pid)
            return &former->items[i];
    return NULL;
}

void formerprocesses_meet(struct formerprocesses *former, uint32_t pid, bool takes_turns)
{
    struct formerprocess made = {.pid = pid, .takes_turns = takes_turns};
    struct formerprocess *known = find(former, pid);

    if (!former->folder || procfs_read_start(former->root, pid, &made.start, NULL) < 0)
        return;
    if (known)
        *known = made;
    else
        add(former, &made);
    former->is_changed = true;
}

/* NULL: it was not, or has been registered here. */
static const struct formerprocess *find_former(const struct formerprocesses *former, uint32_t pid)
{
    const struct formerprocess *item = find(former, pid);

    return item && item->is_former && is_alive(former, item) ? item : NULL;
}

bool formerprocesses_has(const struct formerprocesses *former, uint32_t pid)
{
    return find_former(former, pid);
}

bool formerprocesses_takes_turns(const struct formerprocesses *former, uint32_t pid)
{
    const struct formerprocess *item = find_former(former, pid);

    return item && item->takes_turns;
}
