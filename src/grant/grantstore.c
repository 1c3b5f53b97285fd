// SPDX-License-Identifier: Apache-2.0
#include "grant/grantstore.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/array.h"
#include "grant/grantdir.h"

/* A file that grew to twice its size, and by this much, is mostly grants that are gone. */
enum { REWRITE_BYTES = 256 << 10 };

enum commit_kind {
    COMMIT_LOAD,
    COMMIT_APPEND,
    COMMIT_REWRITE,
    COMMIT_RESERVE,
};

struct grantstore_commit {
    enum commit_kind kind;
    struct journal *journal;
    struct text records;   /* to be written */
    size_t n_waiting;      /* bytes of the store's waiting records that this covers */
    uint64_t n_recorded;   /* as many records are durable when it succeeds */
    struct grantdir *dirs; /* of every grant that has one; NULL = none are kept, or not now */
    size_t n_dirs;
    struct journal_content content;
    int result;
    struct error err;
};

/* --- life --- */

int grantstore_init(struct grantstore *store, const struct grantstore_setup *setup,
                    struct error *err)
{
    *store = (struct grantstore){.keeps_directories = setup->keeps_directories,
                                 .mode = setup->mode ? setup->mode : "none"};
    if (journal_init(&store->journal, setup->folder, setup->machine, setup->boot) < 0)
        return error_set_errno(err, -ENAMETOOLONG, "cannot keep grants in %s", setup->folder);
    return 0;
}

void grantstore_deinit(struct grantstore *store)
{
    assert(!store->is_running);
    ledger_deinit(&store->ledger);
    journal_deinit(&store->journal);
    text_deinit(&store->waiting);
}

/* --- records --- */

/* Frames what `payload` holds behind the waiting ones. */
static int record(struct grantstore *store, const struct text *payload)
{
    size_t before = store->waiting.length;

    if (!text_failed(payload))
        journal_frame(text_string(payload), payload->length, &store->waiting);
    if (text_failed(payload) || text_failed(&store->waiting)) {
        store->waiting.length = before;
        store->waiting.failed = false;
        return -ENOMEM;
    }
    store->n_recorded++;
    return 0;
}

int grantstore_add(struct grantstore *store, const struct grant *grant, uint64_t now_ms,
                   uint64_t *ret_ticket)
{
    cleanup_text struct text payload = TEXT_INIT;
    int r = ledger_add(&store->ledger, grant, now_ms);

    if (r != 0)
        return r;
    grant_format(grant, &payload);
    r = record(store, &payload);
    if (r < 0) {
        ledger_free(&store->ledger, grant->id);
        return r;
    }
    text_clear(&payload);
    grant_format_profiles(grant, &payload);
    if (payload.length)
        (void)record(store, &payload); /* without memory it is a grant of an earlier release */
    *ret_ticket = store->n_recorded;
    return 0;
}

static int record_free(struct grantstore *store, const char *grant_id)
{
    cleanup_text struct text payload = TEXT_INIT;

    grant_format_free(grant_id, &payload);
    return record(store, &payload);
}

int grantstore_free(struct grantstore *store, const char *grant_id)
{
    int r = record_free(store, grant_id);

    if (r == 0)
        ledger_free(&store->ledger, grant_id);
    return r;
}

int grantstore_free_many(struct grantstore *store, const char (*grant_ids)[GRANT_ID_SIZE], size_t n)
{
    size_t n_recorded = 0;
    int r = 0;

    while (n_recorded < n && (r = record_free(store, grant_ids[n_recorded])) == 0)
        n_recorded++;
    ledger_free_many(&store->ledger, grant_ids, n_recorded);
    return r;
}

void grantstore_set_mode(struct grantstore *store, const char *mode)
{
    if (str_equal(mode, store->mode))
        return;
    store->mode = mode;
    store->must_rebuild |= store->keeps_directories;
}

bool grantstore_is_durable(const struct grantstore *store, uint64_t ticket)
{
    return store->n_durable >= ticket;
}

/* To save space, or once at the beginning. A full disk has no room for a second file. */
static bool wants_rewrite(const struct grantstore *store)
{
    return store->size > store->rewrite_at && !store->is_full;
}

bool grantstore_has_work(const struct grantstore *store)
{
    return !store->is_loaded || store->must_rewrite || store->must_rebuild ||
           wants_rewrite(store) || store->waiting.length;
}

/* --- commits --- */

static enum commit_kind choose_kind(const struct grantstore *store)
{
    if (!store->is_loaded)
        return COMMIT_LOAD;
    if (store->must_rewrite || wants_rewrite(store))
        return COMMIT_REWRITE;
    return store->waiting.length ? COMMIT_APPEND : COMMIT_RESERVE;
}

static int list_directories(const struct grantstore *store, struct grantstore_commit *commit)
{
    const struct ledger *ledger = &store->ledger;

    if (!store->keeps_directories || commit->kind == COMMIT_LOAD)
        return 0;
    commit->dirs = calloc(ledger->n_grants + 1, sizeof(*commit->dirs));
    if (!commit->dirs)
        return -ENOMEM;
    for (size_t i = 0; i < ledger->n_grants; i++) {
        const struct grant *grant = &ledger->grants[i]->grant;

        if (!grantdir_is_wanted(grant))
            continue;
        if (grantdir_init(grant, store->mode, &commit->dirs[commit->n_dirs]) < 0)
            return -ENOMEM;
        commit->n_dirs++;
    }
    return 0;
}

static void commit_free(struct grantstore_commit *commit)
{
    if (!commit)
        return;
    text_deinit(&commit->records);
    journal_content_deinit(&commit->content);
    while (commit->n_dirs)
        grantdir_deinit(&commit->dirs[--commit->n_dirs]);
    free(commit->dirs);
    free(commit);
}

DEFINE_CLEANUP(struct grantstore_commit *, commit_free)

struct grantstore_commit *grantstore_begin(struct grantstore *store)
{
    cleanup(commit_free_p) struct grantstore_commit *commit = calloc(1, sizeof(*commit));

    if (!commit || store->is_running)
        return NULL;
    commit->kind = choose_kind(store);
    commit->journal = &store->journal;
    commit->n_waiting = store->waiting.length;
    commit->n_recorded = store->n_recorded;
    if (commit->kind == COMMIT_REWRITE)
        ledger_format(&store->ledger, &commit->records);
    else if (commit->kind == COMMIT_APPEND)
        text_add_bytes(&commit->records, store->waiting.data, store->waiting.length);
    if (text_failed(&commit->records) || list_directories(store, commit) < 0)
        return NULL;
    store->is_running = true;
    store->must_rebuild &= commit->kind == COMMIT_LOAD;
    return TAKE_PTR(commit);
}

static int write_records(struct grantstore_commit *commit)
{
    struct journal *journal = commit->journal;
    const char *records = text_string(&commit->records);

    switch (commit->kind) {
    case COMMIT_LOAD:
        return journal_load(journal, &commit->content, &commit->err);
    case COMMIT_APPEND:
        return journal_append(journal, records, commit->records.length, &commit->err);
    case COMMIT_REWRITE:
        return journal_rewrite(journal, records, commit->records.length, &commit->err);
    case COMMIT_RESERVE:
        break;
    }
    return journal_reserve(journal, &commit->err);
}

void grantstore_run(struct grantstore_commit *commit)
{
    int r = 0;

    if (commit->dirs)
        r = grantdir_rebuild(commit->journal->folder, commit->dirs, commit->n_dirs, &commit->err);
    commit->result = r < 0 ? r : write_records(commit);
}

/* --- what a commit came to --- */

/* Frees are gathered: each pass over the ledger takes time in proportion to its size. */
struct frees {
    char (*ids)[GRANT_ID_SIZE];
    size_t n, capacity;
};

static void apply_frees(struct ledger *ledger, struct frees *frees)
{
    ledger_free_many(ledger, (const char(*)[GRANT_ID_SIZE])frees->ids, frees->n);
    frees->n = 0;
}

static int replay_one(struct ledger *ledger, const struct grant_record *record, struct frees *frees,
                      uint64_t now_ms)
{
    char(*freed)[GRANT_ID_SIZE];

    if (record->kind != GRANT_RECORD_FREE) {
        /* Only a grant that comes back under its id depends on the order. */
        if (record->kind == GRANT_RECORD_GRANT && ledger_find(ledger, record->grant.id))
            apply_frees(ledger, frees);
        return ledger_replay(ledger, record, now_ms);
    }
    freed = array_push(&frees->ids, &frees->n, &frees->capacity, sizeof(*freed));
    if (!freed)
        return -ENOMEM;
    memcpy(*freed, record->freed, sizeof(*freed));
    return 0;
}

static int replay(struct ledger *ledger, const void *data, size_t first, size_t end,
                  uint64_t now_ms)
{
    struct frees frees = {.ids = NULL};
    const void *payload;
    size_t size;
    int r = 0;

    while (r == 0 && journal_next(data, end, &first, &payload, &size)) {
        cleanup(grant_record_deinit) struct grant_record record = GRANT_RECORD_INIT;

        r = grant_record_parse(payload, size, &record);
        if (r == 0)
            r = replay_one(ledger, &record, &frees, now_ms);
        else if (r == -EBADMSG)
            r = 0; /* its checksum is right: a later release of this format wrote it */
    }
    apply_frees(ledger, &frees);
    free(frees.ids);
    return r;
}

/* The file's word comes first, then what this process granted since. */
static int take_content(struct grantstore *store, const struct journal_content *content,
                        uint64_t now_ms)
{
    cleanup(ledger_deinit) struct ledger ledger = LEDGER_INIT;
    int r = replay(&ledger, content->data.data, content->first, content->end, now_ms);

    if (r == 0)
        r = replay(&ledger, text_string(&store->waiting), 0, store->waiting.length, now_ms);
    if (r < 0)
        return r;
    ledger_inherit(&ledger, &store->ledger);
    ledger_deinit(&store->ledger);
    store->ledger = ledger;
    ledger = (struct ledger)LEDGER_INIT;
    return 0;
}

/* What a rewrite would write now. */
static uint64_t live_size(const struct ledger *ledger)
{
    cleanup_text struct text records = TEXT_INIT;

    ledger_format(ledger, &records);
    return text_failed(&records) ? 0 : records.length;
}

static int finish_load(struct grantstore *store, const struct grantstore_commit *commit,
                       uint64_t now_ms, struct grantstore_notes *notes, struct error *err)
{
    const struct journal_content *content = &commit->content;
    bool has_vanished = store->was_loaded && content->is_new;
    int r = has_vanished ? 0 : take_content(store, content, now_ms);

    if (r < 0)
        return error_set_errno(err, r, "cannot read the grants");
    store->must_rewrite |= has_vanished;
    store->rewrite_at = 2 * live_size(&store->ledger) + REWRITE_BYTES;
    if (!store->was_loaded && !content->is_new)
        store->rewrite_at = 0;
    notes->was_loaded = true;
    notes->n_torn_bytes = content->data.length - content->end;
    memcpy(notes->set_aside, content->set_aside, sizeof(notes->set_aside));
    memcpy(notes->damaged, content->damaged, sizeof(notes->damaged));
    memcpy(notes->other, content->newer, sizeof(notes->other));
    store->is_loaded = store->was_loaded = true;
    store->must_rebuild = store->keeps_directories;
    store->size = content->end;
    return grantstore_has_work(store) ? GRANTSTORE_AGAIN : 0;
}

static void finish_write(struct grantstore *store, const struct grantstore_commit *commit)
{
    struct text *waiting = &store->waiting;

    if (commit->n_waiting)
        memmove(waiting->data, waiting->data + commit->n_waiting,
                waiting->length - commit->n_waiting);
    waiting->length -= commit->n_waiting;
    store->n_durable = commit->n_recorded;
    store->n_syncs += commit->kind != COMMIT_RESERVE;
    store->size = store->journal.size;
    if (commit->kind == COMMIT_REWRITE) {
        store->must_rewrite = false;
        store->rewrite_at = 2 * store->size + REWRITE_BYTES;
    }
}

/*
 * The journal closes itself when the content of the file is no longer known. 0 if there is nothing
 * to report.
 */
static int finish_failed(struct grantstore *store, const struct grantstore_commit *commit)
{
    store->n_failed_syncs++;
    store->must_rebuild |= store->keeps_directories;
    if (!journal_is_open(&store->journal)) {
        store->must_rewrite |= commit->kind != COMMIT_LOAD;
        store->is_loaded = false;
    } else if (commit->kind == COMMIT_REWRITE && !store->must_rewrite) {
        store->rewrite_at = store->size + REWRITE_BYTES;
        return 0;
    }
    return commit->result;
}

int grantstore_finish(struct grantstore *store, struct grantstore_commit *commit, uint64_t now_ms,
                      struct grantstore_notes *ret_notes, struct error *err)
{
    cleanup(commit_free_p) struct grantstore_commit *owned = commit;

    *ret_notes = (struct grantstore_notes){.was_loaded = false};
    store->is_running = false;
    if (owned->result < 0) {
        int r = finish_failed(store, owned);

        return r < 0 ? error_set(err, r, "%s", error_text(&owned->err)) : GRANTSTORE_AGAIN;
    }
    if (owned->result == JOURNAL_CHANGED) {
        store->is_loaded = false;
        return GRANTSTORE_AGAIN;
    }
    store->is_full = store->journal.is_full;
    if (owned->kind == COMMIT_LOAD)
        return finish_load(store, owned, now_ms, ret_notes, err);
    finish_write(store, owned);
    return 0;
}
