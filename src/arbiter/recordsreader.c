// SPDX-License-Identifier: Apache-2.0
#include "arbiter/recordsreader.h"

#include <stdlib.h>

#include "arbiter/noderecords.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"

struct recordsreading {
    uv_work_t work;
    struct recordsreader *reader; /* NULL: it is gone */
    const struct arbiteroptions *options;
    struct podrecords records;
    int outcome;
    struct error err;
};

void recordsreader_init(struct recordsreader *reader, uv_loop_t *loop,
                        const struct arbiteroptions *options, recordsreader_fn *fn, void *userdata)
{
    *reader =
        (struct recordsreader){.loop = loop, .options = options, .fn = fn, .userdata = userdata};
}

static void read_records(uv_work_t *work)
{
    struct recordsreading *reading = work->data;

    reading->outcome = noderecords_read(reading->options, &reading->records, &reading->err);
}

static void report(struct recordsreader *reader, struct recordsreading *reading, int status)
{
    reader->running = NULL;
    if (status == 0 && reading->outcome == 0) {
        lograte_end(&reader->trouble);
        reader->fn(&reading->records, reader->userdata);
    } else if (lograte_begin(&reader->trouble, error_text(&reading->err), clock_now_ms())) {
        log_warning("it is not known which container has which grant", "reason",
                    error_text(&reading->err));
    }
}

static void on_records(uv_work_t *work, int status)
{
    struct recordsreading *reading = work->data;

    if (reading->reader)
        report(reading->reader, reading, status);
    podrecords_deinit(&reading->records);
    free(reading);
}

void recordsreader_read(struct recordsreader *reader)
{
    struct recordsreading *reading = reader->running ? NULL : calloc(1, sizeof(*reading));

    if (!reading)
        return;
    reading->reader = reader;
    reading->options = reader->options;
    reading->records = (struct podrecords)PODRECORDS_INIT;
    reading->work.data = reading;
    if (uv_queue_work(reader->loop, &reading->work, read_records, on_records) < 0)
        free(reading);
    else
        reader->running = reading;
}

void recordsreader_deinit(struct recordsreader *reader)
{
    if (reader->running)
        reader->running->reader = NULL;
    reader->running = NULL;
}
