// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Reads the records of this node's grants (noderecords.h) in a thread of libuv's pool, since that
 * blocks as long as the disk does: for who has no time to wait for the auditor's next reading.
 *
 * One reading runs at a time; a request in the meantime is answered by it. Records that cannot be
 * read are logged, once for each reason, and there is no callback.
 */

#include <uv.h>

#include "arbiter/arbiteroptions.h"
#include "base/lograte.h"
#include "grant/podrecords.h"

/* May take the records over, and leaves what can be deinitialised; what it leaves is freed. */
typedef void recordsreader_fn(struct podrecords *records, void *userdata);

struct recordsreading;

struct recordsreader {
    uv_loop_t *loop;                      /* borrowed, as the options */
    const struct arbiteroptions *options; /* until a reading that runs has ended */
    recordsreader_fn *fn;
    void *userdata;
    struct recordsreading *running; /* NULL = none */
    struct lograte trouble;
};

void recordsreader_init(struct recordsreader *reader, uv_loop_t *loop,
                        const struct arbiteroptions *options, recordsreader_fn *fn, void *userdata);

/* Unless a reading runs. fn is called in a later turn of the loop. */
void recordsreader_read(struct recordsreader *reader);

/* A reading that runs ends by itself, and its records are freed: there is no callback. */
void recordsreader_deinit(struct recordsreader *reader);
