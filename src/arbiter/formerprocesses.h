// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The processes that have the library, as the arbiter before this one knew them: the numbers and
 * starts of those that were registered, and whether they took part in turns, in a file of the state
 * folder.
 *
 * A process connects again when it allocates or launches. Until then it is not registered, and
 * would count among those that run without the library, though it asks before it takes anything.
 * Who has been registered here and hangs up is no former one any more.
 *
 * Reading and writing block as long as the folder's file system does, which is the node's /run.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"

#define FORMERPROCESSES_NAME "limits-processes"

enum { FORMERPROCESSES_MAX = 16384 };

struct formerprocess {
    uint32_t pid;
    uint64_t start; /* procfs_read_start: the number may be another's later */
    bool is_former; /* it has not been registered here */
    bool takes_turns;
};

struct formerprocesses {
    struct formerprocess *items;
    size_t n, capacity;
    const char *folder, *root; /* borrowed: of the file, and of /proc; NULL = none is kept */
    bool is_changed;           /* since it was stored */
};

#define FORMERPROCESSES_INIT \
    {                        \
        .items = NULL        \
    }

void formerprocesses_deinit(struct formerprocesses *former);
#define cleanup_formerprocesses cleanup(formerprocesses_deinit)

/* Into an empty one, those of the file that still live. Without a file that can be understood there
 * are none. */
void formerprocesses_load(struct formerprocesses *former, const char *folder, const char *root);

/* A process is registered, and takes part in turns or does not, from now on. */
void formerprocesses_meet(struct formerprocesses *former, uint32_t pid, bool takes_turns);

/* Was it registered with the arbiter before, and not with this one? */
bool formerprocesses_has(const struct formerprocesses *former, uint32_t pid);

/* And did it take part in turns there? */
bool formerprocesses_takes_turns(const struct formerprocesses *former, uint32_t pid);

/* If anything has changed; drops those that have ended. 0 or a negative errno. */
int formerprocesses_store(struct formerprocesses *former, struct error *err);
