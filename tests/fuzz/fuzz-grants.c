// SPDX-License-Identifier: Apache-2.0
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "grant/journal.h"
#include "grant/ledger.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void replay(struct ledger *ledger, const void *data, size_t at, size_t end)
{
    const void *payload;
    size_t length;

    while (journal_next(data, end, &at, &payload, &length)) {
        struct grant_record record = GRANT_RECORD_INIT;

        if (grant_record_parse(payload, length, &record) == 0 &&
            ledger_replay(ledger, &record, 0) < 0)
            abort();
        grant_record_deinit(&record);
    }
}

/* Bytes as the payloads of records whose frames are right: length, payload. */
static void feed_payloads(const uint8_t *data, size_t size)
{
    struct ledger ledger = LEDGER_INIT, again = LEDGER_INIT;
    struct text records = TEXT_INIT, written = TEXT_INIT, twice = TEXT_INIT;

    while (size >= 2) {
        size_t length = data[0];

        if (length > size - 1)
            length = size - 1;
        if (length)
            journal_frame(data + 1, length, &records);
        data += length + 1;
        size -= length + 1;
    }
    replay(&ledger, text_string(&records), 0, records.length);
    if (ledger_check(&ledger, NULL) < 0)
        abort();
    /* A rewritten log reads the same. */
    ledger_format(&ledger, &written);
    replay(&again, text_string(&written), 0, written.length);
    ledger_format(&again, &twice);
    if (written.length != twice.length ||
        memcmp(text_string(&written), text_string(&twice), written.length) != 0)
        abort();
    ledger_deinit(&ledger);
    ledger_deinit(&again);
    text_deinit(&records);
    text_deinit(&written);
    text_deinit(&twice);
}

/* A journal as found on a disk. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct journal_header header;
    struct ledger ledger = LEDGER_INIT;
    size_t first = 0, end = 0;

    if (journal_scan(data, size, &header, &first, &end) == 0) {
        if (first > end || end > size)
            abort();
        replay(&ledger, data, first, end);
        if (ledger_check(&ledger, NULL) < 0)
            abort();
        ledger_deinit(&ledger);
    } else {
        feed_payloads(data, size);
    }
    return 0;
}
