// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The file in which grants outlive a crash, a reboot and an upgrade: an append-only log,
 * `grants-v1.log`, below the grant folder.
 *
 *     "gpuslice grants 1\n"
 *     record: 32-bit length, 32-bit CRC-32C of length and payload, payload (grant.h)
 *     ...
 *
 * The first record says which machine and which boot wrote the file. What was appended and synced
 * is read again after any crash: a reader stops at the first record that is cut off or does not
 * match its checksum, and what lies behind was never synced. A whole new file replaces the old one
 * by rename, with file and folder synced.
 *
 * The version is part of the name: a release with another format neither reads nor touches this
 * file, and this release leaves the other's alone. A file in our name that is not ours (another
 * machine's disk image, damage at its beginning) is renamed, never overwritten.
 *
 * Several agents may have the file open, for a moment, during an upgrade. Every operation takes the
 * lock file, and an append is refused with JOURNAL_CHANGED when the file is not as this process
 * left it: load it again, and append to what was read.
 *
 * Some room is always reserved on the disk ahead of the end, so that a full disk is noticed
 * (is_full) while what still comes can be written.
 *
 * Every function that does I/O may block as long as the disk does: call it where that is allowed.
 * Not safe for two threads at a time.
 */

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"
#include "grant/grant.h"

enum {
    JOURNAL_VERSION = 1,
    JOURNAL_SIZE_MAX = 256 << 20, /* bytes; a live log has some hundred KiB */
    JOURNAL_RESERVE = 256 << 10,
    JOURNAL_MACHINE_SIZE = 64,
};

enum journal_outcome {
    JOURNAL_CHANGED = 1, /* somebody else wrote or replaced the file; nothing was written */
    JOURNAL_NEW,         /* journal_scan: empty, or its creation was cut off */
    JOURNAL_FOREIGN,     /* journal_scan: not a log of this version */
};

struct journal {
    char folder[PATH_MAX - 64];
    char path[PATH_MAX];
    char machine[JOURNAL_MACHINE_SIZE], boot[GRANT_BOOT_SIZE];
    int lock_fd, fd;
    uint64_t size;     /* the end of what this process knows the file to hold */
    uint64_t reserved; /* the file has room on the disk up to here */
    bool is_full;      /* no more room could be reserved */
};

/* machine and boot are written into new files; "" = unknown. -ENAMETOOLONG, or 0. Opens nothing. */
int journal_init(struct journal *journal, const char *folder, const char *machine,
                 const char *boot);
void journal_deinit(struct journal *journal);

/* What a file holds. */
struct journal_content {
    struct text data;
    size_t first, end;        /* of the records that can be read; bytes behind `end` are damaged */
    char set_aside[PATH_MAX]; /* where a file that is not ours was put; "" = there was none */
    char newer[NAME_MAX + 1]; /* a log of another version beside ours; "" = none */
};

#define JOURNAL_CONTENT_INIT \
    {                        \
        .data = TEXT_INIT    \
    }

void journal_content_deinit(struct journal_content *content);

/* Bytes behind the last good record: a torn append. */
bool journal_content_is_torn(const struct journal_content *content);

/*
 * Opens, or creates, and reads the whole file. Appends then go behind what was read, unless it is
 * torn: then call journal_rewrite first. 0, or a negative errno with a sentence.
 */
int journal_load(struct journal *journal, struct journal_content *ret_content, struct error *err);

/* Appends framed records; they are durable when it returns 0. JOURNAL_CHANGED; or a negative errno:
 * then nobody knows what is on the disk, and only journal_load helps, and journal_rewrite after it.
 */
int journal_append(struct journal *journal, const void *records, size_t size, struct error *err);

/* Replaces the whole content, after journal_load. Outcomes as journal_append. */
int journal_rewrite(struct journal *journal, const void *records, size_t size, struct error *err);

/* Tries again to reserve room on a full disk (is_full). JOURNAL_CHANGED as above. */
int journal_reserve(struct journal *journal, struct error *err);

/* --- pure --- */

/* Frames one payload as a record. */
void journal_frame(const void *payload, size_t size, struct text *out);

/* The record at *at, before end; *at moves on. False at the end or at what is damaged. */
bool journal_next(const void *data, size_t end, size_t *at, const void **ret_payload,
                  size_t *ret_size);

struct journal_header {
    char machine[JOURNAL_MACHINE_SIZE], boot[GRANT_BOOT_SIZE];
};

/* Judges a file's bytes. 0 with the header and the range of good records, or an outcome. */
int journal_scan(const void *data, size_t size, struct journal_header *ret_header,
                 size_t *ret_first, size_t *ret_end);
