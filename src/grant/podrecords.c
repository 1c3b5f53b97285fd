// SPDX-License-Identifier: Apache-2.0
#include "grant/podrecords.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "grant/journal.h"

static int replay(const char *data, size_t first, size_t end, struct ledger *ledger)
{
    const void *payload;
    size_t size;
    int r = 0;

    while (r == 0 && journal_next(data, end, &first, &payload, &size)) {
        struct grant_record record = GRANT_RECORD_INIT;

        r = grant_record_parse(payload, size, &record);
        if (r == 0)
            r = ledger_replay(ledger, &record, 0);
        grant_record_deinit(&record);
    }
    return r;
}

/* A log of another machine, as on a disk image, tells nothing of this one's pods: its grants are of
 * devices that are not here. */
static int read_grants(const char *folder, struct ledger *ledger, bool *ret_found,
                       struct error *err)
{
    cleanup_free char *data = NULL;
    struct journal_header header;
    size_t size, first, end;
    char path[PATH_MAX];
    int r;

    snprintf(path, sizeof(path), "%s/grants-v%d.log", folder, JOURNAL_VERSION);
    r = file_read(path, JOURNAL_SIZE_MAX, &data, &size, err);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    if (journal_scan(data, size, &header, &first, &end) != 0)
        return 0;
    r = replay(data, first, end, ledger);
    *ret_found = true;
    return r < 0 ? error_set_errno(err, r, "cannot read %s", path) : 0;
}

static bool is_there(const char *folder, const char *name)
{
    char path[PATH_MAX];

    return snprintf(path, sizeof(path), "%s/%s", folder, name) < (int)sizeof(path) &&
           access(path, F_OK) == 0;
}

int podrecords_read(const struct places *places, struct podrecords *ret_records, struct error *err)
{
    struct podrecords records = PODRECORDS_INIT;
    int r;

    records.places = *places;
    records.now_s = time(NULL);
    /* The log first: a grant that goes from there into the checkpoint is then in one of them. */
    r = read_grants(places->grant_dir, &records.ledger, &records.has_log, err);
    if (r == 0)
        r = kubeletcheckpoint_load(places->plugin_dir, &records.checkpoint, err);
    records.has_checkpoint = records.checkpoint.is_there;
    if (r < 0) {
        podrecords_deinit(&records);
        return error_wrap(err, r, "it is unknown which pods have GPUs");
    }
    *ret_records = records;
    return 0;
}

void podrecords_deinit(struct podrecords *records)
{
    kubeletcheckpoint_deinit(&records->checkpoint);
    ledger_deinit(&records->ledger);
    *records = (struct podrecords)PODRECORDS_INIT;
}

bool podrecords_has_ended(const struct podrecords *records, const char *pod_uid)
{
    char folder[PATH_MAX];

    return !strchr(pod_uid, '/') &&
           snprintf(folder, sizeof(folder), "%s/../pods", records->places.plugin_dir) < PATH_MAX &&
           is_there(folder, ".") && !is_there(folder, pod_uid);
}
