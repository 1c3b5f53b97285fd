// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The ledger and its journal: grants are on disk before the response is sent.
 *
 * The ledger changes immediately; its records are queued until a commit writes and syncs them
 * together. A commit runs in three steps, so that a slow disk blocks nothing else:
 *
 *     grantstore_begin    in the owner's thread: takes the queue
 *     grantstore_run      in any thread: the I/O, which may block
 *     grantstore_finish   in the owner's thread: the result
 *
 * One commit at a time; more records may be added meanwhile, and the next commit takes them all.
 * The first commit loads the journal, and what was added before counts as newer; the second one
 * writes a new file, because an earlier process may have been killed after a failed sync. After a
 * failed write or sync of the current file its content on the disk is unknown: the next commit
 * loads it, and then the whole file must be rewritten. A rewrite that only saves space may fail:
 * appends go on. A log that disappears under this process is written again from memory.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "grant/journal.h"
#include "grant/ledger.h"

enum grantstore_outcome {
    GRANTSTORE_AGAIN = 1, /* nothing is durable yet; begin another commit now */
};

struct grantstore_setup {
    const char *folder; /* copied */
    const char *machine, *boot;
    /* One for each grant of slices (grantdir.h), made before it is durable. */
    bool keeps_directories;
    const char *mode; /* as of grantstore_set_mode; NULL = "none" */
};

struct grantstore {
    struct ledger ledger;
    struct journal journal; /* the running commit's while there is one */
    bool keeps_directories;
    const char *mode;
    bool is_loaded;    /* the journal is open, and the ledger has all of it */
    bool was_loaded;   /* once at least */
    bool must_rewrite; /* appending to this file is not enough */
    bool must_rebuild; /* directories: set by a load, and by an owner that wants it */
    bool is_running;
    bool is_full;        /* the disk had no room to reserve when last asked */
    struct text waiting; /* framed records that are not durable */
    uint64_t n_recorded; /* records ever made */
    uint64_t n_durable;  /* of those, on the disk */
    uint64_t size;       /* of the file in bytes */
    uint64_t rewrite_at; /* size at which the file is rewritten */
    uint64_t n_syncs, n_failed_syncs;
};

/* 0 or a negative errno. Touches no file. */
int grantstore_init(struct grantstore *store, const struct grantstore_setup *setup,
                    struct error *err);

/* No commit may be running. */
void grantstore_deinit(struct grantstore *store);

/* Adds to the ledger; *ret_ticket is for grantstore_is_durable. 0, LEDGER_DUPLICATE or -ENOMEM. */
int grantstore_add(struct grantstore *store, const struct grant *grant, uint64_t now_ms,
                   uint64_t *ret_ticket);

/* A grant ended. 0 or -ENOMEM. Nobody waits for it to be durable: a grant that comes back is freed
 * again. */
int grantstore_free(struct grantstore *store, const char *grant_id);

/* As grantstore_free for each; on -ENOMEM the first ones are freed. */
int grantstore_free_many(struct grantstore *store, const char (*grant_ids)[GRANT_ID_SIZE],
                         size_t n);

/* A word of gpuslice.memory, static: the directories say it with the next commit. */
void grantstore_set_mode(struct grantstore *store, const char *mode);

bool grantstore_is_durable(const struct grantstore *store, uint64_t ticket);

/* There is something for a commit to do now. Without it a commit only asks for room on the disk. */
bool grantstore_has_work(const struct grantstore *store);

struct grantstore_commit;

/* NULL without memory, and while one is running. */
struct grantstore_commit *grantstore_begin(struct grantstore *store);

void grantstore_run(struct grantstore_commit *commit);

/* Findings of a commit for people. */
struct grantstore_notes {
    bool was_loaded;          /* the journal was read */
    size_t n_torn_bytes;      /* truncated at its end: never answered */
    char set_aside[PATH_MAX]; /* a file that is not ours, under its new name */
    char damaged[PATH_MAX];   /* what followed damage within the log */
    char other[NAME_MAX + 1]; /* a log of another version beside ours */
};

/*
 * Frees the commit. 0: what was pending when it began is durable; GRANTSTORE_AGAIN; or a negative
 * errno with a message: nothing is durable, retry later.
 */
int grantstore_finish(struct grantstore *store, struct grantstore_commit *commit, uint64_t now_ms,
                      struct grantstore_notes *ret_notes, struct error *err);
