// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Whole files: reads are bounded, writes are atomic (readers see either the old or the new
 * content). */

#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/text.h"

/*
 * Reads a whole file (also a pipe or /proc, whose size is not known in advance). The result is
 * NUL-terminated after *ret_size bytes; free it. -EFBIG if it is larger than max bytes.
 */
int file_read(const char *path, size_t max, char **ret_data, size_t *ret_size, struct error *err);

/* Adds what can be read from fd, until its end. -EFBIG: then content is larger than max bytes. */
int file_read_all(int fd, size_t max, struct text *content);

/*
 * Writes a temporary file beside `path`, then renames it. The temporary name starts with a dot; a
 * later writer removes those that a killed one left once they are FILE_LEFTOVER_S old.
 */
enum { FILE_LEFTOVER_S = 60 };
int file_write_atomic(const char *path, const void *data, size_t size, mode_t mode,
                      struct error *err);

/*
 * As file_write_atomic, and once it returns 0 the content survives a power failure: file and
 * directory were synced. Slow, and it may hang with the disk. One writer at a time: the temporary
 * name is always the same, so that a killed writer leaves at most one file.
 */
int file_write_durable(const char *path, const void *data, size_t size, mode_t mode,
                       struct error *err);

/* Writes all of it to fd. 0 or a negative errno; then some of it may have been written. */
int file_write_all(int fd, const void *data, size_t size);

/*
 * For the start of a program: standard streams that are closed would be the first files that it
 * opens, which it then logs into and children inherit. They become /dev/null, the wrong way round,
 * so that using them still fails.
 */
void file_open_standard_streams(void);

/* Creates a directory and its parents with mode 0755; an existing one is accepted. */
int file_make_directory(const char *path, struct error *err);
