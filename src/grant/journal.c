// SPDX-License-Identifier: Apache-2.0
#include "grant/journal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

static const char magic[] = "gpuslice grants 1\n";
#define MAGIC_LENGTH (sizeof(magic) - 1)
#define JOURNAL_NAME "grants-v1.log"

enum { FRAME_LENGTH = 8 };

/* --- records --- */

static uint32_t crc32c(uint32_t crc, const unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return crc;
}

static void put_u32(unsigned char *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (unsigned char)(value >> (8 * i));
}

static uint32_t get_u32(const unsigned char *from)
{
    return from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

static uint32_t checksum(const unsigned char *length, const void *payload, size_t size)
{
    return ~crc32c(crc32c(~0u, length, 4), payload, size);
}

void journal_frame(const void *payload, size_t size, struct text *out)
{
    unsigned char frame[FRAME_LENGTH];

    if (size == 0 || size > GRANT_RECORD_MAX) {
        out->failed = true;
        return;
    }
    put_u32(frame, (uint32_t)size);
    put_u32(frame + 4, checksum(frame, payload, size));
    text_add_bytes(out, frame, sizeof(frame));
    text_add_bytes(out, payload, size);
}

bool journal_next(const void *data, size_t end, size_t *at, const void **ret_payload,
                  size_t *ret_size)
{
    const unsigned char *frame = (const unsigned char *)data + *at;
    size_t size;

    if (end - *at < FRAME_LENGTH)
        return false;
    size = get_u32(frame);
    /* Reserved but unwritten blocks read as zeros: no record has length 0. */
    if (size == 0 || size > GRANT_RECORD_MAX || size > end - *at - FRAME_LENGTH)
        return false;
    if (checksum(frame, frame + FRAME_LENGTH, size) != get_u32(frame + 4))
        return false;
    *ret_payload = frame + FRAME_LENGTH;
    *ret_size = size;
    *at += FRAME_LENGTH + size;
    return true;
}

/* --- the beginning of a file --- */

static void format_header(const struct journal *journal, struct text *out)
{
    cleanup_text struct text payload = TEXT_INIT;

    text_addf(&payload, "%s\n%s\n", journal->machine, journal->boot);
    text_add(out, magic);
    journal_frame(text_string(&payload), payload.length, out);
    out->failed |= text_failed(&payload);
}

/* "<machine>\n<boot>\n" */
static bool parse_header(const char *text, size_t size, struct journal_header *header)
{
    const char *first = memchr(text, '\n', size), *second;
    size_t rest;

    if (!first || (size_t)(first - text) >= sizeof(header->machine))
        return false;
    rest = size - (size_t)(first + 1 - text);
    second = memchr(first + 1, '\n', rest);
    if (!second || (size_t)(second - first - 1) >= sizeof(header->boot) ||
        second + 1 != text + size)
        return false;
    memcpy(header->machine, text, (size_t)(first - text));
    memcpy(header->boot, first + 1, (size_t)(second - first - 1));
    return true;
}

int journal_scan(const void *data, size_t size, struct journal_header *ret_header,
                 size_t *ret_first, size_t *ret_end)
{
    struct journal_header header = {.machine = ""};
    size_t at = MAGIC_LENGTH, first, length;
    const void *payload;

    /* Files are created atomically, by rename; but not every file system guarantees that. */
    if (size <= MAGIC_LENGTH)
        return memcmp(data, magic, size) == 0 ? JOURNAL_NEW : JOURNAL_FOREIGN;
    if (memcmp(data, magic, MAGIC_LENGTH) != 0)
        return JOURNAL_FOREIGN;
    if (!journal_next(data, size, &at, &payload, &length) ||
        !parse_header(payload, length, &header))
        return JOURNAL_FOREIGN;
    first = at;
    while (journal_next(data, size, &at, &payload, &length))
        ;
    *ret_header = header;
    *ret_first = first;
    *ret_end = at;
    return 0;
}

/* --- life --- */

int journal_init(struct journal *journal, const char *folder, const char *machine, const char *boot)
{
    *journal = (struct journal){.lock_fd = -1, .fd = -1};
    snprintf(journal->machine, sizeof(journal->machine), "%s", machine);
    snprintf(journal->boot, sizeof(journal->boot), "%s", boot);
    if (str_copy(journal->folder, sizeof(journal->folder), folder) < 0)
        return -ENAMETOOLONG;
    snprintf(journal->path, sizeof(journal->path), "%s/" JOURNAL_NAME, journal->folder);
    return 0;
}

static void close_file(struct journal *journal)
{
    if (journal->fd >= 0)
        close(journal->fd);
    journal->fd = -1;
}

void journal_deinit(struct journal *journal)
{
    close_file(journal);
    if (journal->lock_fd >= 0)
        close(journal->lock_fd);
    journal->lock_fd = -1;
}

void journal_content_deinit(struct journal_content *content)
{
    text_deinit(&content->data);
    *content = (struct journal_content)JOURNAL_CONTENT_INIT;
}

bool journal_content_is_torn(const struct journal_content *content)
{
    return content->end < content->data.length;
}

/* --- the lock --- */

static int take_lock(struct journal *journal, struct journal **ret_locked, struct error *err)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/grants.lock", journal->folder);
    if (journal->lock_fd < 0)
        journal->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (journal->lock_fd < 0)
        return error_set_errno(err, -errno, "cannot open %s", path);
    while (flock(journal->lock_fd, LOCK_EX) < 0)
        if (errno != EINTR)
            return error_set_errno(err, -errno, "cannot lock %s", path);
    *ret_locked = journal;
    return 0;
}

static void drop_lock(struct journal **journal)
{
    if (*journal && (*journal)->lock_fd >= 0)
        flock((*journal)->lock_fd, LOCK_UN);
}

#define cleanup_lock cleanup(drop_lock)

/* Nobody else has written or replaced the file. */
static bool is_as_left(const struct journal *journal)
{
    struct stat ours, there;

    return journal->fd >= 0 && fstat(journal->fd, &ours) == 0 && stat(journal->path, &there) == 0 &&
           ours.st_dev == there.st_dev && ours.st_ino == there.st_ino &&
           (uint64_t)ours.st_size == journal->size;
}

/* --- reserving space --- */

static void reserve(struct journal *journal)
{
    int r;

    if (journal->reserved >= journal->size + JOURNAL_RESERVE / 2) {
        journal->is_full = false;
        return;
    }
    do
        r = fallocate(journal->fd, FALLOC_FL_KEEP_SIZE, (off_t)journal->size, JOURNAL_RESERVE);
    while (r < 0 && errno == EINTR);
    journal->is_full = r < 0 && (errno == ENOSPC || errno == EDQUOT);
    if (r == 0)
        journal->reserved = journal->size + JOURNAL_RESERVE;
    else if (!journal->is_full)
        journal->reserved =
            UINT64_MAX; /* not supported by the file system; writes will report it */
}

bool journal_is_open(const struct journal *journal)
{
    return journal->fd >= 0;
}

int journal_reserve(struct journal *journal, struct error *err)
{
    cleanup_lock struct journal *locked = NULL;
    int r = take_lock(journal, &locked, err);

    if (r < 0)
        return r;
    if (!is_as_left(journal))
        return JOURNAL_CHANGED;
    reserve(journal);
    return 0;
}

/* --- writing --- */

static int open_file(struct journal *journal, struct error *err)
{
    close_file(journal);
    journal->size = journal->reserved = 0;
    journal->fd = open(journal->path, O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
    return journal->fd < 0 ? error_set_errno(err, -errno, "cannot open %s", journal->path) : 0;
}

/* Replaces the old file by a new one with these records. */
static int replace(struct journal *journal, const void *records, size_t size, struct error *err)
{
    cleanup_text struct text whole = TEXT_INIT;
    int r;

    format_header(journal, &whole);
    text_add_bytes(&whole, records, size);
    if (text_failed(&whole))
        return error_set_errno(err, -ENOMEM, "cannot write %s", journal->path);
    r = file_write_durable(journal->path, text_string(&whole), whole.length, 0600, err);
    if (r < 0 && !is_as_left(journal))
        close_file(journal); /* it failed after the rename */
    if (r == 0)
        r = open_file(journal, err);
    if (r < 0)
        return r;
    journal->size = whole.length;
    reserve(journal);
    return 0;
}

int journal_rewrite(struct journal *journal, const void *records, size_t size, struct error *err)
{
    cleanup_lock struct journal *locked = NULL;
    int r = take_lock(journal, &locked, err);

    if (r < 0)
        return r;
    return is_as_left(journal) ? replace(journal, records, size, err) : JOURNAL_CHANGED;
}

/*
 * What could not be written whole is cut off again, and the file is as before: a full disk has no
 * room for a second one. After a sync that failed, pages may count as clean that never reached the
 * disk (Linux 4.13 and later): a second sync of this file proves nothing, so it is rewritten.
 */
static int write_and_sync(struct journal *journal, const void *records, size_t size)
{
    int r = file_write_all(journal->fd, records, size);
    bool is_as_before = r < 0 && ftruncate(journal->fd, (off_t)journal->size) == 0;

    if (r == 0 && fdatasync(journal->fd) < 0)
        r = -errno;
    if (r < 0 && !is_as_before)
        close_file(journal);
    if (is_as_before)
        journal->reserved = journal->size; /* which the cut released */
    return r;
}

int journal_append(struct journal *journal, const void *records, size_t size, struct error *err)
{
    cleanup_lock struct journal *locked = NULL;
    int r = take_lock(journal, &locked, err);

    if (r < 0)
        return r;
    if (!is_as_left(journal))
        return JOURNAL_CHANGED;
    r = write_and_sync(journal, records, size);
    if (r < 0)
        return error_set_errno(err, r, "cannot write %s", journal->path);
    journal->size += size;
    reserve(journal);
    return 0;
}

/* --- reading --- */

/* The first free name of the form "<log>.<kind>-<number>". */
static void choose_name(const struct journal *journal, const char *kind, char name[PATH_MAX])
{
    unsigned number = 0;

    do
        snprintf(name, PATH_MAX, "%.*s.%s-%u", PATH_MAX - 32, journal->path, kind, ++number);
    while (access(name, F_OK) == 0);
}

static int set_aside(struct journal *journal, struct journal_content *content, struct error *err)
{
    choose_name(journal, "foreign", content->set_aside);
    if (rename(journal->path, content->set_aside) < 0)
        return error_set_errno(err, -errno, "cannot set %s aside", journal->path);
    text_clear(&content->data);
    return 0;
}

/* Creates an empty log. */
static int create(struct journal *journal, struct journal_content *content, struct error *err)
{
    struct text empty = TEXT_INIT;
    int r = replace(journal, "", 0, err);

    if (r < 0)
        return r;
    content->is_new = true;
    text_clear(&content->data);
    format_header(journal, &empty);
    text_deinit(&content->data);
    content->data = empty;
    content->first = content->end = empty.length;
    return text_failed(&empty) ? error_set_errno(err, -ENOMEM, "cannot read the grants") : 0;
}

static bool is_of_this_machine(const struct journal *journal, const struct journal_header *header)
{
    return !*journal->machine || !*header->machine || str_equal(journal->machine, header->machine);
}

static int read_content(struct journal *journal, struct journal_content *content, struct error *err)
{
    size_t size = 0;
    int r = file_read(journal->path, JOURNAL_SIZE_MAX, &content->data.data, &size, err);

    if (r < 0)
        return r;
    content->data.length = size;
    content->data.capacity = size + 1;
    r = open_file(journal, err);
    if (r == 0)
        journal->size = size;
    return r;
}

/*
 * A crash leaves a part of the last append; whole records behind it, or more bytes than a record
 * has, were synced before.
 */
static bool is_damage(const struct journal_content *content)
{
    size_t end = content->data.length, size;
    const void *payload;

    if (end - content->end > FRAME_LENGTH + GRANT_RECORD_MAX)
        return true;
    for (size_t at = content->end; at < end; at++) {
        size_t next = at;

        if (journal_next(content->data.data, end, &next, &payload, &size))
            return true;
    }
    return false;
}

/* What follows the last record that is readable from the beginning. */
static int cut_off(struct journal *journal, struct journal_content *content, struct error *err)
{
    int r = 0;

    if (is_damage(content)) {
        choose_name(journal, "damaged", content->damaged);
        r = file_write_durable(content->damaged, content->data.data + content->end,
                               content->data.length - content->end, 0600, err);
    }
    if (r == 0 && ftruncate(journal->fd, (off_t)content->end) < 0)
        r = error_set_errno(err, -errno, "cannot cut off what is torn of %s", journal->path);
    return r;
}

/* Under the lock. */
static int load(struct journal *journal, struct journal_content *content, struct error *err)
{
    struct journal_header header = {.machine = ""};
    int r = read_content(journal, content, err);

    if (r == -ENOENT)
        return create(journal, content, err);
    if (r < 0)
        return r;
    r = journal_scan(content->data.data, content->data.length, &header, &content->first,
                     &content->end);
    if (r == JOURNAL_FOREIGN || (r == 0 && !is_of_this_machine(journal, &header))) {
        r = set_aside(journal, content, err);
        return r < 0 ? r : create(journal, content, err);
    }
    if (r == JOURNAL_NEW)
        return create(journal, content, err);
    if (journal_content_is_torn(content)) {
        r = cut_off(journal, content, err);
        if (r < 0)
            return r;
    }
    journal->size = content->end;
    reserve(journal);
    return 0;
}

static void find_newer(const struct journal *journal, struct journal_content *content)
{
    DIR *folder = opendir(journal->folder);
    const struct dirent *entry;

    while (folder && (entry = readdir(folder)))
        if (str_starts_with(entry->d_name, "grants-v") && str_ends_with(entry->d_name, ".log") &&
            !str_equal(entry->d_name, JOURNAL_NAME))
            snprintf(content->newer, sizeof(content->newer), "%s", entry->d_name);
    if (folder)
        closedir(folder);
}

int journal_load(struct journal *journal, struct journal_content *ret_content, struct error *err)
{
    cleanup(journal_content_deinit) struct journal_content content = JOURNAL_CONTENT_INIT;
    cleanup_lock struct journal *locked = NULL;
    int r = file_make_directory(journal->folder, err);

    if (r == 0)
        r = take_lock(journal, &locked, err);
    if (r < 0)
        return r;
    r = load(journal, &content, err);
    if (r < 0) {
        close_file(journal);
        return r;
    }
    find_newer(journal, &content);
    *ret_content = content;
    content = (struct journal_content)JOURNAL_CONTENT_INIT;
    return 0;
}
