// SPDX-License-Identifier: Apache-2.0

/*
 * Random histories of allocations, lists and crashes, with a model beside the ledger that knows
 * one rule: the newest grant of an id holds it, for as long as it is there. A crash keeps what was
 * synced and any part of the rest.
 */

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "grant/journal.h"
#include "grant/ledger.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { N_IDS = 8, GRANTS_MAX = 256 };

static const char *const ids[N_IDS] = {"0", "1", "2", "3", "4", "5", "6", "7"};

struct fact {
    uint8_t ids;
    bool answered; /* so it must survive every crash */
    bool gone;
};

struct history {
    struct ledger ledger;
    struct text log;
    size_t durable; /* bytes of the log */
    struct fact facts[GRANTS_MAX];
    unsigned n_facts;
    uint64_t now_ms;
};

static void make_id(unsigned number, char id[GRANT_ID_SIZE])
{
    snprintf(id, GRANT_ID_SIZE, "%016x", number);
}

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void frame(struct history *history, struct text *payload)
{
    journal_frame(text_string(payload), payload->length, &history->log);
    text_deinit(payload);
}

static void allocate(struct history *history, uint8_t mask)
{
    struct grant grant = {.resource = strdup("r")};
    struct text payload = TEXT_INIT;

    if (history->n_facts < GRANTS_MAX && mask) {
        make_id(history->n_facts, grant.id);
        for (unsigned i = 0; i < N_IDS; i++)
            if (mask & 1u << i)
                must(grant_add_id(&grant, ids[i]) == 0);
        must(ledger_add(&history->ledger, &grant, history->now_ms) == 0);
        grant_format(&grant, &payload);
        frame(history, &payload);
        history->facts[history->n_facts++] = (struct fact){.ids = mask};
    }
    grant_deinit(&grant);
}

static void release(struct history *history, const char *id)
{
    struct text payload = TEXT_INIT;

    must(ledger_free(&history->ledger, id));
    grant_format_free(id, &payload);
    frame(history, &payload);
    history->facts[strtoul(id, NULL, 16)].gone = true;
}

static void sync_and_answer(struct history *history)
{
    history->durable = history->log.length;
    for (unsigned i = 0; i < history->n_facts; i++) {
        char id[GRANT_ID_SIZE];

        if (history->facts[i].gone || history->facts[i].answered)
            continue;
        history->facts[i].answered = true;
        make_id(i, id);
        ledger_answered(&history->ledger, id, history->now_ms);
    }
}

static void list(struct history *history, uint8_t mask, bool is_readable)
{
    struct ledger_entry entries[N_IDS];
    static const struct kubeletcheckpoint empty = KUBELETCHECKPOINT_INIT;
    struct ledger_changes changes = LEDGER_CHANGES_INIT;
    struct ledger_view view = {.checkpoint = is_readable ? &empty : NULL,
                               .began_ms = history->now_ms,
                               .entries = entries,
                               .backend = &ledger_backend_none,
                               .boot = ""};

    for (unsigned i = 0; i < N_IDS; i++)
        if (mask & 1u << i)
            entries[view.n_entries++] = (struct ledger_entry){"r", ids[i], "n", "p", "c"};
    must(ledger_observe(&history->ledger, &view, &changes) == 0);
    must(is_readable || !changes.n_freed);
    for (size_t i = 0; i < changes.n_freed; i++) {
        const struct ledger_grant *grant = ledger_find(&history->ledger, changes.freed[i]);

        /* Nothing is freed that a pod holds, or that was never answered. */
        must(grant && grant->since_ms != UINT64_MAX);
        for (size_t k = 0; k < view.n_entries; k++)
            must(ledger_holder(&history->ledger, "r", entries[k].id) != grant);
        release(history, changes.freed[i]);
    }
    for (size_t i = 0; i < changes.n_adopted; i++)
        for (size_t k = 0; k < changes.adopted[i].n_ids; k++)
            must(!ledger_holder(&history->ledger, "r", changes.adopted[i].ids[k]));
    ledger_changes_deinit(&changes);
}

static void replay(struct history *history)
{
    size_t at = 0, size;
    const void *payload;

    while (journal_next(text_string(&history->log), history->log.length, &at, &payload, &size)) {
        struct grant_record record = GRANT_RECORD_INIT;

        must(grant_record_parse(payload, size, &record) == 0);
        must(ledger_replay(&history->ledger, &record, history->now_ms) == 0);
        grant_record_deinit(&record);
    }
    history->log.length = history->durable = at;
}

/* What was not synced may be there or not; facts that were never answered follow the ledger. */
static void crash(struct history *history, uint8_t part)
{
    history->log.length = history->durable + (history->log.length - history->durable) * part / 255;
    ledger_deinit(&history->ledger);
    replay(history);
    for (unsigned i = 0; i < history->n_facts; i++) {
        struct fact *fact = &history->facts[i];
        char id[GRANT_ID_SIZE];
        bool is_there;

        make_id(i, id);
        is_there = ledger_find(&history->ledger, id);
        must(is_there || !fact->answered || fact->gone);
        if (!is_there && !fact->answered)
            fact->ids = 0; /* it never was */
        fact->gone = !is_there;
        fact->answered |= is_there; /* replayed grants count as answered */
    }
}

/* The rewritten log. */
static void compact(struct history *history)
{
    text_clear(&history->log);
    ledger_format(&history->ledger, &history->log);
    sync_and_answer(history);
}

static void check(const struct history *history)
{
    must(ledger_check(&history->ledger, NULL) == 0);
    for (unsigned i = 0; i < N_IDS; i++) {
        const struct ledger_grant *holder = ledger_holder(&history->ledger, "r", ids[i]);
        unsigned newest = history->n_facts;

        while (newest > 0 && !(history->facts[newest - 1].ids & 1u << i))
            newest--;
        if (newest == 0 || history->facts[newest - 1].gone)
            must(!holder);
        else
            must(holder && strtoul(holder->grant.id, NULL, 16) == newest - 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct history history = {.now_ms = 1};

    for (size_t i = 0; i + 1 < size; i += 2) {
        switch (data[i] % 6) {
        case 0:
            allocate(&history, data[i + 1]);
            break;
        case 1:
            sync_and_answer(&history);
            break;
        case 2:
            history.now_ms += (uint64_t)data[i + 1] * 100;
            break;
        case 3:
            list(&history, data[i + 1], data[i] < 128);
            break;
        case 4:
            crash(&history, data[i + 1]);
            break;
        default:
            compact(&history);
        }
        check(&history);
    }
    ledger_deinit(&history.ledger);
    text_deinit(&history.log);
    return 0;
}
