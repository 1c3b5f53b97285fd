// SPDX-License-Identifier: Apache-2.0
#include "arbiter/localgrants.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"

#define RESOURCE "run"

enum { ID_SIZE = GPU_UUID_SIZE + GRANT_ID_SIZE + 8 };

void localgrants_deinit(struct localgrants *grants)
{
    free(grants->items);
    *grants = (struct localgrants)LOCALGRANTS_INIT;
}

static int read_one(const char *folder, const char *id, struct localgrants *grants)
{
    struct localgrant *grant =
        array_push(&grants->items, &grants->n, &grants->capacity, sizeof(*grant));

    if (!grant)
        return -ENOMEM;
    if (localgrant_load(folder, id, grant, NULL) < 0)
        grants->n--;
    return 0;
}

int localgrants_read(const char *folder, struct localgrants *grants, struct error *err)
{
    char path[PATH_MAX];
    cleanup_closedir DIR *listing = NULL;
    const struct dirent *entry;
    int r = 0;

    if (snprintf(path, sizeof(path), "%s/" LOCALGRANT_FOLDER, folder) >= PATH_MAX)
        return error_set_errno(err, -ENAMETOOLONG, "cannot read %s", folder);
    listing = opendir(path);
    if (!listing)
        return errno == ENOENT ? 0 : error_set_errno(err, -errno, "cannot read %s", path);
    while (r == 0 && (entry = readdir(listing)))
        if (grant_is_id(entry->d_name))
            r = read_one(folder, entry->d_name, grants);
    return r < 0 ? error_set_errno(err, r, "cannot read %s", path) : 0;
}

const struct localgrant *localgrants_find(const struct localgrants *grants, pid_t pid)
{
    struct localgrant_process process;

    if (!grants->n || localgrant_look(pid, &process) < 0)
        return NULL;
    for (size_t i = 0; i < grants->n; i++)
        if (localgrant_has(&grants->items[i], &process))
            return &grants->items[i];
    return NULL;
}

/* --- as records --- */

/* Of one device, and nobody else's: who gets an id takes it from its holder. */
static void format_id(const struct localgrant *local, size_t i, char id[ID_SIZE])
{
    snprintf(id, ID_SIZE, "%s::run-%s", local->limits[i].uuid, local->id);
}

static int add_grant(const struct localgrant *local, struct ledger *ledger)
{
    struct grant grant = {.resource = strdup(RESOURCE)};
    int r = grant.resource ? str_copy(grant.id, sizeof(grant.id), local->id) : -ENOMEM;

    for (size_t i = 0; r == 0 && i < local->n_limits; i++) {
        char id[ID_SIZE];

        format_id(local, i, id);
        r = grant_add_id(&grant, id);
        if (r == 0)
            r = grant_add_device(&grant, local->limits[i].uuid, local->limits[i].share_permille,
                                 local->limits[i].bytes);
    }
    if (r == 0)
        r = ledger_add(ledger, &grant, 0);
    grant_deinit(&grant);
    return r;
}

static int add_entry(const struct localgrant *local, struct kubeletcheckpoint *checkpoint)
{
    struct kubeletcheckpoint_entry *entry = array_push(&checkpoint->entries, &checkpoint->n_entries,
                                                       &checkpoint->capacity, sizeof(*entry));

    if (!entry)
        return -ENOMEM;
    *entry = (struct kubeletcheckpoint_entry){.container = LOCALGRANT_CONTAINER,
                                              .resource = strdup(RESOURCE)};
    localgrant_format_uid(local->id, entry->pod_uid);
    snprintf(entry->grant, sizeof(entry->grant), "%s", local->id);
    entry->ids = calloc(local->n_limits + 1, sizeof(*entry->ids));
    for (; entry->ids && entry->n_ids < local->n_limits; entry->n_ids++) {
        char id[ID_SIZE];

        format_id(local, entry->n_ids, id);
        entry->ids[entry->n_ids] = strdup(id);
        if (!entry->ids[entry->n_ids])
            return -ENOMEM;
    }
    return entry->resource && entry->ids ? 0 : -ENOMEM;
}

int localgrants_add(const struct localgrants *grants, struct podrecords *records)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < grants->n; i++) {
        r = add_grant(&grants->items[i], &records->ledger);
        if (r == 0)
            r = add_entry(&grants->items[i], &records->checkpoint);
    }
    return r;
}
