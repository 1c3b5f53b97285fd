// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The file that makes grants survive a crash, a reboot and an upgrade: an append-only log,
 * `grants-v1.log`, below the grant folder.
 *
 *     "gpuslice grants 1\n"
 *     record: 32-bit length, 32-bit CRC-32C of length and payload, payload (grant.h)
 *     ...
 *
 * The first record identifies the machine and boot that wrote the file. What was appended and
 * synced is readable after any crash: a reader stops at the first record that is truncated or does
 * not match its checksum. What follows was never synced, unless the disk damaged the file: if it
 * has a valid record, or is longer than any, a copy is kept (damaged). A whole new file replaces
 * the old one by rename, with file and folder synced.
 *
 * The version is part of the name: releases with another format neither read nor touch this file,
 * nor does this release touch theirs. A file in our name that is not ours (another machine's disk
 * image, damage at its beginning) is renamed, never overwritten.
 *
 * Several agents may have the file open, for a moment, during an upgrade. Every operation takes the
 * lock file, and an append fails with JOURNAL_CHANGED if the file is not as this process left it:
 * load it again, and append to what was read.
 *
 * Some space is always reserved beyond the end, so that a full disk is noticed (is_full) while
 * there is room for further records.
 *
 * Every function that does I/O may block as long as the disk does: call it from a thread that may.
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
    JOURNAL_SIZE_MAX = 256 << 20, /* bytes; a live log has a few hundred KiB */
    JOURNAL_RESERVE = 256 << 10,
    JOURNAL_MACHINE_SIZE = 64,
};

enum journal_outcome {
    JOURNAL_CHANGED = 1, /* somebody else wrote or replaced the file; nothing was written */
    JOURNAL_NEW,         /* journal_scan: empty, or truncated during creation */
    JOURNAL_FOREIGN,     /* journal_scan: not a log of this version */
};

struct journal {
    char folder[PATH_MAX - 64];
    char path[PATH_MAX];
    char machine[JOURNAL_MACHINE_SIZE], boot[GRANT_BOOT_SIZE];
    int lock_fd, fd;
    uint64_t size;     /* the end of the file as known to this process */
    uint64_t reserved; /* space is reserved up to here */
    bool is_full;      /* no more space could be reserved */
};

/* machine and boot are written into new files; "" = unknown. -ENAMETOOLONG, or 0. Opens nothing. */
int journal_init(struct journal *journal, const char *folder, const char *machine,
                 const char *boot);
void journal_deinit(struct journal *journal);

/* The content of a file. */
struct journal_content {
    struct text data;
    bool is_new;              /* created by this load: there was no file of ours */
    size_t first, end;        /* of the readable records; bytes after `end` are damaged */
    char set_aside[PATH_MAX]; /* new name of a file that is not ours; "" = there was none */
    char damaged[PATH_MAX];   /* copy of what followed damage; "" = there was none */
    char newer[NAME_MAX + 1]; /* a log of another version beside ours; "" = none */
};

#define JOURNAL_CONTENT_INIT \
    {                        \
        .data = TEXT_INIT    \
    }

void journal_content_deinit(struct journal_content *content);

/* Bytes followed the last valid record: a truncated append, which has been removed. */
bool journal_content_is_torn(const struct journal_content *content);

/* Opens, or creates, and reads the whole file. Appends then follow what was read. 0, or a
 * negative errno with a message. */
int journal_load(struct journal *journal, struct journal_content *ret_content, struct error *err);

/*
 * Appends framed records; they are durable when it returns 0. JOURNAL_CHANGED; or a negative errno.
 * Then nothing was appended if the journal is still open. Otherwise the content on disk is
 * unknown, and only journal_load helps, followed by journal_rewrite.
 */
int journal_append(struct journal *journal, const void *records, size_t size, struct error *err);

bool journal_is_open(const struct journal *journal);

/* Replaces the whole content, after journal_load. Outcomes as journal_append: if the journal is
 * still open after a failure, the old file is as it was. */
int journal_rewrite(struct journal *journal, const void *records, size_t size, struct error *err);

/* Retries reserving space on a full disk (is_full). JOURNAL_CHANGED as above. */
int journal_reserve(struct journal *journal, struct error *err);

/* --- pure --- */

/* Frames one payload as a record. */
void journal_frame(const void *payload, size_t size, struct text *out);

/* The record at *at, before end; advances *at. False at the end or at damage. */
bool journal_next(const void *data, size_t end, size_t *at, const void **ret_payload,
                  size_t *ret_size);

struct journal_header {
    char machine[JOURNAL_MACHINE_SIZE], boot[GRANT_BOOT_SIZE];
};

/* Evaluates a file's bytes. 0 with the header and the range of valid records, or an outcome. */
int journal_scan(const void *data, size_t size, struct journal_header *ret_header,
                 size_t *ret_first, size_t *ret_end);
