// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Writes lines to a descriptor shared with others: standard error, standard output.
 *
 * Writing never blocks, and never changes the flags of the open file, which other processes share.
 * A pipe or terminal is opened a second time, without blocking, for that; a socket is written with
 * MSG_DONTWAIT. If neither is possible, a line is written only when poll reports room, which
 * another writer may take in between. A line is written completely or not at all: the rest of a
 * partly written one is kept and goes first.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "base/text.h"

enum lineout_way { LINEOUT_DIRECT, LINEOUT_AGAIN, LINEOUT_SEND, LINEOUT_POLL };

struct lineout {
    int fd;           /* borrowed; may be redirected to another file */
    int again_fd;     /* the same file, reopened; -1 = not reopened */
    struct stat file; /* that `way` is for; all zeroes before the first */
    enum lineout_way way;
    struct text rest; /* of the last written line */
};

#define LINEOUT_INIT(fd_)                                  \
    {                                                      \
        .fd = (fd_), .again_fd = -1, .way = LINEOUT_DIRECT \
    }

/* Prepares for the file that fd currently is, while this process may still open it. Optional. */
void lineout_open(struct lineout *out);

/* One or more complete lines. 0; LINEOUT_FULL: the reader is too slow, and nothing was written; a
 * negative errno: the same. */
enum lineout_outcome { LINEOUT_FULL = 1 };
int lineout_write(struct lineout *out, const char *lines, size_t size);

/* Pending output is lost. */
void lineout_deinit(struct lineout *out);
